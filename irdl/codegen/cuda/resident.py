"""A loop over time whose blocks all run at once becomes one launch, in which what does not change stays with the threads that read it:
the weights of a recurrent cell are read once, and not in every step.

Before -> after:

    for t { block b { lane l { for s { acc += h[t, s] * w[s, 32 * b + l] } .. } } }

    launch { block b { lane l { for s { kept[b, l, s] = w[s, 32 * b + l] } } }
             for t { block b { lane l { for s { acc += h[t, s] * kept[b, l, s] } .. } } } }

Where nothing else is done with such a weight than an operation on it alone, a rounding say, what that gives stays instead. A warp that
multiplies matrices does so between what its lanes do by themselves, and loops over both are cut in the same places.

What a step reads of what no step writes, its part of xs, is read before the step waits for others. What does not fit the registers
lies in the block's shared memory, and what does not fit there is read in every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from irdl.codegen.cuda.block_memory import shared_buffers
from irdl.codegen.cuda.dealing import LONGEST_RUN, WARP, WARPS, bound
from irdl.codegen.cuda.registers import (
    UNKNOWN,
    Part,
    Touch,
    made_of_loads,
    number_of,
    parts_of,
    thread_number,
    threads_of,
    touches,
    with_copies,
    words,
)
from irdl.codegen.lowering.nest import Loop
from irdl.loops.index import Index
from irdl.loops.language import (
    BOUND,
    Buffer,
    Expression,
    For,
    If,
    Kernel,
    Launch,
    Load,
    Program,
    Statement,
    Store,
)
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, buffers_of, nested, variables_read, walk

#: registers of a thread for what stays, and for what a step reads ahead
_KEPT, _AHEAD = 184, 32
#: bytes of shared memory that other uses, and the driver, are left
_SPARED = 2 * 1024


def keep_resident(program: Program, target: Gpu) -> Program:
    """Make launches of the loops whose blocks all run at once, in place."""
    names = Names(program)
    program.body = [
        _launch(statement, program, names, target)
        if isinstance(statement, For) and statement.kind == "serial" and _fits(statement, target)
        else statement
        for statement in program.body
    ]
    return program


def _fits(loop: For, gpu: Gpu) -> bool:
    """All that it does, blocks do that can all run at once."""
    nests = list(_nests(loop.body))
    steps = [math.prod(item.stop for item in bound_nest(nest)) for nest in nests]
    return bool(nests) and all(nest.kind == "block" for nest in nests) and max(steps) <= gpu.multiprocessors and _room(loop, gpu) >= 0


def _room(loop: For, gpu: Gpu) -> int:
    """Bytes of shared memory that the nests of blocks leave, each of which has it for a time."""
    used = max((sum(buffer.nbytes for buffer in shared_buffers([nest])) for nest in _nests(loop.body)), default=0)
    return gpu.shared_bytes - _SPARED - used


def _nests(body: Sequence[Statement]) -> Iterator[For]:
    """The outermost bound loops."""
    for statement in body:
        if isinstance(statement, For) and statement.kind in BOUND:
            yield statement
        else:
            for part in nested(statement):
                yield from _nests(part)


def _is_around_phases(loop: For) -> bool:
    """Rather than a loop of a warp."""
    return any(nest.kind != "lane" for nest in _nests(loop.body))


def _can_be_made_before(read: Touch) -> bool:
    """Under the same conditions, in the loops that its place depends on alone."""
    left_out = {s.variable for s in read.around if isinstance(s, For)} - {loop.variable for loop in read.loops}
    known = not any(s is UNKNOWN for s in read.around)
    return known and not any(variables_read(condition) & left_out for condition in read.conditions)


def _count(read: Touch) -> int:
    """How many elements it is, through its loops."""
    return math.prod(len(range(loop.start, loop.stop, loop.step)) for loop in read.loops)


def _launch(loop: For, program: Program, names: Names, gpu: Gpu) -> Launch:
    written = {s.buffer for s in walk(loop.body) if isinstance(s, Store)}
    written |= {other for pair in program.aliased for other in pair if written & set(pair)}
    room = _room(loop, gpu)
    registers, ahead = _KEPT - _accumulators(loop), _AHEAD
    before: list[Statement] = []
    early: list[Statement] = []
    times = {loop.variable, *(s.variable for s in walk(loop.body) if isinstance(s, For) and s.kind == "serial" and _is_around_phases(s))}
    for nest in _nests(loop.body):
        blocks = bound_nest(nest)
        phases = blocks[-1].body
        for place, phase in enumerate(phases):
            whole = parts_of(phase)
            if not whole:
                continue
            _cut(whole[0].warps[-1].body, written, times, registers, room, names)
            reads = [(read, part) for part in parts_of(phase) for read in _reads(part.body, part.repeats) if read.buffer not in written]
            home = {(read.buffer, read.index): part for read, part in reads}
            made = made_of_loads(phase)
            kept: dict[tuple[Buffer, Index], Load] = {}
            done: set[Buffer] = set()
            fills: dict[tuple[bool, tuple[int, ...]], tuple[Part, Touch, list[Statement]]] = {}
            for read in _distinct(read for read, _ in reads):
                part = home[read.buffer, read.index]
                warps, lanes = part.warps, part.lanes
                known = {item.variable for item in (*blocks, *warps, *lanes)}
                variables = read.index.variables() - known - {item.variable for item in read.loops}
                if not variables <= times:
                    continue
                size = _count(read) * words(read.buffer.dtype)
                nbytes = _count(read) * WARPS * WARP * max(4, read.buffer.dtype.itemsize)
                space = "register"
                if not variables and size <= registers:
                    registers -= size
                elif not variables and nbytes <= room:
                    room, space = room - nbytes, "shared"
                elif variables == {loop.variable} and size <= ahead:
                    ahead -= size
                else:
                    continue
                value: Expression = Load(read.buffer, read.index)
                is_made = not variables and (read.buffer, read.index) in made
                if is_made:
                    value = made[read.buffer, read.index]
                kept[read.buffer, read.index] = copy = _copy(read, value.dtype, space, blocks, warps, lanes, names)
                if is_made:
                    done.add(copy.buffer)
                key = (not variables, (id(part), *map(id, (*read.around, *read.loops))))
                fills.setdefault(key, (part, read, []))[2].append(Store(copy.buffer, copy.index, value))
            for (unchanging, _), (part, read, stores) in fills.items():
                fill = _nest(blocks, part.warps, part.lanes, _around(read, stores))
                (before if unchanging else early).append(Kernel(names("keep_" if unchanging else "ahead_"), [fill]))
            if kept:
                phases[place] = with_copies(phase, kept, done)
    loop.body[:0] = early
    after = _keep_carries(loop, before, registers, names)
    return Launch("", 0, 0, [*before, loop, *after], cooperative=True, exact=True)


def _accumulators(loop: For) -> int:
    """The most registers that a nest of blocks has already: for what goes from phase to phase, and for the largest phase."""
    most = 0
    for nest in _nests(loop.body):
        phases = [{b for s in walk([phase]) for b in buffers_of(s) if b.space == "register"} for phase in bound_nest(nest)[-1].body]
        count = Counter(buffer for buffers in phases for buffer in buffers)
        sizes = {buffer: buffer.size // buffer.copies * words(buffer.dtype) for buffer in count}
        own = max((sum(sizes[b] for b in buffers if count[b] == 1) for buffers in phases), default=0)
        most = max(most, own + sum(sizes[b] for b in count if count[b] > 1))
    return most


def _cut(body: list[Statement], written: set[Buffer], times: set[str], registers: int, room: int, names: Names) -> None:
    """Cut the loops of a thread where what they read of what never changes ceases to fit the registers, and then the shared memory."""
    for place, statement in reversed(list(enumerate(body))):
        if isinstance(statement, If):
            _cut(statement.then, written, times, registers, room, names)
        if isinstance(statement, For) and statement.kind == "lane":
            _cut(statement.body, written, times, registers, room, names)
        if not isinstance(statement, For) or statement.kind != "serial":
            continue
        if any(isinstance(inner, For) and inner.kind not in BOUND for inner in walk(statement.body)):
            _cut(statement.body, written, times, registers, room, names)
            continue
        reads = {(r.buffer, r.index) for r in _reads([statement]) if r.buffer not in written and len(r.loops) == 1}
        size = sum(words(buffer.dtype) for buffer, index in reads if not index.variables() & times)
        if not size:
            continue
        steps = statement.stop - statement.start
        # What does not fit is read by runs, if its steps are neighbours, and they take registers as well.
        run = LONGEST_RUN if any(index.coefficient(statement.variable) == 1 for _, index in reads) else 1
        spare = 2 * run if run > 1 else 0
        first = statement.start + (steps if registers >= size * steps else _whole_runs(registers // size - spare, run))
        steps = statement.stop - first
        fitting = room // (size * WARPS * WARP * 4)
        second = first + (steps if fitting >= steps else _whole_runs(fitting, run))
        if first == statement.stop:
            continue
        pieces: list[Statement] = []
        for start, stop in ((statement.start, first), (first, second), (second, statement.stop)):
            if stop > start:
                variable = names("s")
                inside = substitute(statement.body, {statement.variable: Index.variable(variable)})
                pieces.append(replace(statement, variable=variable, start=start, stop=stop, body=inside))
        body[place : place + 1] = pieces


def _whole_runs(count: int, run: int) -> int:
    """As many of so many steps as let what is left begin where a run of neighbours does."""
    return max(0, count) // run * run


def _keep_carries(loop: For, before: list[Statement], registers: int, names: Names) -> list[Statement]:
    """Elements of the arena that one thread alone reads and writes, at one place in all steps, become registers of it; returns what
    puts them back behind the loop."""
    after: list[Statement] = []
    for buffer in list(_places(loop.body)):
        # What has become of the phases since.
        found = _places(loop.body)[buffer]
        indices, nests = {index for index, _, _ in found}, {id(nest) for _, _, nest in found}
        size = words(buffer.dtype)
        if buffer.space != "arena" or len(indices) != 1 or len(nests) != 1 or registers < size:
            continue
        (index,), nest = indices, found[0][2]
        phases = list({id(phase): phase for _, phase, _ in found}.values())
        threads = _same_threads(phases)
        if threads is None:
            continue
        blocks, (warps, lanes) = bound_nest(nest), threads
        around = (*blocks, *warps, *lanes)
        guards = _guards(phases, buffer)
        if guards is None or index.variables() - {item.variable for item in around} or not _own(index, around):
            continue
        registers -= size
        read = Touch(buffer, index, False, guards)
        own = _copy(read, buffer.dtype, "register", blocks, warps, lanes, names)
        load, put = Store(own.buffer, own.index, Load(buffer, index)), Store(buffer, index, own)
        before.append(Kernel(names("keep_"), [_nest(blocks, warps, lanes, _around(read, [load]))]))
        after.append(Kernel(names("put_"), [_nest(blocks, warps, lanes, _around(read, [put]))]))
        blocks[-1].body[:] = [
            with_copies(part, {(buffer, index): own}) if any(part is phase for phase in phases) else part for part in blocks[-1].body
        ]
    return after


def _places(body: Sequence[Statement]) -> dict[Buffer, list[tuple[Index, Statement, For]]]:
    """Of each buffer that phases store into, all places where it is touched, with the phase and its nest of blocks."""
    found: dict[Buffer, list[tuple[Index, Statement, For]]] = {}
    stored: set[Buffer] = set()
    for nest in _nests(body):
        for phase in bound_nest(nest)[-1].body:
            for touch in touches([phase]):
                found.setdefault(touch.buffer, []).append((touch.index, phase, nest))
                stored.update({touch.buffer} if touch.writes else ())
    # What is read elsewhere, by a condition say, is read there.
    inside = {id(s) for nest in _nests(body) for s in walk([nest])}
    for statement in walk(body):
        if id(statement) not in inside:
            stored -= set(buffers_of(statement))
    return {buffer: places for buffer, places in found.items() if buffer in stored}


def _own(index: Index, loops: Sequence[For]) -> bool:
    """Different threads have different places: the loops' strides are those of a mixed number, in some order."""
    strides = sorted((abs(index.coefficient(loop.variable)), loop.stop) for loop in loops if loop.stop > 1)
    reach = 0
    for stride, extent in strides:
        if stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True


