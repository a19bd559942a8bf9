"""How long a GPU should take for a program: a model of launches, their phases, and where threads wait. It predicts; nothing here runs.

A phase is a nest over threads. Those that follow each other take, up to where threads meet or wait for copies, as long as the slowest of

- the schedulers of a multiprocessor, which issue one instruction a cycle each, and its units for float32, float64, integers and special
  functions
- its shared memory and first-level cache, a line of 128 bytes a cycle
- what it brings from L2, in sectors of 32 bytes
- one thread alone, whose operations wait for each other, and for memory

and each waits for memory once before, but for what it reads ahead into registers, which the phase that uses it waits for, and for copies that it
only begins. A nest of blocks takes its phases' sum as often as blocks follow each other on a multiprocessor, or, where several are there at
once and fill each other's gaps, what its slowest unit needs for all of them. A launch takes no less than
its memory's way from DRAM, of programs that L2 cannot keep. A loop over time multiplies its step.

What it leaves out: contention between units, the spread of L2 latency, instruction fetches, spills, power, and the host's work in a
call but for launches. Of a loop whose steps data decide, one step is counted; of the sides of a choice, the longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from irdl.codegen.cuda.accesses import Steps, statements, unrolled
from irdl.codegen.cuda.costs import Work
from irdl.codegen.cuda.dealing import WARP
from irdl.codegen.cuda.emit import launches
from irdl.codegen.cuda.rates import Rates, rates_of
from irdl.codegen.cuda.registers import is_read_ahead, reads_runs_ahead, registers_of
from irdl.codegen.cuda.work import work_of
from irdl.loops.expressions import Buffer, Load
from irdl.loops.language import BOUND, Barrier, Commit, Copy, For, If, Kernel, Launch, Program, Statement, Store, Wait, While
from irdl.loops.target import Gpu
from irdl.loops.walk import bound_nest, buffers_of, expressions, nested, subexpressions, walk

#: what limits a part of the time
LIMITS = ("launches", "barriers", "latency", "issue", "float32", "float64", "integer", "special", "shared memory", "L2", "DRAM")
#: what a multiprocessor holds, and keeps of the shared memory of each block (guide)
_THREADS, _BLOCKS, _REGISTERS, _RESERVED = 2048, 32, 65536, 1024
#: turns of a loop over the whole grid whose loads are on their way at once, and what finding a place on a loop counts as, in statements
_IN_FLIGHT, _PLACE = 4, 2


@dataclass(frozen=True)
class Prediction:
    """Seconds of each launch in order, by what limits them.

    Attributes:
        launches: `(name, {limit: seconds})`; the limits are those of `LIMITS`.
        rates: of the GPU it is a prediction for.
    """

    launches: tuple[tuple[str, dict[str, float]], ...]
    rates: Rates

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by what limits them, the most first."""
        total = _sum(parts for _, parts in self.launches)
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def seconds(self) -> float:
        """Of a call whose arrays are on the GPU, but for the host's work."""
        return sum(self.parts.values())

    @property
    def limit(self) -> str:
        """What most of the time goes into."""
        return next(iter(self.parts), "launches")

    def __str__(self) -> str:
        lines = [f"{1e6 * self.seconds:.1f} us on {self.rates.name} by a model, not measured"]
        for name, parts in self.launches:
            most = ", ".join(
                f"{limit} {1e6 * seconds:.1f}" for limit, seconds in sorted(parts.items(), key=lambda item: -item[1]) if seconds
            )
            lines.append(f"  {name}: {1e6 * sum(parts.values()):.1f} us: {most}")
        return "\n".join(lines)


def predict(program: Program, gpu: Gpu, rates: Rates | None = None) -> Prediction:
    """The time of a program that is a list of launches.

    Raises:
        ProgramError: the program is one of a CPU.
    """
    rates = rates or rates_of(gpu)
    steps = launches(program)
    nbytes = program.arena_bytes + sum(b.nbytes for b in (*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)))
    found = [(launch.name, _Launch(launch, gpu, rates, nbytes > rates.l2_bytes).parts()) for launch in steps]
    return Prediction(tuple(found), rates)


