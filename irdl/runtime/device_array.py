"""Arrays that stay on a GPU between calls."""

from __future__ import annotations

import math
import mmap
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import IrdlError
from irdl.ir.dtypes import is_supported
from irdl.loading import load
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
        """The memory is another library's."""
        return isinstance(self._memory, _Shared)

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
        """For PyTorch, CuPy and Numba, which share its memory: version 3 of Numba's protocol."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(self.memory) if self.size else 0, False),
            "version": 3,
            "stream": self._device.stream.handle,
        }


def device_put(item: Any) -> Any:
    """The tree with its arrays on the first GPU. What has a `__cuda_array_interface__` and lies in row-major order is shared, and
    not copied.

    Raises:
        IrdlError: there is no GPU, or no pycuda.
        MemoryError: the arrays do not fit.
        TypeError: a dtype that irdl does not know, or an array of a GPU that is not contiguous.
    """
    device = load("irdl.runtime.device").find_device()
    return tree.map_leaves(lambda leaf: _put(device, leaf), item)


def device_get(item: Any) -> Any:
    """The tree with its arrays as NumPy's."""
    return tree.map_leaves(lambda leaf: np.asarray(leaf) if isinstance(leaf, DeviceArray) else leaf, item)


def _put(device: Device, leaf: Any) -> Any:
    if isinstance(leaf, (DeviceArray, bool, int, float)):
        return leaf
    interface = getattr(leaf, "__cuda_array_interface__", None)
    if interface is not None:
        dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
        if not is_supported(dtype) or interface.get("strides") not in (None, _row_major(shape, dtype)):
            raise TypeError(f"an array of a GPU has to be contiguous and of a dtype that irdl knows: this is {dtype}{list(shape)}")
        with device.active():
            device.cuda.Context.synchronize()  # it may be on its way in another stream
        return DeviceArray(device, _Shared(interface["data"][0], leaf), dtype, shape)
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    array = np.asarray(leaf)
    if not is_supported(array.dtype):
        raise TypeError(f"irdl has no dtype {array.dtype}")
    array = np.require(array, array.dtype.newbyteorder("="), ("C", "A"))
    with device.active():
        memory = device.hold(array.nbytes, "an array")
        device.upload(array, memory)
        device.wait()
    return DeviceArray(device, memory, array.dtype, array.shape)


def _row_major(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) * dtype.itemsize for axis in range(len(shape)))


def stand_in(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for a trace, whose memory is there only where it is touched, which no trace does."""
    size = math.prod(shape)
    if not size or sys.platform != "linux":
        return np.empty(shape, dtype)
    no_reserve = 0x4000  # older versions of Python do not name it
    memory = mmap.mmap(-1, size * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    return np.frombuffer(memory, dtype).reshape(shape)


class _Shared:
    """Memory of another library, which its owner keeps."""

    def __init__(self, address: int, owner: Any) -> None:
        self._address, self._owner = address, owner

    def __int__(self) -> int:
        return self._address
