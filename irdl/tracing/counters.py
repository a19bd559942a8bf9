"""Integers that follow from counters of loops (`Trace.counters`): how far they reach, and which comparisons that decides."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from irdl.ir.builder import Builder, constant_of
from irdl.ir.dtypes import is_integer
from irdl.ir.graph import Value
from irdl.ops.elementwise import CAST
from irdl.ops.shape import RESHAPE
from irdl.tracing.intervals import Interval, interval_of
from irdl.tracing.recorder import Trace

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
}
#: how far back it is looked for counters
_DEPTH = 12


@dataclass(frozen=True)
class Line:
    """`scale * counter + offset`, of a counter of a trace; a number alone where there is none."""

    scale: int
    offset: int
    counter: Value | None = None
    trace: Trace | None = None

    def at(self, step: int) -> int:
        return self.scale * step + self.offset

    @property
    def steps(self) -> range:
        """The steps that the counter goes through."""
        return range(1) if self.trace is None or self.counter is None else self.trace.counters[self.counter]

    def ends(self) -> tuple[int, int]:
        """The least and the largest number that it comes to."""
        first, last = self.at(self.steps[0]), self.at(self.steps[-1])
        return min(first, last), max(first, last)


def are_within(trace: Trace | None) -> bool:
    """Whether there are any, in this trace or around it."""
    while trace is not None:
        if trace.counters:
            return True
        trace = trace.parent
    return False


def line_of(trace: Trace, value: Value, depth: int = _DEPTH) -> Line | None:
    """An integer as a multiple of a counter and a number; None of one that is not."""
    if value.type.size != 1 or not is_integer(value.dtype):
        return None
    array = constant_of(value)
    if array is not None:
        return Line(0, int(array.reshape(-1)[0]))
    if value in trace.counters:
        return Line(1, 0, value, trace)
    if value in trace.lifted_cells:
        return line_of(*trace.lifted_cells[value], depth)
    node = value.node
    if node is None or not depth:
        return None
    if node.op in (CAST, RESHAPE):
        return line_of(trace, node.operands[0], depth - 1)
    if node.op.name == "neg":
        part = line_of(trace, node.operands[0], depth - 1)
        return part and Line(-part.scale, -part.offset, part.counter, part.trace)
    if node.op.name not in ("add", "sub", "mul"):
        return None
    first, second = (line_of(trace, operand, depth - 1) for operand in node.operands)
    if first is None or second is None:
        return None
    if node.op.name == "mul":
        line, factor = (first, second) if not second.scale else (second, first)
        return None if factor.scale else Line(line.scale * factor.offset, line.offset * factor.offset, line.counter, line.trace)
    if first.counter is not None and second.counter is not None and first.counter is not second.counter:
        return None
    sign = 1 if node.op.name == "add" else -1
    owner = first if first.counter is not None else second
    return Line(first.scale + sign * second.scale, first.offset + sign * second.offset, owner.counter, owner.trace)


def difference(value: Value, other: Value | None) -> int | None:
    """How much more an integer is than another that it was computed from, where that is a number; None of others."""
    node = value.node
    if other is None or node is None or node.op.name not in ("add", "sub"):
        return None
    first, second = node.operands
    by = constant_of(second if first is other else first)
    if by is None or by.size != 1 or other not in ((first,) if node.op.name == "sub" else (first, second)):
        return None
    return int(by.reshape(-1)[0]) * (1 if node.op.name == "add" else -1)


def reach(trace: Trace, value: Value, depth: int = _DEPTH) -> Interval:
    """The least and the largest number that an integer may come to, as far as counters tell; None where they do not."""
    line = line_of(trace, value, depth)
    if line is not None:
        return line.ends()
    if value.type.size != 1 or not is_integer(value.dtype):
        return None
    if value in trace.lifted_cells:
        return reach(*trace.lifted_cells[value], depth)
    node = value.node
    if node is None or not depth:
        return None
    return interval_of(node.op.name, [reach(trace, operand, depth - 1) for operand in node.operands])


def outcome(trace: Trace, value: Value) -> bool | None:
    """A comparison of integers that is the same whatever the counters are; None of others."""
    found = _compared(trace, value)
    if found is None:
        return None
    compare, trace, first, second = found
    ends, others = reach(trace, first), reach(trace, second)
    if ends is None or others is None:
        return None
    if compare in (operator.eq, operator.ne):
        if ends[1] < others[0] or others[1] < ends[0]:
            return compare is operator.ne
        return compare is operator.eq if ends[0] == ends[1] == others[0] == others[1] else None
    outcomes = {compare(a, b) for a in ends for b in others}
    return outcomes.pop() if len(outcomes) == 1 else None


def cut_at(trace: Trace, value: Value) -> tuple[Line, int] | None:
    """A comparison that turns out one way before a step of a loop, and the other way from it on (or at it): the loop, as its counter,
    and the step."""
    found = _compared(trace, value)
    if found is None:
        return None
    compare, trace, *sides = found
    first, second = (line_of(trace, side) for side in sides)
    if first is None or second is None or (first.counter and second.counter and first.counter is not second.counter):
        return None
    line = first if first.counter is not None else second
    steps = line.steps
    if compare in (operator.eq, operator.ne):
        # They meet at one step at most, unless they go side by side.
        scale, offset = first.scale - second.scale, second.offset - first.offset
        if not scale or offset % scale or offset // scale not in steps:
            return None
        met = offset // scale
        return line, met + 1 if met == steps[0] else met
    low, high = steps[0], steps[-1]
    outcomes = [compare(first.at(step), second.at(step)) for step in (low, high)]
    if outcomes[0] == outcomes[1]:
        return None
    while high - low > 1:  # it changes once
        middle = (low + high) // 2
        low, high = (middle, high) if compare(first.at(middle), second.at(middle)) == outcomes[0] else (low, middle)
    return line, high


def crosses_at(trace: Trace, value: Value, limit: int) -> tuple[Line, int] | None:
    """An integer that is less than a limit before a step of a loop and not from it on, or the other way round: the loop, as its counter,
    and the step."""
    line = line_of(trace, value)
    if line is None or not line.scale or line.ends()[0] >= limit or line.ends()[1] < limit:
        return None
    offset = line.offset - limit
    return line, -offset // line.scale + 1 if line.scale < 0 else -(offset // line.scale)


def _compared(trace: Trace, value: Value) -> tuple[Callable[[Any, Any], bool], Trace, Value, Value] | None:
    """Of a comparison how and what it compares, and the trace that this is of; an integer is true where it is not zero."""
    if value in trace.lifted_cells:
        return _compared(*trace.lifted_cells[value])
    if value.type.size == 1 and is_integer(value.dtype):
        return operator.ne, trace, value, Builder().constant(0, value.dtype)
    node = value.node
    if node is not None and node.op is RESHAPE:
        return _compared(trace, node.operands[0])
    if node is None or node.op.name not in _COMPARED or value.type.size != 1:
        return None
    first, second = node.operands
    return _COMPARED[node.op.name], trace, first, second
