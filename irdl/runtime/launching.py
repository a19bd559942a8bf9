"""The launches of a program: issued one by one or, where the same addresses come again, all at once as a CUDA graph."""

from __future__ import annotations

import ctypes
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_char, c_int, c_size_t, c_uint, c_uint64, c_void_p
from operator import itemgetter
from typing import Any

from irdl import config
from irdl.codegen.cuda.emit import LINE, barrier_bytes, launches, parameters
from irdl.errors import IrdlError
from irdl.loops.expressions import Buffer
from irdl.loops.language import Launch, Program
from irdl.runtime.device import Device

#: of the driver: the attribute that lets the blocks of a launch wait for each other, and a function's dynamic shared memory
_COOPERATIVE, _DYNAMIC_SHARED = 2, 8
#: shared memory that every function may have without asking
_SHARED_WITHOUT_ASKING = 48 * 1024
#: of the driver: a stream that waits for no other, and a capture that is no other thread's affair
_NON_BLOCKING, _THREAD_LOCAL = 1, 1
#: graphs that are kept, addresses that are remembered, and how many graphs may be made before it is clear that it does not pay
_MOST_GRAPHS, _MOST_SEEN, _MOST_CAPTURES = 8, 16, 64


class Launches:
    """The launches of a program, as functions on a device.

    Args:
        image: the machine code.
        fixed: buffers that are at the same addresses in every call.
        changing: the other buffers, in the order of `run`'s addresses.
    """

    def __init__(self, device: Device, program: Program, image: bytes, fixed: Mapping[Buffer, int], changing: Sequence[Buffer]) -> None:
        self._device = device
        module = Module(device, image)
        found = launches(program)
        #: bytes of the status word, and of where the blocks of each launch wait
        sizes = [LINE, *map(barrier_bytes, found)]
        self._word_bytes = sum(sizes)
        self._words = device.keep(self._word_bytes, "barriers")
        status = int(self._words)
        #: what starts at zero in every call, if anything reads it
        self._clears = bool(program.checks) or any(sizes[1:])
        #: addresses that stay, behind those of a call
        self._fixed = (*fixed.values(), *(status + sum(sizes[:place]) for place in range(len(sizes))))
        places = {buffer: place for place, buffer in enumerate((*changing, None, *fixed))}
        arena, words = len(changing), len(changing) + 1 + len(fixed)
        #: each function, and what picks its parameters
        self._functions: list[tuple[Function, Callable[[Sequence[int]], tuple[int, ...]]]] = []
        for place, launch in enumerate(found, 1):
            chosen = [*(places[buffer] for buffer in parameters(program, launch)), arena, words, words + place]
            self._functions.append((Function(device, module, launch, len(chosen)), itemgetter(*chosen)))
        several = len(found) + self._clears > 1
        self._replays = Replays(device, self._issue) if several and config.CUDA_GRAPHS.value == "1" else None

    @property
    def status(self) -> int:
        """The address of the status word."""
        return int(self._words)

    def run(self, addresses: tuple[int, ...]) -> None:
        """On the device's stream, behind what is there. `addresses`: of the changing buffers, and of the arena."""
        if self._replays is None:
            self._issue(addresses, self._device.stream)
        else:
            self._replays.run(addresses)

    def _issue(self, addresses: tuple[int, ...], stream: Any) -> None:
        if self._clears:
            self._device.clear(self._words, self._word_bytes, stream)
        every = (*addresses, *self._fixed)
        handle = stream.handle
        for function, pick in self._functions:
            function.launch(pick(every), handle)


