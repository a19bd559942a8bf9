"""Groups that go through the same rows, one after the other, as one kernel: a softmax, a layer norm.

Before -> after, blocks having some rows and lanes every 32nd column:

    block { m = max(x[row]) }  block { y[row] = exp(x[row] - m) }  block { s = sum(y[row]) }  block { z[row] = y[row] / s }

    block { kept = x[row]; m = max(kept); kept_y = exp(kept - m); s = sum(kept_y); z[row] = kept_y / s }

What a thread alone reads and writes in several of them, it keeps in registers: each element is read and written once. Numbers for each row,
which a block alone makes and reads, stay in its shared memory. Groups of one step of a loop become one kernel in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.meetings import BLOCK, Access, Context, accesses, distinct, meeting
from irdl.codegen.cuda.registers import Touch, thread_number, threads_of, touches, with_copies, words
from irdl.loops.expressions import Buffer, Load
from irdl.loops.index import Index
from irdl.loops.language import For, If, Kernel, Program, Statement, Store
from irdl.loops.rewrite import Names, substitute
from irdl.loops.walk import bound_nest, buffers_of, nested, variables_read, walk

#: registers of a thread for its part of rows, and bytes of shared memory for what there is one of for each
_KEPT, _OF_BLOCK = 96, 1024


def merge_rows(program: Program) -> Program:
    """Make one kernel of neighbours whose blocks have the same rows, and keep in registers what threads alone touch, in place."""
    names = Names(program)
    merged: list[tuple[Kernel, frozenset[str]]] = []
    _merge(program.body, {other for pair in program.aliased for other in pair}, merged, frozenset())
    used = Counter(b for s in walk(program.body) for b in set(buffers_of(s)))
    for kernel, times in merged:
        inside = Counter(b for s in walk([kernel]) for b in set(buffers_of(s)))
        outside = {buffer for buffer, count in inside.items() if used[buffer] > count}
        _keep(kernel, times, outside, names)
        _keep_in_block(kernel, outside, names)
    return program


def _merge(body: list[Statement], same: set[Buffer], merged: list[tuple[Kernel, frozenset[str]]], times: frozenset[str]) -> None:
    """Make one of neighbours in the body, and in the loops in it; `merged` gets what has become of several, with the variables of the
    loops around it."""
    result: list[Statement] = []
    for statement in body:
        if not isinstance(statement, Kernel):
            around = times | ({statement.variable} if isinstance(statement, For) else set())
            for part in nested(statement):
                _merge(part, same, merged, around)
        place = _joined(result, statement, same) if isinstance(statement, Kernel) else None
        if place is None:
            result.append(statement)
            continue
        before = result[place]
        assert isinstance(before, Kernel) and isinstance(statement, Kernel)
        result[place] = kernel = _one_of(before, statement)
        merged[:] = [*(other for other in merged if other[0] is not before), (kernel, times)]
    body[:] = result


def _joined(before: Sequence[Statement], kernel: Kernel, same: set[Buffer]) -> int | None:
    """Which of the statements the kernel may be one with: the last, or one behind which nothing has to do with what the kernel touches."""
    mine = _touched(kernel)
    for place, statement in reversed(list(enumerate(before))):
        if not isinstance(statement, Kernel):
            return None
        if _are_alike(statement, kernel, same):
            return place
        its = _touched(statement)
        touched = mine.keys() & its.keys()
        if any(mine[buffer] or its[buffer] for buffer in touched) or same & (mine.keys() | its.keys()):
            return None
    return None


def _touched(kernel: Kernel) -> dict[Buffer, bool]:
    """The buffers that a kernel touches, and whether it writes them."""
    found = {buffer: False for s in walk(kernel.body) for buffer in buffers_of(s) if buffer.space != "constant"}
    return found | {s.buffer: True for s in walk(kernel.body) if isinstance(s, Store)}


def _nest_of(kernel: Kernel) -> For | None:
    nest = kernel.body[0] if len(kernel.body) == 1 else None
    return nest if isinstance(nest, For) and nest.kind == "block" else None


def _are_alike(first: Kernel, second: Kernel, same: set[Buffer]) -> bool:
    """Both are nests over the same blocks, and no block needs what another has."""
    one, two = _nest_of(first), _nest_of(second)
    if one is None or two is None or [x.stop for x in bound_nest(one)] != [x.stop for x in bound_nest(two)]:
        return False
    touched = [distinct(accesses([nest], Context())) for nest in (one, two)]
    if any(access.buffer in same for part in touched for access in part):
        return False
    pairs = [
        (a, b) for a in touched[0] for b in touched[1] if a.buffer is b.buffer and (a.writes or b.writes) and a.buffer.space != "shared"
    ]
    return bool(pairs) and all(meeting(a, b, None, False) <= BLOCK for a, b in pairs)


def _one_of(first: Kernel, second: Kernel) -> Kernel:
    one, two = _nest_of(first), _nest_of(second)
    assert one is not None and two is not None
    mine, its = bound_nest(one), bound_nest(two)
    renamed = {b.variable: Index.variable(a.variable) for a, b in zip(mine, its, strict=True)}
    body: list[Statement] = [*mine[-1].body, *substitute(its[-1].body, renamed)]
    for loop in reversed(mine):
        body = [replace(loop, body=body)]
    return Kernel(first.name, body, False, first.where or second.where)


def _keep(kernel: Kernel, times: frozenset[str], outside: set[Buffer], names: Names) -> None:
    """Keep in registers what phases of the kernel touch in the same threads; `outside`: what other kernels touch too."""
    nest = _nest_of(kernel)
    assert nest is not None
    phases = bound_nest(nest)[-1].body
    leader = next((phase for phase in phases if (shape := _shape(phase)) is not None and shape[1] == (WARP,)), None)
    threads = None if leader is None else threads_of(leader)
    if threads is None:
        return
    # All phases of its shape by its names.
    warps, lanes = threads
    for place, phase in enumerate(phases):
        others = threads_of(phase)
        if phase is not leader and others is not None and _shape(phase) == _shape(leader):
            renamed = {b.variable: a.variable for a, b in zip((*warps, *lanes), (*others[0], *others[1]), strict=True)}
            phases[place] = _renamed(phase, renamed)
    found: dict[Buffer, list[tuple[int, Touch]]] = {}
    for number, phase in enumerate(phases):
        for touch in touches([phase]):
            found.setdefault(touch.buffer, []).append((number, touch))
    bound = {loop.variable for loop in (*bound_nest(nest), *warps, *lanes)} | times
    left = _KEPT
    fills: list[Statement] = []
    for buffer, of_phases in found.items():
        writes = any(touch.writes for _, touch in of_phases)
        places = {number for number, _ in of_phases}
        if buffer.space in ("shared", "register") or len(places) < 2 or any(_shape(phases[n]) != _shape(leader) for n in places):
            continue
        parts = _parts(of_phases, bound)
        if parts is None or (writes and (buffer in outside or buffer.space != "arena" or not _written_before_read(parts))):
            continue
        size = max(part.last for part in parts) + 1
        if size * words(buffer.dtype) > left:
            continue
        left -= size * words(buffer.dtype)
        own = Buffer(names("kept_"), buffer.dtype, WARPS * WARP * size, "register", copies=WARPS * WARP)
        copies = {(buffer, part.touch.index): Load(own, thread_number(warps, lanes) * size + part.place) for part in parts}
        if not writes:
            fills += _fill(parts, copies, warps, lanes)
        for place in places:
            phases[place] = with_copies(phases[place], copies)
    phases[:0] = fills


def _keep_in_block(kernel: Kernel, outside: set[Buffer], names: Names) -> None:
    """Keep in shared memory what a block alone makes and reads, if it is little: the numbers of its rows."""
    nest = _nest_of(kernel)
    assert nest is not None
    blocks = {loop.variable for loop in bound_nest(nest)}
    phases = bound_nest(nest)[-1].body
    found: dict[Buffer, list[Access]] = {}
    for access in accesses([nest], Context()):
        found.setdefault(access.buffer, []).append(access)
    copies: dict[tuple[Buffer, Index], Load] = {}
    for buffer, touched in found.items():
        if buffer.space != "arena" or buffer in outside:
            continue
        size = 0
        bases = set()
        for access in touched:
            extents = {loop.variable: loop.stop for loop in access.loops}
            own = [(name, factor) for name, factor in access.index.terms if name not in blocks]
            if any(factor < 0 or name not in extents for name, factor in own):
                break
            bases.add(Index(0, tuple((name, factor) for name, factor in access.index.terms if name in blocks)))
            size = max(size, 1 + access.index.constant + sum(factor * (extents[name] - 1) for name, factor in own))
        else:
            if len(bases) == 1 and 0 <= size * buffer.dtype.itemsize <= _OF_BLOCK and all(a.index.constant >= 0 for a in touched):
                (base,) = bases
                shared = Buffer(names("row_"), buffer.dtype, size, "shared")
                copies.update({(buffer, access.index): Load(shared, access.index + base * -1) for access in touched})
    if copies:
        phases[:] = [with_copies(phase, copies) for phase in phases]


def _shape(phase: Statement | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How many warps and lanes a phase is dealt to, one step each."""
    threads = None if phase is None else threads_of(phase)
    return None if threads is None else (tuple(w.stop for w in threads[0]), tuple(x.stop for x in threads[1]))


