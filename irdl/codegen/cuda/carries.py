"""What a thread passes on to itself from step to step of a loop over time, and from phase to phase of a step, stays in its registers.

Elements that one thread alone reads and writes become registers. What others read as well goes to memory too, but is not read there by the
thread that has put it there:

    for t { block b { lane l { x[t + 1, l] = f(x[t, l]) } } }  ->  own = x[0, l]; for t { own = f(own); x[t + 1, l] = own }
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from irdl.codegen.cuda.copies import copy_of, in_loops_of
from irdl.codegen.cuda.copies import nest as nest_of
from irdl.codegen.cuda.dealing import as_guard
from irdl.codegen.cuda.registers import UNKNOWN, Touch, nests_of, threads_of, touches, with_copies, words
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import BOUND, CheckIndex, For, If, Kernel, Let, Program, Statement, Store
from irdl.loops.rewrite import Names, rebuild
from irdl.loops.walk import bound_nest, buffers_of, nested, walk

#: what fills registers before a loop, what puts them back behind it, and how many there are
Kept: TypeAlias = tuple[list[Statement], list[Statement], int]


@dataclass(frozen=True, eq=False)
class _Phase:
    """One of a nest's phases: the loops over blocks, warps and lanes whose steps are its threads, if each does one; what it touches."""

    nest: For
    statement: Statement
    loops: tuple[list[For], list[For], list[For]] | None
    touches: list[Touch]

    def replace(self, new: Statement) -> None:
        phases = bound_nest(self.nest)[-1].body
        phases[:] = [new if phase is self.statement else phase for phase in phases]


def _phases_of(nest: For) -> list[_Phase]:
    blocks = bound_nest(nest)
    found = [(phase, threads_of(phase)) for phase in blocks[-1].body]
    return [_Phase(nest, phase, threads and (blocks, *threads), list(touches([phase]))) for phase, threads in found]


def keep_carries(loop: For, program: Program, registers: int, names: Names) -> Kept:
    """Keep what threads pass on to themselves, in place, in at most so many registers of each."""
    before, after, taken = _keep_alone(loop, registers, names)
    more, count = _keep_last(loop, program, registers - taken, names)
    return [*before, *more], after, taken + count


# What nobody else reads.


def _keep_alone(loop: For, registers: int, names: Names) -> Kept:
    """Elements of the arena that one thread alone reads and writes, at one place in all steps."""
    before, after, taken = list[Statement](), list[Statement](), 0
    for buffer in list(_places(loop.body)):
        # What has become of the phases since.
        phases = _places(loop.body)[buffer]
        touching = [(phase, touch) for phase in phases for touch in phase.touches if touch.buffer is buffer]
        (first, read), size = touching[0], words(buffer.dtype)
        guards = _conditions(read)
        if buffer.space != "arena" or registers < taken + size or first.loops is None or guards is None:
            continue
        around = [inner for loops in first.loops for inner in loops]
        alike = all(
            _same_shape(first, phase)
            and _renamed(touch.index, phase, first) == _renamed(read.index, first, first)
            and _renamed_guards(_conditions(touch), phase, first) == _renamed_guards(guards, first, first)
            for phase, touch in touching
        )
        if not alike or read.index.variables() - {item.variable for item in around} or not _own(read.index, around, guards):
            continue
        taken += size
        own = copy_of(read, "register", *first.loops, names)
        load, put = Store(own.buffer, own.index, Load(buffer, read.index)), Store(buffer, read.index, own)
        before.append(Kernel(names("keep_"), [nest_of(*first.loops, in_loops_of(read, [load]))]))
        after.append(Kernel(names("put_"), [nest_of(*first.loops, in_loops_of(read, [put]))]))
        for phase in phases:
            places = {(buffer, touch.index) for touch in phase.touches if touch.buffer is buffer}
            copy = Load(own.buffer, _renamed(own.index, first, phase))
            phase.replace(with_copies(phase.statement, dict.fromkeys(places, copy)))
    return before, after, taken


