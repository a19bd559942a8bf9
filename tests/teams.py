"""Machines in tests: threads among which small programs are divided, which the compiler would leave whole, a check for races, and
vectors that this machine may not have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from irdl.loops.expressions import Buffer
from irdl.loops.interpret import Machine, Run
from irdl.loops.language import Barrier, For, Kernel, Leave, Program, Statement
from irdl.loops.target import Target, Worth
from irdl.loops.walk import buffers_of, walk
from irdl.runtime import cpu
from irdl.runtime.threads import num_threads, set_num_threads


@contextmanager
def team_of(threads: int) -> Iterator[None]:
    """Compile for `threads`, dividing every kernel that can be divided."""
    before = num_threads()
    set_num_threads(threads)
    try:
        with mock.patch.object(cpu, "_WORTH", Worth(kernel=0, program=0)):
            yield
    finally:
        set_num_threads(before)


@contextmanager
def wide_vectors() -> Iterator[None]:
    """Compile for vectors of 64 bytes and 32 registers, without instructions of their own: what is asked of loops does not depend on the
    machine then, and all machines run them."""
    with mock.patch.object(cpu, "host_target", lambda: Target(64, 32)):
        yield


class Race(AssertionError):
    pass


class Watched(Machine):
    """Runs a program as a team would, one thread after the other, and raises where what one thread writes is touched by
    another with no barrier between."""

    def __init__(self, program: Program, threads: int) -> None:
        super().__init__(program)
        self.threads = threads
        sizes = [b.dtype.itemsize for s in walk(program.body) for b in buffers_of(s) if b.space == "arena"]
        #: No element begins or ends within so many bytes.
        self.unit = min(sizes, default=1)
        #: who is at work; None: everyone, as in the condition of a loop
        self.thread: int | None = None
        self.written: dict[tuple, set[int | None]] = {}
        self.seen: dict[tuple, set[int | None]] = {}

    def statement(self, statement: Statement) -> Run:
        run = super().statement(statement)
        if isinstance(statement, Barrier):
            return lambda scope: self.meet()
        if isinstance(statement, Leave):
            return lambda scope: self.meet() if self.failure is None else run(scope)
        if isinstance(statement, Kernel):

            def by_the_first(scope: dict[str, Any]) -> None:
                self.thread = 0
                run(scope)
                self.thread = None

            return by_the_first
        return run

    def meet(self) -> None:
        self.written.clear()
        self.seen.clear()

    def loop(self, loop: For, backwards: bool | None = None) -> Run:
        """Forward, but for what threads divide."""
        if loop.kind != "parallel":
            return super().loop(loop, backwards=False)
        body, threads = self.body(loop.body), range(self.threads)
        shares = [range(*(-(-t * loop.stop // self.threads) for t in (thread, thread + 1))) for thread in threads]

        def run(scope: dict[str, Any]) -> None:
            outer, inner = self.thread, scope.copy()
            for self.thread in threads:
                for inner[loop.variable] in shares[self.thread]:
                    body(inner)
            self.thread = outer

        return run

    def bytes_of(self, buffer: Buffer, place: int) -> list[tuple]:
        if buffer.space == "arena":
            start = buffer.offset + place * buffer.dtype.itemsize
            return [("arena", byte) for byte in range(start, start + buffer.dtype.itemsize, self.unit)]
        return [(buffer, place)]

    def reader(self, buffer: Buffer) -> Callable[[int], Any]:
        read = super().reader(buffer)
        if buffer.space == "register":
            return read

        def noted(place: int) -> Any:
            for byte in self.bytes_of(buffer, place):
                self.refuse(self.written.get(byte, ()), buffer, place)
                self.seen.setdefault(byte, set()).add(self.thread)
            return read(place)

        return noted

    def writer(self, buffer: Buffer) -> Callable[[int, Any], None]:
        write = super().writer(buffer)
        if buffer.space == "register":
            return write

        def noted(place: int, value: Any) -> None:
            for byte in self.bytes_of(buffer, place):
                self.refuse(self.written.get(byte, ()), buffer, place)
                self.refuse(self.seen.get(byte, ()), buffer, place)
                self.written.setdefault(byte, set()).add(self.thread)
            write(place, value)

        return noted

    def refuse(self, others: Collection[int | None], buffer: Buffer, place: int) -> None:
        if any(other != self.thread for other in others):
            raise Race(f"{buffer.name}[{place}] is used by threads {others} and {self.thread} between two barriers")


def watch(program: Program, arguments: Sequence[np.ndarray], threads: int = 3) -> None:
    """Run a divided program; raises `Race`."""
    if program.threads > 1:
        Watched(program, threads).call(arguments)
