"""Groups that go through the same rows, one after the other, as one kernel: a softmax, a layer norm.

Before -> after, blocks having some rows and lanes every 32nd column:

    block { m = max(x[row]) }  block { y[row] = exp(x[row] - m) }  block { s = sum(y[row]) }  block { z[row] = y[row] / s }

    block { kept = x[row]; m = max(kept); kept_y = exp(kept - m); s = sum(kept_y); z[row] = kept_y / s }

What a thread alone reads and writes in several of them, it keeps in registers: each element is read and written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.meetings import BLOCK, Context, accesses, distinct, meeting
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, If, Kernel, Load, Program, Statement, Store, Variable
from irdl.loops.rewrite import Names, rewrite, substitute
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, variables_read, walk

#: registers of a thread for its part of rows
_KEPT = 96
#: the other side of a condition, which nothing is known of
_OTHERWISE = If(Variable("?", np.dtype(bool)), [], [])


def merge_rows(program: Program) -> Program:
    """Make one kernel of neighbours whose blocks have the same rows, and keep in registers what threads alone touch, in place."""
    names = Names(program)
    same = {other for pair in program.aliased for other in pair}
    body: list[Statement] = []
    merged: list[Kernel] = []
    for statement in program.body:
        before = body[-1] if body else None
        if isinstance(before, Kernel) and isinstance(statement, Kernel) and _are_alike(before, statement, same):
            body[-1] = _one_of(before, statement)
            merged = [kernel for kernel in merged if kernel is not before] + [body[-1]]  # type: ignore[list-item]
        else:
            body.append(statement)
    program.body = body
    for kernel in merged:
        outside = {b for other in body if other is not kernel for s in walk([other]) for b in buffers_of(s)}
        _keep(kernel, outside, names)
    return program


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


@dataclass(frozen=True)
class _Touch:
    """One access of a phase, and what is around it there."""

    buffer: Buffer
    index: Index
    writes: bool
    around: tuple[For | If, ...]
    phase: int

    @property
    def conditions(self) -> frozenset[Expression]:
        return frozenset(statement.condition for statement in self.around if isinstance(statement, If))

    @property
    def loop(self) -> For | None:
        """The loop of a thread that the place depends on; the innermost of those."""
        loops = [s for s in self.around if isinstance(s, For) and self.index.coefficient(s.variable)]
        return loops[-1] if loops else None


def _keep(kernel: Kernel, outside: set[Buffer], names: Names) -> None:
    """Keep in registers what phases of the kernel touch in the same threads; `outside`: what other kernels touch too."""
    nest = _nest_of(kernel)
    assert nest is not None
    phases = bound_nest(nest)[-1].body
    leader = next((phase for phase in phases if (shape := _shape(phase)) is not None and shape[1] == (WARP,)), None)
    if leader is None:
        return
    # All phases of its shape by its names.
    warps, lanes = _threads(leader)
    for place, phase in enumerate(phases):
        if phase is not leader and _shape(phase) == _shape(leader):
            other_warps, other_lanes = _threads(phase)
            renamed = {b.variable: a.variable for a, b in zip((*warps, *lanes), (*other_warps, *other_lanes), strict=True)}
            phases[place] = _renamed(phase, renamed)
    found: dict[Buffer, list[_Touch]] = {}
    for number, phase in enumerate(phases):
        for touch in _touches([phase], (), number):
            found.setdefault(touch.buffer, []).append(touch)
    bound = {loop.variable for loop in (*bound_nest(nest), *warps, *lanes)}
    left = _KEPT
    fills: list[Statement] = []
    for buffer, touches in found.items():
        writes = any(touch.writes for touch in touches)
        if buffer.space in ("shared", "register") or len({touch.phase for touch in touches}) < 2:
            continue
        if any(_shape(phases[touch.phase]) != _shape(leader) for touch in touches):
            continue
        parts = _parts(touches, bound)
        if parts is None or (writes and (buffer in outside or buffer.space != "arena" or not _written_before_read(parts))):
            continue
        size = max(part.last for part in parts) + 1
        if size * max(1, buffer.dtype.itemsize // 4) > left:
            continue
        left -= size * max(1, buffer.dtype.itemsize // 4)
        own = Buffer(names("kept_"), buffer.dtype, WARPS * WARP * size, "register", copies=WARPS * WARP)
        moved = {part.touch.index: _thread(warps, lanes) * size + part.place for part in parts}
        if not writes:
            fills += _fill(parts, moved, own, warps, lanes)
        for place in {touch.phase for touch in touches}:
            phases[place] = _with(phases[place], buffer, own, moved)
    phases[:0] = fills


def _shape(phase: Statement) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """How many warps and lanes a phase is dealt to, one step each."""
    if not (isinstance(phase, For) and phase.kind == "warp"):
        return None
    warps, lanes = _threads(phase)
    if not lanes or math.prod(w.stop for w in warps) > WARPS or math.prod(x.stop for x in lanes) > WARP:
        return None
    return tuple(w.stop for w in warps), tuple(x.stop for x in lanes)


def _threads(phase: Statement) -> tuple[list[For], list[For]]:
    assert isinstance(phase, For)
    warps = bound_nest(phase)
    inner = warps[-1].body
    lanes = bound_nest(inner[0]) if len(inner) == 1 and isinstance(inner[0], For) and inner[0].kind == "lane" else []
    return warps, lanes


def _thread(warps: Sequence[For], lanes: Sequence[For]) -> Index:
    """The number of a thread in its block."""
    index, stride = Index.variable(lanes[0].variable), WARP
    for loop in reversed(warps):
        index = index + (Index.variable(loop.variable, stride) if loop.stop > 1 else Index())
        stride *= loop.stop
    return index


def _renamed(phase: Statement, names: dict[str, str]) -> Statement:
    (result,) = substitute([phase], {old: Index.variable(new) for old, new in names.items()})
    for statement in walk([result]):
        if isinstance(statement, For) and statement.variable in names:
            statement.variable = names[statement.variable]
    return result


def _touches(body: Sequence[Statement], around: tuple[For | If, ...], phase: int) -> Iterator[_Touch]:
    for statement in body:
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    yield _Touch(item.buffer, item.index, False, around, phase)
        if isinstance(statement, Store):
            yield _Touch(statement.buffer, statement.index, True, around, phase)
        if isinstance(statement, If):
            yield from _touches(statement.then, (*around, statement), phase)
            yield from _touches(statement.otherwise, (*around, _OTHERWISE), phase)
            continue
        inside = (*around, statement) if isinstance(statement, For) and statement.kind in ("serial", "unrolled") else around
        for part in nested(statement):
            yield from _touches(part, inside, phase)


@dataclass(frozen=True)
class _Part:
    """An access, and which of a thread's registers it is, from the first to the last."""

    touch: _Touch
    place: Index
    first: int
    last: int

    def is_in(self, other: _Part) -> bool:
        """What this one touches, the other has touched: no condition is asked there that is not asked here."""
        return other.first <= self.first and self.last <= other.last and other.touch.conditions <= self.touch.conditions


