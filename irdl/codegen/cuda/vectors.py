"""Accesses of 16 bytes: what a thread loads and stores of neighbours, it loads and stores at once.

Before -> after, of an array of 1,000,002 numbers:

    grid i in 0:1000002 { y[i] = exp(x[i]) }

    grid q in 0:250000 { vector l in 0:4 { v[l] = x[4 * q + l] }
                         unrolled l in 0:4 { w[l] = exp(v[l]) }
                         vector l in 0:4 { y[4 * q + l] = w[l] } }
    grid i in 0:2 { y[1000000 + i] = exp(x[1000000 + i]) }

A thread of a large grid has several such runs, far apart, and loads all of them before it stores any. What a schedule has made a loop over
neighbours (`in_runs`, `run_of`), and the steps in which a thread goes through neighbours by itself, are done in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from irdl.codegen.cuda.dealing import LONGEST_RUN, WIDEST, run_length
from irdl.codegen.cuda.registers import Touch, copied_at_once, registers_of, touches
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import CheckIndex, For, Kernel, Launch, Let, Program, Statement, Store
from irdl.loops.rewrite import Names, rebuild, substitute
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, expressions, nested, subexpressions, variables_read

#: runs of a thread that are on their way at once, at most, and the bytes of registers that they may take
_IN_FLIGHT, _BYTES = 4, 256
#: threads of a multiprocessor that are worth more than longer runs, and those that are there to hide each other's latency
_FEWEST, _AT_WORK = 128, 2048
#: registers of a thread, as they are counted, from which on nvcc may be short of them
_CROWDED = 208


def make_vectors(program: Program, target: Gpu) -> Program:
    """Give threads runs of neighbours where they go over whole arrays, and let them load and store runs at once, in place."""
    names = Names(program)
    same = {a: b for pair in program.aliased for a, b in (pair, pair[::-1])}
    for kernel in (statement for statement in program.body if isinstance(statement, Kernel)):
        kernel.body[:] = [
            piece
            for statement in kernel.body
            for piece in (
                grid_in_runs(statement, names, same, target) if isinstance(statement, For) and statement.kind == "grid" else [statement]
            )
        ]
    _visit(program.body, names, same)
    return program


def _visit(body: list[Statement], names: Names, same: Mapping[Buffer, Buffer]) -> None:
    """Loops over neighbours, wherever they are."""
    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, Launch) and statement.exact:
            for loop in (inner for inner in statement.body if isinstance(inner, For)):
                _visit(loop.body, names, same)
            # What it does once fills registers: four of them side by side, which is too much to ask where all are needed.
            if registers_of(statement.body) > _CROWDED:
                result.append(statement)
                continue
        if isinstance(statement, For) and statement.kind == "unrolled" and (found := at_once([statement], statement.body, names, same)):
            result += found
            continue
        if isinstance(statement, For) and (found := thread_in_runs(statement, names, same)):
            result += found
            continue
        for part in nested(statement):
            _visit(part, names, same)
        result.append(statement)
    body[:] = result


# Runs of threads.


def grid_in_runs(nest: For, names: Names, same: Mapping[Buffer, Buffer], gpu: Gpu) -> list[Statement]:
    """The nest, in runs if that makes all that its last loop moves accesses of neighbours, and leaves threads enough."""
    loops = bound_nest(nest)
    *outer, last = loops
    moved = [touch for touch in touches(last.body) if touch.buffer.space != "register" and touch.index.coefficient(last.variable)]
    length = run_length(touch.buffer.dtype for touch in moved)
    runs = last.stop // length
    threads = math.prod(loop.stop for loop in outer) * runs
    if length < 2 or threads < _FEWEST * gpu.multiprocessors or (outer and last.stop % length) or not any(touch.writes for touch in moved):
        return [nest]
    if not all(_is_run(touch.buffer, touch.index, last.variable, length) for touch in moved):
        return [nest]
    first = outer[0].stop if outer else runs
    ahead = _runs_ahead(moved, length, threads // (_AT_WORK * gpu.multiprocessors))
    ahead = ahead if not outer else next(n for n in range(ahead, 0, -1) if first % n == 0)
    step, run, number = names("q"), names("l"), names("u")
    far = Index.variable(number, first // ahead) if ahead > 1 else Index()
    place = Index.variable(step, length) + Index.variable(run)
    places = {last.variable: place} if outer else {last.variable: place + far * length}
    places |= {loop.variable: Index.variable(loop.variable) + far for loop in outer[:1]}
    steps = [*outer, replace(last, variable=step, stop=runs)]
    steps[0] = replace(steps[0], stop=first // ahead)
    inner = [For(number, 0, ahead, 1, "unrolled", []), For(run, 0, length, 1, "unrolled", [])]
    body = at_once(inner[ahead == 1 :], substitute(last.body, places), names, same, independent=True)
    if body is None:
        return [nest]
    done = ahead * (runs // ahead) * length if not outer else last.stop
    rest = replace(last, stop=last.stop - done, body=substitute(last.body, {last.variable: Index.variable(last.variable) + done}))
    return [*_nest(steps, body), *([rest] if rest.stop else [])]


def _runs_ahead(moved: Sequence[Touch], length: int, threads: int) -> int:
    """How many runs a thread has at once, if there are so many times the threads that are at work."""
    loaded = {(touch.buffer, touch.index) for touch in moved if not touch.writes}
    nbytes = length * sum(buffer.dtype.itemsize for buffer, _ in loaded)
    return max(1, min(_IN_FLIGHT, _BYTES // max(1, nbytes), threads))


def _nest(loops: Sequence[For], body: Sequence[Statement]) -> list[Statement]:
    result = list(body)
    for loop in reversed(loops):
        result = [replace(loop, body=result)]
    return result


# Runs of one thread's steps.


def thread_in_runs(loop: For, names: Names, same: Mapping[Buffer, Buffer]) -> list[Statement] | None:
    """A loop of one thread that loads neighbours in its steps, which follow each other: so many steps at once, and before and behind them
    those that are left over. None if there are no such loads.

    Before -> after: `for s in 2:12 { a += x[s] * y[7 * s] }` ->
    `for s in 2:4 { .. } for q in 0:2 { r = x[4 * q + 4 ..]; for v in 0:4 { a += r[v] * y[28 * q + 7 * v + 28] } }`
    """
    if loop.kind not in ("serial", "unrolled") or loop.step != 1 or loop.turns:
        return None
    loads = {
        (touch.buffer, touch.index) for touch in touches(loop.body) if not touch.writes and touch.index.coefficient(loop.variable) == 1
    }
    places = [(buffer, index) for buffer, index in loads if buffer.space not in ("register", "shared")]
    length = min(LONGEST_RUN, run_length(buffer.dtype for buffer, _ in places)) if places else 1
    starts = {-index.constant % length for buffer, index in places if _is_run(buffer, index + -index.constant, loop.variable, length)}
    if not starts:
        return None
    first = loop.start + (min(starts) - loop.start) % length
    count = (loop.stop - first) // length
    step, run = names("q"), names("v")
    at = (Index.variable(step, length) if count > 1 else Index()) + Index.variable(run) + first
    inside = (
        at_once([For(run, 0, length, 1, "unrolled", [])], substitute(loop.body, {loop.variable: at}), names, same) if count > 0 else None
    )
    if inside is None:
        return None
    last = first + count * length
    before, after = ([replace(loop, start=a, stop=b)] if a < b else [] for a, b in ((loop.start, first), (last, loop.stop)))
    between = [For(step, 0, count, 1, loop.kind, inside)] if count > 1 else inside
    return [*before, *between, *(replace(piece, body=substitute(piece.body, {})) for piece in after)]


# Their accesses.


def _is_run(buffer: Buffer, index: Index, variable: str, length: int) -> bool:
    """The steps of a variable are neighbours in memory that one access takes: the first of them is at a multiple of all."""
    others = (index.constant, *(c for name, c in index.terms if name != variable))
    fits = buffer.space not in ("register", "shared") and WIDEST % (length * buffer.dtype.itemsize) == 0
    return fits and index.coefficient(variable) == 1 and all(part % length == 0 for part in others)


def at_once(
    loops: Sequence[For], body: Sequence[Statement], names: Names, same: Mapping[Buffer, Buffer], independent: bool = False
) -> list[Statement] | None:
    """A nest of loops of one thread, the last of them over a run of neighbours, that loads runs before and stores them behind all else;
    None if there are none, or if a step may touch what another one stores. `independent`: none does."""
    if not all(isinstance(statement, (Let, CheckIndex, Store)) for statement in body) or loops[-1].stop < 2:
        return None
    if not (independent or _are_apart(body, loops[-1].variable, same)):
        return None
    return _AtOnce(loops, body, names).statements(same)


def _are_apart(body: Sequence[Statement], variable: str, same: Mapping[Buffer, Buffer]) -> bool:
    """What steps store into memory, they alone touch: it is at one place of each."""
    places: dict[Buffer, set[Index]] = {}
    found = [touch for touch in touches(body) if touch.buffer.space != "register"]
    for touch in found:
        for buffer in (touch.buffer, same.get(touch.buffer, touch.buffer)):
            places.setdefault(buffer, set()).add(touch.index)
    return all(len(places[touch.buffer]) == 1 and touch.index.coefficient(variable) for touch in found if touch.writes)


class _AtOnce:
    """What becomes of a nest: bindings that no step changes, loads, the nest, stores."""

    def __init__(self, loops: Sequence[For], body: Sequence[Statement], names: Names) -> None:
        self.loops, self.run, self.body, self.names = loops, loops[-1], body, names
        self.stored = {statement.buffer for statement in body if isinstance(statement, Store)}
        #: what is bound in the nest, or counted by it
        self.inside = {loop.variable for loop in loops}
        #: runs that are loaded, and the registers that they are in
        self.loaded: dict[tuple[Buffer, Index], Buffer] = {}

    def statements(self, same: Mapping[Buffer, Buffer]) -> list[Statement] | None:
        first: list[Statement] = []
        steps: list[Statement] = []
        last: list[Statement] = []
        before: set[Buffer | None] = set()
        for statement in self.body:
            read = _loaded(statement)
            if before & {b for b in read if b.space != "register"}:
                return None
            if isinstance(statement, (Let, CheckIndex)) and self._is_one(statement, read):
                first.append(statement)
                continue
            if isinstance(statement, Store):
                before |= {statement.buffer, same.get(statement.buffer)}
                steps.append(self._store(statement, last))
            else:
                assert isinstance(statement, (Let, CheckIndex))
                self.inside.add(statement.variable.name)
                steps.append(replace(statement, value=self._value(statement.value)))
        if not self.loaded and not last:
            return None
        only = self.body[0]
        if isinstance(only, Store) and self._is_copy(only):
            return self._at_once(only)
        loads = [
            load
            for (buffer, index), held in self.loaded.items()
            for load in self._at_once(Store(held, self._place(index), Load(buffer, index)))
        ]
        return [*first, *loads, *_nest(self.loops, steps), *last]

    def _is_one(self, statement: Let | CheckIndex, read: set[Buffer]) -> bool:
        """It binds the same in all steps."""
        return not variables_read(statement.value) & self.inside and not read & self.stored

    def _is_run(self, buffer: Buffer, index: Index) -> bool:
        outside = index.variables().isdisjoint(self.inside - {loop.variable for loop in self.loops})
        return outside and _is_run(buffer, index, self.run.variable, self.run.stop)

    def _value(self, expression: Expression) -> Expression:
        """The expression, with runs from registers."""

        def leaf(old: Expression) -> Expression:
            if not isinstance(old, Load) or not self._is_run(old.buffer, old.index):
                return old
            key = (old.buffer, old.index)
            if key not in self.loaded:
                self.loaded[key] = self._registers(old.buffer, old.index)
            return Load(self.loaded[key], self._place(old.index))

        return rebuild(expression, leaf)

    def _store(self, statement: Store, last: list[Statement]) -> Store:
        value = self._value(statement.value)
        if not self._is_run(statement.buffer, statement.index):
            return replace(statement, value=value)
        held, place = self._registers(statement.buffer, statement.index), self._place(statement.index)
        last += self._at_once(replace(statement, value=Load(held, place)))
        return Store(held, place, value)

    def _is_copy(self, only: Store) -> bool:
        """It is one already, between registers and memory."""
        return len(self.body) == 1 and copied_at_once(replace(self.run, kind="vector", body=[only])) is not None

    def _moving(self, index: Index) -> list[For]:
        """The loops that move a run, and that over it."""
        return [loop for loop in self.loops if index.coefficient(loop.variable)]

    def _registers(self, buffer: Buffer, index: Index) -> Buffer:
        return Buffer(self.names("run_"), buffer.dtype, math.prod(loop.stop for loop in self._moving(index)), "register")

    def _place(self, index: Index) -> Index:
        """Where a step's element is in the registers of a run."""
        place = Index()
        for loop in self._moving(index):
            place = place * loop.stop + Index.variable(loop.variable)
        return place

    def _at_once(self, copy: Store) -> list[Statement]:
        """What a loop over neighbours copies, as one statement."""
        memory = copy.index if copy.buffer.space != "register" else copy.value.index  # type: ignore[union-attr]
        *far, run = self._moving(memory)
        return _nest([*far, replace(run, kind="vector", lanes=run.stop)], [copy])


def _loaded(statement: Statement) -> set[Buffer]:
    return {item.buffer for e in expressions(statement) for item in subexpressions(e) if isinstance(item, Load)}
