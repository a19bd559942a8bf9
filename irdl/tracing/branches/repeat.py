"""A `while` whose test is not known: its body is traced until it is clear what it changes, which is what the loop carries."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.tracing.aliases import connect, may_be_another
from irdl.tracing.box import ARRAY, PYTHON, Refusal, is_box, wrap
from irdl.tracing.branches.blocks import CONTINUE_CODE, NOTHING, Block, Exit, capture, leave, trace_block
from irdl.tracing.branches.merge import Merge
from irdl.tracing.branches.partly import joined_variable, known_where, ways_of
from irdl.tracing.branches.places import Place, Places
from irdl.tracing.branches.sides import Run, as_type, is_open, joined, joined_exit, raises, truth, two_sides, without
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.of_regions import record_while
from irdl.tracing.recorder import Cell, Trace, open_trace, user_line
from irdl.tracing.region import Region
from irdl.tracing.unset import Partly

#: so often the body is traced until what it changes stands
_MOST_TRIES = 8
_STEP = "step of the loop"
_BOOL = TensorType(np.dtype(bool), ())
_EXIT = ("exit",)
_AT_THE_END = frozenset([NOTHING])
_SHARED = Refusal(
    "an array is stored into that, behind a step of the loop, may be another one too, which would change with it: copy it where the loop "
    "takes it over"
)

#: of what is carried: the place that holds it, and where it is in what that holds
_Key = tuple[Any, str]


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
        raises(loop.raising, as_type(_as_bool(going), _BOOL), True)
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


@dataclass
class _Carried:
    """A number or an array that the loop carries. `is_shared`: behind a step it is another one's too."""

    type: TensorType
    kind: str
    is_shared: bool


