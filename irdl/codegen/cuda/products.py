"""Contractions of many results whose tiles are made of small matrices, which warps multiply with one instruction each.

Before -> after, where `contraction` has each thread multiply element by element:

    warp { lane { for s { acc[i, j] += left[s, i] * right[s, j] } } }

    warp { for s { lane { a[i] = left[8 * s + .., i]; b[j] = right[8 * s + .., j] }
                   multiply acc[i, j] += a[i] @ b[j] } }

So few cycles are not enough for what comes next to come from memory. Shared memory has several stages, of which one is multiplied, while the
others are on their way, by copies that are only begun:

    copy steps 0 to stage 0; commit; copy steps 1 to stage 1; commit; copy steps 2 to stage 2; commit
    for k { wait but 2; meet; multiply stage 0; copy steps 4 * k + 3 to stage 3; commit
            wait but 2; meet; multiply stage 1; copy steps 4 * k + 4 to stage 0; commit; .. }

What has to be computed first, or does not begin where 16 bytes may, goes by way of registers instead. Operands of TF32 are rounded there,
or else where warps read them.
"""

from __future__ import annotations

import numpy as np

from irdl.codegen.cuda.contraction import Contraction
from irdl.codegen.cuda.dealing import WARP, bound, only_below
from irdl.codegen.cuda.fragments import Lanes, matrices, registers_of, rounded
from irdl.codegen.cuda.operands import Operand, Spare, at
from irdl.codegen.cuda.tiling import Tiling
from irdl.codegen.lowering.group import Group
from irdl.ir.graph import Value
from irdl.loops.expressions import Expression, Load
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction
from irdl.loops.language import Commit, For, LoadMatrices, Multiply, Statement, Store, Wait

#: so that the lanes of a fragment, 8 rows of 4 steps, are in different banks; of 16 bits, the lines of a matrix, of 16 bytes
_SPARE, _SPARE_OF_HALVES = Spare(8, 4), Spare(8, 8)
#: rows, columns and steps of the matrices that are loaded at once
_MATRIX = 8


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

    def _steps(self) -> list[Statement]:
        """A block's steps of the contraction: stage after stage is multiplied, and filled again a little later."""
        count, stages = self.frame.count, self.tiling.stages
        body: list[Statement] = []
        for number in range(min(stages - 1, count)):
            body += [*self._fetch(Index(number)), *self._fill(Index(number), number), *self._if_copied(Commit())]
        turns, rest = divmod(count, stages)
        if turns:
            first = Index.variable(self.frame.step_block, stages)
            # In the last turn there are steps to fill stages with up to the stage `rest`.
            inside = [statement for stage in range(stages) for statement in self._stage(stage, first + stage, stage > rest)]
            body.append(For(self.frame.step_block, 0, turns, 1, "serial", inside))
        body += [statement for stage in range(rest) for statement in self._stage(stage, Index(turns * stages + stage))]
        return [*body, *self._if_copied(Wait(0))]

    def _stage(self, stage: int, number: Index, guarded: bool = False) -> list[Statement]:
        """Multiply a stage, which holds the steps of that number, and fill the one that was multiplied before it: in the meantime, where
        copies are only begun. `guarded`: there may be no steps to fill it with."""
        count, ahead = self.frame.count, self.tiling.stages - 1
        following = number + ahead
        fetch, fill = self._fetch(following), self._fill(following, (stage + ahead) % self.tiling.stages)
        if guarded:
            fetch, fill = (only_below(following, count, part) if part else [] for part in (fetch, fill))
        elif not following.variables() and following.constant >= count:
            fetch, fill = [], []
        return [*self._if_copied(Wait(ahead - 1)), *fetch, self._multiply_stage(stage), *fill, *self._if_copied(Commit())]

    def _if_copied(self, statement: Statement) -> list[Statement]:
        return [statement] if any(operand.copied for operand in self.operands) else []

    def _fetch(self, number: Index) -> list[Statement]:
        """Read steps into registers, as far as they go by way of these."""
        return [operand.fetch(number, sure=True) for operand in self.operands if not operand.copied]

    def _fill(self, number: Index, stage: int) -> list[Statement]:
        """Bring them into shared memory from there, and begin to copy the rest."""
        return [operand.copy(number, stage) if operand.copied else operand.put(self._rounded, stage) for operand in self.operands]

    def _multiply_stage(self, stage: int) -> Statement:
        """All warps, on what a stage holds."""
        step, depth = self.group.body.names("s"), self.instruction.left.shape[1]
        warp = self._warp() * WARP
        matrices_of = self._load_matrices if self.instruction.operand.itemsize == 2 else self._load
        loads = [statement for operand in self.operands for statement in matrices_of(operand, step, stage)]
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
        steps = For(step, 0, self.tiling.depth // depth, 1, "unrolled", [*loads, *products])
        (nest,) = bound("warp", self.warps, [steps])
        return nest

    def _load(self, operand: Operand, step: str, stage: int) -> list[Statement]:
        """An operand's matrices, out of shared memory, element by element."""
        fragment, buffer, side = self._fragment(operand), self.fragments[operand], self._side(operand)
        first = registers_of(buffer, self._warp() * WARP + self.threads.number)
        loads: list[Statement] = []
        for number in range(self.counts[side]):
            for slot in range(len(fragment.places)):
                along = Index.variable(step, self.instruction.left.shape[1]) + self.threads.place(fragment, 1 - side, slot)
                inside = self._matrix(side, number) + self.threads.place(fragment, side, slot)
                item: Expression = Load(operand.tile, operand.place(along, inside, stage))
                if operand.copied:
                    item = self._rounded(item, operand.value)
                loads.append(Store(buffer, first + (number * len(fragment.places) + slot), item))
        return bound("lane", self.lanes, loads)

    def _load_matrices(self, operand: Operand, step: str, stage: int) -> list[Statement]:
        """The same of 16 bits, four matrices of 8 x 8 at once: 16 rows, or columns, and 16 steps."""
        buffer, side = self.fragments[operand], self._side(operand)
        registers = buffer.size // buffer.copies
        first = registers_of(buffer, self._warp() * WARP)
        by_steps, inside = operand.place(Index(_MATRIX), Index()), operand.place(Index(), Index(_MATRIX))
        # As registers follow each other: of the left, rows before steps; of the right, a matrix of 8 columns has all steps first.
        steps = (inside.constant, by_steps.constant) if operand.along_row else (by_steps.constant, inside.constant)
        return [
            LoadMatrices(
                buffer,
                first + 8 * number,
                operand.tile,
                operand.place(Index.variable(step, 2 * _MATRIX), at(self.warps[side], self.own[side]) + 2 * _MATRIX * number, stage),
                operand.line,
                steps,
                transposed=not operand.along_steps,
            )
            for number in range(registers // 8)
        ]
