"""What passes that keep things in registers have in common: the threads of a phase, what they touch, and copies in its place."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from irdl.codegen.cuda.dealing import WARP, WARPS
from irdl.ir.dtypes import is_half
from irdl.loops.expressions import Buffer, Expression, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import BOUND, Copy, For, If, Let, LoadMatrices, Multiply, Statement, Store
from irdl.loops.rewrite import rewrite
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, walk

#: stands for a condition that data decide, and for the other side of one
UNKNOWN = If(Variable("?", np.dtype(bool)), [], [])


def words(dtype: np.dtype, count: int = 1) -> int:
    """The registers that so many numbers take: floats of 16 bits share them by two."""
    return -(-count // 2) if is_half(dtype) else count * max(1, dtype.itemsize // 4)


def are_paired(buffer: Buffer) -> bool:
    """Whether registers hold two numbers each: of floats of 16 bits, several of a thread that outlive a step."""
    return buffer.space == "register" and is_half(buffer.dtype) and buffer.size > buffer.copies > 1


def paired(body: Sequence[Statement]) -> set[Buffer]:
    """Those of a loop over time, without what instructions of a warp take, which is of a step."""
    statements = list(walk(body))
    multiplied = {buffer for statement in statements if isinstance(statement, Multiply) for buffer in buffers_of(statement)}
    return {buffer for statement in statements for buffer in buffers_of(statement) if are_paired(buffer)} - multiplied


def is_widened_pair(operation: Operation) -> bool:
    """It makes a float32 of one of two that share a register."""
    number = operation.arguments[0]
    return operation.name == "cast" and operation.dtype == np.float32 and isinstance(number, Load) and are_paired(number.buffer)


def is_read_ahead(store: Store) -> bool:
    """What it loads stays in registers, and is waited for where it is used."""
    kept = store.buffer.space == "register" and store.buffer.copies > 1
    return kept and isinstance(store.value, Load) and store.value.buffer.space not in ("register", "shared")


def copied_at_once(loop: For) -> tuple[Store, Load] | None:
    """Of a vector loop: where to, and from where, one of them registers."""
    if loop.kind != "vector" or len(loop.body) != 1:
        return None
    store = loop.body[0]
    if not (isinstance(store, Store) and isinstance(store.value, Load)):
        return None
    sides = (store, store.value)
    is_run = all(side.index.coefficient(loop.variable) == 1 for side in sides)
    return (store, store.value) if is_run and sum(side.buffer.space == "register" for side in sides) == 1 else None


def reads_runs_ahead(body: Sequence[Statement]) -> bool:
    """A step loads several runs before it stores any."""
    return any(isinstance(s, For) and s.kind == "unrolled" and any(is_run_loaded(inner) for inner in s.body) for s in walk(body))


def is_run_loaded(statement: Statement) -> bool:
    copy = copied_at_once(statement) if isinstance(statement, For) else None
    return copy is not None and copy[0].buffer.space == "register"


def nests_of(body: Sequence[Statement]) -> Iterator[For]:
    """The outermost bound loops."""
    for statement in body:
        if isinstance(statement, For) and statement.kind in BOUND:
            yield statement
        else:
            for part in nested(statement):
                yield from nests_of(part)


@dataclass(frozen=True)
class Part:
    """What lanes do by themselves: all of a phase, or what is between instructions of their warps.

    Attributes:
        repeats: the loops of a warp around it.
    """

    warps: list[For]
    lanes: list[For]
    repeats: tuple[For, ...] = ()

    @property
    def body(self) -> list[Statement]:
        return self.lanes[-1].body


def parts_of(phase: Statement) -> list[Part]:
    """The parts of a phase; none if threads do several steps of its loops over warps or lanes, or if there is more to it."""
    if not (isinstance(phase, For) and phase.kind == "warp"):
        return []
    warps = bound_nest(phase)
    parts = _parts(warps[-1].body, warps, ())
    many = math.prod(loop.stop for loop in warps) > WARPS
    return [] if parts is None or many or any(math.prod(loop.stop for loop in part.lanes) > WARP for part in parts) else parts


def _parts(body: Sequence[Statement], warps: list[For], repeats: tuple[For, ...]) -> list[Part] | None:
    found: list[Part] = []
    for statement in body:
        if isinstance(statement, For) and statement.kind == "lane":
            found.append(Part(warps, bound_nest(statement), repeats))
        elif isinstance(statement, For) and statement.kind not in BOUND:
            inside = _parts(statement.body, warps, (*repeats, statement))
            if inside is None:
                return None
            found += inside
        elif not isinstance(statement, Multiply):
            return None
    return found


def threads_of(phase: Statement) -> tuple[list[For], list[For]] | None:
    """The loops over warps and lanes around all that a phase does, if each thread does one step of them."""
    parts = parts_of(phase)
    return (parts[0].warps, parts[0].lanes) if len(parts) == 1 and len(parts[0].warps[-1].body) == 1 and not parts[0].repeats else None


def thread_number(warps: Sequence[For], lanes: Sequence[For]) -> Index:
    """The number of a thread in its block."""
    return number_of(warps) * WARP + number_of(lanes)


def number_of(nest: Sequence[For]) -> Index:
    """The number of a step of a nest."""
    index, stride = Index(), 1
    for loop in reversed(nest):
        index = index + (Index.variable(loop.variable, stride) if loop.stop > 1 else Index())
        stride *= loop.stop
    return index


@dataclass(frozen=True)
class Touch:
    """An access to memory, and the loops and conditions of one thread around it. `passing`: what a `Copy` reads, which goes to shared memory
    without passing through the thread."""

    buffer: Buffer
    index: Index
    writes: bool
    around: tuple[For | If, ...] = ()
    passing: bool = False

    @property
    def loops(self) -> list[For]:
        """Those that its place depends on."""
        return [s for s in self.around if isinstance(s, For) and self.index.coefficient(s.variable)]

    @property
    def conditions(self) -> list[Expression]:
        return [s.condition for s in self.around if isinstance(s, If)]


def touches(body: Sequence[Statement], around: tuple[For | If, ...] = ()) -> Iterator[Touch]:
    """What statements touch, in order, but for the shared memory that warps load matrices from."""
    for statement in body:
        if isinstance(statement, Copy):
            yield from (replace(touch, passing=not touch.writes) for touch in touches([statement.spelled_out()], around))
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    yield Touch(item.buffer, item.index, False, around)
        if isinstance(statement, Store):
            yield Touch(statement.buffer, statement.index, True, around)
        if isinstance(statement, If):
            known = not any(isinstance(item, (Load, Variable)) for item in subexpressions(statement.condition))
            yield from touches(statement.then, (*around, statement if known else UNKNOWN))
            yield from touches(statement.otherwise, (*around, UNKNOWN))
            continue
        inside = (*around, statement) if isinstance(statement, For) and statement.kind not in BOUND else around
        for part in nested(statement):
            yield from touches(part, inside)


def made_of_loads(phase: Statement) -> dict[tuple[Buffer, Index], Operation]:
    """Of each place that is loaded, the operation on it alone, where that is bound or stored and nothing else is done with what lies
    there."""
    uses: dict[tuple[Buffer, Index], set[Operation | None]] = {}
    for statement in walk([phase]):
        for expression in expressions(statement):
            alone = isinstance(expression, Load)
            for item in subexpressions(expression):
                arguments = item.arguments if isinstance(item, Operation) else ()
                for load in (argument for argument in (*arguments, *((expression,) if alone else ())) if isinstance(argument, Load)):
                    one = isinstance(statement, (Store, Let)) and len(arguments) == 1
                    made = item if one and isinstance(item, Operation) and words(item.dtype) == words(load.dtype) else None
                    uses.setdefault((load.buffer, load.index), set()).add(made)
    return {place: made for place, (made, *others) in uses.items() if made is not None and not others}


def with_copies(phase: Statement, copies: Mapping[tuple[Buffer, Index], Load], made: Collection[Buffer] = ()) -> Statement:
    """The phase with copies for what lies at those places. Registers have no address: loops that they are indexed by are unrolled.

    Args:
        made: those of the copies that hold what the operation on the original gives.
    """
    owner = {buffer: copy.buffer for (buffer, _), copy in copies.items()}

    def leaf(old: Expression) -> Expression:
        return copies.get((old.buffer, old.index), old) if isinstance(old, Load) else old

    def place(buffer: Buffer, index: Index) -> Index:
        return copies[buffer, index].index if (buffer, index) in copies else index

    (result,) = rewrite([phase], leaf, place)
    unrolled = {name for copy in copies.values() if copy.buffer.space == "register" for name in copy.index.variables()}
    for statement in walk([result]):
        if made and isinstance(statement, (Store, Let)):
            statement.value = _taken(statement.value, made)
        if isinstance(statement, Store) and statement.buffer in owner:
            statement.buffer = owner[statement.buffer]
        elif isinstance(statement, For) and statement.kind == "serial" and statement.variable in unrolled:
            statement.kind = "unrolled"
    return result


def _taken(expression: Expression, made: Collection[Buffer]) -> Expression:
    """The expression, without the operations on buffers that hold what they give."""
    if not isinstance(expression, Operation):
        return expression
    first = expression.arguments[0]
    if isinstance(first, Load) and first.buffer in made:
        return first
    return Operation(expression.name, tuple(_taken(argument, made) for argument in expression.arguments), expression.dtype)


def registers_of(body: Sequence[Statement]) -> int:
    """The registers of a thread, roughly: what the program keeps there, and some for places and what is on its way."""
    stored = {s.buffer for s in walk(body) if isinstance(s, (Store, LoadMatrices)) and s.buffer.space == "register"}
    # Runs that are on their way take each other's place, but for those that are loaded, or stored, one after the other.
    passing = _passing(body)
    own = {buffer for buffers in passing for buffer in buffers}
    return min(255, max(32, 24 + _words_of(stored - own) + max(map(_words_of, passing), default=0)))


def _passing(body: Sequence[Statement]) -> list[set[Buffer]]:
    """The registers that copies of runs go by, together where neither anything else nor the other direction is between them."""
    found: list[set[Buffer]] = []
    last = ""
    for statement in body:
        copy = copy_in(statement)
        if copy is None:
            found += [buffers for part in nested(statement) for buffers in _passing(part)]
            last = ""
            continue
        side = copy[0] if copy[0].buffer.space == "register" else copy[1]
        if last != (last := "load" if side is copy[0] else "store"):
            found.append(set())
        found[-1] |= {side.buffer} if side.buffer.copies == 1 else set()
    return found


def copy_in(statement: Statement) -> tuple[Store, Load] | None:
    """Of a vector loop, alone in loops around it."""
    while isinstance(statement, For) and statement.kind == "unrolled" and len(statement.body) == 1:
        statement = statement.body[0]
    return copied_at_once(statement) if isinstance(statement, For) else None


def _words_of(buffers: Collection[Buffer]) -> int:
    return sum(-(-buffer.size // buffer.copies * buffer.dtype.itemsize // 4) for buffer in buffers)
