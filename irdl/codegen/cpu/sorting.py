"""Sorting lines side by side, one in each lane of a vector, by a network: at pairs of places, elements out of order are exchanged.

    for some lines at a time:
        for each place: a vector of the lines' keys
        for each stage of the network, each of its pairs: the lesser keys, the greater keys
        for each place: the elements of the keys, or where they came from

What is exchanged depends on no element, so that all lanes do the same. The network is Batcher's merge exchange (Knuth, The Art of Computer
Programming 3, section 5.2.2, algorithm M).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from irdl.codegen.lowering.layout import Layout, merged
from irdl.codegen.lowering.nest import Loop, narrow_lanes, wrap_in_loops
from irdl.ir.dtypes import is_bool, is_float, is_signed
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import For, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.loops.target import Target

#: Bytes of the keys of some lines, at most: they are gone through some fifty times.
_MOST_BYTES = 64 * 1024
_BOOL, _PLACE = np.dtype(bool), np.dtype(np.int64)


def sort_by_network(x: Layout, out: Layout, axis: int, wants_elements: bool, target: Target, names: Names) -> list[Statement] | None:
    """The elements of each line of x along an axis in order, or the places that they come from; None of long lines, and of one alone."""
    keys = _keys(x.buffer.dtype, wants_elements, names)
    lanes = min(map(target.lanes, keys.dtypes))
    bytes_of_place = sum(lanes * dtype.itemsize for dtype in keys.dtypes)
    lines, results = merged(x.element(Index(), axis), out.element(Index(), axis))
    across = max(range(len(lines.shape)), key=lambda place: (min(lines.shape[place], lanes), lines.strides[place] == 1), default=None)
    if across is None or lines.shape[across] < 2 or x.shape[axis] * bytes_of_place > _MOST_BYTES:
        return None
    extent, steps = x.shape[axis], (x.strides[axis], out.strides[axis])
    whole, rest = divmod(lines.shape[across], lanes)
    result: list[Statement] = []
    for first, blocks, count in ((0, whole, lanes), (whole * lanes, 1, rest)):
        extents = [blocks if place == across else n for place, n in enumerate(lines.shape)]
        for loops, slots, slot, row in _dealt(extents, target.threads, names) if blocks and count else ():
            lane = Loop(names("l"), count, "vector", narrow_lanes(count, lanes))
            row[across] = row[across] * lanes + Index.variable(lane.variable) + first
            scratch = [Buffer(names("line"), dtype, slots * extent * lanes, "arena") for dtype in keys.dtypes]
            start = Index.variable(slot, extent * lanes) + Index.variable(lane.variable)
            vectors = _Vectors(scratch, start, lanes, lane, names)
            ends = [(layout.buffer, layout.at(tuple(row)), step) for layout, step in zip((lines, results), steps, strict=True)]
            result += wrap_in_loops(
                loops, [_take(*ends[0], extent, keys, vectors), *_sort(extent, keys, vectors), _give(*ends[1], extent, keys, vectors)]
            )
    return result


def _dealt(extents: Sequence[int], threads: int, names: Names) -> Iterator[tuple[list[Loop], int, str, list[Index]]]:
    """Nests over places, of which threads share the outermost loop: the loops, how many steps that has, its variable, and where a place
    is."""
    longest = max(range(len(extents)), key=lambda axis: extents[axis])
    each, rest = divmod(extents[longest], threads)
    for first, slots, count in ((0, threads, each), (each * threads, rest, 1)):
        if slots and count:
            slot, loops = names("s"), [Loop(names("i"), n) for n in extents]
            loops[longest] = Loop(loops[longest].variable, count)
            row = [Index.variable(loop.variable) for loop in loops]
            row[longest] = row[longest] + Index.variable(slot, count) + first
            yield [Loop(slot, slots), *loops], slots, slot, row


class _Vectors:
    """Of lines side by side, a vector for each place, of each of a key's numbers."""

    def __init__(self, buffers: Sequence[Buffer], start: Index, lanes: int, lane: Loop, names: Names) -> None:
        self.buffers, self.start, self.lanes, self.lane, self.names = buffers, start, lanes, lane, names

    def load(self, place: Index) -> tuple[list[Statement], list[Variable]]:
        found = [Variable(self.names("t"), buffer.dtype) for buffer in self.buffers]
        at = self.start + place * self.lanes
        return [Let(variable, Load(buffer, at)) for variable, buffer in zip(found, self.buffers, strict=True)], found

    def store(self, place: Index, key: Sequence[Expression]) -> list[Statement]:
        at = self.start + place * self.lanes
        return [Store(buffer, at, number) for buffer, number in zip(self.buffers, key, strict=True)]

    def each(self, body: Sequence[Statement]) -> Statement:
        """In every lane."""
        return For(self.lane.variable, 0, self.lane.extent, 1, "vector", list(body), self.lane.lanes)


