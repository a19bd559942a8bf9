"""Scatters on a GPU: each place looks for the rows of indices that are for it, in their order, so that no two threads store into one place, and
the same numbers are added up in the same order every time.

Before -> after, of `np.add.at(y, k, u)`, where u is [rows, columns]:

    for p { for c { y[k[p], c] += u[p, c] } }

    block, warp i { lane c { acc = y[i, c]; for p { if k[p] == i { acc += u[p, c] } } y[i, c] = acc } }

A warp has a place of what is indexed, and its lanes what lies side by side there: reading an index costs as much as an addition, and all lanes
have the same ones. Where a column of indices counts along an axis of the rows, as of `np.take_along_axis`, a place knows its step of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from irdl.codegen.cuda.dealing import MOST_SUMS, WARP, Tiles, bound, only_below
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.scattering import Scatter
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, If, IndexValue, Load, Operation, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu

#: instructions of a warp that reads one row of indices, and cycles that all threads of a launch take to meet, as they do for each row where
#: updates follow each other
_ROW, _MEETING = 8, 2500
#: schedulers of a multiprocessor
_SCHEDULERS = 4
#: columns of a lane, at most
_COLUMNS = min(16, MOST_SUMS)

#: what deals out steps that are independent
Each = Callable[[Sequence[Loop], Sequence[Statement]], list[Statement]]


def scatter_by_places(scatter: Scatter, gpu: Gpu, names: Names, each: Each, in_loop: bool) -> list[Statement] | None:
    """The loops of a scatter by places; None where there are so many places, and rows, that one update after the other takes less.

    Args:
        each: deals out steps of loops.
        in_loop: it runs in every step of a loop over time, where threads have the same elements in each.
    """
    found = _Places(scatter, names)
    side_by_side = 0 if in_loop else found.columns
    warps = found.count / WARP if side_by_side < WARP else found.count / min(side_by_side, _COLUMNS * WARP)
    if warps * found.rows * _ROW / (gpu.multiprocessors * _SCHEDULERS) > _MEETING * math.prod(scatter.rows):
        return None
    return found.check(each) + (found.by_warps() if side_by_side >= WARP else each(found.loops, found.element()))


class _Places:
    """Each place of the result, and the rows that may be for it.

    Attributes:
        loops: over all places.
        count: how many there are; `columns`, how many lie side by side in each update.
        rows: how many rows of indices a place looks at.
    """

    def __init__(self, scatter: Scatter, names: Names) -> None:
        self.scatter, self.names = scatter, names
        shape = scatter.x.shape
        self._variables = [names("i") for _ in shape]
        self.loops = [Loop(variable, extent) for variable, extent in zip(self._variables, shape, strict=True)]
        self.count = math.prod(shape)
        #: the axis that lanes lie along
        self._column = next((axis for axis in scatter.rest if scatter.whole.strides[axis] == 1), None)
        self.columns = 0 if self._column is None else shape[self._column]
        self._counts = scatter.counts()
        self._known = {along: Index.variable(self._variables[scatter.axes[column]]) for along, column in self._counts.items()}
        self._rows = [names("p") for _ in scatter.rows]
        self.rows = math.prod(extent for axis, extent in enumerate(scatter.rows) if axis not in self._known)
        self._acc = names("acc")

    def check(self, each: Each) -> list[Statement]:
        """Look at all indices, but for those of columns that count."""
        rows = [self.names("p") for _ in self.scatter.rows]
        checks, _ = self.scatter.checked(tuple(map(Index.variable, rows)), self.names)
        wanted = [check for column, check in enumerate(checks) if column not in self._counts.values()]
        return each([Loop(row, extent) for row, extent in zip(rows, self.scatter.rows, strict=True)], wanted) if wanted else []

    def element(self) -> list[Statement]:
        """One place, by one thread."""
        return self._at(1, lambda body: body(Index()))

    def by_warps(self) -> list[Statement]:
        """Warps have places of what is indexed, lanes some columns there."""
        assert self._column is not None
        lane, number, wide = self.names("l"), self.names("n"), WARP * min(_COLUMNS, -(-self.columns // WARP))
        others = [axis for axis in range(len(self.loops)) if axis != self._column]
        pieces = -(-self.columns // wide)
        tiles = Tiles([*(self.loops[axis].extent for axis in others), pieces], 1, self.names)
        *where, piece = tiles.where
        places = {self._variables[axis]: place for axis, place in zip(others, where, strict=True)}
        column = piece * wide + Index.variable(lane) + Index.variable(number, WARP)

        def every(body: Callable[[Index], list[Statement]]) -> list[Statement]:
            inside = body(Index.variable(number))
            if self.columns % wide:
                inside = only_below(column, self.columns, inside)
            return [For(number, 0, wide // WARP, 1, "unrolled", inside)]

        body = substitute(self._at(wide // WARP, every), {**places, self._variables[self._column]: column})
        for place, extent in tiles.guards:
            body = only_below(place, extent, body)
        warps = [Loop(tiles.number, tiles.wide)] if tiles.wide > 1 else []
        return bound("block", tiles.blocks, bound("warp", warps, bound("lane", [Loop(lane, WARP)], body)))

    def _at(self, size: int, every: Callable[[Callable[[Index], list[Statement]]], list[Statement]]) -> list[Statement]:
        """What a thread does at `size` places, of which `every` goes through all: they differ in the column alone."""
        scatter = self.scatter
        acc = Buffer(self._acc, scatter.x.buffer.dtype, size, "register")
        place = tuple(map(Index.variable, self._variables))
        row = tuple(self._known.get(axis, Index.variable(name)) for axis, name in enumerate(self._rows))
        update = scatter.updates.at((*row, *(place[axis] for axis in scatter.rest)))

        def change(number: Index) -> list[Statement]:
            return [Store(acc, number, scatter.changed(Load(acc, number), Load(scatter.updates.buffer, update)))]

        body = every(change)
        for column, axis in enumerate(scatter.axes):
            if column not in self._counts.values():
                body = [If(_is_at(scatter.index(row, column), place[axis], scatter.x.shape[axis]), body, [])]
        for axis, (name, extent) in reversed(list(enumerate(zip(self._rows, scatter.rows, strict=True)))):
            if axis not in self._known:
                body = [For(name, 0, extent, 1, "serial", body)]
            elif extent < scatter.x.shape[scatter.axes[self._counts[axis]]]:
                body = only_below(self._known[axis], extent, body)
        first = every(lambda number: [Store(acc, number, Load(scatter.x.buffer, scatter.x.at(place)))])
        last = every(lambda number: [Store(scatter.whole.buffer, scatter.whole.at(place), Load(acc, number))])
        return [*first, *body, *last]


def _is_at(index: Load, place: Index, extent: int) -> Expression:
    """The index is of that place; it may count from the end."""
    boolean = np.dtype(bool)
    from_front, from_back = (Operation("equal", (index, IndexValue(where)), boolean) for where in (place, place + -extent))
    return Operation("bitwise_or", (from_front, from_back), boolean)
