"""Loops of rewritten code. A `for` whose steps may end it goes on to its last step, and does nothing from there on; a `while` whose
test is not known is a `while` of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irdl.errors import TraceError
from irdl.tracing.branches.blocks import BREAK_CODE, CONTINUE_CODE, NOTHING, Exit
from irdl.tracing.branches.repeat import repeat_open
from irdl.tracing.branches.sides import Run, is_open, then, where_left, without
from irdl.tracing.lines import user_line

#: a loop with more steps behind one that may have ended it may as well have no end
_MOST_STEPS = 20_000


class loop:  # called as a function is
    """A `for` loop under way."""

    def __init__(self) -> None:
        self._found: Exit | None = None
        self._steps = 0

    def step(self, body: Callable[[Any], Exit | None], item: Any) -> bool:
        """One step; whether it is known to be the last.

        Raises:
            TraceError: there are too many, behind one that may have been it.
        """
        if self._found is None:
            self._found = without(body(item), CONTINUE_CODE)
        else:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise TraceError(
                    f"a `for` whose end depends on traced numbers has more than {_MOST_STEPS} steps, and each of them is traced: write it as "
                    f"a `while`{user_line()}"
                )
            self._found = where_left(self._found, lambda: without(body(item), CONTINUE_CODE))
        return self._found is not None and NOTHING not in self._found.ways

    @property
    def is_left(self) -> bool:
        """Whether a step may have ended it."""
        return self._found is not None

    def finish(self, orelse: Run) -> Exit | None:
        """Behind the last step: `else`, where nothing has ended the loop."""
        return without(then(self._found, orelse), BREAK_CODE)


def repeat(test: Callable[[], Any], body: Run, orelse: Run) -> Exit | None:
    """`while test(): body()`, and `else`."""
    found: Exit | None = None
    while found is None:
        going = test()
        if is_open(going):
            return without(then(repeat_open(going, test, body, None), orelse), BREAK_CODE)
        if not going:
            return orelse()
        found = without(body(), CONTINUE_CODE)
    if NOTHING in found.ways:
        found = then(repeat_open(None, test, body, found), orelse)
    return without(found, BREAK_CODE)
