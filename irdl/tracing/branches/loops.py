"""Loops of rewritten code. A `for` whose steps may end it goes on to its last step, and does nothing from there on; a `while` whose
test is not known is a `while` of the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from irdl.errors import TraceError
from irdl.tracing.branches.blocks import BREAK_CODE, CONTINUE_CODE, NOTHING, RETURN_CODE, Exit
from irdl.tracing.branches.merge import ANYTHING
from irdl.tracing.branches.partly import partly_set, rename
from irdl.tracing.branches.repeat import repeat_open
from irdl.tracing.branches.sides import Run, is_open, then, where_left, without
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops import plans

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
            LongLoop: there are many, behind one that may have been it.
            TraceError: there are too many, behind one that may have been it.
        """
        if self._found is None:
            self._found = without(body(item), CONTINUE_CODE)
        else:
            self._steps += 1
            if self._steps == plans.STEPS_BEHIND:
                plans.ask(self._steps)
            if self._steps > _MOST_STEPS:
                raise TraceError(
                    f"a `for` whose end depends on traced numbers has more than {_MOST_STEPS} steps, and each of them is traced: write it as "
                    f"a `while`{user_line()}"
                )
            self._found = where_left(self._found, lambda: without(body(item), CONTINUE_CODE))
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether it is known that a step has ended it."""
        return self._found is not None and NOTHING not in self._found.ways

    @property
    def ways(self) -> frozenset[int]:
        """The ways on which steps may have left it, its end among them; none where it is known that none has."""
        return frozenset() if self._found is None else self._found.ways

    def with_exits(
        self, body: Callable[[Any], Exit | None], ways: frozenset[int], run: Callable[[Callable[[Any], Exit | None], Exit], None]
    ) -> None:
        """Let `run` run the body as often as it will: each time that does nothing if the loop was left, in one of these ways. How it is
        left is in variables of the body, which it changes as the user's code changes its own. `run` is told of the exit that variables
        refer to which are set where the loop was left."""
        code: Any = NOTHING if self._found is None else self._found.code
        value: Any = self._found.value if self._found is not None and RETURN_CODE in self._found.ways else ANYTHING
        left = Exit(code, value, ways, (), object())

        def step(item: Any) -> Exit | None:
            nonlocal code, value

            def once() -> Exit | None:
                return without(body(item), CONTINUE_CODE)

            partly = partly_set(body.__closure__ or (), left.key)
            found = where_left(replace(left, code=code, value=value, partly=partly), once) if is_open(code) else once()
            if found is None:
                return None
            if not found.ways <= ways:
                return found
            rename(found.partly, found, left.key)
            code = found.code
            value = found.value if RETURN_CODE in found.ways else value
            return None

        run(step, left)
        self._found = replace(left, code=code, value=value, partly=partly_set(body.__closure__ or (), left.key))

    @property
    def can_be_resumed(self) -> bool:
        """Whether `with_exits` can go on with it: all variables are set, or none of those of some ways only."""
        return self._found is None or not self._found.partly

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