def _take(buffer: Buffer, start: Index, step: int, extent: int, keys: _Keys, vectors: _Vectors) -> Statement:
    place = vectors.names("i")
    here, element = Index.variable(place), Variable(vectors.names("t"), buffer.dtype)
    lets, key = keys.of(element, here)
    return For(
        place, 0, extent, 1, "serial", [vectors.each([Let(element, Load(buffer, start + here * step)), *lets, *vectors.store(here, key)])]
    )


def _give(buffer: Buffer, start: Index, step: int, extent: int, keys: _Keys, vectors: _Vectors) -> Statement:
    place = vectors.names("i")
    here = Index.variable(place)
    loads, key = vectors.load(here)
    lets, value = keys.result(key)
    return For(place, 0, extent, 1, "serial", [vectors.each([*loads, *lets, Store(buffer, start + here * step, value)])])


def _sort(extent: int, keys: _Keys, vectors: _Vectors) -> list[Statement]:
    result: list[Statement] = []
    for period, first, apart in stages(extent):
        # Pairs begin at every place of `period` ones in a row, and at none of the next `period`.
        whole, rest = divmod(extent - apart - first, 2 * period)
        for start, runs, length in ((first, whole, period), (first + 2 * period * whole, 1, min(rest, period))):
            if runs <= 0 or length <= 0:
                continue
            place, loops = Index(start), []
            for step, count in ((2 * period, runs), (1, length)):
                if count > 1:
                    loops.append(Loop(vectors.names("i"), count))
                    place = place + Index.variable(loops[-1].variable, step)
            result += wrap_in_loops(loops, [_exchange(place, apart, keys, vectors)])
    return result


def stages(extent: int) -> Iterator[tuple[int, int, int]]:
    """The network's stages, as (p, r, d): an exchange for each pair i, i + d of places for which i & p is r. Pairs have no place in common."""
    top = 1 << ((extent - 1).bit_length() - 1)
    period = top
    while period:
        other, first, apart = top, 0, period
        while True:
            yield period, first, apart
            if other == period:
                break
            apart, other, first = other - period, other // 2, period
        period //= 2


def _exchange(place: Index, apart: int, keys: _Keys, vectors: _Vectors) -> Statement:
    (loads, one), (more, other) = vectors.load(place), vectors.load(place + apart)
    lets, lesser, greater = keys.exchange(one, other)
    return vectors.each([*loads, *more, *lets, *vectors.store(place, lesser), *vectors.store(place + apart, greater)])


class _Keys(ABC):
    """Numbers that are ordered as elements are.

    Attributes:
        dtypes: of a key's numbers.
    """

    def __init__(self, element: np.dtype, dtypes: Sequence[np.dtype], names: Names) -> None:
        self.element, self.dtypes, self.names = element, dtypes, names

    @abstractmethod
    def of(self, element: Variable, place: Index) -> tuple[list[Statement], list[Expression]]:
        """The key of an element at a place."""

    @abstractmethod
    def result(self, key: Sequence[Variable]) -> tuple[list[Statement], Expression]:
        """What a key is put in order for."""

    def exchange(self, one: Sequence[Variable], other: Sequence[Variable]) -> tuple[list[Statement], list[Expression], list[Expression]]:
        """The lesser key, and the greater."""
        (a,), (b,) = one, other
        return [], [Operation("minimum", (a, b), a.dtype)], [Operation("maximum", (a, b), a.dtype)]

    def let(self, value: Expression, lets: list[Statement]) -> Variable:
        variable = Variable(self.names("t"), value.dtype)
        lets.append(Let(variable, value))
        return variable

    def ordered(self, element: Variable, lets: list[Statement]) -> Expression:
        """A number of `_ordered_dtype`: of floats, nan is the greatest, and -0.0 lies before 0.0."""
        if not is_float(self.element):
            return _cast(element, _ordered_dtype(self.element))
        signed = _ordered_dtype(self.element)
        bits = self.let(_cast(Operation("float_to_bits", (element,), np.dtype(f"u{signed.itemsize}")), signed), lets)
        most = Literal(signed.type(np.iinfo(signed).max))
        is_number = Operation("equal", (element, element), _BOOL)
        return Operation("select", (is_number, self.turned(bits, lets), most), signed)

    def turned(self, bits: Variable, lets: list[Statement]) -> Expression:
        """Of negative numbers all bits but the sign: from floats' bits to integers in their order, and back."""
        signed = bits.dtype
        shifted = Operation("right_shift", (bits, Literal(signed.type(signed.itemsize * 8 - 1))), signed)
        mask = self.let(Operation("bitwise_and", (shifted, Literal(signed.type(np.iinfo(signed).max))), signed), lets)
        return Operation("bitwise_xor", (bits, mask), signed)


