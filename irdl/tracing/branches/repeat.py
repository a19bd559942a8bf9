"""A `while` whose test is not known: its body is traced once, and the loop carries what that changes."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.tracing.aliases import connect
from irdl.tracing.box import ARRAY, PYTHON, wrap
from irdl.tracing.branches.blocks import CONTINUE_CODE, NOTHING, Exit, leave
from irdl.tracing.branches.carrying import SHARED, CarryingLoop, Key, Step, is_array
from irdl.tracing.branches.merge import Merge
from irdl.tracing.branches.partly import joined_variable, known_where, ways_of
from irdl.tracing.branches.sides import Run, as_type, is_open, joined_exit, raises, truth, two_sides, without
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.lines import user_line
from irdl.tracing.of_regions import record_while
from irdl.tracing.recorder import Cell, open_trace
from irdl.tracing.region import Region
from irdl.tracing.unset import Partly

_BOOL = TensorType(np.dtype(bool), ())
_EXIT = ("exit",)
_AT_THE_END = frozenset([NOTHING])


def repeat_open(going: Any, test: Callable[[], Any], body: Run, found: Exit | None) -> Exit | None:
    """`while test(): body()` from here on.

    Args:
        going: the outcome of the test, where it was asked already.
        found: how the step before was left, if that is not known.
    """
    is_endless = found is not None  # so far its test has held whatever happened
    if found is not None:
        going = _goes_on(found, test)
    loop = _Loop(test, body, found, is_endless)
    if not loop.settle():
        raises(loop.block, as_type(_as_bool(going), _BOOL), True)
        return found
    if loop.replaces_what_it_stores_into():
        # The first step stores into an array from outside, later ones into what they have made: it is a step of its own.
        first = two_sides(going, lambda: without(body(), CONTINUE_CODE), lambda: None)
        going = _chosen(going, lambda: _goes_on(first, test))
        loop = _Loop(test, body, first, is_endless)
        loop.settle()
    return loop.record(going)


def _goes_on(found: Exit | None, test: Callable[[], Any]) -> Any:
    """Whether there is another step behind one that was left like this."""
    if found is None:
        return test()
    return _chosen(found.code == NOTHING, test) if NOTHING in found.ways else False


def _chosen(flag: Any, test: Callable[[], Any]) -> Any:
    """`flag and test()`, as a truth value."""
    if not is_open(flag):
        return flag and test()
    found = two_sides(flag, lambda: leave(_as_bool(test())), lambda: leave(False))
    assert found is not None
    return found.value


def _as_bool(test: Any) -> Any:
    return wrap(truth(test), PYTHON) if is_open(test) else bool(test)


class _Loop(CarryingLoop):
    """A loop that is being recorded. The first input of a step is a flag that says whether there is one."""

    def __init__(self, test: Callable[[], Any], body: Run, found: Exit | None, is_endless: bool) -> None:
        super().__init__([test, body], () if found is None else found.partly)
        self._body, self._found = body, found
        self._asked = test
        #: whether its test has always been known to hold
        self._is_endless = is_endless
        #: whether there is another step behind the one that was traced
        self._going: Any = None
        self._stored_at_first: set[Cell] = set()

    def _test(self) -> Any:
        outcome = self._asked()
        self._is_endless &= not is_open(outcome) and bool(outcome)
        return outcome

    def replaces_what_it_stores_into(self) -> bool:
        """An array that it carries is one from outside at first, and the body stores into it."""
        arrays = [before for before, _ in self._step.leaves.values() if is_array(before)]
        return self._found is None and any(array.cell in self._stored_at_first for array in arrays)

    def _trace_step(self) -> Step:
        step = self._trace_body("while body", _BOOL)
        if isinstance(error := step.block.raised, NameError):
            raise TraceError(f"{error}: before the first step of the loop it has none; give it one{user_line()}") from None
        if step.trace.printed:
            raise TraceError(f"print inside a while loop whose test is traced: how often is not known{user_line()}")
        return step

    def _run(self, own: Value, boxes: dict[Key, Any]) -> Exit | None:
        self._places.put(self._contents(boxes, _AT_THE_END))
        found = without(self._body(), CONTINUE_CODE)
        self._going = _goes_on(found, self._test)
        return found

    def _contents(self, given: dict[Key, Any], ways: frozenset[int], key: Any = None) -> list[tuple[Any, Any, Any]]:
        """What the places hold that the loop changes, with these in the places of numbers and arrays.

        Args:
            ways: those on which the step before, or the loop, was left.
            key: what its exit is going to have.
        """
        found = []
        for place_key, place in self._changes.items():
            merge = self._giving(given, place_key)
            if not isinstance(place.owner, types.CellType):
                found.append((place.owner, place.key, merge(place.before, place.after, place.name)))
                continue
            sides = ((place.before, self._found), (place.after, self._step.block.exit))
            why = f"`{place.name}` is set in the steps of a loop, of which there may be none{user_line()}: give it a value before"
            found.append((place.owner, place.key, joined_variable(merge, sides, place.name, ways, key, why)))
        return found

    def _find(self, step: Step, is_first: bool) -> None:
        if is_first:
            self._stored_at_first = set(step.trace.stored)
        self._changes = step.block.changes
        for key, place in step.block.changes.items():
            is_variable = isinstance(place.owner, types.CellType)
            if not is_variable and (place.before is MISSING or place.after is MISSING):
                raise TraceError(f"`{place.name}` is there on one side of a step of the loop only: make it before the loop{user_line()}")
            before, after = place.before, place.after
            if is_variable:
                before, after = known_where(before, self._found)[0], known_where(after, step.block.exit)[0]
            if before is not after:
                self._collecting(step, key)(before, after, place.name)
        self._left(step, self._collecting(step, _EXIT))
        step.holders.update(after.cell for _, after in step.leaves.values() if is_array(after))
        self._carried = {leaf: self._carry(step, leaf) for leaf in step.leaves}
        self._cells = list(dict.fromkeys([*self._cells, *step.trace.stored]))

    def _is_shared(self, step: Step, key: Key, cell: Cell) -> bool:
        own = step.boxes[key].cell if key in step.boxes else None
        return step.is_outer(cell) or step.holders[cell] > 1 or cell in {box.cell for box in step.boxes.values()} - {own}

    def _collecting(self, step: Step, key: Any) -> Merge:
        def collect(before: Any, after: Any, name: str) -> Any:
            step.leaves[key, name] = before, after
            return before

        return self._merge(collect)

    def _left(self, step: Step, merge: Merge) -> Exit | None:
        """How the loop is left: as the step before it was, or as a step of it is."""
        before, after = self._found, step.block.exit
        if before is None and after is None:
            return None
        at_the_end = Exit(NOTHING, None, _AT_THE_END)
        found = joined_exit(merge, before or at_the_end, after or at_the_end, object())
        assert found is not None
        return replace(found, ways=(found.ways - _AT_THE_END) if self._is_endless else found.ways | _AT_THE_END)

    def record(self, going: Any) -> Exit | None:
        """The loop as an op; what it changes holds what that gives. How it is left."""
        trace, step = open_trace(), self._step

        def outputs() -> Sequence[Value]:
            return [as_type(_as_bool(self._going), _BOOL), *self._after()]

        region = step.block.region(outputs, [step.own, *self._inputs])
        flag = as_type(_as_bool(going), _BOOL)
        carry = [flag, *self._before()]
        condition_inputs = [Value(value.type) for value in carry]
        condition = Region(Graph(condition_inputs, condition_inputs[:1], "while condition"), (), None, (ARRAY,), None, None)
        results = record_while(condition, region, carry)
        found = self._boxes_of(results[1:], flag)
        for key, made in found.items():
            before = step.leaves[key][0]
            if is_array(before) and is_array(made):  # where there was no step
                connect(trace, flag, False, before.cell, before.steps, made.cell, "" if before.type == made.type else SHARED)
        left = self._left(step, self._giving(found, _EXIT))
        contents = self._contents(found, ways_of(left), None if left is None else left.key)
        self._places.put(contents)
        return left and replace(left, partly=tuple(owner for owner, _, item in contents if isinstance(item, Partly)))
