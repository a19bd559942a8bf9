"""`for item in items: body(item)`, of rewritten code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from irdl import config
from irdl.errors import TraceError
from irdl.tracing.branches.blocks import Exit
from irdl.tracing.branches.loops import loop
from irdl.tracing.branches.sides import Run
from irdl.tracing.long_loops import plans
from irdl.tracing.long_loops.items import Items, items_of
from irdl.tracing.long_loops.once import Ends, record
from irdl.tracing.long_loops.plans import Plan, Site, current_plan
from irdl.tracing.recorder import current_trace


def each(given: Any, body: Callable[[Any], Exit | None], orelse: Run, line: int) -> Exit | None:
    """The loop at this line, and its `else`; how it is left."""
    found, plan, state = items_of(given), current_plan(), loop()
    if found is None or plan is None or not plans.are_traced_once(current_trace()):
        _by_steps(given if found is None else found, body, state)
    else:
        _in_pieces(found, body, Site(body.__code__.co_filename, line), plan, state)
    return state.finish(orelse)


def _by_steps(items: Iterable[Any], body: Callable[[Any], Exit | None], state: loop) -> None:
    for item in items:
        if state.step(body, item):
            break


def _in_pieces(items: Items, body: Callable[[Any], Exit | None], site: Site, plan: Plan, state: loop) -> None:
    """The loop's pieces one after the other: the long ones traced once, and what is behind a step that may have ended it.

    Raises:
        Again: one cannot be.
    """
    count, position = len(items), 0
    is_open = site not in plan.by_steps
    for end in sorted({*(plan.cuts.get((site, count), ()) if is_open else ()), count}):
        is_long = is_open and count >= plans.MANY_STEPS and end - position >= min(plans.FEW_STEPS, plans.MANY_STEPS)
        if not (is_long and state.can_be_resumed):
            most = min(plans.STEPS_BEHIND, plans.MANY_STEPS) if is_open else count
            position = _until_left(items, range(position, end), body, state, most)
        if state.is_over:
            return
        if position < end:
            _once(items, body, range(position, end), site, plan, state)
        position = end


def _until_left(items: Items, steps: range, body: Callable[[Any], Exit | None], state: loop, most: int) -> int:
    """Go by steps up to one that may have ended the loop, and has so many behind it; the next step."""
    for step, item in zip(steps, items.between(steps.start, steps.stop), strict=True):
        if state.step(body, item) or (state.ways and state.can_be_resumed and steps.stop - step > most):
            return step + 1
    return steps.stop


def _once(items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan, state: loop) -> None:
    plan.recorded.add(site)
    try:
        _record(items, body, steps, site, plan, state)
    except Exception as error:
        if plan.is_new or (isinstance(error, TraceError) and error.branching is not None):
            raise
        if "roll" in config.LOG.value:
            print(
                f"irdl: {site.file}:{site.line}: not traced once from step {steps.start} on: {type(error).__name__}: {error}",
                file=sys.stderr,
            )
        raise plan.fails(site, len(items), steps.start, getattr(error, "hopeless", False)) from None


def _record(items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan, state: loop) -> None:
    """Trace the body once, or once more for each way that it turns out to leave the loop."""
    ways = state.ways
    while True:
        try:
            if ways:
                state.with_exits(body, ways, lambda step, left: record(items, step, steps, site, plan, left))
            else:
                record(items, body, steps, site, plan)
            return
        except Ends as end:
            if end.ways <= ways or end.hopeless:
                raise
            ways |= end.ways
