"""A GPU as a backend: a function for each launch, the arrays of a call copied there and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from irdl.codegen.cuda.dealing import WIDEST
from irdl.codegen.cuda.emit import LINE, barrier_bytes, emit_cuda, launches, parameters
from irdl.codegen.cuda.expressions import operations
from irdl.codegen.cuda.fragments import TensorCores
from irdl.codegen.cuda.pipeline import CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES
from irdl.codegen.cuda.schedule import CudaSchedule
from irdl.errors import out_of_bounds
from irdl.loops.language import Buffer
from irdl.loops.target import Gpu
from irdl.runtime.backend import Backend, Loaded
from irdl.runtime.build import Build
from irdl.runtime.cubin import make_cubin
from irdl.runtime.device import Function, Module, find_device
from irdl.runtime.device_array import DeviceArray

#: bytes of the status word: whether an index was out of range, which, and what it was checked for
_STATUS = 24
#: the first compute capability that multiplies TF32, and bfloat16
_TENSOR_CORES_SINCE = 80


class Cuda(Backend):
    """The first GPU."""

    name = "cuda"
    graph_passes, program_passes = CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES

    def operations(self) -> Collection[str]:
        return operations()

    def target(self) -> Gpu:
        return find_device().gpu

    def schedule(self, target: Gpu, precision: str | None = None) -> CudaSchedule:
        return CudaSchedule(target, TensorCores(precision == "tf32") if target.capability >= _TENSOR_CORES_SINCE else None)

    def load(self, build: Build) -> Loaded:
        return _OnDevice(build)


class _OnDevice(Loaded):
    """Machine code and constants on the device."""

    def __init__(self, build: Build) -> None:
        self._device = device = find_device()
        self._program = program = build.program
        self.in_place = build.in_place
        self.arena_bytes = program.arena_bytes
        self.constant_bytes = sum(array.nbytes for _, array in program.constants)
        image = make_cubin(emit_cuda(program), device.gpu.capability)
        #: an output -> the donated input whose memory it takes
        self._same = {second: first for first, second in program.aliased}
        with device.active():
            module = Module(device, image)
            #: each function, the buffers that it takes, and where its blocks wait
            self._functions: list[tuple[Function, list[Buffer], int]] = []
            self._word_bytes = LINE
            for launch in launches(program):
                self._functions.append((Function(device, module, launch), parameters(program, launch), self._word_bytes))
                self._word_bytes += barrier_bytes(launch)
            self._constants: dict[Buffer, Any] = {}
            for buffer, array in program.constants:
                self._constants[buffer] = device.keep(buffer.nbytes, "a constant")
                device.upload(np.ascontiguousarray(array), self._constants[buffer])
            #: those of the inputs that are the same at every call, by identity
            self._prepared: dict[int, Any] = {}
            for array in build.prepared:
                self._prepared[id(array)] = device.keep(array.nbytes, "a static array")
                device.upload(array, self._prepared[id(array)])
            #: the status word, and where blocks wait
            self._words = device.keep(self._word_bytes, "barriers")
            device.wait()

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        device, program = self._device, self._program
        with device.active(), device.borrow() as allocate:
            memory = self._place(inputs, allocate)
            for buffer in program.outputs:
                same = self._same.get(buffer)
                memory[buffer] = allocate(buffer.nbytes, "a result") if same is None else memory[same]
            status = self._launch(memory, allocate)
            for buffer, array in zip(program.outputs, outputs, strict=True):
                device.download(memory[buffer], array)
            device.wait()
        self._check(status)

    def run_on_device(self, inputs: Sequence[Any], types: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[DeviceArray]:
        device, program = self._device, self._program
        given = dict(zip(program.inputs, inputs, strict=True))
        with device.active(), device.borrow() as allocate:
            memory = self._place(inputs, allocate)
            results = []
            for buffer, (shape, dtype) in zip(program.outputs, types, strict=True):
                donated = given[self._same[buffer]] if buffer in self._same else None
                if isinstance(donated, DeviceArray) and not donated.is_shared:
                    memory[buffer] = donated.take()
                else:
                    memory[buffer] = device.hold(buffer.nbytes, "a result")
                    if buffer in self._same:
                        # It is computed in the place of the input: there has to be one.
                        source = self._same[buffer]
                        device.copy(memory[source], memory[buffer], buffer.nbytes)
                        memory[source] = memory[buffer]
                results.append(DeviceArray(device, memory[buffer], dtype, shape))
            status = self._launch(memory, allocate)
            if program.checks:
                device.wait()
        self._check(status)
        return results

    def _place(self, inputs: Sequence[Any], allocate: Callable[[int, str], Any]) -> dict[Buffer, Any]:
        """Where constants and inputs are on the device, brought there if need be."""
        memory = dict(self._constants)
        for buffer, array in zip(self._program.inputs, inputs, strict=True):
            if isinstance(array, DeviceArray):
                memory[buffer] = self._aligned(array, buffer, allocate)
            elif id(array) in self._prepared:
                memory[buffer] = self._prepared[id(array)]
            else:
                memory[buffer] = allocate(buffer.nbytes, f"the input {buffer.name}")
                self._device.upload(array, memory[buffer])
        return memory

    def _aligned(self, array: DeviceArray, buffer: Buffer, allocate: Callable[[int, str], Any]) -> Any:
        """An array's memory, or, of another library's that begins elsewhere than arrays of kernels do, a copy for this call."""
        memory = array.memory
        if array.nbytes == 0 or int(memory) % WIDEST == 0:
            return memory
        copy = allocate(buffer.nbytes, f"a copy of the input {buffer.name}")
        self._device.copy(memory, copy, buffer.nbytes)
        return copy

    def _launch(self, memory: dict[Buffer, Any], allocate: Callable[[int, str], Any]) -> np.ndarray:
        """All launches, one after the other; returns what will be the status word."""
        device, words = self._device, int(self._words)
        arena = int(allocate(self._program.arena_bytes, "what is computed on the way"))
        device.clear(words, self._word_bytes)
        for function, buffers, offset in self._functions:
            function.launch([*(int(memory[buffer]) for buffer in buffers), arena, words, words + offset])
        status = np.zeros(_STATUS // 8, np.int64)
        if self._program.checks:
            device.download(words, status)
        return status

    def _check(self, status: np.ndarray) -> None:
        if status[0]:
            raise out_of_bounds(int(status[1]), *self._program.checks[int(status[2])])
