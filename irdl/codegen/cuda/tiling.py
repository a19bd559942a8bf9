"""Which tiles contractions of many results are made in, and among how many blocks the terms of each are divided.

It is what takes the fewest cycles of a multiprocessor, roughly: instructions of the blocks that follow each other there, and, where terms
are divided, the way of the parts' sums through memory and another launch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from irdl.codegen.cuda.costs import PRODUCT
from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.registers import words
from irdl.codegen.lowering.group import Axis, Group
from irdl.ir.graph import Value
from irdl.loops.index import Index
from irdl.loops.instructions import Instruction
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT

#: steps of the contraction that are in shared memory at once
STEPS = 16
#: bytes of them where warps multiply matrices, and how many times as many are there, most of them on their way
_PRODUCT_BYTES, _STAGES = 64, 4
#: bytes that rows or columns there lie apart besides
_APART = 32
#: registers of a thread for what is added up
ACCUMULATORS = 128
#: rows and columns of threads in a warp, each of which has neighbours of that many rows and columns; and of elements and warps in a tile
LANES, TOGETHER = (4, 8), 4
_SHAPES = (((128, 128), (4, 2)), ((64, 64), (4, 2)), ((32, 128), (2, 4)), ((128, 32), (8, 1)))
#: those that only warps with instructions for matrices have the registers for
_PRODUCT_SHAPES = (((256, 128), (4, 2)), ((128, 256), (2, 4)), *_SHAPES)
#: the most parts that the terms are divided into, and the fewest terms of one
_PARTS, _TERMS = 64, 64
#: bytes of sums that parts may have in any case; more where what is multiplied is more
_MEMORY = 16 << 20
#: of so many multiprocessors, one has to have as many results as fill a tile at least
_FEWEST = 4
#: so many times as much where there are fewer than `STEPS` terms: a thread for some results has no others to wait for then
_SHORT = 16
#: how much of all tiles has to be results
_FILLED = 0.2
#: schedulers of a multiprocessor, each of which issues one instruction of a warp a cycle, and bytes of its shared memory that are read in one
_SCHEDULERS, _NEAR_BYTES = 4, 128
#: cycles in which threads meet and wait around the steps that are there, until what is read ahead is, of a block that begins and ends, and
#: of a launch; bytes that a multiprocessor gets from L2 in one
_STAGE, _LATENCY, _BLOCK, _LAUNCH, _BYTES = 100, 800, 2000, 5000, 20
#: registers of a multiprocessor, and of a thread, but for what is added up
_REGISTERS, _OTHERS = 65536, 64
#: how much less time parts have to take, lest terms be divided for nothing
_WORTH = 1.1


#: what the contractions of a group multiply, along the rows and along the columns, and where that is
_Sides: TypeAlias = tuple[set[tuple[Value, tuple[Index, ...]]], set[tuple[Value, tuple[Index, ...]]]]


@dataclass(frozen=True)
class Tiling:
    """Tiles of the results of contractions.

    Attributes:
        shape: rows and columns of a tile.
        warps: the same of the warps that have parts of it.
        row, column: the axes that those go along.
        parts: how many blocks have a part of the terms of each tile.
        depth: steps of the contraction that are multiplied before threads meet.
        stages: how many times as many are in shared memory.
    """

    shape: tuple[int, int]
    warps: tuple[int, int]
    row: Axis
    column: Axis
    parts: int = 1
    depth: int = STEPS
    stages: int = 1

    @property
    def values(self) -> tuple[int, int]:
        """Rows and columns of a thread."""
        rows, columns = (size // (lanes * warps) for size, lanes, warps in zip(self.shape, LANES, self.warps, strict=True))
        return rows, columns


def tiling_of(group: Group, gpu: Gpu, instruction: Instruction | None = None) -> Tiling | None:
    """Tiles for the group; None where there are too few results, or it is not made of contractions of rows and columns, or these add
    nothing up. `instruction`: what warps multiply them with."""
    nodes = group.body.reductions
    if not group.reduced or any(node.op is not DOT for node in nodes):
        return None
    best = group.contiguous_axis(group.domain, True, WARP)
    column = best[1] if best is not None else max(group.domain, key=lambda axis: axis.extent, default=None)
    row = None if column is None else group.shared_axis(column)
    sides = None if column is None or row is None else _sides(group, row, column)
    if column is None or row is None or sides is None:
        return None
    results = math.prod(axis.extent for axis in group.domain)
    terms = math.prod(axis.extent for axis in group.reduced)
    fewest = max(1, gpu.multiprocessors // _FEWEST) * (1 if terms >= STEPS else _SHORT)
    found = [
        tiling
        for tiling in _tilings(group, row, column, sides, gpu, instruction)
        if results // (size := math.prod(tiling.shape)) * tiling.parts >= fewest and results >= _FILLED * size * _tiles(group, tiling)
    ]
    return min(found, key=lambda tiling: _cycles(group, tiling, sides, gpu, instruction), default=None)


def _tilings(group: Group, row: Axis, column: Axis, sides: _Sides, gpu: Gpu, instruction: Instruction | None) -> Iterator[Tiling]:
    """Those whose sums fit the registers, and whose stages fit shared memory."""
    nodes = group.body.reductions
    depth = STEPS if instruction is None else _PRODUCT_BYTES // instruction.operand.itemsize
    times = -(-longest(group).extent // depth)
    room = max(_MEMORY, sum(value.type.nbytes for value in {value for node in nodes for value in node.operands}))
    for shape, warps in _SHAPES if instruction is None else _PRODUCT_SHAPES:
        registers = _sums(group, shape)
        stages = 1 if instruction is None else _stages(sides, shape, registers, gpu)
        if registers <= ACCUMULATORS and stages:
            most = max(1, min(_PARTS, times * depth // _TERMS, room // max(1, _bytes(group))))
            # Of those that give each part as many steps, the fewest.
            for parts in sorted({-(-times // -(-times // parts)) if times else 1 for parts in range(1, most + 1)}):
                yield Tiling(shape, warps, row, column, parts, depth, min(stages, max(2, -(-times // parts))) if stages > 1 else 1)


def _sums(group: Group, shape: tuple[int, int]) -> int:
    """Registers of a thread for what is added up."""
    return sum(words(node.output.dtype) for node in group.body.reductions) * math.prod(shape) // (WARPS * WARP)


def _resident(registers: int) -> int:
    """Blocks of a multiprocessor, if each thread adds up in so many registers."""
    return max(1, _REGISTERS // ((_OTHERS + registers) * WARPS * WARP))


def _stages(sides: _Sides, shape: tuple[int, int], registers: int, gpu: Gpu) -> int:
    """How many fit shared memory, of as many blocks as registers are there for unless that leaves too few; 0: not even two."""
    nbytes = sum(len(operands) * size * (_PRODUCT_BYTES + _APART) for operands, size in zip(sides, shape, strict=True))
    alone, beside = (min(_STAGES, gpu.shared_bytes // (nbytes * blocks)) for blocks in (1, _resident(registers)))
    stages = beside if beside >= _STAGES - 1 else alone
    return stages if stages > 1 else 0


def longest(group: Group) -> Axis:
    """The reduced axis that is walked some steps at a time."""
    return max((axis for axis in group.reduced if axis.extent != 1), key=lambda axis: axis.extent, default=group.reduced[0])


def _tiles(group: Group, tiling: Tiling) -> int:
    others = math.prod(axis.extent for axis in group.domain if axis not in (tiling.row, tiling.column))
    return others * -(-tiling.row.extent // tiling.shape[0]) * -(-tiling.column.extent // tiling.shape[1])


def _cycles(group: Group, tiling: Tiling, sides: _Sides, gpu: Gpu, instruction: Instruction | None) -> float:
    parts, axis = tiling.parts, longest(group)
    times = -(-axis.extent // tiling.depth) * math.prod(other.extent for other in group.reduced if other is not axis)
    tiles = _tiles(group, tiling)
    nbytes = sum(size * sum(value.dtype.itemsize for value, _ in operands) for operands, size in zip(sides, tiling.shape, strict=True))
    step = _step_of_threads(group, tiling, sides) if instruction is None else _step_of_warps(group, tiling, sides, instruction)
    # Blocks that are there at once fill each other's gaps.
    stage, each = tiling.depth * max(step, nbytes / _BYTES), -(-tiles * parts // gpu.multiprocessors)
    alone = -(-times // parts) * max(stage + _STAGE, _LATENCY / max(1, tiling.stages - 1)) + _BLOCK
    cycles = max(each * -(-times // parts) * stage + _BLOCK, -(-each // _resident(_sums(group, tiling.shape))) * alone)
    if parts == 1:
        return cycles
    return _WORTH * (cycles + _LAUNCH + 2 * parts * _bytes(group) / (_BYTES * gpu.multiprocessors))


def _step_of_threads(group: Group, tiling: Tiling, sides: _Sides) -> float:
    """Cycles of one step: instructions of warps that multiply and add, and that read and bring the operands."""
    issued = sum(words(node.output.dtype) for node in group.body.reductions) * math.prod(tiling.shape) / WARP
    for operands, size, values in zip(sides, tiling.shape, tiling.values, strict=True):
        issued += len(operands) * (WARPS * values / TOGETHER + 3 * size / WARP)
    return issued / _SCHEDULERS


def _step_of_warps(group: Group, tiling: Tiling, sides: _Sides, instruction: Instruction) -> float:
    """Cycles of one step: those of products, or of shared memory, where each warp reads its rows and columns."""
    high, wide = instruction.total.shape
    products = len(group.body.reductions) * math.prod(tiling.shape) * PRODUCT / (high * wide * instruction.left.shape[1])
    moved = sum(
        len(operands) * (WARPS * size // warps + size) * instruction.operand.itemsize
        for operands, size, warps in zip(sides, tiling.shape, tiling.warps, strict=True)
    )
    return max(products / _SCHEDULERS, moved / _NEAR_BYTES)


def _bytes(group: Group) -> int:
    """Of all contractions' results."""
    return sum(node.output.type.nbytes for node in group.body.reductions)


def _sides(group: Group, row: Axis, column: Axis) -> _Sides | None:
    """What goes along the rows alone, and along the columns, and where; None unless each contraction has an operand of both kinds."""
    index = group.index({axis.variable: Index.variable(axis.variable) for axis in (row, column)})
    reduced = [Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
    found: _Sides = set(), set()
    for node in group.body.reductions:
        factors = group.body.factors(node, index, reduced)
        along = [[any(p.coefficient(axis.variable) for p in place) for axis in (row, column)] for _, place in factors]
        if sorted(along) != [[False, True], [True, False]]:
            return None
        for factor, (_, is_column) in zip(factors, along, strict=True):
            found[is_column].add(factor)
    return found
