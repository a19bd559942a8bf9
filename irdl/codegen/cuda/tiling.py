"""Which tiles contractions of many results are made in."""

from __future__ import annotations

import math
from dataclasses import dataclass

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.registers import words
from irdl.codegen.lowering.group import Axis, Group
from irdl.ir.graph import Node
from irdl.loops.index import Index
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT

#: registers of a thread for what is added up
_ACCUMULATORS = 128
#: rows, and columns, of a tile
_SIZES = (128, 64)


@dataclass(frozen=True)
class Tiling:
    """Tiles of `size` rows and as many columns, for each of the contractions of a group."""

    size: int
    row: Axis
    column: Axis


def tiling_of(group: Group, gpu: Gpu) -> Tiling | None:
    """Tiles for the group; None where there are too few results, or it is not made of contractions of rows and columns."""
    nodes = group.body.reductions
    if any(node.op is not DOT for node in nodes):
        return None
    best = group.contiguous_axis(group.domain, True, WARP)
    column = best[1] if best is not None else max(group.domain, key=lambda axis: axis.extent, default=None)
    row = None if column is None else group.shared_axis(column)
    if column is None or row is None or not all(_has_a_side_for_each(group, node, row, column) for node in nodes):
        return None
    others = math.prod(axis.extent for axis in group.domain if axis not in (row, column))
    for size, fewest in zip(_SIZES, (gpu.multiprocessors, gpu.multiprocessors // 4), strict=True):
        registers = sum(words(node.output.dtype) for node in nodes) * size * size // (WARPS * WARP)
        if registers <= _ACCUMULATORS and others * (row.extent // size) * (column.extent // size) >= max(1, fewest):
            return Tiling(size, row, column)
    return None


def _has_a_side_for_each(group: Group, node: Node, row: Axis, column: Axis) -> bool:
    """One operand goes along the rows alone, the other along the columns."""
    index = group.index({axis.variable: Index.variable(axis.variable) for axis in (row, column)})
    reduced = [Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
    sides = [
        [any(p.coefficient(axis.variable) for p in place) for axis in (row, column)]
        for _, place in group.body.factors(node, index, reduced)
    ]
    return sorted(sides) == [[False, True], [True, False]]
