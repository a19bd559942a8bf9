"""Contractions of many results whose tiles are made of small matrices, which warps multiply with one instruction each.

Before -> after, where `contraction` has each thread multiply element by element:

    warp { lane { for s { acc[i, j] += left[s, i] * right[s, j] } } }

    warp { for s { lane { a[i] = left[8 * s + .., i]; b[j] = right[8 * s + .., j] }
                   multiply acc[i, j] += a[i] @ b[j] } }

Operands are rounded as they are brought into shared memory.
"""

from __future__ import annotations

import numpy as np

from irdl.codegen.cuda.contraction import Contraction
from irdl.codegen.cuda.dealing import WARP, bound, run_of
from irdl.codegen.cuda.fragments import Lanes, matrices, registers_of, rounded
from irdl.codegen.cuda.operands import Operand, Spare, at
from irdl.codegen.cuda.tiling import STEPS, Tiling
from irdl.codegen.lowering.group import Group
from irdl.ir.graph import Value
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction
from irdl.loops.language import Expression, For, Load, Multiply, Statement, Store

#: so that the lanes of a fragment, 8 rows of 4 steps, are in different banks
_SPARE = Spare(8, 4)
#: rows of 40 bytes: lanes that write one step of neighbouring rows, and those that read 8 bytes of four rows, ask two of one bank at most
_SPARE_OF_HALVES = Spare(0, 4, turned=True)
#: neighbouring steps of a lane, of operands of 16 bits
_RUN = 4


def schedule_products(group: Group, instruction: Instruction, tiling: Tiling) -> list[Statement]:
    """The loops of a group of contractions, in tiles of small matrices."""
    return _Products(group, instruction, tiling).statements()


class _Products(Contraction):
    def __init__(self, group: Group, instruction: Instruction, tiling: Tiling) -> None:
        self.instruction = instruction
        super().__init__(group, tiling)
        names = group.body.names
        #: rows and columns of a warp, and how many matrices that is
        self.own = tuple(size // count for size, count in zip(tiling.shape, tiling.warps, strict=True))
        self.counts = tuple(own // extent for own, extent in zip(self.own, instruction.total.shape, strict=True))
        self.threads = Lanes(names)
        self.lanes = self.threads.loops
        #: of each operand, those of its matrices that a warp multiplies
        self.fragments = {
            operand: matrices(
                names("a" if operand.along_row else "b"), instruction.operand, self._fragment(operand), self.counts[self._side(operand)]
            )
            for operand in self.operands
        }

    @staticmethod
    def _side(operand: Operand) -> int:
        return 0 if operand.along_row else 1

    def _fragment(self, operand: Operand) -> Fragment:
        return self.instruction.left if operand.along_row else self.instruction.right

    def _spare(self) -> Spare:
        return _SPARE if self.instruction.operand.itemsize == 4 else _SPARE_OF_HALVES

    def _rounded(self, item: Expression, value: Value) -> Expression:
        return rounded(self.instruction, item, value)

    def _tile_dtype(self, value: Value) -> np.dtype:
        return self.instruction.operand

    def _warp(self) -> Index:
        return at(self.warps[0], self.warps[1].extent) + at(self.warps[1])

    def _matrix(self, axis: int, number: int) -> Index:
        """The first row, or column, of a warp's matrix of that number."""
        return at(self.warps[axis], self.own[axis]) + number * self.instruction.total.shape[axis]

    def _sum(self, row: int, column: int) -> int:
        """Where the accumulators of a matrix begin, among a thread's."""
        return (row * self.counts[1] + column) * len(self.instruction.total.places)

    def _elements(self) -> list[tuple[Index, Index, Index]]:
        total = self.instruction.total
        sums = next(iter(self.sums.values()))  # all are alike
        first = registers_of(sums, self._warp() * WARP + self.threads.number)
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

    def _runs(self) -> list[tuple[Index, Index, Index, int]]:
        return [(*element, 2) for element in self._elements()[::2]]  # a lane has two neighbouring columns of each row

    def _multiply(self) -> Statement:
        step, depth = self.group.body.names("s"), self.instruction.left.shape[1]
        warp = self._warp() * WARP
        loads = [load for operand in self.operands for load in self._load(operand, step, depth)]
        products: list[Statement] = []
        for node, sums in self.sums.items():
            left, right = self.of_nodes[node]
            a, b = self.fragments[left], self.fragments[right]
            of_left, of_right = len(self.instruction.left.places), len(self.instruction.right.places)
            products += [
                Multiply(
                    self.instruction,
                    sums,
                    registers_of(sums, warp) + self._sum(row, column),
                    a,
                    registers_of(a, warp) + row * of_left,
                    b,
                    registers_of(b, warp) + column * of_right,
                )
                for row in range(self.counts[0])
                for column in range(self.counts[1])
            ]
        steps = For(step, 0, STEPS // depth, 1, "serial", [*bound("lane", self.lanes, loads), *products])
        (nest,) = bound("warp", self.warps, [steps])
        return nest

    def _load(self, operand: Operand, step: str, depth: int) -> list[Statement]:
        """An operand's matrices, out of shared memory; neighbouring steps at once, where they lie next to each other."""
        fragment, buffer, side = self._fragment(operand), self.fragments[operand], self._side(operand)
        first = registers_of(buffer, self._warp() * WARP + self.threads.number)
        run, variable = _RUN if self.instruction.operand.itemsize == 2 else 1, self.group.body.names("v")
        loads = []
        for number in range(self.counts[side]):
            for slot in range(0, len(fragment.places), run):
                along = Index.variable(step, depth) + self.threads.place(fragment, 1 - side, slot) + Index.variable(variable)
                place = operand.place(along, self._matrix(side, number) + self.threads.place(fragment, side, slot))
                to = first + (number * len(fragment.places) + slot) + Index.variable(variable)
                loads += run_of(variable, run, [Store(buffer, to, Load(operand.tile, place))])
        return loads
