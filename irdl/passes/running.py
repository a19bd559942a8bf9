"""Running sums of long lines, in pieces that many threads have at once: for machines with many.

    y = cumsum(x)  ->  inner = cumsum(x in rows of pieces); before = cumsum(the last of each piece), one piece later; y = inner + before

and the same of the pieces' sums, if those are many. Floats are then added up in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.loops.target import Gpu, Target
from irdl.ops import elementwise as e
from irdl.ops.joining import CONCAT, PAD, ConcatAttributes, PadAttributes
from irdl.ops.reduce import CUMMAX, CUMMIN, CUMPROD, CUMSUM, CumulativeAttributes, identity_of
from irdl.passes.maker import Maker

_COMBINED = {CUMSUM: e.ADD, CUMPROD: e.MUL, CUMMAX: e.MAXIMUM, CUMMIN: e.MINIMUM}
#: shorter lines are one thread's, and lines of which each multiprocessor has so many
_SHORTEST, _LINES = 256, 64
#: elements of a piece, and of longer lines'
_PIECE, _LONG_PIECE, _LONG = 32, 128, 4096


def run_in_pieces(graph: Graph, target: Target | Gpu | None = None) -> Graph:
    """`graph` with long running sums, products and extrema in pieces, on a GPU."""
    if not isinstance(target, Gpu):
        return graph
    most = target.multiprocessors * _LINES

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        found = _in_pieces(Maker(builder, node), operands[0], node.attributes, most) if node.op in _COMBINED else None
        return None if found is None else [found]

    return rewrite(graph, visit, ops=_COMBINED)


def _in_pieces(make: Maker, x: Value, attributes: CumulativeAttributes, most: int) -> Value | None:
    """What runs along one axis of x, in pieces; None where lines are short, or there are that many."""
    axis, extent = attributes.axis, x.shape[attributes.axis]
    if extent < _SHORTEST or math.prod(x.shape) // extent >= most:
        return None
    op, piece = make.node.op, _LONG_PIECE if extent >= _LONG else _PIECE
    count, neutral = -(-extent // piece), make.builder.constant(identity_of(make.node.op, x.dtype), x.dtype)
    none, rest = [0] * len(x.shape), [0] * len(x.shape)
    rest[axis] = count * piece - extent
    padded = make(PAD, x, neutral, attributes=PadAttributes(tuple(none), tuple(rest))) if rest[axis] else x
    rows = make.shaped(padded, (*x.shape[:axis], count, piece, *x.shape[axis + 1 :]))
    inner = make(op, rows, attributes=CumulativeAttributes(axis + 1, attributes.reverse))
    end = 0 if attributes.reverse else piece - 1
    sums = make.shaped(make.part(inner, axis + 1, end, end + 1), (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    running = _in_pieces(make, sums, attributes, most)
    running = make(op, sums, attributes=attributes) if running is None else running
    others = make.part(running, axis, 1, count) if attributes.reverse else make.part(running, axis, 0, count - 1)
    first = make.spread(neutral, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    before = make(CONCAT, *((others, first) if attributes.reverse else (first, others)), attributes=ConcatAttributes(axis))
    before = make.spread(make.shaped(before, (*x.shape[:axis], count, 1, *x.shape[axis + 1 :])), rows.shape)
    whole = make.shaped(make(_COMBINED[op], before, inner), padded.shape)
    return make.part(whole, axis, 0, extent)
