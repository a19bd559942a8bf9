"""The user's objects as the trace sees them: copies that take an attribute over when it is read.

What is not read is not depended on: the caches that the last call left on an object, of whatever shapes.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from irdl.tracing.capture.reads import Attribute, Attributes, Read
from irdl.tracing.users import is_users_class

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture

MISSING = object()


@dataclass
class Copied:
    """A copy of an object: what it stands for, and what it held of that (as the trace sees it) before the trace changed it."""

    item: Any
    copy: Any
    read: Read
    name: str
    guard: Attributes
    #: the copy's own dict
    own: dict[str, Any]
    before: dict[str, Any] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)


class Objects:
    """The objects of one trace."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._copies: dict[int, Copied] = {}

    def __iter__(self) -> Any:
        return iter(list(self._copies.values()))

    def copy(self, item: Any, cls: type, read: Read, name: str) -> Any:
        """A copy of an object, of a traced class."""
        made = types.SimpleNamespace() if cls is types.SimpleNamespace else object.__new__(cls)
        guard = Attributes(read, type(item))
        self._capture.remember(item, made, read)
        self._capture.guards.append((guard, True))
        copied = self._copies[id(made)] = Copied(item, made, read, name, guard, own_dict(made))
        for key in vars(item):
            # What a class has too would be found there.
            if not is_users_class(cls) or hasattr(cls, key):
                self._take(copied, key)
        # So is what only the class has: no attribute of the object's own stands in front of it.
        members = {name for base in type(item).__mro__ if is_users_class(base) for name in vars(base)}
        copied.guard.absent.update(name for name in members if not name.startswith("__") and name not in vars(item))
        return made

    def get(self, made: Any, name: str) -> Any:
        """An attribute of a copy that it does not hold yet; MISSING where the object has none."""
        copied = self._copies.get(id(made))
        if copied is None or name in copied.deleted:
            return MISSING
        if name in copied.own:
            return copied.own[name]
        if name not in vars(copied.item):
            copied.guard.absent.add(name)
            return MISSING
        return self._take(copied, name)

    def _take(self, copied: Copied, name: str) -> Any:
        copied.guard.present.setdefault(name)
        value = self._capture.replace(vars(copied.item)[name], Attribute(copied.read, name), f"{copied.name}.{name}")
        copied.own[name] = copied.before[name] = value
        return value

    def _whole(self, made: Any) -> dict[str, Any]:
        """All attributes of an object, in their order."""
        copied = self._copies.get(id(made))
        if copied is None:
            return own_dict(made)
        if copied.guard.names is None:
            copied.guard.names = tuple(vars(copied.item))
            changed = list(copied.own)
            for key in copied.guard.names:
                if key not in copied.own and key not in copied.deleted:
                    self._take(copied, key)
            order = [key for key in copied.guard.names if key in copied.own]
            order += [key for key in changed if key not in order]
            items = {key: copied.own[key] for key in order}
            copied.own.clear()
            copied.own.update(items)
        return copied.own

    def attributes(self, item: Any) -> dict[str, Any]:
        """What an object that the trace has made holds."""
        return own_dict(item)

    def dict_property(self) -> property:
        """`__dict__` of a traced class: who asks for all attributes depends on all."""

        def replace(made: Any, attributes: dict[str, Any]) -> None:
            own = self._whole(made)
            own.clear()
            own.update(attributes)

        return property(self._whole, replace)

    def read_lazily(self, cls: type) -> None:
        """Let instances of a traced class that are copies take attributes over when they are read."""
        otherwise = next((vars(base)["__getattr__"] for base in cls.__mro__ if "__getattr__" in vars(base)), None)

        def __getattr__(made: Any, name: str) -> Any:
            found = self.get(made, name)
            if found is not MISSING:
                return found
            if otherwise is not None:
                return otherwise(made, name)
            raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}'")

        def __delattr__(made: Any, name: str) -> None:
            found = self.get(made, name)
            object.__delattr__(made, name)
            if found is not MISSING and id(made) in self._copies:
                self._copies[id(made)].deleted.add(name)

        if cls.__getstate__ is object.__getstate__:  # type: ignore[comparison-overlap] # Python's own takes an object without attributes for one without a state
            setattr(cls, "__getstate__", lambda made: dict(self._whole(made)))  # noqa: B010
        cls.__getattr__ = __getattr__  # type: ignore[attr-defined]
        if cls.__delattr__ is object.__delattr__:  # type: ignore[comparison-overlap]
            cls.__delattr__ = __delattr__  # type: ignore[assignment, method-assign]


def own_dict(item: Any) -> dict[str, Any]:
    """The dict of an object, past what its class makes of `__dict__`."""
    for base in type(item).__mro__:
        found = vars(base).get("__dict__")
        if isinstance(found, (types.GetSetDescriptorType, types.MemberDescriptorType)):
            return found.__get__(item)
    return vars(item)
