"""What one thread does of a sort: it puts neighbours in order, and makes its part of what two sorted runs become.

Where that part begins in either run, a search finds: of its first d elements, so many are the left run's (Odeh, Green, Mwassi, Shmueli and
Birk, "Merge Path", IPDPSW 2012). From there on the next element is the lesser of two. Of equal ones, those of the left run are first:
the order is stable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from irdl.codegen.cuda.dealing import only_below, run_length, run_of
from irdl.codegen.lowering.body import cast
from irdl.codegen.lowering.sorting import Line
from irdl.ir.dtypes import is_bool, is_float
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import For, If, Let, Statement, Store
from irdl.loops.rewrite import Names

_BOOL = np.dtype(bool)


@dataclass(frozen=True)
class Items:
    """What is sorted, where it lies: elements, and the places that they come from. One of them may be missing."""

    elements: Line | None
    places: Line | None

    def behind(self, place: Index) -> Items:
        """Those from a place on."""
        return Items(self.elements and self.elements.behind(place), self.places and self.places.behind(place))


def comes_first(one: Expression, other: Expression) -> Expression:
    """An element has to lie before one that it lies behind: it is less, or the other alone is nan."""
    if not is_float(one.dtype):
        return Operation("less", (one, other), _BOOL)
    is_number, is_late = Operation("equal", (one, one), _BOOL), Operation("less_equal", (other, one), _BOOL)
    return Operation("bitwise_and", (is_number, Operation("invert", (is_late,), _BOOL)), _BOOL)


def greatest(dtype: np.dtype) -> Literal:
    """What has to lie before nothing."""
    if is_float(dtype):
        return Literal(dtype.type(np.nan))
    return Literal(dtype.type(True if is_bool(dtype) else np.iinfo(dtype).max))


class Part:
    """So many neighbours in a thread's registers.

    Attributes:
        elements, places: the registers; of places None if nobody asks for them.
    """

    def __init__(self, count: int, elements: np.dtype, places: np.dtype | None, names: Names) -> None:
        self.count, self.names = count, names
        self.elements = Buffer(names("part"), elements, count, "register")
        self.places = None if places is None else Buffer(names("from"), places, count, "register")

    def get(self, line: Line, first: Index, end: int | None) -> list[Statement]:
        """Those of a line from `first` on; behind its end, if it has one there, the greatest there are."""
        padding = greatest(self.elements.dtype)

        def element(place: Index) -> list[Statement]:
            there: list[Statement] = [Store(self.elements, place, line.load(first + place))]
            if end is None:
                return there
            (only,) = only_below(first + place, end, there)
            assert isinstance(only, If)
            return [If(only.condition, there, [Store(self.elements, place, padding)])]

        result = self._each(line.buffer.dtype, element)
        if (places := self.places) is not None:
            step = self.names("s")
            number = cast(IndexValue(first + Index.variable(step)), places.dtype)
            result.append(For(step, 0, self.count, 1, "unrolled", [Store(places, Index.variable(step), number)]))
        return result

    def put(self, target: Items, first: Index, end: int | None) -> list[Statement]:
        """Store them from `first` on, those that lie before the end of the line, if it has one there."""
        result: list[Statement] = []
        for own, line in ((self.elements, target.elements), (self.places, target.places)):
            if own is not None and line is not None:
                result += self._each(line.buffer.dtype, _storing(own, line, first, end))
        return result

    def _each(self, dtype: np.dtype, element: Callable[[Index], list[Statement]]) -> list[Statement]:
        """`element` at every place, in runs of as many as one access takes."""
        run, place = self.names("s"), self.names("v")
        length = min(self.count, run_length([dtype]))
        body = run_of(place, length, element(Index.variable(run, length) + Index.variable(place)))
        return [For(run, 0, self.count // length, 1, "unrolled", body)]

    def sort(self) -> list[Statement]:
        """Exchange neighbours that are in the wrong order, of even places and of odd ones in turns, until there are none."""
        turn, exchanges = self.names("o"), []
        for first in range(2):
            pair = self.names("s")
            exchanges.append(For(pair, 0, (self.count - first) // 2, 1, "unrolled", self._exchange(Index.variable(pair, 2) + first)))
        return [For(turn, 0, -(-self.count // 2), 1, "unrolled", [loop for loop in exchanges if loop.stop])] if self.count > 1 else []

    def _exchange(self, here: Index) -> list[Statement]:
        lets: list[Statement] = []
        stores: list[Statement] = []
        wrong = Variable(self.names("t"), _BOOL)
        for own in (self.elements, self.places):
            if own is None:
                continue
            left, right = (Variable(self.names("t"), own.dtype) for _ in range(2))
            lets += [Let(left, Load(own, here)), Let(right, Load(own, here + 1))]
            if own is self.elements:
                lets.append(Let(wrong, comes_first(right, left)))
            stores += [
                Store(own, here, Operation("select", (wrong, right, left), own.dtype)),
                Store(own, here + 1, Operation("select", (wrong, left, right), own.dtype)),
            ]
        return [*lets, *stores]


def _storing(own: Buffer, line: Line, first: Index, end: int | None) -> Callable[[Index], list[Statement]]:
    def element(place: Index) -> list[Statement]:
        there: list[Statement] = [line.store(first + place, Load(own, place))]
        return there if end is None else only_below(first + place, end, there)

    return element


class Merge:
    """Two sorted runs, one behind the other, of which a thread makes a part of what they become.

    Args:
        items: from the first of the left run on.
        left, both: how many the left run has, and both together.
        most: that the left run has at most.
        number: the dtype of places.
    """

    def __init__(self, items: Items, left: Index, both: Index, most: int, number: np.dtype, names: Names) -> None:
        assert items.elements is not None
        self.elements, self.places = items.elements, items.places
        self.left, self.both, self.most = left, both, most
        self.number, self.names = number, names
        #: how many of the left run lie before what comes next
        self.taken = Buffer(names("taken"), number, 1, "register")

    def make(self, part: Part, first: Index, with_elements: bool) -> list[Statement]:
        """What the two become, from `first` on; without their elements the places alone."""
        return [*self._search(first), *self._merge(part, first, with_elements)]

    def _search(self, first: Index) -> list[Statement]:
        """How many of the left run lie before `first`: if one of its elements does not, there is an element of the right run in its place,
        which comes first."""
        low, high = self.taken, Buffer(self.names("most"), self.number, 1, "register")
        least, most = Load(low, Index()), Load(high, Index())
        middle, is_behind = self._variable(), Variable(self.names("t"), _BOOL)
        one, other = (Variable(self.names("t"), self.elements.buffer.dtype) for _ in range(2))
        here = Index.variable(middle.name)
        halve: list[Statement] = [
            Let(middle, self._of("right_shift", self._of("add", least, most), self._number(Index(1)))),
            Let(one, self.elements.load(here)),
            Let(other, self.elements.load(self.left + first + here * -1 + -1)),
            Let(is_behind, comes_first(other, one)),
            Store(low, Index(), self._of("select", is_behind, least, self._number(here + 1))),
            Store(high, Index(), self._of("select", is_behind, middle, most)),
        ]
        return [
            Store(low, Index(), self._of("maximum", self._number(first + self.left + self.both * -1), self._number(Index()))),
            Store(high, Index(), self._of("minimum", self._number(first), self._number(self.left))),
            For(self.names("s"), 0, self.most.bit_length(), 1, "serial", [If(Operation("less", (least, most), _BOOL), halve, [])]),
        ]

    def _merge(self, part: Part, first: Index, with_elements: bool) -> list[Statement]:
        """The next of either run is in a register. One of the two is taken, and the one behind it follows."""
        dtype, step = self.elements.buffer.dtype, self.names("s")
        left, right = (Buffer(self.names(name), dtype, 1, "register") for name in ("left", "right"))
        one, other = Load(left, Index()), Load(right, Index())
        taken, after, place, following = (self._variable() for _ in range(4))
        is_right, new = Variable(self.names("t"), _BOOL), Variable(self.names("t"), dtype)
        here, of_left = Index.variable(step), Index.variable(taken.name)
        is_there = Operation("less", (after, self._number(self.both)), _BOOL)
        is_next = Operation(
            "bitwise_or", (Operation("less_equal", (self._number(self.left), taken), _BOOL), comes_first(other, one)), _BOOL
        )
        body: list[Statement] = [
            Let(taken, Load(self.taken, Index())),
            Let(after, self._number(self.left + first + here + of_left * -1)),
            Let(is_right, Operation("bitwise_and", (is_there, is_next), _BOOL)),
            Let(place, self._of("select", is_right, after, taken)),
            *([Store(part.elements, here, Operation("select", (is_right, other, one), dtype))] if with_elements else []),
            *self._come_from(part, here, Index.variable(place.name)),
            Store(self.taken, Index(), self._of("select", is_right, taken, self._number(of_left + 1))),
            Let(following, self._inside(Index.variable(place.name) + 1)),
            Let(new, self.elements.load(Index.variable(following.name))),
            Store(left, Index(), Operation("select", (is_right, one, new), dtype)),
            Store(right, Index(), Operation("select", (is_right, new, other), dtype)),
        ]
        begin, start, end = (self._variable() for _ in range(3))
        return [
            Let(begin, Load(self.taken, Index())),
            Let(start, self._inside(Index.variable(begin.name))),
            Let(end, self._inside(self.left + first + Index.variable(begin.name, -1))),
            Store(left, Index(), self.elements.load(Index.variable(start.name))),
            Store(right, Index(), self.elements.load(Index.variable(end.name))),
            For(step, 0, part.count, 1, "unrolled", body),
        ]

    def _come_from(self, part: Part, here: Index, place: Index) -> list[Statement]:
        if part.places is None:
            return []
        assert self.places is not None
        return [Store(part.places, here, self.places.load(place))]

    def _inside(self, place: Index) -> Expression:
        """The place, or that of the last element: of a run that has ended, it does not matter what is loaded."""
        return self._of("minimum", self._number(place), self._number(self.both + -1))

    def _variable(self) -> Variable:
        return Variable(self.names("k"), self.number)

    def _of(self, name: str, *arguments: Expression) -> Operation:
        return Operation(name, arguments, self.number)

    def _number(self, index: Index) -> Expression:
        return cast(IndexValue(index), self.number) if index.terms else Literal(self.number.type(index.constant))
