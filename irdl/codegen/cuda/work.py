"""What one warp does in a phase, counted: instructions by the unit that carries them out, memory it goes through, and how long it waits
for itself. For predictions only; what nvcc makes of a loop is guessed by rules that are read from its code:

- loads of one place are made once, and ahead of loops that do not move them, unless something is stored in between that may be it
- neighbours in shared memory are one access of up to 16 bytes; those elsewhere, whose alignment is not known, are not, but for vector loops
- a short serial loop is unrolled, another by 2 to 16 steps: as many steps' loads are on their way at once
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from irdl.codegen.cuda.costs import PRODUCT, PRODUCT_LATENCY, Work, instructions, latency
from irdl.codegen.cuda.dealing import WARP, as_guard
from irdl.codegen.cuda.registers import Touch, copy_in, is_read_ahead, is_widened_pair, touches
from irdl.loops.index import Index
from irdl.loops.language import (
    Buffer,
    CheckIndex,
    Expression,
    For,
    If,
    Let,
    Literal,
    Load,
    LoadMatrices,
    Multiply,
    Operation,
    Statement,
    Store,
    Variable,
)
from irdl.loops.walk import expressions, nested, subexpressions, variables_read, walk

#: bytes that come from L2 together, and of a line of the first-level cache, which is also what shared memory gives in a cycle
SECTOR, LINE = 32, 128
#: the widest access
_WIDEST = 16
#: statements that are unrolled: of all steps of a loop, and of some of them; the fewest and the most of those steps
_WHOLE, _PART, _FEWEST = 128, 16, 2


def work_of(
    body: Sequence[Statement], lanes: Sequence[For], shared: Sequence[For], written: set[Buffer], room: float, cycles: float
) -> Work:
    """What one warp does in the body of a nest of lanes, once.

    Args:
        lanes: the loops of the lanes around, each of which does one step.
        shared: loops around whose steps several warps of the block do; what they touch together comes from L2 once.
        written: what this launch stores into.
        room: bytes of the first-level cache.
        cycles: from an operation to one that needs its result.
    """
    if not lanes:  # the warp's, between whose instructions lanes do what they do
        inner: dict[str, For] = {}
        body = _opened(body, inner)
        lanes = list(inner.values())
    steps = Steps(body, lanes, shared)
    chain = _Chain(cycles)
    chain.run(body)
    # Where a phase is: the thread's place on each of the loops.
    start = Work(issued=4, integer=4, chain=chain.latest)
    return start + _arithmetic(body) + steps.access_work(room) + _waiting(body, written)


def _opened(body: Sequence[Statement], lanes: dict[str, For]) -> list[Statement]:
    """What one lane does: the loops over lanes, which are added to `lanes` by their variables, do one step."""
    opened: list[Statement] = []
    for statement in body:
        if isinstance(statement, For) and statement.kind == "lane":
            lanes.setdefault(statement.variable, statement)
            opened += _opened(statement.body, lanes)
        else:
            opened.append(replace(statement, body=_opened(statement.body, lanes)) if isinstance(statement, For) else statement)
    return opened


def _extent(loop: For) -> int:
    return len(range(loop.start, loop.stop, loop.step))


def _at_once(loop: For) -> int:
    """Steps whose loads are on their way at once."""
    return max(1, _extent(loop)) if loop.kind in ("unrolled", "vector") else unrolled(_extent(loop), statements(loop.body))


def statements(body: Sequence[Statement]) -> int:
    """Copies are accesses, which are not counted in expressions either."""
    copies = sum(isinstance(statement, For) and statement.kind == "vector" for statement in walk(body))
    return sum(isinstance(statement, (Let, Store)) for statement in walk(body)) - copies


def unrolled(steps: int, size: int) -> int:
    """How many steps of a loop over so many statements nvcc unrolls."""
    return max(1, steps) if steps * size <= _WHOLE else max(_FEWEST, _PART // max(1, size))


def _arithmetic(body: Sequence[Statement]) -> Work:
    total = Work()
    for statement in body:
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Operation):
                    total += instructions(item)
                    # Lest it be made ahead of the loop, one more of two of them.
                    total += Work(issued=0.5, integer=0.5) if is_widened_pair(item) else Work()
        if isinstance(statement, Store) and statement.buffer.space == "register" and isinstance(statement.value, Literal):
            total += Work(issued=1, integer=1)
        elif isinstance(statement, CheckIndex):
            total += Work(issued=8, integer=8)
        elif isinstance(statement, Multiply):
            total += Work(issued=PRODUCT)
        elif isinstance(statement, LoadMatrices):
            total += Work(issued=1, near=_cycles_of(statement))
        elif isinstance(statement, For):
            step = _arithmetic(statement.body)
            turns = -(-_extent(statement) // _at_once(statement))
            # It counts, compares and jumps.
            total += step * _extent(statement) + (Work(issued=3, integer=3) * turns if turns > 1 else Work())
        elif isinstance(statement, If):
            total += max((_arithmetic(part) for part in nested(statement)), key=lambda work: work.issued)
        else:
            for part in nested(statement):
                total += _arithmetic(part)
    return total


def _cycles_of(load: LoadMatrices) -> int:
    """Of shared memory: of each of the four matrices, as many as lines of 16 bytes are in the same banks."""
    wide = _WIDEST // load.source.dtype.itemsize
    banks = [load.line * line // wide % (LINE // _WIDEST) for line in range(8)]
    return 4 * max(map(banks.count, banks))


class _Chain:
    """When results are there, in cycles after a phase has begun, if operations wait for nothing but their operands."""

    def __init__(self, cycles: float) -> None:
        self.cycles = cycles
        self.ready: dict[object, float] = {}
        self.latest = 0.0

    def run(self, body: Sequence[Statement]) -> None:
        for statement in body:
            if isinstance(statement, (Let, CheckIndex)):
                self._set(statement.variable.name, self.at(statement.value))
            elif isinstance(statement, Store):
                key = (statement.buffer, statement.index) if statement.buffer.space == "register" else None
                self._set(key, self.at(statement.value))
            elif isinstance(statement, Multiply):
                places = [(buffer, index) for _, buffer, index in statement.operands]
                self._set(places[0], max(self.ready.get(place, 0.0) for place in places) + PRODUCT_LATENCY)
            elif isinstance(statement, For):
                self._loop(statement)
            else:
                for part in nested(statement):
                    self.run(part)

    def _loop(self, loop: For) -> None:
        """The first two steps; the others take as much longer as the second."""
        if not (steps := _extent(loop)):
            return
        self.run(loop.body)
        if steps == 1:
            return
        before = dict(self.ready)
        self.run(loop.body)
        for key, when in self.ready.items():
            self._set(key, when + (steps - 2) * max(0.0, when - before.get(key, when)))

    def _set(self, key: object, when: float) -> None:
        self.ready[key] = when
        self.latest = max(self.latest, when)

    def at(self, expression: Expression) -> float:
        if isinstance(expression, Operation):
            return max(map(self.at, expression.arguments), default=0.0) + latency(expression, self.cycles)
        if isinstance(expression, Variable):
            return self.ready.get(expression.name, 0.0)
        return self.ready.get((expression.buffer, expression.index), 0.0) if isinstance(expression, Load) else 0.0


def _waiting(body: Sequence[Statement], written: set[Buffer]) -> Work:
    """How often what has been asked for is waited for, one time after the other."""
    far = near = 0.0
    other = 0.0
    loops = Work()
    found = _led_by(body, lambda load: load.buffer.space != "register")
    for statement in map(_copy_of_runs, body):
        inner = [_waiting(part, written) for part in nested(statement)]
        if isinstance(statement, For):
            turns = _extent(statement) if _is_led(statement) else -(-_extent(statement) // _at_once(statement))
            loops += inner[0] * turns
            continue
        for part in inner:
            loops += part
        near = 1.0 if isinstance(statement, LoadMatrices) else near
        if isinstance(statement, Store) and is_read_ahead(statement):
            assert isinstance(statement.value, Load)
            other = max(other, float(statement.value.buffer not in written))
            continue
        for item in _loads(statement):
            if item.buffer.space == "shared":
                near = 1.0
            elif item.buffer.space != "register":
                far = max(far, 2.0 if item.index.variables() & found else 1.0)
                other = max(other, float(item.buffer not in written))
    return Work(waits=max(far, loops.waits), near_waits=max(near, loops.near_waits), far=other + loops.far)


def _is_led(loop: For) -> bool:
    """What a step has found decides where in memory the next one looks."""
    kept = {s.buffer for s in walk(loop.body) if isinstance(s, Store) and s.buffer.space == "register"}
    led = _led_by(loop.body, lambda load: load.buffer in kept)
    return any(load.index.variables() & led for s in walk(loop.body) for load in _loads(s) if load.buffer.space != "register")


def _led_by(body: Sequence[Statement], leads: Callable[[Load], bool]) -> set[str]:
    """The variables that are what certain loads find, or are made of that."""
    led: set[str] = set()
    for statement in walk(body):
        if isinstance(statement, (Let, CheckIndex)) and (any(map(leads, _loads(statement))) or variables_read(statement.value) & led):
            led.add(statement.variable.name)
    return led


def _loads(statement: Statement) -> Iterator[Load]:
    return (item for expression in expressions(statement) for item in subexpressions(expression) if isinstance(item, Load))


def _copy_of_runs(statement: Statement) -> Statement:
    """What one run of all that a loop copies at once is; all else as it is."""
    copy = copy_in(statement)
    return statement if copy is None else copy[0]


@dataclass(frozen=True, eq=False)
class Access:
    """Of one thread: places that lie `width` elements next to each other, `times` times, `together` of them in one access, where the
    program says so. `loops`: those that move it; `bounds`: what a guard keeps variables below; `passing`: as of a `Touch`."""

    buffer: Buffer
    index: Index
    writes: bool
    width: int
    loops: tuple[For, ...]
    times: int
    together: int
    bounds: tuple[tuple[str, int], ...]
    passing: bool

    def strides(self, loops: Iterable[For]) -> list[tuple[int, int]]:
        """How far apart, in bytes, the steps of loops are, and how many."""
        size = self.buffer.dtype.itemsize
        return [(abs(self.index.coefficient(loop.variable)) * loop.step * size, self.steps(loop)) for loop in loops]

    def steps(self, loop: For) -> int:
        """How many steps of a loop touch something."""
        return min([_extent(loop), *(-(-most // loop.step) for name, most in self.bounds if name == loop.variable)])


def _bounds(touch: Touch) -> tuple[tuple[str, int], ...]:
    """What variables are less than, as far as guards say so."""
    guards = [guard for guard in map(as_guard, touch.conditions) if guard is not None]
    return tuple(
        (name, max(0, -(-(extent - index.constant) // c)))
        for index, extent in guards
        if all(other > 0 for _, other in index.terms)
        for name, c in index.terms
    )


class Steps:
    """The accesses of a body to memory."""

    def __init__(self, body: Sequence[Statement], lanes: Sequence[For], shared: Sequence[For]) -> None:
        self.lanes, self.shared = lanes, shared
        found = [touch for touch in touches(body) if touch.buffer.space != "register"]
        groups: dict[tuple[object, ...], list[Touch]] = {}
        for touch in found:
            groups.setdefault((touch.buffer, touch.index.terms, touch.writes, tuple(map(id, touch.around))), []).append(touch)
        stores = [touch for touch in found if touch.writes]
        self.accesses = [access for alike in groups.values() for access in self._together(alike, stores)]
        known = {loop.variable for loop in (*lanes, *shared)} | {s.variable for s in walk(body) if isinstance(s, For)}
        bindings = {s.variable.name for s in walk(body) if isinstance(s, (Let, CheckIndex))} - known
        #: whose places data decide
        self.scattered = {access for access in self.accesses if access.index.variables() & bindings}

    def _together(self, alike: Sequence[Touch], stores: Sequence[Touch]) -> Iterable[Access]:
        """Of touches that differ in a constant alone: those of neighbours as one."""
        first = alike[0]
        around = [s for s in first.around if isinstance(s, For)]
        moving = [loop for loop in around if first.index.coefficient(loop.variable)]
        still = {id(loop) for loop in around if not first.index.coefficient(loop.variable)}
        if not first.writes and self._stays(first, still, stores):
            around = moving
        whole = {loop.variable: _extent(loop) for loop in around if _at_once(loop) == _extent(loop)}
        together = math.prod(loop.stop for loop in around if loop.kind == "vector")
        constants = sorted({touch.index.constant for touch in alike})
        start, runs = 0, []
        for place in range(1, len(constants) + 1):
            if place == len(constants) or constants[place] != constants[place - 1] + 1:
                runs.append((constants[start], place - start))
                start = place
        for constant, width in runs:
            # The steps of a loop that is unrolled are neighbours too.
            along: set[str] = set()
            for name, steps in whole.items():
                if first.index.coefficient(name) == width:
                    width, along = width * steps, along | {name}
            loops = tuple(loop for loop in around if loop.variable not in along)
            terms = tuple((name, c) for name, c in first.index.terms if name not in along)
            times = math.prod(map(_extent, loops))
            yield Access(first.buffer, Index(constant, terms), first.writes, width, loops, times, together, _bounds(first), first.passing)

    @staticmethod
    def _stays(load: Touch, loops: set[int], stores: Sequence[Touch]) -> bool:
        """Nothing in loops of those identities may store into what is read: inputs and constants are told apart from the rest, which is not."""
        if load.buffer.space in ("input", "constant"):
            return True
        near = load.buffer.space == "shared"
        inside = [store for store in stores if any(id(loop) in loops for loop in store.around)]
        return not any((store.buffer.space == "shared") == near for store in inside)

    def access_work(self, room: float) -> Work:
        total = Work()
        for access in self.accesses:
            wide = self._vector(access) if access.buffer.space == "shared" else access.together
            count = access.times * -(-access.width // wide)
            near = self._banks(access, wide) if access.buffer.space == "shared" else self._lines(access)
            total += Work() if access.passing else Work(issued=count, near=count * near)
            if access.buffer.space != "shared":
                total += Work(issued=2, integer=2)  # an address of 64 bits
                turns = math.prod(-(-_extent(loop) // _at_once(loop)) for loop in access.loops)
                total += Work(issued=turns, integer=turns) if turns > 1 else Work()
        return total + Work(l2_bytes=self.l2_bytes(room))

    def _vector(self, access: Access) -> int:
        """Elements of one access of shared memory: as many as are aligned for all threads."""
        size = access.buffer.dtype.itemsize
        parts = (access.width, access.index.constant, *(c for _, c in access.index.terms))
        return next((n for n in (8, 4, 2) if n * size <= _WIDEST and all(part % n == 0 for part in parts)), 1)

    def _lanes_at(self, access: Access) -> list[int]:
        """Where each lane is, in bytes from the first."""
        size = access.buffer.dtype.itemsize
        ranges = [range(0, access.steps(loop) * loop.step, loop.step) for loop in self.lanes]
        coefficients = [access.index.coefficient(loop.variable) * size for loop in self.lanes]
        places = itertools.islice(itertools.product(*ranges), WARP)
        return [sum(c * value for c, value in zip(coefficients, place, strict=True)) for place in places] or [0]

    def _banks(self, access: Access, wide: int) -> int:
        """Cycles of one access of shared memory: the most words that one of the 32 banks gives."""
        places = self._lanes_at(access)
        nbytes = wide * access.buffer.dtype.itemsize
        asked = {word for place in places for word in range(place // 4, -(-(place + nbytes) // 4))}
        if access in self.scattered:
            return 4  # as of places drawn by chance
        banks = [0] * 32
        for word in asked:
            banks[word % 32] += 1
        return max(banks)

    def _lines(self, access: Access) -> int:
        """Cycles of one access to the first-level cache: one for each line."""
        return WARP if access in self.scattered else len({place // LINE for place in self._lanes_at(access)})

    def l2_bytes(self, room: float) -> float:
        """What one of the warps that share `shared` brings from L2, or takes there."""
        outside = [access for access in self.accesses if access.buffer.space != "shared"]
        warps = math.prod(_extent(loop) for loop in self.shared)
        kept = sum(self._footprint(access, (*self.lanes, *self.shared, *access.loops)) for access in outside if not access.writes)
        total = 0.0
        for access in outside:
            together = (*self.lanes, *self.shared)
            if kept <= room or access.writes:
                total += self._footprint(access, (*together, *access.loops))
            else:
                # What it has brought is gone when it is wanted again.
                total += access.times * self._footprint(access, together)
        return total / warps

    def _footprint(self, access: Access, loops: Iterable[For]) -> float:
        """Bytes that the steps of all loops touch together, in whole sectors."""
        if access in self.scattered:
            return SECTOR * access.width * math.prod(_extent(loop) for loop in loops)
        return SECTOR * sectors(access.width * access.buffer.dtype.itemsize, access.strides(loops))

    def touched(self, loops: Iterable[For]) -> dict[tuple[Buffer, bool], float]:
        """Bytes that all steps touch of each buffer, loaded and stored, if `loops` are all that is around; at most all of it."""
        found: dict[tuple[Buffer, bool], float] = {}
        outer = list(loops)
        for access in self.accesses:
            if access.buffer.space != "shared":
                key = (access.buffer, access.writes)
                nbytes = found.get(key, 0.0) + self._footprint(access, (*self.lanes, *self.shared, *access.loops, *outer))
                found[key] = min(nbytes, access.buffer.nbytes)
        return found


def sectors(span: int, strides: Iterable[tuple[int, int]]) -> int:
    """How many sectors of 32 bytes are touched by runs of `span` bytes that are repeated so many bytes apart, so many times."""
    count = 1
    for stride, extent in sorted(strides):
        if stride <= max(span, SECTOR - 1):
            span += stride * (extent - 1)
        else:
            count *= extent
    return count * -(-span // SECTOR)
