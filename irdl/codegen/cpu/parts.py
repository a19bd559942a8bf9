"""Long contractions, cut into parts along what they sum over: each part's operands stay in the cache while its tiles read them again
and again.

    dot(x, y) -> dot(x[:, :n], y[:n]) + dot(x[:, n:], y[n:])

The sum so far is an operand of the next part's group, and the last part alone has what follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.ir.builder import Builder, rewrite
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Graph, Node, Value
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT
from irdl.ops.shape import SLICE, TRANSPOSE, SliceAttributes
from irdl.passes.maker import Maker

#: Steps of a part; fewer where the rows' operand lies across them, as each step then reads another page of memory.
_STEPS, _STEPS_ACROSS = 800, 400
#: More parts than these are longer instead: each is code of its own.
_MOST = 24
#: Rows and columns from which on a tile reads its operands often enough.
_ROWS, _COLUMNS = 8, 16


def cut_contractions(graph: Graph) -> Graph:
    """`graph` with its long contractions in parts."""

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        return _cut(Maker(builder, node), *operands) if node.op is DOT and is_float(node.output.dtype) else None

    return rewrite(graph, visit)


def _cut(make: Maker, x: Value, y: Value) -> Sequence[Value] | None:
    left, right, output = make.node.attributes.labels
    extents = dict(zip((*left, *right), (*x.shape, *y.shape), strict=True))
    summed = [label for label in left if label not in output]
    if not output or not summed:
        return None
    # The tile's vector runs along the result's last axis; the other operand has the rows.
    (rows, rows_value), columns = ((left, x), right) if output[-1] in right else ((right, y), left)
    if output[-1] in rows or _size(extents, set(rows) - set(columns)) < _ROWS or _size(extents, set(columns) - set(rows)) < _COLUMNS:
        return None
    total = _size(extents, set(summed))
    most = _STEPS if _innermost(rows_value, rows) in summed else _STEPS_ACROSS
    if total <= most * 1.5:
        return None
    # The axis that is walked slowest, so that a part is one piece of memory where the whole is.
    axis = max(summed, key=lambda label: (extents[label] * most >= total, -summed.index(label)))
    step = max(1, most * extents[axis] // total, -(-extents[axis] // _MOST))
    step = -(-extents[axis] // -(-extents[axis] // step))  # parts of about one size
    if step >= 4:
        step = -(-step // 4) * 4
    sum_so_far: Value | None = None
    for first in range(0, extents[axis], step):
        span = first, min(first + step, extents[axis])
        part = make(
            DOT, _slice(make, x, left.index(axis), *span), _slice(make, y, right.index(axis), *span), attributes=make.node.attributes
        )
        sum_so_far = part if sum_so_far is None else make(e.ADD, sum_so_far, part)
    return None if sum_so_far is None else [sum_so_far]


def _size(extents: dict[str, int], labels: set[str]) -> int:
    return math.prod(extents[label] for label in labels)


def _innermost(value: Value, labels: str) -> str:
    """The letter of the axis whose elements lie next to each other in memory."""
    place = len(labels) - 1
    if value.node is not None and value.node.op is TRANSPOSE:
        return labels[value.node.attributes.permutation.index(place)]
    return labels[place]


def _slice(make: Maker, value: Value, axis: int, first: int, limit: int) -> Value:
    start, limits = [0] * len(value.shape), list(value.shape)
    start[axis], limits[axis] = first, limit
    return make(SLICE, value, attributes=SliceAttributes(tuple(start), tuple(limits), (1,) * len(start)))
