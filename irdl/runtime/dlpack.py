"""DLPack: arrays handed from one library to another as capsules, without a copy. Knows structures and capsules, and no device.

Who makes a capsule owns what it points to until a consumer renames it; from then on the consumer does, and calls the deleter once.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from ctypes import POINTER, PYFUNCTYPE, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.machine import LoadedObject, compile_object

#: the version that is made; those of other major numbers cannot be read
VERSION = (1, 0)
_READ_ONLY, _COPIED = 1, 2
#: DLDataTypeCode of NumPy's kinds
_CODES = {"i": 0, "u": 1, "f": 2, "V": 4, "c": 5, "b": 6}  # V: NumPy's kind of bfloat16
_NAMES = {0: "int", 1: "uint", 2: "float", 3: "opaque", 4: "bfloat", 5: "complex", 6: "bool"}
_NAME, _NAME_VERSIONED, _USED, _USED_VERSIONED = b"dltensor", b"dltensor_versioned", b"used_dltensor", b"used_dltensor_versioned"
for _forever in (_NAME, _NAME_VERSIONED, _USED, _USED_VERSIONED):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_forever))  # capsules point to them, and may outlive this module


class _Tensor(ctypes.Structure):
    """DLTensor"""

    _fields_ = (
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device", c_int32),
        ("rank", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("offset", c_uint64),
    )


class _Managed(ctypes.Structure):
    """DLManagedTensor"""

    _fields_ = (("tensor", _Tensor), ("owner", c_void_p), ("deleter", c_void_p))


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned"""

    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("owner", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    )


