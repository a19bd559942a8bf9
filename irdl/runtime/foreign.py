"""Arrays on the GPU that another library has too: taken from it, or lent to it, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from irdl.ir.dtypes import DTYPES, canonical
from irdl.loading import load

if TYPE_CHECKING:
    from irdl.runtime.device import Device

#: DLPack's numbers of devices
CPU, CUDA = 1, 2
_DTYPES = "bool, floats of 16 to 64 bits, bfloat16, integers of 8 to 64 bits, complex64 or complex128"


class Shared:
    """Memory that another library has too. Neither knows when the other's work on it is done: before it goes, the GPU is waited for.

    Args:
        owner: what holds the memory.
        read_only: nobody is to write to it.
        is_own: the owner is memory of the device's own pool.

    Attributes:
        is_lent: others work on it, in streams of theirs, who had it from irdl.
    """

    def __init__(self, device: Device, address: int, owner: Any, *, read_only: bool = False, is_own: bool = False) -> None:
        self._device, self._address, self._owner, self._is_own = device, address, owner, is_own
        self.read_only, self.is_lent = read_only, False

    def __int__(self) -> int:
        return self._address

    def __del__(self) -> None:
        device = self._device
        with device.active():
            if self.is_lent:
                device.cuda.Context.synchronize()
            else:
                device.wait()
            if self._is_own:
                self._owner.free()


class Found(NamedTuple):
    """An array of another library."""

    memory: Shared
    dtype: np.dtype
    shape: tuple[int, ...]


def find_on_gpu(device: Device, item: Any) -> Found | None:
    """An item's array, if it is another library's and on a GPU; None of all else.

    DLPack is asked first: it names the device, lets irdl's stream wait for the other library's in place of all streams, and says
    when the memory may go. `__cuda_array_interface__` is for libraries without it, as Numba.

    Raises:
        TypeError: it is there, and cannot be shared: on another device, not contiguous, of a dtype that irdl does not have.
            The message goes on from the name of the item.
    """
    cls = type(item)  # an object may answer to any name
    if hasattr(cls, "__dlpack__") and hasattr(cls, "__dlpack_device__"):
        kind, number = item.__dlpack_device__()
        if int(kind) == CUDA:
            if int(number) != device.number:
                raise TypeError(
                    f"is a {cls.__name__} on the GPU {int(number)}, and irdl works on the GPU {device.number}: move it there, or put "
                    "that GPU first in CUDA_VISIBLE_DEVICES"
                )
            return _by_capsule(device, item)
    interface = getattr(item, "__cuda_array_interface__", None)
    return None if interface is None else _by_interface(device, item, interface)


def _by_capsule(device: Device, item: Any) -> Found:
    what = type(item).__name__
    stream = device.stream.handle
    try:
        try:
            capsule = item.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # it is of a library from before there were versions
            capsule = item.__dlpack__(stream=stream)
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"is a {what} that is not shared by its library: {error}") from error
    borrowed = load("irdl.runtime.dlpack").Borrowed(capsule)
    if borrowed.device != (CUDA, device.number):
        raise TypeError(f"is a {what} whose capsule is of another device than it says")
    dtype = next((dtype for dtype in DTYPES if dtype.name == borrowed.dtype), None)
    if dtype is None:
        raise TypeError(f"is a {what} of dtype {borrowed.dtype}: convert it to {_DTYPES}")
    if not borrowed.is_contiguous:
        raise _not_contiguous(what, borrowed.shape, borrowed.strides)
    borrowed.take()
    return Found(Shared(device, borrowed.address, borrowed, read_only=borrowed.read_only), dtype, borrowed.shape)


def _by_interface(device: Device, item: Any, interface: dict[str, Any]) -> Found:
    what = type(item).__name__
    dtype, shape, strides = canonical(np.dtype(interface["typestr"])), tuple(interface["shape"]), interface.get("strides")
    if dtype is None:
        raise TypeError(f"is a {what} of dtype {interface['typestr']}: convert it to {_DTYPES}")
    if strides is not None:
        steps = tuple(step / dtype.itemsize for step in strides)
        if not load("irdl.runtime.dlpack").is_row_major(shape, steps):
            raise _not_contiguous(what, shape, steps)
    address, read_only = interface["data"]
    with device.active():
        device.cuda.Context.synchronize()  # it may be on its way in another stream
    return Found(Shared(device, address, item, read_only=bool(read_only)), dtype, shape)


def _not_contiguous(what: str, shape: tuple[int, ...], strides: tuple[float, ...]) -> TypeError:
    steps = ", ".join(f"{step:g}" for step in strides)
    return TypeError(
        f"is a {what} that is not contiguous in row-major order (shape {list(shape)}, strides of {steps} elements): pass a copy that is, "
        "as .contiguous() of PyTorch or ascontiguousarray of CuPy gives it"
    )
