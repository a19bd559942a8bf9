"""Contractions of many results on a GPU: tiles of the results in the registers of a block, which brings what it multiplies into shared
memory, some steps at a time, for all of its threads.

Before -> after, for `y[i, j] = sum(k) x[i, k] * w[k, j]` with tiles of 64 x 64 and 16 steps:

    block i { block j { acc = 0; ahead = x[64 * i .., 0 ..], w[0 .., 64 * j ..]
        for k { left, right = ahead; ahead = x[64 * i .., 16 * (k + 1) ..], w[16 * (k + 1) .., 64 * j ..]; acc += left @ right }
        y[64 * i .., 64 * j ..] = acc } }

Where there are few tiles, several blocks have a part of the steps of each, and what they have added up goes through memory:

    block p { block i { block j { .. for k in the steps of p ..; partial[p, 64 * i .., 64 * j ..] = acc } } }
    grid i, j { y[i, j] = partial[0, i, j] + partial[1, i, j] + .. }

Contractions of one group, as of one array with several, have their tiles in the same block: what they share is brought there once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below, run_length, run_of
from irdl.codegen.cuda.operands import Frame, Spare, at, operands_of
from irdl.codegen.cuda.tiling import LANES, TOGETHER, Tiling
from irdl.codegen.lowering.body import COMBINE, combine
from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, Statement, Store

#: so that neighbouring steps are in different banks, and all are aligned for wide reads of rows
_SPARE = Spare(4)


def schedule_contraction(group: Group, tiling: Tiling) -> list[Statement]:
    """The loops of a group of contractions, in tiles."""
    return Contraction(group, tiling).statements()


class Contraction:
    """A group of contractions in tiles: each thread multiplies for some rows and columns of the block's.

    Attributes:
        sums: of each contraction, what is added up: registers of the block's threads.
        operands: what is multiplied at once, in shared memory.
        of_nodes: those of each contraction, the one along the rows first.
        partial: of each contraction, what the parts of its steps have added up, one part after the other; none where there is one part.
    """

    def __init__(self, group: Group, tiling: Tiling) -> None:
        self.group, self.tiling = group, tiling
        self.frame = Frame(group, tiling)
        names = group.body.names
        #: where a thread is in its block: rows and columns of warps, and of lanes
        self.warps = [Loop(names("w"), count) for count in tiling.warps]
        self.lanes = [Loop(names("l"), count) for count in LANES]
        self.values = tiling.values
        size = math.prod(tiling.shape)
        self.sums = {node: Buffer(names("acc"), node.output.dtype, size, "register", copies=WARPS * WARP) for node in group.body.reductions}
        self.operands, self.of_nodes = operands_of(self.frame, self._spare(), self._tile_dtype)
        #: the axes of the results, those that lie next to each other last
        self.axes = [axis for axis in group.domain if axis.extent > 1 and axis not in (tiling.row, tiling.column)]
        self.axes += sorted(
            (tiling.row, tiling.column), key=lambda axis: sum(store.coefficient(axis.variable) == 1 for store in group.stores)
        )
        self.results = math.prod(axis.extent for axis in self.axes)
        self.partial = {
            node: Buffer(names("partial"), node.output.dtype, tiling.parts * self.results, "arena")
            for node in group.body.reductions
            if tiling.parts > 1
        }

    def _spare(self) -> Spare:
        return _SPARE

    def _tile_dtype(self, value: Value) -> np.dtype:
        """Of an operand in shared memory."""
        return value.dtype

    def _rounded(self, item: Expression, value: Value) -> Expression:
        """What is multiplied, of an element of `value`."""
        return item

    def statements(self) -> list[Statement]:
        frame, (high, wide) = self.frame, self.tiling.shape
        *others, _, _ = self.axes
        blocks = [Loop(frame.part, self.tiling.parts)] if self.partial else []
        blocks += [Loop(axis.variable, axis.extent) for axis in others]
        blocks += [
            Loop(frame.row_block, -(-self.tiling.row.extent // high)),
            Loop(frame.column_block, -(-self.tiling.column.extent // wide)),
        ]
        body = self._steps() if frame.count else []
        for axis in frame.outer:
            body = [For(axis.variable, 0, axis.extent, 1, "serial", body)] if axis.extent else []
        clear: list[Statement] = [
            Store(sums, place, Literal(sums.dtype.type(0))) for sums in self.sums.values() for place, _, _ in self._elements()
        ]
        tiles = bound("block", blocks, [self._threads(clear), *body, self._threads(self._results())])
        return [*tiles, *self._add_up()] if self.partial else tiles

    def _steps(self) -> list[Statement]:
        """A block's steps of the contraction, some at a time."""
        number = Index.variable(self.frame.step_block)
        first = [operand.fetch(Index()) for operand in self.operands]
        body = [operand.put(self._rounded) for operand in self.operands]
        if self.frame.count > 1:
            body += [operand.fetch(number + 1) for operand in self.operands]
        return [*first, For(self.frame.step_block, 0, self.frame.count, 1, "serial", [*body, self._multiply()])]

    def _threads(self, body: list[Statement]) -> Statement:
        (nest,) = bound("warp", self.warps, bound("lane", self.lanes, body))
        return nest

    def _places(self) -> list[tuple[int, int]]:
        return list(itertools.product(range(self.values[0]), range(self.values[1])))

    def _accumulator(self, row: int, column: int) -> Index:
        thread = Index()
        for loop in (*self.warps, *self.lanes):
            thread = thread * loop.extent + at(loop)
        return thread * math.prod(self.values) + (row * self.values[1] + column)

    def _in_tile(self, axis: int, number: int) -> Index:
        """Where a thread's row, or column, of that number is: groups of neighbours lie far apart, so that threads lie side by side."""
        group, place = divmod(number, TOGETHER)
        threads = LANES[axis] * self.tiling.warps[axis]
        return (at(self.warps[axis], LANES[axis]) + at(self.lanes[axis])) * TOGETHER + (group * threads * TOGETHER + place)

    def _elements(self) -> list[tuple[Index, Index, Index]]:
        """A thread's elements of the tile: where its accumulator is, and its row and column there."""
        return [(self._accumulator(row, column), self._in_tile(0, row), self._in_tile(1, column)) for row, column in self._places()]

    def _runs(self) -> list[tuple[Index, Index, Index, int]]:
        """The same by neighbouring columns: the first of them, and how many there are."""
        dtypes = {*self.group.dtypes_along(self.tiling.column), *(sums.dtype for sums in self.sums.values())}
        length = min(TOGETHER, run_length(dtypes))
        return [(*element, length) for element in self._elements()[::length]]

    def _multiply(self) -> Statement:
        """All threads, on what is in shared memory."""
        step = self.group.body.names("s")
        stores: list[Statement] = []
        for node, sums in self.sums.items():
            left, right = self.of_nodes[node]
            for row, column in self._places():
                total = self._accumulator(row, column)
                factors = (
                    Load(left.tile, left.place(Index.variable(step), self._in_tile(0, row))),
                    Load(right.tile, right.place(Index.variable(step), self._in_tile(1, column))),
                )
                stores.append(Store(sums, total, combine(node, Load(sums, total), factors)))
        return self._threads([For(step, 0, self.tiling.depth, 1, "unrolled", stores)])

    def _results(self) -> list[Statement]:
        """What becomes of each thread's part of the tile: the rest of the group, or what is put by until other parts are there."""
        tiling, frame = self.tiling, self.frame
        sides = list(zip((tiling.row, tiling.column), (frame.row_block, frame.column_block), tiling.shape, strict=True))
        body: list[Statement] = []
        neighbour = self.group.body.names("v")
        for place, row, column, length in self._runs():
            place, inside = place + Index.variable(neighbour), (row, column + Index.variable(neighbour))
            places = {axis.variable: Index.variable(block, size) + where for (axis, block, size), where in zip(sides, inside, strict=True)}
            totals: dict[Node, Expression] = {node: Load(sums, place) for node, sums in self.sums.items()}
            if self.partial:
                whole = self._place(places) + Index.variable(frame.part, self.results)
                item: list[Statement] = [Store(partial, whole, totals[node]) for node, partial in self.partial.items()]
            else:
                item = self.group.element(places, totals)
            for axis, _, size in sides:
                if axis.extent % size:
                    item = only_below(places[axis.variable], axis.extent, item)
            body += run_of(neighbour, length, item)
        return body

    def _place(self, places: Mapping[str, Index]) -> Index:
        """Where an element is among all results."""
        place = Index()
        for axis in self.axes:
            place = place * axis.extent + places.get(axis.variable, Index.variable(axis.variable))
        return place

    def _add_up(self) -> list[Statement]:
        """The parts of each result, in their order, and the rest of the group."""
        names, place = self.group.body.names, self._place({})
        part = names("p")
        totals = {node: Buffer(names("total"), partial.dtype, 1, "register") for node, partial in self.partial.items()}
        first: list[Statement] = [Store(totals[node], Index(), Load(partial, place)) for node, partial in self.partial.items()]
        more: list[Statement] = []
        for node, partial in self.partial.items():
            operands = Load(totals[node], Index()), Load(partial, place + Index.variable(part, self.results))
            more.append(Store(totals[node], Index(), Operation(COMBINE[node.op], operands, partial.dtype)))
        rest = self.group.element({}, {node: Load(total, Index()) for node, total in totals.items()})
        loops = [Loop(axis.variable, axis.extent) for axis in self.axes]
        return bound("grid", loops, [*first, For(part, 1, self.tiling.parts, 1, "unrolled", more), *rest])
