"""Where threads of a GPU wait for each other, and how many of them: both follow from the indices of what they read and write.

A phase is a statement whose threads do not wait within it. Where a later phase may touch what another thread has written, or write
what another thread has read, level by level it is asked whether that thread is one of another block, of another warp of the same
block, or another lane of the same warp; the widest that it may be says who has to meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from irdl.loops.dependence import apart, never_meet
from irdl.loops.index import Index
from irdl.loops.language import BOUND, Barrier, Buffer, Expression, For, If, Kernel, Launch, Load, Program, Statement, Store, While
from irdl.loops.walk import bound_nest, expressions, nested, subexpressions, walk

#: how many have to meet: nobody, a warp, a block, two blocks (and so on), all
_NOBODY, _WARP, _BLOCK, _BLOCKS, _ALL = 0, 1, 2, 2, 1 << 40
#: where the threads of two steps of a level have to
_MEET = {"grid": _ALL, "block": _ALL, "warp": _BLOCK, "lane": _WARP}


def insert_barriers(program: Program) -> Program:
    """Put a barrier of the narrowest scope before every phase that needs one, in place."""
    _Barriers({second: first for first, second in program.aliased}).visit(program.body, [])
    return program


@dataclass(frozen=True)
class _Access:
    """One place that a phase reads or writes, and the phase's loops around it."""

    buffer: Buffer
    index: Index
    writes: bool
    loops: tuple[For, ...]

    def level(self, kind: str) -> list[For]:
        return [loop for loop in self.loops if loop.kind == kind]


@dataclass(frozen=True)
class _Phase:
    """What a statement touches, and the widest barrier since."""

    statement: Statement
    accesses: tuple[_Access, ...]
    met: int = _NOBODY

    @property
    def state(self) -> tuple[int, int]:
        return id(self.statement), self.met


