"""A loop over time whose blocks all run at once becomes one launch, in which what does not change stays with the threads that read it:
the weights of a recurrent cell are read once, and not in every step.

Before -> after:

    for t { block b { lane l { for s { acc += h[t, s] * w[s, 32 * b + l] } .. } } }

    launch { block b { lane l { for s { kept[b, l, s] = w[s, 32 * b + l] } } }
             for t { block b { lane l { for s { acc += h[t, s] * kept[b, l, s] } .. } } } }

Where nothing else is done with such a weight than an operation on it alone, a rounding say, what that gives stays instead; but floats of
16 bits stay so where their casts would have to be read in every step. A warp that multiplies matrices does so between what its lanes do by themselves, and loops over both are cut in the same places.

What a step reads of what no step writes, its part of xs, is read before the step waits for others. What does not fit the registers
lies in the block's shared memory, and what does not fit there is read in every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from irdl.codegen.cuda.block_memory import shared_buffers
from irdl.codegen.cuda.carries import alone_in_steps, keep_carries, load_instead
from irdl.codegen.cuda.copies import copy_of, count, in_loops_of, packed
from irdl.codegen.cuda.copies import nest as nest_of
from irdl.codegen.cuda.dealing import LONGEST_RUN, WARP, WARPS
from irdl.codegen.cuda.registers import (
    UNKNOWN,
    Part,
    Touch,
    made_of_loads,
    nests_of,
    parts_of,
    touches,
    with_copies,
    words,
)
from irdl.ir.dtypes import is_half
from irdl.loops.expressions import Buffer, Expression, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import BOUND, For, If, Kernel, Launch, Program, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, buffers_of, nested, variables_read, walk

#: of places that are loaded, what is made of what lies there
Made: TypeAlias = Mapping[tuple[Buffer, Index], Operation]
#: registers of a thread for what stays, and for what a step reads ahead
_KEPT, _AHEAD = 184, 32
#: bytes of a word of each thread of a block
_OF_THREADS = 4 * WARP * WARPS
#: steps of a loop for which what it streams is worth bringing into order first
_WORTH_PACKING = 8
#: bytes of shared memory that other uses, and the driver, are left
_SPARED = 2 * 1024


def keep_resident(program: Program, target: Gpu) -> Program:
    """Make launches of the loops whose blocks all run at once, in place."""
    names = Names(program)
    program.body = [
        piece
        for statement in program.body
        for piece in (
            _Launch(statement, program, names, target).statements()
            if isinstance(statement, For) and statement.kind == "serial" and _fits(statement, target)
            else [statement]
        )
    ]
    return program


def _fits(loop: For, gpu: Gpu) -> bool:
    """All that it does, blocks do that can all run at once."""
    nests = list(nests_of(loop.body))
    steps = [math.prod(item.stop for item in bound_nest(nest)) for nest in nests]
    return bool(nests) and all(nest.kind == "block" for nest in nests) and max(steps) <= gpu.multiprocessors and _room(loop, gpu) >= 0


def _room(loop: For, gpu: Gpu) -> int:
    """Bytes of shared memory that the nests of blocks leave, each of which has it for a time."""
    used = max((sum(buffer.nbytes for buffer in shared_buffers([nest])) for nest in nests_of(loop.body)), default=0)
    return gpu.shared_bytes - _SPARED - used


def _is_around_phases(loop: For) -> bool:
    """Rather than a loop of a warp."""
    return any(nest.kind != "lane" for nest in nests_of(loop.body))


def _can_be_made_before(read: Touch) -> bool:
    """Under the same conditions, in the loops that its place depends on alone."""
    left_out = {s.variable for s in read.around if isinstance(s, For)} - {loop.variable for loop in read.loops}
    known = not any(s is UNKNOWN for s in read.around)
    return known and not any(variables_read(condition) & left_out for condition in read.conditions)


class _Launch:
    """One loop on its way to a launch.

    Attributes:
        registers, ahead, room: what is free yet, registers of a thread for what stays and for what a step reads ahead, and bytes of the
            block's shared memory.
        packs, before, early: what is made before the launch, at its beginning, and at the beginning of each step.
        times: the variables that tell steps apart.
    """

    def __init__(self, loop: For, program: Program, names: Names, gpu: Gpu) -> None:
        self.loop, self.program, self.names = loop, program, names
        self.written = {s.buffer for s in walk(loop.body) if isinstance(s, Store)}
        self.written |= {other for pair in program.aliased for other in pair if self.written & set(pair)}
        self.room = _room(loop, gpu)
        self.registers, self.ahead = _KEPT - _accumulators(loop), _AHEAD
        self.packs: list[Statement] = []
        self.before, self.after, taken = keep_carries(loop, program, self.registers, names)
        self.registers -= taken
        self.alone = alone_in_steps(loop, program)
        self.early: list[Statement] = []
        inner = {s.variable for s in walk(loop.body) if isinstance(s, For) and s.kind == "serial" and _is_around_phases(s)}
        self.times = {loop.variable, *inner}

    def statements(self) -> list[Statement]:
        """The launch, and what is made before it."""
        for nest in nests_of(self.loop.body):
            blocks = bound_nest(nest)
            phases = blocks[-1].body
            for place, phase in enumerate(phases):
                phases[place] = self._phase(phase, blocks)
        self.loop.body[:0] = self.early
        return [*self.packs, Launch("", 0, 0, [*self.before, self.loop, *self.after], cooperative=True, exact=True)]

    def _phase(self, phase: Statement, blocks: Sequence[For]) -> Statement:
        """A phase of a nest of blocks that reads what stays where it stays."""
        whole = parts_of(phase)
        if not whole:
            return phase
        changing = self.written - self.alone
        narrow = _are_short(phase, changing, self.times, self.registers + self.room // _OF_THREADS)
        _cut(whole[0].warps[-1].body, self.written, self.times, self.registers, self.room, self.names, _made(phase, narrow))
        reads = [(read, part) for part in parts_of(phase) for read in _reads(part.body, part.repeats) if read.buffer not in changing]
        home = {(read.buffer, read.index): part for read, part in reads}
        made = _made(phase, narrow)
        kept: dict[tuple[Buffer, Index], Load] = {}
        done: set[Buffer] = set()
        fills: dict[tuple[bool, tuple[object, ...]], tuple[Part, Touch, list[Statement]]] = {}
        for read in _distinct(read for read, _ in reads):
            part = home[read.buffer, read.index]
            nest = blocks, part.warps, part.lanes
            variables = read.index.variables() - {loop.variable for loops in (*nest, read.loops) for loop in loops}
            if not variables <= self.times:
                continue
            operation = None if variables else made.get((read.buffer, read.index))
            value: Expression = operation or Load(read.buffer, read.index)
            space = self._space(words(value.dtype, count(read)), variables)
            if not space:
                # What is read in every step stays as narrow as it is.
                same = operation if operation is not None and operation.dtype == read.buffer.dtype else None
                pack = None if variables else self._packed(read, same, nest)
                if pack is not None:
                    kept[read.buffer, read.index] = pack
                    done.update([pack.buffer] if same else [])
                continue
            copy = copy_of(read, space, *nest, self.names, value.dtype)
            if read.buffer in self.alone:
                load_instead(phase, read, copy)
            else:
                kept[read.buffer, read.index] = copy
            done.update([copy.buffer] if operation else [])
            key = (not variables, (id(part), *map(_form, read.around), *(loop.variable for loop in read.loops)))
            fills.setdefault(key, (part, read, []))[2].append(Store(copy.buffer, copy.index, value))
        for (unchanging, _), (part, read, stores) in fills.items():
            fill = nest_of(blocks, part.warps, part.lanes, in_loops_of(read, stores))
            (self.before if unchanging else self.early).append(Kernel(self.names("keep_" if unchanging else "ahead_"), [fill]))
        return with_copies(phase, kept, done) if kept else phase

    def _space(self, size: int, variables: set[str]) -> str:
        """Where so many words of each thread stay, whose place depends on these steps; nothing where there is no room."""
        nbytes = size * _OF_THREADS
        if not variables and size <= self.registers:
            self.registers -= size
            return "register"
        if not variables and nbytes <= self.room:
            self.room -= nbytes
            return "shared"
        if variables == {self.loop.variable} and size <= self.ahead:
            self.ahead -= size
            return "register"
        return ""

    def _packed(self, read: Touch, operation: Operation | None, nest: tuple[Sequence[For], Sequence[For], Sequence[For]]) -> Load | None:
        """What is read of an array, or what an operation makes of it, from a copy in the order in which it is read; None where that does not pay."""
        if len(range(self.loop.start, self.loop.stop, self.loop.step)) < _WORTH_PACKING:
            return None
        pack = packed(read, operation or Load(read.buffer, read.index), nest, self.program, self.names)
        if pack is None:
            return None
        self.packs.append(pack[1])
        return pack[0]


def _form(statement: For | If) -> object:
    """What is the same of loops and conditions around reads that one copy of them will do for."""
    return (statement.variable, statement.start, statement.stop) if isinstance(statement, For) else statement.condition


def _accumulators(loop: For) -> int:
    """The most registers that a nest of blocks has already: for what goes from phase to phase, and for the largest phase."""
    most = 0
    for nest in nests_of(loop.body):
        phases = [{b for s in walk([phase]) for b in buffers_of(s) if b.space == "register"} for phase in bound_nest(nest)[-1].body]
        count = Counter(buffer for buffers in phases for buffer in buffers)
        sizes = {buffer: words(buffer.dtype, buffer.size // buffer.copies) for buffer in count}
        own = max((sum(sizes[b] for b in buffers if count[b] == 1) for buffers in phases), default=0)
        most = max(most, own + sum(sizes[b] for b in count if count[b] > 1))
    return most


def _made(phase: Statement, narrow: bool) -> Made:
    """What a phase makes of loads, and copies may hold instead. `narrow`: of floats of 16 bits they hold what is loaded."""
    made = made_of_loads(phase)
    return {place: operation for place, operation in made.items() if not (narrow and is_half(place[0].dtype))}


def _are_short(phase: Statement, written: set[Buffer], times: set[str], registers: int) -> bool:
    """So many registers, or words of shared memory, do not hold what a phase makes of loads of what never changes, and what it loads else."""
    reads = (read for part in parts_of(phase) for read in _reads(part.body, part.repeats) if read.buffer not in written)
    made = made_of_loads(phase)
    sizes = {
        place: words(made[place].dtype if place in made else read.buffer.dtype, count(read))
        for read in reads
        if not (place := (read.buffer, read.index))[1].variables() & times
    }
    return sum(sizes.values()) > registers


def _cut(body: list[Statement], written: set[Buffer], times: set[str], registers: int, room: int, names: Names, made: Made) -> None:
    """Cut the loops of a thread where what they read of what never changes ceases to fit the registers, and then the shared memory."""
    for place, statement in reversed(list(enumerate(body))):
        if isinstance(statement, If):
            _cut(statement.then, written, times, registers, room, names, made)
        if isinstance(statement, For) and statement.kind == "lane":
            _cut(statement.body, written, times, registers, room, names, made)
        if not isinstance(statement, For) or statement.kind != "serial":
            continue
        if any(isinstance(inner, For) and inner.kind not in BOUND for inner in _outside_lanes(statement.body)):
            _cut(statement.body, written, times, registers, room, names, made)
            continue
        reads = {(r.buffer, r.index): r for r in _reads([statement]) if r.buffer not in written and r.loops and r.loops[0] is statement}
        # Of two steps, as what they read may share registers.
        size = sum(
            words(made[place].dtype if place in made else place[0].dtype, 2 * math.prod(inner.stop for inner in read.loops[1:]))
            for place, read in reads.items()
            if not place[1].variables() & times
        )
        if not size:
            continue
        steps = statement.stop - statement.start
        # What does not fit is read by runs, and they take registers as well, if its steps are neighbours in memory. A warp's own
        # instructions are not cut so.
        run = 1 if any(isinstance(inner, For) for inner in walk(statement.body)) else LONGEST_RUN
        spare = 3 * run if any(index.coefficient(statement.variable) == 1 for _, index in reads) else 0
        first = statement.start + (steps if 2 * registers >= size * steps else _whole_runs(2 * registers // size - spare, run))
        steps = statement.stop - first
        fitting = 2 * room // (size * _OF_THREADS)
        second = first + (steps if fitting >= steps else _whole_runs(fitting, run))
        if first == statement.stop:
            continue
        bounds = ((statement.start, first, 1), (first, second, run), (second, statement.stop, run))
        body[place : place + 1] = [_steps(statement, start, stop, length, names) for start, stop, length in bounds if stop > start]


def _outside_lanes(body: Sequence[Statement]) -> Iterator[Statement]:
    """The statements of a warp."""
    for statement in body:
        yield statement
        if not (isinstance(statement, For) and statement.kind == "lane"):
            for part in nested(statement):
                yield from _outside_lanes(part)


def _steps(loop: For, start: int, stop: int, run: int, names: Names) -> For:
    """Some steps of a loop; by runs of so many neighbours if there are whole ones."""
    variable, within = names("s"), names("v")
    if run == 1 or start % run or stop % run:
        inside = substitute(loop.body, {loop.variable: Index.variable(variable)})
        return replace(loop, variable=variable, start=start, stop=stop, body=inside)
    inside = substitute(loop.body, {loop.variable: Index.variable(variable, run) + Index.variable(within)})
    return replace(loop, variable=variable, start=start // run, stop=stop // run, body=[For(within, 0, run, 1, "unrolled", inside)])


def _whole_runs(count: int, run: int) -> int:
    """As many of so many steps as let what is left begin where a run of neighbours does."""
    return max(0, count) // run * run


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
    return sorted(before, key=lambda read: (max((loop.start for loop in read.loops), default=0), -count(read)))
