"""How a GPU runs a group, and whatever else is made element by element: all of its steps are dealt out to threads."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from irdl.codegen.cuda.contraction import schedule_contraction
from irdl.codegen.cuda.dealing import WARP, bound, in_tiles
from irdl.codegen.cuda.fragments import TensorCores
from irdl.codegen.cuda.loop_products import schedule_loop_products, tiles_in_loop
from irdl.codegen.cuda.matrix_tiles import in_matrix_tiles
from irdl.codegen.cuda.products import schedule_products
from irdl.codegen.cuda.reductions import Step, schedule_reduction
from irdl.codegen.cuda.row_tiles import Element as RowElement
from irdl.codegen.cuda.row_tiles import all_nodes, followed_rows, in_rows, reduced_rows, rows_of_loop, runs_of_blocks, warps_of_row
from irdl.codegen.cuda.scattering import scatter_by_owners
from irdl.codegen.cuda.sorting import sort_by_merges
from irdl.codegen.cuda.tiling import tiling_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.scattering import Scatter
from irdl.codegen.lowering.schedule import Element, Schedule
from irdl.ir.graph import Graph
from irdl.loops.expressions import Buffer
from irdl.loops.index import Index
from irdl.loops.instructions import TF32
from irdl.loops.language import Statement
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT


class CudaSchedule(Schedule):
    """A GPU's loops.

    Args:
        cores: what warps may multiply matrices with.
        step: they run in every step of a loop over time, of which that is known: what stays with its thread need not be exchanged.
    """

    # All blocks would meet once more at each copy, and there is memory. What is read is the last step's: L2 has it.
    stack_bytes = 256 * 1024 * 1024

    def __init__(self, gpu: Gpu, cores: TensorCores | None = None, step: Step | None = None) -> None:
        self.gpu = gpu
        self._cores = cores
        self._step = step

    def inside_loop(self, graphs: Sequence[Graph], kept: Collection[Buffer]) -> Schedule:
        cores, rows = None if self._cores is None else replace(self._cores, by_fours=True), reduced_rows(graphs)
        multiplied = cores is not None and any(cores.instruction([node]) is not None for node in all_nodes(graphs))
        step = Step(frozenset(kept), rows, multiplied, runs_of_blocks(graphs, rows, self.gpu))
        return CudaSchedule(self.gpu, cores, step)

    def group(self, group: Group) -> list[Statement]:
        if any(axis.extent == 0 for axis in group.domain):
            return []
        if group.body.reductions:
            return self._reduction(group)
        if self._step is None:
            group = group.merged()
            if (column := followed_rows(group)) is not None:
                rows = _loops(axis for axis in group.domain if axis.extent > 1 and axis is not column)
                return in_rows(
                    rows, Loop(column.variable, column.extent), group.element, group.body.names, self.gpu, group.dtypes_along(column)
                )
        best = group.contiguous_axis(group.domain, True, WARP)
        last = None if best is None else best[1]
        axes = sorted((axis for axis in group.domain if axis.extent > 1), key=lambda axis: axis is last)
        return self._each(_loops(axes), group.element, group.body.names)

    def _reduction(self, group: Group) -> list[Statement]:
        merged, node, cores = group.merged(), group.body.reductions[0], self._cores
        if self._step is not None:
            instruction = None if cores is None else cores.instruction(group.body.reductions)
            if instruction is not None and (tiles := tiles_in_loop(merged, instruction, self.gpu)) is not None:
                return schedule_loop_products(merged, instruction, tiles)
            # What goes through the same rows has the same axes.
            return schedule_reduction(merged if node.op is DOT else replace(merged, domain=group.domain), self.gpu, self._step)
        instruction = None if cores is None else cores.instruction(group.body.reductions)
        if (tiling := tiling_of(merged, self.gpu, instruction)) is not None:
            return schedule_contraction(merged, tiling) if instruction is None else schedule_products(merged, instruction, tiling)
        return schedule_reduction(merged, self.gpu, None)

    def is_independent(self, statements: Sequence[Statement]) -> bool:
        return len(statements) < 2  # else there are parts, and what adds them up

    def sort(self, x: Layout, out: Layout, axis: int, wants_elements: bool, names: Names) -> list[Statement]:
        return sort_by_merges(x, out, axis, wants_elements, self.gpu, names)

    def scatter(self, scatter: Scatter, names: Names) -> list[Statement] | None:
        def each(loops: Sequence[Loop], body: Sequence[Statement]) -> list[Statement]:
            return self.each(loops, body, names)

        def copy() -> list[Statement]:
            return self.copy(scatter.x, scatter.whole, names)

        return scatter_by_owners(scatter, self.gpu, names, each, copy, in_loop=self._step is not None)

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
        return self._each(loops, lambda places: substitute(body, places), names)

    def _each(self, loops: Sequence[Loop], element: RowElement, names: Names) -> list[Statement]:
        """`element` in every step of the loops, given where they are if that is not at their variables."""
        if any(loop.extent == 0 for loop in loops):
            return []
        if self._step is None:
            return bound("grid", loops, element({}))
        if (found := rows_of_loop(loops, self._step.rows)) is not None:
            absent = {loop.variable: Index() for loop in loops if loop.extent == 1}
            deep = warps_of_row(math.prod(loop.extent for loop in found[0]), self.gpu)
            return in_rows(*found, lambda places: element({**absent, **places}), names, self.gpu, deep=deep, runs=self._step.runs)
        body = element({})
        tiles = None
        if self._cores is not None and self._step.multiplied:
            tiles = in_matrix_tiles(loops, body, names, TF32, self.gpu)
        return tiles or in_tiles(loops, body, names, self.gpu)


def _loops(axes: Iterable[Axis]) -> list[Loop]:
    return [Loop(axis.variable, axis.extent) for axis in axes]
