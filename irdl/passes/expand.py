"""What the code generator would do one element at a time, put together from what it does many at a time.

    argmax(x) -> reductions (`passes/search.py`)
    unwindow(y) -> sums of windows of y (`passes/overlap.py`)
    dot(x, y) whose sums have one term -> a product of elements
    dot(x, y) whose last axis is short -> the same with another axis last, transposed
    concat(x, y) whose elements take turns -> the same of copies, to be made and stored at once with what is computed

and the maximum of bools is `any`, the minimum `all`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from irdl.ir.builder import CONSTANT, Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.loops.index import MOST_BETWEEN
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT, DotAttributes, terms_of
from irdl.ops.index import GATHER
from irdl.ops.joining import CONCAT
from irdl.ops.reduce import ALL, ANY, ARGMAX, ARGMIN, MAX, MIN, Reduce
from irdl.ops.rules import uniform_number
from irdl.ops.shape import IOTA, SLICE, TRANSPOSE, TransposeAttributes
from irdl.ops.windows import UNWINDOW, WINDOWS
from irdl.passes.fuse import seen_through
from irdl.passes.maker import Maker
from irdl.passes.overlap import overlap_add, overlap_add_within
from irdl.passes.search import search


def expand(graph: Graph) -> Graph:
    """`graph` with those ops put together from others."""
    readers = Counter(value for node in graph.all_nodes() for value in node.operands)
    #: what becomes sums of its windows
    unwound = {seen_through(node.operands[0]).node for node in graph.all_nodes() if node.op is UNWINDOW}
    #: what stands for an unwindow that one node reads -> that unwindow, and its new operand
    unwindowed: dict[Value, tuple[Node, Value]] = {}

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        make = Maker(builder, node)
        if node.op is SLICE and operands[0] in unwindowed:
            inner, y = unwindowed[operands[0]]
            return overlap_add_within(make, y, inner.attributes)
        rule = _RULES.get(node.op)
        if node.op is DOT and node not in unwound and terms_of(node) == 1:
            rule = _product
        found = None if rule is None else rule(make, *operands)
        if node.op is UNWINDOW and found is not None and readers[node.output] == 1:
            unwindowed[found[0]] = node, operands[0]
        return found

    return rewrite(graph, visit, ops=_RULES)


def _extremum_of_bools(make: Maker, x: Value) -> Sequence[Value] | None:
    if x.dtype != np.bool_:
        return None
    return [make(ANY if make.node.op is MAX else ALL, x, attributes=make.node.attributes)]


def _half_power(make: Maker, x: Value, exponent: Value) -> Sequence[Value] | None:
    """x ** 0.5 is sqrt(x) but for -0.0 and -inf; x ** 1.5, x ** -2.5 and their kin follow."""
    number = uniform_number(exponent)
    if number is None or abs(number) not in (0.5, 1.5, 2.5) or x.type != make.node.output.type:
        return None
    unsigned = make(e.ADD, x, 0.0)  # of -0.0, what 0.0 gives
    found = make(e.SQRT, unsigned)
    for _ in range(int(abs(number))):
        found = make(e.MUL, found, unsigned)
    if number < 0:
        found = make(e.DIV, make.builder.constant(1, x.dtype), found)
    limit = make.builder.constant(0 if number < 0 else np.inf, x.dtype)
    return [make(e.SELECT, make(e.EQUAL, x, -np.inf), limit, found)]


def _copies_in_turns(make: Maker, *columns: Value) -> Sequence[Value] | None:
    """Of columns side by side, those that are there already are made anew, element by element: `stop_gradient` is a copy by now."""
    axis, node = make.node.attributes.axis, make.node
    if axis != len(node.output.shape) - 1 or len(columns) > MOST_BETWEEN or any(column.shape[axis] != 1 for column in columns):
        return None
    is_there = [_is_there(column) for column in columns]
    if not any(is_there) or len(set(columns)) < len(columns):
        return None
    made = [
        make.shaped(make(e.STOP_GRADIENT, make.shaped(column, column.shape[:axis])), column.shape) if there else column
        for column, there in zip(columns, is_there, strict=True)
    ]
    return [make(CONCAT, *made, attributes=node.attributes)]


def _is_there(value: Value) -> bool:
    """It is a view of what no group makes."""
    node = seen_through(value).node
    return node is None or not (node.op.is_elementwise or node.op in (DOT, IOTA, GATHER, CONSTANT) or isinstance(node.op, Reduce))


def _product(make: Maker, x: Value, y: Value) -> Sequence[Value]:
    """A contraction that adds nothing up, element by element: a part of what is made of it, and no pass over memory."""
    left, right, output = make.node.attributes.labels

    def factor(value: Value, labels: str) -> Value:
        """An operand whose axes are where the result has them."""
        extents = dict(zip(labels, value.shape, strict=True))
        kept = [label for label in output if label in labels]
        order = [labels.index(label) for label in kept if extents[label] > 1]
        if order != sorted(order):
            order = [labels.index(label) for label in (*kept, *(label for label in labels if label not in kept))]
            value = make(TRANSPOSE, value, attributes=TransposeAttributes(tuple(order)))
        return make.shaped(value, tuple(extents.get(label, 1) for label in output))

    return [make(e.MUL, factor(x, left), factor(y, right))]


#: A shorter last axis of a contraction does not fill a vector.
_NARROW = 8


def _wider_last(make: Maker, x: Value, y: Value) -> Sequence[Value] | None:
    """A kernel's vector lies along the last axis of its result: the longest of those whose numbers lie side by side in one operand and
    that the other does not have."""
    left, right, output = make.node.attributes.labels
    extents = dict(zip(output, make.node.output.shape, strict=True))
    if not output or extents[output[-1]] >= _NARROW:
        return None
    side_by_side = {_innermost(x, left), _innermost(y, right)} - (set(left) & set(right))
    wide = [label for label in output if extents[label] >= _NARROW and label in side_by_side]
    chosen = max(wide, key=lambda label: extents[label], default=None)
    if chosen is None:
        return None
    moved = output.replace(chosen, "") + chosen
    made = make(DOT, x, y, attributes=DotAttributes(f"{left},{right}->{moved}"))
    return [make(TRANSPOSE, made, attributes=TransposeAttributes(tuple(moved.index(label) for label in output)))]


def _innermost(value: Value, labels: str) -> str:
    """Of the axes of a view, that whose neighbours are neighbours in memory."""
    while value.node is not None and value.node.op in (TRANSPOSE, SLICE, WINDOWS):
        node = value.node
        if node.op is TRANSPOSE:
            labels = "".join(labels[node.attributes.permutation.index(axis)] for axis in range(len(labels)))
        value = node.operands[0]
        labels = labels[: len(value.shape)]
    return labels[-1:]


_RULES: dict[Op, Callable[..., Sequence[Value] | None]] = {
    MAX: _extremum_of_bools,
    MIN: _extremum_of_bools,
    ARGMAX: search,
    ARGMIN: search,
    e.POWER: _half_power,
    UNWINDOW: overlap_add,
    DOT: _wider_last,
    CONCAT: _copies_in_turns,
}
