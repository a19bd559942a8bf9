"""Loops walked there and back: on every other step of the time loop, a kernel reads what it reads at each step from the end.

The part read last is still in the cache when the next step starts with it; walking the same way each time, a cache smaller
than the whole would hold none of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.loops.cost import cycles
from irdl.loops.dependence import is_divisible, loop_extents, path
from irdl.loops.expressions import Buffer, Load
from irdl.loops.language import For, Kernel, Program, Statement
from irdl.loops.walk import expressions, nested, subexpressions, walk

#: Bytes that the nearest cache surely holds.
_ALWAYS_CACHED = 16 * 1024
#: With more work than this on each 64 bytes, fetching ahead hides where they come from, and does it better in one direction.
_CYCLES_A_LINE = 4


def walk_there_and_back(program: Program) -> Program:
    """Mark the loops, in place."""
    _visit(program.body, "")
    return program


def _visit(body: Sequence[Statement], time: str) -> None:
    for statement in body:
        if isinstance(statement, Kernel):
            if time:
                _mark(statement, time)
        else:
            for part in nested(statement):
                _visit(part, statement.variable if isinstance(statement, For) else "")


def _mark(kernel: Kernel, time: str) -> None:
    extents = loop_extents(kernel)
    for nest in kernel.body:
        for loop in path(nest):
            read: dict[Buffer, int] = {}
            for statement in walk([loop]):
                for expression in expressions(statement):
                    for item in subexpressions(expression):
                        if isinstance(item, Load) and item.index.coefficient(loop.variable) and not item.index.coefficient(time):
                            read[item.buffer] = item.buffer.nbytes
            size = sum(read.values())
            if size > _ALWAYS_CACHED and cycles([loop]) < _CYCLES_A_LINE * size / 64 and is_divisible(kernel, nest, loop, extents):
                loop.turns = time
                break
