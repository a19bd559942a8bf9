"""Which tiles contractions of many results are made in, and among how many blocks the terms of each are divided.

It is what takes the fewest cycles of a multiprocessor, roughly: instructions of the blocks that follow each other there, and, where terms
are divided, the way of the parts' sums through memory and another launch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from irdl.codegen.cuda.costs import PRODUCT
from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.registers import words
from irdl.codegen.lowering.group import Axis, Group
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.instructions import Instruction
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT

#: steps of the contraction that are in shared memory at once
STEPS = 16
#: registers of a thread for what is added up
ACCUMULATORS = 128
#: rows, and columns, of a tile
_SIZES = (128, 64)
#: the most parts that the terms are divided into, and the fewest terms of one
_PARTS, _TERMS = 64, 64
#: bytes of sums that parts may have in any case; more where what is multiplied is more
_MEMORY = 16 << 20
#: of so many multiprocessors, one has to have a whole tile at least
_FEWEST = 4
#: schedulers of a multiprocessor, each of which issues one instruction of a warp a cycle
_SCHEDULERS = 4
#: cycles in which threads meet and wait around `STEPS` steps, of a block that begins and ends, and of a launch; bytes that a
#: multiprocessor gets from L2 in one
_STAGE, _BLOCK, _LAUNCH, _BYTES = 100, 2000, 5000, 20
#: how much less time parts have to take, lest terms be divided for nothing
_WORTH = 1.1


@dataclass(frozen=True)
class Tiling:
    """Tiles of `size` rows and as many columns, for each of the contractions of a group.

    Attributes:
        parts: how many blocks have a part of the terms of each tile.
    """

    size: int
    row: Axis
    column: Axis
    parts: int = 1


def tiling_of(group: Group, gpu: Gpu, instruction: Instruction | None = None) -> Tiling | None:
    """Tiles for the group; None where there are too few results, or it is not made of contractions of rows and columns, or these add
    nothing up. `instruction`: what warps multiply them with."""
    nodes = group.body.reductions
    if not group.reduced or any(node.op is not DOT for node in nodes):
        return None
    best = group.contiguous_axis(group.domain, True, WARP)
    column = best[1] if best is not None else max(group.domain, key=lambda axis: axis.extent, default=None)
    row = None if column is None else group.shared_axis(column)
    if column is None or row is None or not all(_has_a_side_for_each(group, node, row, column) for node in nodes):
        return None
    fewest = gpu.multiprocessors // _FEWEST
    found = [tiling for tiling in _tilings(group, row, column) if _tiles(group, tiling, whole=True) * tiling.parts >= max(1, fewest)]
    return min(found, key=lambda tiling: _cycles(group, tiling, gpu, instruction), default=None)


def _tilings(group: Group, row: Axis, column: Axis) -> Iterator[Tiling]:
    """Those whose sums fit the registers."""
    stages = -(-longest(group).extent // STEPS)
    for size in _SIZES:
        registers = sum(words(node.output.dtype) for node in group.body.reductions) * size * size // (WARPS * WARP)
        if registers <= ACCUMULATORS:
            room = max(_MEMORY, sum(value.type.nbytes for value in _operands(group))) // max(1, _bytes(group))
            most = max(1, min(_PARTS, stages * STEPS // _TERMS, room))
            # Of those that give each part as many steps, the fewest.
            for parts in sorted({-(-stages // -(-stages // parts)) if stages else 1 for parts in range(1, most + 1)}):
                yield Tiling(size, row, column, parts)


def longest(group: Group) -> Axis:
    """The reduced axis that is walked `STEPS` at a time."""
    return max((axis for axis in group.reduced if axis.extent != 1), key=lambda axis: axis.extent, default=group.reduced[0])


def _tiles(group: Group, tiling: Tiling, whole: bool = False) -> int:
    """How many there are. `whole`: without those that results do not fill."""
    others = math.prod(axis.extent for axis in group.domain if axis not in (tiling.row, tiling.column))
    return others * math.prod(
        axis.extent // tiling.size if whole else -(-axis.extent // tiling.size) for axis in (tiling.row, tiling.column)
    )


def _cycles(group: Group, tiling: Tiling, gpu: Gpu, instruction: Instruction | None) -> float:
    nodes, size, parts = group.body.reductions, tiling.size, tiling.parts
    axis = longest(group)
    stages = -(-axis.extent // STEPS) * math.prod(other.extent for other in group.reduced if other is not axis)
    # Of one step, in instructions of warps: multiply-adds or products, and what reads and brings the operands.
    products = sum(words(node.output.dtype) for node in nodes) * size * size / WARP
    if instruction is not None:
        high, wide = instruction.total.shape
        products = len(nodes) * size * size * PRODUCT / (high * wide * instruction.left.shape[1])
    brought = len(_operands(group)) * size * (WARPS / 64 + 3 / WARP)
    stage = STEPS * (products + brought) / _SCHEDULERS + _STAGE
    rounds = -(-_tiles(group, tiling) * parts // gpu.multiprocessors)
    cycles = rounds * (-(-stages // parts) * stage + _BLOCK)
    if parts == 1:
        return cycles
    return _WORTH * (cycles + _LAUNCH + 2 * parts * _bytes(group) / (_BYTES * gpu.multiprocessors))


def _operands(group: Group) -> set[Value]:
    return {value for node in group.body.reductions for value in node.operands}


def _bytes(group: Group) -> int:
    """Of all contractions' results."""
    return sum(node.output.type.nbytes for node in group.body.reductions)


def _has_a_side_for_each(group: Group, node: Node, row: Axis, column: Axis) -> bool:
    """One operand goes along the rows alone, the other along the columns."""
    index = group.index({axis.variable: Index.variable(axis.variable) for axis in (row, column)})
    reduced = [Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
    sides = [
        [any(p.coefficient(axis.variable) for p in place) for axis in (row, column)]
        for _, place in group.body.factors(node, index, reduced)
    ]
    return sorted(sides) == [[False, True], [True, False]]