class _Barriers:
    def __init__(self, same: dict[Buffer, Buffer]) -> None:
        #: an output -> the donated input whose memory it takes
        self.same = same
        #: in an exact launch: each block does one step of a nest, and how many blocks meet if not all do
        self.exact, self.run = False, 0
        #: the loops around what is visited, of one thread and of blocks
        self.around: list[For] = []

    def visit(self, body: list[Statement], pending: list[_Phase]) -> list[_Phase]:
        """`pending`: the phases before, as far as they matter; returns those at the end of `body`."""
        place = 0
        while place < len(body):
            statement = body[place]
            if isinstance(statement, Barrier):
                pending = _after(statement, pending)
            elif isinstance(statement, Launch):
                # It is one already: what is before and behind it is done before and behind it.
                self.exact, self.run = statement.exact, 0
                self.visit(statement.body, [])
                self.exact, pending = False, []
            elif isinstance(statement, Kernel):
                pending = self.visit(statement.body, pending)
            elif isinstance(statement, For) and statement.kind == "block":
                # Blocks meet before their steps, not in them.
                if (barrier := self._needed(self._phase(statement), pending)) is not None:
                    body.insert(place, barrier)
                    continue
                nest = bound_nest(statement)
                pending = [*pending, *self._inside(nest, nest[-1].body)]
            elif isinstance(statement, For) and statement.kind not in BOUND and _phases_in(statement.body):
                self.around.append(statement)
                pending = self._loop([(statement.body, None)], pending)
                self.around.pop()
            elif isinstance(statement, If) and (_phases_in(statement.then) or _phases_in(statement.otherwise)):
                verdict = _Phase(statement, tuple(_reads(statement.condition, ())))
                if (barrier := self._needed(verdict, pending)) is not None:
                    body.insert(place, barrier)
                    continue
                pending = [*pending, verdict]
                pending = [*self.visit(statement.then, pending), *self.visit(statement.otherwise, pending)]
            elif isinstance(statement, While):
                verdict = _Phase(statement, tuple(_reads(statement.condition, ())))
                pending = self._loop([(statement.before, verdict), (statement.body, None)], pending)
            else:
                phase = self._phase(statement)
                if (barrier := self._needed(phase, pending)) is not None:
                    body.insert(place, barrier)
                    continue
                pending = [*pending, phase]
            place += 1
        return _distinct(pending)

    def _phase(self, statement: Statement) -> _Phase:
        return _Phase(statement, tuple(_accesses([statement], tuple(loop for loop in self.around if loop.kind in BOUND))))

    def _inside(self, nest: Sequence[For], body: list[Statement]) -> list[_Phase]:
        """What the steps of a nest of blocks leave behind. They are independent, but for the shared memory that they take in turns."""
        self.around += nest
        found = self.visit(body, [])
        if not self.exact and any(loop.stop > 1 for loop in nest):
            found = self._loop([(body, None)], found)
        del self.around[-len(nest) :]
        return found

    def _loop(self, parts: Sequence[tuple[list[Statement], _Phase | None]], pending: list[_Phase]) -> list[_Phase]:
        """Until what one step leaves behind asks for no further barrier in the next. A part may end with a condition that is read."""
        while True:
            before = sum(1 for part, _ in parts for _ in walk(part))
            end, ends = pending, list(pending)
            for part, verdict in parts:
                end = self.visit(part, end)
                if verdict is not None:
                    if (barrier := self._needed(verdict, end)) is not None:
                        part.append(barrier)
                        end = _after(barrier, end)
                    end = [*end, verdict]
                ends += end
            ends = _distinct(ends)
            unchanged = sum(1 for part, _ in parts for _ in walk(part)) == before
            if unchanged and {phase.state for phase in ends} == {phase.state for phase in pending}:
                return ends
            pending = ends

    def _needed(self, phase: _Phase, pending: Iterable[_Phase]) -> Barrier | None:
        """Where threads have to meet before the phase; None where they need not."""
        widest = _NOBODY
        for earlier in pending:
            enough = max(earlier.met, widest)
            wide = self._between(earlier, phase, enough)
            widest = wide if wide > enough else widest
        if widest <= _BLOCK:
            return None if widest == _NOBODY else Barrier("block" if widest == _BLOCK else "warp")
        # There is one partition of the blocks into runs.
        blocks = widest - _BLOCKS
        if widest == _ALL or self.run not in (0, blocks):
            return Barrier()
        self.run = blocks
        return Barrier("blocks", blocks)

    def _between(self, first: _Phase, second: _Phase, enough: int) -> int:
        """The widest of any conflict's, once more than `enough`."""
        found = enough
        for one in first.accesses:
            for other in second.accesses:
                if (one.writes or other.writes) and self._share_memory(one.buffer, other.buffer):
                    found = max(found, self._width(one, other))
                    if found == _ALL:
                        return found
        return found

    def _same(self, mine: Sequence[For], its: Sequence[For]) -> bool:
        """The two are of one run of the nest of blocks that is being visited."""
        return bool(mine and its) and mine[0] is its[0] and any(loop is mine[0] for loop in self.around)

    def _share_memory(self, one: Buffer, other: Buffer) -> bool:
        if one is other:
            return True
        if one.space != other.space or one.space not in ("arena", "shared"):
            return self.same.get(one, one) is self.same.get(other, other)
        return one.offset < other.offset + max(1, other.nbytes) and other.offset < one.offset + max(1, one.nbytes)

    def _width(self, first: _Access, second: _Access) -> int:
        """How far from each other the threads may be that meet at the two places."""
        if first.buffer is not second.buffer:
            return _BLOCK if first.buffer.space == "shared" else _ALL
        # The variables of the second are its own, but for those of loops in which both are.
        fresh = {loop.variable: loop.variable + "'" for loop in second.loops}
        there = second.index.substitute({old: Index.variable(new) for old, new in fresh.items()})
        drifting = {loop.variable: loop.stop - loop.start for loop in self.around if loop.kind not in BOUND}
        extents: dict[str, int | None] = dict(drifting)
        extents.update((loop.variable, loop.stop) for loop in first.loops)
        extents.update((fresh[loop.variable], loop.stop) for loop in second.loops)
        for access, rename in ((first, {}), (second, fresh)):
            for name in access.index.variables():
                extents.setdefault(rename.get(name, name), None)  # the data say where it points
        if never_meet(first.index, there, extents, drifting):
            return _NOBODY
        for level in BOUND:
            mine, its = first.level(level), second.level(level)
            # A block has its shared memory to itself, and steps of one nest of blocks are independent.
            if level in ("grid", "block") and (first.buffer.space == "shared" or (level == "block" and self._same(mine, its))):
                there, extents = _as_one(there, extents, mine, its, fresh)
                continue
            if [loop.stop for loop in mine[1:]] != [loop.stop for loop in its[1:]] or bool(mine) != bool(its):
                return _MEET[level]
            for place, (one, two) in enumerate(zip(mine, its, strict=True)):
                there, extents = _as_one(there, extents, [one], [two], fresh)
                steps = max(one.stop, two.stop)
                others = {name: extent for name, extent in extents.items() if name != one.variable}
                if steps > 1 and not apart(first.index, there, For(one.variable, 0, steps, 1, "serial", []), others):
                    if level == "block" and place and self.exact:
                        # Blocks of the same steps of the loops outside of this one follow each other.
                        return _BLOCKS + math.prod(loop.stop for loop in mine[place:])
                    return _MEET[level]
                # From here on, both are in the same step of it.
                first, there = _fixed(first, one.variable), there.substitute({one.variable: Index()})
        return _NOBODY


