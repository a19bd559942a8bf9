"""Contractions that sum over many steps, as those of a weight's gradient do, as a CPU wants them.

    dot(x, y) -> dot(x[:, :n], y[:n]) + dot(x[:, n:], y[n:])

Each part's operands stay in the cache while its tiles read them again and again; the sum so far is an operand of the next part's group,
and the last part alone has what follows. Before that, summed axes that follow each other become one; and of x.T @ y, where every step
of a tile would read another line of x, x is copied so that a row's steps lie next to each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from irdl.codegen.cpu.panels import ROWS_IN_PANELS, wants_panels
from irdl.ir.builder import Builder, rewrite
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Graph, Node, Value
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT, DotAttributes
from irdl.ops.control import SCAN
from irdl.ops.fusion import PACK, UNPACK, PackAttributes
from irdl.ops.shape import TRANSPOSE
from irdl.ops.windows import WINDOWS
from irdl.passes.maker import Maker

#: Steps of a part; fewer where the rows' operand lies across them, as each step then reads another page of memory.
_STEPS, _STEPS_ACROSS = 800, 400
#: More parts than these are longer instead: each is code of its own.
_MOST = 24
#: Rows and columns from which on a tile reads its operands often enough.
_ROWS, _COLUMNS = 8, 16
#: A rows' operand that lies across is copied so that it does not where the first-level cache does not hold it (bytes), its rows have
#: steps enough, and tiles read it more than once: bytes of a row of the columns, a tile's width.
_TURNED_BYTES, _TURNED_STEPS, _TILE_BYTES = 64 * 1024, 64, 256


def cut_contractions(graph: Graph, static_inputs: int = 0) -> Graph:
    """`graph` with its long contractions in parts, and their operands as tiles read them best. The last `static_inputs` inputs are packed
    ahead of calls."""
    packed: set[Value] = set()
    _add_invariant(graph, graph.inputs[len(graph.inputs) - static_inputs :], packed)

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        if node.op is not DOT or not is_float(node.output.dtype):
            return None
        x, y = operands
        return _cut(Maker(builder, node), x, y, [value in packed for value in node.operands])

    return rewrite(graph, visit, ops=(DOT,))


def _add_invariant(graph: Graph, inputs: Iterable[Value], found: set[Value]) -> None:
    """Add what stays the same over the steps of the loop around this graph, if these inputs do, and so in the loops inside."""
    found.update(inputs)
    for node in graph.nodes:
        for region in node.regions:
            _add_invariant(region, region.inputs[: node.attributes.consts] if node.op is SCAN else (), found)
        if node.operands and all(value in found for value in node.operands):
            found.update(node.outputs)


def _cut(make: Maker, x: Value, y: Value, packed: Sequence[bool]) -> Sequence[Value] | None:
    """`packed`: which of them is packed once and for all where it has the columns."""
    x, y, (left, right, output) = _merged(make, x, y)
    extents = dict(zip((*left, *right), (*x.shape, *y.shape), strict=True))
    summed = [label for label in left if label not in output]
    if not output or not summed:
        return None
    # The tile's vector runs along the result's last axis; the other operand has the rows.
    (rows, rows_value), columns = ((left, x), right) if output[-1] in right else ((right, y), left)
    if output[-1] in rows or _size(extents, set(rows) - set(columns)) < _ROWS or _size(extents, set(columns) - set(rows)) < _COLUMNS:
        return None
    columns_value, is_packed = (y, packed[1]) if output[-1] in right else (x, packed[0])
    total = _size(extents, set(summed))
    across = _innermost(rows_value, rows) not in summed
    large = rows_value.type.nbytes > _TURNED_BYTES and extents[output[-1]] * x.dtype.itemsize > _TILE_BYTES
    turns = across and large and len(summed) == 1 and total >= _TURNED_STEPS and not _is_windows(rows_value)
    in_lines = not across and _innermost(columns_value, columns) == output[-1]
    few = not is_packed and _size(extents, set(rows) - set(columns)) < ROWS_IN_PANELS
    if in_lines and few and wants_panels(columns_value.type.nbytes, extents[output[-1]] * columns_value.dtype.itemsize):
        return None  # a block of steps after the other as it is
    most = _STEPS_ACROSS if across and not turns else _STEPS
    is_long = total > most * 1.5
    if not is_long and not turns:
        return None
    # The axis that is walked slowest, so that a part is one piece of memory where the whole is.
    axis = max(summed, key=lambda label: (extents[label] * most >= total, -summed.index(label)))
    step = extents[axis]
    if is_long:
        count = -(-step // max(1, most * step // total, -(-step // _MOST)))
        step = -(-step // count)  # parts of about one size
        step = -(-step // 4) * 4 if step >= 4 else step
    attributes = DotAttributes(f"{left},{right}->{output}")
    sum_so_far: Value | None = None
    for first in range(0, extents[axis], step):
        span = first, min(first + step, extents[axis])
        parts = [make.part(x, left.index(axis), *span), make.part(y, right.index(axis), *span)]
        if turns:
            place = 0 if rows == left else 1
            parts[place] = _turned(make, parts[place], rows.index(axis))
        part = make(DOT, *parts, attributes=attributes)
        sum_so_far = part if sum_so_far is None else make(e.ADD, sum_so_far, part)
    return None if sum_so_far is None else [sum_so_far]


def _merged(make: Maker, x: Value, y: Value) -> tuple[Value, Value, tuple[str, str, str]]:
    """The operands and their letters, with summed axes that follow each other in both as one: the steps and the sequences of a batch,
    in the gradient of a weight."""
    left, right, output = make.node.attributes.labels
    if any(value.node is not None and value.node.op.is_view for value in (x, y)):
        return x, y, (left, right, output)
    for first, second in itertools.pairwise(left):
        pair = first + second
        if pair in right and first not in output and second not in output:
            x, y = (_merge(make, value, labels.index(pair)) for value, labels in ((x, left), (y, right)))
            return x, y, (left.replace(second, ""), right.replace(second, ""), output)
    return x, y, (left, right, output)


def _merge(make: Maker, value: Value, axis: int) -> Value:
    shape = value.shape
    return make.shaped(value, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def _turned(make: Maker, value: Value, axis: int) -> Value:
    """A copy of a matrix whose elements along `axis` lie next to each other."""
    attributes = PackAttributes(axis, value.shape[axis], value.shape[axis])
    return make(UNPACK, make(PACK, value, attributes=attributes), attributes=attributes)


def _is_windows(value: Value) -> bool:
    while value.node is not None and value.node.op.is_view:
        if value.node.op is WINDOWS:
            return True
        value = value.node.operands[0]
    return False


def _size(extents: dict[str, int], labels: set[str]) -> int:
    return math.prod(extents[label] for label in labels)


def _innermost(value: Value, labels: str) -> str:
    """The letter of the axis whose elements lie next to each other in memory."""
    place = len(labels) - 1
    if value.node is not None and value.node.op is TRANSPOSE:
        return labels[value.node.attributes.permutation.index(place)]
    return labels[place]
