"""Captured state: what a function reads that is no argument (globals, closures, attributes of `self`).

Arrays found there become hidden inputs, read anew at each call and written back if the trace stores into them; nothing
is baked in. To see them, the function runs as a copy: its globals and cells give traced arrays in place of real ones,
and so do the user's functions, modules and objects that it reaches. The originals are never touched.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ir.types import TensorType, is_supported
from irdl.trace.box import Box, is_box
from irdl.trace.recorder import Cell, Trace

Read = Callable[[], Any]
Write = Callable[[Any], None]

_LIBRARIES = tuple(
    os.path.realpath(path) + os.sep
    for path in {*sysconfig.get_paths().values(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
    if path not in ("", sys.prefix, sys.base_prefix)
)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def is_users(file: str | None) -> bool:
    """Code that is neither irdl's nor a library's."""
    return bool(file) and not os.path.realpath(str(file)).startswith(_LIBRARIES)


@dataclass
class Captured:
    """A hidden input: its graph input, where to read the array, and what it is called."""

    value: Value
    box: Box
    read: Read
    name: str


@dataclass
class Rebound:
    """A hidden output: a captured name or attribute that the trace bound to a new array."""

    item: Any
    write: Write
    name: str


class Capture:
    """What one trace has captured."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.captured: list[Captured] = []
        #: (how to read it, what it was): a change means the trace no longer holds
        self.guards: list[tuple[Read, Any]] = []
        self._memo: dict[int, tuple[Any, Any]] = {}
        self._globals: list[tuple[_Globals, dict[str, Any]]] = []
        self._objects: list[tuple[Any, Any, dict[str, Any], str]] = []
        self._containers: list[tuple[Any, Any, str]] = []
        self._cells: list[tuple[types.CellType, types.CellType, Any, str]] = []

    def replace(self, item: Any, read: Read, name: str) -> Any:
        """What the traced code sees in place of `item`."""
        if isinstance(item, _PLAIN):
            self.guards.append((read, item))
            return item
        if is_box(item):
            return item
        known = self._memo.get(id(item))
        if known is not None:
            return known[1]
        made = self._make(item, read, name)
        self._memo[id(item)] = (item, made)
        return made

    def _make(self, item: Any, read: Read, name: str) -> Any:
        if type(item) is np.ndarray:
            return self._array(item, read, name)
        if isinstance(item, types.FunctionType):
            self.guards.append((read, item))
            return self._function(item) if is_users(item.__code__.co_filename) else item
        if isinstance(item, types.MethodType) and isinstance(item.__func__, types.FunctionType):
            owner = self.replace(item.__self__, lambda: read().__self__, name)
            function = self._function(item.__func__) if is_users(item.__func__.__code__.co_filename) else item.__func__
            return types.MethodType(function, owner)
        if isinstance(item, functools.partial):
            self.guards.append((read, item))
            parts = [self.replace(a, lambda i=i: read().args[i], f"{name}.args[{i}]") for i, a in enumerate(item.args)]
            options = {k: self.replace(v, lambda k=k: read().keywords[k], f"{name}.{k}") for k, v in item.keywords.items()}
            return functools.partial(self.replace(item.func, lambda: read().func, name), *parts, **options)
        if isinstance(item, types.ModuleType):
            return _Module(self, item) if is_users(getattr(item, "__file__", None)) else item
        if type(item) in (list, tuple, dict):
            return self._container(item, read, name)
        if self._is_plain_object(item):
            return self._object(item, read, name)
        return item

    def _array(self, item: np.ndarray, read: Read, name: str) -> Any:
        if not is_supported(item.dtype):
            return item
        value = self.trace.input(TensorType(item.dtype.newbyteorder("="), item.shape), name)
        box = Box(Cell(self.trace, value), value.type)
        if not item.flags.writeable:
            box.read_only = "the captured array is"
        self.captured.append(Captured(value, box, read, name))
        return box

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        known = self._memo.get(id(function))
        if known is not None:
            return known[1]
        cells = None
        if function.__closure__ is not None:
            cells = tuple(types.CellType() for _ in function.__closure__)
        made = types.FunctionType(
            function.__code__, self._globals_of(function.__globals__), function.__name__, function.__defaults__, cells
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__ = function.__qualname__
        made.__dict__.update(function.__dict__)
        self._memo[id(function)] = (function, made)
        if function.__defaults__:
            made.__defaults__ = tuple(
                self.replace(item, lambda i=i: function.__defaults__[i], f"default{i}")  # type: ignore[index]
                for i, item in enumerate(function.__defaults__)
            )
        for name, old, new in zip(function.__code__.co_freevars, function.__closure__ or (), cells or (), strict=True):
            try:
                contents = old.cell_contents
            except ValueError:
                continue
            new.cell_contents = self.replace(contents, lambda old=old: old.cell_contents, name)
            self._cells.append((old, new, new.cell_contents, name))
        return made

    def _globals_of(self, names: dict[str, Any]) -> _Globals:
        for made, original in self._globals:
            if original is names:
                return made
        made = _Globals(self, names)
        self._globals.append((made, names))
        return made

    def _container(self, item: Any, read: Read, name: str) -> Any:
        if not _holds_arrays(item):
            return item
        if isinstance(item, dict):
            made: Any = {k: self.replace(v, lambda k=k: read()[k], f"{name}[{k!r}]") for k, v in item.items()}
        else:
            made = type(item)(self.replace(v, lambda i=i: read()[i], f"{name}[{i}]") for i, v in enumerate(item))
        if not isinstance(item, tuple):
            self._containers.append((made, made.copy(), name))
        return made

    @staticmethod
    def _is_plain_object(item: Any) -> bool:
        cls = type(item)
        module = sys.modules.get(cls.__module__)
        users = is_users(getattr(module, "__file__", None)) or cls.__module__ == "__main__"
        return users and cls.__new__ is object.__new__ and hasattr(item, "__dict__") and not isinstance(item, type)

    def _object(self, item: Any, read: Read, name: str) -> Any:
        cls = type(item)
        methods = {
            key: self._function(member)
            for base in reversed(cls.__mro__)
            for key, member in vars(base).items()
            if isinstance(member, types.FunctionType) and key not in ("__init__", "__new__") and is_users(member.__code__.co_filename)
        }
        copy = object.__new__(type(cls)(cls.__name__, (cls,), {**methods, "__module__": cls.__module__}))
        self._memo[id(item)] = (item, copy)
        for key, attribute in vars(item).items():
            copy.__dict__[key] = self.replace(attribute, lambda key=key: read().__dict__[key], f"{name}.{key}")
        self._objects.append((read, copy, dict(copy.__dict__), name))
        return copy

    # After the trace.

    def rebound(self) -> list[Rebound]:
        """The captured names and attributes that were bound to new arrays.

        Raises:
            TraceError: something else was changed, which would happen once and not at each call.
        """
        found: list[Rebound] = []
        for made, original in self._globals:
            for name, item in made.written():
                found.append(_new_binding(item, lambda array, o=original, n=name: o.__setitem__(n, array), name))
        for read, copy, before, name in self._objects:
            for key, item in vars(copy).items():
                if before.get(key, _MISSING) is not item:
                    write = lambda array, read=read, key=key: setattr(read(), key, array)  # noqa: E731
                    found.append(_new_binding(item, write, f"{name}.{key}"))
            for key in before.keys() - vars(copy).keys():
                raise TraceError(f"{name}.{key} was deleted during the trace: that would happen once, not at each call")
        for old, new, before, name in self._cells:
            if new.cell_contents is not before:
                write = lambda array, old=old: setattr(old, "cell_contents", array)  # noqa: E731
                found.append(_new_binding(new.cell_contents, write, name))
        for made, before, name in self._containers:
            pairs = zip(made.values(), before.values(), strict=False) if isinstance(made, dict) else zip(made, before, strict=False)
            if len(made) != len(before) or any(a is not b for a, b in pairs):
                raise TraceError(
                    f"the captured {type(made).__name__} `{name}` was changed during the trace: that would happen once, not at "
                    "each call; return the new arrays, or store into the arrays it holds"
                )
        return found


_MISSING = object()


def _new_binding(item: Any, write: Write, name: str) -> Rebound:
    if not is_box(item):
        raise TraceError(
            f"`{name}` was set to {item!r:.60} during the trace: that would happen once, not at each call; keep it in an array, "
            "or pass it in and return it"
        )
    return Rebound(item, write, name)


def _holds_arrays(item: Any, depth: int = 4) -> bool:
    if type(item) is np.ndarray:
        return True
    if depth and type(item) in (list, tuple):
        return any(_holds_arrays(part, depth - 1) for part in item)
    if depth and type(item) is dict:
        return any(_holds_arrays(part, depth - 1) for part in item.values())
    if depth and isinstance(item, types.FunctionType):
        return is_users(item.__code__.co_filename)
    return depth > 0 and Capture._is_plain_object(item)


class _Globals(dict):
    """A function's globals as the trace sees them. Python looks names up through `__getitem__` in a subclass of dict;
    what the code binds itself goes into the dict proper."""

    def __init__(self, capture: Capture, original: dict[str, Any]) -> None:
        super().__init__(__builtins__=original.get("__builtins__", __builtins__), __name__=original.get("__name__", ""))
        self._capture = capture
        self._original = original
        self._seen: dict[str, tuple[Any, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        if dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        item = self._original[name]
        seen = self._seen.get(name)
        if seen is None or seen[0] is not item:
            made = self._capture.replace(item, lambda: self._original[name], name)
            seen = self._seen[name] = (item, made)
        return seen[1]

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self._original

    def written(self) -> list[tuple[str, Any]]:
        """The names bound by the trace, where they differ from what was there."""
        names = [n for n in self.keys() if n not in ("__builtins__", "__name__")]
        return [(n, dict.__getitem__(self, n)) for n in names if self._seen.get(n, (None, _MISSING))[1] is not dict.__getitem__(self, n)]


class _Module(types.ModuleType):
    """A user's module as the trace sees it."""

    def __init__(self, capture: Capture, original: types.ModuleType) -> None:
        super().__init__(original.__name__)
        self.__dict__["_names"] = capture._globals_of(vars(original))

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_names"][name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
