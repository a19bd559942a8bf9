"""Several vectors at a time for loops that only move memory through: their loads are on their way at once, array by array.

Loops that compute more, and those whose arrays the first-level cache holds, have nothing of it.
"""

from __future__ import annotations

from irdl.loops.cost import cycles
from irdl.loops.expressions import Load
from irdl.loops.index import Index
from irdl.loops.language import For, Kernel, Program, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.walk import expressions, nested, subexpressions, walk

#: Bytes that a first-level cache holds.
_CACHED = 32 * 1024
#: Cycles of a vector that are less than its memory takes.
_CYCLES = 5
#: Vectors at a time: the first of these that divides how many there are.
_TOGETHER = (8, 4, 2)


def widen_streams(program: Program) -> Program:
    """Do several steps of such loops at once, in place."""
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
            inside = steps * len(range(statement.start, statement.stop, statement.step))
            count = next((n for n in _TOGETHER if statement.stop % n == 0), 1)
            if count > 1 and _goes_through_memory(statement, inside):
                body[place] = _together(statement, count, names)
            else:
                _visit(statement.body, inside, names)


def _goes_through_memory(loop: For, steps: int) -> bool:
    """A loop around such a vector alone, whose steps write one behind the other."""
    vector = loop.body[0]
    if len(loop.body) != 1 or not isinstance(vector, For) or vector.kind != "vector" or not _only_streams(vector, steps):
        return False
    if (loop.kind, loop.start, loop.step) != ("serial", 0, 1):
        return False
    return all(s.index.coefficient(loop.variable) == vector.lanes for s in vector.body if isinstance(s, Store))


def _only_streams(vector: For, steps: int) -> bool:
    items = [item for statement in vector.body for expression in expressions(statement) for item in subexpressions(expression)]
    buffers = [item.buffer for item in items if isinstance(item, Load)] + [s.buffer for s in vector.body if isinstance(s, Store)]
    if any(buffer.space == "register" for buffer in buffers) or not _is_elementwise(vector):
        return False
    moved = steps * vector.lanes * sum(buffer.dtype.itemsize for buffer in buffers)
    return moved > _CACHED and cycles(vector.body) <= _CYCLES


def _is_elementwise(loop: For) -> bool:
    """What a step reads, no other step writes."""
    if any(nested(statement) for statement in loop.body):
        return False
    stores = {(s.buffer, s.index) for s in loop.body if isinstance(s, Store)}
    written = {buffer for buffer, _ in stores}
    items = [item for s in loop.body for expression in expressions(s) for item in subexpressions(expression)]
    loads = {(item.buffer, item.index) for item in items if isinstance(item, Load) and item.buffer in written}
    return len(stores) == len(written) and loads <= stores and all(index.coefficient(loop.variable) == 1 for _, index in stores)


def _together(loop: For, count: int, names: Names) -> For:
    block, step = names("b"), names("u")
    inner = substitute(loop.body, {loop.variable: Index.variable(block, count) + Index.variable(step)})
    return For(block, 0, loop.stop // count, 1, "serial", [For(step, 0, count, 1, "abreast", inner)], turns=loop.turns)
