"""What a variable holds behind a branch, given what it holds behind either side: numbers are chosen at run time, all else has to agree."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable
from typing import Any

from irdl.errors import TraceError
from irdl.tracing import tree
from irdl.tracing.box import is_box
from irdl.tracing.branches.places import MISSING, contents_of, set_contents
from irdl.tracing.recorder import user_line
from irdl.tracing.users import is_users_class

#: in the place of numbers that nobody reads
ANYTHING = type("Anything", (), {"__repr__": lambda self: "anything"})()


class Unset:
    """In a variable that is set on one side of a branch only: whoever uses it is told."""

    def __init__(self, why: str) -> None:
        object.__setattr__(self, "_why", why)

    def refuse(self, *_: Any, **__: Any) -> Any:
        raise TraceError(f"{object.__getattribute__(self, '_why')}{user_line()}")

    def __repr__(self) -> str:
        return "<not set>"

    def __getattribute__(self, name: str) -> Any:
        if name in ("refuse", "__class__", "__repr__"):
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "refuse")()


for _name in (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "matmul"),
    *("rmatmul", "and", "rand", "or", "ror", "xor", "rxor", "lshift", "rlshift", "rshift", "rrshift", "divmod", "rdivmod", "neg", "pos", "abs"),
    *("invert", "eq", "ne", "lt", "le", "gt", "ge", "bool", "int", "float", "complex", "index", "len", "iter", "getitem", "setitem", "delitem"),
    *("contains", "call", "hash", "str", "format", "array", "array_ufunc", "array_function", "enter", "exit", "setattr", "round"),
    *("next", "reversed", "copy", "deepcopy", "reduce_ex"),
):
    setattr(Unset, f"__{_name}__", Unset.refuse)


class Merge:
    """Two contents as one. `leaf` gives what stands for two numbers or arrays of which the first is there on one side, the second on
    the other; `is_old` tells what was there before the branch."""

    def __init__(self, leaf: Callable[[Any, Any, str], Any], is_old: Callable[[Any], bool], what: str = "side of the branch") -> None:
        self._leaf = leaf
        self._is_old = is_old
        self._what = what
        self._partners: dict[int, tuple[Any, Any, Any]] = {}

    def __call__(self, a: Any, b: Any, name: str) -> Any:
        """What there is in the place of a and b.

        Raises:
            TraceError: they cannot be one; it names what holds them.
        """
        if a is b:
            return a
        for item, other in ((a, b), (b, a)):
            if isinstance(item, Unset):
                return item
            if item is MISSING:
                return Unset(f"`{name}` is set on one {self._what} only: give it a value before")
            if item is ANYTHING and not _has_parts(other):
                return other if tree.leaf_kind(other) is None else self._leaf(a, b, name)
        if a is ANYTHING or b is ANYTHING or (type(a) is type(b) and _has_parts(a)):
            return self._parts(a, b, name)
        if tree.leaf_kind(a) is not None and tree.leaf_kind(b) is not None:
            return a if _is_same_number(a, b) else self._leaf(a, b, name)
        if type(a) is type(b) and self._agree(a, b):
            return a
        raise self._differ(a, b, name)

    def _agree(self, a: Any, b: Any) -> bool:
        if isinstance(a, types.MethodType):
            return a.__self__ is b.__self__ and a.__func__ is b.__func__
        if isinstance(a, types.FunctionType) or contents_of(a) is not None:
            return False
        try:
            return bool(a == b)
        except Exception:
            return False

    def _differ(self, a: Any, b: Any, name: str) -> TraceError:
        return TraceError(
            f"`{name}` is {_described(a)} on one {self._what} and {_described(b)} on the other, which is not known while tracing: "
            f"give it one form on both{user_line()}"
        )

    def _parts(self, a: Any, b: Any, name: str) -> Any:
        """Of two tuples, lists, dicts or objects, one of what their parts become."""
        item = b if a is ANYTHING else a
        if isinstance(item, tuple):
            if a is not ANYTHING and b is not ANYTHING and len(a) != len(b):
                raise self._differ(a, b, name)
            parts = [self(_part(a, place), _part(b, place), f"{name}[{place}]") for place in range(len(item))]
            return tuple.__new__(type(item), parts)
        for partner, other in ((a, b), (b, a)):
            met = self._partners.get(id(partner))
            if met is not None and met[1] is other:
                return met[2]
            if partner is not ANYTHING and (met is not None or self._is_old(partner)):
                raise TraceError(
                    f"`{name}` is another {type(item).__name__} on each {self._what}, one of which is known elsewhere too: what is stored "
                    f"into it later would have to be seen there; copy it there{user_line()}"
                )
        found = [{} if part is ANYTHING else contents_of(part) or {} for part in (a, b)]
        keys = found[0].keys() | found[1].keys()
        if a is not ANYTHING and b is not ANYTHING and found[0].keys() != found[1].keys():
            raise self._differ(a, b, name)
        made = type(item)() if isinstance(item, (list, dict, deque, set)) else object.__new__(type(item))
        self._partners[id(a)] = a, b, made
        self._partners[id(b)] = b, a, made
        ordered = [key for key in found[0 if b is ANYTHING else 1] if key in keys]
        contents = {key: self(found[0].get(key, ANYTHING), found[1].get(key, ANYTHING), f"{name}[{key!r}]") for key in ordered}
        set_contents(made, contents)
        if isinstance(item, deque):
            made = deque(made, item.maxlen)
        if hasattr(item, "default_factory"):
            made.default_factory = item.default_factory
        return made


def _part(item: Any, place: int) -> Any:
    return ANYTHING if item is ANYTHING else item[place]


def _has_parts(item: Any) -> bool:
    if is_box(item):
        return False
    if isinstance(item, (tuple, list, dict, deque)):
        return True
    cls = type(item)
    return is_users_class(cls) and cls.__new__ is object.__new__ and not isinstance(item, (type, types.FunctionType))  # type: ignore[comparison-overlap]


def _is_same_number(a: Any, b: Any) -> bool:
    return not is_box(a) and not is_box(b) and type(a) is type(b) and not getattr(a, "shape", ()) and repr(a) == repr(b)


def _described(item: Any) -> str:
    if is_box(item):
        return f"an array {item.type}" if item.shape else f"a number ({item.dtype})"
    if isinstance(item, (list, tuple, dict, deque)):
        return f"a {type(item).__name__} of {len(item)}"
    text = repr(item)
    return text if len(text) < 40 else f"a {type(item).__name__}"
