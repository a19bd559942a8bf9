"""Ops that the passes introduce on the way down: fused groups, and packing of a contraction's operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.evaluate import evaluate
from irdl.ir.op import Op, register
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    from irdl.ir.graph import Graph


class Fused(Op):
    """A group of ops that become one kernel: one loop nest over the shape its outputs share."""

    name = "fused"

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (region,) = regions
        if region.input_types != tuple(types):
            raise GraphError("the operands of a fused group are its region's inputs")
        if len({type.shape for type in region.output_types}) != 1:
            raise GraphError(f"the outputs of a fused group share one shape, not {list(map(str, region.output_types))}")
        return region.output_types

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return evaluate(regions[0], operands)


FUSED = register(Fused())


@dataclass(frozen=True)
class PackAttributes:
    """`axis` of extent `extent` is cut into slivers of `width`, the last one filled with zeros."""

    axis: int
    width: int
    extent: int


class Pack(Op):
    """`[.., extent, ..] -> [slivers, .., .., width]`: what a contraction reads in order becomes contiguous."""

    name = "pack"
    Attributes = PackAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        axis, width = attributes.axis, attributes.width
        if not 0 <= axis < type.rank or type.shape[axis] != attributes.extent or width < 1:
            raise GraphError(f"cannot pack axis {axis} of {type}")
        rest = type.shape[:axis] + type.shape[axis + 1 :]
        return (TensorType(type.dtype, (-(-attributes.extent // width), *rest, width)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        axis, width, extent = attributes.axis, attributes.width, attributes.extent
        moved = np.moveaxis(x, axis, -1)
        slivers = -(-extent // width)
        whole = np.zeros((*moved.shape[:-1], slivers * width), x.dtype)
        whole[..., :extent] = moved
        return (np.moveaxis(whole.reshape(*moved.shape[:-1], slivers, width), -2, 0),)


PACK = register(Pack())


class Unpack(Op):
    """The view that undoes `pack`; inside a fused group it is only an index map."""

    name = "unpack"
    is_view = True
    Attributes = PackAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        if type.rank < 2 or type.shape[-1] != attributes.width or type.shape[0] != -(-attributes.extent // attributes.width):
            raise GraphError(f"{type} is not packed by {attributes}")
        rest = list(type.shape[1:-1])
        rest.insert(attributes.axis, attributes.extent)
        return (TensorType(type.dtype, tuple(rest)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        moved = np.moveaxis(operands[0], 0, -2)
        flat = moved.reshape(*moved.shape[:-2], -1)[..., : attributes.extent]
        return (np.ascontiguousarray(np.moveaxis(flat, -1, attributes.axis)),)


UNPACK = register(Unpack())