def _parts(touches: Sequence[_Touch], bound: set[str]) -> list[_Part] | None:
    """The accesses of a buffer; None if threads do not have places of their own in it, the same in all phases."""
    strides, bases = set(), set()
    for touch in touches:
        loop = touch.loop
        own = {loop.variable} if loop is not None else set()
        conditions = {name for condition in touch.conditions for name in variables_read(condition)}
        if (touch.index.variables() | conditions) - bound - own or conditions & own:
            return None
        if any(isinstance(item, Load) for condition in touch.conditions for item in subexpressions(condition)):
            return None
        if loop is not None:
            if (loop.start, loop.step) != (0, 1):
                return None
            strides.add(touch.index.coefficient(loop.variable))
        bases.add(Index(0, tuple((name, c) for name, c in touch.index.terms if name in bound)))
    step = min(strides, default=0)
    if len(strides) > 1 or len(bases) != 1 or step < 0:
        return None
    start = min(touch.index.constant for touch in touches)
    parts = []
    for touch in touches:
        offset = touch.index.constant - start
        if offset and (not step or offset % step):
            return None
        first = offset // step if offset else 0
        loop = touch.loop
        place = Index(first) + (Index.variable(loop.variable) if loop is not None else Index())
        parts.append(_Part(touch, place, first, first + (loop.stop - 1 if loop is not None else 0)))
    return parts


def _written_before_read(parts: Sequence[_Part]) -> bool:
    """Every read is of what the same thread has written in an earlier phase."""
    writes = [part for part in parts if part.touch.writes]
    reads = [part for part in parts if not part.touch.writes]
    return all(any(read.is_in(write) and write.touch.phase < read.touch.phase for write in writes) for read in reads)


def _fill(parts: Sequence[_Part], moved: dict[Index, Index], own: Buffer, warps: Sequence[For], lanes: Sequence[For]) -> list[Statement]:
    """What reads a thread's part of rows before all phases, each element once."""
    body: list[Statement] = []
    done: list[_Part] = []
    for part in sorted(parts, key=lambda part: (len(part.touch.conditions), part.first - part.last)):
        if any(part.is_in(other) for other in done):
            continue
        done.append(part)
        touch = part.touch
        statements: list[Statement] = [Store(own, moved[touch.index], Load(touch.buffer, touch.index))]
        if touch.loop is not None:
            statements = [replace(touch.loop, kind="unrolled", body=statements)]
        for condition in touch.conditions:
            statements = [If(condition, statements, [])]
        body += statements
    for loop in reversed([*warps, *lanes]):
        body = [replace(loop, body=body)]
    return body


def _with(phase: Statement, buffer: Buffer, own: Buffer, moved: dict[Index, Index]) -> Statement:
    """The phase with what it touches of a buffer in registers, whose loops are unrolled."""

    def leaf(old: Expression) -> Expression:
        return Load(own, moved[old.index]) if isinstance(old, Load) and old.buffer is buffer else old

    (result,) = rewrite([phase], leaf, lambda b, index: moved[index] if b is buffer else index)
    unrolled = {name for index in moved.values() for name in index.variables()}
    for statement in walk([result]):
        if isinstance(statement, Store) and statement.buffer is buffer:
            statement.buffer = own
        if isinstance(statement, For) and statement.kind == "serial" and statement.variable in unrolled:
            statement.kind = "unrolled"
    return result
