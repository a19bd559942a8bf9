"""What the body of a loop reads and stores at places that follow from the counter, as sequences that go in and out of the scan.

    for n in range(N): y[n] = x[n] + a * y[n - 1]     scan of a carry, x and y whole, and n
 -> scan(carry y1, xs x): y = x + a * y1              rows of x go in, rows of y come out, what was stored is a carry

A buffer is taken apart like this where all that is done with it in the body is understood; else the scan carries it whole.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from irdl.ir.builder import constant_of
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ir.types import TensorType
from irdl.ops.control import SCAN, ScanAttributes
from irdl.ops.dynamic import DYNAMIC_SLICE
from irdl.ops.elementwise import ADD
from irdl.ops.index import GATHER, SCATTER_SET, IndexAttributes
from irdl.ops.joining import CONCAT, UPDATE_SLICE, ConcatAttributes, UpdateSliceAttributes
from irdl.ops.shape import (
    IOTA,
    RESHAPE,
    REVERSE,
    SLICE,
    TRANSPOSE,
    IotaAttributes,
    ReshapeAttributes,
    ReverseAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from irdl.tracing.counters import line_of
from irdl.tracing.long_loops.places import UNCLEAR, Place, distance_of, numbers_of, rest_of
from irdl.tracing.recorder import Trace

#: what was stored so many steps before is carried; what lies further back is read from the buffer
_MOST_REGISTERS = 8


@dataclass
class Loop:
    """A loop on its way into a scan: a body, and what stands for its inputs outside.

    Attributes:
        carries: inputs that are carried: what each is at first (outside) and behind a step.
        consts, xs: inputs that are the same at all steps, and rows; what they are (rows of what) outside.
        ys: values of which every step's goes out.
    """

    counter: Value
    steps: range
    carries: dict[Value, tuple[Value, Value]]
    consts: dict[Value, Value]
    ys: list[Value]
    xs: dict[Value, Value] = field(default_factory=dict)


class _Store(NamedTuple):
    place: Place
    value: Value
    #: the array behind it
    state: Value


def scan_of(loop: Loop, outer: Trace, body: Trace, buffers: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """Record a loop as a scan: what it carries is last, and the rows of all steps of its ys.

    Args:
        buffers: of what it carries, arrays that the body stores into.
    """
    carried, count = dict(loop.carries), len(loop.ys)
    sequences = Sequences(loop, outer, body)
    taken = sequences.take_buffers(buffers)
    steps, outputs = len(loop.steps), [*(after for _, after in loop.carries.values()), *loop.ys]
    read = {*outputs, *(value for node in reachable_nodes(outputs) for value in node.operands)}
    if loop.counter in read:
        numbers = outer.apply(IOTA, [], IotaAttributes(loop.counter.dtype, (steps,), 0))[0]
        if loop.steps.start:
            numbers = outer.apply(ADD, [numbers, outer.constant(loop.steps.start, loop.counter.dtype)])[0]
        loop.xs[loop.counter] = numbers
    consts, xs = ({value: given for value, given in part.items() if value in read} for part in (loop.consts, loop.xs))
    graph = Graph([*consts, *loop.carries, *xs], outputs, "for body")
    operands = [*consts.values(), *(initial for initial, _ in loop.carries.values()), *xs.values()]
    results = outer.apply(SCAN, operands, ScanAttributes(len(consts), len(loop.carries), steps), [graph])
    last = dict(zip(loop.carries, results, strict=False))
    rows = list(results[len(loop.carries) :])
    more = iter(rows[count:])
    for buffer, places in taken.items():
        value = carried[buffer][0]
        for place in places:
            value = sequences.stored(value, place, next(more))
        last[buffer] = value
    return [last[value] for value in carried], rows[:count]


class Sequences:
    """Makes sequences of what one loop reads and stores."""

    def __init__(self, loop: Loop, outer: Trace, body: Trace) -> None:
        self._loop, self._outer, self._body = loop, outer, body
        #: what stands for a value of the body
        self._instead: dict[Value, Value] = {}
        outputs = [after for _, after in loop.carries.values()] + loop.ys
        self._nodes = Graph([loop.counter, *loop.carries, *loop.consts], outputs, "").nodes
        self._readers: dict[Value, list[Node]] = {}
        for node in self._nodes:
            for value in node.operands:
                self._readers.setdefault(value, []).append(node)
        self._outputs = outputs
        varying = {loop.counter, *loop.carries}
        for node in self._nodes:
            if any(value in varying for value in node.operands):
                varying.update(node.outputs)
        self._varying = varying
        self._outside: dict[Value, Value] = dict(loop.consts)
        self._rows: dict[Hashable, Value] = {}
        #: of buffers that were taken apart, where each step stores: a y for each place
        self._stored: dict[Value, list[Place]] = {}
        self._registers: dict[Value, list[Value]] = {}

    def take_buffers(self, buffers: Sequence[Value]) -> dict[Value, list[Place]]:
        """Take buffers apart, which are carried, and let rows go in; of those taken apart, where what the last ys hold is stored."""
        for buffer in buffers:
            self._take(buffer)
        for node in self._nodes:
            if node.op in (GATHER, DYNAMIC_SLICE) and node.output not in self._instead and node.operands[0] not in self._varying:
                row = self._row_of(node, self._at_outside(node.operands[0]))
                if row is not None:
                    self._instead[node.output] = row
        self._rebuild()
        return self._stored

    # What is read at a place.

    def _place(self, node: Node, extents: tuple[int, ...]) -> Place | None:
        """Where a node reads or stores, if one number moves with the counter and the others stay."""
        axes, index = node.attributes.axes, node.operands[-1 if node.op is DYNAMIC_SLICE else 1]
        numbers = numbers_of(index)
        if numbers is None:
            return None
        lines, moving = [], None
        for place, number in enumerate(numbers):
            line = line_of(self._body, number)
            lines.append(line)
            if line is not None and line.scale and line.counter is self._loop.counter:
                if moving is not None:
                    return None
                moving = place
            elif number in self._varying and (line is None or line.scale):
                return None
        if moving is None:
            return None
        line, extent = lines[moving], extents[axes[moving]]
        assert line is not None
        low, high = sorted((line.at(self._loop.steps[0]), line.at(self._loop.steps[-1])))
        if -extent <= low and high < 0 and node.op is not DYNAMIC_SLICE:  # which does not count from the end
            return Place(axes, numbers, tuple(lines), moving, line.at(self._loop.steps[0]) + extent)
        return Place(axes, numbers, tuple(lines), moving, line.at(self._loop.steps[0])) if low >= 0 and high < extent else None

    def _row_of(self, node: Node, array: Value) -> Value | None:
        """What a node reads of an array from outside, as an input of the body."""
        place = self._place(node, array.shape)
        if place is None:
            return None
        if node.op is DYNAMIC_SLICE:
            size = node.attributes.sizes[place.moving]
            if len(place.axes) > 1 or place.scale != size or place.first + size * len(self._loop.steps) > array.shape[place.axes[0]]:
                return None
            return self._frames(array, place, size, node.output.type)
        return self._row(array, place, node.output.type)

    def _row(self, array: Value, place: Place, type_: TensorType) -> Value:
        key = (array, place.axes, self._fixed(array, place), place.moving, place.scale, place.first)
        if key not in self._rows:
            self._rows[key] = made = Value(type_)
            self._loop.xs[made] = self._slice(self._at_fixed(array, place), place.first, place.scale)
        return self._rows[key]

    def _fixed(self, array: Value, place: Place) -> tuple[Hashable, ...]:
        known = place.known(array.shape)
        return tuple(known[axis] if axis in known else self._at_outside(number) for axis, number in place.fixed)

    def _frames(self, array: Value, place: Place, size: int, type_: TensorType) -> Value:
        """Slices that lie side by side."""
        axis, count = place.axes[0], len(self._loop.steps)
        shape = array.shape
        limits = tuple(place.first + size * count if a == axis else n for a, n in enumerate(shape))
        whole = self._apply(
            SLICE, [array], SliceAttributes(tuple(place.first if a == axis else 0 for a in range(len(shape))), limits, (1,) * len(shape))
        )
        frames = self._apply(RESHAPE, [whole], ReshapeAttributes((*shape[:axis], count, size, *shape[axis + 1 :])))
        made = Value(type_)
        self._loop.xs[made] = self._front(frames, axis)
        return made

    def _at_fixed(self, array: Value, place: Place) -> Value:
        """An array at the numbers that stay, with the axis that moves in front."""
        array, known, axis = self._at_traced(array, place)
        array = self._front(array, axis)
        if not known:
            return array
        # Behind the axis in front, the others have kept their order.
        places = {other + (other < axis): number for other, number in known.items()}
        shape = array.shape
        starts = tuple(places.get(a, 0) for a in range(len(shape)))
        limits = tuple(places[a] + 1 if a in places else n for a, n in enumerate(shape))
        array = self._apply(SLICE, [array], SliceAttributes(starts, limits, (1,) * len(shape)))
        return self._apply(RESHAPE, [array], ReshapeAttributes(tuple(n for a, n in enumerate(shape) if a not in places)))

    def _at_traced(self, array: Value, place: Place) -> tuple[Value, dict[int, int], int]:
        """An array at the numbers that are not known; of what is left, axes that are known and where, and the axis that moves."""
        known = place.known(array.shape)
        axes = tuple(axis for axis, _ in place.fixed if axis not in known)
        moving = place.axes[place.moving]
        if axes:
            array = self._apply(GATHER, [array, self._traced(place, axes)], IndexAttributes(axes))

        def left(axis: int) -> int:
            return axis - sum(other < axis for other in axes)

        return array, {left(axis): number for axis, number in known.items()}, left(moving)

    def _traced(self, place: Place, axes: Sequence[int]) -> Value:
        return self._index([self._at_outside(number) for axis, number in place.fixed if axis in axes])

    def stored(self, buffer: Value, place: Place, rows: Value) -> Value:
        """A buffer behind the loop, of which each step has stored its row at this place."""
        array, known, axis = self._at_traced(buffer, place)
        count, last = len(self._loop.steps), place.first + place.scale * (len(self._loop.steps) - 1)
        if place.scale < 0:
            rows = self._apply(REVERSE, [rows], ReverseAttributes((0,)))
        shape = tuple(count if a == axis else 1 if a in known else n for a, n in enumerate(array.shape))
        # Rows have the axes that are neither known nor move, in order.
        rest = [a for a in range(len(shape)) if a != axis and a not in known]
        order = [0 if a == axis else rest.index(a) + 1 for a in range(len(shape)) if a == axis or a in rest]
        if order != sorted(order):
            rows = self._apply(TRANSPOSE, [rows], TransposeAttributes(tuple(order)))
        if rows.shape != shape:
            rows = self._apply(RESHAPE, [rows], ReshapeAttributes(shape))
        if shape != array.shape:
            starts = tuple(min(place.first, last) if a == axis else known.get(a, 0) for a in range(len(shape)))
            strides = tuple(abs(place.scale) if a == axis else 1 for a in range(len(shape)))
            rows = self._apply(UPDATE_SLICE, [array, rows], UpdateSliceAttributes(starts, strides))
        if array is buffer:
            return rows
        axes = tuple(a for a, _ in place.fixed if a not in place.known(buffer.shape))
        return self._apply(SCATTER_SET, [buffer, self._traced(place, axes), rows], IndexAttributes(axes))

    def _index(self, numbers: Sequence[Value]) -> Value:
        parts = [number if number.shape == (1,) else self._apply(RESHAPE, [number], ReshapeAttributes((1,))) for number in numbers]
        return parts[0] if len(parts) == 1 else self._apply(CONCAT, parts, ConcatAttributes(0))

    def _front(self, array: Value, axis: int) -> Value:
        order = (axis, *(a for a in range(array.type.rank) if a != axis))
        return array if axis == 0 else self._apply(TRANSPOSE, [array], TransposeAttributes(order))

    def _slice(self, array: Value, first: int, scale: int) -> Value:
        """Of rows those of the steps, in their order."""
        count, rest = len(self._loop.steps), array.shape[1:]
        last = first + scale * (count - 1)
        low, high = min(first, last), max(first, last)
        if (low, high - low, abs(scale)) != (0, array.shape[0] - 1, 1):
            limits = SliceAttributes((low, *[0] * len(rest)), (high + 1, *rest), (abs(scale), *[1] * len(rest)))
            array = self._apply(SLICE, [array], limits)
        return array if scale > 0 else self._apply(REVERSE, [array], ReverseAttributes((0,)))

    def _apply(self, op: object, operands: Sequence[Value], attributes: object) -> Value:
        return self._outer.apply(op, operands, attributes)[0]  # type: ignore[arg-type]

    def _at_outside(self, value: Value) -> Value:
        """A value that does not vary, computed outside."""
        if value not in self._outside:
            node = value.node
            assert node is not None
            array = constant_of(value)
            if array is not None:
                made: Sequence[Value] = [self._outer.constant(array)]
            else:
                operands = [self._at_outside(operand) for operand in node.operands]
                made = self._outer.apply(node.op, operands, node.attributes, node.regions)
            self._outside.update(zip(node.outputs, made, strict=True))
        return self._outside[value]

    # Buffers.

    def _take(self, buffer: Value) -> None:
        """Take one apart if all is understood that is done with it."""
        initial, last = self._loop.carries[buffer]
        stores = self._stores_between(buffer, last)
        if not stores:
            return
        places = [store.place for store in stores]
        axis, scale = places[0].axes[places[0].moving], places[0].scale
        if any((place.axes[place.moving], place.scale, place.axes) != (axis, scale, places[0].axes) for place in places):
            return
        for which, place in enumerate(places):
            if any(distance_of(place, other, initial.shape) not in (0, None) for other in places[:which]):
                return
        reads = self._reads_of([buffer, *(store.state for store in stores)], stores)
        if reads is None:
            return
        found: dict[Node, tuple[_Store | None, int]] = {}
        for node, known in reads:
            source = self._source(node, stores, known)
            if source is None:
                return
            found[node] = source
        for node, (store, distance) in found.items():
            if store is None:
                row = self._row_of(node, initial)
                assert row is not None
                self._instead[node.output] = row
            elif distance == 0:
                self._instead[node.output] = store.value
            else:
                self._instead[node.output] = self._register(initial, store, distance)
        final = [
            store
            for which, store in enumerate(stores)
            if not any(distance_of(store.place, other.place, initial.shape) == 0 for other in stores[which + 1 :])
        ]
        del self._loop.carries[buffer]
        self._loop.ys += [store.value for store in final]
        self._stored[buffer] = [store.place for store in final]

    def _stores_between(self, buffer: Value, last: Value) -> list[_Store] | None:
        """The stores that lead from what a buffer is at a step's beginning to what it is at its end."""
        stores: list[_Store] = []
        state = last
        while state is not buffer:
            node = state.node
            if node is None or node.op is not SCATTER_SET or node.operands[2].shape != rest_of(node):
                return None
            place = self._place(node, node.operands[0].shape)
            if place is None:
                return None
            stores.append(_Store(place, node.operands[2], state))
            state = node.operands[0]
        return stores[::-1]

    def _reads_of(self, states: Sequence[Value], stores: Sequence[_Store]) -> list[tuple[Node, int]] | None:
        """The nodes that read one of the states, with how many stores were made then; None where something else is done with one."""
        chain = {store.state.node for store in stores}
        reads = []
        for count, state in enumerate(states):
            outside = sum(value is state for value in self._outputs)
            if outside > (count == len(states) - 1):
                return None
            for node in self._readers.get(state, ()):
                if node in chain and state is node.operands[0] and state not in node.operands[1:]:
                    continue
                if node.op is not GATHER or state is node.operands[1]:
                    return None
                reads.append((node, count))
        return reads

    def _source(self, node: Node, stores: Sequence[_Store], known: int) -> tuple[_Store | None, int] | None:
        """What a node reads: what a store has stored so many steps before, or (None) what was there before the loop. None where that is
        not clear."""
        place = self._place(node, node.operands[0].shape)
        if (
            place is None
            or node.output.shape != rest_of(node)
            or place.axes != stores[0].place.axes
            or place.scale != stores[0].place.scale
        ):
            return None
        found: tuple[_Store | None, int] = None, 0
        for which, store in enumerate(stores):
            distance = distance_of(store.place, place, node.operands[0].shape)
            if distance is None:
                continue
            if distance is UNCLEAR or distance > _MOST_REGISTERS:
                return None
            if distance > 0 or (distance == 0 and which < known):
                found = store, distance  # the last one counts: all of one place are of one distance
        return found

    def _register(self, initial: Value, store: _Store, distance: int) -> Value:
        """What was stored so many steps before, as an input that is carried."""
        registers = self._registers.setdefault(store.state, [])
        place, front = store.place, self._at_fixed(initial, store.place)
        while len(registers) < distance:
            row = place.first - place.scale * (len(registers) + 1)
            rest = front.shape[1:]
            start = self._apply(SLICE, [front], SliceAttributes((row, *[0] * len(rest)), (row + 1, *rest), (1,) * front.type.rank))
            made = Value(store.value.type)
            before = registers[-1] if registers else store.value
            self._loop.carries[made] = self._apply(RESHAPE, [start], ReshapeAttributes(rest)), before
            registers.append(made)
        return registers[distance - 1]

    def _rebuild(self) -> None:
        """The body with all that stands for others."""
        now: dict[Value, Value] = {}

        def of(value: Value) -> Value:
            while value in self._instead:
                value = self._instead[value]
            return now.get(value, value)

        for node in self._nodes:
            operands = [of(value) for value in node.operands]
            if any(a is not b for a, b in zip(operands, node.operands, strict=True)):
                types = [value.type for value in node.outputs]
                made = Node(node.op, operands, node.attributes, node.regions, types, node.location)
                now.update(zip(node.outputs, made.outputs, strict=True))
        loop = self._loop
        loop.carries = {value: (initial, of(after)) for value, (initial, after) in loop.carries.items()}
        loop.ys = [of(value) for value in loop.ys]
