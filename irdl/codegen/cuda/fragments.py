"""Small matrices in the registers of warps: the lanes that hold them, and where each element is."""

from __future__ import annotations

from dataclasses import dataclass

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.lowering.nest import Loop
from irdl.ir.dtypes import is_half
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction
from irdl.loops.language import Buffer, Expression, Operation
from irdl.loops.rewrite import Names
from irdl.ops.elementwise import CAST

_THREADS = WARP * WARPS
#: neighbours among the lanes (see `Fragment`)
_QUARTER = 4


@dataclass(frozen=True)
class TensorCores:
    """What warps multiply small matrices with.

    Attributes:
        instruction: the instruction.
        rounding: numbers of its dtype may be rounded to those that it takes.
    """

    instruction: Instruction
    rounding: bool

    def multiply(self, node: Node) -> bool:
        """The contraction's numbers are such as the instruction takes and gives, or may be made such: floats of 16 bits, whose fractions
        are no longer than TF32's, are so without rounding."""
        fits = all(value.dtype == self.instruction.dtype for value in (*node.operands, node.output))
        return fits and (self.rounding or all(map(is_widened, node.operands)))

    def rounded(self, item: Expression, value: Value) -> Expression:
        """`item`, an element of `value`, as the instruction takes it."""
        return item if is_widened(value) else Operation(self.instruction.rounded, (item,), self.instruction.dtype)


def is_widened(value: Value) -> bool:
    """Its numbers are floats of 16 bits, as float32."""
    node = value.node
    while node is not None and node.op.is_view:
        node = node.operands[0].node
    return node is not None and node.op is CAST and is_half(node.operands[0].dtype)


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


def matrices(name: str, instruction: Instruction, fragment: Fragment, count: int) -> Buffer:
    """Room for so many matrices of each warp of a block."""
    return Buffer(name, instruction.dtype, _THREADS * count * len(fragment.places), "register", copies=_THREADS)


def registers_of(buffer: Buffer, thread: Index) -> Index:
    """Where a thread's begin."""
    return thread * (buffer.size // buffer.copies)