def _as_one(
    there: Index, extents: dict[str, int | None], mine: Sequence[For], its: Sequence[For], fresh: dict[str, str]
) -> tuple[Index, dict[str, int | None]]:
    """The second's variables of some loops made the first's."""
    names = {fresh[two.variable]: one.variable for one, two in zip(mine, its, strict=False)}
    return there.substitute({old: Index.variable(new) for old, new in names.items()}), {
        name: extent for name, extent in extents.items() if name not in names
    }


def _fixed(access: _Access, name: str) -> _Access:
    return _Access(access.buffer, access.index.substitute({name: Index()}), access.writes, access.loops)


def _phases_in(body: Sequence[Statement]) -> bool:
    return any(isinstance(s, For) and s.kind in BOUND for s in walk(body))


def _reads(expression: Expression, loops: tuple[For, ...]) -> Iterable[_Access]:
    for item in subexpressions(expression):
        if isinstance(item, Load) and item.buffer.space not in ("register", "constant"):
            yield _Access(item.buffer, item.index, False, loops)


def _accesses(body: Sequence[Statement], loops: tuple[For, ...]) -> Iterable[_Access]:
    for statement in body:
        for expression in expressions(statement):
            yield from _reads(expression, loops)
        if isinstance(statement, Store) and statement.buffer.space != "register":
            yield _Access(statement.buffer, statement.index, True, loops)
        inside = (*loops, statement) if isinstance(statement, For) else loops
        for part in nested(statement):
            yield from _accesses(part, inside)


def _after(barrier: Barrier, pending: Sequence[_Phase]) -> list[_Phase]:
    if barrier.scope == "all":
        return []
    width = {"warp": _WARP, "block": _BLOCK, "blocks": _BLOCKS + barrier.blocks}[barrier.scope]
    return [_Phase(p.statement, p.accesses, max(p.met, width)) for p in pending]


def _distinct(pending: Sequence[_Phase]) -> list[_Phase]:
    """Each phase once, with the narrowest barrier that it has seen on any way here."""
    found: dict[int, _Phase] = {}
    for phase in pending:
        key = id(phase.statement)
        if phase.accesses and (key not in found or phase.met < found[key].met):
            found[key] = phase
    return list(found.values())