@dataclass
class _Step:
    """The body, traced over what it carries: at its beginning that is `inputs`, and `boxes` of them, and `cells`.

    Attributes:
        flag: the input that says whether there is such a step; `going` is whether there is another.
        leaves: of what it carries, what it is before the loop and behind the step.
    """

    block: Block
    flag: Value
    inputs: dict[_Key, Value]
    boxes: dict[_Key, Any]
    cells: dict[Cell, Value]
    going: Any
    leaves: dict[_Key, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def trace(self) -> Trace:
        return self.block.trace


class _Loop:
    """A loop that is being recorded."""

    def __init__(self, test: Callable[[], Any], body: Run, found: Exit | None, is_endless: bool) -> None:
        self._body, self._found = body, found
        self._asked = test
        #: whether its test has always been known to hold
        self._is_endless = is_endless
        self._places = Places([test, body], capture(), () if found is None else found.partly)
        self._carried: dict[_Key, _Carried] = {}
        self._cells: list[Cell] = []
        #: what it changes
        self._changes: dict[Any, Place] = {}
        self._stored_at_first: set[Cell] = set()

    def _test(self) -> Any:
        outcome = self._asked()
        self._is_endless &= not is_open(outcome) and bool(outcome)
        return outcome

    def settle(self) -> bool:
        """Trace the body until it carries what it changes, and with the types that it gives them. False where it raises, whatever it is
        given."""
        for attempt in range(_MOST_TRIES):
            self._step = step = self._traced()
            if step.block.raised is not None:
                return False
            if attempt == 0:
                self._stored_at_first = set(step.trace.stored)
            carried, cells = self._found_in(step), list(dict.fromkeys([*self._cells, *step.trace.stored]))
            if carried == self._carried and cells == self._cells:
                return True
            self._carried, self._cells = carried, cells
        names = ", ".join(f"`{name}`" for _, name in self._carried)
        raise TraceError(f"what a while loop carries from step to step does not settle: {names}{user_line()}")

    @property
    def raising(self) -> Block:
        return self._step.block

    def replaces_what_it_stores_into(self) -> bool:
        """An array that it carries is one from outside at first, and the body stores into it."""
        arrays = [before for before, _ in self._step.leaves.values() if is_box(before) and before.kind == ARRAY]
        return self._found is None and any(array.cell in self._stored_at_first for array in arrays)

    def _traced(self) -> _Step:
        """The body, traced over what is known to be carried so far."""
        outer = open_trace()
        trace = Trace("while body")
        flag = trace.input(_BOOL)
        inputs = {key: trace.input(item.type) for key, item in self._carried.items()}
        cells = {cell: trace.input(outer.read(cell).type) for cell in self._cells}
        trace.stored.update(cells)
        boxes: dict[_Key, Any] = {}
        going: Any = None

        def run() -> Exit | None:
            nonlocal going
            for key, item in self._carried.items():
                boxes[key] = wrap(inputs[key], item.kind, _SHARED if item.is_shared else "")
            self._places.put(self._contents(boxes, _AT_THE_END))
            found = without(self._body(), CONTINUE_CODE)
            going = _goes_on(found, self._test)
            return found

        block = trace_block(run, self._places, trace.name, trace)
        if isinstance(error := block.raised, NameError):
            raise TraceError(f"{error}: before the first step of the loop it has none; give it one{user_line()}") from None
        if trace.printed:
            raise TraceError(f"print inside a while loop whose test is traced: how often is not known{user_line()}")
        return _Step(block, flag, inputs, boxes, cells, going)

    def _merge(self, leaf: Callable[[Any, Any, str], Any]) -> Merge:
        return Merge(leaf, self._places.knows, _STEP)

    def _contents(self, given: dict[_Key, Any], ways: frozenset[int], key: Any = None) -> list[tuple[Any, Any, Any]]:
        """What the places hold that the loop changes, with these in the places of numbers and arrays.

        Args:
            ways: those on which the step before, or the loop, was left.
            key: what its exit is going to have.
        """
        found = []
        for place_key, place in self._changes.items():
            merge = self._merge(self._giving(given, place_key))
            if not isinstance(place.owner, types.CellType):
                found.append((place.owner, place.key, merge(place.before, place.after, place.name)))
                continue
            sides = ((place.before, self._found), (place.after, self._step.block.exit))
            why = f"`{place.name}` is set in the steps of a loop, of which there may be none{user_line()}: give it a value before"
            found.append((place.owner, place.key, joined_variable(merge, sides, place.name, ways, key, why)))
        return found

    def _found_in(self, step: _Step) -> dict[_Key, _Carried]:
        """What the body has turned out to change."""
        self._changes = step.block.changes
        for key, place in step.block.changes.items():
            is_variable = isinstance(place.owner, types.CellType)
            if not is_variable and (place.before is MISSING or place.after is MISSING):
                raise TraceError(f"`{place.name}` is there on one side of a step of the loop only: make it before the loop{user_line()}")
            before, after = place.before, place.after
            if is_variable:
                before, after = known_where(before, self._found)[0], known_where(after, step.block.exit)[0]
            if before is not after:
                self._merge(self._collecting(step, key))(before, after, place.name)
        self._left(step, self._merge(self._collecting(step, _EXIT)))
        holders = Counter(after.cell for _, after in step.leaves.values() if is_box(after) and after.kind == ARRAY)
        found = {}
        for leaf, (before, after) in step.leaves.items():
            type_, kind = joined(before, after, leaf[1], _STEP)
            is_shared = False
            if is_box(after) and kind == ARRAY:
                own = step.boxes[leaf].cell if leaf in step.boxes else None
                others = {box.cell for box in step.boxes.values()} - {own}
                is_outer = after.cell.trace is not step.trace or may_be_another(after.cell, step.trace, step.boxes.values())
                is_shared = is_outer or holders[after.cell] > 1 or after.cell in others
            found[leaf] = _Carried(type_, kind, is_shared)
        return found

    def _others(self, after: Any) -> list[Cell]:
        """The arrays from outside that a shared one may be behind the last step."""
        inside = self._step.trace
        arrays = [
            item.cell for item in (after, *(before for before, _ in self._step.leaves.values())) if is_box(item) and item.kind == ARRAY
        ]
        aliases = [alias.other(cell) for cell in arrays if cell.trace is inside for alias in cell.aliases]
        return list(dict.fromkeys(cell for cell in (*arrays, *aliases) if cell is not None and cell.trace is not inside))

    @staticmethod
    def _giving(given: dict[_Key, Any], key: Any) -> Callable[[Any, Any, str], Any]:
        return lambda before, after, name: given[key, name]

    @staticmethod
    def _collecting(step: _Step, key: Any) -> Callable[[Any, Any, str], Any]:
        def collect(before: Any, after: Any, name: str) -> Any:
            step.leaves[key, name] = before, after
            return before

        return collect

    def _left(self, step: _Step, merge: Merge) -> Exit | None:
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
        types_ = [self._carried[key].type for key in step.leaves]

        def outputs() -> Sequence[Value]:
            leaves = [as_type(after, type_) for (_, after), type_ in zip(step.leaves.values(), types_, strict=True)]
            return [as_type(_as_bool(step.going), _BOOL), *leaves, *(step.trace.read(cell) for cell in self._cells)]

        explicit = [step.flag, *(step.inputs[key] for key in step.leaves), *step.cells.values()]
        region = step.block.region(outputs, explicit)
        flag = as_type(_as_bool(going), _BOOL)
        initial = [as_type(before, type_) for (before, _), type_ in zip(step.leaves.values(), types_, strict=True)]
        carry = [flag, *initial, *(trace.read(cell) for cell in self._cells)]
        condition_inputs = [Value(value.type) for value in carry]
        condition = Region(Graph(condition_inputs, condition_inputs[:1], "while condition"), (), None, (ARRAY,), None, None)
        results = record_while(condition, region, carry)
        found = {}
        for key, value in zip(step.leaves, results[1:], strict=False):
            item = self._carried[key]
            made = found[key] = wrap(value, item.kind, _SHARED if item.is_shared else "")
            before = step.leaves[key][0]
            if is_box(before) and before.kind == ARRAY == item.kind:  # where there was no step
                connect(trace, flag, False, before.cell, before.steps, made.cell, "" if before.type == item.type else _SHARED)
            if item.is_shared:
                for other in self._others(step.leaves[key][1]):
                    connect(trace, flag, True, other, (), made.cell, _SHARED)
        for cell, value in zip(self._cells, results[1 + len(found) :], strict=True):
            trace.put(cell, value)
        left = self._left(step, self._merge(self._giving(found, _EXIT)))
        contents = self._contents(found, ways_of(left), None if left is None else left.key)
        self._places.put(contents)
        return left and replace(left, partly=tuple(owner for owner, _, item in contents if isinstance(item, Partly)))
