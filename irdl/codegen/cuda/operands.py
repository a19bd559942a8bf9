"""What contractions in tiles multiply, on its way into the shared memory of a block, by way of registers or by copies that are only begun:
while some steps are multiplied, those after them are brought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below, run_length, run_of
from irdl.codegen.cuda.fragments import as_read
from irdl.codegen.cuda.tiling import Tiling, longest
from irdl.codegen.lowering.body import Scope, cast
from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Literal, Load
from irdl.loops.index import Index
from irdl.loops.language import COPIED, Copy, For, If, Statement, Store

#: what is less than what
Guard: TypeAlias = tuple[Index, int]


class Frame:
    """Where a block is among the results and the terms of its contractions.

    Attributes:
        steps: the reduced axis that is walked `tiling.depth` at a time.
        outer: the others.
        row_block, column_block, part, step_block: the variables of the tile that a block is at, of its part of the steps, and of those.
        count: how many times so many steps a part has.
    """

    def __init__(self, group: Group, tiling: Tiling) -> None:
        self.group, self.tiling = group, tiling
        self.steps = longest(group)
        self.outer = [axis for axis in group.reduced if axis.extent != 1 and axis is not self.steps]
        names = group.body.names
        self.row_block, self.column_block, self.part, self.step_block = names("j"), names("j"), names("p"), names("k")
        self._all = -(-self.steps.extent // tiling.depth)
        self.count = -(-self._all // tiling.parts)

    def block(self, number: Index, sure: bool = False) -> tuple[Index, Guard | None]:
        """Where the part's steps of that number are, in such numbers, and what has to be less than what, lest there be none. `sure`: they are
        no more than the part has."""
        place = (Index.variable(self.part, self.count) if self.tiling.parts > 1 else Index()) + number
        if self.steps.extent % self.tiling.depth:
            return place, None  # steps are told one by one from what is behind the last
        if self.count * self.tiling.parts > self._all:
            return place, (place, self._all)
        return place, (number, self.count) if number.variables() and not sure else None

    def factors(self, node: Node, row: Index, column: Index, step: Index) -> list[tuple[Value, tuple[Index, ...]]]:
        """What a contraction multiplies at one place, and where that is."""
        group, tiling = self.group, self.tiling
        index = group.index({tiling.row.variable: row, tiling.column.variable: column})
        reduced = [step if axis is self.steps else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
        return group.body.factors(node, index, reduced)

    def factors_anywhere(self, node: Node) -> list[tuple[Value, tuple[Index, ...]]]:
        """The same in the axes' own variables."""
        axes = self.tiling.row, self.tiling.column, self.steps
        return self.factors(node, *(Index.variable(axis.variable) for axis in axes))


class Spare(NamedTuple):
    """Elements that nothing is in, so that threads ask different banks of shared memory.

    Attributes:
        rows: between the rows, or columns, of one step and those of the next.
        steps: between the steps of one row and those of the next, where they lie next to each other in memory; None if they have to be
            transposed.
    """

    rows: int
    steps: int | None = None


