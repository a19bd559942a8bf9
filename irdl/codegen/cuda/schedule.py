"""How a GPU runs a group, and whatever else is made element by element: all of its steps are dealt out to threads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from irdl.codegen.cuda.contraction import schedule_contraction
from irdl.codegen.cuda.dealing import WARP, Tiles, bound, in_tiles, only_below, warps_of_tile
from irdl.codegen.cuda.fragments import multiplies
from irdl.codegen.cuda.loop_products import schedule_loop_products, tiles_in_loop
from irdl.codegen.cuda.matrix_tiles import in_matrix_tiles
from irdl.codegen.cuda.products import schedule_products
from irdl.codegen.cuda.reductions import schedule_reduction
from irdl.codegen.cuda.tiling import tiling_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.schedule import Element, Schedule
from irdl.loops.index import Index
from irdl.loops.instructions import Instruction
from irdl.loops.language import For, Statement
from irdl.loops.rewrite import Names
from irdl.loops.target import Gpu

#: rows whose elements follow what was reduced along them
_SHORTEST_ROW, _LONGEST_ROW = 64, 8192


class CudaSchedule(Schedule):
    """A GPU's loops.

    Args:
        in_loop: they run in every step of a loop over time: what stays with its thread need not be exchanged.
        instruction: what warps may multiply with where the numbers are of its dtype.
    """

    divides = True

    def __init__(self, gpu: Gpu, in_loop: bool = False, instruction: Instruction | None = None) -> None:
        self.gpu = gpu
        self._in_loop = in_loop
        self._instruction = instruction

    def inside_loop(self) -> Schedule:
        return CudaSchedule(self.gpu, True, self._instruction)

    def group(self, group: Group) -> list[Statement]:
        if any(axis.extent == 0 for axis in group.domain):
            return []
        group = group.merged() if not self._in_loop or group.body.reductions else group
        if group.body.reductions:
            if not self._in_loop:
                instruction = self._instruction
                if instruction is not None and not all(multiplies(node, instruction) for node in group.body.reductions):
                    instruction = None
                tiling = tiling_of(group, self.gpu, instruction)
                if tiling is not None and instruction is not None:
                    return schedule_products(group, instruction, tiling)
                if tiling is not None:
                    return schedule_contraction(group, tiling)
            if self._in_loop and self._instruction is not None:
                tiles = tiles_in_loop(group, self._instruction, self.gpu)
                if tiles is not None:
                    return schedule_loop_products(group, self._instruction, tiles)
            return schedule_reduction(group, self.gpu, self._in_loop)
        if not self._in_loop and (column := _followed_rows(group)) is not None:
            return _in_rows(group, column, self.gpu)
        best = group.contiguous_axis(group.domain, True, WARP)
        last = None if best is None else best[1]
        axes = sorted((axis for axis in group.domain if axis.extent > 1), key=lambda axis: axis is last)
        return self.each([Loop(axis.variable, axis.extent) for axis in axes], group.element({}), group.body.names)

    def is_independent(self, statements: Sequence[Statement]) -> bool:
        return len(statements) < 2  # else there are parts, and what adds them up

    def over(self, shape: Sequence[int], accesses: Sequence[Layout], element: Element, names: Names, dtype: np.dtype) -> list[Statement]:
        if 0 in shape:
            return []
        axes = [axis for axis, extent in enumerate(shape) if extent > 1]
        variables = {axis: names("i") for axis in axes}
        index = tuple(Index.variable(variables[axis]) if axis in variables else Index() for axis in range(len(shape)))
        # Neighbouring threads take neighbours, of what is written first of all.
        axes.sort(key=lambda axis: (sum(layout.strides[axis] == 1 for layout in accesses), axis))
        return self.each([Loop(variables[axis], shape[axis]) for axis in axes], element(index), names)

    def each(self, loops: Sequence[Loop], body: Sequence[Statement], names: Names) -> list[Statement]:
        if any(loop.extent == 0 for loop in loops):
            return []
        if not self._in_loop:
            return bound("grid", loops, body)
        tiles = None if self._instruction is None else in_matrix_tiles(loops, body, names, self._instruction, self.gpu)
        return tiles or in_tiles(loops, body, names, self.gpu)


def _followed_rows(group: Group) -> Axis | None:
    """The last axis of an elementwise group of which some operand has one number for each row, as what was reduced along it has."""
    best = group.contiguous_axis(group.domain, True, WARP)
    if best is None or not _SHORTEST_ROW <= best[1].extent <= _LONGEST_ROW:
        return None
    column = best[1]
    others = {axis.variable for axis in group.domain if axis.extent > 1 and axis is not column}
    by_row = any(load.index.variables() & others and not load.index.coefficient(column.variable) for load in group.outer_loads)
    return column if by_row else None


def _in_rows(group: Group, column: Axis, gpu: Gpu) -> list[Statement]:
    """The loops of an elementwise group in rows, which blocks and warps share as they share those of a reduction along the rows."""
    others = [axis for axis in group.domain if axis.extent > 1 and axis is not column]
    steps = [axis.extent for axis in others]
    names = group.body.names
    tiles = Tiles(steps, warps_of_tile(column.extent, WARP, math.prod(steps), gpu), names)
    places = {axis.variable: where for axis, where in zip(others, tiles.where, strict=True)}
    warp, lane, step = names("w"), names("l"), names("s")
    slot = (Index.variable(warp) if tiles.deep > 1 else Index()) * WARP + Index.variable(lane)
    whole, rest = divmod(column.extent, tiles.deep * WARP)
    body: list[Statement] = []
    if whole:
        at = Index.variable(step, tiles.deep * WARP) + slot
        body.append(For(step, 0, whole, 1, "serial", group.element({**places, column.variable: at})))
    if rest:
        last = group.element({**places, column.variable: slot + whole * tiles.deep * WARP})
        body += only_below(slot, rest, last)
    for index, extent in tiles.guards:
        body = only_below(index, extent, body)
    warps = [loop for loop in (Loop(tiles.number, tiles.wide), Loop(warp, tiles.deep)) if loop.extent > 1]
    return bound("block", tiles.blocks, bound("warp", warps, bound("lane", [Loop(lane, WARP)], body)))
