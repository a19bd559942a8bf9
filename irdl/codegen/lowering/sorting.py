"""Sorting line by line: by digits of integers that are ordered as the elements are, from the lowest digit up.

    for each digit:
        for each element of the line, in the order of the digits before: its place is the next one of its digit

How many elements have smaller digits says where a digit's places begin. A pass counts the next digit's as it goes along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop, blocks, wrap_in_loops
from irdl.codegen.lowering.schedule import Schedule
from irdl.ir.dtypes import is_bool, is_float, is_signed
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Check, For, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.ops.sort import SORT

#: Bits of a digit: what is counted stays in the nearest cache, and so do the lines of it that elements go to.
_DIGIT = 8
_BOOL, _PLACE = np.dtype(bool), np.dtype(np.int64)


def sort(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    """The elements of each line in order, or the places that they come from."""
    (x,), (out,) = operands, outputs
    axis = node.attributes.axis
    if 0 in x.shape:
        return []
    if x.shape[axis] == 1:
        return schedule.copy(x, out, names) if node.op is SORT else schedule.fill(out, Literal(np.int64(0)), names)
    if (found := schedule.sort(x, out, axis, node.op is SORT, names)) is not None:
        return found
    result: list[Statement] = []
    for outer, inner, row in _dealt([extent for place, extent in enumerate(x.shape) if place != axis], schedule.slots, names):
        passes = _Passes(x, out, axis, row, inner, node.op is SORT, names)
        result += wrap_in_loops(outer, schedule.each(inner, passes.statements(), names))
    return result


def _dealt(extents: Sequence[int], slots: int, names: Names) -> list[tuple[list[Loop], list[Loop], list[Index]]]:
    """Loops over lines: outer ones, one step after the other, inner ones over at most so many lines, and where a line is.

    Lines that no number of slots divides are two nests."""
    whole = len(extents)  # these axes and those behind it have slots for all of their lines
    while whole and math.prod(extents[whole - 1 :]) <= slots:
        whole -= 1
    loops = [Loop(names("i"), extent) for extent in extents]
    row = [Index.variable(loop.variable) for loop in loops]
    if not whole:
        return [([], loops, row)]
    most = slots // math.prod(extents[whole:])
    cut = whole - 1
    found = []
    for first, size, count in _pieces(extents[cut], most):
        block, piece = Loop(names("b"), count), Loop(names("i"), size)
        place = Index.variable(block.variable, size) + Index.variable(piece.variable) + first
        found.append(([*loops[:cut], block], [piece, *loops[whole:]], [*row[:cut], place, *row[whole:]]))
    return found


def _pieces(extent: int, most: int) -> list[tuple[int, int, int]]:
    """As `blocks`, of one size if one that is not small divides the extent."""
    size = next((n for n in range(most, most // 4, -1) if extent % n == 0), 0)
    return [(0, size, extent // size)] if size else blocks(extent, most)


class _Keys:
    """Unsigned integers that are ordered as elements are, of a dtype.

    Floats are moved as their keys, or what has these for bits, so that no pass makes them anew: what an element is comes back from its key.
    -0.0 lies before 0.0 then, and of nan there is one; where places alone are asked for, both zeros have the key of 0.0.
    """

    def __init__(self, dtype: np.dtype, wants_elements: bool, names: Names) -> None:
        self.dtype, self.wants_elements, self.names = dtype, wants_elements, names
        self.unsigned = np.dtype(np.uint8) if is_bool(dtype) else np.dtype(f"u{dtype.itemsize}")
        self.bits = 1 if is_bool(dtype) else dtype.itemsize * 8
        self.sign = Literal(self.unsigned.type(1 << (self.unsigned.itemsize * 8 - 1)))

    def of(self, value: Variable) -> tuple[list[Statement], Variable]:
        """The statements that bind an element's."""
        key = Variable(self.names("t"), self.unsigned)
        if is_float(self.dtype):
            return self._of_float(value, key)
        found = _cast(value, self.unsigned)
        if is_signed(self.dtype):
            found = Operation("bitwise_xor", (found, self.sign), self.unsigned)
        return [Let(key, found)], key

    def _of_float(self, value: Variable, key: Variable) -> tuple[list[Statement], Variable]:
        """Its bits, those of negative numbers turned, as their order is; nan is the greatest."""
        bits = Variable(self.names("t"), self.unsigned)
        # -0.0 + 0.0 is 0.0
        number = value if self.wants_elements else Operation("add", (value, Literal(self.dtype.type(0))), self.dtype)
        # all ones of negative numbers: branches would be wrong half of the time
        turned = Operation("bitwise_or", (self._spread_sign(bits), self.sign), self.unsigned)
        ordered = Operation("bitwise_xor", (bits, turned), self.unsigned)
        greatest = Literal(self.unsigned.type(np.iinfo(self.unsigned).max))
        is_number = Operation("equal", (value, value), _BOOL)
        return [
            Let(bits, Operation("float_to_bits", (number,), self.unsigned)),
            Let(key, Operation("select", (is_number, ordered, greatest), self.unsigned)),
        ], key

    def _spread_sign(self, bits: Variable) -> Expression:
        """All bits as the first."""
        signed = np.dtype(f"i{self.unsigned.itemsize}")
        shifted = Operation("right_shift", (_cast(bits, signed), Literal(signed.type(self.bits - 1))), signed)
        return _cast(shifted, self.unsigned)

    def of_moved(self, value: Variable) -> tuple[list[Statement], Variable]:
        """As `of`, of what stands in for an element between two passes."""
        if not is_float(self.dtype):
            return self.of(value)
        if value.dtype == self.unsigned:
            return [], value
        key = Variable(self.names("t"), self.unsigned)
        return [Let(key, Operation("float_to_bits", (value,), self.unsigned))], key

    def moved(self, value: Variable, key: Variable, place: Buffer) -> Expression:
        """What stands in for an element between two passes, as it lies in a buffer."""
        if not is_float(self.dtype):
            return value
        return Operation("bits_to_float", (key,), self.dtype) if is_float(place.dtype) else key

    def element(self, value: Variable, key: Variable) -> Expression:
        """The element that something stands in for."""
        if not is_float(self.dtype):
            return value
        # a key begins with a one where the element's sign is plus
        rest = Operation("invert", (self._spread_sign(key),), self.unsigned)
        turned = Operation("bitwise_or", (rest, self.sign), self.unsigned)
        return Operation("bits_to_float", (Operation("bitwise_xor", (key, turned), self.unsigned),), self.dtype)


