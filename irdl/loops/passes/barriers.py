"""Where threads wait for each other: barriers follow from which memory the kernels between two of them read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irdl.loops.dependence import apart, loop_extents, never_meet
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import Barrier, For, If, Kernel, Program, Statement, Store, While
from irdl.loops.walk import expressions, is_parallel, kernels, nested, subexpressions, walk


def insert_barriers(program: Program) -> Program:
    """Put a barrier before every kernel that touches what another thread may still be writing or reading, in place."""
    if program.threads > 1:
        _Barriers({second: first for first, second in program.aliased}).visit(program.body, [])
    return program


@dataclass(frozen=True)
class _Use:
    """Memory that a kernel (None: all threads) reads or writes. `first`: only the first thread does."""

    kernel: Kernel | None
    buffer: Buffer
    space: object
    start: int
    stop: int
    writes: bool
    first: bool

    def __hash__(self) -> int:
        return hash((id(self.kernel), self.buffer, self.writes))

    def conflicts(self, other: _Use, around: Sequence[For]) -> bool:
        """`around`: the loops around both."""
        if (self.first and other.first) or not (self.writes or other.writes):
            return False
        if self.space != other.space or self.start >= other.stop or other.start >= self.stop:
            return False
        return self.buffer is not other.buffer or not _each_its_own(self, other, around)


def _each_its_own(one: _Use, other: _Use, around: Sequence[For]) -> bool:
    """Whatever a thread touches of the buffer in one kernel, no other thread touches in the other."""
    if one.kernel is None or other.kernel is None or one.first or other.first:
        return False
    drifting = {loop.variable: loop.stop - loop.start for loop in around}
    extents = {**drifting, **loop_extents(one.kernel), **loop_extents(other.kernel)}
    for a, first in _places(one):
        for b, second in _places(other):
            if first is None or second is None:
                return False
            if never_meet(a, b, extents, drifting):
                continue
            steps = first.stop - first.start
            if steps != second.stop - second.start:
                return False
            renamed = b.substitute({second.variable: Index.variable(first.variable)})
            if steps > 1 and not apart(a, renamed, first, extents):
                return False
    return True


def _places(use: _Use) -> list[tuple[Index, For | None]]:
    """Where the kernel touches the buffer, and in which divided loop."""
    assert use.kernel is not None
    found: dict[tuple[Index, str], tuple[Index, For | None]] = {}

    def visit(body: Sequence[Statement], loop: For | None) -> None:
        for statement in body:
            inside = statement if isinstance(statement, For) and statement.kind == "parallel" else loop
            for part in nested(statement):
                visit(part, inside)
            if use.writes:
                places = [statement.index] if isinstance(statement, Store) and statement.buffer is use.buffer else []
            else:
                loads = [item for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load)]
                places = [load.index for load in loads if load.buffer is use.buffer]
            for place in places:
                found[place, inside.variable if inside else ""] = (place, inside)

    visit(use.kernel.body, None)
    return list(found.values())


class _Barriers:
    """Inserts a barrier before every kernel that touches what another thread may still be writing or reading."""

    def __init__(self, same: dict[Buffer, Buffer]) -> None:
        #: an output -> the donated input whose memory it takes
        self.same = same
        self.around: list[For] = []

    def visit(self, body: list[Statement], pending: list[_Use]) -> list[_Use]:
        """`pending`: uses since the last barrier; returns those at the end of `body`."""
        place = 0
        while place < len(body):
            statement = body[place]
            uses: list[_Use] = []
            if isinstance(statement, Kernel):
                uses = self._uses(statement)
            elif isinstance(statement, If):
                uses = self._reads(statement.condition)
            elif isinstance(statement, For):
                # What is pending from before is waited for once, and not in every step.
                uses = [use for kernel, _, _ in kernels(statement.body) for use in self._uses(kernel)]
            if any(use.conflicts(other, self.around) for use in uses for other in pending):
                body.insert(place, Barrier())
                place += 1
                pending = []
            if isinstance(statement, Barrier):
                pending = []
            elif isinstance(statement, (Kernel, If)):
                pending = _merge(pending, uses)
            if isinstance(statement, If):
                pending = _merge(self.visit(statement.then, pending), self.visit(statement.otherwise, pending))
            elif isinstance(statement, For):
                self.around.append(statement)
                pending = self._loop([(statement.body, [])], pending)
                self.around.pop()
            elif isinstance(statement, While):
                # All threads read the condition between the two parts.
                if not isinstance(statement.before[-1], Barrier):
                    statement.before.append(Barrier())
                verdict = self._reads(statement.condition)
                pending = self._loop([(statement.before, verdict), (statement.body, [])], pending)
            place += 1
        return pending

    def _loop(self, parts: list[tuple[list[Statement], list[_Use]]], pending: list[_Use]) -> list[_Use]:
        """Until what one step leaves behind asks for no further barrier in the next."""
        while True:
            before = sum(len(part) for part, _ in parts)
            end = pending
            ends = []
            for part, after in parts:
                end = _merge(self.visit(part, end), after)
                ends.append(end)
            # A while loop is left after its first part.
            merged = _merge(pending, *ends)
            if sum(len(part) for part, _ in parts) == before and len(merged) == len(pending):
                return merged
            pending = merged

    def _uses(self, kernel: Kernel) -> list[_Use]:
        first = not is_parallel(kernel)
        found: dict[_Use, None] = {}
        for statement in walk(kernel.body):
            touched = [(item.buffer, False) for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load)]
            if isinstance(statement, Store):
                touched.append((statement.buffer, True))
            for buffer, writes in touched:
                if buffer.space not in ("register", "constant"):
                    found.setdefault(self._use(kernel, buffer, writes, first))
        return list(found)

    def _reads(self, condition: Expression) -> list[_Use]:
        return [self._use(None, item.buffer, False, False) for item in subexpressions(condition) if isinstance(item, Load)]

    def _use(self, kernel: Kernel | None, buffer: Buffer, writes: bool, first: bool) -> _Use:
        if buffer.space == "arena":
            return _Use(kernel, buffer, "arena", buffer.offset, buffer.offset + max(1, buffer.nbytes), writes, first)
        return _Use(kernel, buffer, self.same.get(buffer, buffer), 0, 1, writes, first)


def _merge(*lists: list[_Use]) -> list[_Use]:
    return list(dict.fromkeys(use for uses in lists for use in uses))
