"""Small matrices in the registers of warps: the lanes that hold them, and where each element is."""

from __future__ import annotations

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction
from irdl.loops.language import Buffer
from irdl.loops.rewrite import Names

_THREADS = WARP * WARPS
#: neighbours among the lanes (see `Fragment`)
_QUARTER = 4


def multiplies(node: Node, instruction: Instruction) -> bool:
    """The contraction's numbers are such as the instruction takes and gives."""
    return all(value.dtype == instruction.dtype for value in (*node.operands, node.output))


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