def _sum(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for limit, seconds in part.items():
            total[limit] = total.get(limit, 0.0) + seconds
    return total


def _times(parts: dict[str, float], factor: float) -> dict[str, float]:
    return {limit: factor * seconds for limit, seconds in parts.items()}


def _longest(choices: Iterable[dict[str, float]]) -> dict[str, float]:
    return max(choices, key=lambda parts: sum(parts.values()), default={})


@dataclass(frozen=True)
class _Phase:
    """What a nest over the threads of a block does: the work of a warp, so many times, by as many warps as are `active`."""

    warp: Work
    count: float
    active: int
    #: times that a warp waits, one after the other
    turns: float
    #: the share of what it loads from L2 that is not there yet
    cold: float


class _Launch:
    def __init__(self, launch: Launch, gpu: Gpu, rates: Rates, in_dram: bool) -> None:
        self.launch, self.gpu, self.rates, self.in_dram = launch, gpu, rates, in_dram
        self.warps = launch.threads // WARP
        self.written = {s.buffer for s in walk(launch.body) if isinstance(s, Store)}
        self.room = max(8 * 1024, rates.near_bytes - launch.shared_bytes)
        #: bytes of each buffer that are loaded, or stored into
        self.touched: dict[tuple[Buffer, bool], float] = {}
        self._serial: list[For] = []
        self._blocks: list[For] = []
        #: of a nest of blocks: its phases, and of registers that are read ahead, how many seconds those take to be there
        self._phases: dict[int, _Phase] = {}
        self._due: dict[Buffer, float] = {}
        #: of the batches of copies that are on their way, how long they still take, and of those that are in none yet
        self._batches: list[float] = []
        self._begun = 0.0

    def parts(self) -> dict[str, float]:
        parts = self._body(self.launch.body)
        if self.in_dram:
            stored = {buffer for buffer, writes in self.touched if writes}
            # What it has stored itself, it finds in L2 if there is room.
            moved = sum(n for (b, writes), n in self.touched.items() if writes or b not in stored or n > self.rates.l2_bytes)
            seconds = moved / self.rates.dram_bytes_per_second
            if seconds > sum(parts.values()):
                parts = {"DRAM": seconds}
        return _sum([{"launches": self.rates.launch_seconds}, parts])

    # What all threads of the launch come by.

    def _body(self, body: Sequence[Statement]) -> dict[str, float]:
        return _sum(map(self._statement, body))

    def _statement(self, statement: Statement) -> dict[str, float]:
        if isinstance(statement, For) and statement.kind in BOUND:
            return self._nest(statement)
        if isinstance(statement, For):
            self._serial.append(statement)
            step = self._body(statement.body)
            self._serial.pop()
            return _times(step, len(range(statement.start, statement.stop, statement.step)))
        if isinstance(statement, Barrier):
            return {"barriers": self._meeting(statement)}
        if isinstance(statement, If):
            return _sum([self._read([statement]), _longest([self._body(statement.then), self._body(statement.otherwise)])])
        if isinstance(statement, While):
            return _sum([self._read([statement]), self._body(statement.before), self._body(statement.body)])
        return self._body(statement.body) if isinstance(statement, Kernel) else self._read([statement])

    def _read(self, statements: Sequence[Statement]) -> dict[str, float]:
        """What every thread does by itself, which takes its loads' time."""
        loads = any(b.space != "register" for s in statements for b in buffers_of(s))
        return {"latency": self._cycles(self.rates.l2_latency_cycles)} if loads else {}

    def _meeting(self, barrier: Barrier) -> float:
        if barrier.scope == "warp":
            return self._cycles(self.rates.warp_barrier_cycles)
        if barrier.scope == "block":
            return self._cycles(self.rates.block_barrier_cycles)
        return self.rates.exchange(self.launch.blocks if barrier.scope == "all" else min(barrier.blocks, self.launch.blocks))

    def _cycles(self, count: float) -> float:
        return count / self.rates.clock_hz

    # A nest over blocks, or what one block, or all threads, do.

    def _nest(self, nest: For) -> dict[str, float]:
        if nest.kind == "grid":
            steps, phase = self._grid(nest)
            alone, work = self._time([phase], steps), [phase]
        elif nest.kind == "block":
            loops = bound_nest(nest)
            steps = math.prod(loop.stop for loop in loops)
            self._blocks, self._due, self._batches, self._begun = loops, {}, [], 0.0
            alone, work = self._block(loops[-1].body, steps)
            self._blocks = []
        else:
            steps = 1
            alone, work = self._block([nest], 1)
        each = -(-steps // self.gpu.multiprocessors)
        rounds = -(-each // self._resident())
        needed = self._units([replace(phase, active=self.warps) for phase in work], math.inf)
        together = {limit: each * seconds for limit, seconds in needed.items()}
        together["L2"] = steps * sum(phase.warp.l2_bytes * phase.count for phase in work) / self.rates.l2_bytes_per_second
        limit = max(together, key=lambda name: together[name])
        in_turn = _times(alone, rounds)
        return {limit: together[limit]} if together[limit] > sum(in_turn.values()) else in_turn

    def _resident(self) -> int:
        """Blocks that a multiprocessor has at once."""
        launch = self.launch
        shared = self.rates.shared_bytes // (launch.shared_bytes + _RESERVED)
        return max(1, min(_THREADS // launch.threads, _BLOCKS, shared, _REGISTERS // (launch.threads * registers_of(launch.body))))

    def _grid(self, nest: For) -> tuple[int, _Phase]:
        """How many blocks have work, and what one does."""
        loops = bound_nest(nest)
        steps, threads = math.prod(loop.stop for loop in loops), self.launch.threads
        blocks = min(self.launch.blocks, -(-steps // threads))
        active = -(-min(threads, -(-steps // blocks)) // WARP)
        turns = -(-steps // (blocks * threads))
        lanes, others = _split(loops, WARP)
        warps, _ = _split(others, active)
        body = loops[-1].body
        work = work_of(body, lanes, warps, self.written, self.room, self.rates.arithmetic_latency_cycles)
        # A place on each of several loops is found by division.
        work += Work(issued=4 + 5 * (len(loops) - 1), integer=4 + 5 * (len(loops) - 1))
        count = steps / (WARP * blocks)
        cold = self._cold(body, [], [], loops, work.l2_bytes * count * blocks)
        return blocks, _Phase(work, count, active, -(-turns // (1 if reads_runs_ahead(body) else _IN_FLIGHT)), cold)

    def _block(self, body: Sequence[Statement], steps: int) -> tuple[dict[str, float], list[_Phase]]:
        """How long one block takes, if `steps` are there in all, and what it does."""
        parts: list[dict[str, float]] = []
        work: list[_Phase] = []
        #: phases between which threads do not wait: some are in one, some in another
        together: list[_Phase] = []

        def passes(part: dict[str, float]) -> None:
            parts.append(part)
            self._pass(part)

        def end() -> None:
            if together:
                passes(self._time(together, steps))
            together.clear()

        def run(body: Sequence[Statement]) -> None:
            for statement in body:
                if isinstance(statement, Barrier):
                    end()
                    passes({"barriers": self._meeting(statement)})
                elif isinstance(statement, For) and statement.kind in ("warp", "lane"):
                    phase = self._phase(statement, steps)
                    read, fetched = _registers_read(statement), _registers_fetched(statement)
                    copied = any(isinstance(inner, Copy) for inner in walk([statement]))
                    if read & self._due.keys():
                        end()
                        passes({"latency": max(self._due.pop(buffer) for buffer in read & self._due.keys())})
                    # What is read ahead, or copied, comes from L2 while other things are done.
                    coming = self._units([phase], max(1, steps))["L2"] if fetched or copied else 0.0
                    together.append(replace(phase, warp=replace(phase.warp, l2_bytes=0)) if fetched or copied else phase)
                    if fetched:
                        end()
                        self._due.update(dict.fromkeys(fetched, self._far(phase) + coming))
                    self._begun = self._begun + coming if self._begun else self._far(phase) + coming if copied else 0.0
                    work.append(phase)
                elif isinstance(statement, Commit):
                    self._batches.append(self._begun)
                    self._begun = 0.0
                elif isinstance(statement, Wait):
                    end()
                    landing = self._batches[: len(self._batches) - statement.pending]
                    del self._batches[: len(landing)]
                    passes({"latency": max(landing, default=0.0)})
                elif isinstance(statement, For):
                    end()
                    self._serial.append(statement)
                    count = len(range(statement.start, statement.stop, statement.step))
                    time, inside = self._block(statement.body, steps)
                    # The first step may wait for what others have read ahead.
                    again = self._block(statement.body, steps)[0] if count > 1 else {}
                    self._serial.pop()
                    parts.extend([time, _times(again, count - 1)] if count else [])
                    work.extend(replace(phase, count=count * phase.count) for phase in inside)
                elif nested(statement):
                    passes(self._read([statement]))
                    run(max(nested(statement), key=lambda part: sum(1 for _ in walk(part))))
                else:
                    passes(self._read([statement]))

        run(body)
        end()
        return _sum(parts), work

    def _pass(self, parts: dict[str, float]) -> None:
        """So much time passes, in which what is read ahead comes nearer."""
        seconds = sum(parts.values())
        self._due = {buffer: max(0.0, due - seconds) for buffer, due in self._due.items()}
        self._batches = [max(0.0, due - seconds) for due in self._batches]

    def _phase(self, nest: For, blocks: int) -> _Phase:
        """Looked at once."""
        if id(nest) not in self._phases:
            self._phases[id(nest)] = self._new_phase(nest, blocks)
        return self._phases[id(nest)]

    def _new_phase(self, nest: For, blocks: int) -> _Phase:
        warps = bound_nest(nest) if nest.kind == "warp" else []
        inner = warps[-1].body if warps else [nest]
        first = inner[0]
        lanes = bound_nest(first) if len(inner) == 1 and isinstance(first, For) and first.kind == "lane" else []
        body = lanes[-1].body if lanes else inner
        count = math.prod(loop.stop for loop in warps) if warps else self.warps
        again = -(-math.prod(loop.stop for loop in lanes) // WARP)
        near, _ = _split(lanes, WARP)
        work = work_of(body, near, warps, self.written, self.room, self.rates.arithmetic_latency_cycles)
        active = min(count, self.warps)
        turns = -(-count // active) * again
        cold = self._cold(body, near, warps, [], work.l2_bytes * count * again * blocks)
        return _Phase(work, count * again, active, -(-turns // unrolled(turns, statements(body) + _PLACE)), cold)

    def _cold(self, body: Sequence[Statement], lanes: Sequence[For], warps: Sequence[For], others: Sequence[For], l2_bytes: float) -> float:
        """The share of so many bytes from L2, in each step of the serial loops around, that no other thread has asked for before."""
        found = Steps(body, lanes, warps).touched([*self._serial, *self._blocks, *others])
        for key, nbytes in found.items():
            self.touched[key] = min(key[0].nbytes, self.touched.get(key, 0.0) + nbytes)
        asked = l2_bytes * math.prod(len(range(loop.start, loop.stop, loop.step)) for loop in self._serial)
        return min(1.0, sum(found.values()) / asked) if asked else 0.0

    # Seconds.

    def _units(self, phases: Sequence[_Phase], steps: float) -> dict[str, float]:
        """What each unit of a multiprocessor needs for the phases of a block, where `steps` blocks run in all."""
        rates, cycles = self.rates, self._cycles
        l2 = min(rates.l2_bytes_per_cycle * rates.clock_hz, rates.l2_bytes_per_second / min(steps, self.gpu.multiprocessors))
        total: dict[str, float] = {}
        for phase in phases:
            work = phase.warp * phase.count
            schedulers = min(phase.active, rates.schedulers)
            share = schedulers / rates.schedulers
            needed = {
                "issue": cycles(work.issued / schedulers),
                "float32": cycles(WARP * work.float32 / (share * rates.float32_per_cycle)),
                "float64": cycles(WARP * work.float64 / (share * rates.float64_per_cycle)),
                "integer": cycles(WARP * work.integer / (share * rates.integer_per_cycle)),
                "special": cycles(WARP * work.special / (share * rates.special_per_cycle)),
                "shared memory": cycles(work.near * 128 / rates.near_bytes_per_cycle),
                "L2": work.l2_bytes / l2,
            }
            total = {limit: total.get(limit, 0.0) + seconds for limit, seconds in needed.items()}
        return total

    def _time(self, phases: Sequence[_Phase], steps: int) -> dict[str, float]:
        """Of one block that is alone on its multiprocessor, for phases between which nobody waits for others."""
        needed = self._units(phases, max(1, steps))
        limit = max(needed, key=lambda name: needed[name])
        near = self._cycles(self.rates.near_latency_cycles)
        own = first = 0.0
        for phase in phases:
            warp, far = phase.warp, self._far(phase)
            own += phase.turns * (warp.waits * far + warp.near_waits * near + self._cycles(warp.chain))
            first += min(1.0, warp.waits) * far + min(1.0, warp.near_waits) * near
        return {"latency": own} if own > first + needed[limit] else {"latency": first, limit: needed[limit]}

    def _far(self, phase: _Phase) -> float:
        """How long what a phase loads from beyond the multiprocessor takes to be there."""
        far = self._cycles(self.rates.l2_latency_cycles)
        return far + phase.cold * (self.rates.dram_latency_seconds - far) if self.in_dram and phase.warp.far else far


def _registers_read(phase: For) -> set[Buffer]:
    found = (item for s in walk([phase]) for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load))
    return {load.buffer for load in found if load.buffer.space == "register"}


def _registers_fetched(phase: For) -> set[Buffer]:
    return {s.buffer for s in walk([phase]) if isinstance(s, Store) and is_read_ahead(s)}


def _split(loops: Sequence[For], count: int) -> tuple[list[For], list[For]]:
    """The innermost loops, of which `count` neighbouring steps are those of `count` neighbours; and what is left of them."""
    inner: list[For] = []
    left = list(loops)
    for loop in reversed(loops):
        if count <= 1:
            break
        extent = len(range(0, loop.stop, loop.step))
        steps = min(extent, count)
        inner.insert(0, For(loop.variable, 0, steps * loop.step, loop.step, loop.kind, []))
        left.pop()
        if steps < extent:
            # The others of its steps lie so far from each other.
            left.append(For(loop.variable, 0, loop.stop, steps * loop.step, loop.kind, []))
        count //= steps
    return inner, left