class Replays:
    """Work on a device as CUDA graphs, which it is given all at once: made where addresses come a second time.

    Args:
        issue: puts the work for some addresses into a stream.
    """

    def __init__(self, device: Device, issue: Callable[[tuple[int, ...], Any], None]) -> None:
        self._device, self._issue = device, issue
        self._graphs: OrderedDict[tuple[int, ...], c_void_p] = OrderedDict()
        self._seen: deque[tuple[int, ...]] = deque(maxlen=_MOST_SEEN)
        self._captures = 0

    def run(self, addresses: tuple[int, ...]) -> None:
        """On the device's stream, behind what is there."""
        graph = self._graphs.get(addresses) or self._again(addresses)
        if graph is None:
            self._issue(addresses, self._device.stream)
        else:
            self._device.call("cuGraphLaunch", graph, c_void_p(self._device.stream.handle))

    def _again(self, addresses: tuple[int, ...]) -> c_void_p | None:
        """The graph for addresses that come a second time; None for others, and where the driver makes none."""
        if self._captures == _MOST_CAPTURES:
            return None
        if addresses not in self._seen:
            self._seen.append(addresses)
            return None
        self._captures += 1
        try:
            graph = self._capture(addresses)
        except (IrdlError, MemoryError):
            self._captures = _MOST_CAPTURES
            return None
        if len(self._graphs) == _MOST_GRAPHS:
            self._device.wait()  # it may be running
            self._device.call("cuGraphExecDestroy", self._graphs.popitem(last=False)[1])
        self._graphs[addresses] = graph
        return graph

    def _capture(self, addresses: tuple[int, ...]) -> c_void_p:
        """
        Raises:
            IrdlError, MemoryError: the driver cannot.
        """
        device, graph, executable = self._device, c_void_p(), c_void_p()
        # A stream of its own: what other threads do in the default stream has to wait for none that is captured.
        stream = device.cuda.Stream(_NON_BLOCKING)
        device.call("cuStreamBeginCapture_v2", c_void_p(stream.handle), c_int(_THREAD_LOCAL))
        try:
            self._issue(addresses, stream)
        finally:
            device.call("cuStreamEndCapture", c_void_p(stream.handle), byref(graph))
        try:
            device.call("cuGraphInstantiateWithFlags", byref(executable), graph, c_uint64(0))
        finally:
            device.call("cuGraphDestroy", graph)
        return executable


class Function:
    """The function of a launch, ready for it.

    Args:
        count: of the addresses that it takes.
    """

    def __init__(self, device: Device, module: Module, launch: Launch, count: int) -> None:
        self._device, self._module = device, module
        self._function = c_void_p()
        device.call("cuModuleGetFunction", byref(self._function), module.handle, launch.name.encode())
        if launch.shared_bytes > _SHARED_WITHOUT_ASKING:
            device.call("cuFuncSetAttribute", self._function, c_int(_DYNAMIC_SHARED), c_int(launch.shared_bytes))
        blocks = launch.blocks
        if launch.cooperative:
            resident = c_int()
            arguments = (byref(resident), self._function, c_int(launch.threads), c_size_t(launch.shared_bytes))
            device.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", *arguments)
            most = resident.value * device.gpu.multiprocessors
            if most < (blocks if launch.exact else 1):
                needed = f"{blocks} blocks of {launch.threads} threads with {launch.shared_bytes:,} bytes of shared memory"
                raise IrdlError(f"{launch.name} needs {needed} at once, and the GPU has room for {most}")
            blocks = min(blocks, most)
        attributes = (_Attribute * 1)(_Attribute(_COOPERATIVE, b"", (c_int * 16)(1)))
        shape = ((blocks, 1, 1), (launch.threads, 1, 1), launch.shared_bytes)
        self._config = _Config(*shape, None, attributes, int(launch.cooperative))
        self._packed = (c_uint64 * count)()
        self._size = c_size_t(ctypes.sizeof(self._packed))
        # CU_LAUNCH_PARAM_BUFFER_POINTER, .._SIZE, .._END
        extra = (c_void_p * 5)(1, ctypes.addressof(self._packed), 2, ctypes.addressof(self._size), 0)
        self._launch = device.function("cuLaunchKernelEx")
        self._arguments = (byref(self._config), self._function, None, extra)

    def launch(self, addresses: Sequence[int], stream: int) -> None:
        """In the stream, behind what is there."""
        self._packed[:] = list(addresses)
        self._config.stream = stream
        status = self._launch(*self._arguments)
        if status:
            self._device.check("cuLaunchKernelEx", status)


class Module:
    """Machine code on the device. It is not unloaded: functions of it may be running when the last name of it goes."""

    def __init__(self, device: Device, image: bytes) -> None:
        self.handle = c_void_p()
        device.call("cuModuleLoadDataEx", byref(self.handle), image, c_uint(0), None, None)


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute"""

    _fields_ = (("id", c_int), ("pad", c_char * 4), ("value", c_int * 16))


class _Config(ctypes.Structure):
    """CUlaunchConfig"""

    _fields_ = (
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", c_uint),
    )
