"""Arrays that stay on a GPU between calls."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import IrdlError
from irdl.ir.dtypes import BFLOAT16, is_supported
from irdl.loading import load
from irdl.runtime.foreign import CPU, CUDA, Shared, find_on_gpu
from irdl.tracing import tree

if TYPE_CHECKING:
    from irdl.runtime.device import Device


class DeviceArray:
    """Numbers on a GPU, contiguous in row-major order. Functions of the backend 'cuda' take it for a NumPy array of its shape and dtype,
    and a call that is given one returns such. It has no arithmetic of its own: `np.asarray(x)` gives its numbers.

    Attributes:
        shape, dtype: as NumPy's.
    """

    __array_priority__ = 1000

    def __init__(self, device: Device, memory: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self._device, self._memory = device, memory
        self.dtype, self.shape = dtype, shape
        device.live.add(self)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def memory(self) -> Any:
        """What holds it, whose integer is the address.

        Raises:
            IrdlError: it was donated.
        """
        if self._memory is None:
            raise IrdlError(f"this array ({self.dtype}{list(self.shape)}) was donated to a call, whose result has its memory: use that")
        return self._memory

    @property
    def is_shared(self) -> bool:
        """Another library has the memory too. No result takes it, and what irdl stores goes elsewhere."""
        return isinstance(self._memory, Shared)

    def replace(self, other: DeviceArray) -> None:
        """Hold what the other holds, which is not used any more. Who shares the memory sees nothing of it."""
        self.free()
        self._memory = other.take()

    def take(self) -> Any:
        """The memory, for who has it from now on."""
        memory, self._memory = self.memory, None
        return memory

    def free(self) -> None:
        """Give the memory back now, and not when the last reference goes."""
        if self._memory is not None and hasattr(memory := self.take(), "free"):
            with self._device.active():
                memory.free()

    def __del__(self) -> None:
        if getattr(self, "_memory", None) is not None:
            self.free()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on a GPU is copied to be read")
        result = np.empty(self.shape, self.dtype)
        with self._device.active():
            self._device.download(self.memory, result)
            self._device.wait()
        return result if dtype is None else result.astype(dtype)

    def item(self) -> Any:
        return np.asarray(self).item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __format__(self, form: str) -> str:
        return format(np.asarray(self)[()], form) if form else str(self)

    def __repr__(self) -> str:
        if self._memory is None:
            return f"<a donated array, {self.dtype}{list(self.shape)}>"
        return f"DeviceArray({np.array2string(np.asarray(self), separator=', ', prefix='DeviceArray(')}, dtype={self.dtype})"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For PyTorch, CuPy and Numba, which share its memory: version 3 of Numba's protocol, which has no name for bfloat16."""
        if self.dtype == BFLOAT16:
            raise AttributeError("__cuda_array_interface__ has no bfloat16: use __dlpack__")
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(self.memory) if self.size else 0, self._is_read_only),
            "version": 3,
            "stream": self._device.stream.handle,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's number of CUDA, and the GPU's."""
        return CUDA, self._device.number

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule for `from_dlpack` of another library, which then shares the memory, for as long as either has it. From then on a
        call that the array is donated to copies it. The arguments are those of the array API standard, 2023.12.

        Args:
            stream: what the consumer does there comes after what makes the array: a stream's handle, 1 or None for the legacy default
                stream, 2 for the thread's default stream, -1 for none.
            max_version: the newest version that the consumer knows. Versions before 1.0 cannot tell that an array is read-only.
            dl_device: where to; here, or in the CPU's memory, which takes a copy.
            copy: True for memory of its own, False where a copy is an error.

        Raises:
            IrdlError: it was donated.
            BufferError: it would have to be on another device, or copied where it must not be; or it is read-only, and the consumer
                would not know.
            ValueError: there is no such stream.
        """
        if stream is not None and (isinstance(stream, bool) or stream < -1 or stream == 0):
            raise ValueError(f"stream={stream!r} is none: it is a handle, 1 for the default stream, 2 for the thread's, or -1")
        versioned = max_version is not None and max_version[0] >= 1
        if dl_device is not None and dl_device[0] == CPU:
            if copy is False:
                raise BufferError("an array on a GPU is copied to be in the CPU's memory, and copy=False forbids it")
            return np.asarray(self).__dlpack__(max_version=max_version, copy=copy)
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"the array is on {self.__dlpack_device__()} and goes to no other GPU: dl_device is {tuple(dl_device)}")
        shared = self._copied() if copy else self._shared()
        if shared.read_only and not versioned:
            raise BufferError("the array is read-only, which DLPack tells since version 1.0: ask for max_version=(1, 0), or for a copy")
        if stream != -1:
            self._device.let_wait(1 if stream is None else stream)
        how = {"versioned": versioned, "read_only": shared.read_only, "copied": bool(copy)}
        shared.is_lent = True
        make = load("irdl.runtime.dlpack").make_capsule
        return make(int(shared), self.dtype, self.shape, self.__dlpack_device__(), shared, **how)

    @property
    def _is_read_only(self) -> bool:
        return isinstance(self.memory, Shared) and self.memory.read_only

    def _shared(self) -> Shared:
        """The memory, as one that another library has too from now on."""
        with self._device.active():  # no call of another thread takes it meanwhile
            if not isinstance(self.memory, Shared):
                self._memory = Shared(self._device, int(self.memory), self._memory, is_own=True)
            return self._memory

    def _copied(self) -> Shared:
        """Memory of its own with the same numbers."""
        source = self.memory
        with self._device.active():
            memory = self._device.hold(self.nbytes, "a copy")
            if self.size:
                self._device.copy(source, memory, self.nbytes)
        return Shared(self._device, int(memory), memory, is_own=True)


