"""What contractions in tiles multiply, on its way into the shared memory of a block, by way of registers: while some steps are multiplied,
those after them are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below, run_length, run_of
from irdl.codegen.cuda.fragments import as_read
from irdl.codegen.cuda.tiling import STEPS, Tiling, longest
from irdl.codegen.lowering.body import Scope, cast
from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, If, Literal, Load, Statement, Store

#: what is less than what
Guard: TypeAlias = tuple[Index, int]


class Frame:
    """Where a block is among the results and the terms of its contractions.

    Attributes:
        steps: the reduced axis that is walked `STEPS` at a time.
        outer: the others.
        row_block, column_block, part, step_block: the variables of the tile that a block is at, of its part of the steps, and of those.
        count: how many times `STEPS` steps a part has.
    """

    def __init__(self, group: Group, tiling: Tiling) -> None:
        self.group, self.tiling = group, tiling
        self.steps = longest(group)
        self.outer = [axis for axis in group.reduced if axis.extent != 1 and axis is not self.steps]
        names = group.body.names
        self.row_block, self.column_block, self.part, self.step_block = names("j"), names("j"), names("p"), names("k")
        self._all = -(-self.steps.extent // STEPS)
        self.count = -(-self._all // tiling.parts)

    def block(self, number: Index) -> tuple[Index, Guard | None]:
        """Where the part's `STEPS` steps of that number are, in such numbers, and what has to be less than what, lest there be none."""
        place = (Index.variable(self.part, self.count) if self.tiling.parts > 1 else Index()) + number
        if self.steps.extent % STEPS:
            return place, None  # steps are told one by one from what is behind the last
        if self.count * self.tiling.parts > self._all:
            return place, (place, self._all)
        return place, (number, self.count) if number.variables() else None

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
        turned: the steps of each row lie next to each other wherever they come from.
    """

    rows: int
    steps: int | None = None
    turned: bool = False


class Operand:
    """A factor of some contractions of a group, along the rows or the columns.

    Attributes:
        along_row: along the rows.
        size: how many rows, or columns, a tile has.
        tile: in shared memory, step by step.
        ahead: the steps after those, in registers of the block's threads.
    """

    def __init__(self, frame: Frame, node: Node, number: int, along_row: bool, spare: Spare, dtype: np.dtype) -> None:
        """`node`, `number`: a contraction, and which of its factors it is. `dtype`: in shared memory."""
        self.frame, self._node, self._number = frame, node, number
        self.along_row = along_row
        self.size = size = frame.tiling.shape[0 if along_row else 1]
        names = frame.group.body.names
        read = as_read(node.operands[number]).dtype
        self.axis = frame.tiling.row if along_row else frame.tiling.column
        along_steps = self._lies_along_steps()
        #: from one step to the next in the tile, and from one row, or column
        self._strides = (1, STEPS + spare.steps) if (along_steps or spare.turned) and spare.steps is not None else (size + spare.rows, 1)
        self.tile = Buffer(names("left" if along_row else "right"), dtype, max(STEPS * self._strides[0], size * self._strides[1]), "shared")
        self.ahead = Buffer(names("ahead"), read, STEPS * size, "register", copies=WARPS * WARP)
        self._each, self._place_in_run = names("n"), names("v")
        self._count = STEPS * size // (WARPS * WARP)
        # What lies along the rows, and is turned, lanes write to different banks one by one.
        self._length = 1 if spare.turned and not along_steps else self._run_length(along_steps)
        # Lanes go where neighbours are: along the steps, some rows at a time, or along the rows.
        runs = (STEPS if along_steps else size) // self._length
        wide, near = max(1, runs // WARP), min(WARP, runs)
        warps, lanes = [Loop(names("w"), WARPS // wide), Loop(names("w"), wide)], [Loop(names("l"), WARP // near), Loop(names("l"), near)]
        self._warps, self._lanes = ([loop for loop in loops if loop.extent > 1] for loops in (warps, lanes))
        far = at(warps[0], WARP // near) + at(lanes[0]) + Index.variable(self._each, WARPS // wide * (WARP // near))
        run = (at(warps[1], WARP) + at(lanes[1])) * self._length + Index.variable(self._place_in_run)
        self._inside, self._step = (far, run) if along_steps else (run, far)

    def fetch(self, number: Index) -> Statement:
        """What reads the block's steps of that number into registers, or zeros where there are none."""
        frame, size = self.frame, self.size
        block, guard = frame.block(number)
        place = Index.variable(frame.row_block if self.along_row else frame.column_block, size) + self._inside
        step = block * STEPS + self._step
        row, column = (place, Index()) if self.along_row else (Index(), place)
        value, where = frame.factors(self._node, row, column, step)[self._number]
        scope = Scope()
        item = frame.group.body.expression(as_read(value), where, scope)
        body: list[Statement] = [*scope.statements, Store(self.ahead, self._register(), item)]
        guards = [] if guard is None else [guard]
        if self.axis.extent % size:
            guards.append((place, self.axis.extent))
        if frame.steps.extent % STEPS:
            guards.append((step, frame.steps.extent))
        for index, extent in guards:
            (only,) = only_below(index, extent, body)
            assert isinstance(only, If)
            body = [If(only.condition, body, [Store(self.ahead, self._register(), Literal(self.ahead.dtype.type(0)))])]
        return self._nest(run_of(self._place_in_run, self._length, body))

    def put(self, rounded: Callable[[Expression, Value], Expression]) -> Statement:
        """What brings them from there into shared memory, transposed if need be. `rounded`: what is done with each on its way."""
        item = rounded(cast(Load(self.ahead, self._register()), self.tile.dtype), self._node.operands[self._number])
        body: list[Statement] = [Store(self.tile, self.place(self._step, self._inside), item)]
        return self._nest(run_of(self._place_in_run, self._length, body))

    def place(self, step: Index, inside: Index) -> Index:
        """Where an element of the tile is."""
        return step * self._strides[0] + inside * self._strides[1]

    def _nest(self, body: list[Statement]) -> Statement:
        """`body` for each element, by the threads of the block."""
        each = For(self._each, 0, self._count // self._length, 1, "unrolled", body)
        (nest,) = bound("warp", self._warps, bound("lane", self._lanes, [each]))
        return nest

    def _register(self) -> Index:
        thread = Index()
        for loop in (*self._warps, *self._lanes):
            thread = thread * loop.extent + at(loop)
        return thread * self._count + Index.variable(self._each, self._length) + Index.variable(self._place_in_run)

    def _run_length(self, along_steps: bool) -> int:
        """Neighbours that a thread reads at once: as many as begin where they may, whatever tile and step they are of."""
        frame, loads = self.frame, self._loads()
        moving = frame.steps if along_steps else self.axis
        places = [load.index for load in loads if load.index.coefficient(moving.variable)]
        parts = [axis.extent for axis, size in ((frame.steps, STEPS), (self.axis, self.size)) if axis.extent % size and axis is moving]
        parts += [part for index in places for part in (index.constant, *(c for name, c in index.terms if name != moving.variable))]
        most = min(self._count, run_length(load.dtype for load in loads))
        along = bool(places) and all(index.coefficient(moving.variable) == 1 for index in places)
        return next((n for n in (4, 2) if n <= most and along and all(part % n == 0 for part in parts)), 1)

    def _loads(self) -> list[Load]:
        """What an element is made of, in the axes' own variables."""
        value, where = self.frame.factors_anywhere(self._node)[self._number]
        scope = Scope()
        self.frame.group.body.expression(value, where, scope)
        return [item for item in scope.memo.values() if isinstance(item, Load)]

    def _lies_along_steps(self) -> bool:
        loads = self._loads()
        return sum(load.index.coefficient(self.frame.steps.variable) == 1 for load in loads) * 2 > len(loads)


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
