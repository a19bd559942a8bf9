"""The process's thread team: how many threads compiled code uses, and the workers themselves.

Workers are Python threads that enter generated code (see `irdl.codegen.cpu.llvm.team`) and stay there without the interpreter's
lock. They start with the first program that needs them, and end with the process. A forked child has none until it
compiles something or calls `set_num_threads`; programs compiled before run on its one thread.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from irdl import config
from irdl.codegen.cpu.llvm.machine import LoadedObject, compile_object
from irdl.codegen.cpu.llvm.team import team_text
from irdl.codegen.cpu.llvm.team_layout import (
    BARRIER,
    BARRIER_PLACE,
    BASE,
    CONDITION,
    HEADER,
    IDLE,
    MACHINE,
    MUTEX,
    PER_THREAD,
    RUN,
    WORKER,
    WORKERS,
)
from irdl.codegen.cpu.llvm.trust import ACCOUNT

_MOST = 256
_lock = threading.Lock()
#: called when the number of threads changes
_listeners: weakref.WeakSet[Any] = weakref.WeakSet()
_chosen: int | None = None


def num_threads() -> int:
    """How many threads newly compiled code uses: `set_num_threads`, else IRDL_NUM_THREADS, else one for each core."""
    if _chosen is not None:
        return _chosen
    value = config.NUM_THREADS.value.strip()
    if not value:
        return min(_MOST, _cores())
    try:
        return _valid(int(value))
    except ValueError:
        raise ValueError(f"IRDL_NUM_THREADS is {value!r}, not a number between 1 and {_MOST}") from None


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on. Functions compiled for another number are compiled again when called.

    Raises:
        ValueError: `count` is not between 1 and 256.
    """
    global _chosen
    _chosen = _valid(count)
    with _lock:
        if _team.cache_info().currsize:
            _team().resize(_chosen)
        listeners = list(_listeners)
    for listener in listeners:
        listener.threads_changed()


def on_change(listener: Any) -> None:
    """Call `listener.threads_changed()` whenever `set_num_threads` is called, and `listener.forked()` in a forked child; the
    listener is held weakly."""
    with _lock:
        _listeners.add(listener)


def team_address(threads: int) -> int:
    """The address of the team's memory, its workers started."""
    with _lock:
        team = _team()
        team.resize(max(threads, num_threads()))
        return team.address


def _valid(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
        raise ValueError(f"the number of threads is between 1 and {_MOST}, not {count!r}")
    return count


@lru_cache(maxsize=1)
def _cores() -> int:
    """Cores this process may use; the threads that share one count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        place = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(place.read_text())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def _after_fork() -> None:
    """In a forked child: its workers are gone, and so is whoever held a lock."""
    global _lock
    _lock = threading.Lock()
    for listener in list(_listeners):
        listener.forked()
    if _team.cache_info().currsize:
        _team().reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _team() -> _Team:
    return _Team()


class _Team:
    """Memory and workers. Its address stays the same for the life of the process."""

    def __init__(self) -> None:
        self._memory = np.zeros((HEADER + _MOST * PER_THREAD + 64) // 8, np.int64)
        # Workers outlive the interpreter by a moment, so this is never freed; llvmlite leaves their code where it is.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._memory))
        self.address = -(-self._memory.ctypes.data // 64) * 64
        text = team_text(llvm.get_default_triple())
        self._code = LoadedObject(compile_object(text), exports=(RUN, BARRIER, WORKER))
        self._work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self._code.addresses[WORKER])
        self._workers: list[threading.Thread] = []
        self.reset()

    def _word(self, offset: int) -> Any:
        return ctypes.c_int64.from_address(self.address + offset)

    def barriers(self) -> int:
        """How many barriers callers have passed with workers."""
        return self._word(BASE).value

    def trust(self) -> None:
        """Forget that teams have waited long on this machine."""
        self._memory[(self.address + MACHINE - self._memory.ctypes.data) // 8 :][:ACCOUNT] = 0

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
        worker.start()
