"""Lists, dicts and deques from outside, and what has become of them in the trace."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.errors import TraceError
from irdl.tracing.box import is_box
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.capture.outcome import Recipes
from irdl.tracing.capture.reads import Item, Read, Write
from irdl.tracing.capture.recipes import Effect, Existing, Part, Recipe
from irdl.tracing.users import is_plain_object


@dataclass(frozen=True)
class Container:
    """A list, dict or deque that was reached: as the trace sees it, and what it held. A static argument may not change: equal ones
    share what was compiled."""

    made: Any
    before: Any
    name: str
    is_static: bool = False


def container_effects(container: Container, recipes: Recipes) -> list[Effect]:
    """What has become of a list, dict or deque."""
    found = _container_effects(container.made, container.before, container.name, recipes)
    if found and container.is_static:
        raise TraceError(
            f"the static {type(container.made).__name__} `{container.name}` was changed during the trace: that would happen once, not at "
            "each call; do not make it static, or return what is new"
        )
    return found


def _container_effects(made: Any, before: Any, name: str, recipes: Recipes) -> list[Effect]:
    if isinstance(made, dict):
        if list(made) == list(before) and all(made[key] is before[key] for key in before):
            return []
        if list(made)[: len(before)] == list(before):  # in their order: only what is new has to be set
            parts = {key: item for key, item in made.items() if before.get(key, MISSING) is not item}
            owner, contents = recipes.of(made, name), recipes.contents(parts, name)
            places = _places(owner, [(key, recipes.of(item, f"{name}[{key!r}]")) for key, item in parts.items()])
            return [Effect(owner, contents, lambda owner, contents: owner.update(contents), name, places)]
        return [Effect(recipes.of(made, name), recipes.contents(dict(made), name), _replace_dict, name)]
    items = list(list.__iter__(made)) if isinstance(made, list) else list(made)
    kept = len(before)
    if len(items) == kept and all(a is b for a, b in zip(items, before, strict=True)):
        return []
    if isinstance(made, list) and len(items) > kept and all(a is b for a, b in zip(items, before, strict=False)):
        added = recipes.contents(items[kept:], name)
        return [Effect(recipes.of(made, name), added, lambda owner, contents: owner.extend(contents), name)]
    owner, contents = recipes.of(made, name), recipes.contents(items, name)
    places = None
    if len(items) == kept:
        changed = [(place, item) for place, (item, old) in enumerate(zip(items, before, strict=True)) if item is not old]
        places = _places(owner, [(place, recipes.of(item, f"{name}[{place}]")) for place, item in changed])
    return [Effect(owner, contents, _replace_items, name, places)]


def _places(owner: Recipe, parts: Sequence[tuple[Any, Recipe]]) -> list[tuple[Read | Part, Recipe]] | None:
    """Where the parts of a container are found; None of one that the trace has made."""
    if isinstance(owner, Existing):
        return [(Item(owner.read, key), part) for key, part in parts]
    return [(owner.part(key), part) for key, part in parts] if isinstance(owner, Part) else None


def _replace_dict(owner: Any, contents: Any) -> None:
    owner.clear()
    owner.update(contents)


def _replace_items(owner: Any, contents: Any) -> None:
    owner.clear()
    owner.extend(contents)


def set_attribute(key: str) -> Callable[[Any, Any], None]:
    return lambda owner, contents: setattr(owner, key, contents)


def delete_attribute(key: str) -> Callable[[Any, Any], None]:
    return lambda owner, contents: delattr(owner, key)


def write_into(write: Callable[[str, Any], None], name: str) -> Callable[[Any, Any], None]:
    return lambda owner, contents: write(name, contents)


def restored(item: Any, contents: Any) -> bool:
    """Whether a container does not hold what it held; it does then."""
    now, before = (list(part.items()) if isinstance(part, dict) else list(part) for part in (item, contents))
    if isinstance(item, dict):
        same = len(now) == len(before) and all(a[0] is b[0] and a[1] is b[1] for a, b in zip(now, before, strict=True))
    else:
        same = len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))
    if same:
        return False
    base: Any = next(base for base in (dict, list, deque, set) if isinstance(item, base))
    base.clear(item)
    (base.extend if base in (list, deque) else base.update)(item, contents)
    return True


def boxes_within(item: Any, write: Write, seen: tuple[Any, ...] = ()) -> Iterator[tuple[Write, Any]]:
    """The boxes in something that was bound by `write`, and how to put something else in their places."""
    if is_box(item):
        yield write, item
    elif any(item is other for other in seen):
        return
    elif isinstance(item, (list, dict, deque)):
        for key, part in list(item.items() if isinstance(item, dict) else enumerate(item)):
            yield from boxes_within(part, functools.partial(item.__setitem__, key), (*seen, item))
    elif type(item) is tuple:
        parts = list(item)

        def put(place: int, part: Any) -> None:
            parts[place] = part
            write(tuple(parts))

        for place, part in enumerate(item):
            yield from boxes_within(part, functools.partial(put, place), (*seen, item))
    elif is_plain_object(item):
        for key, part in list(vars(item).items()):
            yield from boxes_within(part, functools.partial(setattr, item, key), (*seen, item))


class GrowingList(list[Any]):
    """A list that the trace appends to, and does not depend on as long as it does no more than that.

    Until it is read it holds what was appended; then, before that, what `fill` gives."""

    def __init__(self, fill: Callable[[GrowingList], list[Any]]) -> None:
        super().__init__()
        self._fill: Callable[[GrowingList], list[Any]] | None = fill

    @property
    def is_unread(self) -> bool:
        return self._fill is not None

    def filled(self) -> GrowingList:
        if self._fill is not None:
            fill, self._fill = self._fill, None
            super().__setitem__(slice(0, 0), fill(self))
        return self


def _reading(name: str) -> Any:
    method = getattr(list, name)
    return lambda self, *arguments, **options: method(self.filled(), *arguments, **options)


for _name in (
    *("__getitem__", "__setitem__", "__delitem__", "__len__", "__iter__", "__reversed__", "__contains__", "__eq__", "__ne__", "__lt__"),
    *("__le__", "__gt__", "__ge__", "__add__", "__mul__", "__rmul__", "__imul__", "__repr__", "clear", "copy", "count", "index"),
    *("insert", "pop", "remove", "reverse", "sort"),
):
    setattr(GrowingList, _name, _reading(_name))
