"""A loop whose body is traced once, over a counter that is not known; the scan carries what that changes."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_inexact
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.tracing import checks, counters, tree
from irdl.tracing.aliases import connect
from irdl.tracing.box import PYTHON, is_box, wrap
from irdl.tracing.branches.blocks import CONTINUE_CODE, NOTHING, Exit
from irdl.tracing.branches.carrying import SHARED, Carried, CarryingLoop, Key, Step, is_array
from irdl.tracing.branches.merge import ANYTHING
from irdl.tracing.branches.places import Place
from irdl.tracing.branches.sides import without
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.counters import difference, line_of
from irdl.tracing.intervals import Interval
from irdl.tracing.long_loops.growing import Appended, GrownList
from irdl.tracing.long_loops.growth import LAST, Growth, growths
from irdl.tracing.long_loops.items import Items
from irdl.tracing.long_loops.numbers import check_numbers
from irdl.tracing.long_loops.plans import Plan, Site
from irdl.tracing.long_loops.sequences import Loop, scan_of
from irdl.tracing.printing import repeated
from irdl.tracing.recorder import Cell, Trace, open_trace, trace_stack
from irdl.tracing.unset import Partly, Unset

_INDEX = TensorType(np.dtype(np.int64), ())

#: the trace of arrays that are not there any more
_GONE = Trace("a loop that has taken them over")
_GONE.ended = True


class Unfit(Exception):
    """The body cannot be traced once from this step on. `hopeless`: from no other either."""

    def __init__(self, reason: str, hopeless: bool = False) -> None:
        super().__init__(reason)
        self.hopeless = hopeless


class Ends(Unfit):
    """A step may end the loop: it is left in one of these `ways`."""

    def __init__(self, ways: frozenset[int]) -> None:
        super().__init__("a step ends it", hopeless=NOTHING not in ways)
        self.ways = ways


def record(items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan, left: Exit | None = None) -> None:
    """Record `for step in steps: body(items.at(step))` as a scan; what it changes holds what comes out of that.

    Args:
        left: the exit that variables refer to which are set where the loop was left before a step.

    Raises:
        Ends: a step may leave the loop.
        Unfit, or what else goes wrong: it cannot be done. What the body has changed is undone.
    """
    loop = _Loop(items, body, steps, site, plan, left)
    if not loop.settle():
        raise Unfit(f"it raises {loop.block.raised!r}")
    loop.check()
    loop.record()


class _Loop(CarryingLoop):
    """A loop that is being recorded. The first input of a step is the counter."""

    def __init__(self, items: Items, body: Callable[[Any], Exit | None], steps: range, site: Site, plan: Plan, left: Exit | None) -> None:
        super().__init__([body])
        if (name := self._places.moving()) is not None:
            raise Unfit(f"`{name}` is an iterator, which a step may move on", hopeless=True)
        self._items, self._body, self._steps = items, body, steps
        self._site, self._plan, self._left = site, plan, left
        #: arrays that it takes over
        self._replaced: list[Cell] = []
        #: numbers that follow from the counter, and how: what they are behind each step
        self._counting: dict[Key, tuple[int, int]] = {}
        #: of the lists that the body appends to
        self._growths: list[Growth] = []

    def _take_over(self) -> None:
        """Where steps store into arrays that are others at each step, as after `a, b = b, a`, the loop works on copies: nobody may ask
        for those arrays any more that they were at first.

        Raises:
            Unfit: somebody may, or a store would have to be seen in one that is carried.
        """
        step, outer = self._step, open_trace()
        arrays = {key: item for key, item in step.boxes.items() if is_array(item)}
        stored = {key for key, item in arrays.items() if item.cell.value is not step.inputs[key]}
        while (
            more := {
                key for key, item in arrays.items() for to in stored if is_array(after := step.leaves[to][1]) and after.cell is item.cell
            }
            - stored
        ):
            stored |= more
        before = [item.cell for item, _ in step.leaves.values() if is_array(item)]
        taken = [step.leaves[key][0] for key in stored if step.leaves[key][0] is not ANYTHING]
        for item in taken:
            if not is_array(item) or item.steps or before.count(item.cell) > 1 or not _is_own(outer, item.cell):
                raise Unfit("the first step stores into an array from outside, later ones into what they have made")
        cells = {item.cell for item in taken}
        held = {item.cell for pair in step.leaves.values() for item in pair if is_array(item)}
        held.update(cell for growth in self._growths for cell in growth.arrays(step.trace))
        held.update(other for cell in list(held) for alias in cell.aliases if (other := alias.other(cell)) is not None)
        if not cells.issuperset(self._replaced) or not held.isdisjoint(self._cells):
            raise Unfit("an array is stored into that is carried under another name")
        self._replaced = list(cells)

    def _trace_step(self) -> Step:
        return self._trace_body("for body", _INDEX, "step")

    def _run(self, own: Value, boxes: dict[Key, Any]) -> Exit | None:
        trace, around = open_trace(), self._plan.appended
        trace.counters[own] = self._steps
        self._plan.counters[own] = self._site, len(self._items)
        appended = Appended(trace, {}, around)
        number = wrap(own, PYTHON)
        counted = {key: number * scale + (offset - scale) for key, (scale, offset) in self._counting.items()}
        self._put_contents({**boxes, **counted}, is_begun=False, last=appended.last)
        self._plan.appended = self._appended = appended
        try:
            return without(self._body(self._items.at(number)), CONTINUE_CODE)
        finally:
            self._plan.appended = around

    def _put_contents(self, given: dict[Key, Any], is_begun: bool, last: dict[int, Any]) -> None:
        """Let the places hold what the loop changes, with these in the places of numbers and arrays.

        Args:
            is_begun: behind a step.
            last: takes the last items of lists, by list.
        """
        found = []
        for key, place in self._changes.items():
            is_set = is_begun or not _is_nothing(place.before)
            if not is_set and self._left is None:
                continue
            before = ANYTHING if _is_nothing(place.before) else place.before
            after, ways = self._behind(place)
            item = self._giving(given, key)(before, after, place.name)
            if self._left is not None and not (is_set and ways == self._left.ways):
                # At the beginning of a step it is set where an earlier one has left the loop, at most.
                why = f"`{place.name}` is not set in the first step"
                item = Partly(why, item, ways if is_begun else ways - {NOTHING}, self._left.key)
            if isinstance(place.owner, GrownList) and place.key == LAST:
                last[id(place.owner)] = item
            else:
                found.append((place.owner, place.key, item))
        self._places.put(found)

    def _behind(self, place: Place) -> tuple[Any, frozenset[int]]:
        """What a place holds behind a step, and on which ways."""
        item, ways = place.after, frozenset() if self._left is None else self._left.ways
        if isinstance(item, Partly) and self._left is not None and item.key is self._left.key and _is_nothing(place.before):
            return item.value, item.ways
        return item, ways

    def _carries(self) -> tuple[Any, ...]:
        return *super()._carries(), self._counting

    def _find(self, step: Step, is_first: bool) -> None:
        if step.block.exit is not None:
            raise Ends(step.block.exit.ways)
        self._growths = growths(self._appended, step.block.changes, self._places.knows)
        self._changes = step.block.changes
        counting: dict[Key, tuple[int, int]] = {}
        for key, place in step.block.changes.items():
            before, (after, _) = place.before, self._behind(place)
            if _is_nothing(after) or (_is_nothing(before) and not isinstance(place.owner, types.CellType)):
                raise Unfit(f"`{place.name}` is there on one side of a step only")

            def collect(before: Any, after: Any, name: str, key: Any = key) -> Any:
                line = self._line(step, (key, name), before, after)
                if type(before) is bool and type(after) is bool:  # a flag of whether something is the first
                    raise Unfit(f"`{name}` is {after!r} behind the first step")
                if line is not None:
                    counting[key, name] = line
                else:
                    step.leaves[key, name] = before, after
                return before

            self._merge(collect)(ANYTHING if _is_nothing(before) else before, after, place.name)
        held = [*(after for _, after in step.leaves.values()), *(leaf for growth in self._growths for leaf in growth.leaves)]
        step.holders.update(item.cell for item in held if is_array(item))
        self._carried = {leaf: self._carry(step, leaf) for leaf in step.leaves}
        self._counting = counting
        if is_first:
            self._replaced = [item.cell for item, _ in step.leaves.values() if is_array(item) and item.cell in step.trace.stored]
        stored = step.trace.stored if not is_first else [cell for cell in step.trace.stored if cell not in self._replaced]
        self._cells = list(dict.fromkeys([*self._cells, *stored]))

    def _line(self, step: Step, leaf: Key, before: Any, after: Any) -> tuple[int, int] | None:
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

    def _carry(self, step: Step, key: Key) -> Carried:
        before, after = step.leaves[key]
        if before is not ANYTHING:
            self._check_first(step, before, after, key[1])
        return super()._carry(step, key)

    def _is_shared(self, step: Step, key: Key, cell: Cell) -> bool:
        if key not in step.boxes:  # it is what it was before the loop
            return False
        was_shared = any(is_array(box) and box.cell is cell and self._carried[other].is_shared for other, box in step.boxes.items())
        return step.is_outer(cell) or step.holders[cell] > 1 or was_shared

    def _check_first(self, step: Step, before: Any, after: Any, name: str) -> None:
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
        known: dict[Value, Interval] = {step.own: (self._steps[0], self._steps[-1])}
        for outer, inner in trace.lifted.items():
            owner, _ = trace.lifted_cells[inner]
            ends = counters.reach(owner, outer) if counters.are_within(owner) else None
            if ends is not None or (owner.known_array(outer) is not None and outer.type.size == 1):
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

    def record(self) -> None:
        """The loop as an op; what it changes holds what that gives."""
        trace, step = open_trace(), self._step

        def outputs() -> Sequence[Value]:
            return [*self._after(), *(value for growth in self._growths for value in growth.values(step.trace))]

        region = step.block.region(outputs, [*self._inputs, step.own])
        graph, count = region.graph, len(self._inputs)
        loop = Loop(
            step.own,
            self._steps,
            dict(zip(self._inputs, zip(self._before(), graph.outputs, strict=False), strict=True)),
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
        always = open_trace().constant(True)
        found = self._boxes_of(results, always)
        found |= {key: item for key in found if is_array(item := self._passed_on(key)) and item.cell not in self._replaced}
        for cell in self._replaced:
            cell.trace = _GONE
        last = {key: scale * self._steps[-1] + offset for key, (scale, offset) in self._counting.items()}
        self._put_contents({**found, **last}, True, {})
        self._grow(list(rows), [found[key].cell for key, item in self._carried.items() if item.is_shared], always)

    def _passed_on(self, key: Key) -> Any:
        """What was there before the loop, and has only changed places since, as by `a, b = b, a`; None of what the steps have made."""
        leaves, count, path = self._step.leaves, len(self._steps), [key]
        owners = {box.cell: other for other, box in self._step.boxes.items() if is_array(box)}
        while is_array(after := leaves[path[-1]][1]) and after.cell in owners:
            path.append(owners[after.cell])
            first = path.index(path[-1])
            if len(path) > count:
                return leaves[path[-1]][0]
            if first < len(path) - 1:  # from there on they go round
                return leaves[path[first + (count - first) % (len(path) - 1 - first)]][0]
        return None

    def _grow(self, stacks: list[Value], shared: list[Cell], always: Value) -> None:
        """Append what the steps have. `shared`: arrays of it that are others' too."""
        trace, step = open_trace(), self._step
        for growth in self._growths:
            for leaf, stack in growth.extend(stacks, self._steps, step.trace):
                for other in (*step.others(leaf), *shared):
                    connect(trace, always, True, other, (), stack, SHARED)
                if step.holders[leaf.cell] > 1:
                    shared.append(stack)


def _is_own(trace: Trace, cell: Cell) -> bool:
    """Whether an array was made in this trace, and is no other's too."""
    return cell.trace is trace and cell.value.node is not None and cell not in trace.changed and not cell.aliases


def _is_nothing(item: Any) -> bool:
    return item is MISSING or isinstance(item, Unset)
