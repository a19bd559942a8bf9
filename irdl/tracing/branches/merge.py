"""What a variable holds behind a branch, given what it holds behind either side: numbers are chosen at run time, all else has to agree."""

from __future__ import annotations

import types
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from irdl.errors import TraceError
from irdl.tracing import tree
from irdl.tracing.box import is_box
from irdl.tracing.branches.places import contents_of, set_contents
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import Trace, trace_stack
from irdl.tracing.unset import Unset
from irdl.tracing.users import is_users_class

#: in the place of numbers that nobody reads
ANYTHING = type("Anything", (), {"__repr__": lambda self: "anything"})()


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
            if item is ANYTHING and tree.leaf_kind(other) is not None:
                return self._leaf(a, b, name)
            if item is ANYTHING and (not _has_parts(other) or self._is_old(other)):
                return other
        if a is ANYTHING or b is ANYTHING or (type(a) is type(b) and _has_parts(a)):
            return self._parts(a, b, name)
        if tree.leaf_kind(a) is not None and tree.leaf_kind(b) is not None:
            return a if _is_same_number(a, b) else self._leaf(a, b, name)
        if type(a) is type(b) and self._agree(a, b):
            return a
        raise self._differ(a, b, name)

    def _let_be(self, items: list[Any], name: str) -> None:
        """None of these may change any more, since it may be another."""
        if len(items) > 1:
            why = (
                f"`{name}` may be one of several {type(items[0]).__name__}s behind a branch{user_line()}, and one of them was changed later"
            )
            trace_stack()[0].let_be += [(item, contents_of(item), why) for item in items]

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
            if partner is not ANYTHING and met is not None:
                raise TraceError(
                    f"`{name}` is one {type(item).__name__} on one {self._what} and several on the other: copy it{user_line()}"
                )
        found = [{} if part is ANYTHING else contents_of(part) or {} for part in (a, b)]
        keys = found[0].keys() | found[1].keys()
        if a is not ANYTHING and b is not ANYTHING and found[0].keys() != found[1].keys():
            raise self._differ(a, b, name)
        made: Any = type(item)() if isinstance(item, (list, dict, deque, set)) else object.__new__(type(item))
        ordered = [key for key in found[0 if b is ANYTHING else 1] if key in keys]
        contents = {key: self(found[0].get(key, ANYTHING), found[1].get(key, ANYTHING), f"{name}[{key!r}]") for key in ordered}
        if isinstance(item, deque):
            made = deque(maxlen=item.maxlen)
        set_contents(made, contents)
        self._partners[id(a)] = a, b, made
        self._partners[id(b)] = b, a, made
        self._let_be([made, *(part for part in (a, b) if part is not ANYTHING and self._is_old(part))], name)
        if isinstance(item, defaultdict):
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


def may_be_one(a: Any, b: Any) -> bool:
    """Whether two lists, dicts or objects are one on one side of a branch."""
    reasons = [{why for item, _, why in trace_stack()[0].let_be if item is part} for part in (a, b)]
    return bool(reasons[0] & reasons[1])


def check_let_be(trace: Trace) -> None:
    """Lists, dicts and objects of which two may be one are what they were then.

    Raises:
        TraceError: one has changed, which the other would have to show.
    """
    for item, before, why in trace.let_be:
        now = contents_of(item) or {}
        if now.keys() != before.keys() or any(now[key] is not before[key] for key in now):
            raise TraceError(f"{why}, which would have to be seen in the other: copy it on that side of the branch")
