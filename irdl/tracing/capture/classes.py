"""The user's classes as the trace sees them: subclasses whose functions and arrays are the traced ones."""

from __future__ import annotations

import abc
import functools
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.tracing import tree
from irdl.tracing.capture.reads import Always, Attribute, ClassMembers, Read
from irdl.tracing.users import is_users_class

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture

#: members that a subclass has of its own
_OWN = ("__new__", "__dict__", "__weakref__", "__module__", "__slots__", "__init_subclass__")


def can_be_subclassed(cls: type) -> bool:
    """A user's class whose instances are all in their dict, and of which a subclass is nobody's business."""
    users = [base for base in cls.__mro__ if base is not object and is_users_class(base)]
    return (
        is_users_class(cls)
        and (type(cls) in (type, abc.ABCMeta) or (is_users_class(type(cls)) and type(cls).__call__ is type.__call__))
        and cls.__new__ is object.__new__  # type: ignore[comparison-overlap]
        and not any("__slots__" in vars(base) for base in users)
        and (hasattr(cls, "tree_flatten") or cls not in tree.registered_by_hand)
    )


@contextmanager
def _unannounced(cls: type) -> Iterator[None]:
    """While this lasts, the user's classes among the bases are not told of subclasses: they may keep a registry. A base that says so
    in their place would give the subclass another layout, and objects among the arguments could not become ones of it."""
    announced = [base for base in cls.__mro__ if is_users_class(base) and "__init_subclass__" in vars(base)]
    hooks = [vars(base)["__init_subclass__"] for base in announced]
    for base in announced:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda cls, **_: None))
    try:
        yield
    finally:
        for base, hook in zip(announced, hooks, strict=True):
            type.__setattr__(base, "__init_subclass__", hook)


def _subclass(cls: type, bases: tuple[type, ...], own: dict[str, Any]) -> Any:
    """A subclass that neither `__init_subclass__` nor a metaclass of the user's hears of."""
    metaclass: Any = type(cls)
    maker = next(meta for meta in metaclass.__mro__ if not is_users_class(meta))
    with _unannounced(cls):
        return maker.__new__(metaclass, cls.__name__, bases, own)


class Classes:
    """The classes of one trace. A class's bases are traced ones too, so that `super()` finds those."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._made: dict[type, type] = {}
        self._guarded: set[type] = set()
        #: what the traced classes hold of their own
        self._members: list[tuple[type, dict[str, Any]]] = []

    def guard(self, cls: type) -> None:
        """The trace holds while the user's classes among the bases hold what they hold now."""
        for base in cls.__mro__[:-1]:
            if base not in self._guarded and is_users_class(base):
                self._guarded.add(base)
                self._capture.guards.append((ClassMembers(base), True))

    def of(self, cls: type) -> type:
        """The traced class; the class itself where it is not the user's."""
        if cls in self._made or not is_users_class(cls) or self.original(cls) is not None:
            return self._made.get(cls, cls)
        self.guard(cls)
        bases = [self.of(base) for base in cls.__bases__ if base is not object]
        if cls in self._made:  # a base names it, in a list of its subclasses
            return self._made[cls]
        mirrored = [base for base in bases if base not in cls.__bases__]
        own = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__dict__": self._capture.objects.dict_property()}
        made = _subclass(cls, (*mirrored, cls), own)
        self._made[cls] = made  # before its functions, which may name it
        for key, member in vars(cls).items():
            if key not in _OWN:
                read = Always(member) if cls in self._guarded else Attribute(Always(cls), key)
                setattr(made, key, self._member(member, read, f"{cls.__name__}.{key}", key))
        self._capture.objects.read_lazily(made)
        if isinstance(made, abc.ABCMeta):
            abc.update_abstractmethods(made)  # type: ignore[arg-type]
        self._members.append((made, dict(vars(made))))
        return made

    def original(self, made: Any) -> type | None:
        """The user's class that a traced one stands for; None of others."""
        return next((cls for cls, other in self._made.items() if other is made), None)

    def plain(self, item: Any, outer: tuple[Any, ...] = ()) -> Any:
        """A tree with objects of the user's classes in place of those of traced ones; `outer` is what it is in."""
        if any(item is other for other in outer):
            return item
        outer = (*outer, item)
        if type(item) in (list, tuple):
            parts = [self.plain(part, outer) for part in item]
            return item if all(a is b for a, b in zip(parts, item, strict=True)) else type(item)(parts)
        if type(item) is dict:
            named = {key: self.plain(part, outer) for key, part in item.items()}
            return item if all(named[key] is item[key] for key in item) else named
        original = self.original(type(item)) if tree.is_object(item) else None
        if original is None:
            return item
        made: Any = object.__new__(original)
        vars(made).update({key: self.plain(part, outer) for key, part in vars(item).items()})
        return made

    def changed(self) -> str | None:
        """The name of a class attribute that the trace has set, if there is one."""
        for made, members in self._members:
            for key, item in vars(made).items():
                if members.get(key, self) is not item and key not in ("__abstractmethods__", "_abc_impl", "__slotnames__"):
                    return f"{made.__name__}.{key}"
        return None

    def _member(self, member: Any, read: Read, name: str, key: str) -> Any:
        capture = self._capture
        if isinstance(member, types.FunctionType):
            return capture.functions.copy(member, read)
        if isinstance(member, (staticmethod, classmethod)) and isinstance(member.__func__, types.FunctionType):
            return type(member)(capture.functions.copy(member.__func__, lambda: read().__func__))
        if isinstance(member, property):
            accessors: list[tuple[Any, Read]] = [
                (member.fget, lambda: read().fget),
                (member.fset, lambda: read().fset),
                (member.fdel, lambda: read().fdel),
            ]
            return property(*(accessor and self._member(accessor, path, name, key) for accessor, path in accessors))
        if isinstance(member, functools.cached_property):
            cached: Any = functools.cached_property(self._member(member.func, lambda: read().func, name, key))
            cached.__set_name__(None, key)
            return cached
        is_container = type(member) in (list, dict, deque, OrderedDict, defaultdict) and not key.startswith("__")
        if type(member) in (np.ndarray, np.ufunc) or hasattr(type(member), "__irdl_replace__") or is_container:
            return capture.replace(member, read, name)
        return member
