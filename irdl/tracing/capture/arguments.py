"""The lists, dicts and objects among a call's arguments: changed, they are changed at each call."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.tracing import tree
from irdl.tracing.box import is_box
from irdl.tracing.capture.classes import Classes
from irdl.tracing.capture.containers import Container, container_effects, set_attribute
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.capture.outcome import Recipes
from irdl.tracing.capture.reads import Write
from irdl.tracing.capture.recipes import Effect, Part, Path, Step


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
    elif tree.is_object(item):
        yield Given(item, dict(vars(item)), path, name)
        for key, part in vars(item).items():
            yield from _within(part, _into(path, Step(key, True)), f"{name}.{key}")


def let_trace(arguments: Any, classes: Classes) -> None:
    """Give the objects among rebuilt arguments their traced classes, so that their methods are traced ones."""
    for given in containers_of(arguments):
        if tree.is_object(given.made) and (made := classes.of(type(given.made))) is not type(given.made):
            object.__setattr__(given.made, "__class__", made)


def changes(before: Any, after: Any, given: set[int]) -> Iterator[tuple[Write, Any]]:
    """The arrays that a function has bound attributes of rebuilt arguments to: how to bind those of the arguments themselves.

    Args:
        before, after: the arguments and what was made of them.
        given: of the arrays that the rebuilt ones began with, their identities.
    """
    if tree.is_object(after):
        for key, item in vars(after).items():
            own = vars(before).get(key, MISSING)
            if is_box(item):
                if id(item) not in given:
                    yield functools.partial(object.__setattr__, before, key), item
            elif own is not MISSING:
                yield from changes(own, item, given)
    elif isinstance(after, (list, tuple)) and isinstance(before, (list, tuple)):
        for first, second in zip(before, after, strict=False):
            yield from changes(first, second, given)
    elif isinstance(after, dict) and isinstance(before, dict):
        for key in before.keys() & after.keys():
            yield from changes(before[key], after[key], given)


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
                    name = f"{given.name}.{key}"
                    owner, contents = recipes.of(given.made, given.name), recipes.of(item, name)
                    found.append(Effect(owner, contents, set_attribute(key), name, [(Part(given.path).part(key, True), contents)]))
    return found
