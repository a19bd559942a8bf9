"""Where copies of what never changes lie, and what fills them: in a thread's registers, in a block's shared memory, and in memory in the
order in which threads come by them.

Runs of neighbours of a thread's steps stay together, and those of neighbouring threads lie side by side, so that a warp reads 4 lines of 128
bytes at once and each bank of shared memory gives as much as the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from irdl.codegen.cuda.dealing import LONGEST_RUN, WARP, WARPS, bound
from irdl.codegen.cuda.registers import Touch, number_of, thread_number
from irdl.codegen.lowering.nest import Loop
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import For, If, Kernel, Program, Statement, Store
from irdl.loops.passes.memory import ALIGNMENT
from irdl.loops.rewrite import Names, substitute
from irdl.loops.walk import variables_read

#: bytes that memory gives at once: threads that read further apart than that get what they do not need
_SECTOR = 32


def count(read: Touch) -> int:
    """How many elements a read is, through its loops."""
    return math.prod(len(range(loop.start, loop.stop, loop.step)) for loop in read.loops)


def copy_of(
    read: Touch,
    space: str,
    blocks: Sequence[For],
    warps: Sequence[For],
    lanes: Sequence[For],
    names: Names,
    dtype: np.dtype | None = None,
) -> Load:
    """What takes the place of a load, or of what is made of it, of that dtype: of registers or shared memory of the threads around it."""
    dtype = dtype or read.buffer.dtype
    block, thread, threads = number_of(blocks), thread_number(warps, lanes), WARPS * WARP
    copies = math.prod(loop.stop for loop in blocks)
    size = count(read)
    if space == "register":
        slot, run = _slot(read)
        return _load(dtype, space, (block * threads + thread) * size + slot + run, copies * threads * size, copies * threads, names)
    return _load(dtype, space, block * (threads * size) + _side_by_side(read, thread, threads), copies * threads * size, copies, names)


def _load(dtype: np.dtype, space: str, place: Index, size: int, copies: int, names: Names) -> Load:
    prefix = {"register": "kept_", "shared": "near_", "arena": "packed_"}[space]
    return Load(Buffer(names(prefix), dtype, size, space, copies=copies), place)


def _slot(read: Touch) -> tuple[Index, Index]:
    """Which of a thread's elements it is: the first of a run, and the place in that."""
    slot, size, run = Index(), 1, Index()
    for place, loop in enumerate(reversed(read.loops)):
        step = (Index.variable(loop.variable) + (-loop.start)) * size
        if place == 0 and loop.kind == "unrolled" and loop.stop - loop.start <= LONGEST_RUN:
            run = step
        else:
            slot = slot + step
        size *= loop.stop - loop.start
    return slot, run


def _side_by_side(read: Touch, number: Index, threads: int) -> Index:
    """Neighbouring threads read neighbouring runs. `slot` counts elements, of which there are whole runs."""
    slot, run = _slot(read)
    length = read.loops[-1].stop - read.loops[-1].start if run.variables() else 1
    return slot * threads + number * length + run


def in_loops_of(read: Touch, stores: list[Statement]) -> list[Statement]:
    """The stores in the loops and under the conditions of a read. Registers have no address: the loops are unrolled."""
    body = stores
    for statement in reversed(read.around):
        if isinstance(statement, If):
            body = [If(statement.condition, body, [])]
        elif any(statement is loop for loop in read.loops):
            body = [replace(statement, kind="unrolled", body=body)]
    return body


def nest(blocks: Sequence[For], warps: Sequence[For], lanes: Sequence[For], body: list[Statement]) -> Statement:
    for kind, loops in (("lane", lanes), ("warp", warps), ("block", blocks)):
        body = bound(kind, [Loop(loop.variable, loop.stop) for loop in loops], body)
    return body[0]


def packed(
    read: Touch, value: Expression, threads: tuple[Sequence[For], Sequence[For], Sequence[For]], program: Program, names: Names
) -> tuple[Load, Kernel] | None:
    """A copy in memory of what lanes find far apart, one for all threads that read the same, and what makes it; None where lanes do not,
    or what is read depends on more.

    Args:
        value: what the copy holds of each element.
        threads: the loops over blocks, warps and lanes around the read.
    """
    blocks, warps, lanes = ([loop for loop in loops if read.index.coefficient(loop.variable)] for loops in threads)
    far = any(abs(read.index.coefficient(loop.variable)) * read.buffer.dtype.itemsize >= _SECTOR for loop in lanes)
    loops = [*blocks, *warps, *lanes, *read.loops]
    known = {loop.variable for loop in loops}
    if not far or any(variables_read(condition) - known for condition in read.conditions):
        return None
    width, size = math.prod(loop.stop for loop in lanes), count(read)
    place = number_of([*blocks, *warps]) * (width * size) + _side_by_side(read, number_of(lanes), width)
    load = _load(value.dtype, "arena", place, math.prod(loop.stop for loop in (*blocks, *warps)) * width * size, 1, names)
    load.buffer.offset = -(-program.arena_bytes // ALIGNMENT) * ALIGNMENT
    program.arena_bytes = load.buffer.offset + load.buffer.nbytes
    body: list[Statement] = [Store(load.buffer, place, value)]
    for condition in read.conditions:
        body = [If(condition, body, [])]
    # Neighbouring threads read neighbours.
    body = substitute(body, {loop.variable: Index.variable(loop.variable) + loop.start for loop in read.loops})
    return load, Kernel(names("pack_"), bound("grid", [Loop(loop.variable, loop.stop - loop.start) for loop in loops], body))
