"""A program as machine code that runs on arrays: flat inputs in, flat outputs out."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from irdl.codegen.llvm.call_shape import CallShape
from irdl.codegen.llvm.emit import ENTRY
from irdl.codegen.llvm.machine import LoadedObject
from irdl.codegen.llvm.python_call import PYTHON_ENTRY
from irdl.codegen.llvm.status import FAILED, POLL, POLLED, STOPPED, WORDS
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.runtime.build import ALIGNMENT, Build
from irdl.runtime.disk_cache import cached_code
from irdl.runtime.entry import make_entry
from irdl.runtime.signals import poll_address, raise_polled
from irdl.runtime.threads import team_address

#: Arenas kept for reuse, per executable; calls beyond that many at once allocate and free their own.
_KEPT_ARENAS = 4


class Executable:
    """A compiled graph.

    Args:
        graph: what to compile.
        donated: positions of inputs whose memory results may take.
        disable: optional passes to leave out.
        shape: the signature to make a native entry for; see `entry`.
        known: arrays for the graph's last inputs, which calls leave out.
    """

    def __init__(
        self,
        graph: Graph,
        donated: Collection[int] = (),
        disable: Collection[str] = (),
        shape: CallShape | None = None,
        known: Sequence[np.ndarray] = (),
    ) -> None:
        self.graph = graph
        #: output position -> donated input position, whether or not the code itself works in place
        self.donations = match_donations(graph, donated)
        self.build = Build(graph, self.donations, disable, shape, known=known)
        self._inputs = graph.inputs[: len(graph.inputs) - len(known)]
        self.code = cached_code(self.build)
        self.in_place = self.code.in_place
        exports = (ENTRY,) if shape is None else (ENTRY, PYTHON_ENTRY)
        self._loaded = LoadedObject(self.code.image, exports)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(self._loaded.addresses[ENTRY])
        #: what long loops ask whether to stop
        self._poll = poll_address() if self.code.looks else 0
        #: what the code takes behind its outputs: the constants, and the team where it works with one
        self._fixed = [array.ctypes.data for array in self.code.constants]
        if self.code.threads > 1:
            self._fixed.append(team_address(self.code.threads))
        self._types = [(value.shape, value.dtype) for value in graph.outputs]
        self._arenas: deque[tuple[np.ndarray, int]] = deque()

    @property
    def stages(self) -> list[tuple[str, Any]]:
        """`(name, Graph or Program)` after each step."""
        return self.build.stages

    @property
    def program(self) -> Program:
        return self.build.program

    @property
    def constant_bytes(self) -> int:
        """The constants, and what was prepared from known inputs."""
        return sum(array.nbytes for array in (*self.code.constants, *self.build.prepared))

    @property
    def llvm_ir(self) -> str:
        return self.build.llvm_ir

    @property
    def cuda_source(self) -> str:
        """The graph as one CUDA C kernel; see `codegen/cuda`."""
        return self.build.cuda_source

    @property
    def asm(self) -> str:
        """The machine code as assembly text."""
        return self.build.asm

    def entry(self, prepare: Callable, finish: Callable) -> Any:
        """The builtin function for the signature that was asked for, or None, as where a donated
        array is not what the code itself works in; for the arguments see `PythonCall`."""
        if self.build.python_call is None or self.in_place != self.donations:
            return None
        memory, address = self._new_arena()
        functions = (prepare, finish, self.fail)
        keep = (self._loaded, memory, self.code.constants)
        return make_entry(self.build.python_call, keep, self._loaded.addresses[PYTHON_ENTRY], functions, self._poll, self._fixed, address)

    def fail(self, value: int, code: int) -> None:
        """Raise what the status word says."""
        axis, extent, where = self.code.checks[code]
        at = f" (at {where})" if where else ""
        raise IndexError(f"index {value} is out of bounds for axis {axis} with size {extent}{at}")

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run on arrays of the graph's input types, those that are known left out.

        Raises:
            IndexError: an index was out of range; the message names the axis and the user's line.
            BaseException: a signal came, and its handler raised this: KeyboardInterrupt, for Ctrl-C. What the call stores into or
                was given as donated holds anything.
        """
        arrays = [np.require(a, value.dtype, ("C", "A")) for a, value in zip(inputs, self._inputs, strict=True)]
        outputs = []
        for place, (shape, dtype) in enumerate(self._types):
            outputs.append(arrays[self.in_place[place]] if place in self.in_place else np.empty(shape, dtype))
        addresses = [a.ctypes.data for a in (*arrays, *self.build.prepared, *outputs)]
        addresses += self._fixed
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
            self.fail(status[1], status[2])
        for out, place in self.donations.items():
            if out not in self.in_place:
                np.copyto(inputs[place], outputs[out])
                outputs[out] = inputs[place]
        return outputs

    def _take_arena(self) -> tuple[np.ndarray, int]:
        try:
            return self._arenas.pop()
        except IndexError:
            return self._new_arena()

    def _new_arena(self) -> tuple[np.ndarray, int]:
        """Memory and the aligned address in it."""
        memory = np.empty(self.code.arena_bytes + ALIGNMENT, np.uint8)
        start = memory.ctypes.data
        return memory, -(-start // ALIGNMENT) * ALIGNMENT

    def _give_arena(self, arena: tuple[np.ndarray, int]) -> None:
        if len(self._arenas) < _KEPT_ARENAS:
            self._arenas.append(arena)


def match_donations(graph: Graph, donated: Collection[int]) -> dict[int, int]:
    """Each output takes the first donated input of its type that is still free."""
    free = list(donated)
    matched: dict[int, int] = {}
    for out, value in enumerate(graph.outputs):
        for place in free:
            if graph.inputs[place].type == value.type:
                matched[out] = place
                free.remove(place)
                break
    return matched
