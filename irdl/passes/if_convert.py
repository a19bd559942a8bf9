"""If-conversion: a cond of cheap sides becomes straight code, which computes both and selects.

    y = cond(p, x) { return x * 2 } { return x + 1 }   ->   y = select(p, x * 2, x + 1)

It runs behind derivatives: that of a cond is of one side alone, that of a select would multiply what the other side makes of inf and
nan by zero. Only sides of which nothing can fail are converted, and which cost less than a branch does: one that is
predicted badly, kernels of their own instead of none, results that go through memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.builder import CONSTANT, Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.contract import DOT, terms_of
from irdl.ops.control import COND
from irdl.ops.elementwise import SELECT
from irdl.ops.joining import CONCAT, PAD, UPDATE_SLICE
from irdl.ops.reduce import Reduce
from irdl.ops.shape import IOTA

#: Cycles that both sides together may take: for a branch, which is predicted badly, and for each vector of results, which go through
#: memory. Measured: loops whose steps choose between sides of 1 to 16 products and sums, of 1 to 4096 numbers.
_BRANCH, _STORED = 8, 10
_VECTOR_BYTES = 32
_MOVES = (CONCAT, PAD, UPDATE_SLICE, IOTA)


def convert_branches(graph: Graph) -> Graph:
    """Make the conds whose sides are cheap straight code."""
    return rewrite(graph, _visit, ops=(COND,))


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    if node.op is not COND:
        return None
    if sum(map(_cycles, node.regions)) > _BRANCH + _STORED * sum(_vectors(value) for value in node.outputs):
        return None
    sides = [builder.inline(region, operands[1:], node.location) for region in node.regions]
    return [a if a is b else builder.value(SELECT, [operands[0], a, b], location=node.location) for a, b in zip(*sides, strict=True)]


def _vectors(value: Value) -> float:
    return max(1.0, value.type.nbytes / _VECTOR_BYTES)


def _cycles(region: Graph) -> float:
    """About how long a side takes as part of other code; inf where it may fail, or must not be computed in vain."""
    total = 0.0
    for node in region.nodes:
        op = node.op
        if op is CONSTANT or op.is_view:
            continue
        if op.can_raise:
            return float("inf")
        if op.is_elementwise:
            total += op.cycles * _vectors(node.output)
        elif isinstance(op, Reduce):
            total += _vectors(node.operands[0])
        elif op is DOT:
            total += _vectors(node.output) * terms_of(node)
        elif op in _MOVES:
            total += _vectors(node.output)
        else:
            return float("inf")
    return total