def _renamed(phase: Statement, names: dict[str, str]) -> Statement:
    (result,) = substitute([phase], {old: Index.variable(new) for old, new in names.items()})
    for statement in walk([result]):
        if isinstance(statement, For) and statement.variable in names:
            statement.variable = names[statement.variable]
    return result


@dataclass(frozen=True)
class _Part:
    """An access of a phase, and which of a thread's registers it is, from the first to the last."""

    phase: int
    touch: Touch
    place: Index
    first: int
    last: int

    def is_in(self, other: _Part) -> bool:
        """What this one touches, the other has touched: no condition is asked there that is not asked here."""
        return other.first <= self.first and self.last <= other.last and {*other.touch.conditions} <= {*self.touch.conditions}


def _parts(of_phases: Sequence[tuple[int, Touch]], bound: set[str]) -> list[_Part] | None:
    """The accesses of a buffer; None if threads do not have places of their own in it, the same in all phases."""
    strides: set[int] = set()
    bases: set[Index] = set()
    length = _run_length([touch for _, touch in of_phases])
    for _, touch in of_phases:
        steps, _ = _steps_and_run(touch, length)
        own = {loop.variable for loop in touch.loops}
        conditions = {name for condition in touch.conditions for name in variables_read(condition)}
        if len(steps) > 1 or touch.index.variables() - bound - own or conditions - bound or conditions & own:
            return None
        for loop in touch.loops:
            if (loop.start, loop.step) != (0, 1):
                return None
        strides.update(touch.index.coefficient(loop.variable) for loop in steps)
        bases.add(Index(0, tuple((name, c) for name, c in touch.index.terms if name in bound)))
    start = min(touch.index.constant for _, touch in of_phases)
    offsets = {touch.index.constant - start for _, touch in of_phases} - {0}
    step = min(strides or offsets, default=0)
    if len(strides) > 1 or len(bases) != 1 or step < 0 or (step and step < length):
        return None
    parts = []
    for phase, touch in of_phases:
        offset = touch.index.constant - start
        if offset and (not step or offset % step):
            return None
        steps, run = _steps_and_run(touch, length)
        first = last = length * (offset // step) if offset else 0
        place = Index(first)
        for loop, each in [*((loop, length) for loop in steps), *((loop, 1) for loop in run)]:
            place, last = place + Index.variable(loop.variable, each), last + each * (loop.stop - 1)
        parts.append(_Part(phase, touch, place, first, last))
    return parts


def _run_length(touched: Sequence[Touch]) -> int:
    """Neighbours that threads take at once, if they always take as many."""
    runs = {tuple(loop.stop for loop in touch.loops if _is_over_run(touch, loop)) for touch in touched}
    return runs.pop()[0] if len(runs) == 1 and len(next(iter(runs))) == 1 else 1


def _is_over_run(touch: Touch, loop: For) -> bool:
    return loop.kind == "unrolled" and touch.index.coefficient(loop.variable) == 1


def _steps_and_run(touch: Touch, length: int) -> tuple[list[For], list[For]]:
    """The loops that move an access by runs, and in one."""
    run = [loop for loop in touch.loops if length > 1 and _is_over_run(touch, loop)]
    return [loop for loop in touch.loops if loop not in run], run


def _written_before_read(parts: Sequence[_Part]) -> bool:
    """Every read is of what the same thread has written in an earlier phase."""
    writes = [part for part in parts if part.touch.writes]
    reads = [part for part in parts if not part.touch.writes]
    return all(any(read.is_in(write) and write.phase < read.phase for write in writes) for read in reads)


def _fill(
    parts: Sequence[_Part], copies: Mapping[tuple[Buffer, Index], Load], warps: Sequence[For], lanes: Sequence[For]
) -> list[Statement]:
    """What reads a thread's part of rows before all phases, each element once."""
    body: list[Statement] = []
    done: list[_Part] = []
    for part in sorted(parts, key=lambda part: (len({*part.touch.conditions}), part.first - part.last)):
        if any(part.is_in(other) for other in done):
            continue
        done.append(part)
        touch = part.touch
        copy = copies[touch.buffer, touch.index]
        statements: list[Statement] = [Store(copy.buffer, copy.index, Load(touch.buffer, touch.index))]
        for loop in reversed(touch.loops):
            statements = [replace(loop, kind="unrolled", body=statements)]
        for condition in reversed(touch.conditions):
            statements = [If(condition, statements, [])]
        body += statements
    for loop in reversed([*warps, *lanes]):
        body = [replace(loop, body=body)]
    return body
