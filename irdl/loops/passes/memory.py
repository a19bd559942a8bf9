"""Memory: every arena buffer gets an offset, so that buffers alive at the same time do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from irdl.loops.expressions import Buffer
from irdl.loops.language import For, Kernel, Program, Statement, While
from irdl.loops.walk import buffers_of, nested, walk

ALIGNMENT = 64
#: buffers that take longer to fill than threads take to meet
_LARGE = 4 * 1024 * 1024


def plan_memory(program: Program) -> Program:
    """Set the offsets of the arena's buffers, and its size, in place.

    Inside a loop further in than those that a buffer belongs to, it is alive for the whole of that loop.
    """
    return _plan(program, own_in_loops=False)


def plan_shared_memory(program: Program) -> Program:
    """As `plan_memory`, where threads would have to meet before one buffer takes another's place: in a loop, none does but large ones."""
    return _plan(program, own_in_loops=True)


def _plan(program: Program, own_in_loops: bool) -> Program:
    spans: dict[Buffer, list[int]] = {}
    entered: dict[int, list[int]] = {}
    touches: list[tuple[Buffer, int, tuple[Statement, ...]]] = []
    clock = 0

    def touch(statement: Statement, time: int, path: tuple[Statement, ...]) -> None:
        touches.extend((buffer, time, path) for buffer in buffers_of(statement) if buffer.space == "arena")

    def visit(body: Sequence[Statement], path: tuple[Statement, ...]) -> None:
        nonlocal clock
        for statement in body:
            clock += 1
            if isinstance(statement, Kernel):
                # One moment: a kernel's loops read and write in any order.
                for inner_statement in walk(statement.body):
                    touch(inner_statement, clock, path)
                continue
            touch(statement, clock, path)
            inner = (*path, statement) if isinstance(statement, (For, While)) else path
            start = clock
            for part in nested(statement):
                visit(part, inner)
            clock += 1
            if isinstance(statement, While):
                # The condition is read after `before` has run.
                touch(statement, clock, inner)
            if inner is not path:
                entered[id(statement)] = [start, clock]

    visit(program.body, ())
    for buffer, time, path in touches:
        own = 0 if own_in_loops and buffer.nbytes <= _LARGE else buffer.depth
        first = last = time
        if len(path) > own:
            first, last = entered[id(path[own])]
        span = spans.setdefault(buffer, [first, last])
        span[0], span[1] = min(span[0], first), max(span[1], last)
    program.arena_bytes = assign({buffer: (first, last) for buffer, (first, last) in spans.items()})
    return program


def assign(spans: Mapping[Buffer, tuple[int, int]]) -> int:
    """Largest first, each at the lowest offset free during its span; the bytes this takes."""
    placed: list[tuple[int, int, int, int]] = []  # start, end, offset, size
    total = 0
    for buffer, (start, end) in sorted(spans.items(), key=lambda item: (-item[0].nbytes, item[1][0])):
        size = _aligned(buffer)
        offset = 0
        for other_start, other_end, other_offset, other_size in sorted(placed, key=lambda row: row[2]):
            if other_end < start or other_start > end:
                continue
            if offset + size <= other_offset:
                break
            offset = max(offset, other_offset + other_size)
        buffer.offset = offset
        placed.append((start, end, offset, size))
        total = max(total, offset + size)
    return total


def largest_live_set(spans: Mapping[Buffer, tuple[int, int]]) -> int:
    """The bytes that no assignment of offsets can do without."""
    changes = sorted(change for b, (first, last) in spans.items() for change in ((first, 1, _aligned(b)), (last + 1, 0, -_aligned(b))))
    return max(accumulate(size for _, _, size in changes), default=0)


def _aligned(buffer: Buffer) -> int:
    return max(ALIGNMENT, -(-buffer.nbytes // ALIGNMENT) * ALIGNMENT)
