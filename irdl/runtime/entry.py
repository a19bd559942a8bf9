"""The native entry of a compiled function: its table of addresses, and whether this process is laid out as it expects."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CellType
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.python_call import PythonCall
from irdl.codegen.cpu.llvm.python_objects import LAYOUTS, Function
from irdl.runtime.call import MISS

_FASTCALL_WITH_KEYWORDS = 0x82


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("method", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


#: The interpreter reads a builtin's definition until the builtin is gone, and the cycle collector may clear `_Table.keep` before.
_definitions: list[_MethodDefinition] = []


class _Table(np.ndarray):
    """The addresses an entry works with. It is the entry's `self`, so what it keeps lives as long as the entry."""

    keep: tuple[Any, ...]


def make_entry(
    call: PythonCall, code: Any, address: int, functions: Sequence[Callable[..., Any]], poll: int, fixed: Sequence[int], arena: int
) -> Any:
    """A builtin function that runs the code, or gives `MISS` back.

    Args:
        call: whose text was compiled.
        code: what to keep as long as the entry: the machine code, and the memory the addresses point to.
        address: of the compiled function.
        functions: prepare, finish and fail (see `PythonCall`).
        poll: address of what is asked whether to stop, or 0.
        fixed: addresses that the code takes behind its outputs.
        arena: address of the scratch memory.
    """
    prepare, finish, fail = functions
    addresses = [id(MISS), arena, id(prepare), id(finish), id(fail), poll, *fixed]
    addresses += [_address(item) if isinstance(item, Function) else id(item) for item in call.objects]
    definition = _MethodDefinition(b"irdl_call", address, _FASTCALL_WITH_KEYWORDS, None)
    table = np.array(addresses, np.uint64).view(_Table)
    _definitions.append(definition)
    table.keep = (code, tuple(functions), tuple(call.objects))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return new(ctypes.addressof(definition), table, None)


def is_busy(entry: Any) -> bool:
    """Another thread's call has the entry's scratch memory."""
    return not entry.__self__[PythonCall.ARENA]


def _address(function: Function) -> int:
    if function.numpy:
        return _numpy_functions()[function.numpy]
    found = ctypes.cast(getattr(ctypes.pythonapi, function.name), ctypes.c_void_p).value
    assert found is not None
    return found


@lru_cache(maxsize=1)
def _numpy_functions() -> Any:
    """NumPy's C interface: a table of functions whose places are fixed."""
    module = importlib.import_module("numpy._core._multiarray_umath")
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(get(module._ARRAY_API, None), ctypes.POINTER(ctypes.c_size_t))


@lru_cache(maxsize=1)
def layouts_hold() -> bool:
    """Whether objects of this Python and this NumPy lie in memory as `LAYOUTS` says.

    Only CPython's ordinary build is asked: without its lock, the entry's bookkeeping would race.
    """
    try:
        if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
            return False
        return ctypes.sizeof(ctypes.c_void_p) == 8 and _python_holds() and _numpy_holds()
    except (ImportError, AttributeError, ValueError):
        return False


def _read(item: Any, name: str, type_: Any = ctypes.c_ssize_t) -> Any:
    return type_.from_address(id(item) + LAYOUTS[name]).value


def _python_holds() -> bool:
    a, b = object(), object()
    pair, items, cell = (a, b), [a, b], CellType(a)
    first = ctypes.c_ssize_t.from_address(_read(items, "list items")).value
    return (
        all(_read(item, "type") == id(type(item)) for item in (pair, items, cell, 1.5, np.float32(1), np.zeros(2)))
        and _read(pair, "size") == _read(items, "size") == 2
        and _read(pair, "tuple items") == id(a) == first
        and _read(cell, "cell contents") == id(a)
        and _read(1.5, "float value", ctypes.c_double) == 1.5
        and ctypes.string_at(id(1.5 - 2j) + LAYOUTS["scalar value"], 16) == np.complex128(1.5 - 2j).tobytes()
    )


def _numpy_holds() -> bool:
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return False
    for dtype in ("bool", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64", "complex128"):
        array = np.ones((2, 3, 4), dtype)
        flags = array.flags
        expected = flags.c_contiguous | flags.f_contiguous << 1 | flags.aligned << 8 | flags.writeable << 10
        shape, strides = ((ctypes.c_ssize_t * 3).from_address(_read(array, name)) for name in ("array shape", "array strides"))
        scalar = array[0, 0, 0]
        number = np.frombuffer(ctypes.string_at(id(scalar) + LAYOUTS["scalar value"], array.itemsize), dtype)[0]
        if not (
            _read(array, "array data") == array.ctypes.data
            and _read(array, "array rank", ctypes.c_int) == 3
            and tuple(shape) == array.shape
            and tuple(strides) == array.strides
            and _read(array, "array dtype") == id(array.dtype)
            and _read(array, "array flags", ctypes.c_int) & 0x503 == expected
            and _read(array.dtype, "dtype number", ctypes.c_int) == array.dtype.num
            and _read(array.dtype, "dtype byte order", ctypes.c_char) == array.dtype.byteorder.encode()
            and number == scalar
        ):
            return False
    return True