# Prototypes of its own: those of `ctypes.pythonapi` are the whole process's.
_new_capsule = PYFUNCTYPE(ctypes.py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
_is_valid = PYFUNCTYPE(c_int, ctypes.py_object, c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = PYFUNCTYPE(c_void_p, ctypes.py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_rename = PYFUNCTYPE(c_int, ctypes.py_object, c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
_allocate = PYFUNCTYPE(c_void_p, c_size_t)(("PyMem_RawMalloc", ctypes.pythonapi))


def make_capsule(
    address: int,
    dtype: np.dtype,
    shape: Sequence[int],
    device: tuple[int, int],
    owner: Any,
    *,
    versioned: bool,
    read_only: bool = False,
    copied: bool = False,
) -> Any:
    """A capsule of an array in row-major order.

    Args:
        address: of its first element.
        dtype: one of irdl's.
        device: DLPack's type and number of where it is.
        owner: what holds the memory; kept until the capsule, or its consumer, is done.
        versioned: make a DLManagedTensorVersioned. The flags `read_only` and `copied` are only told so.
    """
    kind = _Versioned if versioned else _Managed
    rank, size = len(shape), ctypes.sizeof(kind)
    place = _allocate(size + 2 * rank * ctypes.sizeof(c_int64))
    if not place:
        raise MemoryError("a DLPack capsule")
    lengths, steps = ((c_int64 * rank).from_address(place + size + part * rank * 8) for part in (0, 1))
    for axis in range(rank):
        lengths[axis], steps[axis] = shape[axis], math.prod(shape[axis + 1 :])
    managed: Any = kind.from_address(place)
    ctypes.memset(place, 0, size)
    managed.tensor = _Tensor(address, *device, rank, _CODES[dtype.kind], 8 * dtype.itemsize, 1, lengths, steps, 0)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))
    managed.owner = id(owner)
    functions = _functions()
    managed.deleter = functions[_delete(versioned)]
    if versioned:
        managed.major, managed.minor = VERSION
        managed.flags = _READ_ONLY * read_only | _COPIED * copied
    return _new_capsule(place, _NAME_VERSIONED if versioned else _NAME, functions[_destroy(versioned)])


class Borrowed:
    """What a capsule of another library points to, from when it is taken. The other library is told when this goes.

    Attributes:
        device: DLPack's type and number of where it is.
        address: of its first element.
        dtype: its name; `complex64`, say, is none of irdl's.
        shape, strides: strides in elements.
        read_only: the other library does not want it written to.
    """

    def __init__(self, capsule: Any) -> None:
        """Look at a capsule, which stays its maker's until `take`.

        Raises:
            TypeError: it is no DLPack capsule, was taken before, or is of a version that irdl cannot read.
        """
        versioned = bool(_is_valid(capsule, _NAME_VERSIONED))
        if not versioned and not _is_valid(capsule, _NAME):
            raise TypeError("gives no DLPack capsule, or one that was taken before")
        self._managed: Any = None
        self._capsule, self._versioned = capsule, versioned
        place = _pointer(capsule, _NAME_VERSIONED if versioned else _NAME)
        managed: Any = (_Versioned if versioned else _Managed).from_address(place)
        if versioned and managed.major != VERSION[0]:
            raise TypeError(f"speaks version {managed.major} of DLPack, and irdl speaks {VERSION[0]}")
        tensor = managed.tensor
        self.device = (tensor.device_type, tensor.device)
        self.address = (tensor.data or 0) + tensor.offset
        lanes = f"x{tensor.lanes}" if tensor.lanes != 1 else ""
        name = _NAMES.get(tensor.code, f"code {tensor.code}, ")
        self.dtype = (name if (tensor.code, tensor.bits) == (6, 8) else f"{name}{tensor.bits}") + lanes
        self.shape = tuple(tensor.shape[: tensor.rank]) if tensor.rank else ()
        rows = tuple(math.prod(self.shape[axis + 1 :]) for axis in range(tensor.rank))
        self.strides = tuple(tensor.strides[: tensor.rank]) if tensor.rank and tensor.strides else rows
        self.read_only = versioned and bool(managed.flags & _READ_ONLY)

    @property
    def is_contiguous(self) -> bool:
        """In row-major order. Along axes of one element, and where there is none, strides mean nothing."""
        return is_row_major(self.shape, self.strides)

    def take(self) -> None:
        """Own it, from now on: the capsule is spent."""
        place = _pointer(self._capsule, _NAME_VERSIONED if self._versioned else _NAME)
        _rename(self._capsule, _USED_VERSIONED if self._versioned else _USED)
        self._managed = (_Versioned if self._versioned else _Managed).from_address(place)
        self._capsule = None

    def __del__(self) -> None:
        managed = getattr(self, "_managed", None)
        if managed is not None and managed.deleter:
            ctypes.CFUNCTYPE(None, c_void_p)(managed.deleter)(ctypes.addressof(managed))


def is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Strides, in elements, are those of an array in row-major order, wherever they mean something."""
    expected = 1
    for length, step in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and step != expected:
            return 0 in shape
        expected *= length
    return True


def _delete(versioned: bool) -> str:
    return f"delete{'_versioned' * versioned}"


def _destroy(versioned: bool) -> str:
    return f"destroy{'_versioned' * versioned}"


@lru_cache(maxsize=1)
def _functions() -> dict[str, int]:
    """The addresses of deleters, and of what is called when a capsule goes.

    They are machine code: consumers call them in any thread, with an error of Python's under way, which a callback into Python
    would lose, and after the interpreter's end.
    """
    text = _text(versioned=False) + _text(versioned=True)
    code = LoadedObject(compile_object(text), [name(versioned) for name in (_delete, _destroy) for versioned in (False, True)])
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))  # consumers may outlive this module
    return code.addresses


def _text(versioned: bool) -> str:
    """LLVM IR: the deleter frees the structure and lets go of its owner; a capsule that nobody took is deleted with what it holds."""
    function = {
        name: f"inttoptr (i64 {ctypes.cast(getattr(ctypes.pythonapi, name), c_void_p).value} to ptr)"
        for name in (
            "Py_IsInitialized",
            "PyGILState_Ensure",
            "PyGILState_Release",
            "Py_DecRef",
            "PyMem_RawFree",
            "PyCapsule_IsValid",
            "PyCapsule_GetPointer",
        )
    }
    kind: Any = _Versioned if versioned else _Managed
    name = _NAME_VERSIONED if versioned else _NAME
    called = f"ptr inttoptr (i64 {ctypes.cast(c_char_p(name), c_void_p).value} to ptr)"
    return f"""
define void @{_delete(versioned)}(ptr %managed) {{
  %state = call i32 {function["Py_IsInitialized"]}()
  %alive = icmp ne i32 %state, 0
  br i1 %alive, label %work, label %end
work:
  %lock = call i32 {function["PyGILState_Ensure"]}()
  %place = getelementptr i8, ptr %managed, i64 {kind.owner.offset}
  %owner = load ptr, ptr %place
  call void {function["PyMem_RawFree"]}(ptr %managed)
  call void {function["Py_DecRef"]}(ptr %owner)
  call void {function["PyGILState_Release"]}(i32 %lock)
  br label %end
end:
  ret void
}}
define void @{_destroy(versioned)}(ptr %capsule) {{
  %valid = call i32 {function["PyCapsule_IsValid"]}(ptr %capsule, {called})
  %owns = icmp ne i32 %valid, 0
  br i1 %owns, label %work, label %end
work:
  %managed = call ptr {function["PyCapsule_GetPointer"]}(ptr %capsule, {called})
  call void @{_delete(versioned)}(ptr %managed)
  br label %end
end:
  ret void
}}
"""