def _same_threads(phases: Sequence[Statement]) -> tuple[list[For], list[For]] | None:
    """The loops over warps and lanes of phases, if they are those of the same threads by the same names."""
    found = [threads_of(phase) for phase in phases]
    first = found[0]
    names = {None if threads is None else tuple((loop.variable, loop.stop) for loop in (*threads[0], *threads[1])) for threads in found}
    return first if len(names) == 1 else None


def _guards(phases: Sequence[Statement], buffer: Buffer) -> tuple[If, ...] | None:
    """The conditions around all that touches a buffer; None if they are not the same, or not known, or loops are among them."""
    around = [touch.around for touch in touches(phases) if touch.buffer is buffer]
    if any(statement is UNKNOWN or not isinstance(statement, If) for inside in around for statement in inside):
        return None
    alike = len({tuple(statement.condition for statement in inside if isinstance(statement, If)) for inside in around}) == 1
    return tuple(statement for statement in around[0] if isinstance(statement, If)) if alike else None


def _reads(body: Sequence[Statement], around: tuple[For, ...] = ()) -> Iterator[Touch]:
    """The loads from memory."""
    return (touch for touch in touches(body, around) if not touch.writes and touch.buffer.space not in ("register", "shared"))


def _distinct(reads: Iterable[Touch]) -> list[Touch]:
    """Each once, the first pieces of loops first, and those of many elements; without those that stand under different conditions."""
    found: dict[tuple[Buffer, Index], list[Touch]] = {}
    for read in reads:
        found.setdefault((read.buffer, read.index), []).append(read)
    alike = [same[0] for same in found.values() if len({tuple(map(id, read.around)) for read in same}) == 1]
    before = [read for read in alike if _can_be_made_before(read)]
    return sorted(before, key=lambda read: (max((loop.start for loop in read.loops), default=0), -_count(read)))


