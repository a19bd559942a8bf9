"""Small matrices in the registers of warps: the lanes that hold them, and where each element is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.lowering.body import GroupBody, Scope
from irdl.codegen.lowering.nest import Loop
from irdl.ir.dtypes import is_half
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Operation
from irdl.loops.index import Index
from irdl.loops.instructions import BFLOAT16, BFLOAT16_BY_FOURS, FLOAT16, FLOAT16_BY_FOURS, TF32, Fragment, Instruction
from irdl.loops.rewrite import Names
from irdl.ops.contract import DOT
from irdl.ops.elementwise import CAST

_THREADS = WARP * WARPS
#: neighbours among the lanes (see `Fragment`)
_QUARTER = 4


@dataclass(frozen=True)
class TensorCores:
    """What warps multiply small matrices with.

    Attributes:
        rounding: float32 may be rounded to TF32.
        by_fours: lanes read four neighbouring steps at once, wherever they are: in loops over time, not in tiles.
    """

    rounding: bool
    by_fours: bool = False

    def instruction(self, nodes: Sequence[Node]) -> Instruction | None:
        """The first that multiplies the numbers of all these contractions."""
        halves = (FLOAT16_BY_FOURS, BFLOAT16_BY_FOURS) if self.by_fours else (FLOAT16, BFLOAT16)
        return next((instruction for instruction in (*halves, TF32) if all(self._multiplies(node, instruction) for node in nodes)), None)

    def _multiplies(self, node: Node, instruction: Instruction) -> bool:
        """The contraction's numbers are such as the instruction takes and gives, or may be made such: floats of 16 bits, whose fractions
        are no longer than TF32's, are so without rounding."""
        if node.op is not DOT or node.output.dtype != instruction.dtype:
            return False
        if instruction.rounded is None:
            return all(narrow_dtype(value) == instruction.operand for value in node.operands)
        return all(value.dtype == instruction.operand and (self.rounding or is_half(narrow_dtype(value))) for value in node.operands)


def rounded(instruction: Instruction, item: Expression, value: Value) -> Expression:
    """`item`, an element of `value`, as the instruction takes it."""
    if instruction.rounded is None or is_half(narrow_dtype(value)):
        return item
    return Operation(instruction.rounded, (item,), instruction.operand)


def as_multiplied(instruction: Instruction, body: GroupBody, value: Value, place: tuple[Index, ...], scope: Scope) -> Expression:
    """`value[place]` as the instruction takes it: floats of 16 bits as they are, if it multiplies such."""
    if instruction.rounded is None:
        value, place = body.seen_through(value, place)
        return body.expression(as_read(value), place, scope)
    return rounded(instruction, body.expression(value, place, scope), value)


def narrow_dtype(value: Value) -> np.dtype:
    """The dtype of floats of 16 bits that a value, or what it is a view of, is cast from; else its own."""
    while value.node is not None and value.node.op.is_view:
        value = value.node.operands[0]
    return as_read(value).dtype


def as_read(value: Value) -> Value:
    """What an operand is made of, element for element: floats of 16 bits are cast on their way on."""
    node = value.node
    return node.operands[0] if node is not None and node.op is CAST and is_half(node.operands[0].dtype) else value


class Lanes:
    """The lanes of a warp, as fragments count them.

    Attributes:
        loops: over all of them.
        number: which one.
    """

    def __init__(self, names: Names) -> None:
        self.loops = [Loop(names("l"), WARP // _QUARTER), Loop(names("l"), _QUARTER)]
        eighth, quarter = (loop.variable for loop in self.loops)
        self.number = Index.variable(eighth, _QUARTER) + Index.variable(quarter)

    def place(self, fragment: Fragment, axis: int, slot: int) -> Index:
        """Row, or column, of a lane's element of that number."""
        eighth, quarter = (loop.variable for loop in self.loops)
        return Index.variable(eighth, fragment.eighth[axis]) + Index.variable(quarter, fragment.quarter[axis]) + fragment.places[slot][axis]


def matrices(name: str, dtype: np.dtype, fragment: Fragment, count: int) -> Buffer:
    """Room for so many matrices of each warp of a block."""
    return Buffer(name, dtype, _THREADS * count * len(fragment.places), "register", copies=_THREADS)


def registers_of(buffer: Buffer, thread: Index) -> Index:
    """Where a thread's begin."""
    return thread * (buffer.size // buffer.copies)
