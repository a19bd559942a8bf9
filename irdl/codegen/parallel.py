"""Threads: which loops of a kernel are divided among them, and where they have to wait for each other.

A loop is divided where different steps touch different elements of everything the kernel writes: an argument about the affine
indices alone. Barriers follow from which memory the kernels between two of them read and write.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from irdl.ir.program import (
    Barrier,
    Buffer,
    CheckIndex,
    Expression,
    For,
    If,
    Index,
    Kernel,
    Let,
    Load,
    Operation,
    Program,
    Statement,
    Store,
    While,
    expressions,
    is_parallel,
    nested,
    subexpressions,
    walk,
)

#: How far variables run; None where the data say where they point.
Extents: TypeAlias = dict[str, int | None]

#: Cycles of work below which a kernel is not worth a barrier, and a program not worth waking the team.
SMALLEST_KERNEL = 1_500
SMALLEST_PROGRAM = 40_000
#: What it costs, as a share of the time, to read what the other threads have just written.
_PRICE_OF_EXCHANGE = 0.08
#: Cycles per vector, where it is not one.
_CYCLES = {"div": 8, "sqrt": 10, "exp": 16, "log": 20, "tanh": 26, "sigmoid": 20, "erf": 30, "power": 400, "sin": 300, "cos": 300}


def parallelise(program: Program, threads: int, aliased: Iterable[tuple[Buffer, Buffer]] = ()) -> None:
    """Divide the kernels of a program among `threads`, in place, and insert the barriers this needs.

    `aliased` pairs buffers that share memory (a donated input and its output).
    """
    if threads < 2:
        return
    divided: list[For] = []
    work = 0.0
    for kernel, times, around in _kernels(program.body):
        size = cycles(kernel.body)
        if size >= SMALLEST_KERNEL:
            loops = _divisible(kernel, threads, _written(around[-1].body) if around else set())
            divided += loops
            work += times * size if loops else 0
    if work < SMALLEST_PROGRAM:
        return
    for loop in divided:
        loop.kind = "parallel"
    for kernel, _, _ in _kernels(program.body):
        if is_parallel(kernel):
            kernel.body = [_one_thread(statement) for statement in kernel.body]
    program.threads = threads
    _Barriers({second: first for first, second in aliased}).visit(program.body, [])


def _kernels(body: Sequence[Statement], times: int = 1, around: tuple[For, ...] = ()) -> Iterator[tuple[Kernel, int, tuple[For, ...]]]:
    """Every kernel, how often it runs at least, and the loops around it."""
    for statement in body:
        if isinstance(statement, Kernel):
            yield statement, times, around
        elif isinstance(statement, For):
            yield from _kernels(statement.body, times * (statement.stop - statement.start), (*around, statement))
        else:
            for part in nested(statement):
                yield from _kernels(part, times, around)


def _written(body: Sequence[Statement]) -> set[Buffer]:
    return {s.buffer for s in walk(body) if isinstance(s, Store) and s.buffer.space != "register"}


def _one_thread(statement: Statement) -> Statement:
    """Of a divided kernel, what is not divided itself is one thread's work; bindings are everyone's."""
    if isinstance(statement, (Let, CheckIndex)) or any(isinstance(s, For) and s.kind == "parallel" for s in walk([statement])):
        return statement
    return For(f"{_first_variable(statement)}_once", 0, 1, 1, "parallel", [statement])


def _first_variable(statement: Statement) -> str:
    return statement.variable if isinstance(statement, For) else "step"


def cycles(body: Sequence[Statement]) -> float:
    """A rough count of cycles, for decisions only."""
    total = 0.0
    for statement in body:
        if isinstance(statement, For):
            steps = 1 if statement.kind == "vector" else len(range(statement.start, statement.stop, statement.step))
            total += steps * cycles(statement.body)
        elif isinstance(statement, (Let, Store, CheckIndex)):
            total += isinstance(statement, Store) and statement.buffer.space != "register"
            for item in subexpressions(statement.value):
                if isinstance(item, Operation):
                    total += _CYCLES.get(item.name, 1)
                elif isinstance(item, Load) and item.buffer.space != "register":
                    total += 0.5
    return total


# Which loops can be divided.


def _divisible(kernel: Kernel, threads: int, exchanged: set[Buffer]) -> list[For]:
    """The loops to divide, one for each statement of the kernel that is worth it; none if the kernel has to stay whole.

    `exchanged`: what the loop around the kernel writes. A division where each thread reads of it only its own part is better.
    """
    nests = [statement for statement in kernel.body if not isinstance(statement, (Let, CheckIndex))]
    if len(nests) > 1 and not kernel.independent:
        return []
    extents = loop_extents(kernel)
    chosen: list[For] = []
    for nest in nests:
        if cycles([nest]) < SMALLEST_KERNEL / 4:
            if _uses_registers(nest, kernel):
                return []
            continue
        best: tuple[float, For] | None = None
        for loop in path(nest):
            # The share of the threads' time that is used; outer loops win ties.
            steps = loop.stop - loop.start
            use = steps / (threads * math.ceil(steps / threads))
            if _reads_all(loop, exchanged):
                use -= _PRICE_OF_EXCHANGE
            if (best is None or use > best[0] + 0.05) and steps > 1 and is_divisible(kernel, nest, loop, extents):
                best = (use, loop)
        if best is None or best[0] < 0.6:
            return []
        chosen.append(best[1])
    return chosen


def _reads_all(loop: For, buffers: set[Buffer]) -> bool:
    """Every step of the loop reads the same part of one of the buffers."""
    for statement in walk(loop.body):
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load) and item.buffer in buffers and not item.index.coefficient(loop.variable):
                    return True
    return False


def loop_extents(kernel: Kernel) -> Extents:
    """How far each variable of a kernel runs; None where the data say where it points."""
    extents: Extents = {}
    for statement in walk(kernel.body):
        if isinstance(statement, For):
            extents[statement.variable] = max(extents.get(statement.variable) or 0, statement.stop - statement.start)
        elif isinstance(statement, (Let, CheckIndex)):
            extents[statement.variable.name] = None
    return extents


def path(statement: Statement) -> Iterator[For]:
    """The loops from the outside in, as long as each body is one loop and bindings."""
    while isinstance(statement, For) and statement.kind == "serial":
        yield statement
        inner = [s for s in statement.body if not isinstance(s, (Let, CheckIndex))]
        if len(inner) != 1:
            return
        statement = inner[0]


def _uses_registers(nest: Statement, kernel: Kernel) -> bool:
    """The nest shares a register tile with the rest of the kernel."""
    inside = {b for s in walk([nest]) for b in _buffers(s) if b.space == "register"}
    outside = {b for other in kernel.body if other is not nest for s in walk([other]) for b in _buffers(s)}
    return bool(inside & outside)


def _buffers(statement: Statement) -> list[Buffer]:
    found = [item.buffer for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load)]
    return [*found, statement.buffer] if isinstance(statement, Store) else found


def is_divisible(kernel: Kernel, nest: Statement, loop: For, extents: Extents) -> bool:
    """Different steps of `loop` touch different elements of everything the kernel writes, and share no registers."""
    inside = list(walk(loop.body))
    in_loop = {id(s) for s in inside}
    registers = {b for s in inside for b in _buffers(s) if b.space == "register"}
    reads: dict[Buffer, list[Index]] = {}
    writes: dict[Buffer, list[Index]] = {}
    for statement in walk(kernel.body):
        if isinstance(statement, (If, While)):
            return False
        if id(statement) not in in_loop:
            if registers.intersection(_buffers(statement)):
                return False
            if isinstance(statement, Store) and any(s is statement for s in walk([nest])):
                return False
            continue
        if isinstance(statement, Store) and statement.buffer.space != "register":
            writes.setdefault(statement.buffer, []).append(statement.index)
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    reads.setdefault(item.buffer, []).append(item.index)
    for buffer, stored in writes.items():
        for other in {*stored, *reads.get(buffer, [])}:
            if not all(apart(place, other, loop, extents) or never_meet(place, other, extents) for place in set(stored)):
                return False
    return True


def apart(a: Index, b: Index, loop: For, extents: Extents) -> bool:
    """`a` in one step of the loop and `b` in another never meet.

    Terms of larger coefficients than the loop's only move by multiples of their divisor M; what is left of an index,
    coefficient * step + (something small), must then differ by more than the small parts do, and by less than M.
    """
    coefficient = a.coefficient(loop.variable)
    if not coefficient or b.coefficient(loop.variable) != coefficient:
        return False
    size, steps = abs(coefficient), loop.stop - loop.start
    modulus = 0
    low = high = 0
    moved = a.constant - b.constant
    if abs(moved) >= size:
        modulus = abs(moved)
    else:
        low = high = moved
    for sign, index in ((1, a), (-1, b)):
        for name, factor in index.terms:
            if name == loop.variable:
                continue
            extent = extents.get(name)
            if extent is None:
                # A variable from outside the kernel is the same for all threads.
                if name in extents or a.coefficient(name) != b.coefficient(name):
                    return False
            elif abs(factor) > size:
                modulus = math.gcd(modulus, factor)
            else:
                ends = (0, sign * factor * (extent - 1))
                low, high = low + min(ends), high + max(ends)
    spread = max(abs(low), abs(high))
    return size > spread and (not modulus or size * (steps - 1) + spread < modulus)


def never_meet(a: Index, b: Index, extents: Extents, drifting: Collection[str] = ()) -> bool:
    """The two indices range over different places, whatever the steps.

    `drifting`: loops outside, in which one thread may be ahead of the other.
    """
    low = high = a.constant - b.constant
    modulus = 0
    for sign, index, other in ((1, a, b), (-1, b, a)):
        for name, factor in index.terms:
            extent = extents.get(name)
            if name in drifting:
                modulus = math.gcd(modulus, factor)
            elif extent is not None:
                ends = (0, sign * factor * (extent - 1))
                low, high = low + min(ends), high + max(ends)
            elif name in extents or other.coefficient(name) != factor:
                return False
    return low > 0 or high < 0 if not modulus else -(-low // modulus) * modulus > high


# Where threads wait.


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
                uses = [use for kernel, _, _ in _kernels(statement.body) for use in self._uses(kernel)]
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
