"""Short steps of a loop become one kernel around the loop, and what a step passes on to the next stays in registers.

    for t { kernel { h[l] = a[l] * h[l] + x[16*t + l] } }
    -> kernel { r[l] = h[l]; for t { let v = a[l] * r[l] + x[16*t + l]; h[l] = v; r[l] = v } }

Somewhat longer steps become one too, as they are. Everything is still written to memory, in the same order; registers only stand in for what is read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from irdl.loops.cost import cycles
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Variable
from irdl.loops.index import Index
from irdl.loops.language import CheckIndex, For, Kernel, Let, Prefetch, Program, Statement, Store
from irdl.loops.rewrite import Names, rebuild
from irdl.loops.target import Target
from irdl.loops.walk import expressions, nested, subexpressions, walk

#: Cycles of a step that waits for registers to come back from memory, and statements of one once its loops are unrolled.
_SHORT, _MOST = 300, 128
#: And of one for which a call of each kernel counts, and making its constants anew.
_CALLED = 1_500


def keep_carries(program: Program, target: Target) -> Program:
    """Make one kernel of each loop with short steps, in place."""
    # A step that threads may divide stays as it is, if it is not short.
    longest = _CALLED if target.threads == 1 else max(_SHORT, min(_CALLED, target.worth.kernel))
    _visit(program.body, Names(program), target.registers // 2, longest)
    return program


def _visit(body: list[Statement], names: Names, registers: int, longest: float) -> None:
    for place, statement in enumerate(body):
        if isinstance(statement, Kernel):
            continue
        for part in nested(statement):
            _visit(part, names, registers, longest)
        if isinstance(statement, For):
            body[place] = _as_kernel(statement, names, registers, longest) or statement


def _as_kernel(loop: For, names: Names, registers: int, longest: float) -> Kernel | None:
    kernels = [statement for statement in loop.body if isinstance(statement, Kernel)]
    if not kernels or len(kernels) < len(loop.body) or (count := cycles(_inside(kernels))) > longest:
        return None
    first, steps = list[Statement](), _inside(kernels)
    try:
        if count <= _SHORT:
            first, steps = _Registers(loop, list(_unrolled(steps, {}, names, [_MOST])), names, registers).result()
    except _TooMany:
        if longest <= _SHORT:
            return None
    return Kernel(
        kernels[-1].name, [*first, For(loop.variable, loop.start, loop.stop, loop.step, "serial", steps)], where=kernels[-1].where
    )


def _inside(kernels: Sequence[Kernel]) -> list[Statement]:
    return [statement for kernel in kernels for statement in kernel.body]


class _TooMany(Exception):
    pass


def _unrolled(body: Sequence[Statement], values: Mapping[str, Index], names: Names, left: list[int]) -> Iterator[Statement]:
    """The statements with every loop but vector loops unrolled, and bindings renamed. `left`: how many there may be."""
    values = dict(values)

    def leaf(item: Expression) -> Expression:
        if isinstance(item, Load):
            return Load(item.buffer, item.index.substitute(values))
        if isinstance(item, IndexValue):
            return IndexValue(item.index.substitute(values))
        if isinstance(item, Variable) and item.name in values:
            return Variable(_name_of(values[item.name]), item.dtype)
        return item

    def renamed(variable: Variable) -> Variable:
        fresh = names("t")
        values[variable.name] = Index.variable(fresh)
        return Variable(fresh, variable.dtype)

    for statement in body:
        left[0] -= 1
        if left[0] < 0 or not isinstance(statement, (For, Let, Store, CheckIndex, Prefetch)):
            raise _TooMany
        if isinstance(statement, For) and statement.kind == "vector":
            lane = names("l")
            inner = list(_unrolled(statement.body, {**values, statement.variable: Index.variable(lane)}, names, left))
            yield For(lane, statement.start, statement.stop, statement.step, "vector", inner, statement.lanes)
        elif isinstance(statement, For):
            if statement.turns:
                raise _TooMany
            for step in range(statement.start, statement.stop, statement.step):
                yield from _unrolled(statement.body, {**values, statement.variable: Index(step)}, names, left)
        elif isinstance(statement, Let):
            value = rebuild(statement.value, leaf)
            yield Let(renamed(statement.variable), value)
        elif isinstance(statement, CheckIndex):
            value = rebuild(statement.value, leaf)
            yield CheckIndex(renamed(statement.variable), value, statement.extent, statement.code)
        elif isinstance(statement, Prefetch):
            yield Prefetch(statement.buffer, statement.index.substitute(values), statement.write)
        else:
            yield Store(statement.buffer, statement.index.substitute(values), rebuild(statement.value, leaf))


def _name_of(index: Index) -> str:
    ((name, _),) = index.terms
    return name


@dataclass(frozen=True)
class _Access:
    """One access of a step: elements `constant + moving * t` on, as many as `used` lanes of `lanes` (0: a scalar); `rest`: what
    other loops add to it."""

    buffer: Buffer
    stores: bool
    constant: int
    moving: int
    rest: tuple[tuple[str, int], ...]
    lanes: int
    used: int
    #: the lane variable appears otherwise than with factor one
    scattered: bool

    def elements(self) -> range:
        return range(self.constant, self.constant + self.used)


class _Registers:
    """One loop, its steps unrolled: which buffers are read back, and the slots (vectors or scalars) that stand in for them.

    A slot is as far from the first element as where it stands in for is in the first step. Where a buffer's place moves with the
    loop, what is in the slot that lies one step further is what the next step finds in this one.
    """

    def __init__(self, loop: For, steps: list[Statement], names: Names, registers: int) -> None:
        self.loop, self.steps, self.names = loop, steps, names
        #: buffer -> where a slot begins -> the register
        self.slots: dict[Buffer, dict[int, Buffer]] = {}
        #: and how many elements it is
        self.widths: dict[Buffer, dict[int, int]] = {}
        self.accesses: dict[Buffer, list[_Access]] = {}
        for access in self._all(steps, None):
            self.accesses.setdefault(access.buffer, []).append(access)
        #: places that the data of a step give are others in the next
        bound = {statement.variable.name for statement in walk(steps) if isinstance(statement, (Let, CheckIndex))}
        for buffer, accesses in self.accesses.items():
            if any(name in bound for access in accesses for name, _ in access.rest):
                continue
            if buffer.space == "register" or len({access.stores for access in accesses}) < 2:
                continue
            widths = _slots(accesses)
            if widths is not None and len(widths) <= registers and _read_back(accesses, widths):
                registers -= len(widths)
                self.widths[buffer] = widths
                lanes = max(access.lanes for access in accesses)
                self.slots[buffer] = {start: Buffer(names("r"), buffer.dtype, max(lanes, 1), "register") for start in sorted(widths)}

    def _all(self, body: Sequence[Statement], vector: For | None) -> Iterator[_Access]:
        """The accesses of a step in the order in which they happen."""
        for statement in body:
            for expression in expressions(statement):
                for item in subexpressions(expression):
                    if isinstance(item, Load):
                        yield self._access(item, vector)
            if isinstance(statement, Store):
                yield self._access(statement, vector)
            if isinstance(statement, For):
                yield from self._all(statement.body, statement)

    def _access(self, item: Load | Store, vector: For | None) -> _Access:
        factor = item.index.coefficient(vector.variable) if vector is not None else 0
        lanes, used = (vector.lanes, vector.stop) if vector is not None and factor else (0, 1)
        own = {self.loop.variable, vector.variable if vector is not None else ""}
        rest = tuple(term for term in item.index.terms if term[0] not in own)
        moving = item.index.coefficient(self.loop.variable)
        constant = item.index.constant + moving * self.loop.start
        return _Access(item.buffer, isinstance(item, Store), constant, moving, rest, lanes, used, factor not in (0, 1))

    def result(self) -> tuple[list[Statement], list[Statement]]:
        """What comes before the loop, and the steps, with registers."""
        return list(self._before()), [*self._rewritten(self.steps, None), *self._moves()]

    def _before(self) -> Iterator[Statement]:
        """What the first step reads before anything is stored there."""
        for buffer, slots in self.slots.items():
            for start, register in slots.items():
                slot = range(start, start + self.widths[buffer][start])
                users = [access for access in self.accesses[buffer] if any(element in slot for element in access.elements())]
                if not users[0].stores:
                    yield self._whole(buffer, start, register, buffer, Index(start, users[0].rest))

    def _moves(self) -> Iterator[Statement]:
        for buffer, slots in self.slots.items():
            moving = self.accesses[buffer][0].moving
            for start in _in_order(slots, moving):
                if moving and start + moving in slots:
                    yield self._whole(buffer, start, slots[start], slots[start + moving], Index())

    def _whole(self, buffer: Buffer, start: int, register: Buffer, source: Buffer, place: Index) -> Statement:
        """Set the register of a slot of `buffer`, which is a vector or a scalar, to what `source` has at `place`."""
        vectors = [access for access in self.accesses[buffer] if access.lanes and access.constant == start]
        if not vectors:
            return Store(register, Index(), Load(source, place))
        lane = Index.variable(name := self.names("l"))
        return For(name, 0, vectors[0].used, 1, "vector", [Store(register, lane, Load(source, place + lane))], vectors[0].lanes)

    def _rewritten(self, body: Sequence[Statement], vector: For | None) -> list[Statement]:
        def leaf(item: Expression) -> Expression:
            if isinstance(item, Load) and item.buffer in self.slots:
                return Load(*self._place(item, vector))
            return item

        result: list[Statement] = []
        for statement in body:
            if isinstance(statement, For):
                inner = self._rewritten(statement.body, statement)
                result.append(For(statement.variable, statement.start, statement.stop, statement.step, "vector", inner, statement.lanes))
            elif isinstance(statement, Let):
                result.append(Let(statement.variable, rebuild(statement.value, leaf)))
            elif isinstance(statement, CheckIndex):
                result.append(CheckIndex(statement.variable, rebuild(statement.value, leaf), statement.extent, statement.code))
            elif isinstance(statement, Store):
                value = rebuild(statement.value, leaf)
                if statement.buffer in self.slots:
                    if not isinstance(value, (Variable, Literal)):
                        variable = Variable(self.names("t"), value.dtype)
                        result.append(Let(variable, value))
                        value = variable
                    result.append(Store(*self._place(statement, vector), value))
                result.append(Store(statement.buffer, statement.index, value))
            else:
                result.append(statement)
        return result

    def _place(self, item: Load | Store, vector: For | None) -> tuple[Buffer, Index]:
        """The register that stands in for an element (of each lane), and where in it."""
        access = self._access(item, vector)
        slots = self.slots[item.buffer]
        if access.lanes:
            assert vector is not None
            return slots[access.constant], Index.variable(vector.variable)
        begins = max(start for start in slots if start <= access.constant)
        return slots[begins], Index(access.constant - begins)


def _in_order(slots: Iterable[int], moving: int) -> list[int]:
    """So that what moves into a slot has not been moved yet."""
    return sorted(slots, reverse=moving < 0)


def _slots(accesses: Sequence[_Access]) -> dict[int, int] | None:
    """Where the slots begin, and how many elements they are: all vectors are alike, two are the same or apart, and scalars lie
    inside one. Else None."""
    one = accesses[0]
    if any(a.moving != one.moving or a.rest != one.rest or a.scattered for a in accesses):
        return None
    vectors = [a for a in accesses if a.lanes]
    if len({a.lanes for a in vectors}) > 1 or (vectors and any(a.stores and not a.lanes for a in accesses)):
        return None
    widths: dict[int, int] = {}
    for access in vectors or accesses:
        if widths.setdefault(access.constant, access.used) != access.used:
            return None
    starts = sorted(widths)
    if any(b - a < widths[a] for a, b in pairwise(starts)):
        return None
    inside = {start + lane for start, width in widths.items() for lane in range(width)}
    if any(place not in inside for access in accesses for place in access.elements()):
        return None
    return widths


def _read_back(accesses: Sequence[_Access], widths: Mapping[int, int]) -> bool:
    """Whether registers hold what memory does wherever it is read, by trying: every step does the same to the registers and, one
    step further each time, to memory. What a register holds has come from a slot further on in each step since it was stored; the
    first step finds what was there before the loop, and after as many as there are slots every step is like the one before.
    """
    moving = accesses[0].moving
    memory: dict[int, tuple[int, int]] = {}
    registers: dict[int, tuple[int, int]] = {}
    for step in range(len(widths) + 2):
        for number, access in enumerate(accesses):
            for element in access.elements():
                where = element + moving * step
                if access.stores:
                    memory[where] = registers[element] = (step, number)
                elif memory.get(where, (-1, where)) != registers.get(element, (-1, element)):
                    return False
        for start in _in_order(widths, moving) if moving else ():
            if widths.get(start + moving) == widths[start]:
                for element in range(start, start + widths[start]):
                    registers[element] = registers.get(element + moving, (-1, element + moving))
    return True
