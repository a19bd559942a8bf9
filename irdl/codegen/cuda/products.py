"""Contractions of many results whose tiles are made of small matrices, which warps multiply with one instruction each.

Before -> after, where `contraction` has each thread multiply element by element:

    warp { lane { for s { acc[i, j] += left[s, i] * right[s, j] } } }

    warp { for s { lane { a[i] = left[8 * s + .., i]; b[j] = right[8 * s + .., j] }
                   multiply acc[i, j] += a[i] @ b[j] } }

Operands are rounded as they are brought into shared memory.
"""

from __future__ import annotations

from irdl.codegen.cuda.contraction import STEPS, WARP_GRID, Contraction, Tile
from irdl.codegen.cuda.dealing import WARP, bound
from irdl.codegen.cuda.fragments import Lanes, matrices, registers_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.loops.index import Index
from irdl.loops.instructions import Instruction
from irdl.loops.language import Buffer, Expression, For, Load, Multiply, Operation, Statement, Store

#: elements between the steps in shared memory, so that the lanes of a fragment are in different banks
_APART = 8


def schedule_products(group: Group, instruction: Instruction, tile: Tile, row: Axis, column: Axis) -> list[Statement]:
    """The loops of a group with one contraction, in tiles of small matrices."""
    return _Products(group, instruction, tile, row, column).statements()


class _Products(Contraction):
    def __init__(self, group: Group, instruction: Instruction, tile: Tile, row: Axis, column: Axis) -> None:
        super().__init__(group, tile, row, column)
        self.instruction = instruction
        names = group.body.names
        #: rows and columns of a warp, and how many matrices that is
        self.own = tile.size // WARP_GRID[0], tile.size // WARP_GRID[1]
        self.counts = tuple(own // extent for own, extent in zip(self.own, instruction.total.shape, strict=True))
        self.threads = Lanes(names)
        self.lanes = self.threads.loops
        self.fragments = [
            matrices(names(side), instruction, fragment, count)
            for side, count, fragment in zip("ab", self.counts, (instruction.left, instruction.right), strict=True)
        ]

    def _stride(self) -> int:
        return self.tile.size + _APART

    def _operand(self, item: Expression) -> Expression:
        return Operation(self.instruction.rounded, (item,), self.instruction.dtype)

    def _warp(self) -> Index:
        return Index.variable(self.warps[0].variable, WARP_GRID[1]) + Index.variable(self.warps[1].variable)

    def _matrix(self, axis: int, number: int) -> Index:
        """The first row, or column, of a warp's matrix of that number."""
        return Index.variable(self.warps[axis].variable, self.own[axis]) + number * self.instruction.total.shape[axis]

    def _sum(self, row: int, column: int) -> int:
        """Where the accumulators of a matrix begin, among a thread's."""
        return (row * self.counts[1] + column) * len(self.instruction.total.places)

    def _elements(self) -> list[tuple[Index, Index, Index]]:
        total, first = self.instruction.total, registers_of(self.accumulators, self._warp() * WARP + self.threads.number)
        return [
            (
                first + (self._sum(row, column) + slot),
                self._matrix(0, row) + self.threads.place(total, 0, slot),
                self._matrix(1, column) + self.threads.place(total, 1, slot),
            )
            for row in range(self.counts[0])
            for column in range(self.counts[1])
            for slot in range(len(total.places))
        ]

    def _multiply(self) -> Statement:
        step, depth = self.group.body.names("s"), self.instruction.left.shape[1]
        loads = [*self._load(0, self.left, step, depth), *self._load(1, self.right, step, depth)]
        warp = self._warp() * WARP
        sums = registers_of(self.accumulators, warp)
        left, right = (registers_of(buffer, warp) for buffer in self.fragments)
        of_left, of_right = len(self.instruction.left.places), len(self.instruction.right.places)
        products: list[Statement] = [
            Multiply(
                self.instruction,
                self.accumulators,
                sums + self._sum(row, column),
                self.fragments[0],
                left + row * of_left,
                self.fragments[1],
                right + column * of_right,
            )
            for row in range(self.counts[0])
            for column in range(self.counts[1])
        ]
        steps = For(step, 0, STEPS // depth, 1, "serial", [*bound("lane", self.lanes, loads), *products])
        (nest,) = bound("warp", self.warps, [steps])
        return nest

    def _load(self, side: int, tile: Buffer, step: str, depth: int) -> list[Statement]:
        """One operand's matrices, out of shared memory."""
        fragment = (self.instruction.left, self.instruction.right)[side]
        buffer, along = self.fragments[side], 1 - side
        first = registers_of(buffer, self._warp() * WARP + self.threads.number)
        return [
            Store(
                buffer,
                first + (number * len(fragment.places) + slot),
                Load(
                    tile,
                    (Index.variable(step, depth) + self.threads.place(fragment, along, slot)) * self.stride
                    + self._matrix(side, number)
                    + self.threads.place(fragment, side, slot),
                ),
            )
            for number in range(self.counts[side])
            for slot in range(len(fragment.places))
        ]