def device_put(item: Any) -> Any:
    """The tree with its arrays on the first GPU. What another library has there (`__dlpack__`, `__cuda_array_interface__`) is shared,
    and not copied, if it is contiguous in row-major order.

    Raises:
        IrdlError: there is no GPU, or no pycuda.
        MemoryError: the arrays do not fit.
        TypeError: a dtype that irdl does not know, or an array of a GPU that is not contiguous or not on the first; the message says
            where in the tree it is.
    """
    device = load("irdl.runtime.device").find_device()
    leaves, structure = tree.flatten(item)
    put = []
    for place, leaf in enumerate(leaves):
        try:
            put.append(_put(device, leaf))
        except TypeError as error:
            raise TypeError(f"device_put: the item{tree.paths(item)[place]} {error}") from error.__cause__
    return tree.unflatten(structure, put)


def adopt(item: Any) -> DeviceArray | None:
    """What another library has on the first GPU, shared with it; None of all else.

    Raises:
        IrdlError: there is no GPU, or no pycuda.
        TypeError: it cannot be shared; the message goes on from the name of the item.
    """
    if not hasattr(type(item), "__dlpack__") and not hasattr(item, "__cuda_array_interface__"):
        return None
    device = load("irdl.runtime.device").find_device()
    found = find_on_gpu(device, item)
    return None if found is None else DeviceArray(device, *found)


def device_get(item: Any) -> Any:
    """The tree with its arrays as NumPy's."""
    return tree.map_leaves(lambda leaf: np.asarray(leaf) if isinstance(leaf, DeviceArray) else leaf, item)


def _put(device: Device, leaf: Any) -> Any:
    if isinstance(leaf, (DeviceArray, bool, int, float)):
        return leaf
    if not isinstance(leaf, (np.ndarray, np.generic)):
        found = find_on_gpu(device, leaf)
        return leaf if found is None else DeviceArray(device, *found)
    array = np.asarray(leaf)
    if not is_supported(array.dtype):
        raise TypeError(f"is of dtype {array.dtype}, which irdl does not have")
    array = np.require(array, array.dtype.newbyteorder("="), ("C", "A"))
    with device.active():
        memory = device.hold(array.nbytes, "an array")
        device.upload(array, memory)
        device.wait()
    return DeviceArray(device, memory, array.dtype, array.shape)


def stand_in(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for a trace, whose memory is there only where it is touched, which no trace does."""
    size = math.prod(shape)
    if not size or sys.platform != "linux":
        return np.empty(shape, dtype)
    no_reserve = 0x4000  # older versions of Python do not name it
    memory = mmap.mmap(-1, size * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    return np.frombuffer(memory, dtype).reshape(shape)
