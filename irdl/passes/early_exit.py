"""Early exit: a scan of which all that is left does nothing ends there.

    h = scan { return cond(p(h), f(h, x), h) }   ->   h, t = while (t < T and p(h)) { f(h, x[t]), t + 1 }

What the other side gives may be numbers too, of which p does not hold: then they are what comes out where the end was early. It runs
behind derivatives: a scan has one that goes backwards, a `while` has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irdl.ir.builder import Builder, constant_of, copy_nodes, fresh_inputs, is_uniform, rewrite
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ir.types import TensorType
from irdl.ops import elementwise as e
from irdl.ops.control import COND, SCAN, WHILE, ScanAttributes, WhileAttributes
from irdl.ops.index import GATHER, IndexAttributes
from irdl.ops.shape import IOTA
from irdl.ops.side_stores import is_left_alone
from irdl.passes.maker import Maker

_INDEX = np.dtype(np.int64)
_INDEX_TYPE = TensorType(_INDEX, ())


def exit_early(graph: Graph) -> Graph:
    """Make the scans whose steps may do nothing from one on loops that end there."""
    return rewrite(graph, _visit, ops=(SCAN,))


class _Exit(NamedTuple):
    """How a scan is left.

    Attributes:
        choice: the cond in its body whose `going` side, 0 or 1, is a step.
        numbers: for each that it carries what it is once the scan is left; None where it stays as it is.
    """

    choice: Node
    going: int
    numbers: list[np.ndarray | None]


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    if node.op is not SCAN:
        return None
    attributes: ScanAttributes = node.attributes
    (body,) = node.regions
    if attributes.segments or attributes.carry < len(body.outputs) or not attributes.carry:
        return None
    conds = [choice for choice in body.nodes if choice.op is COND and _may_be_asked(body, attributes, choice)]
    found = next((exit for choice in conds for going in (0, 1) if (exit := _exit(body, attributes, choice, going))), None)
    return None if found is None else _while(Maker(builder, node), operands, found)


def _may_be_asked(body: Graph, attributes: ScanAttributes, choice: Node) -> bool:
    """Whether the test of a cond asks for what the scan carries alone, and nothing can fail but what comes of it."""
    if not _asked(choice).isdisjoint(attributes.inputs(body.inputs).xs):
        return False
    made = set(choice.outputs)
    for node in body.nodes:
        if not made.isdisjoint(node.operands):
            made.update(node.outputs)
        elif node is not choice and (node.op.can_raise or node.regions):
            return False
    return True


def _exit(body: Graph, attributes: ScanAttributes, choice: Node, going: int) -> _Exit | None:
    """How the scan is left by this choice of its body, if it is: the other side changes nothing, or to numbers."""
    builder, inputs = Builder(), fresh_inputs(body.inputs)
    left = _chosen(builder, body, choice, 1 - going, inputs)
    numbers = [constant_of(value) for value in left]
    pairs = zip(left, attributes.inputs(inputs).carry, numbers, strict=True)
    if not all(is_left_alone(value, own) if number is None else number.ndim == 0 for value, own, number in pairs):
        return None
    found = _Exit(choice, going, numbers)
    return found if _stays_left(body, attributes, found) else None


def _chosen(builder: Builder, body: Graph, choice: Node, side: int, inputs: Sequence[Value]) -> list[Value]:
    """What the body gives where this side of a cond is taken."""
    mapping = dict(zip(body.inputs, inputs, strict=True))
    for node in body.nodes:
        if node is choice:
            outputs = builder.inline(node.regions[side], [mapping[value] for value in node.operands[1:]])
            mapping.update(zip(node.outputs, outputs, strict=True))
        else:
            copy_nodes(builder, [node], mapping)
    return [mapping[value] for value in body.outputs]


def _stays_left(body: Graph, attributes: ScanAttributes, found: _Exit) -> bool:
    """Whether a scan that was left has been left at all later steps too."""
    builder, inputs = Builder(), fresh_inputs(body.inputs)
    carry = attributes.inputs(inputs).carry
    given = {value: builder.constant(number) for value, number in zip(carry, found.numbers, strict=True) if number is not None}
    (test,) = builder.inline(_test_of(body, found), [given.get(value, value) for value in inputs])
    outcome = constant_of(test)
    if outcome is not None:
        return bool(outcome) is bool(found.going)
    asked, own = _asked(found.choice), attributes.inputs(body.inputs).carry
    return all(number is None or value not in asked for value, number in zip(own, found.numbers, strict=True))


def _asked(choice: Node) -> set[Value]:
    """What the test of a cond is, and is made of."""
    test = choice.operands[0]
    return {test, *(value for node in reachable_nodes([test]) for value in node.operands)}


def _test_of(body: Graph, found: _Exit) -> Graph:
    return Graph(list(body.inputs), [found.choice.operands[0]], body.name)


def _while(make: Maker, operands: list[Value], found: _Exit) -> list[Value]:
    """The loop, in the place of the scan."""
    attributes: ScanAttributes = make.node.attributes
    given, count = attributes.inputs(operands), attributes.consts
    lines = [_line(value) for value in given.xs]
    rows = [value for value, line in zip(given.xs, lines, strict=True) if line is None]
    results = make.builder.node(
        WHILE,
        [*given.consts, *given.consts, *rows, make.builder.constant(0, _INDEX), *given.carry],
        WhileAttributes(count, count + len(rows)),
        [_condition(make.node, found), _step(make.node, found, rows, lines)],
        make.node.location,
    ).outputs
    is_early = make(e.LESS, results[0], attributes.length)
    return [
        value if number is None else make(e.SELECT, is_early, make.builder.constant(number), value)
        for value, number in zip(results[1:], found.numbers, strict=True)
    ]


def _condition(scan: Node, found: _Exit) -> Graph:
    """Whether there is another step: the scan has more, and was not left."""
    attributes: ScanAttributes = scan.attributes
    (body,) = scan.regions
    make, step = Maker(Builder(), found.choice), Value(_INDEX_TYPE, name="step")
    inputs = fresh_inputs(body.inputs)
    (test,) = make.builder.inline(_test_of(body, found), inputs)
    goes_on = make(e.BITWISE_AND, make(e.LESS, step, attributes.length), make(e.BITWISE_XOR, test, True) if found.going else test)
    mine = attributes.inputs(inputs)
    return Graph([*mine.consts, step, *mine.carry], [goes_on], "while condition")


def _step(scan: Node, found: _Exit, rows: Sequence[Value], lines: Sequence[int | None]) -> Graph:
    """A step of the scan that is not left, at a step that is counted."""
    attributes: ScanAttributes = scan.attributes
    (body,) = scan.regions
    make, step = Maker(Builder(), scan), Value(_INDEX_TYPE, name="step")
    arrays, inputs = fresh_inputs(rows), fresh_inputs(body.inputs)
    place = make(e.SUB, make.builder.constant(attributes.length - 1, _INDEX), step) if attributes.reverse else step
    waiting = iter(arrays)
    xs = [
        (make(e.ADD, place, line) if line else place)
        if line is not None
        else make(GATHER, next(waiting), make.shaped(place, (1,)), attributes=IndexAttributes((0,)))
        for line in lines
    ]
    mine = attributes.inputs(inputs)
    after = _chosen(make.builder, body, found.choice, found.going, [*mine.consts, *mine.carry, *xs])
    return Graph([*mine.consts, *arrays, step, *mine.carry], [make(e.ADD, step, 1), *after], body.name)


def _line(rows: Value) -> int | None:
    """What the first of numbers is that count up; None of others."""
    node = rows.node
    if node is None or rows.dtype != _INDEX or rows.type.rank != 1:
        return None
    if node.op is IOTA:
        return 0
    if node.op is not e.ADD:
        return None
    first, second = node.operands
    number = constant_of(second)
    return int(number.flat[0]) if number is not None and is_uniform(number) and first.node is not None and first.node.op is IOTA else None
