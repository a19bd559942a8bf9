"""What is the user's own among what a function reaches, and what of it may hold arrays."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import types
from collections import UserDict, UserList, deque
from typing import Any

import numpy as np

_LIBRARIES = tuple(
    os.path.realpath(path) + os.sep
    for path in {*sysconfig.get_paths().values(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    if path not in ("", sys.prefix, sys.base_prefix)
)


_HOLDERS = (types.SimpleNamespace, UserDict, UserList)


@functools.lru_cache(maxsize=4096)
def is_users(file: str | None) -> bool:
    """Code that is neither irdl's nor a library's."""
    return bool(file) and not str(file).startswith("<frozen ") and not os.path.realpath(str(file)).startswith(_LIBRARIES)


def is_plain_object(item: Any) -> bool:
    """An instance of a user's class that is all in its `__dict__`."""
    cls = type(item)
    module = sys.modules.get(cls.__module__)
    users = is_users(getattr(module, "__file__", None)) or cls.__module__ == "__main__"
    return (
        (users or cls in _HOLDERS)
        and (cls.__new__ is object.__new__ or cls is types.SimpleNamespace)  # type: ignore[comparison-overlap]
        and hasattr(item, "__dict__")
        and not isinstance(item, type)
        and not any(vars(base).get("__slots__") for base in cls.__mro__)
    )


def holds_arrays(item: Any, depth: int = 4) -> bool:
    if type(item) is np.ndarray:
        return True
    if depth and type(item) in (list, tuple, deque):
        return any(holds_arrays(part, depth - 1) for part in item)
    if depth and isinstance(item, dict):
        return any(holds_arrays(part, depth - 1) for part in item.values())
    if depth and isinstance(item, types.FunctionType):
        return is_users(item.__code__.co_filename)
    return depth > 0 and is_plain_object(item)


def contents_of(item: Any) -> bytes | None:
    """The bytes of an object that holds numbers in the open (array.array, bytearray, multiprocessing.Array); None of others."""
    if isinstance(item, np.ndarray):
        return None
    try:
        return bytes(memoryview(item.get_obj() if hasattr(type(item), "get_obj") else item))
    except (TypeError, ValueError, BufferError):
        return None


def is_hashable(item: Any) -> bool:
    """Of a tuple: all it holds is."""
    try:
        hash(item)
    except TypeError:
        return False
    return True


def is_code(item: Any) -> bool:
    code = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, types.ModuleType)
    return isinstance(item, code) or hasattr(type(item), "__irdl_replace__")


def has_arrays(cls: type) -> bool:
    """A user's class with arrays among its attributes."""
    module = sys.modules.get(cls.__module__)
    users = is_users(getattr(module, "__file__", None)) or cls.__module__ == "__main__"
    return users and any(type(member) is np.ndarray for base in cls.__mro__ for member in vars(base).values())
