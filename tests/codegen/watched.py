"""The interpreter, watching which thread of a GPU touches what: two that touch the same memory, one of them writing, have to have met."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from irdl.loops.interpret import Machine
from irdl.loops.language import BOUND, Barrier, Buffer, For, Launch, Program, Statement
from irdl.loops.walk import bound_nest, nested, walk

#: the finest piece of memory that is told apart, in bytes, where no dtype is smaller
_WORD = 4


class Race(AssertionError):
    """Two threads that have not met."""


def barriers(launch: Launch) -> list[tuple[list[Statement], Barrier]]:
    """Each of them, and the body that it is in."""
    return [(part, s) for around in walk([launch]) for part in nested(around) for s in part if isinstance(s, Barrier)]


@contextmanager
def without(part: list[Statement], statement: Statement) -> Iterator[None]:
    """A body lacks one of its statements."""
    place = next(place for place, other in enumerate(part) if other is statement)
    del part[place]
    yield
    part.insert(place, statement)


class _Time(NamedTuple):
    """Which thread (None: all of them, or all of the block or the warp), and how often each scope around it has met."""

    block: int | None
    warp: int | None
    lane: int | None
    all: int
    run: int
    blocks: tuple[int, ...]
    warps: int


class Watched(Machine):
    """One run of a program of launches. Barriers count for all threads that they are of, whichever of them is being run.

    Args:
        blocks: at most so many a launch.
    """

    def __init__(self, program: Program, blocks: int = 1 << 20) -> None:
        super().__init__(program)
        self._most = blocks
        self._same = {second: first for first, second in program.aliased}
        self._place: list[int | None] = [None, None, None]
        #: which thread runs, and how often it has met others, until one of the two changes
        self._now: _Time | None = None
        #: of each launch: what its memory was before it
        self._before: dict[str, tuple[np.ndarray, dict[Buffer, np.ndarray]]] = {}

    def again(self, launch: Launch) -> None:
        """Run one launch of a program that has been run, on the memory that it found then."""
        arena, memory = self._before[launch.name]
        self._arena[:] = arena
        for buffer, array in memory.items():
            self.memory[buffer][:] = array
        with np.errstate(all="ignore"):
            self.run([launch], {})

    def run(self, body: Sequence[Statement], scope: dict[str, Any]) -> None:
        for statement in body:
            if isinstance(statement, Launch):
                self._begin(statement)
                self.run(statement.body, dict(scope))
            elif isinstance(statement, Barrier):
                self._meet(statement)
            elif isinstance(statement, For) and statement.kind in BOUND:
                self._deal(statement, scope)
            else:
                super().run([statement], scope)

    def _begin(self, launch: Launch) -> None:
        if launch.name not in self._before:
            kept = {b: array for b, array in self.memory.items() if b.space != "arena" and array.flags.writeable}
            memory = {buffer: array.copy() for buffer, array in kept.items()}
            self._before[launch.name] = self._arena.copy(), memory
        self._launch = launch
        self._place = [None, None, None]
        self._now = None
        self._grid = launch.blocks if launch.exact else min(launch.blocks, self._most)
        self._touched: dict[tuple[Any, int], tuple[list[_Time], list[_Time]]] = {}
        self._all = self._runs = self._size = 0
        self._blocks = [0] * self._grid
        self._warps: dict[tuple[int, int], int] = {}

    def _meet(self, barrier: Barrier) -> None:
        self._now = None
        block = self._place[0]
        blocks = range(self._grid) if block is None else [block]
        if barrier.scope == "all":
            self._all += 1
        elif barrier.scope == "blocks":
            self._runs, self._size = self._runs + 1, barrier.blocks
        for number in blocks:
            if barrier.scope == "block":
                self._blocks[number] += 1
            elif barrier.scope == "warp":
                for warp in range(self._launch.threads // 32):
                    self._warps[number, warp] = self._warps.get((number, warp), 0) + 1

    def _deal(self, loop: For, scope: dict[str, Any]) -> None:
        nest, before = bound_nest(loop), list(self._place)
        stops = [item.stop for item in nest]
        for number in range(math.prod(stops)):
            steps = np.unravel_index(number, stops)
            inner = {**scope, **{item.variable: int(step) for item, step in zip(nest, steps, strict=True)}}
            if loop.kind == "grid":
                block, thread = divmod(number % (self._grid * self._launch.threads), self._launch.threads)
                self._place = [block, *divmod(thread, 32)]
            else:
                level, count = {"block": (0, self._grid), "warp": (1, self._launch.threads // 32), "lane": (2, 32)}[loop.kind]
                self._place[level] = number % count
            self._now = None
            self.run(nest[-1].body, inner)
        self._place, self._now = before, None

    def read(self, buffer: Buffer, place: int) -> Any:
        self._note(buffer, place, writes=False)
        return super().read(buffer, place)

    def write(self, buffer: Buffer, place: int, value: Any) -> None:
        self._note(buffer, place, writes=True)
        super().write(buffer, place, value)

    def _note(self, buffer: Buffer, place: int, writes: bool) -> None:
        if buffer.space in ("register", "constant"):
            return
        now = self._now = self._now or self._time()
        for key in self._pieces(buffer, place):
            written, read = self._touched.setdefault(key, ([], []))
            for then in written + (read if writes else []):
                if not self._have_met(then, now):
                    raise Race(f"{self._launch.name}: {buffer.name}[{place}]: {then}, and then {now}")
            if writes:
                written[:], read[:] = [now], []
            elif now not in read:
                read.append(now)

    def _time(self) -> _Time:
        block, warp, lane = self._place
        own = self._warps.get((block, warp), 0) if block is not None and warp is not None else 0
        return _Time(block, warp, lane, self._all, self._runs, tuple(self._blocks), own)

    def _pieces(self, buffer: Buffer, place: int) -> list[tuple[Any, int]]:
        size = buffer.dtype.itemsize
        if buffer.space == "arena" or (buffer.space == "shared" and buffer.copies == 1):
            start = buffer.offset + place * size
            owner = "arena" if buffer.space == "arena" else ("shared", self._place[0])
            step = min(size, _WORD)
            return [(owner, byte) for byte in range(start, start + size, step)]
        return [(id(self._same.get(buffer, buffer)), place)]

    def _have_met(self, then: _Time, now: _Time) -> bool:
        if then.all < now.all or (then[:3] == now[:3] and None not in now[:3]):
            return True
        if then.block is None or now.block is None:
            if self._grid > 1 and then.block is None and now.block is None:
                return False
            blocks = range(self._grid) if then.block is None else [then.block]
            return self._grid == 1 and all(then.blocks[block] < now.blocks[block] for block in blocks)
        if self._size and then.block // self._size == now.block // self._size and then.run < now.run:
            return True
        if then.block != now.block:
            return False
        return then.blocks[now.block] < now.blocks[now.block] or (then.warp == now.warp is not None and then.warps < now.warps)
