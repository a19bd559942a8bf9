"""Whose code a file is, and what is the user's own among what a function reaches."""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import sys
import sysconfig
import types
from collections import ChainMap, UserDict, UserList, deque
from typing import Any

import numpy as np

_TRACING = os.path.dirname(os.path.realpath(__file__)) + os.sep
_PACKAGE = os.path.dirname(_TRACING[:-1]) + os.sep
#: irdl's code that is written with its public names and NumPy alone, as a user's is
_LAYERS = tuple(_PACKAGE + part for part in ("nn" + os.sep, "data" + os.sep, "optim.py"))
_NUMPY = os.path.dirname(os.path.realpath(np.__file__)) + os.sep
_OPTREE = os.sep + "optree" + os.sep
_LIBRARIES = tuple(
    os.path.realpath(path) + os.sep for path in {*sysconfig.get_paths().values()} if path not in ("", sys.prefix, sys.base_prefix)
)


class Owner(enum.Enum):
    """Whose code a file is: the user's; one of irdl's layers, which is traced as the user's is; irdl's other code; its tracer; NumPy and
    what calls back; or another library."""

    USER = enum.auto()
    LAYER = enum.auto()
    IRDL = enum.auto()
    TRACER = enum.auto()
    NUMPY = enum.auto()
    LIBRARY = enum.auto()


@functools.lru_cache(maxsize=4096)
def owner_of(file: str) -> Owner:
    path = os.path.realpath(file)
    if path.startswith(_LAYERS):
        return Owner.LAYER
    if path.startswith(_TRACING):
        return Owner.TRACER
    if path.startswith(_PACKAGE):
        return Owner.IRDL
    if path.startswith(_NUMPY) or _OPTREE in path:
        return Owner.NUMPY
    return Owner.LIBRARY if file.startswith("<frozen ") or path.startswith(_LIBRARIES) else Owner.USER


_HOLDERS = (types.SimpleNamespace, UserDict, UserList, ChainMap, contextlib._GeneratorContextManager)


def is_users(file: str | None) -> bool:
    """Code that is traced as the user's own."""
    return bool(file) and owner_of(str(file)) in (Owner.USER, Owner.LAYER)


def short_path(file: str) -> str:
    """As errors and dumps name a file: of irdl's, where it is in the package."""
    return os.path.relpath(file, os.path.dirname(_PACKAGE[:-1])) if file.startswith(_PACKAGE) else os.path.basename(file)


def is_users_class(cls: type) -> bool:
    """A class of the user's, by its module; one that is not known as such is code that was run by hand."""
    module = sys.modules.get(cls.__module__)
    return module is None or cls.__module__ == "__main__" or is_users(getattr(module, "__file__", None))


def is_plain_object(item: Any) -> bool:
    """An instance of a user's class that is all in its `__dict__`."""
    cls = type(item)
    return (
        (is_users_class(cls) or cls in _HOLDERS)
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
    code = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, types.ModuleType, np.vectorize)
    return isinstance(item, code) or hasattr(type(item), "__irdl_replace__")


def has_arrays(cls: type) -> bool:
    """A user's class with arrays among its attributes."""
    return is_users_class(cls) and any(type(member) is np.ndarray for base in cls.__mro__ for member in vars(base).values())