def _places(body: Sequence[Statement]) -> dict[Buffer, list[_Phase]]:
    """Of each buffer that phases store into, all phases that touch it."""
    found: dict[Buffer, list[_Phase]] = {}
    stored: set[Buffer] = set()
    for nest in nests_of(body):
        for phase in _phases_of(nest):
            for touch in phase.touches:
                others = found.setdefault(touch.buffer, [])
                others += [phase] if phase not in others else []
                stored.update({touch.buffer} if touch.writes else ())
    # What is read elsewhere, by a condition say, is read there.
    inside = {id(s) for nest in nests_of(body) for s in walk([nest])}
    for statement in walk(body):
        if id(statement) not in inside:
            stored -= set(buffers_of(statement))
    return {buffer: phases for buffer, phases in found.items() if buffer in stored}


def _own(index: Index, loops: Sequence[For], guards: Sequence[tuple[Index, int]] = ()) -> bool:
    """Different steps have different places: the loops' strides are those of a mixed number, in some order. What a guard bounds counts
    as one loop."""
    strides = {loop.variable: (abs(index.coefficient(loop.variable)), loop.stop) for loop in loops if loop.stop > 1}
    for part, extent in guards:
        bounded = [loop for loop in loops if loop.variable in strides and part.coefficient(loop.variable) > 0]
        names = [loop.variable for loop in bounded]
        factor = index.coefficient(names[0]) // part.coefficient(names[0]) if names else 0
        whole = len(names) == len(part.terms) and all(index.coefficient(name) == c * factor for name, c in part.terms)
        if factor and whole and _own(part, bounded):
            strides = {name: stride for name, stride in strides.items() if name not in names}
            strides["<" + names[0]] = (abs(factor), extent - part.constant)
    reach = 0
    for stride, extent in sorted(strides.values()):
        if stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True


def alone_in_steps(loop: For, program: Program) -> set[Buffer]:
    """The buffers of which each thread reads one place in each step before it stores there, if it does, which no other thread ever touches,
    nor it in another step: what it reads may be read before others are waited for."""
    phases, found = _phases(loop), set[Buffer]()
    aliased = {buffer for pair in program.aliased for buffer in pair}
    steps = replace(loop, start=0, stop=len(range(loop.start, loop.stop, loop.step)), step=1, body=[])
    for buffer in _stores(phases):
        touching = [(phase, touch) for phase in phases for touch in phase.touches if touch.buffer is buffer]
        (phase, first), *_ = touching
        guards = _conditions(first)
        if buffer in aliased or buffer.space in ("register", "shared") or guards is None or phase.loops is None:
            continue
        alike = all(other is phase and touch.index == first.index and _conditions(touch) == guards for other, touch in touching)
        writes = [touch.writes for _, touch in touching]
        around = [steps, *(inner for loops in phase.loops for inner in loops)]
        index = first.index.substitute({loop.variable: Index.variable(loop.variable, loop.step)})
        moving = index.variables() == {inner.variable for inner in around if inner.stop > 1}
        if alike and moving and writes == sorted(writes) and _own(index, around, guards):
            found.add(buffer)
    return found


# What others read as well.


def _keep_last(loop: For, program: Program, registers: int, names: Names) -> tuple[list[Statement], int]:
    """What a thread stores, and itself reads again before it stores the next."""
    before: list[Statement] = []
    taken = 0
    phases = _phases(loop)
    aliased = {buffer for pair in program.aliased for buffer in pair}
    for buffer, stores in _stores(phases).items():
        phase, count = stores[0][0], Counter(phase.touches[number].index for phase, number in stores)
        if buffer in aliased or buffer.space in ("register", "shared") or any(other is not phase for other, _ in stores):
            continue
        for _, number in stores:
            store, size = phase.touches[number], words(buffer.dtype)
            reads = _own_reads(phases, loop, phase, number) if count[store.index] == 1 and taken + size <= registers else []
            if not reads or phase.loops is None:
                continue
            taken += size
            own = copy_of(store, "register", *phase.loops, names)
            for other, touch in reads:
                load_instead(other.statement, touch, Load(own.buffer, _renamed(own.index, phase, other)))
            other, touch = reads[0]
            if phases.index(other) <= phases.index(phase) and other.loops is not None:
                # What is there before the first step.
                at_first = Load(buffer, touch.index.substitute({loop.variable: loop.start}))
                fill = Store(own.buffer, _renamed(own.index, phase, other), at_first)
                before.append(Kernel(names("keep_"), [nest_of(*other.loops, in_loops_of(touch, [fill]))]))
            _store_too(phase.statement, store, own)
    return before, taken


