"""Vectors of half a line for loops that only move memory through.

Arrays of NumPy's begin anywhere in a line of the cache, so that each access of a whole line touches two; of two halves, one does. Loops
that compute more, and those whose arrays the first-level cache holds, have nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.codegen.cpu.over import LINE_BYTES
from irdl.loops.cost import cycles
from irdl.loops.index import Index
from irdl.loops.language import For, Kernel, Load, Program, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Target
from irdl.loops.walk import expressions, nested, subexpressions, walk

#: Bytes that a first-level cache holds.
_CACHED = 32 * 1024
#: Cycles of a vector that are less than its memory takes.
_CYCLES = 5


def narrow_streams(program: Program, target: Target) -> Program:
    """Cut the vectors of such loops in two, in place."""
    if target.vector_bytes == LINE_BYTES:
        names = Names(program)
        for statement in walk(program.body):
            if isinstance(statement, Kernel):
                _visit(statement.body, 1, names)
    return program


def _visit(body: list[Statement], steps: int, names: Names) -> None:
    for place, statement in enumerate(body):
        if not isinstance(statement, For):
            for part in nested(statement):
                _visit(part, steps, names)
        elif statement.kind != "vector":
            _visit(statement.body, steps * len(range(statement.start, statement.stop, statement.step)), names)
        elif statement.stop == statement.lanes and _only_streams(statement, steps):
            body[place] = _halved(statement, names)


def _only_streams(loop: For, steps: int) -> bool:
    sizes = [size for statement in loop.body for size in _access_bytes(statement)]
    if not sizes or max(sizes) * loop.lanes != LINE_BYTES or any(nested(statement) for statement in loop.body):
        return False
    return steps * loop.lanes * sum(sizes) > _CACHED and cycles(loop.body) <= _CYCLES


def _access_bytes(statement: Statement) -> list[int]:
    """Of each element that a statement reads or writes; too many where it works on registers, which are no stream."""
    items = [item for expression in expressions(statement) for item in subexpressions(expression)]
    buffers = [item.buffer for item in items if isinstance(item, Load)] + ([statement.buffer] if isinstance(statement, Store) else [])
    if any(buffer.space == "register" for buffer in buffers):
        return [LINE_BYTES]
    return [buffer.dtype.itemsize for buffer in buffers]


def _halved(loop: For, names: Names) -> For:
    lanes, half, lane = loop.lanes // 2, names("h"), names("l")
    inner: Sequence[Statement] = substitute(loop.body, {loop.variable: Index.variable(half, lanes) + Index.variable(lane)})
    return For(half, 0, 2, 1, "unrolled", [For(lane, 0, lanes, 1, "vector", list(inner), lanes)])
