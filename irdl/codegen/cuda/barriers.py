"""Where threads of a GPU wait for each other, and how many of them.

A phase is a statement whose threads do not wait within it. A barrier stands before each phase that touches what another thread may
be writing, or writes what another may be reading, and lets meet as few threads as are around both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from irdl.codegen.cuda.meetings import (
    ALL,
    BLOCK,
    NOBODY,
    WARP,
    Access,
    Context,
    Repeat,
    accesses,
    blocks_around,
    covers,
    distinct,
    join,
    meeting,
    reads,
)
from irdl.errors import ProgramError
from irdl.loops.expressions import Buffer
from irdl.loops.language import BOUND, Barrier, Commit, Copy, For, If, Kernel, Launch, Program, Statement, Wait, While
from irdl.loops.walk import bound_nest, walk

#: batches of copies, one behind the other, that are told apart
_MOST = 64


def insert_barriers(program: Program) -> Program:
    """Put a barrier of the narrowest scope before every phase that needs one, in place."""
    _Barriers({second: first for first, second in program.aliased}).visit(program.body, [])
    return program


@dataclass(frozen=True)
class _Phase:
    """What a statement touches, and what has happened since.

    Attributes:
        met: how many threads each has met.
        carried: the outermost loop of which the next step has begun.
        begun: it has begun to copy, and ended so many batches since; None once all has landed. Until then it does not matter whom it meets.
    """

    statement: Statement
    accesses: tuple[Access, ...]
    met: int = NOBODY
    carried: Repeat | None = None
    begun: int | None = None

    @property
    def place(self) -> tuple[int, int, int | None]:
        return id(self.statement), id(self.carried), self.begun

    @cached_property
    def outside(self) -> tuple[Access, ...]:
        """What it touches beside the block's own memory: there is nothing more to that once the block has met."""
        return tuple(access for access in self.accesses if access.buffer.space != "shared")

    def is_in(self, loop: Repeat) -> bool:
        return any(loop is other for access in self.accesses[:1] for other in (*access.around.repeats, *access.loops))