def _phases(loop: For) -> list[_Phase]:
    """Those of a loop in their order; none unless each of them runs once in every step of the loop."""
    found: list[_Phase] = []
    for kernel in loop.body:
        for statement in kernel.body if isinstance(kernel, Kernel) else [kernel]:
            if not (isinstance(statement, For) and statement.kind == "block"):
                if any(isinstance(inner, For) and inner.kind in BOUND for inner in walk([statement])):
                    return []
                continue
            found += _phases_of(statement)
    return found


def _stores(phases: Sequence[_Phase]) -> dict[Buffer, list[tuple[_Phase, int]]]:
    """Of each buffer, the phases that store into it, and which of their touches do."""
    found: dict[Buffer, list[tuple[_Phase, int]]] = {}
    for phase in phases:
        for number, touch in enumerate(phase.touches):
            if touch.writes:
                found.setdefault(touch.buffer, []).append((phase, number))
    return found


def _own_reads(phases: Sequence[_Phase], loop: For, phase: _Phase, number: int) -> list[tuple[_Phase, Touch]]:
    """The loads by which threads of a phase read what they have stored themselves, of all that they store there it is the last."""
    store = phase.touches[number]
    guards, order = _conditions(store), {other: place for place, other in enumerate(phases)}
    later = {loop.variable: Index.variable(loop.variable) + loop.step}
    found: list[tuple[_Phase, Touch]] = []
    for other in phases:
        behind: dict[Index, list[bool]] = {}
        for place, touch in enumerate(other.touches):
            if touch.buffer is store.buffer and not touch.writes:
                behind.setdefault(touch.index, []).append((order[other], place) > (order[phase], number))
        for index, where in behind.items():
            alike = [touch for touch in other.touches if not touch.writes and touch.buffer is store.buffer and touch.index == index]
            if not _same_shape(phase, other) or guards is None or len(set(where)) > 1:
                continue
            here = _renamed(index, other, phase)
            moves = loop.variable in store.index.variables()
            if here != store.index if where[0] or not moves else here.substitute(later) != store.index:
                continue
            if all(_renamed_guards(_conditions(touch), other, phase) == guards for touch in alike):
                found.append((other, alike[0]))
    return found


def _conditions(touch: Touch) -> list[tuple[Index, int]] | None:
    """The guards around, if there is nothing else."""
    if any(statement is UNKNOWN or not isinstance(statement, If) for statement in touch.around):
        return None
    guards = [as_guard(condition) for condition in touch.conditions]
    return None if None in guards else [guard for guard in guards if guard is not None]


def _renamed_guards(guards: list[tuple[Index, int]] | None, old: _Phase, new: _Phase) -> list[tuple[Index, int]] | None:
    return None if guards is None else [(_renamed(index, old, new), extent) for index, extent in guards]


def _moving(phase: _Phase) -> list[list[For]]:
    return [[loop for loop in loops if loop.stop > 1] for loops in phase.loops or ()]


def _same_shape(one: _Phase, other: _Phase) -> bool:
    """Their threads have the same numbers."""
    shapes = [[[loop.stop for loop in loops] for loops in _moving(phase)] for phase in (one, other)]
    return bool(shapes[0]) and shapes[0] == shapes[1]


def _renamed(index: Index, old: _Phase, new: _Phase) -> Index:
    """The same place by the names of another phase's loops."""
    names: dict[str, Index | int] = {loop.variable: 0 for loops in old.loops or () for loop in loops}
    for mine, its in zip(_moving(old), _moving(new), strict=True):
        names.update({one.variable: Index.variable(other.variable) for one, other in zip(mine, its, strict=True)})
    return index.substitute(names)


def load_instead(phase: Statement, touch: Touch, own: Load) -> None:
    """What has taken a load's place, in place."""

    def leaf(old: Expression) -> Expression:
        return own if isinstance(old, Load) and old.buffer is touch.buffer and old.index == touch.index else old

    for statement in walk([phase]):
        if isinstance(statement, (Store, Let, CheckIndex)):
            statement.value = rebuild(statement.value, leaf)


def _store_too(phase: Statement, store: Touch, own: Load) -> None:
    """Into the register as well, in place."""
    for statement in (phase, *walk([phase])):
        for body in nested(statement):
            for place, inner in enumerate(body):
                if isinstance(inner, Store) and inner.buffer is store.buffer and inner.index == store.index:
                    body[place : place + 1] = [Store(own.buffer, own.index, inner.value), Store(inner.buffer, inner.index, own)]
                    return