class ElementKeys(_Keys):
    """Keys that are as good as the elements."""

    def __init__(self, element: np.dtype, names: Names) -> None:
        super().__init__(element, [_ordered_dtype(element)], names)

    def of(self, element: Variable, place: Index) -> tuple[list[Statement], list[Expression]]:
        lets: list[Statement] = []
        return lets, [self.ordered(element, lets)]

    def result(self, key: Sequence[Variable]) -> tuple[list[Statement], Expression]:
        lets: list[Statement] = []
        if not is_float(self.element):
            return lets, _cast(key[0], self.element)
        bits = _cast(self.turned(key[0], lets), np.dtype(f"u{self.element.itemsize}"))
        return lets, Operation("bits_to_float", (bits,), self.element)


class _Places(_Keys):
    """Keys with the places that elements come from: what is equal stays in its order. Both are one number where one has room for them."""

    def __init__(self, element: np.dtype, names: Names) -> None:
        ordered = _ordered_dtype(element)
        self.bits = ordered.itemsize * 8
        dtypes = [np.dtype(np.int64 if self.bits == 32 else np.int32)] if self.bits < 64 else [ordered, _PLACE]
        super().__init__(element, dtypes, names)

    @property
    def shift(self) -> int:
        return 8 * self.dtypes[0].itemsize // 2

    def of(self, element: Variable, place: Index) -> tuple[list[Statement], list[Expression]]:
        lets: list[Statement] = []
        if is_float(self.element):  # -0.0 + 0.0 is 0.0
            element = self.let(Operation("add", (element, Literal(self.element.type(0))), self.element), lets)
        key, number = self.ordered(element, lets), IndexValue(place)
        if len(self.dtypes) > 1:
            return lets, [key, number]
        (both,) = self.dtypes
        least = Literal(both.type(0 if is_signed(key.dtype) else 1 << (self.bits - 1)))
        signed = Operation("sub", (_cast(key, both), least), both)
        high = Operation("left_shift", (signed, Literal(both.type(self.shift))), both)
        return lets, [Operation("bitwise_or", (high, _cast(number, both)), both)]

    def result(self, key: Sequence[Variable]) -> tuple[list[Statement], Expression]:
        if len(self.dtypes) > 1:
            return [], key[1]
        (both,) = self.dtypes
        return [], _cast(Operation("bitwise_and", (key[0], Literal(both.type((1 << self.shift) - 1))), both), _PLACE)

    def exchange(self, one: Sequence[Variable], other: Sequence[Variable]) -> tuple[list[Statement], list[Expression], list[Expression]]:
        if len(self.dtypes) == 1:
            return super().exchange(one, other)
        lets: list[Statement] = []
        (a, i), (b, j) = one, other
        tie = Operation("bitwise_and", (Operation("equal", (a, b), _BOOL), Operation("less", (j, i), _BOOL)), _BOOL)
        is_wrong = self.let(Operation("bitwise_or", (Operation("less", (b, a), _BOOL), tie), _BOOL), lets)
        pairs = ((a, b), (i, j))
        lesser = [Operation("select", (is_wrong, second, first), first.dtype) for first, second in pairs]
        greater = [Operation("select", (is_wrong, first, second), first.dtype) for first, second in pairs]
        return lets, [*lesser], [*greater]


def _keys(element: np.dtype, wants_elements: bool, names: Names) -> _Keys:
    return ElementKeys(element, names) if wants_elements else _Places(element, names)


def _ordered_dtype(element: np.dtype) -> np.dtype:
    return np.dtype(np.uint8) if is_bool(element) else np.dtype(f"i{element.itemsize}") if is_float(element) else element


def _cast(value: Expression, dtype: np.dtype) -> Expression:
    return value if value.dtype == dtype else Operation("cast", (value,), dtype)
