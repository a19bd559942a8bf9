"""A sequence of values as one array: slices at affine places of one array are a view of it, constants a constant, a few
pieces a concatenation.

This serves xs, other loops' ys, what a loop had before each step, dicts and lists alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irdl.ir.builder import constant_of
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.ops.shape import BROADCAST, SLICE, BroadcastAttributes, SliceAttributes
from irdl.tracing.rolling.cost import Bill, Unfit
from irdl.tracing.rolling.record import Record

#: a sequence may be put together from so many pieces without asking what it costs
MAX_PIECES = 4


class Element(NamedTuple):
    """The array and the slice of it that a value is a reshape of."""

    x: Value
    place: SliceAttributes


class Before(NamedTuple):
    """Of a stack of a carry after each step: the carry's first value, the stack of it before each step, and the direction."""

    first: Value
    stack: Value
    reverse: bool


class Stacks:
    """Makes one array of many values of a record."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.befores: dict[Value, Before] = {}

    def row(self, stack: Value, place: int, shape: tuple[int, ...]) -> Value:
        """`stack[place]`."""
        return self.record.reshape(self.record.rows(stack, place, place + 1), shape)

    def element_of(self, value: Value) -> Element | None:
        node = self.record.before_reshapes(value).node
        if node is None or node.op is not SLICE:
            return None
        return Element(self.record.now(node.operands[0]), node.attributes)

    def runs(self, values: Sequence[Value]) -> list[tuple[int, int]]:
        """Cut a sequence into runs (first, end) that are one array each."""
        result: list[tuple[int, int]] = []
        place = 0
        while place < len(values):
            end = self._run_end(values, place)
            result.append((place, end))
            place = end
        return result

    def _run_end(self, values: Sequence[Value], place: int) -> int:
        """Where the run ends that begins at a place."""
        first, end = values[place], place + 1
        if constant_of(first) is not None:
            while end < len(values) and values[end].type == first.type and constant_of(values[end]) is not None:
                end += 1
            return end
        while end < len(values) and values[end] is first:
            end += 1
        before = self.element_of(first)
        if end - place > 1 or before is None:
            return end
        step = None
        while end < len(values) and values[end].type == first.type:
            element = self.element_of(values[end])
            if element is None or element.x is not before.x:
                break
            found = grid_step(before.place, element.place)
            if found is None or (step is not None and found != step):
                break
            step, before = found, element
            end += 1
        return end

    def stack(self, values: Sequence[Value], bill: Bill | None = None) -> Value:
        """[v0, v1, ..] as an array with a leading axis. With a `bill` any number of pieces will do, and it is told of them.

        Raises:
            Unfit: it would have to be put together from too many pieces.
        """
        runs = self.runs(values)
        if len(runs) == 2 and (found := self._before_each(values)) is not None:
            return found
        if len(runs) > max(2, min(MAX_PIECES, len(values) // 4)):
            if bill is None:
                raise Unfit(f"{len(runs)} pieces for xs of {values[0].type}", hopeless=len(runs) > len(values) // 2 + 2)
            # An input costs its call more than its copy here does.
            bill.add(tuple(values), sum(values[first].node is not None for first, _ in runs))
        return self.record.concat([self._stacked_run(values[first:end]) for first, end in runs], 0)

    def _before_each(self, values: Sequence[Value]) -> Value | None:
        """[h0, hs[0], hs[1], ..], or that from behind, where hs are what a loop made of h0: what it had before each step."""
        for ordered, is_turned in ((values, False), (values[::-1], True)):
            second = self.element_of(ordered[1])
            if second is None or second.x not in self.befores:
                continue
            hs, count = second.x, len(values)
            first, before, reverse = self.befores[hs]
            extent, rest = hs.shape[0], hs.shape[1:]
            if self.record.now(first) is not ordered[0] or count > extent or ordered[0].shape != rest:
                continue
            wanted = [extent - 1 - k if reverse else k for k in range(count - 1)]
            rows = [_row_of(hs, self.element_of(value)) for value in ordered[1:]]
            if rows != wanted:
                continue
            low = extent - count if reverse else 0
            whole = self.record.rows(before, low, low + count)
            return self.record.reverse(whole, 0) if is_turned != reverse else whole
        return None

    def _stacked_run(self, values: Sequence[Value]) -> Value:
        record, first, count = self.record, values[0], len(values)
        shape = (count, *first.shape)
        if count == 1:
            return record.reshape(first, shape)
        if constant_of(first) is not None:
            return record.constant(np.stack([constant_of(value) for value in values]), first.location)  # type: ignore[misc]
        if values[1] is first:
            return record.new(BROADCAST, [first], BroadcastAttributes(shape), TensorType(first.dtype, shape))
        elements = [self.element_of(value) for value in values[:2]]
        assert elements[0] is not None and elements[1] is not None
        x, a = elements[0]
        step = grid_step(a, elements[1].place)
        assert step is not None
        axis, distance = step
        width = a.limit[axis] - a.start[axis]
        low = min(a.start[axis], a.start[axis] + (count - 1) * distance)
        high = low + ((count - 1) * abs(distance) + 1 if width == 1 else count * width)
        steps = _put(a.stride, axis, abs(distance)) if width == 1 else a.stride
        whole = record.slice(x, SliceAttributes(_put(a.start, axis, low), _put(a.limit, axis, high), steps))
        if width > 1:
            whole = record.reshape(whole, (*whole.shape[:axis], count, width, *whole.shape[axis + 1 :]))
        if distance < 0:
            whole = record.reverse(whole, axis)
        order = [axis, *(other for other in range(whole.type.rank) if other != axis)]
        return record.reshape(record.transpose(whole, order), shape)

    def along(self, stack: Value, axis: int) -> Value:
        """The rows of a stack beside each other: [n, .., w, ..] -> [.., n * w, ..]."""
        count, *shape = stack.shape
        order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)]
        merged = tuple(count * extent if place == axis else extent for place, extent in enumerate(shape))
        if shape[axis] == 1:
            # Transposed without the axis of 1: a view, where a reshape behind a transpose is none.
            stack = self.record.reshape(stack, (count, *shape[:axis], *shape[axis + 1 :]))
            order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape))]
        return self.record.reshape(self.record.transpose(stack, order), merged)


def grid_step(a: SliceAttributes, b: SliceAttributes) -> tuple[int, int] | None:
    """The axis and the distance from one slice to the next; None if they do not lie side by side on a grid."""
    if a.stride != b.stride:
        return None
    axes = [axis for axis, (p, q) in enumerate(zip(a.start, b.start, strict=True)) if p != q]
    if len(axes) != 1:
        return None
    (axis,) = axes
    distance = b.start[axis] - a.start[axis]
    width = a.limit[axis] - a.start[axis]
    if b.limit[axis] - b.start[axis] != width or any(p != q for i, (p, q) in enumerate(zip(a.limit, b.limit, strict=True)) if i != axis):
        return None
    if width != 1 and (abs(distance) != width or a.stride[axis] != 1):
        return None
    return axis, distance


def _row_of(stack: Value, element: Element | None) -> int | None:
    """Which whole row of a stack an element is."""
    if element is None or element.x is not stack:
        return None
    start, limit, _ = element.place.start, element.place.limit, element.place.stride
    is_row = limit[0] - start[0] == 1 and start[1:] == (0,) * (len(start) - 1) and limit[1:] == stack.shape[1:]
    return start[0] if is_row else None


def _put(places: tuple[int, ...], axis: int, place: int) -> tuple[int, ...]:
    return (*places[:axis], place, *places[axis + 1 :])
