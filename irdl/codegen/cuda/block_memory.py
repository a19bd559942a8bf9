"""Where a block's shared memory holds what: a launch that keeps something there has all of it to itself, else each nest of blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irdl.loops.language import Buffer, For, Launch, Program, Statement
from irdl.loops.walk import buffers_of, nested, walk

ALIGNMENT = 16


def plan_block_memory(program: Program) -> Program:
    """Set the offsets of the buffers in shared memory, in place."""
    for owner in _owners(program.body):
        offset = 0
        for buffer in shared_buffers([owner]):
            buffer.offset = offset
            offset += _aligned(buffer)
    return program


def shared_bytes(body: Sequence[Statement]) -> int:
    """The shared memory that a block needs to run `body`."""
    return max((buffer.offset + _aligned(buffer) for buffer in shared_buffers(body)), default=0)


def _aligned(buffer: Buffer) -> int:
    return -(-(buffer.nbytes // buffer.copies) // ALIGNMENT) * ALIGNMENT


def shared_buffers(body: Sequence[Statement]) -> list[Buffer]:
    return list(dict.fromkeys(b for statement in walk(body) for b in buffers_of(statement) if b.space == "shared"))


def _owners(body: Sequence[Statement]) -> Iterator[Statement]:
    """Outermost loops over blocks, and launches that are there already."""
    for statement in body:
        if isinstance(statement, Launch) or (isinstance(statement, For) and statement.kind == "block"):
            yield statement
        else:
            for part in nested(statement):
                yield from _owners(part)
