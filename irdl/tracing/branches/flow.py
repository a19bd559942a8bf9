"""What rewritten code calls (`rewrite`): with a test that the trace knows, it is Python's own branch; else both sides are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import PYTHON, to_value, wrap
from irdl.tracing.branches.blocks import BREAK, CONTINUE, RETURN_CODE, Exit, leave
from irdl.tracing.branches.loops import loop, repeat
from irdl.tracing.branches.sides import Run, handled, is_open, then, truth, two_sides
from irdl.tracing.recorder import user_line

__all__ = ["BREAK", "CONTINUE", "assert_", "both", "branch", "choose", "either", "handled", "leave", "loop", "negate", "nothing", "repeat"]
__all__ += ["result", "then"]


def nothing() -> None:
    """A block that is not there."""


def branch(test: Any, true: Run, false: Run, rest: Run | None = None) -> Exit | None:
    """`if test: true() else: false()`, and then, where nothing leaves that, `rest()`."""
    if is_open(test):
        return two_sides(test, true, false, rest)
    return then(true() if test else false(), rest)


def choose(test: Any, true: Callable[[], Any], false: Callable[[], Any]) -> Any:
    """`true() if test else false()`."""
    if not is_open(test):
        return true() if test else false()
    return result(two_sides(test, lambda: leave(true()), lambda: leave(false())))


def both(x: Any, y: Callable[[], Any]) -> Any:
    """`x and y()`."""
    return choose(x, y, lambda: x) if is_open(x) else x and y()


def either(x: Any, y: Callable[[], Any]) -> Any:
    """`x or y()`."""
    return choose(x, lambda: x, y) if is_open(x) else x or y()


def negate(x: Any) -> Any:
    """`not x`."""
    return wrap(to_value(np.logical_not(wrap(truth(x)))), PYTHON) if is_open(x) else not x


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
