"""Globals and modules as the trace sees them."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from irdl.tracing.box import PYTHON_NUMBERS
from irdl.tracing.branches.nodes import FLOW
from irdl.tracing.capture.reads import Always, DictItem, HasItem
from irdl.tracing.extrema import traced_all, traced_any, traced_max, traced_min
from irdl.tracing.marks import MarkedRange
from irdl.tracing.numpy.builtin_type import TracedType, traced_isinstance
from irdl.tracing.numpy.scalars import traced_type
from irdl.tracing.printing import traced_print
from irdl.tracing.users import is_users

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture


class Package(types.ModuleType):
    """irdl as traced code sees it: its layers are traced as the user's code is, the rest is what it is."""

    def __init__(self, capture: Capture, package: types.ModuleType) -> None:
        super().__init__(package.__name__)
        self._capture = capture
        self._package = package

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._package, name)
        if isinstance(found, types.ModuleType) and is_users(found.__file__):
            return self._capture.replace(found, Always(found), name)
        return found


_MISSING = object()


class _Flow:
    """What rewritten code calls, imported when it first does."""

    def __getattr__(self, name: str) -> Any:
        from irdl.tracing.branches import flow

        found = getattr(flow, name)
        setattr(self, name, found)
        return found


_flow = _Flow()
#: builtins that traced code sees otherwise
_REPLACED = {
    **{
        "range": MarkedRange,
        "print": traced_print,
        "max": traced_max,
        "min": traced_min,
        "any": traced_any,
        "all": traced_all,
        "type": TracedType,
        "isinstance": traced_isinstance,
    },
    **{kind.__name__: traced_type(kind) for kind in PYTHON_NUMBERS},
}


class Globals(dict[str, Any]):
    """A function's globals as the trace sees them. Python looks names up through `__getitem__` in a subclass of dict;
    what the code binds itself goes into the dict proper."""

    def __init__(self, capture: Capture, original: dict[str, Any]) -> None:
        given = original.get("__builtins__", __builtins__)
        names = {**(given if isinstance(given, dict) else vars(given)), "__import__": self._import, **_REPLACED}
        names[FLOW] = _flow
        super().__init__(__builtins__=names, __name__=original.get("__name__", ""))
        self._capture = capture
        self._original = original
        self._seen: dict[str, tuple[Any, Any]] = {}
        #: names that were looked for in vain: builtins
        self._absent: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        if name not in self._original:
            if name not in self._absent:
                self._absent.add(name)
                self._capture.guards.append((HasItem(self._original, name), False))
            raise KeyError(name)
        return self._seen_of(name)

    def _seen_of(self, name: str) -> Any:
        item, seen = self._original[name], self._seen.get(name)
        if seen is None or seen[0] is not item:
            made = self._capture.replace(item, DictItem(self._original, name), name)
            seen = self._seen[name] = (item, made)
        return seen[1]

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What an import within the function finds: modules as the trace sees them."""
        module = __import__(name, self._original, locals, fromlist, level)
        return self._capture.replace(module, Always(module), module.__name__)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self._original

    def outside(self, name: str, default: Any) -> Any:
        """What the trace sees of a name, past what it has bound it to."""
        if name not in self._original:
            return default
        return self._seen_of(name)

    def was_read(self, name: str) -> bool:
        return name in self._seen

    def written(self) -> list[tuple[str, Any]]:
        """The names bound by the trace, where they differ from what was there."""
        names = [n for n in self.keys() if n not in ("__builtins__", "__name__", "__warningregistry__")]
        return [(n, dict.__getitem__(self, n)) for n in names if self._seen.get(n, (None, _MISSING))[1] is not dict.__getitem__(self, n)]


class Module(types.ModuleType):
    """A user's module as the trace sees it."""

    def __init__(self, capture: Capture, original: types.ModuleType) -> None:
        super().__init__(original.__name__)
        self.__dict__["_names"] = capture.functions.globals_of(vars(original))

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_names"][name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
