"""How a pass writes what stands for a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.ir.builder import Builder
from irdl.ir.graph import Node, Value
from irdl.ir.op import Op
from irdl.ops.elementwise import CAST, CastAttributes
from irdl.ops.shape import BROADCAST, IOTA, RESHAPE, SLICE, BroadcastAttributes, IotaAttributes, ReshapeAttributes, SliceAttributes


@dataclass(frozen=True)
class Maker:
    """Makes values at the line of the node that they stand for."""

    builder: Builder
    node: Node

    def __call__(self, op: Op, *operands: Value | float, attributes: Any = None) -> Value:
        """A number among the operands becomes a constant of the dtype of the others."""
        (dtype, *_) = [item.dtype for item in reversed(operands) if isinstance(item, Value)]
        values = [item if isinstance(item, Value) else self.builder.constant(item, dtype) for item in operands]
        if attributes is None:
            return self.builder.value(op, values, location=self.node.location)
        return self.builder.value(op, values, attributes, (), self.node.location)

    def cast(self, x: Value, dtype: np.dtype) -> Value:
        return x if x.dtype == dtype else self(CAST, x, attributes=CastAttributes(dtype))

    def shaped(self, x: Value, shape: tuple[int, ...]) -> Value:
        return x if x.shape == shape else self(RESHAPE, x, attributes=ReshapeAttributes(shape))

    def spread(self, x: Value, shape: tuple[int, ...]) -> Value:
        return x if x.shape == shape else self(BROADCAST, x, attributes=BroadcastAttributes(shape))

    def places(self, shape: tuple[int, ...], axis: int, dtype: np.dtype) -> Value:
        """Each element's place along an axis."""
        return self.builder.value(IOTA, [], IotaAttributes(dtype, shape, axis), (), self.node.location)

    def part(self, x: Value, axis: int, start: int, limit: int, stride: int = 1) -> Value:
        """`x[start:limit:stride]` along one axis."""
        if (start, limit, stride) == (0, x.shape[axis], 1):
            return x
        starts, limits, strides = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
        starts[axis], limits[axis], strides[axis] = start, limit, stride
        return self(SLICE, x, attributes=SliceAttributes(tuple(starts), tuple(limits), tuple(strides)))
