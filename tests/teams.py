"""Machines in tests: threads among which small programs are divided, which the compiler would leave whole, a check for races, and
vectors that this machine may not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from irdl.loops.interpret import Machine
from irdl.loops.language import Barrier, Buffer, For, Kernel, Leave, Program, Statement
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

    def run(self, body: Sequence[Statement], scope: dict[str, Any]) -> None:
        for statement in body:
            if isinstance(statement, Barrier) or (isinstance(statement, Leave) and self.failure is None):
                self.written.clear()
                self.seen.clear()
            elif isinstance(statement, Kernel):
                self.thread = 0
                self.run(statement.body, dict(scope))
                self.thread = None
            elif isinstance(statement, For) and statement.kind == "parallel":
                outer, steps = self.thread, statement.stop
                for thread in range(self.threads):
                    self.thread = thread
                    start, stop = (-(-t * steps // self.threads) for t in (thread, thread + 1))
                    for step in range(start, stop):
                        self.run(statement.body, {**scope, statement.variable: step})
                self.thread = outer
            elif isinstance(statement, For):
                for step in statement.steps(scope):
                    self.run(statement.body, {**scope, statement.variable: step})
            else:
                super().run([statement], scope)

    def bytes_of(self, buffer: Buffer, place: int) -> list[tuple]:
        if buffer.space == "register":
            return []
        if buffer.space == "arena":
            start = buffer.offset + place * buffer.dtype.itemsize
            return [("arena", byte) for byte in range(start, start + buffer.dtype.itemsize, self.unit)]
        return [(buffer, place)]

    def read(self, buffer: Buffer, place: int) -> Any:
        for byte in self.bytes_of(buffer, place):
            self.refuse(self.written.get(byte, set()), buffer, place)
            self.seen.setdefault(byte, set()).add(self.thread)
        return super().read(buffer, place)

    def write(self, buffer: Buffer, place: int, value: Any) -> None:
        for byte in self.bytes_of(buffer, place):
            self.refuse(self.written.get(byte, set()) | self.seen.get(byte, set()), buffer, place)
            self.written.setdefault(byte, set()).add(self.thread)
        super().write(buffer, place, value)

    def refuse(self, others: set[int | None], buffer: Buffer, place: int) -> None:
        if others - {self.thread}:
            raise Race(f"{buffer.name}[{place}] is used by threads {others} and {self.thread} between two barriers")


def watch(program: Program, arguments: Sequence[np.ndarray], threads: int = 3) -> None:
    """Run a divided program; raises `Race`."""
    if program.threads > 1:
        Watched(program, threads).call(arguments)
