"""A loop whose body is traced once, over a counter that is not known: until it is clear what it changes, which is what the scan carries."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_inexact
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.tracing import checks, counters, tree
from irdl.tracing.aliases import connect, may_be_another
from irdl.tracing.box import ARRAY, PYTHON, Refusal, is_box, wrap
from irdl.tracing.branches.blocks import CONTINUE_CODE, Block, Exit, capture, trace_block
from irdl.tracing.branches.merge import ANYTHING, Merge
from irdl.tracing.branches.places import Place, Places
from irdl.tracing.branches.sides import as_type, joined, without
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.counters import difference, line_of
from irdl.tracing.long_loops.growing import Appended, GrownList
from irdl.tracing.long_loops.growth import LAST, Growth, growths
from irdl.tracing.long_loops.items import Items
from irdl.tracing.long_loops.numbers import Range, check_numbers
from irdl.tracing.long_loops.plans import Plan, Site
from irdl.tracing.long_loops.sequences import Loop, scan_of
from irdl.tracing.printing import repeated
from irdl.tracing.recorder import Cell, Trace, open_trace, trace_stack
from irdl.tracing.unset import Unset

#: so often the body is traced until what it changes stands
_MOST_TRIES = 6
_INDEX = np.dtype(np.int64)
_SHARED = Refusal("an array is stored into that, behind a step of the loop, may be another one too, which would change with it: copy it")

#: the trace of arrays that are not there any more
_GONE = Trace("a loop that has taken them over")
_GONE.ended = True

#: of what is carried: the place that holds it, and where it is in what that holds
_Key = tuple[Any, str]


class Unfit(Exception):
    """The body cannot be traced once from this step on. `hopeless`: from no other either."""

    def __init__(self, reason: str, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


def record(items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan) -> None:
    """Record `for step in steps: body(items.at(step))` as a scan; what it changes holds what comes out of that.

    Raises:
        Unfit, or what else goes wrong: it cannot be done. What the body has changed is undone.
    """
    loop = _Loop(items, body, steps, site, plan)
    loop.settle()
    loop.check()
    loop.record()


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
        growths: of the lists that it appends to.
        leaves: of what it carries, what it is before the loop and behind the step.
        counting: numbers that follow from the counter, and how.
        holders: how often each array is held behind the step.
    """

    block: Block
    counter: Value
    inputs: dict[_Key, Value]
    boxes: dict[_Key, Any]
    cells: dict[Cell, Value]
    growths: list[Growth]
    leaves: dict[_Key, tuple[Any, Any]] = field(default_factory=dict)
    counting: dict[_Key, tuple[int, int]] = field(default_factory=dict)
    holders: Counter[Cell] = field(default_factory=Counter)

    @property
    def trace(self) -> Trace:
        return self.block.trace


