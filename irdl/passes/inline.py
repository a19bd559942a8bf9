"""What only mattered to gradients, or to the passes before, goes."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.control import AFTER
from irdl.ops.elementwise import STOP_GRADIENT
from irdl.transforms.custom import CUSTOM_VJP


def inline_calls(graph: Graph) -> Graph:
    """`custom_vjp(f, forward, backward)(x)` -> `f(x)` and `stop_gradient(x)` -> `x`, everywhere."""

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        if node.op is CUSTOM_VJP:
            return builder.inline(node.regions[0], operands, node.location)
        return operands if node.op is STOP_GRADIENT else None

    return rewrite(graph, visit, ops=(CUSTOM_VJP, STOP_GRADIENT))


def forget_order(graph: Graph) -> Graph:
    """`after(x, y)` -> `x`, everywhere: from here on nothing moves any more."""
    return rewrite(graph, lambda builder, node, operands: operands[:1] if node.op is AFTER else None, ops=(AFTER,))
