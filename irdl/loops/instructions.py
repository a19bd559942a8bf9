"""What a warp does with one instruction: a product of two small matrices is added to a third, whose elements its lanes hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irdl.ir import dtypes


@dataclass(frozen=True)
class Fragment:
    """A matrix that the 32 lanes of a warp hold in equal parts, as four neighbours for each of eight rows or columns.

    Attributes:
        shape: its rows and columns.
        places: row and column of each of the elements that lane 0 holds.
        eighth, quarter: how much further the elements are of the next lane but three, and of the next of four.
    """

    shape: tuple[int, int]
    places: tuple[tuple[int, int], ...]
    eighth: tuple[int, int]
    quarter: tuple[int, int]

    def at(self, lane: int, slot: int) -> tuple[int, int]:
        """Row and column of an element of a lane."""
        (row, column), (eighth, quarter) = self.places[slot], divmod(lane, 4)
        rows = row + self.eighth[0] * eighth + self.quarter[0] * quarter
        return rows, column + self.eighth[1] * eighth + self.quarter[1] * quarter

    def run(self, axis: int) -> int:
        """How many elements of a lane are neighbours along an axis: from its first on, and from every multiple."""
        other = 1 - axis
        return next(
            n
            for n in (4, 2, 1)
            if all(
                place[axis] - self.places[slot - slot % n][axis] == slot % n and place[other] == self.places[slot - slot % n][other]
                for slot, place in enumerate(self.places)
            )
        )


@dataclass(frozen=True)
class Instruction:
    """`total += left @ right`. Sums are of `total`'s dtype, in whatever order; the operands' numbers are those that `rounded` gives.

    Attributes:
        name: in the loop language, and in the backends.
        dtype: of the sums.
        operand: of what is multiplied.
        rounded: the operation that makes numbers which it multiplies exactly; None where it does so with all.
    """

    name: str
    dtype: np.dtype
    operand: np.dtype
    total: Fragment
    left: Fragment
    right: Fragment
    rounded: str | None


_FLOAT32 = np.dtype(np.float32)
_TOTAL = Fragment((16, 8), ((0, 0), (0, 1), (8, 0), (8, 1)), (1, 0), (0, 2))

#: as the PTX ISA lays it out: matrix fragments for mma.m16n8k8
TF32 = Instruction(
    "m16n8k8_tf32",
    _FLOAT32,
    _FLOAT32,
    total=_TOTAL,
    left=Fragment((16, 8), ((0, 0), (8, 0), (0, 4), (8, 4)), (1, 0), (0, 1)),
    right=Fragment((8, 8), ((0, 0), (4, 0)), (0, 1), (1, 0)),
    rounded="tf32",
)
_HALVES = (("m16n8k16_f16", np.dtype(np.float16)), ("m16n8k16_bf16", dtypes.BFLOAT16))
#: the same for mma.m16n8k16, whose matrices ldmatrix loads
FLOAT16, BFLOAT16 = (
    Instruction(
        name,
        _FLOAT32,
        operand,
        total=_TOTAL,
        left=Fragment((16, 16), tuple((row, far + step) for far in (0, 8) for row in (0, 8) for step in (0, 1)), (1, 0), (0, 2)),
        right=Fragment((16, 8), tuple((far + step, 0) for far in (0, 8) for step in (0, 1)), (0, 1), (2, 0)),
        rounded=None,
    )
    for name, operand in _HALVES
)
#: the same, but for the order of the steps: what is added up in whatever order lets a lane have four neighbours of a row, or column
FLOAT16_BY_FOURS, BFLOAT16_BY_FOURS = (
    Instruction(
        f"{name}_by_fours",
        _FLOAT32,
        operand,
        total=_TOTAL,
        left=Fragment((16, 16), tuple((row, step) for row in (0, 8) for step in range(4)), (1, 0), (0, 4)),
        right=Fragment((16, 8), tuple((step, 0) for step in range(4)), (0, 1), (4, 0)),
        rounded=None,
    )
    for name, operand in _HALVES
)
INSTRUCTIONS = {instruction.name: instruction for instruction in (TF32, FLOAT16, BFLOAT16, FLOAT16_BY_FOURS, BFLOAT16_BY_FOURS)}


def round_to_tf32(x: np.ndarray | np.float32) -> np.ndarray:
    """The nearest number with ten bits of fraction, the larger one of two, as float32; nan stays nan, and what is too large is infinite."""
    x = np.asarray(x, np.float32)
    bits = ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    result: np.ndarray = np.where(np.isnan(x), np.float32(np.nan), bits)
    return result