@dataclass(frozen=True)
class Line:
    """Elements of one line: from `start` on, so far apart."""

    buffer: Buffer
    start: Index
    step: int = 1

    def load(self, place: Index) -> Load:
        return Load(self.buffer, self.start + place * self.step)

    def store(self, place: Index, value: Expression) -> Store:
        return Store(self.buffer, self.start + place * self.step, _cast(value, self.buffer.dtype))

    def behind(self, place: Index) -> Line:
        """Those from a place on."""
        return replace(self, start=self.start + place * self.step)


class _Passes:
    """The passes over one line.

    Attributes:
        moved: between two passes, what they move; not before the first, nor after the last.
        places: where that comes from.
    """

    def __init__(
        self, x: Layout, out: Layout, axis: int, row: Sequence[Index], slots: Sequence[Loop], wants_elements: bool, names: Names
    ) -> None:
        self.names, self.row, self.wants_elements = names, row, wants_elements
        self.keys = _Keys(x.buffer.dtype, wants_elements, names)
        self.slots = slots
        self.extent = x.shape[axis]
        self.passes = -(-self.keys.bits // _DIGIT)
        self.digits = 1 << min(self.keys.bits, _DIGIT)
        self.source, self.target = self._line(x, axis), self._line(out, axis)
        number = np.dtype(np.uint32 if self.extent < 2**32 else np.uint64)
        self.counts = self._scratch("count", number, 2 * self.digits)
        # the result is where they are moved to in between, too
        moved = self.keys.unsigned if is_float(self.keys.dtype) else self.keys.dtype
        self.moved = self._turns("moved", moved, self.target if wants_elements else None)
        self.places = [] if wants_elements else self._turns("place", number, None)

    def _line(self, layout: Layout, axis: int) -> Line:
        index = (*self.row[:axis], Index(), *self.row[axis:])
        return Line(layout.buffer, layout.at(index), layout.strides[axis])

    def _scratch(self, name: str, dtype: np.dtype, size: int) -> Line:
        """Memory of a line's own, as threads take lines in any order."""
        shape = (*(loop.extent for loop in self.slots), size)
        buffer = Buffer(self.names(name), dtype, math.prod(shape), "arena")
        slot = (*(Index.variable(loop.variable) for loop in self.slots), Index())
        return Line(buffer, Layout.contiguous(buffer, shape).at(slot))

    def _turns(self, name: str, dtype: np.dtype, spare: Line | None) -> list[Line]:
        """What each pass but the last writes, which the next one reads: two arrays in turns, the last of which is not `spare`."""
        count = self.passes - 1
        first = self._scratch(name, dtype, self.extent) if count else None
        second = spare if spare is not None else self._scratch(name, dtype, self.extent) if count > 1 else None
        found = [first if left % 2 == 0 else second for left in range(count)]
        return [array for array in reversed(found) if array is not None]

    def statements(self) -> list[Statement]:
        step, digit = self.names("i"), self.names("d")
        zero = self.counts.store(Index.variable(digit), Literal(self.counts.buffer.dtype.type(0)))
        element = Variable(self.names("t"), self.source.buffer.dtype)
        lets, key = self.keys.of(element)
        result: list[Statement] = [
            For(digit, 0, self.digits, 1, "serial", [zero]),
            For(step, 0, self.extent, 1, "serial", [Let(element, self.source.load(Index.variable(step))), *lets, *self._count(key, 0)]),
        ]
        for number in range(self.passes):
            result += [*self._begin(number), self._distribute(number)]
        return result

    def _digit(self, key: Variable, number: int) -> tuple[Statement, Index]:
        """A digit, and where it is counted: two passes' counts are in use at once."""
        shifted = Operation("right_shift", (key, Literal(key.dtype.type(number * _DIGIT))), key.dtype)
        digit = Operation("bitwise_and", (shifted, Literal(key.dtype.type(self.digits - 1))), key.dtype)
        variable = Variable(self.names("k"), _PLACE)
        return Let(variable, Operation("cast", (digit,), _PLACE)), Index.variable(variable.name) + number % 2 * self.digits

    def _count(self, key: Variable, number: int) -> list[Statement]:
        digit, place = self._digit(key, number)
        return [digit, self.counts.store(place, self._one_more(self.counts.load(place)))]

    def _one_more(self, count: Expression) -> Expression:
        return Operation("add", (count, Literal(count.dtype.type(1))), count.dtype)

    def _begin(self, number: int) -> list[Statement]:
        """Where each digit's places begin, and no counts of the next pass."""
        digit, dtype = self.names("d"), self.counts.buffer.dtype
        total, count = Buffer(self.names("total"), dtype, 1, "register"), Variable(self.names("t"), dtype)
        here, other = (Index.variable(digit) + half % 2 * self.digits for half in (number, number + 1))
        zero, so_far = Literal(dtype.type(0)), Load(total, Index())
        body: list[Statement] = [
            Let(count, self.counts.load(here)),
            self.counts.store(here, so_far),
            Store(total, Index(), Operation("add", (so_far, count), dtype)),
        ]
        if number + 1 < self.passes:
            body.append(self.counts.store(other, zero))
        return [Store(total, Index(), zero), For(digit, 0, self.digits, 1, "serial", body)]

    def _distribute(self, number: int) -> Statement:
        """Each element to the next place of its digit."""
        step, is_last = self.names("i"), number + 1 == self.passes
        here = Index.variable(step)
        line = self.moved[number - 1] if number else self.source
        element = Variable(self.names("t"), line.buffer.dtype)
        lets, key = self.keys.of_moved(element) if number else self.keys.of(element)
        digit, count = self._digit(key, number)
        free, place = Variable(self.names("t"), self.counts.buffer.dtype), Variable(self.names("k"), _PLACE)
        # none is beyond the last: what divides lines among threads sees from this that none is in another's line
        bounded = Operation("minimum", (Operation("cast", (free,), _PLACE), Literal(np.int64(self.extent - 1))), _PLACE)
        body: list[Statement] = [
            Let(element, line.load(here)),
            *lets,
            digit,
            Let(free, self.counts.load(count)),
            self.counts.store(count, self._one_more(free)),
            Let(place, bounded),
        ]
        there = Index.variable(place.name)
        if not is_last:
            body += [
                *self._count(key, number + 1),
                self.moved[number].store(there, self.keys.moved(element, key, self.moved[number].buffer)),
            ]
        elif self.wants_elements:
            body.append(self.target.store(there, self.keys.element(element, key)))
        if not self.wants_elements:
            old = self.places[number - 1].load(here) if number else IndexValue(here)
            body.append((self.target if is_last else self.places[number]).store(there, old))
        return For(step, 0, self.extent, 1, "serial", body)


def _cast(value: Expression, dtype: np.dtype) -> Expression:
    return value if value.dtype == dtype else Operation("cast", (value,), dtype)
