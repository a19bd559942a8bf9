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
from irdl.tracing.long_loops.once import record
from irdl.tracing.long_loops.plans import Plan, Site, current_plan
from irdl.tracing.recorder import current_trace


def each(given: Any, body: Callable[[Any], Exit | None], orelse: Run, line: int) -> Exit | None:
    """The loop at this line, and its `else`; how it is left."""
    found, plan = items_of(given), current_plan()
    state = loop()
    if found is None or plan is None or not plans.is_traced_once(current_trace(), len(found)):
        _by_steps(given if found is None else found, body, state)
    else:
        _in_pieces(found, body, Site(body.__code__.co_filename, line), plan, state)
    return state.finish(orelse)


def _by_steps(items: Iterable[Any], body: Callable[[Any], Exit | None], state: loop) -> bool:
    """Whether it is known that one of the steps has ended the loop."""
    return any(state.step(body, item) for item in items)


def _in_pieces(items: Items, body: Callable[[Any], Exit | None], site: Site, plan: Plan, state: loop) -> None:
    """The loop's pieces one after the other: the long ones traced once.

    Raises:
        Again: one cannot be.
    """
    count, position = len(items), 0
    cuts = () if site in plan.by_steps else plan.cuts.get((site, count), ())
    for end in sorted({*cuts, count}):
        if site in plan.by_steps or end - position < min(plans.FEW_STEPS, plans.MANY_STEPS) or state.is_left:
            if _by_steps(items.between(position, end), body, state):
                return
        else:
            _once(items, body, range(position, end), site, plan)
        position = end


def _once(items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan) -> None:
    plan.recorded.add(site)
    try:
        record(items, body, steps, site, plan)
    except Exception as error:
        if plan.is_new or (isinstance(error, TraceError) and error.branching is not None):
            raise
        if "roll" in config.LOG.value:
            print(
                f"irdl: {site.file}:{site.line}: not traced once from step {steps.start} on: {type(error).__name__}: {error}",
                file=sys.stderr,
            )
        raise plan.fails(site, len(items), steps.start, getattr(error, "hopeless", False)) from None
