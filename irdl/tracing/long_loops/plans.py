"""What is found out about long loops while a function is traced: it is traced again with that in mind, and so on until it stands.

A loop of many steps is traced once where it can be (`once`), in one piece or cut into several; all others go step by step.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, NamedTuple

from irdl import config
from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.tracing import counters
from irdl.tracing.counters import Line
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import Trace, current_trace, trace_stack
from irdl.tracing.users import Owner, is_users, owner_of

#: a loop of fewer steps is traced step by step
MANY_STEPS = 1000
#: so is a piece of a longer one that has fewer than these
FEW_STEPS = 64
#: so many steps behind one that may have ended a loop are traced once
STEPS_BEHIND = 16
#: in so many places a loop is cut
_MOST_CUTS = 8
#: so many first steps may be unlike the others
_MOST_FIRST_STEPS = 2


class Site(NamedTuple):
    """Where a loop stands in the source."""

    file: str
    line: int


class LongLoop(TraceError):
    """Code is about to go through a long loop step by step: it is rewritten."""

    def __init__(self, code: CodeType, site: Site, count: int) -> None:
        super().__init__(f"a loop of {count} steps or more")
        self.branching, self.site = code, site


class Again(TraceError):
    """Something was found out: the function is traced again."""


@dataclass
class Plan:
    """What is known about the loops of one function that is traced, again and again.

    Attributes:
        by_steps: loops that are traced step by step.
        cuts: of loops of so many steps, before which of them they are cut.
        recorded: loops that were traced once since it was begun anew.
        appended: what the loop appends to lists that is being traced once.
        counters: of loops that are being traced once, what counts their steps, and how many there are.
        is_new: whether something was found out since.
    """

    by_steps: set[Site] = field(default_factory=set)
    cuts: dict[tuple[Site, int], set[int]] = field(default_factory=dict)
    recorded: set[Site] = field(default_factory=set)
    counters: dict[Value, tuple[Site, int]] = field(default_factory=dict)
    appended: Any = None
    is_new: bool = False

    def again(self) -> Again:
        """The error that has the function traced again."""
        self.is_new = True
        error = Again("a loop is traced another way")
        for trace in trace_stack():
            trace.failure = error  # code that catches what went wrong would go on
        return error

    def fails(self, site: Site, count: int, step: int, hopeless: bool) -> Again:
        """From this step on a loop cannot be traced once: perhaps it can from the next, else it goes by steps."""
        if not hopeless and step < _MOST_FIRST_STEPS and step + 1 < count:
            self.cuts.setdefault((site, count), set()).add(step + 1)
        else:
            self.by_steps.add(site)
        return self.again()

    def cuts_at(self, counter: Value, step: int) -> bool:
        """Whether a loop is cut before this step from now on, if it was not cut too often."""
        cuts = self.cuts.setdefault(self.counters[counter], set())
        if len(cuts) >= _MOST_CUTS:
            return False
        cuts.add(step)
        return True

    def gives_up(self) -> bool:
        """Have all loops traced step by step that were traced once; whether there were any."""
        found = self.recorded - self.by_steps
        self.by_steps |= found
        return bool(found)


class _State(threading.local):
    plan: Plan | None = None


_state = _State()


def current_plan() -> Plan | None:
    """The plan of what is being traced; None where loops go by steps."""
    return _state.plan


@contextmanager
def planning() -> Iterator[Plan]:
    """A plan for a function that is about to be traced."""
    before, _state.plan = _state.plan, Plan()
    try:
        yield _state.plan
    finally:
        _state.plan = before


def are_traced_once(trace: Trace | None) -> bool:
    """Whether long loops are, in this trace. Where numbers are known all along, the graph runs once."""
    if trace is None or _state.plan is None or not trace.rolls or config.ROLL.value == "0":
        return False
    return not trace.followed and (not trace.inputs or any(value not in trace.known for value in trace.inputs))


def decided(trace: Trace, value: Value) -> bool | None:
    """The truth of what was compared with the counter of a loop, where that is the same at all steps.

    Raises:
        Again: it is one at first and the other later: the loop is cut there.
    """
    if not counters.are_within(trace):
        return None
    found = counters.outcome(trace, value)
    if found is None:
        _cut(counters.cut_at(trace, value))
    return found


def settle_index(trace: Trace, index: Value, extent: int) -> None:
    """An index that follows from the counter of a loop counts from the front or from the end of an axis, or is out of bounds, at all steps.

    Raises:
        Again: it changes: the loop is cut there.
        IndexError: it is out of bounds.
    """
    if not counters.are_within(trace):
        return
    for limit in (0, -extent, extent):
        _cut(counters.crosses_at(trace, index, limit))
    ends = counters.reach(trace, index)
    if ends is not None and (ends[1] < -extent or ends[0] >= extent):
        raise IndexError(f"index {ends[0]} is out of bounds for an axis of {extent}{user_line()}")


def _cut(found: tuple[Line, int] | None) -> None:
    plan = _state.plan
    if found is None or plan is None:
        return
    line, step = found
    if line.counter in plan.counters and plan.cuts_at(line.counter, step):
        raise plan.again()


def ask(count: int) -> None:
    """Before a loop of so many steps; or behind so many of one that may have ended already.

    Raises:
        LongLoop: it is the user's, and might be traced once.
    """
    plan = _state.plan
    if plan is None or not are_traced_once(current_trace()):
        return
    frame: Any = sys._getframe(1)
    while frame is not None and owner_of(frame.f_code.co_filename) in (Owner.IRDL, Owner.TRACER):
        frame = frame.f_back
    if frame is None or not is_users(frame.f_code.co_filename):
        return
    site = Site(frame.f_code.co_filename, frame.f_lineno)
    if site not in plan.by_steps:
        raise LongLoop(frame.f_code, site, count)