class _Loop:
    """A loop that is being recorded."""

    def __init__(self, items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan) -> None:
        self._items, self._body, self._steps = items, body, steps
        self._site, self._plan = site, plan
        self._places = Places([body], capture())
        if (name := self._places.moving()) is not None:
            raise Unfit(f"`{name}` is an iterator, which a step may move on", hopeless=True)
        self._carried: dict[_Key, _Carried] = {}
        self._cells: list[Cell] = []
        #: arrays that it takes over
        self._replaced: list[Cell] = []
        #: numbers that follow from the counter, and how: what they are behind each step
        self._counting: dict[_Key, tuple[int, int]] = {}
        #: what it changes
        self._changes: dict[Any, Place] = {}

    def settle(self) -> None:
        """Trace the body until it carries what it changes, and with the types that it gives them."""
        for attempt in range(_MOST_TRIES):
            self._step = step = self._traced()
            if step.block.raised is not None or step.block.exit is not None:
                raise Unfit(f"it raises {step.block.raised!r}" if step.block.exit is None else "it ends the loop")
            carried = self._found_in(step)
            if attempt == 0:
                self._replaced = [item.cell for item, _ in step.leaves.values() if _is_array(item) and item.cell in step.trace.stored]
            cells = [cell for cell in dict.fromkeys([*self._cells, *step.trace.stored]) if cell not in self._replaced or attempt]
            if (carried, cells, step.counting) == (self._carried, self._cells, self._counting):
                return
            self._carried, self._cells, self._counting = carried, cells, step.counting
        raise Unfit("what it carries does not settle")

    def _take_over(self) -> None:
        """Where steps store into arrays that are others at each step, as after `a, b = b, a`, the loop works on copies: nobody may ask
        for those arrays any more that they were at first.

        Raises:
            Unfit: somebody may, or a store would have to be seen in one that is carried.
        """
        step, outer = self._step, open_trace()
        arrays = {key: item for key, item in step.boxes.items() if _is_array(item)}
        stored = {key for key, item in arrays.items() if item.cell.value is not step.inputs[key]}
        while (
            more := {
                key for key, item in arrays.items() for to in stored if _is_array(after := step.leaves[to][1]) and after.cell is item.cell
            }
            - stored
        ):
            stored |= more
        before = [item.cell for item, _ in step.leaves.values() if _is_array(item)]
        taken = [step.leaves[key][0] for key in stored if step.leaves[key][0] is not ANYTHING]
        for item in taken:
            if not _is_array(item) or item.steps or before.count(item.cell) > 1 or not _is_own(outer, item.cell):
                raise Unfit("the first step stores into an array from outside, later ones into what they have made")
        cells = {item.cell for item in taken}
        held = {item.cell for pair in step.leaves.values() for item in pair if _is_array(item)}
        held.update(cell for growth in step.growths for cell in growth.arrays(step.trace))
        held.update(other for cell in list(held) for alias in cell.aliases if (other := alias.other(cell)) is not None)
        if not cells.issuperset(self._replaced) or not held.isdisjoint(self._cells):
            raise Unfit("an array is stored into that is carried under another name")
        self._replaced = list(cells)

    def _traced(self) -> _Step:
        """The body, traced over what is known to be carried so far."""
        outer = open_trace()
        trace = Trace("for body")
        counter = trace.input(TensorType(_INDEX, ()), "step")
        trace.counters[counter] = self._steps
        self._plan.counters[counter] = self._site, len(self._items)
        inputs = {key: trace.input(item.type) for key, item in self._carried.items()}
        cells = {cell: trace.input(outer.read(cell).type) for cell in self._cells}
        trace.stored.update(cells)
        boxes: dict[_Key, Any] = {}
        around = self._plan.appended
        appended = Appended(trace, {}, around)

        def run() -> Exit | None:
            for key, item in self._carried.items():
                boxes[key] = wrap(inputs[key], item.kind, _SHARED if item.is_shared else "")
            number = wrap(counter, PYTHON)
            counted = {key: number * scale + (offset - scale) for key, (scale, offset) in self._counting.items()}
            self._put_contents({**boxes, **counted}, is_begun=False, last=appended.last)
            self._plan.appended = appended
            try:
                return without(self._body(self._items.at(number)), CONTINUE_CODE)
            finally:
                self._plan.appended = around

        block = trace_block(run, self._places, trace.name, trace)
        grown = [] if block.raised is not None else growths(appended, block.changes, self._places.knows)
        return _Step(block, counter, inputs, boxes, cells, grown)

    def _merge(self, leaf: Callable[[Any, Any, str], Any]) -> Merge:
        return Merge(leaf, self._places.knows, "step of the loop")

    def _put_contents(self, given: dict[_Key, Any], is_begun: bool, last: dict[int, Any]) -> None:
        """Let the places hold what the loop changes, with these in the places of numbers and arrays.

        Args:
            is_begun: behind a step.
            last: takes the last items of lists, by list.
        """
        found = []
        for key, place in self._changes.items():
            if _is_nothing(place.before) and not is_begun:
                continue
            before = ANYTHING if _is_nothing(place.before) else place.before
            merge = self._merge(lambda before, after, name, key=key: given[key, name])  # type: ignore[misc]
            item = merge(before, place.after, place.name)
            if isinstance(place.owner, GrownList) and place.key == LAST:
                last[id(place.owner)] = item
            else:
                found.append((place.owner, place.key, item))
        self._places.put(found)

    def _found_in(self, step: _Step) -> dict[_Key, _Carried]:
        """What the body has turned out to change."""
        self._changes = step.block.changes
        for key, place in step.block.changes.items():
            before, after = place.before, place.after
            if _is_nothing(after) or (_is_nothing(before) and not isinstance(place.owner, types.CellType)):
                raise Unfit(f"`{place.name}` is there on one side of a step only")

            def collect(before: Any, after: Any, name: str, key: Any = key) -> Any:
                line = self._line(step, (key, name), before, after)
                if type(before) is bool and type(after) is bool:  # a flag of whether something is the first
                    raise Unfit(f"`{name}` is {after!r} behind the first step")
                if line is not None:
                    step.counting[key, name] = line
                else:
                    step.leaves[key, name] = before, after
                return before

            self._merge(collect)(ANYTHING if _is_nothing(before) else before, after, place.name)
        held = [*(after for _, after in step.leaves.values()), *(leaf for growth in step.growths for leaf in growth.leaves)]
        step.holders.update(item.cell for item in held if _is_array(item))
        return {leaf: self._carry(step, leaf) for leaf in step.leaves}

    def _line(self, step: _Step, leaf: _Key, before: Any, after: Any) -> tuple[int, int] | None:
        """Of a Python int that follows from the counter of this loop, its scale and offset behind each step; before a step it is what it
        was behind the last."""
        if (
            not is_box(after)
            or after.kind != PYTHON
            or after.cell.trace is not step.trace
            or (before is not ANYTHING and type(before) is not int)
        ):
            return None
        value, first = after.cell.value, self._steps.start
        line = line_of(step.trace, value)
        if line is not None and line.trace is step.trace and (before is ANYTHING or before == line.at(first - 1)):
            return line.scale, line.offset
        by = difference(value, step.inputs.get(leaf))
        return None if by is None or before is ANYTHING else (by, before + by * (1 - first))

    def _carry(self, step: _Step, leaf: _Key) -> _Carried:
        before, after = step.leaves[leaf]
        if before is not ANYTHING:
            self._check_first(step, before, after, leaf[1])
        type_, kind = joined(before, after, leaf[1], "step of the loop")
        is_shared = False
        if is_box(after) and kind == ARRAY and leaf in step.boxes:  # at first it is what it was before the loop
            is_outer = after.cell.trace is not step.trace or may_be_another(after.cell, step.trace, step.boxes.values())
            is_shared = is_outer or step.holders[after.cell] > 1 or self._was_shared(step, after.cell)
        return _Carried(type_, kind, is_shared)

    def _was_shared(self, step: _Step, cell: Cell) -> bool:
        """Whether an array is one that another may be at the beginning of a step."""
        return any(_is_array(box) and box.cell is cell and self._carried[key].is_shared for key, box in step.boxes.items())

    def _check_first(self, step: _Step, before: Any, after: Any, name: str) -> None:
        """The first step gives what is of the types of those behind it: what it starts from is like what a step leaves."""
        types_ = [tree.leaf_type(item, name) for item in (before, after)]
        kinds = [tree.leaf_kind(item) for item in (before, after)]
        if types_[0] == types_[1] and kinds[0] == kinds[1]:
            return
        is_same = types_[0] == types_[1] and kinds[0] == PYTHON and types_[0].dtype in (np.float64, np.complex128)
        narrow = any(
            is_inexact(value.dtype) and value.dtype not in (np.float64, np.complex128)
            for node in step.trace.nodes
            for value in (*node.operands, *node.outputs)
        )
        if not is_same or narrow:
            raise Unfit(f"`{name}` is of another type behind the first step")

    def check(self) -> None:
        """The numbers that nothing traced goes into come out as Python's would, and there are others.

        Raises:
            Unfit: there are none: they are known when the loop has been gone through.
            Unbounded: that is not clear.
        """
        step, trace = self._step, self._step.trace
        known: dict[Value, Range] = {step.counter: (self._steps[0], self._steps[-1])}
        for value, inner in trace.lifted.items():
            owner, outer = trace.lifted_cells[inner]
            ends = counters.reach(owner, outer) if counters.are_within(owner) else None
            if ends is not None or (owner.known_array(outer) is not None and value.type.size == 1):
                known[inner] = ends
        carried = {}
        for key, inner in step.inputs.items():
            before, after = step.leaves[key]
            if isinstance(before, (int, float)) and is_box(after):
                with trace.resumed():
                    carried[inner] = before, after.value
        check_numbers(trace.nodes, known, carried)
        self._take_over()
        if not self._takes_what_is_traced():
            raise Unfit("all that it computes is known", hopeless=True)

    def _takes_what_is_traced(self) -> bool:
        outer, step = open_trace(), self._step
        if any(owner.known_array(value) is None for owner, value in step.trace.lifted_cells.values()):
            return True
        before = [item for item, _ in step.leaves.values() if is_box(item)]
        return any(item.known is None for item in before) or any(outer.known_array(outer.read(cell)) is None for cell in step.cells)

    def _others(self, after: Any) -> list[Cell]:
        """The arrays from outside that a shared one may be behind the last step."""
        inside = self._step.trace
        given = (after, *(before for before, _ in self._step.leaves.values()))
        arrays = [item.cell for item in given if is_box(item) and item.kind == ARRAY]
        aliases = [alias.other(cell) for cell in arrays if cell.trace is inside for alias in cell.aliases]
        return list(dict.fromkeys(cell for cell in (*arrays, *aliases) if cell is not None and cell.trace is not inside))

    def record(self) -> None:
        """The loop as an op; what it changes holds what that gives."""
        trace, step = open_trace(), self._step
        types_ = [self._carried[key].type for key in step.leaves]

        def outputs() -> Sequence[Value]:
            leaves = [as_type(after, type_) for (_, after), type_ in zip(step.leaves.values(), types_, strict=True)]
            rows = [value for growth in step.growths for value in growth.values(step.trace)]
            return [*leaves, *(step.trace.read(cell) for cell in self._cells), *rows]

        carried = [*(step.inputs[key] for key in step.leaves), *step.cells.values()]
        region = step.block.region(outputs, [*carried, step.counter])
        initial = [as_type(before, type_) for (before, _), type_ in zip(step.leaves.values(), types_, strict=True)]
        initial += [trace.read(cell) for cell in self._cells]
        graph, count = region.graph, len(carried)
        loop = Loop(
            step.counter,
            self._steps,
            {value: pair for value, *pair in zip(carried, initial, graph.outputs, strict=False)},  # type: ignore[misc]
            dict(zip(graph.inputs[count + 1 :], region.operands, strict=True)),
            list(graph.outputs[count:]),
        )
        for around in trace_stack():
            around.has_long_loops = True
        results, rows = scan_of(loop, trace, step.trace, list(step.cells.values()))
        shown, codes = region.hidden([*results, *rows])
        if region.printed is not None:
            trace.printed.append(repeated(region.printed, shown, len(self._steps)))
        checks.absorb(*checks.repeated(region.checked, codes, len(self._steps)))
        self._put(results, rows)

    def _put(self, results: Sequence[Value], rows: Sequence[Value]) -> None:
        """Let what it changes hold these, and append the rows to lists."""
        trace, step = open_trace(), self._step
        found: dict[_Key, Any] = {}
        for key, value in zip(step.leaves, results, strict=False):
            item = self._carried[key]
            made = found[key] = wrap(value, item.kind, _SHARED if item.is_shared else "")
            if item.is_shared:
                always = trace.constant(True)
                for other in self._others(step.leaves[key][1]):
                    connect(trace, always, True, other, (), made.cell, _SHARED)
        for cell, value in zip(self._cells, results[len(found) :], strict=False):
            trace.put(cell, value)
        for cell in self._replaced:
            cell.trace = _GONE
        last = {key: scale * self._steps[-1] + offset for key, (scale, offset) in self._counting.items()}
        self._put_contents({**found, **last}, True, {})
        self._grow(rows, found)

    def _grow(self, stacks: Sequence[Value], found: dict[_Key, Any]) -> None:
        """Append what the steps have."""
        trace, step, stacks = open_trace(), self._step, list(stacks)
        shared = [found[key].cell for key, item in self._carried.items() if item.is_shared]
        for growth in step.growths:
            for leaf, stack in growth.extend(stacks, self._steps, step.trace):
                others = [*self._others(leaf), *shared]
                if others:
                    always = trace.constant(True)
                    for other in others:
                        connect(trace, always, True, other, (), stack, _SHARED)
                if step.holders[leaf.cell] > 1:
                    shared.append(stack)


def _is_own(trace: Trace, cell: Cell) -> bool:
    """Whether an array was made in this trace, and is no other's too."""
    return cell.trace is trace and cell.value.node is not None and cell not in trace.changed and not cell.aliases


def _is_array(item: Any) -> bool:
    return is_box(item) and item.kind == ARRAY


def _is_nothing(item: Any) -> bool:
    return item is MISSING or isinstance(item, Unset)
