"""How a GPU runs a group, and whatever else is made element by element: all of its steps are dealt out to threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.codegen.cuda.contraction import schedule_contraction, tile_of
from irdl.codegen.cuda.dealing import WARP, bound, in_tiles
from irdl.codegen.cuda.reductions import follows_rows, schedule_reduction, schedule_rows
from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.schedule import Element, Schedule
from irdl.loops.index import Index
from irdl.loops.language import Statement
from irdl.loops.rewrite import Names
from irdl.loops.target import Gpu


class CudaSchedule(Schedule):
    """A GPU's loops.

    Args:
        in_loop: they run in every step of a loop over time: what stays with its thread need not be exchanged.
    """

    divides = True

    def __init__(self, gpu: Gpu, in_loop: bool = False) -> None:
        self.gpu = gpu
        self._in_loop = in_loop

    def inside_loop(self) -> Schedule:
        return CudaSchedule(self.gpu, in_loop=True)

    def group(self, group: Group) -> list[Statement]:
        if any(axis.extent == 0 for axis in group.domain):
            return []
        group = group.merged() if not self._in_loop or group.body.reductions else group
        if group.body.reductions:
            if not self._in_loop and (tile := tile_of(group, self.gpu)) is not None:
                return schedule_contraction(group, *tile)
            return schedule_reduction(group, self.gpu, self._in_loop)
        if not self._in_loop and (column := follows_rows(group)) is not None:
            return schedule_rows(group, column, self.gpu)
        best = group.contiguous_axis(group.domain, True, WARP)
        last = None if best is None else best[1]
        axes = sorted((axis for axis in group.domain if axis.extent > 1), key=lambda axis: axis is last)
        return self.each([Loop(axis.variable, axis.extent) for axis in axes], group.element({}), group.body.names)

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
        return in_tiles(loops, body, names, self.gpu) if self._in_loop else bound("grid", loops, body)
