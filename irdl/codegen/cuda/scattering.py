"""Scatters on a GPU: what belongs to one place is found and put there by one thread, in the order of the rows of indices, so that no two store
into one place, and the same numbers are added up in the same order every time.

Before -> after, of `np.add.at(y, k, u)`, where u is [rows, columns]:

    for p { for c { y[k[p], c] += u[p, c] } }

    block, warp i { lane c { acc = y[i, c]; for p { if k[p] == i { acc += u[p, c] } } y[i, c] = acc } }

or, where there are more places than rows, the first row of each place looks for the others:

    block, warp p { lane c { first = true; for q { if k[q] == k[p] { if q < p { first = false } } }
                             if first { acc = y[k[p], c]; for q { if k[q] == k[p] { acc += u[q, c] } } y[k[p], c] = acc } } }

Lanes have what lies side by side at a place: reading an index costs as much as an addition, and all lanes have the same ones. Where a column of
indices counts along an axis of the rows, as of `np.take_along_axis`, rows of different steps of it are for different places, and a place knows its
step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from irdl.codegen.cuda.dealing import WARP, Tiles, bound, only_below
from irdl.codegen.lowering.layout import is_same_place
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.scattering import Scatter
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, If, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu

#: instructions of a warp that reads one row of indices, and cycles that all threads of a launch take to meet, as they do for each row where
#: updates follow each other
_ROW, _MEETING = 8, 2500
#: schedulers of a multiprocessor
_SCHEDULERS = 4
#: columns of a lane, at most
_COLUMNS = 16
_BOOL = np.dtype(bool)

#: what deals out steps that are independent
Each = Callable[[Sequence[Loop], Sequence[Statement]], list[Statement]]
#: what goes through a thread's columns, of which it gives the number
Every = Callable[[Callable[[Index], list[Statement]]], list[Statement]]


def scatter_by_owners(
    scatter: Scatter, gpu: Gpu, names: Names, each: Each, copy: Callable[[], list[Statement]], in_loop: bool
) -> list[Statement] | None:
    """The loops of a scatter; None where one update after the other takes less.

    Args:
        each: deals out steps of loops.
        copy: what copies x to where the result is.
        in_loop: it runs in every step of a loop over time, where threads have the same elements in each.
    """
    threads = _Threads(scatter, names, each, by_warps=not in_loop)
    rows, places = math.prod(scatter.rows), math.prod(scatter.x.shape[axis] for axis in scatter.axes)
    owners = min(rows, places)
    looks = 1 if places <= rows else 2
    cycles = owners * threads.warps * looks * threads.looked_at * _ROW / (gpu.multiprocessors * _SCHEDULERS)
    if cycles > _MEETING * rows:
        return None
    if places <= rows:
        return threads.check() + threads.by_places()
    return ([] if is_same_place(scatter.x, scatter.whole) else copy()) + threads.by_rows()


class _Threads:
    """Threads that have places of the result, or rows of indices.

    Attributes:
        looked_at: the rows that each looks at.
        warps: how many have one place, or row.
    """

    def __init__(self, scatter: Scatter, names: Names, each: Each, by_warps: bool) -> None:
        self.scatter, self.names, self._each = scatter, names, each
        shape = scatter.x.shape
        self._variables = [names("i") for _ in shape]
        #: the axis that lanes lie along, if they do
        self._column = next((axis for axis in scatter.rest if by_warps and scatter.whole.strides[axis] == 1 and shape[axis] >= WARP), None)
        #: by axis of the rows, the column that counts along it
        self._counts = scatter.counts()
        self._rows = [names("p") for _ in scatter.rows]
        self.looked_at = math.prod(extent for axis, extent in enumerate(scatter.rows) if axis not in self._counts)
        rest = math.prod(shape[axis] for axis in scatter.rest)
        self.warps = rest / WARP if self._column is None else rest / shape[self._column] * self._pieces

    @property
    def _wide(self) -> int:
        """Columns of a warp."""
        assert self._column is not None
        return WARP * min(_COLUMNS, -(-self.scatter.x.shape[self._column] // WARP))

    @property
    def _pieces(self) -> int:
        assert self._column is not None
        return -(-self.scatter.x.shape[self._column] // self._wide)

    def check(self) -> list[Statement]:
        """Look at all indices, but for those of columns that count."""
        rows = [self.names("p") for _ in self.scatter.rows]
        checks, _ = self._checked(tuple(map(Index.variable, rows)))
        return self._each([Loop(row, extent) for row, extent in zip(rows, self.scatter.rows, strict=True)], checks) if checks else []

    def _checked(self, row: tuple[Index, ...]) -> tuple[list[Statement], list[Index]]:
        """What looks at those of one row, and the places that they are."""
        checks, places = self.scatter.checked(row, self.names)
        along = {column: axis for axis, column in self._counts.items()}
        wanted = [check for column, check in enumerate(checks) if column not in along]
        return wanted, [row[along[column]] if column in along else place for column, place in enumerate(places)]

    def by_places(self) -> list[Statement]:
        """Each place looks for its rows."""
        scatter = self.scatter
        place = [Index.variable(variable) for variable in self._variables]
        known = {along: place[scatter.axes[column]] for along, column in self._counts.items()}

        def body(size: int, every: Every) -> list[Statement]:
            acc = Buffer(self.names("acc"), scatter.x.buffer.dtype, size, "register")
            found = self._rows_for(place, known, self._changes(acc, known, every))
            for axis, column in self._counts.items():
                if scatter.rows[axis] < scatter.x.shape[scatter.axes[column]]:
                    found = only_below(known[axis], scatter.rows[axis], found)
            first = every(lambda number: [Store(acc, number, Load(scatter.x.buffer, scatter.x.at(tuple(place))))])
            last = every(lambda number: [Store(scatter.whole.buffer, scatter.whole.at(tuple(place)), Load(acc, number))])
            return [*first, *found, *last]

        return self._deal([Loop(variable, extent) for variable, extent in zip(self._variables, scatter.x.shape, strict=True)], body)

    def by_rows(self) -> list[Statement]:
        """The first row of each place looks for the others, and has what they have too."""
        scatter = self.scatter
        own = [self.names("q") for _ in scatter.rows]
        row = tuple(map(Index.variable, own))
        checks, places = self._checked(row)
        place = [Index.variable(variable) for variable in self._variables]
        for axis, where in zip(scatter.axes, places, strict=True):
            place[axis] = where
        known = {along: row[along] for along in self._counts}

        def body(size: int, every: Every) -> list[Statement]:
            acc = Buffer(self.names("acc"), scatter.x.buffer.dtype, size, "register")
            is_first = Buffer(self.names("first"), _BOOL, 1, "register")
            before = Operation("less", (IndexValue(self._number(known)), IndexValue(self._number(dict(enumerate(row))))), _BOOL)
            missed = If(before, [Store(is_first, Index(), Literal(np.bool_(False)))], [])
            start = Store(is_first, Index(), Literal(np.bool_(True)))
            where = scatter.whole.at(tuple(place))
            first = every(lambda number: [Store(acc, number, Load(scatter.whole.buffer, where))])
            found = self._rows_for(place, known, self._changes(acc, known, every))
            last = every(lambda number: [Store(scatter.whole.buffer, where, Load(acc, number))])
            return [*checks, start, *self._rows_for(place, known, [missed]), If(Load(is_first, Index()), [*first, *found, *last], [])]

        loops = [Loop(name, extent) for name, extent in zip(own, scatter.rows, strict=True)]
        return self._deal(loops + [Loop(self._variables[axis], scatter.x.shape[axis]) for axis in scatter.rest], body)

    def _row(self, known: dict[int, Index]) -> tuple[Index, ...]:
        return tuple(known.get(axis, Index.variable(name)) for axis, name in enumerate(self._rows))

    def _number(self, known: dict[int, Index]) -> Index:
        """Of a row among all."""
        number = Index()
        for part, extent in zip(self._row(known), self.scatter.rows, strict=True):
            number = number * extent + part
        return number

    def _changes(self, acc: Buffer, known: dict[int, Index], every: Every) -> list[Statement]:
        """What an update does to what has been added up."""
        scatter = self.scatter
        update = scatter.updates.at((*self._row(known), *(Index.variable(self._variables[axis]) for axis in scatter.rest)))
        return every(lambda number: [Store(acc, number, scatter.changed(Load(acc, number), Load(scatter.updates.buffer, update)))])

    def _rows_for(self, place: Sequence[Index], known: dict[int, Index], body: list[Statement]) -> list[Statement]:
        """`body` for each row that is for the place, in their order."""
        scatter = self.scatter
        for column, axis in enumerate(scatter.axes):
            if column not in self._counts.values():
                body = [If(_is_at(scatter.index(self._row(known), column), place[axis], scatter.x.shape[axis]), body, [])]
        for axis, (name, extent) in reversed(list(enumerate(zip(self._rows, scatter.rows, strict=True)))):
            if axis not in known:
                body = substitute(body, {name: 0}) if extent == 1 else [For(name, 0, extent, 1, "serial", body)]
        return body

    def _deal(self, loops: list[Loop], body: Callable[[int, Every], list[Statement]]) -> list[Statement]:
        """`body` in every step of the loops, by a thread each, or with several steps of that along the columns."""
        if self._column is None:
            return self._each(loops, body(1, lambda one: one(Index())))
        columns, wide = self.scatter.x.shape[self._column], self._wide
        lane, number = self.names("l"), self.names("n")
        others = [loop for loop in loops if loop.variable != self._variables[self._column]]
        tiles = Tiles([*(loop.extent for loop in others), self._pieces], 1, self.names)
        *where, piece = tiles.where
        column = piece * wide + Index.variable(lane) + Index.variable(number, WARP)

        def every(one: Callable[[Index], list[Statement]]) -> list[Statement]:
            inside = one(Index.variable(number))
            return [For(number, 0, wide // WARP, 1, "unrolled", only_below(column, columns, inside) if columns % wide else inside)]

        places = {loop.variable: place for loop, place in zip(others, where, strict=True)}
        inner = substitute(body(wide // WARP, every), {**places, self._variables[self._column]: column})
        for place, extent in tiles.guards:
            inner = only_below(place, extent, inner)
        warps = [Loop(tiles.number, tiles.wide)] if tiles.wide > 1 else []
        return bound("block", tiles.blocks, bound("warp", warps, bound("lane", [Loop(lane, WARP)], inner)))


def _is_at(index: Load, place: Index, extent: int) -> Expression:
    """The index is of that place; it may count from the end."""
    from_front, from_back = (Operation("equal", (index, IndexValue(where)), _BOOL) for where in (place, place + -extent))
    return Operation("bitwise_or", (from_front, from_back), _BOOL)
