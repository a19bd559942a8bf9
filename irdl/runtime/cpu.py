"""The CPU as a backend: machine code in memory, called by the interpreter itself or through ctypes."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm import arithmetic
from irdl.codegen.cpu.llvm.emit import ENTRY
from irdl.codegen.cpu.llvm.machine import LoadedObject
from irdl.codegen.cpu.llvm.processor import host_target
from irdl.codegen.cpu.llvm.python_call import PYTHON_ENTRY
from irdl.codegen.cpu.llvm.status import FAILED, POLL, POLLED, STOPPED, WORDS
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.codegen.cpu.schedule import CpuSchedule
from irdl.loops.target import Target, Worth
from irdl.runtime.backend import Backend, Loaded
from irdl.runtime.build import ALIGNMENT, Build
from irdl.runtime.disk_cache import cached_code
from irdl.runtime.entry import make_entry
from irdl.runtime.signals import poll_address, raise_polled
from irdl.runtime.team import sweep, team_address, unload
from irdl.runtime.threads import num_threads
from irdl.tracing.raised import failure

#: Arenas kept for reuse, per program; calls beyond that many at once allocate and free their own.
_KEPT_ARENAS = 4
_WORTH = Worth()


class Cpu(Backend):
    """This processor, or the baseline that IRDL_TARGET names, with as many threads as are set."""

    name = "cpu"
    graph_passes, program_passes = CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
    has_entry = stores_in_place = True

    def operations(self) -> Collection[str]:
        return arithmetic.operations()

    def target(self) -> Target:
        return replace(host_target(), threads=num_threads(), worth=_WORTH)

    def schedule(self, target: Target, precision: str | None = None) -> CpuSchedule:
        return CpuSchedule(target)

    def load(self, build: Build) -> Loaded:
        return _Native(build)


class _Native(Loaded):
    """Machine code."""

    def __init__(self, build: Build) -> None:
        self._code = code = cached_code(build)
        self._python_call = build.python_call(code.in_place)
        self.in_place = code.in_place
        self.arena_bytes = code.arena_bytes
        self.constant_bytes = sum(array.nbytes for array in code.constants)
        exports = (ENTRY,) if self._python_call is None else (ENTRY, PYTHON_ENTRY)
        self._loaded = LoadedObject(code.image, exports)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(self._loaded.addresses[ENTRY])
        #: what long loops ask whether to stop
        self._poll = poll_address() if code.looks else 0
        #: what the code takes behind its outputs: the constants, and the team where it works with one
        self._fixed = [array.ctypes.data for array in code.constants]
        if code.threads > 1:
            self._fixed.append(team_address(code.threads))
            sweep()
            self._loaded.hand_over(unload)
        self._errors = build.errors
        #: shapes and dtypes of the hidden outputs
        self._hidden = [(value.shape, value.dtype) for value in build.graph.outputs[len(build.graph.outputs) - build.hidden :]]
        self._arenas: deque[tuple[np.ndarray, int]] = deque()

    def entry(self, prepare: Callable[..., Any], finish: Callable[..., Any]) -> Any:
        if self._python_call is None:
            return None
        memory, address = self._new_arena()
        # An entry has hidden outputs of its own.
        hidden = [np.empty(shape, dtype) for shape, dtype in self._hidden]
        fixed = [*(array.ctypes.data for array in hidden), *self._fixed]

        def fail(value: int, code: int) -> None:
            raise self._failure(value, code, hidden)

        keep = (self._loaded, memory, self._code.constants, hidden)
        return make_entry(
            self._python_call, keep, self._loaded.addresses[PYTHON_ENTRY], (prepare, finish, fail), self._poll, fixed, address
        )

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        addresses = [array.ctypes.data for array in (*inputs, *outputs)] + self._fixed
        table = (ctypes.c_void_p * len(addresses))(*addresses)
        status = (ctypes.c_int64 * WORDS)()
        status[POLL] = self._poll
        arena = self._take_arena()
        try:
            self._run(table, arena[1], status)
        finally:
            self._give_arena(arena)
        if status[STOPPED]:
            raise_polled(status[POLLED : POLLED + 3])
        if status[FAILED]:
            raise self._failure(status[1], status[2], outputs[len(outputs) - len(self._hidden) :])

    def _failure(self, value: int, code: int, hidden: Sequence[np.ndarray]) -> BaseException:
        """What the status word says."""
        return failure(self._errors, hidden, value, self._code.checks[code])

    def _take_arena(self) -> tuple[np.ndarray, int]:
        try:
            return self._arenas.pop()
        except IndexError:
            return self._new_arena()

    def _new_arena(self) -> tuple[np.ndarray, int]:
        """Memory and the aligned address in it."""
        memory = np.empty(self.arena_bytes + ALIGNMENT, np.uint8)
        start = memory.ctypes.data
        return memory, -(-start // ALIGNMENT) * ALIGNMENT

    def _give_arena(self, arena: tuple[np.ndarray, int]) -> None:
        if len(self._arenas) < _KEPT_ARENAS:
            self._arenas.append(arena)
