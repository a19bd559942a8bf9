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

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.codegen.cuda.meetings import BLOCK, Context, accesses, distinct, meeting
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, If, Kernel, Load, Program, Statement, Store
from irdl.loops.rewrite import Names, rewrite, substitute
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, walk

#: registers of a thread for its part of rows
_KEPT = 96


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
        elsewhere = {b for s in walk(body) for b in buffers_of(s)} - {b for s in walk(kernel.body) for b in buffers_of(s)}
        outside = {b for other in body if other is not kernel for s in walk([other]) for b in buffers_of(s)}
        _keep(kernel, outside | elsewhere, names)
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
    def loop(self) -> For | None:
        """The loop of a thread that the place depends on; the innermost of those."""
        loops = [s for s in self.around if isinstance(s, For) and self.index.coefficient(s.variable)]
        return loops[-1] if loops else None


def _keep(kernel: Kernel, outside: set[Buffer], names: Names) -> None:
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
        places = _positions(touches, bound)
        if places is None or (writes and (buffer in outside or buffer.space != "arena")):
            continue
        size = max(last for _, last in places.values()) + 1
        if size * max(1, buffer.dtype.itemsize // 4) > left:
            continue
        left -= size * max(1, buffer.dtype.itemsize // 4)
        own = Buffer(names("kept_"), buffer.dtype, WARPS * WARP * size, "register", copies=WARPS * WARP)
        thread = _thread(warps, lanes) * size
        moved = {index: thread + position for index, (position, _) in places.items()}
        if not writes:
            fills += _fill([t for t in touches if t.phase == touches[0].phase], moved, own, warps, lanes)
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
        inside = (
            (*around, statement) if isinstance(statement, (If,)) or (isinstance(statement, For) and statement.kind == "serial") else around
        )
        for part in nested(statement):
            yield from _touches(part, inside, phase)


def _positions(touches: Sequence[_Touch], bound: set[str]) -> dict[Index, tuple[Index, int]] | None:
    """Of each place, which of a thread's registers it is (and the last one, if a loop goes through them); None if threads do not have
    their own."""
    split = []
    for touch in touches:
        loop = touch.loop
        if touch.index.variables() - bound - ({loop.variable} if loop is not None else set()):
            return None
        if loop is not None and (loop.start, loop.step) != (0, 1):
            return None
        stride = touch.index.coefficient(loop.variable) if loop is not None else 0
        base = Index(0, tuple((name, c) for name, c in touch.index.terms if name in bound))
        split.append((touch, loop, stride, base))
    strides = {stride for _, _, stride, _ in split if stride}
    bases = {base for *_, base in split}
    if len(strides) > 1 or len(bases) != 1:
        return None
    step = strides.pop() if strides else 0
    if step < 0:
        return None
    start = min(touch.index.constant for touch, *_ in split)
    result = {}
    for touch, loop, _, _ in split:
        offset = touch.index.constant - start
        if offset and (not step or offset % step):
            return None
        first = offset // step if offset else 0
        last = first + (loop.stop - 1 if loop is not None else 0)
        result[touch.index] = (Index(first) + (Index.variable(loop.variable) if loop is not None else Index()), last)
    return result


def _fill(touches: Sequence[_Touch], moved: dict[Index, Index], own: Buffer, warps: Sequence[For], lanes: Sequence[For]) -> list[Statement]:
    """What reads a thread's part of rows, as the first phase that does would."""
    body: list[Statement] = []
    for touch in {t.index: t for t in touches}.values():
        part: list[Statement] = [Store(own, moved[touch.index], Load(touch.buffer, touch.index))]
        for statement in reversed(touch.around):
            if isinstance(statement, If):
                part = [If(statement.condition, part, [])]
            elif statement is touch.loop:
                part = [replace(statement, kind="unrolled", body=part)]
        body += part
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