def _copy(
    read: Touch, dtype: np.dtype, space: str, blocks: Sequence[For], warps: Sequence[For], lanes: Sequence[For], names: Names
) -> Load:
    """What takes the place of a load, or of what is made of it."""
    slot, size = Index(), 1
    for loop in reversed(read.loops):
        slot = slot + (Index.variable(loop.variable) + (-loop.start)) * size
        size *= loop.stop - loop.start
    block, thread, threads = number_of(blocks), thread_number(warps, lanes), WARPS * WARP
    count = math.prod(loop.stop for loop in blocks)
    if space == "register":
        place, copies = (block * threads + thread) * size + slot, count * threads
    else:
        # Neighbouring threads read neighbours.
        place, copies = block * (threads * size) + slot * threads + thread, count
    prefix = "kept_" if space == "register" else "near_"
    return Load(Buffer(names(prefix), dtype, count * threads * size, space, copies=copies), place)


def _around(read: Touch, stores: list[Statement]) -> list[Statement]:
    """The stores in the loops and under the conditions of a read. Registers have no address: the loops are unrolled."""
    body = stores
    for statement in reversed(read.around):
        if isinstance(statement, If):
            body = [If(statement.condition, body, [])]
        elif any(statement is loop for loop in read.loops):
            body = [replace(statement, kind="unrolled", body=body)]
    return body


def _nest(blocks: Sequence[For], warps: Sequence[For], lanes: Sequence[For], body: list[Statement]) -> Statement:
    for kind, loops in (("lane", lanes), ("warp", warps), ("block", blocks)):
        body = bound(kind, [Loop(loop.variable, loop.stop) for loop in loops], body)
    return body[0]