class _Barriers:
    def __init__(self, same: dict[Buffer, Buffer]) -> None:
        #: an output -> the donated input whose memory it takes
        self.same = same
        #: in an exact launch: each block does one step of a nest, and how many blocks meet if not all do
        self.exact, self.run = False, 0
        #: the loops around what is visited: those that all threads run together, and those of blocks
        self.repeats: list[Repeat] = []
        self.blocks: list[For] = []
        #: how many of those that all threads run together are around the loops of blocks
        self.outside = 0
        #: how often a barrier has been put somewhere
        self._changes = 0
        #: what has been found out: of statements, and of pairs of accesses
        self._phases: dict[int, _Phase] = {}
        self._met: dict[tuple[int, int, int], int] = {}

    def visit(self, body: list[Statement], pending: list[_Phase]) -> list[_Phase]:
        """`pending`: the phases before, as far as they matter; returns those at the end of `body`."""
        place = 0
        while place < len(body):
            statement = body[place]
            if isinstance(statement, Barrier):
                pending = _after(statement, pending)
            elif isinstance(statement, Commit):
                pending = [phase if phase.begun is None else replace(phase, begun=min(phase.begun + 1, _MOST)) for phase in pending]
            elif isinstance(statement, Wait):
                pending = [replace(p, begun=None) if p.begun is not None and p.begun > statement.pending else p for p in pending]
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
                    pending = self._put(body, place, barrier, pending)
                    continue
                nest = bound_nest(statement)
                pending = [*pending, *self._inside(nest, nest[-1].body)]
            elif isinstance(statement, For) and statement.kind not in BOUND and _phases_in(statement.body):
                pending = self._loop(statement, [(statement.body, None)], pending)
            elif isinstance(statement, If) and (_phases_in(statement.then) or _phases_in(statement.otherwise)):
                verdict = self._verdict(statement)
                if (barrier := self._needed(verdict, pending)) is not None:
                    pending = self._put(body, place, barrier, pending)
                    continue
                pending = [*pending, verdict]
                pending = [*self.visit(statement.then, pending), *self.visit(statement.otherwise, pending)]
            elif isinstance(statement, While):
                pending = self._loop(statement, [(statement.before, statement), (statement.body, None)], pending)
            else:
                phase = self._phase(statement)
                if (barrier := self._needed(phase, pending)) is not None:
                    pending = self._put(body, place, barrier, pending)
                    continue
                pending = [*pending, phase]
            place += 1
        return _distinct(pending)

    def _phase(self, statement: Statement) -> _Phase:
        return self._once(statement, accesses([statement], self._context()))

    def _verdict(self, statement: If | While) -> _Phase:
        """All threads read a condition."""
        return self._once(statement, reads(statement.condition, self._context()))

    def _context(self) -> Context:
        return Context(tuple(self.blocks), tuple(self.repeats), self.outside)

    def _once(self, statement: Statement, found: Iterable[Access]) -> _Phase:
        """The phase of a statement, looked at the first time."""
        if id(statement) not in self._phases:
            begun = 0 if any(isinstance(inner, Copy) for inner in walk([statement])) else None
            self._phases[id(statement)] = _Phase(statement, distinct(found), begun=begun)
        return self._phases[id(statement)]

    def _inside(self, nest: Sequence[For], body: list[Statement]) -> list[_Phase]:
        """What the steps of a nest of blocks leave behind. They are independent, but for the shared memory that they take in turns."""
        self.blocks += nest
        self.outside = len(self.repeats)
        again = not self.exact and any(loop.stop > 1 for loop in nest)
        found = self._loop(nest[0], [(body, None)], []) if again else self.visit(body, [])
        del self.blocks[-len(nest) :]
        return [replace(phase, carried=None) for phase in found]

    def _loop(self, loop: Repeat, parts: Sequence[tuple[list[Statement], While | None]], pending: list[_Phase]) -> list[_Phase]:
        """Until what one step leaves behind asks for no further barrier in the next. A part may end with a condition that is read."""
        of_blocks = any(loop is other for other in self.blocks)
        outside = [id(other) for other in (*self.repeats, *self.blocks) if other is not loop]
        if not of_blocks:
            self.repeats.append(loop)
        while True:
            before = self._changes
            end, ends = pending, []
            for part, condition in parts:
                end = self.visit(part, end)
                if condition is not None:
                    verdict = self._verdict(condition)
                    if (barrier := self._needed(verdict, end)) is not None:
                        end = self._put(part, len(part), barrier, end)
                    end = [*end, verdict]
                ends += end
            carried = [replace(p, carried=loop) if p.is_in(loop) and id(p.carried) not in outside else p for p in end]
            following = _distinct([*pending, *carried])
            if before == self._changes and {(p.place, p.met) for p in following} == {(p.place, p.met) for p in pending}:
                break
            pending = following
        if not of_blocks:
            self.repeats.pop()
        # Behind the loop, its steps are as good as any.
        return _distinct([*pending, *ends])

    def _put(self, body: list[Statement], place: int, barrier: Barrier, pending: list[_Phase]) -> list[_Phase]:
        """Let threads meet at that place, all those among them that meet there already; returns what is pending behind it."""
        self._changes += 1
        last = body[place - 1] if place else None
        if isinstance(last, Barrier) and covers(_met(barrier), _met(last)):
            body[place - 1] = barrier
        else:
            body.insert(place, barrier)
        return _after(barrier, pending)

    def _needed(self, phase: _Phase, pending: Iterable[_Phase]) -> Barrier | None:
        """Where threads have to meet before the phase; None where they need not."""
        widest = NOBODY
        for earlier in pending:
            widest = self._between(earlier, phase, widest)
        if widest > BLOCK and self.blocks:
            raise ProgramError("steps of a nest of blocks need each other's results")
        if widest <= BLOCK:
            return {NOBODY: None, WARP: Barrier("warp"), BLOCK: Barrier("block")}[widest]
        # There is one partition of the blocks into runs.
        blocks = widest - blocks_around(0)
        if widest == ALL or self.run not in (0, blocks):
            return Barrier()
        self.run = blocks
        return Barrier("blocks", blocks)

    def _between(self, first: _Phase, second: _Phase, widest: int) -> int:
        """Who meets for all conflicts of the two that have not met since, and for what asks for `widest`."""
        for one in first.accesses:
            for other in second.accesses:
                if widest == ALL:
                    return widest
                if (one.writes or other.writes) and self._share_memory(one.buffer, other.buffer):
                    need = self._meeting(one, other, first.carried)
                    if need > NOBODY and first.begun is not None:
                        raise ProgramError(f"a copy into {one.buffer.name} is not waited for")
                    widest = widest if covers(first.met, need) else join(widest, need)
        return widest

    def _meeting(self, one: Access, other: Access, carried: Repeat | None) -> int:
        """As `meeting`, asked once."""
        key = (id(one), id(other), id(carried))
        if key not in self._met:
            self._met[key] = meeting(one, other, carried, self.exact)
        return self._met[key]

    def _share_memory(self, one: Buffer, other: Buffer) -> bool:
        if one is other:
            return True
        if one.space != other.space or one.space not in ("arena", "shared"):
            return self.same.get(one, one) is self.same.get(other, other)
        return one.offset < other.offset + max(1, other.nbytes) and other.offset < one.offset + max(1, one.nbytes)


def _phases_in(body: Sequence[Statement]) -> bool:
    return any(isinstance(s, For) and s.kind in BOUND for s in walk(body))


def _after(barrier: Barrier, pending: Sequence[_Phase]) -> list[_Phase]:
    met, left = _met(barrier), []
    for phase in pending:
        if phase.begun is not None:
            left.append(phase)
        elif met != ALL:
            left.append(replace(phase, met=max(phase.met, met), accesses=phase.accesses if met < BLOCK else phase.outside))
    return left


def _met(barrier: Barrier) -> int:
    """How many threads meet."""
    return {"warp": WARP, "block": BLOCK, "blocks": blocks_around(barrier.blocks), "all": ALL}[barrier.scope]


def _distinct(pending: Sequence[_Phase]) -> list[_Phase]:
    """Each phase once for each loop that it has been carried over, with the narrowest barrier that it has seen on any way here."""
    found: dict[tuple[int, int, int | None], _Phase] = {}
    for phase in pending:
        if phase.accesses and (phase.place not in found or phase.met < found[phase.place].met):
            found[phase.place] = phase
    return list(found.values())
