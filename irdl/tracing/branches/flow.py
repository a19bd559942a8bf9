"""What rewritten code calls (`rewrite`): with a test that the trace knows, it is Python's own branch; else both sides are recorded."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import PYTHON, is_box, to_value, wrap
from irdl.tracing.branches.blocks import BREAK, CONTINUE, RETURN_CODE, Exit, leave
from irdl.tracing.branches.loops import loop, repeat
from irdl.tracing.branches.merge import may_be_one
from irdl.tracing.branches.sides import Run, is_open, then, truth, two_sides
from irdl.tracing.extrema import traced_all, traced_any
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops.each import each
from irdl.tracing.long_loops.growing import GrownList
from irdl.tracing.long_loops.items import items

__all__ = [
    "BREAK",
    "CONTINUE",
    "GrownList",
    "assert_",
    "both",
    "branch",
    "choose",
    "each",
    "either",
    "items",
    "leave",
    "loop",
    "negate",
    "nothing",
]
__all__ += ["repeat", "result", "same", "then", "within"]


def nothing() -> None:
    """A block that is not there."""


def branch(test: Any, true: Run, false: Run, rest: Run | None = None) -> Exit | None:
    """`if test: true() else: false()`, and then, where nothing leaves that, `rest()`."""
    test = _asked(test)
    if is_open(test):
        return two_sides(test, true, false, rest)
    return then(true() if test else false(), rest)


def _asked(test: Any) -> Any:
    """A test, or what an object of the user's says of its truth."""
    ask = getattr(type(test), "__bool__", None)
    return ask(test) if isinstance(ask, types.FunctionType) and not is_box(test) else test


def choose(test: Any, true: Callable[[], Any], false: Callable[[], Any]) -> Any:
    """`true() if test else false()`."""
    test = _asked(test)
    if not is_open(test):
        return true() if test else false()
    return result(two_sides(test, lambda: leave(true()), lambda: leave(false())))


def both(x: Any, y: Callable[[], Any]) -> Any:
    """`x and y()`."""
    test = _asked(x)
    return choose(test, y, lambda: x) if is_open(test) else y() if test else x


def either(x: Any, y: Callable[[], Any]) -> Any:
    """`x or y()`."""
    test = _asked(x)
    return choose(test, lambda: x, y) if is_open(test) else x if test else y()


def negate(x: Any) -> Any:
    """`not x`."""
    x = _asked(x)
    return wrap(to_value(np.logical_not(wrap(truth(x)))), PYTHON) if is_open(x) else not x


def within(x: Any, items: Any) -> Any:
    """`x in items`."""
    if is_box(items):
        return np.any(items == x)
    if is_box(x) and x.is_open and isinstance(items, range):
        step = items.step
        return both(traced_all([x >= min(items), x <= max(items)]), lambda: (x - items.start) % step == 0) if items else False
    if isinstance(items, (list, tuple, set, frozenset, range)) and any(is_box(item) and item.is_open for item in (x, *items)):
        return traced_any(x is item or x == item for item in items)
    return x in items


def same(x: Any, y: Any) -> bool:
    """`x is y`.

    Raises:
        TraceError: that depends on the side that a branch takes.
    """
    may_be = may_be_one(x, y) or (is_box(x) and is_box(y) and any(alias.other(x.cell) is y.cell for alias in x.cell.aliases))
    if x is not y and may_be:
        raise TraceError(f"`is` asks for two that are one on one side of a branch only: compare what they hold{user_line()}")
    return x is y


def assert_(test: Any, message: Callable[[], Any] | None = None) -> None:
    """`assert test, message()`."""

    def fail() -> None:
        raise AssertionError(*([] if message is None else [message()]))

    if __debug__:
        branch(test, nothing, fail)


def result(found: Exit | None) -> Any:
    """What a function returns that is left like this."""
    if found is None:
        return None
    if found.ways == {RETURN_CODE} or found.value is None:
        return found.value
    raise TraceError(
        "the function returns a value on one side of a branch and comes to its end, which returns None, on the other: which one is not "
        f"known while tracing; return a value there too{user_line()}"
    )
