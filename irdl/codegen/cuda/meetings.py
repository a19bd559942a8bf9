"""Which threads of a GPU touch the same memory in two phases of a program, from the indices of what they read and write.

Level by level it is asked whether the thread that touches a place in the second phase is one of another block than the one that
touched it in the first, of another warp of that block, another lane of that warp, or the same thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from irdl.codegen.cuda.dealing import as_guard
from irdl.loops.dependence import Extents, apart, never_meet
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import BOUND, Copy, For, If, LoadMatrices, Statement, Store, While
from irdl.loops.walk import expressions, nested, subexpressions

#: how many threads there are around both: none but the thread itself, a warp, a block, so many more blocks, all
NOBODY, WARP, BLOCK, ALL = 0, 1, 2, 1 << 40
#: where the threads of two steps of a level are
_AROUND = {"grid": ALL, "block": ALL, "warp": BLOCK, "lane": WARP}

#: what a single thread repeats
Repeat: TypeAlias = For | While


#: what is less than what
Guards: TypeAlias = tuple[tuple[Index, int], ...]


@dataclass(frozen=True)
class Context:
    """What is around a phase.

    Attributes:
        blocks: the nest of blocks that it is in.
        repeats: the loops that all threads run together; the first `outside` of them are around the nest of blocks.
    """

    blocks: tuple[For, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    outside: int = 0


@dataclass(frozen=True)
class Access:
    """One place that a phase reads or writes.

    Attributes:
        loops: those of the phase around it, and the nest of blocks that the phase is in.
        around: what is around the phase.
        guards: what is less than what, there.
    """

    buffer: Buffer
    index: Index
    writes: bool
    loops: tuple[For, ...]
    around: Context
    guards: Guards = ()

    def level(self, kind: str) -> list[For]:
        return [loop for loop in self.loops if loop.kind == kind]

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """The first and the last place that it may be at; None where data say that."""
        steps = {
            loop.variable: range(loop.start, loop.stop, loop.step) for loop in (*self.loops, *self.around.repeats) if isinstance(loop, For)
        }
        first = last = self.index.constant
        for name, factor in self.index.terms:
            found = steps.get(name)
            if not found:
                return None
            ends = sorted((factor * found[0], factor * found[-1]))
            first, last = first + ends[0], last + ends[1]
        return first, last


def accesses(body: Sequence[Statement], around: Context, loops: tuple[For, ...] | None = None, guards: Guards = ()) -> Iterator[Access]:
    """What statements touch of the memory that threads share."""
    loops = around.blocks if loops is None else loops
    for statement in body:
        for expression in expressions(statement):
            yield from reads(expression, around, loops, guards)
        if isinstance(statement, Store) and statement.buffer.space != "register":
            yield Access(statement.buffer, statement.index, True, loops, around, guards)
        if isinstance(statement, Copy):
            yield from accesses([statement.spelled_out()], around, loops, guards)
        if isinstance(statement, LoadMatrices):
            yield _of_warp(statement, around, loops, guards)
        if isinstance(statement, If):
            guard = as_guard(statement.condition)
            yield from accesses(statement.then, around, loops, guards if guard is None else (*guards, guard))
            yield from accesses(statement.otherwise, around, loops, guards)
            continue
        inside = (*loops, statement) if isinstance(statement, For) else loops
        for part in nested(statement):
            yield from accesses(part, around, inside, guards)


def _of_warp(statement: LoadMatrices, around: Context, loops: tuple[For, ...], guards: Guards) -> Access:
    """What a warp loads matrices from, as if each of its lanes read all of it."""
    second, third = statement.steps
    strides = {"<matrix": (second, 2), "<matrices": (third, 2), "<line": (statement.line, 8), "<number": (1, 8)}
    index = statement.source_index
    for name, (stride, _) in strides.items():
        index = index + Index.variable(name, stride)
    inside = (For(name, 0, count, 1, "serial", []) for name, (_, count) in strides.items())
    return Access(statement.source, index, False, (*loops, For("<lane", 0, 32, 1, "lane", []), *inside), around, guards)


def reads(expression: Expression, around: Context, loops: tuple[For, ...] | None = None, guards: Guards = ()) -> Iterator[Access]:
    """What an expression reads of it."""
    for item in subexpressions(expression):
        if isinstance(item, Load) and item.buffer.space not in ("register", "constant"):
            yield Access(item.buffer, item.index, False, around.blocks if loops is None else loops, around, guards)


def distinct(found: Iterable[Access]) -> tuple[Access, ...]:
    """Each once."""
    return tuple({(id(a.buffer), a.index, a.writes, tuple(map(id, a.loops)), a.guards): a for a in found}.values())


def covers(met: int, need: int) -> bool:
    """Threads that have met as widely as `met` need not meet as `need` asks: runs of blocks cover those that they are made of."""
    if need <= BLOCK or met == ALL:
        return met >= need
    return need != ALL and met > BLOCK and (met - BLOCK) % (need - BLOCK) == 0


def join(one: int, other: int) -> int:
    """The narrowest that covers both."""
    if covers(one, other):
        return one
    return other if covers(other, one) else ALL


def meeting(first: Access, second: Access, carried: Repeat | None, exact: bool) -> int:
    """Around how many threads those are that touch one place in the first phase and, later, in the second.

    Args:
        carried: the second is of a later step of this loop, the outermost of such; None: of the same step of all loops around both.
        exact: each block does one step of a nest of blocks.
    """
    if first.buffer is not second.buffer:
        return BLOCK if first.buffer.space == "shared" else ALL
    if (here := first.span) and (there := second.span) and (here[1] < there[0] or there[1] < here[0]):
        return NOBODY
    pair = _Pair(first, second)
    if not pair.align(carried):
        return NOBODY
    if pair.never_meet():
        return NOBODY
    for level in BOUND:
        mine, its = first.level(level), second.level(level)
        # A block has its shared memory to itself, and steps of one run of a nest of blocks are independent.
        one_run = bool(mine and its) and mine[0] is its[0] and pair.is_within_nest(carried)
        if level == "block" and first.buffer.space != "shared" and one_run and carried is mine[0]:
            return NOBODY
        if level in ("grid", "block") and (first.buffer.space == "shared" or one_run):
            for one, two in zip(mine, its, strict=False):
                pair.unite(one, two)
            continue
        if [loop.stop for loop in mine[1:]] != [loop.stop for loop in its[1:]] or bool(mine) != bool(its):
            return _AROUND[level]
        for place, (one, two) in enumerate(zip(mine, its, strict=True)):
            if not pair.keeps_apart(one, two):
                # Blocks of the same steps of the loops further out follow each other.
                return (
                    blocks_around(math.prod(loop.stop for loop in mine[place:])) if level == "block" and place and exact else _AROUND[level]
                )
    return NOBODY


def blocks_around(count: int) -> int:
    """The measure of so many blocks."""
    return BLOCK + count


class _Side:
    """One of the two indices, and what is known of parts of it."""

    def __init__(self, access: Access, mark: str) -> None:
        self.index = access.index
        self.guards = list(access.guards)
        self._mark = mark

    def substitute(self, values: Mapping[str, Index | int]) -> None:
        self.index = self.index.substitute(values)
        self.guards = [(index.substitute(values), extent) for index, extent in self.guards]

    def guarded(self) -> tuple[Index, Extents]:
        """The index with each part that a guard bounds as one variable, and how far those go."""
        index, extents = self.index, Extents()
        for number, (part, extent) in enumerate(self.guards):
            for name, coefficient in part.terms[:1]:
                factor, rest = divmod(index.coefficient(name), coefficient)
                if factor and not rest and all(index.coefficient(n) == c * factor for n, c in part.terms):
                    variable = f"{self._mark}{number}"
                    index = index + part * -factor + Index.variable(variable, factor)
                    extents[variable] = extent
        return index, extents


class _Pair:
    """Two indices, the variables of the second renamed but for those that have the same value in both."""

    def __init__(self, first: Access, second: Access) -> None:
        self.first, self.second = first, second
        self.here, self.there = _Side(first, "<"), _Side(second, "<'")
        names = [loop.variable for loop in (*second.loops, *second.around.repeats) if isinstance(loop, For)]
        self.fresh = {name: name + "'" for name in names}
        self.there.substitute({old: Index.variable(new) for old, new in self.fresh.items()})
        self.extents: Extents = {}
        self.extents.update((loop.variable, loop.stop) for loop in (*first.loops, *first.around.repeats) if isinstance(loop, For))
        self.extents.update(
            (self.fresh[loop.variable], loop.stop) for loop in (*second.loops, *second.around.repeats) if isinstance(loop, For)
        )
        for name in (*self.here.index.variables(), *self.there.index.variables()):
            self.extents.setdefault(name, None)  # the data say where it points

    def align(self, carried: Repeat | None) -> bool:
        """Take into account which steps of the loops around both the two are in; False: there are no such steps."""
        of_blocks = any(carried is loop for loop in self.first.loops)
        for place, (one, two) in enumerate(zip(self.first.around.repeats, self.second.around.repeats, strict=False)):
            if one is not two or (of_blocks and place >= self.first.around.outside):
                break
            if one is carried:
                return self._follow(one)
            if isinstance(one, For):
                self.unite(one, one)
        return True

    def _follow(self, loop: Repeat) -> bool:
        """The second is one step of the loop later, or more."""
        if isinstance(loop, For):
            steps = len(range(loop.start, loop.stop, loop.step))
            later = Index.variable(loop.variable) + Index.variable(loop.variable + "+", loop.step) + loop.step
            self.there.substitute({self.fresh[loop.variable]: later})
            self.extents[loop.variable + "+"] = steps - 1
            self._cancel(loop.variable)
            return steps > 1
        return True

    def is_within_nest(self, carried: Repeat | None) -> bool:
        """Both are of one run of a nest of blocks, if they are of the same nest: what lies between them is inside of it."""
        around = self.first.around
        inner = (*self.first.loops, *around.repeats[around.outside :])
        return carried is None or any(carried is loop for loop in inner)

    def unite(self, one: For, two: For) -> None:
        """The two loops are in the same step."""
        self.there.substitute({self.fresh[two.variable]: Index.variable(one.variable)})
        self._cancel(one.variable)

    def _cancel(self, name: str) -> None:
        if self.here.index.coefficient(name) == self.there.index.coefficient(name):
            for side in (self.here, self.there):
                side.index = side.index.substitute({name: Index()})

    def never_meet(self) -> bool:
        here, more = self.here.guarded()
        there, others = self.there.guarded()
        return never_meet(self.here.index, self.there.index, self.extents) or never_meet(here, there, self.extents | more | others)

    def keeps_apart(self, one: For, two: For) -> bool:
        """Different steps of the two loops touch different places. From then on, they are in the same step."""
        self.there.substitute({self.fresh[two.variable]: Index.variable(one.variable)})
        steps = max(one.stop, two.stop)
        loop = replace(one, start=0, stop=steps)
        extents = {name: extent for name, extent in self.extents.items() if name != one.variable}
        here, more = self.here.guarded()
        there, others = self.there.guarded()
        whole = steps > 1 and not apart(self.here.index, self.there.index, loop, extents)
        if whole and not apart(here, there, loop, extents | more | others) and not self._guards_apart(loop, extents):
            return False
        self._cancel(one.variable)
        return True

    def _guards_apart(self, loop: For, extents: Extents) -> bool:
        """Different steps of the loop differ in what a guard bounds on both sides, and what that differs in is elsewhere."""
        (here, more), (there, others) = self.here.guarded(), self.there.guarded()
        for number, ((one, extent), (two, other)) in enumerate(zip(self.here.guards, self.there.guards, strict=False)):
            mine, its = f"<{number}", f"<'{number}"
            alike = more.get(mine) == extent == other == others.get(its)
            if not alike or not apart(one, two, loop, extents):
                continue
            rest = {name: most for name, most in (extents | more | others).items() if name not in (mine, its)}
            if apart(here, there.substitute({its: Index.variable(mine)}), replace(loop, variable=mine, start=0, stop=extent), rest):
                return True
        return False
