"""Contractions of many results on a GPU: tiles of the result in the registers of a block, which brings what it multiplies into shared
memory, some steps at a time, for all of its threads.

Before -> after, for `y[i, j] = sum(k) x[i, k] * w[k, j]` with tiles of 64 x 64 and 16 steps:

    block i { block j { acc = 0
        for k { left = x[64 * i .., 16 * k ..]; right = w[16 * k .., 64 * j ..]; acc += left @ right }
        y[64 * i .., 64 * j ..] = acc } }
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below
from irdl.codegen.lowering.body import Scope, combine
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, If, Literal, Load, Statement, Store
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT

#: steps of the contraction that are in shared memory at once
STEPS = 16
#: neighbours of a tile that are a thread's, next to each other
_TOGETHER = 4
#: the lanes of a warp, and its warps, as rows x columns of threads
LANES, WARP_GRID = (4, 8), (4, 2)


@dataclass(frozen=True)
class Tile:
    """`size` rows and as many columns of the result, of which each thread has `groups` x `groups` groups of 4 x 4."""

    size: int

    @property
    def groups(self) -> int:
        return self.size // (_TOGETHER * LANES[0] * WARP_GRID[0])


def tile_of(group: Group, gpu: Gpu) -> tuple[Tile, Axis, Axis] | None:
    """A tile for the group, its rows and its columns; None where there are too few results, or it is not one contraction."""
    nodes = group.body.reductions
    if len(nodes) != 1 or nodes[0].op is not DOT:
        return None
    best = group.contiguous_axis(group.domain, True, WARP)
    column = best[1] if best is not None else max(group.domain, key=lambda axis: axis.extent, default=None)
    row = None if column is None else group.shared_axis(column)
    if column is None or row is None or not _has_a_side_for_each(group, row, column):
        return None
    others = math.prod(axis.extent for axis in group.domain if axis not in (row, column))
    for tile, fewest in ((Tile(128), gpu.multiprocessors), (Tile(64), gpu.multiprocessors // 4)):
        if others * (row.extent // tile.size) * (column.extent // tile.size) >= max(1, fewest):
            return tile, row, column
    return None


def _has_a_side_for_each(group: Group, row: Axis, column: Axis) -> bool:
    """One operand goes along the rows alone, the other along the columns."""
    (node,) = group.body.reductions
    index = group.index({axis.variable: Index.variable(axis.variable) for axis in (row, column)})
    reduced = [Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
    sides = [
        [any(p.coefficient(axis.variable) for p in place) for axis in (row, column)]
        for _, place in group.body.factors(node, index, reduced)
    ]
    return sorted(sides) == [[False, True], [True, False]]


def schedule_contraction(group: Group, tile: Tile, row: Axis, column: Axis) -> list[Statement]:
    """The loops of a group with one contraction, in tiles."""
    return Contraction(group, tile, row, column).statements()


class Contraction:
    """A group with one contraction, in tiles: each thread multiplies for some rows and columns of the block's.

    Attributes:
        left, right: what is multiplied at once, in shared memory: for each step, `stride` elements, of which the tile's are first.
    """

    def __init__(self, group: Group, tile: Tile, row: Axis, column: Axis) -> None:
        self.group, self.tile, self.row, self.column = group, tile, row, column
        (self.node,) = group.body.reductions
        self.stride = self._stride()
        names = group.body.names
        reduced = [axis for axis in group.reduced if axis.extent != 1]
        self.steps = max(reduced, key=lambda axis: axis.extent, default=group.reduced[0])
        self.outer = [axis for axis in reduced if axis is not self.steps]
        self.row_block, self.column_block, self.step_block = names("j"), names("j"), names("k")
        #: where a thread is in its block: rows and columns of warps, and of lanes
        self.warps = [Loop(names("w"), WARP_GRID[0]), Loop(names("w"), WARP_GRID[1])]
        self.lanes = [Loop(names("l"), LANES[0]), Loop(names("l"), LANES[1])]
        values = tile.groups * _TOGETHER
        dtype = self.node.output.dtype
        self.accumulators = Buffer(names("acc"), dtype, WARPS * WARP * values * values, "register", copies=WARPS * WARP)
        left, right = (value.dtype for value in self.node.operands)
        self.left = Buffer(names("left"), left, STEPS * self.stride, "shared")
        self.right = Buffer(names("right"), right, STEPS * self.stride, "shared")

    def _stride(self) -> int:
        return self.tile.size

    def statements(self) -> list[Statement]:
        group = self.group
        others = [Loop(axis.variable, axis.extent) for axis in group.domain if axis.extent > 1 and axis not in (self.row, self.column)]
        size = self.tile.size
        blocks = [*others, Loop(self.row_block, -(-self.row.extent // size)), Loop(self.column_block, -(-self.column.extent // size))]
        count = -(-self.steps.extent // STEPS)
        body: list[Statement] = [*self._fills(), self._multiply()]
        if count:
            body = [For(self.step_block, 0, count, 1, "serial", body)]
        for axis in self.outer:
            body = [For(axis.variable, 0, axis.extent, 1, "serial", body)] if axis.extent else []
        zero = Literal(self.node.output.dtype.type(0))
        clear: list[Statement] = [Store(self.accumulators, place, zero) for place, _, _ in self._elements()]
        return bound("block", blocks, [self._threads(clear), *(body if count else []), self._threads(self._results())])

    def _threads(self, body: list[Statement]) -> Statement:
        (nest,) = bound("warp", self.warps, bound("lane", self.lanes, body))
        return nest

    def _places(self) -> list[tuple[int, int]]:
        values = range(self.tile.groups * _TOGETHER)
        return [(row, column) for row in values for column in values]

    def _accumulator(self, row: int, column: int) -> Index:
        values = self.tile.groups * _TOGETHER
        warp = Index.variable(self.warps[0].variable, WARP_GRID[1]) + Index.variable(self.warps[1].variable)
        lane = Index.variable(self.lanes[0].variable, LANES[1]) + Index.variable(self.lanes[1].variable)
        return (warp * WARP + lane) * (values * values) + (row * values + column)

    def _in_tile(self, axis: int, number: int) -> Index:
        """Where a thread's row, or column, of that number is: groups of neighbours lie far apart, so that threads lie side by side."""
        group, place = divmod(number, _TOGETHER)
        thread = Index.variable(self.warps[axis].variable, LANES[axis]) + Index.variable(self.lanes[axis].variable)
        return thread * _TOGETHER + (group * LANES[axis] * WARP_GRID[axis] * _TOGETHER + place)

    def _elements(self) -> list[tuple[Index, Index, Index]]:
        """A thread's elements of the tile: where its accumulator is, and its row and column there."""
        return [(self._accumulator(row, column), self._in_tile(0, row), self._in_tile(1, column)) for row, column in self._places()]

    def _multiply(self) -> Statement:
        """All threads, on what is in shared memory."""
        size, step = self.stride, self.group.body.names("s")
        stores: list[Statement] = []
        for row, column in self._places():
            at = self._accumulator(row, column)
            left = Load(self.left, Index.variable(step, size) + self._in_tile(0, row))
            right = Load(self.right, Index.variable(step, size) + self._in_tile(1, column))
            stores.append(Store(self.accumulators, at, combine(self.node, Load(self.accumulators, at), (left, right))))
        return self._threads([For(step, 0, STEPS, 1, "unrolled", stores)])

    def _fills(self) -> list[Statement]:
        """What brings the next steps of both operands into shared memory."""
        index = self._row_index(Index.variable(self.row.variable), Index.variable(self.column.variable))
        operands = self.group.body.factors(self.node, index, self._reduced(Index.variable(self.steps.variable)))
        result = []
        for number, (_, place) in enumerate(operands):
            along_row = any(part.coefficient(self.row.variable) for part in place)
            buffer, axis, block = (self.left, self.row, self.row_block) if along_row else (self.right, self.column, self.column_block)
            result.append(self._fill(number, buffer, axis, block))
        return result

    def _row_index(self, row: Index, column: Index) -> tuple[Index, ...]:
        return self.group.index({self.row.variable: row, self.column.variable: column})

    def _reduced(self, step: Index) -> list[Index]:
        return [
            step if axis is self.steps else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in self.group.reduced
        ]

    def _fill(self, number: int, buffer: Buffer, axis: Axis, block: str) -> Statement:
        """One operand's part of the tile, transposed if need be: steps x rows, or columns."""
        names, size = self.group.body.names, self.tile.size
        first, second = names("i"), names("l")
        contiguous_steps = self._is_contiguous(number, self.steps.variable)
        # Lanes go where neighbours are: along the steps, two rows at a time, or along the rows.
        if contiguous_steps:
            loops, lanes = [Loop(first, size * STEPS // WARP)], [Loop(names("l"), WARP // STEPS), Loop(second, STEPS)]
            inside = Index.variable(first, WARP // STEPS) + Index.variable(lanes[0].variable)
            step = Index.variable(second)
        else:
            third = names("i")
            loops, lanes = [Loop(first, STEPS), Loop(third, size // WARP)], [Loop(second, WARP)]
            inside, step = Index.variable(third, WARP) + Index.variable(second), Index.variable(first)
        place = Index.variable(block, size) + inside
        at = Index.variable(self.step_block, STEPS) + step
        scope = Scope()
        row, column = (place, Index()) if axis is self.row else (Index(), place)
        value, where = self.group.body.factors(self.node, self._row_index(row, column), self._reduced(at))[number]
        item = self.group.body.expression(value, where, scope)
        to = step * self.stride + inside
        body: list[Statement] = [*scope.statements, Store(buffer, to, self._operand(item))]
        nothing: list[Statement] = [Store(buffer, to, Literal(buffer.dtype.type(0)))]
        for guarded, extent, whole in ((place, axis.extent, size), (at, self.steps.extent, STEPS)):
            if extent % whole:
                (guard,) = only_below(guarded, extent, body)
                assert isinstance(guard, If)
                body = [If(guard.condition, body, list(nothing))]
        (nest,) = bound("warp", loops, bound("lane", lanes, body))
        return nest

    def _operand(self, item: Expression) -> Expression:
        """What is multiplied, of an element."""
        return item

    def _is_contiguous(self, number: int, variable: str) -> bool:
        index = self._row_index(Index.variable(self.row.variable), Index.variable(self.column.variable))
        value, where = self.group.body.factors(self.node, index, self._reduced(Index.variable(self.steps.variable)))[number]
        scope = Scope()
        self.group.body.expression(value, where, scope)
        loads = [item for item in scope.memo.values() if isinstance(item, Load)]
        return sum(load.index.coefficient(variable) == 1 for load in loads) * 2 > len(loads)

    def _results(self) -> list[Statement]:
        """The rest of the group, on each thread's part of the tile."""
        body: list[Statement] = []
        for place, row, column in self._elements():
            places = {
                self.row.variable: Index.variable(self.row_block, self.tile.size) + row,
                self.column.variable: Index.variable(self.column_block, self.tile.size) + column,
            }
            totals: dict[Node, Expression] = {self.node: Load(self.accumulators, place)}
            item = self.group.element(places, totals)
            for axis in (self.row, self.column):
                if axis.extent % self.tile.size:
                    item = only_below(places[axis.variable], axis.extent, item)
            body += item
        return body
