"""What a block of code may change: variables, attributes, items of lists and dicts that it can reach, and what they hold.

Arrays are no part of this: a store rebinds their cell, which the trace of the block keeps to itself (`Trace.stored`).
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import operator
import random
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import is_box
from irdl.tracing.capture.containers import GrowingList
from irdl.tracing.capture.namespaces import Globals
from irdl.tracing.capture.objects import MISSING, own_dict
from irdl.tracing.capture.reads import generator_state
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.creation import SeededGenerator
from irdl.tracing.users import contents_of as contents_in_bytes
from irdl.tracing.users import is_users_class

#: numbers of a real array that are compared
_MOST_COMPARED = 100_000
#: the key of what a variable holds
CONTENTS = "contents"
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)


@dataclass
class Place:
    """A key of something that can change: what it held before the block, and holds behind it."""

    owner: Any
    key: Any
    name: str
    before: Any
    after: Any


@dataclass
class _Held:
    """Something that can change, what it held, and its name. `is_unread`: a list of which the trace has not asked yet what it holds."""

    item: Any
    contents: dict[Any, Any]
    name: Callable[[], str]
    is_unread: bool = False


class Places:
    """All that a block can reach, and what it holds when this is made."""

    def __init__(self, blocks: Iterable[Any], capture: Any, more: Iterable[types.CellType] = ()) -> None:
        """`blocks`: the functions that are about to be called. `more`: variables beside theirs."""
        self._capture = capture
        self._held: dict[int, _Held] = {}
        #: iterators, files and other things that change and cannot be changed back, and how they are
        self._opaque: list[tuple[Any, Any, Callable[[], str]]] = []
        waiting: list[tuple[Any, Callable[[], str]]] = []
        for block in blocks:
            if isinstance(block, types.FunctionType):
                waiting += [(cell, functools.partial(str, name)) for name, cell in _closure(block)]
        waiting += [(cell, lambda: "") for cell in more]
        waiting += [(item, name) for item, _, name in _captured(capture)]
        self._visit(waiting)

    def _visit(self, waiting: list[tuple[Any, Callable[[], str]]]) -> None:
        held = self._held
        while waiting:
            item, name = waiting.pop()
            if is_box(item) or isinstance(item, _PLAIN) or id(item) in held:
                continue
            if isinstance(item, tuple):
                waiting += [(part, functools.partial(_item_name, name, place)) for place, part in enumerate(item)]
            elif isinstance(item, types.FunctionType):
                held[id(item)] = _Held(item, dict(vars(item)), name)
                waiting += [(cell, functools.partial(str, name)) for name, cell in _closure(item)]
            elif isinstance(item, types.MethodType):
                waiting += [(item.__self__, name), (item.__func__, name)]
            elif isinstance(item, functools.partial):
                waiting += [(part, name) for part in (item.func, *item.args, *item.keywords.values())]
            elif (state := _state(item)) is not None:
                self._opaque.append((item, state, name))
                if type(item) in (zip, enumerate, map, filter):
                    waiting += [(part, name) for part in item.__reduce__()[1]]
            elif (contents := contents_of(item)) is not None:
                held[id(item)] = _Held(item, contents, name, isinstance(item, GrowingList) and item.is_unread)
                naming = _naming(item)
                if isinstance(item, Globals):  # what is in them is captured, but for what the trace has bound
                    contents = dict(item.written())
                if isinstance(item, types.CellType):
                    waiting += [(part, name) for part in contents.values()]
                else:
                    waiting += [(part, functools.partial(naming, name, key)) for key, part in contents.items()]

    def moving(self) -> str | None:
        """The name of an iterator among what can be reached, if there is one."""
        return next((name() for item, _, name in self._opaque if hasattr(type(item), "__next__")), None)

    def knows(self, item: Any) -> bool:
        """Whether it was there before the block, as something that can change."""
        return id(item) in self._held

    def changes(self) -> dict[tuple[int, Any], Place]:
        """What has another content than before.

        Raises:
            TraceError: something else is not as before, as an iterator, which cannot be undone.
        """
        for item, state, name in self._opaque:
            if _state(item) != state:
                raise TraceError(
                    f"`{name()}`, a {type(item).__name__}, is changed on one side of a branch, which would happen while tracing and not at "
                    f"each call: do that before{user_line()}"
                )
        self._take_in()
        found: dict[tuple[int, Any], Place] = {}
        for identity, held in self._held.items():
            before, now = held.contents, contents_of(held.item)
            assert now is not None
            if list(now) == list(before) and all(now[key] is before[key] for key in now):
                continue
            naming = _naming(held.item)
            if [key for key in before if key in now] != [key for key in now if key in before]:
                raise TraceError(f"the order of `{held.name()}` is changed on one side of a branch: make it before{user_line()}")
            for key in dict.fromkeys((*before, *now)):
                old, new = before.get(key, MISSING), now.get(key, MISSING)
                if old is MISSING and isinstance(held.item, Globals):
                    old = held.item.outside(key, MISSING)
                if old is not new:
                    found[identity, key] = Place(held.item, key, held.name() if key is CONTENTS else naming(held.name, key), old, new)
        return found

    def _take_in(self) -> None:
        """What the block was the first to ask for held before what it did then."""
        for item, baseline, name in _captured(self._capture):
            held = self._held.get(id(item))
            if held is None:
                self._held[id(item)] = _Held(item, baseline, name)
            elif held.is_unread and not item.is_unread:
                held.contents, held.is_unread = dict(enumerate((*baseline.values(), *held.contents.values()))), False
            elif _is_object(item):
                for key, part in baseline.items():
                    held.contents.setdefault(key, part)

    def put(self, places: Iterable[tuple[Any, Any, Any]]) -> None:
        """Let (owner, key) hold something, or nothing."""
        changed: dict[int, tuple[Any, dict[Any, Any]]] = {}
        for owner, key, item in places:
            contents = changed.setdefault(id(owner), (owner, contents_of(owner) or {}))[1]
            if item is MISSING:
                contents.pop(key, None)
            else:
                contents[key] = item
        for owner, contents in changed.values():
            set_contents(owner, contents)

    def restore(self, changes: dict[tuple[int, Any], Place]) -> None:
        """Undo changes."""
        for identity in dict.fromkeys(identity for identity, _ in changes):
            held = self._held[identity]
            set_contents(held.item, held.contents)


def _state(item: Any) -> Any:
    """What tells whether something has changed that cannot be changed back; None of what is no such thing."""
    if isinstance(item, types.GeneratorType):
        return item.gi_frame is not None, item.gi_frame and item.gi_frame.f_lasti
    if isinstance(item, io.IOBase):
        return item.closed, not item.closed and item.seekable() and item.tell()
    if hasattr(type(item), "__next__"):
        return repr(item) if isinstance(item, itertools.count) else operator.length_hint(item, -1)
    if isinstance(item, SeededGenerator):
        item = item.generator
    if isinstance(item, (np.random.Generator, np.random.RandomState, random.Random)):
        return generator_state(item)
    if isinstance(item, np.ndarray):
        return item.tobytes() if item.size <= _MOST_COMPARED else None
    return contents_in_bytes(item)


def _item_name(owner: Callable[[], str], key: Any) -> str:
    return f"{owner()}[{key!r}]"


def _attribute_name(owner: Callable[[], str], key: Any) -> str:
    return f"{owner()}.{key}" if owner() else str(key)


def _naming(item: Any) -> Callable[[Callable[[], str], Any], str]:
    return _attribute_name if _is_object(item) or isinstance(item, Globals) else _item_name


def _closure(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    yield from zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def _is_object(item: Any) -> bool:
    return not isinstance(item, (types.CellType, list, dict, deque, set))


def contents_of(item: Any) -> dict[Any, Any] | None:
    """What something that can change holds, by key; None of what cannot, or is not looked into."""
    if isinstance(item, types.CellType):
        try:
            return {CONTENTS: item.cell_contents}
        except ValueError:
            return {}
    if isinstance(item, dict):
        return dict(dict.items(item))
    if isinstance(item, list):
        return dict(enumerate(list.__iter__(item)))
    if isinstance(item, deque):
        return dict(enumerate(item))
    if isinstance(item, set):
        return {part: part for part in item}
    if isinstance(item, types.FunctionType):
        return dict(vars(item))
    if not (is_users_class(type(item)) or isinstance(item, types.SimpleNamespace)):
        return None
    found = dict(own_dict(item)) if hasattr(type(item), "__dict__") and hasattr(item, "__dict__") else {}
    return found | {name: getattr(item, name) for name in _slots(type(item)) if hasattr(item, name)}


def set_contents(item: Any, contents: dict[Any, Any]) -> None:
    """Let something hold these, and nothing else."""
    if isinstance(item, types.CellType):
        if contents:
            item.cell_contents = contents[CONTENTS]
        else:
            with contextlib.suppress(ValueError):
                del item.cell_contents
    elif isinstance(item, dict):
        dict.clear(item)
        dict.update(item, contents)
    elif isinstance(item, list):
        list.__setitem__(item, slice(None), list(contents.values()))
    elif isinstance(item, types.FunctionType):
        vars(item).clear()
        vars(item).update(contents)
    elif isinstance(item, (deque, set)):
        item.clear()
        (item.extend if isinstance(item, deque) else item.update)(contents.values())
    else:
        slots = set(_slots(type(item)))
        for name in slots:
            if name in contents:
                object.__setattr__(item, name, contents[name])
            elif hasattr(item, name):
                object.__delattr__(item, name)
        if hasattr(item, "__dict__"):
            own = own_dict(item)
            own.clear()
            own.update({key: part for key, part in contents.items() if key not in slots})


def _slots(cls: type) -> tuple[str, ...]:
    found = _slots_of.get(cls)
    if found is None:
        # A SimpleNamespace's dict is such a member too.
        members = [(name, member) for base in cls.__mro__ for name, member in vars(base).items() if name != "__dict__"]
        found = _slots_of[cls] = tuple(name for name, member in members if isinstance(member, types.MemberDescriptorType))
    return found


_slots_of: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()


def _captured(capture: Any) -> Iterator[tuple[Any, dict[Any, Any], Callable[[], str]]]:
    """What the trace of the whole function has from outside: how the trace sees it, what it held when it was first asked for, its name."""
    if capture is None:
        return
    for copied in capture.objects:
        yield copied.copy, dict(copied.before), functools.partial(str, copied.name)
    for container in capture.containers:
        held = container.before
        yield container.made, dict(held if isinstance(held, dict) else enumerate(held)), functools.partial(str, container.name)
    for names, _ in capture.functions.globals:
        yield names, {key: dict.__getitem__(names, key) for key in ("__builtins__", "__name__")}, lambda: ""
    for variable in capture.functions.variables:
        yield variable.made, {} if variable.is_empty else {CONTENTS: variable.before}, functools.partial(str, variable.name)
    for item, held, name in capture.seen:
        yield item, dict(held if isinstance(held, dict) else enumerate(held)), functools.partial(str, name)
