"""Sorting a short line alone: every element is compared with all others, a few vectors of them at a time.

    for each place i: rank[i] = how many elements lie before x[i]
    for each place i: out[rank[i]] = x[i], or i

Of two that are equal the first lies before the other: what stands behind a vector is counted where it is less, what stands before it all
but where it is greater.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from irdl.codegen.cpu.sorting import ElementKeys
from irdl.codegen.lowering.layout import Layout, merged
from irdl.codegen.lowering.nest import Loop, blocks, narrow_lanes, wrap_in_loops
from irdl.codegen.lowering.sorting import Line
from irdl.ir.dtypes import is_float
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import For, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.loops.target import Target

#: Elements of a line, and lines: what this does grows with the square of their length, and many are sorted side by side.
LONGEST, MOST_LINES = 192, 1
#: Bytes of vectors that are too short for so long a line, and the share of it that is not.
_SHORT, _SHARE = 16, 0.6
#: Vectors whose places are counted at once.
_VECTORS = 8
_BOOL, _PLACE = np.dtype(bool), np.dtype(np.int64)
#: Of one element, others, and the lane of the first if it is one of them: where to count how much.
_Rule = Callable[[Expression, Expression, Index], tuple[Expression, int]]


def sort_by_ranks(x: Layout, out: Layout, axis: int, wants_elements: bool, target: Target, names: Names) -> list[Statement] | None:
    """The elements of each line of x along an axis in order, or the places that they come from; None of long lines, and of many."""
    extent = x.shape[axis]
    lines, results = merged(x.element(Index(), axis), out.element(Index(), axis))
    key = _key_dtype(x.buffer.dtype)
    if extent > LONGEST * (_SHARE if target.vector_bytes <= _SHORT else 1) or math.prod(lines.shape) > MOST_LINES:
        return None
    loops = [Loop(names("i"), count) for count in lines.shape]
    row = tuple(Index.variable(loop.variable) for loop in loops)
    source, sorted_line = Line(lines.buffer, lines.at(row), x.strides[axis]), Line(results.buffer, results.at(row), out.strides[axis])
    ranks = _Ranks(source, extent, key, target, names)
    return wrap_in_loops(loops, [*ranks.statements(), ranks.scattered(sorted_line, wants_elements)])


def _key_dtype(element: np.dtype) -> np.dtype:
    """Of integers that are ordered as elements are, as wide as those that count them."""
    signed = is_float(element) or element.itemsize < 4
    return np.dtype(f"i{max(4, element.itemsize)}") if signed else element


class _Ranks:
    """How many elements of a line lie before each of it.

    Attributes:
        keys, ranks: of the elements, and behind them of what fills the last vector.
    """

    def __init__(self, line: Line, extent: int, key: np.dtype, target: Target, names: Names) -> None:
        self.line, self.extent, self.names = line, extent, names
        self.lanes = target.lanes(key)
        self.vectors = -(-extent // self.lanes)
        self.most = min(_VECTORS, target.registers // 2 - 1)
        self.number = np.dtype(f"i{key.itemsize}")
        self.keys = Buffer(names("key"), key, self.vectors * self.lanes, "arena")
        self.ranks = Buffer(names("rank"), self.number, self.vectors * self.lanes, "arena")
        self.lane = names("l")

    def statements(self) -> list[Statement]:
        result = self._make_keys()
        for first, size, count in blocks(self.vectors, self.most):
            for start in range(first, first + size * count, size):
                result += self._count(start, size)
        return result

    def scattered(self, line: Line, wants_elements: bool) -> Statement:
        """Each element, or where it comes from, to its place."""
        step = self.names("i")
        here, place = Index.variable(step), Variable(self.names("k"), _PLACE)
        # none is beyond the last, as is to be seen
        bounded = Operation("minimum", (self._as(Load(self.ranks, here), _PLACE), Literal(np.int64(self.extent - 1))), _PLACE)
        value = self.line.load(here) if wants_elements else IndexValue(here)
        return For(step, 0, self.extent, 1, "serial", [Let(place, bounded), line.store(Index.variable(place.name), value)])

    def _make_keys(self) -> list[Statement]:
        whole, rest = divmod(self.extent, self.lanes)
        result: list[Statement] = []
        if rest:
            zero = Literal(self.keys.dtype.type(0))
            result.append(self._vector([Store(self.keys, Index.variable(self.lane) + whole * self.lanes, zero)]))
        block = self.names("b")
        result += wrap_in_loops([Loop(block, whole)], [self._vector(self._key(Index.variable(block, self.lanes)))]) if whole else []
        if rest:
            tail = self._key(Index(whole * self.lanes))
            result.append(For(self.lane, 0, rest, 1, "vector", tail, narrow_lanes(rest, self.lanes)))
        return result

    def _key(self, start: Index) -> list[Statement]:
        at = start + Index.variable(self.lane)
        element, keys = Variable(self.names("t"), self.line.buffer.dtype), ElementKeys(self.line.buffer.dtype, self.names)
        lets: list[Statement] = [Let(element, self.line.load(at))]
        if is_float(element.dtype):  # -0.0 + 0.0 is 0.0
            element = keys.let(Operation("add", (element, Literal(element.dtype.type(0))), element.dtype), lets)
        key = keys.ordered(element, lets)
        return [*lets, Store(self.keys, at, self._as(key, self.keys.dtype))]

    def _count(self, first: int, size: int) -> list[Statement]:
        """The ranks of some vectors."""
        registers = Buffer(self.names("r"), self.keys.dtype, size * self.lanes, "register")
        counts = Buffer(self.names("acc"), self.number, size * self.lanes, "register")
        here = Index.variable(self.lane)
        places = [here + v * self.lanes for v in range(size)]
        result: list[Statement] = []
        for v, at in enumerate(places):
            so_far = Literal(self.number.type((first + v) * self.lanes))
            result.append(self._vector([Store(registers, at, Load(self.keys, at + first * self.lanes)), Store(counts, at, so_far)]))

        def count(start: int, stop: int, rules: dict[int, _Rule]) -> None:
            """Count the elements from `start` on by a rule for each vector."""
            stop = min(stop, self.extent)
            if start >= stop or not rules:
                return
            step, one = self.names("j"), Variable(self.names("t"), self.keys.dtype)
            body: list[Statement] = [Let(one, Load(self.keys, Index.variable(step) + start))]
            for v, rule in rules.items():
                condition, more = rule(one, Load(registers, places[v]), Index.variable(step))
                count = Load(counts, places[v])
                other = Operation("add", (count, Literal(self.number.type(more))), self.number)
                body.append(self._vector([Store(counts, places[v], Operation("select", (condition, other, count), self.number))]))
            result.append(For(step, 0, stop - start, 1, "serial", body))

        count(0, first * self.lanes, dict.fromkeys(range(size), _but_greater))
        for v in range(size):
            start, stop = (first + v) * self.lanes, (first + v + 1) * self.lanes
            count(start, stop, {other: _less if other < v else _but_greater for other in range(size) if other != v})
            count(start, stop, {v: self._among_themselves})
        count((first + size) * self.lanes, self.extent, dict.fromkeys(range(size), _less))
        for at in places:
            result.append(self._vector([Store(self.ranks, at + first * self.lanes, Load(counts, at))]))
        return result

    def _among_themselves(self, one: Expression, other: Expression, lane: Index) -> tuple[Expression, int]:
        """Of the element of a lane, against those of the same vector."""
        first, second = (self._as(IndexValue(place), self.number) for place in (lane, Index.variable(self.lane)))
        tie = Operation("bitwise_and", (Operation("equal", (one, other), _BOOL), Operation("less", (first, second), _BOOL)), _BOOL)
        return Operation("bitwise_or", (Operation("less", (one, other), _BOOL), tie), _BOOL), 1

    def _vector(self, body: list[Statement]) -> Statement:
        return For(self.lane, 0, self.lanes, 1, "vector", body, self.lanes)

    def _as(self, value: Expression, dtype: np.dtype) -> Expression:
        return value if value.dtype == dtype else Operation("cast", (value,), dtype)


def _less(one: Expression, other: Expression, lane: Index) -> tuple[Expression, int]:
    return Operation("less", (one, other), _BOOL), 1


def _but_greater(one: Expression, other: Expression, lane: Index) -> tuple[Expression, int]:
    return Operation("less", (other, one), _BOOL), -1
