"""A GPU by way of pycuda: its primary context, which other libraries of the process share, its memory and its stream.

pycuda has no cooperative launches, and hides the handles of its functions: what it lacks is done by the driver's own functions, in
pycuda's context and on its streams.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import byref, c_uint, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.errors import IrdlError
from irdl.loops.target import Gpu

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
        self._active = _Active(self._context, cuda.Context.pop)
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

    def active(self) -> AbstractContextManager[None]:
        """Its context is the calling thread's, and no other thread works with the device. May be entered again inside."""
        return self._active

    def keep(self, count: int, purpose: str) -> Any:
        """Memory, whose address is its integer, for as long as the object is there.

        Raises:
            MemoryError: there is not enough.
        """
        return self._allocate(self.cuda.mem_alloc, count, purpose)

    def hold(self, count: int, purpose: str) -> Any:
        """As `keep`, out of the pool: for who calls its `free` in the device's context."""
        return self._allocate(self._pool.allocate, count, purpose)

    def borrow(self) -> Borrowed:
        """Memory from the pool, given back at the end."""
        return Borrowed(self)

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

    def clear(self, memory: Any, count: int, stream: Any = None) -> None:
        self.cuda.memset_d8_async(int(memory), 0, count, stream or self.stream)

    def wait(self) -> None:
        """Until all that was given to the stream is done, in any thread: the driver refuses a thread that has no context."""
        with self.active():
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
        self.check(name, self.function(name)(*arguments))

    def function(self, name: str) -> Any:
        """A function of the driver, which returns a status for `check`."""
        return getattr(self._library, name)

    def check(self, name: str, status: int) -> None:
        """
        Raises:
            MemoryError, IrdlError: the status is of a function that failed.
        """
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, byref(text))
            kind = MemoryError if status == _OUT_OF_MEMORY else IrdlError
            raise kind(f"{name} of the GPU's driver: {(text.value or b'?').decode()} ({status})")


class _Active(AbstractContextManager[None]):
    """A context that is a thread's own while it is in here."""

    def __init__(self, context: Any, leave: Callable[[], None]) -> None:
        self._context, self._leave = context, leave
        #: a thread at a time; it may come in again, to free an array that it drops
        self._turn = threading.RLock()

    def __enter__(self) -> None:
        self._turn.acquire()
        try:
            self._context.push()
        except BaseException:
            self._turn.release()
            raise

    def __exit__(self, *exception: object) -> None:
        try:
            self._leave()
        finally:
            self._turn.release()


class Borrowed(AbstractContextManager["Borrowed"]):
    """Memory from a device's pool, until the end."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._taken: list[Any] = []

    def __exit__(self, *exception: object) -> None:
        for memory in self._taken:
            memory.free()

    def __call__(self, count: int, purpose: str) -> int:
        """Its address. See `Device.keep`."""
        memory = self._device.hold(count, purpose)
        self._taken.append(memory)
        return int(memory)
