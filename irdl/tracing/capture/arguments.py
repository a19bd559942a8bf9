"""The lists, dicts and objects among a call's arguments: changed, they are changed at each call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.tracing.box import is_box
from irdl.tracing.capture.containers import Container, container_effects, set_attribute
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.capture.outcome import Recipes
from irdl.tracing.capture.recipes import Effect, Path, Step


@dataclass(frozen=True)
class Given:
    """A container or an array among the arguments: as the trace sees it, what it held, and how it is found in a call."""

    made: Any
    before: Any
    path: Path
    name: str


def containers_of(arguments: Any) -> Iterator[Given]:
    """All containers and arrays in (positional arguments, keyword arguments)."""
    positional, keywords = arguments
    for place, item in enumerate(positional):
        yield from _within(item, ("positional", (Step(place),)), f"argument {place}")
    for name, item in keywords.items():
        yield from _within(item, ("keywords", (Step(name),)), name)


def _within(item: Any, path: Path, name: str) -> Iterator[Given]:
    if type(item) is dict:
        yield Given(item, dict(item), path, name)
        for key, part in item.items():
            yield from _within(part, _into(path, Step(key)), f"{name}[{key!r}]")
    elif isinstance(item, (list, tuple)):
        yield Given(item, list(item), path, name)
        for place, part in enumerate(item):
            yield from _within(part, _into(path, Step(place)), f"{name}[{place}]")
    elif is_box(item):
        yield Given(item, None, path, name)
    elif dataclasses.is_dataclass(item) and hasattr(item, "__dict__") and not isinstance(item, type):
        yield Given(item, dict(vars(item)), path, name)
        for key, part in vars(item).items():
            yield from _within(part, _into(path, Step(key, True)), f"{name}.{key}")


def _into(path: Path, step: Step) -> Path:
    return path[0], (*path[1], step)


def argument_effects(containers: Sequence[Given], recipes: Recipes) -> list[Effect]:
    """What the trace has changed of them."""
    for given in containers:
        recipes.part(given.made, given.path)
    found: list[Effect] = []
    for given in containers:
        if isinstance(given.made, (dict, list)):
            found += container_effects(Container(given.made, given.before, given.name), recipes)
        elif not is_box(given.made) and not isinstance(given.made, tuple):
            for key, item in vars(given.made).items():
                if given.before.get(key, MISSING) is not item:
                    owner, contents = recipes.of(given.made, given.name), recipes.of(item, f"{given.name}.{key}")
                    found.append(Effect(owner, contents, set_attribute(key)))
    return found
