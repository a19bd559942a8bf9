"""Captured state: what a function reads that is no argument (globals, closures, attributes of `self`).

Arrays found there become hidden inputs, read anew at each call and written back if the trace stores into them; nothing
is baked in. To see them, the function runs as a copy: its globals and cells give traced arrays in place of real ones,
and so do the user's functions, modules and objects that it reaches. The originals are never touched.
"""

from __future__ import annotations

import functools
import random
import sys
import types
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_supported
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.tracing.box import Box, is_box
from irdl.tracing.capture.namespaces import Globals, Module
from irdl.tracing.capture.reads import (
    Always,
    AreSame,
    ArrayLayout,
    Attribute,
    Attributes,
    CellContents,
    ClassMembers,
    Defaults,
    Item,
    Outline,
    Read,
    Write,
    layout_of,
    outline,
    set_attribute,
    set_item,
)
from irdl.tracing.numpy.creation import TracedModule, as_traced, is_numeric
from irdl.tracing.numpy.layout import own
from irdl.tracing.recorder import PACKAGE, Cell, Trace
from irdl.tracing.users import contents_of, has_arrays, holds_arrays, is_code, is_hashable, is_plain_object, is_users
from irdl.tracing.views import shadow_array

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
#: Longer containers without arrays are taken as they are.
_LONGEST = 1000


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

    def __init__(self, trace: Trace, functions_only: bool = False, arrays: bool = False) -> None:
        self.trace = trace
        #: copy functions, so that `np.zeros` in them makes traced arrays, and leave everything else as it is
        self.functions_only = functions_only
        #: with them, the arrays they reach by name, whose numbers the trace takes as they are
        self.arrays = arrays
        self.captured: list[Captured] = []
        #: (how to read it, what it was): a change means the trace no longer holds
        self.guards: list[tuple[Read, Any]] = []
        #: inputs that are the same at every call, and their arrays
        self.known: list[tuple[Value, np.ndarray]] = []
        self._memo: dict[int, tuple[Any, Any, Read]] = {}
        #: the objects met, where they are left as they are
        self._seen: list[Any] = []
        self._generators: list[tuple[Any, Any, str]] = []
        self._classes: dict[type, type] = {}
        self._guarded: set[type] = set()
        self._globals: list[tuple[Globals, dict[str, Any]]] = []
        self._objects: list[tuple[Any, Any, dict[str, Any], str]] = []
        self._containers: list[tuple[Any, Any, str]] = []
        self._cells: list[tuple[types.CellType, types.CellType, Any, str]] = []

    def replace(self, item: Any, read: Read, name: str) -> Any:
        """What the traced code sees in place of `item`."""
        if is_box(item):
            return item
        if self.functions_only and self.arrays and type(item) is np.ndarray and is_supported(item.dtype):
            box = own(self.trace.constant(item), item)
            box.read_only = f"`{name}`, from outside, is"
            return box
        if self.functions_only and not is_code(item):
            if is_plain_object(item):
                self._seen.append(item)
            return item
        if isinstance(item, _PLAIN):
            self.guards.append((read, item))
            return item
        known = self._memo.get(id(item))
        if known is not None:
            # Two names of one object: the trace holds while they name one object.
            first = known[2]
            self.guards.append((AreSame(read, first), True))
            return known[1]
        made = self._make(item, read, name)
        self._memo[id(item)] = (item, made, read)
        return made

    def _make(self, item: Any, read: Read, name: str) -> Any:
        if type(item) is np.ndarray:
            return self._array(item, read, name)
        if type(item) is np.memmap:
            return self._array(np.asarray(item), lambda: np.asarray(read()), name)
        is_function = isinstance(item, (types.FunctionType, types.BuiltinFunctionType, type(np.concatenate), type(np.random.default_rng)))
        if is_function and (found := as_traced(item)) is not None:
            self.guards.append((read, item))
            return found
        if isinstance(item, functools._lru_cache_wrapper):
            self.guards.append((read, item))
            return self._cached(item, name)
        if isinstance(item, types.FunctionType):
            self.guards.append((read, item))
            return self._function(item, read)
        if hasattr(item, "__irdl_replace__"):
            self.guards.append((read, item))
            return item.__irdl_replace__(
                lambda part, path: self.replace(part, Always(part) if path is None else lambda: path(read()), name)
            )
        if isinstance(item, types.MethodType) and isinstance(item.__func__, types.FunctionType):
            self.guards.append((read, item))
            owner = self.replace(item.__self__, Always(item.__self__), name)
            return types.MethodType(self._function(item.__func__, Always(item.__func__)), owner)
        if isinstance(item, functools.partial):
            self.guards.append((read, item))
            parts = [self.replace(a, Always(a), f"{name}.args[{i}]") for i, a in enumerate(item.args)]
            options = {k: self.replace(v, Item(lambda: read().keywords, k), f"{name}.{k}") for k, v in item.keywords.items()}
            return functools.partial(self.replace(item.func, Always(item.func), name), *parts, **options)
        if isinstance(item, types.ModuleType):
            self.guards.append((read, item))
            if is_numeric(item.__name__):
                return TracedModule(item)
            made_by_hand = getattr(item, "__spec__", None) is None and sys.modules.get(item.__name__) is not item
            return Module(self, item) if made_by_hand or is_users(getattr(item, "__file__", None)) else item
        if isinstance(item, (np.random.Generator, np.random.RandomState, random.Random)):
            self._generators.append((item, generator_state(item), name))
            self.guards.append((read, item))
            return item
        if type(item) in (list, tuple, dict, OrderedDict, defaultdict, deque) or (isinstance(item, tuple) and hasattr(item, "_fields")):
            return self._container(item, read, name)
        if isinstance(item, type):
            self.guards.append((read, item))
            self._guard_classes(item)
            return self._class(item) if has_arrays(item) else item
        if is_plain_object(item):
            return self._object(item, read, name)
        self.guards.append((read, item))
        if (contents := contents_of(item)) is not None:
            self.guards.append((lambda: contents_of(read()), contents))
        return item

    def _cached(self, item: Any, name: str) -> Any:
        """A function that remembers its results: what it gives for numbers is read again at each call."""

        def cached(*arguments: Any, **options: Any) -> Any:
            return self.replace(item(*arguments, **options), lambda: item(*arguments, **options), f"{name}(...)")

        return functools.update_wrapper(cached, item)

    def _guard_classes(self, cls: type) -> None:
        """The trace holds while the user's classes among the bases hold what they hold now."""
        for base in cls.__mro__[:-1]:
            module = sys.modules.get(base.__module__)
            if base not in self._guarded and (is_users(getattr(module, "__file__", None)) or base.__module__ == "__main__"):
                self._guarded.add(base)
                self.guards.append((ClassMembers(base), True))

    def know(self, item: Any, name: str) -> None:
        """Make inputs of a static argument's arrays, before anything else that may be the same arrays is captured."""
        if type(item) is np.ndarray and is_supported(item.dtype):
            if id(item) not in self._memo:
                box = self._box(item, name, "the static array is")
                self.known.append((box.cell.value, item))
                self._memo[id(item)] = (item, box, Always(item))
        elif isinstance(item, (list, tuple, dict)):
            for key, part in item.items() if isinstance(item, dict) else enumerate(item):
                self.know(part, f"{name}.{key}")

    def static(self, item: Any, name: str) -> Any:
        """What the traced code sees of a static argument: lists, tuples and dicts of the arrays above; the rest is captured."""
        known = self._memo.get(id(item))
        if known is not None:
            return known[1]
        if isinstance(item, tuple) and (type(item) is tuple or hasattr(item, "_fields")) and not is_hashable(item):
            made: Any = tuple.__new__(type(item), [self.static(part, f"{name}.{place}") for place, part in enumerate(item)])
            self._memo[id(item)] = (item, made, Always(item))
            return made
        if type(item) not in (list, dict):
            return self.replace(item, Always(item), name)
        made = type(item)()
        self._memo[id(item)] = (item, made, Always(item))
        if isinstance(item, dict):
            made.update({key: self.static(part, f"{name}.{key}") for key, part in item.items()})
        else:
            made += [self.static(part, f"{name}.{place}") for place, part in enumerate(item)]
        self._containers.append((made, made.copy(), name))
        return made

    def _array(self, item: np.ndarray, read: Read, name: str) -> Any:
        if not is_supported(item.dtype):
            return item
        box = self._box(item, name, "the captured array is")
        self.guards.append((ArrayLayout(read), layout_of(item)))
        self.captured.append(Captured(box.cell.value, box, read, name))
        return box

    def _box(self, item: np.ndarray, name: str, who: str) -> Box:
        value = self.trace.input(TensorType(item.dtype.newbyteorder("="), item.shape), name)
        shadow = None
        if not item.flags.c_contiguous:
            shadow = shadow_array(item.shape, value.dtype, item.strides)
        box = Box(Cell(self.trace, value), value.type, shadow=shadow)
        if not item.flags.writeable:
            box.read_only = who
        return box

    def _function(self, function: types.FunctionType, read: Read) -> types.FunctionType:
        """A copy of a user's function that sees traced arrays; of irdl's own wrappers, one around such copies."""
        known = self._memo.get(id(function))
        if known is not None:
            return known[1]
        file = function.__code__.co_filename
        users = is_users(file)
        if not users and not (function.__closure__ and file.startswith(PACKAGE)):
            return function
        cells = None
        if function.__closure__ is not None:
            cells = tuple(types.CellType() for _ in function.__closure__)
        made = types.FunctionType(
            function.__code__,
            self.globals_of(function.__globals__) if users else function.__globals__,
            function.__name__,
            function.__defaults__,
            cells,
        )
        if function.__kwdefaults__:
            made.__kwdefaults__ = {
                key: self.replace(item, Item(lambda: function.__kwdefaults__, key), key) for key, item in function.__kwdefaults__.items()
            }
        made.__qualname__ = function.__qualname__
        made.__dict__.update(function.__dict__)
        self._memo[id(function)] = (function, made, read)
        if function.__defaults__:
            self.guards.append((Defaults(function), function.__defaults__))
            made.__defaults__ = tuple(
                self.replace(item, Item(Defaults(function), i), f"default{i}") for i, item in enumerate(function.__defaults__)
            )
        for name, old, new in zip(function.__code__.co_freevars, function.__closure__ or (), cells or (), strict=True):
            try:
                contents = old.cell_contents
            except ValueError:
                continue
            new.cell_contents = self.replace(contents, CellContents(old), name)
            self._cells.append((old, new, new.cell_contents, name))
        return made

    def globals_of(self, names: dict[str, Any]) -> Globals:
        for made, original in self._globals:
            if original is names:
                return made
        made = Globals(self, names)
        self._globals.append((made, names))
        return made

    def _container(self, item: Any, read: Read, name: str) -> Any:
        if len(item) > _LONGEST and not holds_arrays(item):
            self.guards.append((read, item))
            return item
        self.guards.append((Outline(read), outline(item)))
        if isinstance(item, dict):
            made: Any = defaultdict(item.default_factory) if isinstance(item, defaultdict) else type(item)()
            self._memo[id(item)] = (item, made, read)
            made.update({k: self.replace(v, Item(read, k), f"{name}[{k!r}]") for k, v in item.items()})
        else:
            parts = [self.replace(v, Item(read, i), f"{name}[{i}]") for i, v in enumerate(item)]
            if isinstance(item, deque):
                made = deque(parts, item.maxlen)
            else:
                made = type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
        if not isinstance(item, tuple):
            self._containers.append((made, made.copy(), name))
        return made

    def _object(self, item: Any, read: Read, name: str) -> Any:
        cls = type(item)
        copy = types.SimpleNamespace() if cls is types.SimpleNamespace else object.__new__(self._class(cls))
        self._memo[id(item)] = (item, copy, read)
        self.guards.append((Attributes(read), (cls, tuple(vars(item)))))
        for key, attribute in vars(item).items():
            copy.__dict__[key] = self.replace(attribute, Attribute(read, key), f"{name}.{key}")
        self._objects.append((read, copy, dict(copy.__dict__), name))
        return copy

    def _class(self, cls: type) -> type:
        """A subclass whose functions and array attributes are the traced ones."""
        if cls in self._classes:
            return self._classes[cls]
        self._guard_classes(cls)
        members: dict[str, Any] = {"__module__": cls.__module__}
        for base in reversed(cls.__mro__[:-1]):
            for key, member in vars(base).items():
                if key in ("__new__", "__dict__", "__weakref__"):
                    continue
                read = Always(member) if base in self._guarded else Attribute(Always(base), key)
                made = self._member(member, read, f"{cls.__name__}.{key}")
                if made is not member:
                    members[key] = made
        made_class = self._classes[cls] = type(cls)(cls.__name__, (cls,), members)
        return made_class

    def _member(self, member: Any, read: Read, name: str) -> Any:
        if isinstance(member, types.FunctionType):
            return self._function(member, read)
        if isinstance(member, (staticmethod, classmethod)) and isinstance(member.__func__, types.FunctionType):
            return type(member)(self._function(member.__func__, lambda: read().__func__))
        if isinstance(member, property):
            accessors: list[tuple[Any, Read]] = [
                (member.fget, lambda: read().fget),
                (member.fset, lambda: read().fset),
                (member.fdel, lambda: read().fdel),
            ]
            return property(*(accessor and self._member(accessor, path, name) for accessor, path in accessors))
        if type(member) is np.ndarray or hasattr(member, "__irdl_replace__"):
            return self.replace(member, read, name)
        return member

    # After the trace.

    def rebound(self) -> list[Rebound]:
        """The captured names and attributes that were bound to new arrays.

        Raises:
            TraceError: something else was changed, which would happen once and not at each call.
        """
        for item, state, name in self._generators:
            if generator_state(item) != state:
                raise TraceError(
                    f"the captured generator `{name}` was drawn from while tracing: the same numbers would come back at every "
                    "call; use irdl.random with a key"
                )
        found: list[Rebound] = []
        write: Write
        for made, original in self._globals:
            for name, item in made.written():
                found.append(_new_binding(item, set_item(original, name), name))
        for read, copy, before, name in self._objects:
            for key, item in vars(copy).items():
                if before.get(key, _MISSING) is not item:
                    write = set_attribute(read, key)
                    found.append(_new_binding(item, write, f"{name}.{key}"))
            for key in before.keys() - vars(copy).keys():
                raise TraceError(f"{name}.{key} was deleted during the trace: that would happen once, not at each call")
        for old, new, before, name in self._cells:
            if new.cell_contents is not before:
                write = set_attribute(Always(old), "cell_contents")
                found.append(_new_binding(new.cell_contents, write, name))
        for made, before, name in self._containers:
            pairs = zip(made.values(), before.values(), strict=False) if isinstance(made, dict) else zip(made, before, strict=False)
            if len(made) != len(before) or any(a is not b for a, b in pairs):
                raise TraceError(
                    f"the captured {type(made).__name__} `{name}` was changed during the trace: that would happen once, not at "
                    "each call; return the new arrays, or store into the arrays it holds"
                )
        return found

    def held(self, trace: Trace) -> list[tuple[Write, Box]]:
        """Arrays of an inner trace that objects, globals and closures hold now, and how to put others in their place."""
        found: list[tuple[Write, Any]] = []
        for item in (*self._seen, *(copy for _, copy, _, _ in self._objects)):
            found += [(functools.partial(setattr, item, key), part) for key, part in vars(item).items()]
        for names, _ in self._globals:
            found += [(functools.partial(dict.__setitem__, names, name), part) for name, part in names.written()]
        for _, cell, _, _ in self._cells:
            found.append((functools.partial(setattr, cell, "cell_contents"), cell.cell_contents))
        return [(write, part) for write, part in found if is_box(part) and part.cell.trace is trace]


_MISSING = object()


def _new_binding(item: Any, write: Write, name: str) -> Rebound:
    if not is_box(item):
        raise TraceError(
            f"`{name}` was set to {item!r:.60} during the trace: that would happen once, not at each call; keep it in an array, "
            "or pass it in and return it"
        )
    return Rebound(item, write, name)


def generator_state(generator: Any) -> Any:
    """The state of a random generator, comparable."""
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return repr(generator.get_state(legacy=False))
    return generator.getstate()
