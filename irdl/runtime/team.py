"""The thread team's memory and its workers.

Workers are Python threads that enter generated code (see `irdl.codegen.cpu.llvm.team`) and stay there without the interpreter's
lock. They start with the first program that needs them, and end with the process. A forked child has none until it
compiles something or calls `set_num_threads`; programs compiled before run on its one thread.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from irdl.codegen.cpu.llvm.machine import LoadedObject, compile_object
from irdl.codegen.cpu.llvm.team import team_text
from irdl.codegen.cpu.llvm.team_layout import (
    BARRIER,
    BARRIER_PLACE,
    BASE,
    BEGAN,
    CONDITION,
    HEADER,
    HIRED,
    IDLE,
    MACHINE,
    MUTEX,
    PER_THREAD,
    RUN,
    WORKER,
    WORKERS,
)
from irdl.codegen.cpu.llvm.trust import ACCOUNT
from irdl.runtime.threads import MOST, num_threads, on_change

_lock = threading.Lock()
#: code of programs that are gone, and the team's last call then
_gone: deque[tuple[Any, int]] = deque()


def team_address(threads: int) -> int:
    """The address of the team's memory, its workers started."""
    with _lock:
        found = the_team()
        found.resize(max(threads, num_threads()))
        return found.address


def unload(code: Any) -> None:
    """Let go of the code of a program that is gone, and of any earlier one's, once no worker can be inside.

    A worker that the program's caller left at a barrier may return from there at any time later. So the code is kept until all
    workers are idle, or another call has begun with the team, which does so only when all were. This runs as a finalizer,
    anywhere: it waits for nobody and takes no lock.
    """
    _gone.append((code, the_team().last_call()))
    sweep()


def sweep() -> None:
    """Let go of the code that no worker can be inside of any more."""
    for _ in range(len(_gone)):
        try:
            code, last_call = _gone.popleft()
        except IndexError:  # another sweep took it
            return
        if the_team().last_call() == last_call and not the_team().at_home():
            _gone.append((code, last_call))


def _after_fork() -> None:
    """Whoever held it is not in a forked child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def the_team() -> Team:
    """The process's one."""
    return Team()


class Team:
    """Memory and workers. Its address stays the same for the life of the process."""

    def __init__(self) -> None:
        self._memory = np.zeros((HEADER + MOST * PER_THREAD + 64) // 8, np.int64)
        # Workers outlive the interpreter by a moment, so this is never freed; llvmlite leaves their code where it is.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._memory))
        self.address = -(-self._memory.ctypes.data // 64) * 64
        text = team_text(llvm.get_default_triple())
        self._code = LoadedObject(compile_object(text), exports=(RUN, BARRIER, WORKER))
        self._work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self._code.addresses[WORKER])
        self._workers: list[threading.Thread] = []
        self.reset()
        on_change(self)

    def _word(self, offset: int) -> Any:
        return ctypes.c_int64.from_address(self.address + offset)

    def barriers(self) -> int:
        """How many barriers callers have passed with workers."""
        return self._word(BASE).value

    def last_call(self) -> int:
        """The time at which the last call began that worked with the team."""
        return self._word(BEGAN).value

    def at_home(self) -> bool:
        """Whether no worker is inside a program."""
        return all(self._word(HEADER + number * PER_THREAD).value == IDLE for number in range(1, self._word(HIRED).value + 1))

    def trust(self) -> None:
        """Forget that teams have waited long on this machine."""
        self._memory[(self.address + MACHINE - self._memory.ctypes.data) // 8 :][:ACCOUNT] = 0

    def threads_changed(self) -> None:
        with _lock:
            self.resize(num_threads())

    def forked(self) -> None:
        """In a forked child: its workers are gone."""
        self.reset()

    def reset(self) -> None:
        """A team without workers."""
        self._memory[:] = 0
        self._workers = []
        self._word(0).value = self._code.addresses[RUN]
        self._word(BARRIER_PLACE).value = self._code.addresses[BARRIER]

    def resize(self, threads: int) -> None:
        """Let `threads` take part; missing workers are started, and those left over sleep."""
        while len(self._workers) < threads - 1:
            self._start(len(self._workers) + 1)
        self._word(WORKERS).value = threads - 1

    def _start(self, number: int) -> None:
        line = self.address + HEADER + number * PER_THREAD
        self._word(HEADER + number * PER_THREAD).value = IDLE
        process = ctypes.CDLL(None)
        process.pthread_mutex_init(ctypes.c_void_p(line + MUTEX), None)
        process.pthread_cond_init(ctypes.c_void_p(line + CONDITION), None)
        worker = threading.Thread(target=self._work, args=(self.address, number), name=f"irdl-{number}", daemon=True)
        self._workers.append(worker)
        self._word(HIRED).value = number
        worker.start()
