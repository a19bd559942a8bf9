"""Vectors of half a line for loops that only move memory through.

Arrays of NumPy's begin anywhere in a line of the cache, so that each access of a whole line touches two; of two halves, one does. Loops
that compute more, and those whose arrays the first-level cache holds, have nothing of it.
"""

from __future__ import annotations

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
        elif statement.kind == "vector":
            if _only_streams(statement, steps):
                body[place] = _halved(statement, names)
        else:
            inside = steps * len(range(statement.start, statement.stop, statement.step))
            goes_by_twos = _goes_by_twos(statement, inside)
            _visit(statement.body, inside, names)
            if goes_by_twos:
                body[place] = _by_twos(statement, names)


def _only_streams(loop: For, steps: int) -> bool:
    sizes = [size for statement in loop.body for size in _access_bytes(statement)]
    if not sizes or loop.stop < loop.lanes or max(sizes) * loop.lanes != LINE_BYTES or not _is_elementwise(loop):
        return False
    return steps * loop.lanes * sum(sizes) > _CACHED and cycles(loop.body) <= _CYCLES


def _is_elementwise(loop: For) -> bool:
    """What a step reads, no other step writes."""
    if any(nested(statement) for statement in loop.body):
        return False
    stores = {(s.buffer, s.index) for s in loop.body if isinstance(s, Store)}
    written = {buffer for buffer, _ in stores}
    items = [item for s in loop.body for expression in expressions(s) for item in subexpressions(expression)]
    loads = {(item.buffer, item.index) for item in items if isinstance(item, Load) and item.buffer in written}
    return len(stores) == len(written) and loads <= stores and all(index.coefficient(loop.variable) == 1 for _, index in stores)


def _access_bytes(statement: Statement) -> list[int]:
    """Of each element that a statement reads or writes; too many where it works on registers, which are no stream."""
    items = [item for expression in expressions(statement) for item in subexpressions(expression)]
    buffers = [item.buffer for item in items if isinstance(item, Load)] + ([statement.buffer] if isinstance(statement, Store) else [])
    if any(buffer.space == "register" for buffer in buffers):
        return [LINE_BYTES]
    return [buffer.dtype.itemsize for buffer in buffers]


def _halved(loop: For, names: Names) -> For:
    lanes, half, lane = loop.lanes // 2, names("h"), names("l")
    inner = substitute(loop.body, {loop.variable: Index.variable(half, lanes) + Index.variable(lane)})
    return For(half, 0, 2, 1, "abreast", [For(lane, 0, lanes, 1, "vector", inner, lanes)])


def _goes_by_twos(loop: For, steps: int) -> bool:
    """A loop around such a vector alone, whose steps write one behind the other."""
    vector = loop.body[0]
    if len(loop.body) != 1 or not isinstance(vector, For) or vector.kind != "vector" or not _only_streams(vector, steps):
        return False
    if loop.kind != "serial" or (loop.start, loop.step, loop.stop % 2) != (0, 1, 0):
        return False
    return all(s.index.coefficient(loop.variable) == vector.lanes for s in vector.body if isinstance(s, Store))


def _by_twos(loop: For, names: Names) -> For:
    """Two steps as one: their loads are on their way at once."""
    pair, step = names("b"), names("u")
    inner = substitute(loop.body, {loop.variable: Index.variable(pair, 2) + Index.variable(step)})
    return For(pair, 0, loop.stop // 2, 1, "serial", [For(step, 0, 2, 1, "abreast", inner)], turns=loop.turns)
