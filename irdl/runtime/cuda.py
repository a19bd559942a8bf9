"""A GPU as a backend: a function for each launch, the arrays of a call copied there and back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import numpy as np

from irdl.codegen.cuda.emit import LINE, barrier_bytes, emit_cuda, launches, parameters
from irdl.codegen.cuda.expressions import operations
from irdl.codegen.cuda.pipeline import CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES
from irdl.codegen.cuda.schedule import CudaSchedule
from irdl.errors import out_of_bounds
from irdl.loops.language import Buffer
from irdl.loops.target import Gpu
from irdl.runtime.backend import Backend, Loaded
from irdl.runtime.build import Build
from irdl.runtime.cubin import make_cubin
from irdl.runtime.device import Function, Module, find_device

#: bytes of the status word: whether an index was out of range, which, and what it was checked for
_STATUS = 24


class Cuda(Backend):
    """The first GPU."""

    name = "cuda"
    graph_passes, program_passes = CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES

    def operations(self) -> Collection[str]:
        return operations()

    def target(self) -> Gpu:
        return find_device().gpu

    def schedule(self, target: Gpu) -> CudaSchedule:
        return CudaSchedule(target)

    def load(self, build: Build) -> Loaded:
        return _OnDevice(build)


class _OnDevice(Loaded):
    """Machine code and constants on the device. Calls of one program take turns."""

    def __init__(self, build: Build) -> None:
        self._device = device = find_device()
        self._program = program = build.program
        self.in_place = build.in_place
        self.arena_bytes = program.arena_bytes
        self.constant_bytes = sum(array.nbytes for _, array in program.constants)
        image = make_cubin(emit_cuda(program), device.gpu.capability)
        self._turn = threading.Lock()
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
            self._constants = {}
            for buffer, array in program.constants:
                self._constants[buffer] = device.keep(buffer.nbytes, "a constant")
                device.upload(np.ascontiguousarray(array), self._constants[buffer])
            #: the status word, and where blocks wait
            self._words = device.keep(self._word_bytes, "barriers")
            device.wait()

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        device, program = self._device, self._program
        with self._turn, device.active(), device.borrow() as allocate:
            memory = dict(self._constants)
            for buffer, array in zip(program.inputs, inputs, strict=True):
                memory[buffer] = allocate(buffer.nbytes, f"the input {buffer.name}")
                device.upload(array, memory[buffer])
            for buffer in program.outputs:
                same: Buffer | None = self._same.get(buffer)
                memory[buffer] = allocate(buffer.nbytes, "a result") if same is None else memory[same]
            arena = allocate(program.arena_bytes, "what is computed on the way")
            words = int(self._words)
            device.clear(words, self._word_bytes)
            for function, buffers, offset in self._functions:
                function.launch([*(int(memory[buffer]) for buffer in buffers), int(arena), words, words + offset])
            status = np.zeros(_STATUS // 8, np.int64)
            device.download(words, status)
            for buffer, array in zip(program.outputs, outputs, strict=True):
                device.download(memory[buffer], array)
            device.wait()
        if status[0]:
            raise out_of_bounds(int(status[1]), *program.checks[int(status[2])])
