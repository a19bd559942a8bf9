"""Where a block's shared memory holds what: what outlives a step in front, behind it each nest of blocks what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irdl.loops.expressions import Buffer
from irdl.loops.language import For, Program, Statement
from irdl.loops.walk import buffers_of, nested, walk

ALIGNMENT = 16


def plan_block_memory(program: Program) -> Program:
    """Set the offsets of the buffers in shared memory, in place."""
    for statement in program.body:
        kept = [buffer for buffer in shared_buffers([statement]) if buffer.copies > 1]
        start = _place(kept, 0)
        for nest in _block_nests([statement]):
            _place([buffer for buffer in shared_buffers([nest]) if buffer.copies == 1], start)
    return program


def _place(buffers: Sequence[Buffer], offset: int) -> int:
    """One behind the other; returns where they end."""
    for buffer in buffers:
        buffer.offset = offset
        offset += _aligned(buffer)
    return offset


def shared_bytes(body: Sequence[Statement]) -> int:
    """The shared memory that a block needs to run `body`."""
    return max((buffer.offset + _aligned(buffer) for buffer in shared_buffers(body)), default=0)


def _aligned(buffer: Buffer) -> int:
    return -(-(buffer.nbytes // buffer.copies) // ALIGNMENT) * ALIGNMENT


def shared_buffers(body: Sequence[Statement]) -> list[Buffer]:
    return list(dict.fromkeys(b for statement in walk(body) for b in buffers_of(statement) if b.space == "shared"))


def _block_nests(body: Sequence[Statement]) -> Iterator[For]:
    """The outermost loops over blocks."""
    for statement in body:
        if isinstance(statement, For) and statement.kind == "block":
            yield statement
        else:
            for part in nested(statement):
                yield from _block_nests(part)
