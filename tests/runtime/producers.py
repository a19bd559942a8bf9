"""Another library's array, made by hand: a structure of DLPack's over host memory, which is device memory for the stand-in driver."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.runtime import dlpack

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", ctypes.pythonapi))
_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Producer:
    """What `__dlpack__` is asked for. Its capsules have no destructor: one that is not taken is never deleted.

    Attributes:
        deleted: how often its deleter was called; with what is not its own, a hundred times as often.
        asked: what `__dlpack__` was called with.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        device: tuple[int, int] = (2, 0),
        says: tuple[int, int] | None = None,
        kind: tuple[int, int, int] | None = None,
        knows_versions: bool = True,
        major: int = 1,
        read_only: bool = False,
        strides: Sequence[int] | None = None,
        offset: int = 0,
        error: Exception | None = None,
    ) -> None:
        self.array, self.device, self.says, self.knows_versions, self.error = array, device, says or device, knows_versions, error
        self.major, self.read_only, self.offset = major, read_only, offset
        codes = {"i": 0, "u": 1, "f": 2, "b": 6}
        self.kind = kind or (codes[array.dtype.kind], 8 * array.itemsize, 1)
        self.strides = strides
        self.deleted = 0
        self.asked: dict[str, Any] = {}
        self.deleter = _DELETER(self._delete)
        self.kept: list[Any] = []

    def _delete(self, place: int) -> None:
        self.deleted += 1 if place in map(ctypes.addressof, self.kept) else 100

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.says

    def __dlpack__(self, **asked: Any) -> Any:
        self.asked = asked
        if self.error is not None:
            raise self.error
        if not self.knows_versions and set(asked) != {"stream"}:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        rank = self.array.ndim
        shape = (ctypes.c_int64 * rank)(*self.array.shape)
        strides = None if self.strides is None else (ctypes.c_int64 * rank)(*self.strides)
        tensor = dlpack._Tensor(self.array.ctypes.data - self.offset, *self.device, rank, *self.kind, shape, strides, self.offset)
        deleter = ctypes.cast(self.deleter, ctypes.c_void_p)
        if self.knows_versions:
            managed: Any = dlpack._Versioned(self.major, 0, None, deleter, int(self.read_only), tensor)
        else:
            managed = dlpack._Managed(tensor, None, deleter)
        self.kept.append(managed)
        return _new_capsule(ctypes.addressof(managed), dlpack._NAME_VERSIONED if self.knows_versions else dlpack._NAME, None)
