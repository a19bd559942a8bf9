"""How a pass writes what stands for a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irdl.ir.builder import Builder
from irdl.ir.graph import Node, Value
from irdl.ir.op import Op


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
