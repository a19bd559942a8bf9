"""A GPU by way of pycuda: its primary context, which other libraries of the process share, memory, modules, and launches.

pycuda has no cooperative launches, and hides the handles of its functions: modules are loaded, and functions launched, by the
driver's own functions, in pycuda's context and on its streams.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_char, c_int, c_size_t, c_uint, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.errors import IrdlError
from irdl.loops.language import Launch
from irdl.loops.target import Gpu

#: of the driver: the attribute that lets the blocks of a launch wait for each other, and a function's dynamic shared memory
_COOPERATIVE, _DYNAMIC_SHARED = 2, 8
#: shared memory that every function may have without asking
_SHARED_WITHOUT_ASKING = 48 * 1024
_OUT_OF_MEMORY = 2
#: of an event: it is for order alone
_NO_TIMING = 2
#: the oldest architecture with cooperative launches and nanosleep
_OLDEST = 70


@lru_cache(maxsize=1)
def find_device() -> Device:
    """The first GPU, or the one that CUDA_VISIBLE_DEVICES puts first.

    Raises:
        IrdlError: pycuda or the driver is missing, there is no GPU, or it is too old.
    """
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        if "libcuda" in str(error):
            raise IrdlError(f"the backend 'cuda' needs NVIDIA's driver: {error}") from error
        raise IrdlError(f"the backend 'cuda' needs pycuda: pip install 'irdl[cuda]' ({error})") from error
    try:
        cuda.init()
        if not cuda.Device.count():
            raise IrdlError("the backend 'cuda' needs a GPU of NVIDIA's, and the driver finds none")
        return Device(cuda, cuda.Device(Device.number))
    except cuda.Error as error:
        raise IrdlError(f"the GPU cannot be used: {error}") from error


class Device:
    """One GPU.

    Attributes:
        gpu: what the scheduler knows of it.
        number: the driver's, of those that CUDA_VISIBLE_DEVICES leaves.
    """

    number = 0

    def __init__(self, cuda: Any, device: Any) -> None:
        from pycuda.tools import DeviceMemoryPool

        self.cuda = cuda
        self.name = device.name()
        attribute = cuda.device_attribute
        capability = 10 * device.get_attribute(attribute.COMPUTE_CAPABILITY_MAJOR) + device.get_attribute(
            attribute.COMPUTE_CAPABILITY_MINOR
        )
        if capability < _OLDEST:
            raise IrdlError(f"the GPU, {self.name}, is of architecture {capability / 10}: irdl needs {_OLDEST / 10} or newer")
        shared = device.get_attribute(attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        self.gpu = Gpu(capability, device.get_attribute(attribute.MULTIPROCESSOR_COUNT), shared, self.name)
        self._context = device.retain_primary_context()
        self._library = ctypes.CDLL("libcuda.so.1")  # the one that pycuda has loaded
        #: a thread at a time works with the device; it may come in again, to free an array that it drops
        self._turn = threading.RLock()
        with self.active():
            self._pool = DeviceMemoryPool()
            self.stream = cuda.Stream()
        #: the arrays on it
        self.live: weakref.WeakSet[Any] = weakref.WeakSet()
        atexit.register(self._close)

    def _close(self) -> None:
        """Nothing of the device outlives its context."""
        for array in list(self.live):
            array.free()
        with self.active():
            self._pool.stop_holding()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Its context is the calling thread's, and no other thread's."""
        with self._turn:
            self._context.push()
            try:
                yield
            finally:
                self.cuda.Context.pop()

    def keep(self, count: int, purpose: str) -> Any:
        """Memory, whose address is its integer, for as long as the object is there.

        Raises:
            MemoryError: there is not enough.
        """
        return self._allocate(self.cuda.mem_alloc, count, purpose)

    def hold(self, count: int, purpose: str) -> Any:
        """As `keep`, out of the pool: for who calls its `free` in the device's context."""
        return self._allocate(self._pool.allocate, count, purpose)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Callable[[int, str], Any]]:
        """Memory from the pool, given back at the end; allocates as `keep` does."""
        taken: list[Any] = []

        def take(count: int, purpose: str) -> Any:
            taken.append(self.hold(count, purpose))
            return taken[-1]

        try:
            yield take
        finally:
            for memory in taken:
                memory.free()

    def _allocate(self, allocate: Callable[[int], Any], count: int, purpose: str) -> Any:
        try:
            return allocate(max(1, count))
        except self.cuda.MemoryError as error:
            self._pool.free_held()
            free, total = self.cuda.mem_get_info()
            raise MemoryError(f"{self.name} has no {count:,} bytes for {purpose}: {free:,} of {total:,} are free") from error

    def upload(self, array: np.ndarray, to: Any) -> None:
        if array.nbytes:
            self.cuda.memcpy_htod_async(int(to), array, self.stream)

    def download(self, source: Any, array: np.ndarray) -> None:
        """Into an array. It is there after `wait`."""
        if array.nbytes:
            self.cuda.memcpy_dtoh_async(array, int(source), self.stream)

    def copy(self, source: Any, to: Any, count: int) -> None:
        """From one place of the device to another."""
        self.cuda.memcpy_dtod_async(int(to), int(source), count, self.stream)

    def clear(self, memory: Any, count: int) -> None:
        self.cuda.memset_d8_async(int(memory), 0, count, self.stream)

    def wait(self) -> None:
        self.stream.synchronize()

    def let_wait(self, stream: int) -> None:
        """What another stream is given from now on comes after what this one has. `stream`: its handle, or 1 or 2 for a default one."""
        if stream == self.stream.handle:
            return
        event = c_void_p()
        with self.active():
            self.call("cuEventCreate", byref(event), c_uint(_NO_TIMING))
            try:
                self.call("cuEventRecord", event, c_void_p(self.stream.handle))
                self.call("cuStreamWaitEvent", c_void_p(stream), event, c_uint(0))
            finally:
                self.call("cuEventDestroy_v2", event)

    def call(self, name: str, *arguments: Any) -> None:
        """A function of the driver.

        Raises:
            MemoryError, IrdlError: it failed.
        """
        status = getattr(self._library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, byref(text))
            kind = MemoryError if status == _OUT_OF_MEMORY else IrdlError
            raise kind(f"{name} of the GPU's driver: {(text.value or b'?').decode()} ({status})")


class Function:
    """The function of a launch, ready for it."""

    def __init__(self, device: Device, module: Module, launch: Launch) -> None:
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
        self._config = _Config(*shape, c_void_p(device.stream.handle), attributes, int(launch.cooperative))

    def launch(self, addresses: Sequence[int]) -> None:
        """On the device's stream, behind what is there."""
        packed = (ctypes.c_uint64 * len(addresses))(*addresses)
        size = c_size_t(ctypes.sizeof(packed))
        # CU_LAUNCH_PARAM_BUFFER_POINTER, .._SIZE, .._END
        extra = (c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), 0)
        self._device.call("cuLaunchKernelEx", byref(self._config), self._function, None, extra)


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
