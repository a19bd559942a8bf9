"""A GPU as a backend: a function for each launch, the arrays of a call copied there and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from irdl.codegen.cuda.dealing import WIDEST
from irdl.codegen.cuda.emit import emit_cuda
from irdl.codegen.cuda.expressions import operations
from irdl.codegen.cuda.fragments import TensorCores
from irdl.codegen.cuda.pipeline import CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES
from irdl.codegen.cuda.schedule import CudaSchedule
from irdl.loops.target import Gpu
from irdl.runtime.backend import Backend, Loaded
from irdl.runtime.build import Build
from irdl.runtime.cubin import make_cubin
from irdl.runtime.device import Borrowed, find_device
from irdl.runtime.device_array import DeviceArray
from irdl.runtime.launching import Launches
from irdl.tracing.raised import failure

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
        self._errors, self._hidden = build.errors, build.hidden
        self.arena_bytes = program.arena_bytes
        self.constant_bytes = sum(array.nbytes for _, array in program.constants)
        image = make_cubin(emit_cuda(program), device.gpu.capability)
        #: an output's place -> that of the donated input whose memory it takes
        same = {second: program.inputs.index(first) for first, second in program.aliased}
        self._same = [same.get(buffer) for buffer in program.outputs]
        with device.active():
            self._constants = {buffer: self._bring(np.ascontiguousarray(array), "a constant") for buffer, array in program.constants}
            fixed = {buffer: int(memory) for buffer, memory in self._constants.items()}
            self._launches = Launches(device, program, image, fixed, (*program.inputs, *program.outputs))
            #: those of the inputs that are the same at every call, by identity
            self._prepared = {id(array): self._bring(array, "a static array") for array in build.prepared}
            device.wait()

    def _bring(self, array: np.ndarray, purpose: str) -> Any:
        memory = self._device.keep(array.nbytes, purpose)
        self._device.upload(array, memory)
        return memory

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        device, program = self._device, self._program
        with device.active(), device.borrow() as allocate:
            given = self._place(inputs, allocate)
            results = [
                allocate(buffer.nbytes, "a result") if same is None else given[same]
                for buffer, same in zip(program.outputs, self._same, strict=True)
            ]
            status = self._launch(given, results, allocate)
            for address, array in zip(results, outputs, strict=True):
                device.download(address, array)
            device.wait()
        self._check(status, outputs)

    def run_on_device(self, inputs: Sequence[Any], types: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[DeviceArray]:
        device, program = self._device, self._program
        with device.active(), device.borrow() as allocate:
            given = self._place(inputs, allocate)
            results, addresses = [], []
            for buffer, same, (shape, dtype) in zip(program.outputs, self._same, types, strict=True):
                donated = None if same is None else inputs[same]
                if isinstance(donated, DeviceArray) and not donated.is_shared:
                    memory = donated.take()
                    addresses.append(int(memory))
                else:
                    memory = device.hold(buffer.nbytes, "a result")
                    addresses.append(int(memory))
                    if same is not None:
                        # It is computed in the place of the input: there has to be one.
                        device.copy(given[same], memory, buffer.nbytes)
                        given[same] = addresses[-1]
                results.append(DeviceArray(device, memory, dtype, shape))
            status = self._launch(given, addresses, allocate)
            if program.checks:
                device.wait()
        if status[0]:
            self._check(status, [np.asarray(result) for result in results])
        return results

    def _place(self, inputs: Sequence[Any], allocate: Borrowed) -> list[int]:
        """The inputs' addresses on the device, where they are brought if need be."""
        addresses = []
        for buffer, array in zip(self._program.inputs, inputs, strict=True):
            if isinstance(array, DeviceArray):
                address = int(array.memory)
                if address % WIDEST and array.nbytes:
                    # It is another library's, and begins elsewhere than arrays of kernels do.
                    source, address = address, allocate(buffer.nbytes, f"a copy of the input {buffer.name}")
                    self._device.copy(source, address, buffer.nbytes)
            elif id(array) in self._prepared:
                address = int(self._prepared[id(array)])
            else:
                address = allocate(buffer.nbytes, f"the input {buffer.name}")
                self._device.upload(array, address)
            addresses.append(address)
        return addresses

    def _launch(self, inputs: Sequence[int], outputs: Sequence[int], allocate: Borrowed) -> np.ndarray:
        """All launches, one after the other; returns what will be the status word."""
        arena = allocate(self._program.arena_bytes, "what is computed on the way")
        self._launches.run((*inputs, *outputs, arena))
        status = np.zeros(_STATUS // 8, np.int64)
        if self._program.checks:
            self._device.download(self._launches.status, status)
        return status

    def _check(self, status: np.ndarray, outputs: Sequence[np.ndarray]) -> None:
        if status[0]:
            hidden = outputs[len(outputs) - self._hidden :]
            raise failure(self._errors, hidden, int(status[1]), self._program.checks[int(status[2])])