class Operand:
    """A factor of some contractions of a group, along the rows or the columns.

    Attributes:
        along_row: along the rows.
        size: how many rows, or columns, a tile has.
        along_steps: its steps lie next to each other in memory, and not its rows.
        tile: in shared memory, as many stages as the tiling has, one after the other.
        line: from one step, or row, to the next in it, whichever do not lie next to each other.
        copied: its copies are begun and waited for; else it goes through registers.
        ahead: the steps that are on their way, in registers of the block's threads.
    """

    def __init__(self, frame: Frame, node: Node, number: int, along_row: bool, spare: Spare, dtype: np.dtype) -> None:
        """`node`, `number`: a contraction, and which of its factors it is. `dtype`: in shared memory."""
        self.frame, self._node, self._number = frame, node, number
        self.along_row = along_row
        self.size = size = frame.tiling.shape[0 if along_row else 1]
        self.depth = depth = frame.tiling.depth
        names = frame.group.body.names
        self.value = node.operands[number]
        self.axis = frame.tiling.row if along_row else frame.tiling.column
        item, scope = self._anywhere()
        self._loads = [found for found in scope.memo.values() if isinstance(found, Load)]
        self.along_steps = sum(load.index.coefficient(frame.steps.variable) == 1 for load in self._loads) * 2 > len(self._loads)
        lines = self.along_steps and spare.steps is not None
        self.line = depth + spare.steps if lines and spare.steps is not None else size + spare.rows
        #: from one step to the next in the tile, from one row, or column, and from one stage
        self._strides = (1, self.line, size * self.line) if lines else (self.line, 1, depth * self.line)
        self.tile = Buffer(names("left" if along_row else "right"), dtype, frame.tiling.stages * self._strides[2], "shared")
        self.ahead = Buffer(names("ahead"), as_read(self.value).dtype, depth * size, "register", copies=WARPS * WARP)
        self._each, self._place_in_run = names("n"), names("v")
        self._count = depth * size // (WARPS * WARP)
        wide = COPIED // dtype.itemsize
        lies_there = isinstance(item, Load) and not scope.statements and item.dtype == dtype
        self.copied = frame.tiling.stages > 1 and lies_there and self._begin_with_runs(wide)
        self._length = wide if self.copied else next(n for n in (4, 2, 1) if n <= self._most() and self._begin_with_runs(n))
        # Lanes go where neighbours are: along the steps, some rows at a time, or along the rows.
        near, far = (depth, size) if self.along_steps else (size, depth)
        runs = near // self._length
        wide, close = max(1, runs // WARP), min(WARP, runs)
        deep = min(WARPS // wide, far // (WARP // close))
        warps, lanes = [Loop(names("w"), deep), Loop(names("w"), wide)], [Loop(names("l"), WARP // close), Loop(names("l"), close)]
        self._warps, self._lanes = ([loop for loop in loops if loop.extent > 1] for loops in (warps, lanes))
        self._turns = far // (deep * (WARP // close))
        line = at(warps[0], WARP // close) + at(lanes[0]) + Index.variable(self._each, deep * (WARP // close))
        run = (at(warps[1], WARP) + at(lanes[1])) * self._length + Index.variable(self._place_in_run)
        self._inside, self._step = (line, run) if self.along_steps else (run, line)

    def fetch(self, number: Index, sure: bool = False) -> Statement:
        """What reads the block's steps of that number into registers, or zeros where there are none."""
        step, place, guards = self._where(number, sure)
        scope = Scope()
        item = self.frame.group.body.expression(*self._element(step, place), scope)
        body: list[Statement] = [*scope.statements, Store(self.ahead, self._register(), item)]
        body = _or_zeros(body, guards, [Store(self.ahead, self._register(), Literal(self.ahead.dtype.type(0)))])
        return self._nest(run_of(self._place_in_run, self._length, body))

    def put(self, rounded: Callable[[Expression, Value], Expression], stage: int = 0) -> Statement:
        """What brings them from there into shared memory, transposed if need be. `rounded`: what is done with each on its way."""
        item = rounded(cast(Load(self.ahead, self._register()), self.tile.dtype), self.value)
        body: list[Statement] = [Store(self.tile, self.place(self._step, self._inside, stage), item)]
        return self._nest(run_of(self._place_in_run, self._length, body))

    def copy(self, number: Index, stage: int) -> Statement:
        """What begins to copy the block's steps of that number, of which the part has no fewer, or puts zeros where there is nothing."""
        first = {self._place_in_run: 0}
        step, place, guards = self._where(number, sure=True)
        source = self.frame.group.body.expression(*self._element(step, place), Scope())
        assert isinstance(source, Load)
        to = self.place(self._step, self._inside, stage)
        copy = Copy(self.tile, to.substitute(first), source.buffer, source.index.substitute(first), self._length)
        zeros = run_of(self._place_in_run, self._length, [Store(self.tile, to, Literal(self.tile.dtype.type(0)))])
        return self._nest(_or_zeros([copy], [(index.substitute(first), extent) for index, extent in guards], zeros))

    def place(self, step: Index, inside: Index, stage: int = 0) -> Index:
        """Where an element of the tile is."""
        return step * self._strides[0] + inside * self._strides[1] + stage * self._strides[2]

    def _where(self, number: Index, sure: bool) -> tuple[Index, Index, list[Guard]]:
        """The step and the row, or column, of a thread's element, and what has to be less than what, lest there be none."""
        frame = self.frame
        block, guard = frame.block(number, sure)
        place = Index.variable(frame.row_block if self.along_row else frame.column_block, self.size) + self._inside
        step = block * self.depth + self._step
        guards = [] if guard is None else [guard]
        if self.axis.extent % self.size:
            guards.append((place, self.axis.extent))
        if frame.steps.extent % self.depth:
            guards.append((step, frame.steps.extent))
        return step, place, guards

    def _element(self, step: Index, place: Index) -> tuple[Value, tuple[Index, ...]]:
        row, column = (place, Index()) if self.along_row else (Index(), place)
        value, where = self.frame.factors(self._node, row, column, step)[self._number]
        return as_read(value), where

    def _nest(self, body: list[Statement]) -> Statement:
        """`body` for each element, by the threads of the block."""
        each = For(self._each, 0, self._turns, 1, "unrolled", body)
        (nest,) = bound("warp", self._warps, bound("lane", self._lanes, [each]))
        return nest

    def _register(self) -> Index:
        thread = Index()
        for loop in (*self._warps, *self._lanes):
            thread = thread * loop.extent + at(loop)
        return thread * self._count + Index.variable(self._each, self._length) + Index.variable(self._place_in_run)

    def _most(self) -> int:
        """Neighbours that a thread reads at once, at most."""
        return min(self._count, run_length(load.dtype for load in self._loads))

    def _begin_with_runs(self, length: int) -> bool:
        """So many neighbours begin where they may, whatever tile and step they are of."""
        if length == 1:
            return True
        frame = self.frame
        moving = frame.steps if self.along_steps else self.axis
        places = [load.index for load in self._loads if load.index.coefficient(moving.variable)]
        sizes = ((frame.steps, self.depth), (self.axis, self.size))
        parts = [axis.extent for axis, size in sizes if axis.extent % size and axis is moving]
        parts += [part for index in places for part in (index.constant, *(c for name, c in index.terms if name != moving.variable))]
        along = bool(places) and all(index.coefficient(moving.variable) == 1 for index in places)
        return along and all(part % length == 0 for part in parts)

    def _anywhere(self) -> tuple[Expression, Scope]:
        """What an element is, in the axes' own variables, and what is bound for it."""
        value, where = self.frame.factors_anywhere(self._node)[self._number]
        scope = Scope()
        return self.frame.group.body.expression(as_read(value), where, scope), scope


def _or_zeros(body: list[Statement], guards: Sequence[Guard], zeros: list[Statement]) -> list[Statement]:
    """`body` where all that is less than what it has to be; else `zeros`."""
    for index, extent in guards:
        (only,) = only_below(index, extent, body)
        assert isinstance(only, If)
        body = [If(only.condition, body, zeros)]
    return body


def at(loop: Loop, stride: int = 1) -> Index:
    """Where a step of the loop is."""
    return Index.variable(loop.variable, stride) if loop.extent > 1 else Index()


def operands_of(
    frame: Frame, spare: Spare, tile_dtype: Callable[[Value], np.dtype]
) -> tuple[list[Operand], dict[Node, tuple[Operand, Operand]]]:
    """All of a group's, each once, and those of each contraction: the one along the rows first."""
    found: dict[tuple[Value, tuple[Index, ...]], Operand] = {}
    of_nodes: dict[Node, tuple[Operand, Operand]] = {}
    for node in frame.group.body.reductions:
        sides: dict[bool, Operand] = {}
        for number, factor in enumerate(frame.factors_anywhere(node)):
            along_row = any(part.coefficient(frame.tiling.row.variable) for part in factor[1])
            if factor not in found:
                found[factor] = Operand(frame, node, number, along_row, spare, tile_dtype(factor[0]))
            sides[along_row] = found[factor]
        of_nodes[node] = sides[True], sides[False]
    return list(found.values()), of_nodes
