"""What one warp does in a phase, counted: instructions by the unit that carries them out, memory it goes through (`accesses`), and how
long it waits for itself. For predictions only; what nvcc makes of a loop is guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from irdl.codegen.cuda.accesses import LINE, WIDEST, Steps, at_once, extent_of
from irdl.codegen.cuda.costs import PRODUCT, PRODUCT_LATENCY, Work, instructions, latency
from irdl.codegen.cuda.registers import copy_in, is_read_ahead, is_widened_pair
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation, Variable
from irdl.loops.language import CheckIndex, For, If, Let, LoadMatrices, Multiply, Statement, Store
from irdl.loops.walk import expressions, nested, subexpressions, variables_read, walk


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
            turns = -(-extent_of(statement) // at_once(statement))
            # It counts, compares and jumps.
            total += step * extent_of(statement) + (Work(issued=3, integer=3) * turns if turns > 1 else Work())
        elif isinstance(statement, If):
            total += max((_arithmetic(part) for part in nested(statement)), key=lambda work: work.issued)
        else:
            for part in nested(statement):
                total += _arithmetic(part)
    return total


def _cycles_of(load: LoadMatrices) -> int:
    """Of shared memory: of each of the four matrices, as many as lines of 16 bytes are in the same banks."""
    wide = WIDEST // load.source.dtype.itemsize
    banks = [load.line * line // wide % (LINE // WIDEST) for line in range(8)]
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
        if not (steps := extent_of(loop)):
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
            turns = extent_of(statement) if _is_led(statement) else -(-extent_of(statement) // at_once(statement))
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
