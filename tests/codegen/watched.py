"""The interpreter, watching which thread of a GPU touches what: two that touch the same memory, one of them writing, have to have met."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from irdl.loops.expressions import Buffer
from irdl.loops.interpret import Machine, Run
from irdl.loops.language import BOUND, Barrier, For, Launch, Program, Statement
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


_Touched: TypeAlias = dict[Hashable, tuple[_Time | None, tuple[_Time, ...]]]


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
        #: by what memory it is and the place there: who has written last, and who has read since then
        self._touched: dict[Hashable, _Touched] = {}
        #: of each launch: what its memory was before it
        self._before: dict[str, tuple[np.ndarray, dict[Buffer, np.ndarray]]] = {}

    def again(self, launch: Launch) -> None:
        """Run one launch of a program that has been run, on the memory that it found then."""
        arena, memory = self._before[launch.name]
        self._arena[:] = arena
        for buffer, array in memory.items():
            self.memory[buffer][:] = array
        self.run([launch])

    def statement(self, statement: Statement) -> Run:
        if isinstance(statement, Launch):
            launch, body = statement, self.body(statement.body)

            def run(scope: dict[str, Any]) -> None:
                self._begin(launch)
                body(scope.copy())

            return run
        if isinstance(statement, Barrier):
            barrier = statement
            return lambda scope: self._meet(barrier)
        return super().statement(statement)

    def by_thread(self, action: Callable[[], None]) -> Callable[[], None]:
        place = list(self._place)

        def run() -> None:
            before, self._place, self._now = self._place, place, None
            action()
            self._place, self._now = before, None

        return run

    def loop(self, loop: For, backwards: bool | None = None) -> Run:
        return self._dealt(loop) if loop.kind in BOUND else super().loop(loop, backwards)

    def _begin(self, launch: Launch) -> None:
        if launch.name not in self._before:
            kept = {b: array for b, array in self.memory.items() if b.space != "arena" and array.flags.writeable}
            memory = {buffer: array.copy() for buffer, array in kept.items()}
            self._before[launch.name] = self._arena.copy(), memory
        self._launch = launch
        self._place = [None, None, None]
        self._now = None
        self._grid = launch.blocks if launch.exact else min(launch.blocks, self._most)
        for touched in self._touched.values():
            touched.clear()
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

    def _dealt(self, loop: For) -> Run:
        nest = bound_nest(loop)
        names, body, kind = [item.variable for item in nest], self.body(nest[-1].body), loop.kind

        def run(scope: dict[str, Any]) -> None:
            before, inner = list(self._place), scope.copy()
            threads, place = self._launch.threads, list(self._place)
            level, count = {"block": (0, self._grid), "warp": (1, threads // 32), "lane": (2, 32), "grid": (0, self._grid * threads)}[kind]
            for number, steps in enumerate(itertools.product(*(range(item.stop) for item in nest))):
                inner.update(zip(names, steps, strict=True))
                if kind == "grid":
                    block, thread = divmod(number % count, threads)
                    place = [block, *divmod(thread, 32)]
                else:
                    place[level] = number % count
                self._place, self._now = place, None
                body(inner)
            self._place, self._now = before, None

        return run

    def reader(self, buffer: Buffer) -> Callable[[int], Any]:
        read = super().reader(buffer)
        if buffer.space in ("register", "constant"):
            return read
        note = self._noting(buffer, writes=False)

        def noted(place: int) -> Any:
            note(place)
            return read(place)

        return noted

    def writer(self, buffer: Buffer) -> Callable[[int, Any], None]:
        write = super().writer(buffer)
        if buffer.space in ("register", "constant"):
            return write
        note = self._noting(buffer, writes=True)

        def noted(place: int, value: Any) -> None:
            note(place)
            write(place, value)

        return noted

    def _noting(self, buffer: Buffer, writes: bool) -> Callable[[int], None]:
        """What notes that an element is read or written."""
        size = buffer.dtype.itemsize
        in_block = buffer.space == "shared" and buffer.copies == 1
        in_bytes = buffer.space == "arena" or in_block
        owner = ("arena" if buffer.space == "arena" else "shared") if in_bytes else id(self._same.get(buffer, buffer))
        touched = self._touched.setdefault(owner, {})
        word = min(size, _WORD)

        def note(place: int) -> None:
            now = self._now
            if now is None:
                now = self._now = self._time()
            if not in_bytes:
                self._note(touched, place, now, writes, buffer, place)
                return
            start = buffer.offset + place * size
            for byte in range(start, start + size, word):
                self._note(touched, (now.block, byte) if in_block else byte, now, writes, buffer, place)

        return note

    def _note(self, touched: _Touched, key: Hashable, now: _Time, writes: bool, buffer: Buffer, place: int) -> None:
        found = touched.get(key)
        if found is None:
            touched[key] = (now, ()) if writes else (None, (now,))
            return
        written, read = found
        for then in (*read, written) if writes else (written,):
            if then is not None and not (then is now and self._is_one) and not self._have_met(then, now):
                raise Race(f"{self._launch.name}: {buffer.name}[{place}]: {then}, and then {now}")
        if writes:
            touched[key] = (now, ())
        elif now not in read:
            touched[key] = (written, (*read, now))

    def _time(self) -> _Time:
        block, warp, lane = self._place
        own = self._warps.get((block, warp), 0) if block is not None and warp is not None else 0
        self._is_one = None not in self._place
        return _Time(block, warp, lane, self._all, self._runs, tuple(self._blocks), own)

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
