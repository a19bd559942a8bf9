"""What a function keeps from call to call: arrays and numbers that it reads from outside, and binds or stores into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.runtime.call import Call
from irdl.tracing import tree
from irdl.tracing.capture.capture import Captured
from irdl.tracing.capture.reads import Attribute, Attributes, Item, Read
from irdl.tracing.capture.recipes import Container, Dict, Instance, Known, Part, Recipe, Result
from irdl.tracing.function import TracedFunction

_NOTHING = object()
_NUMBERS = (bool, int, float, complex, np.generic)


@dataclass(frozen=True)
class Change:
    """What is bound anew at each call: where it is found, what is there now, and the graph's output that follows it; None of one that
    stays what it was when the function was traced."""

    read: Read | Part
    name: str
    now: Any
    output: int | None


def changes_of(traced: TracedFunction) -> list[Change]:
    """All that a call binds.

    Raises:
        TraceError: a C function has nothing that could change so.
    """
    found: list[Change] = []
    for effect in traced.effects:
        if effect.places is None:
            raise _none_in_c(traced.graph.name, effect.name)
        for read, recipe in effect.places:
            found += _parts(read, recipe, effect.name)
    return found


def _none_in_c(function: str, what: str) -> TraceError:
    return TraceError(
        f"`{function}` changes {what}, which there is none of in C: an exported function keeps arrays and numbers that it finds outside or "
        "among its arguments (attributes, items of dicts and lists, globals) and binds anew; return what else is new"
    )


def _parts(read: Read | Part, recipe: Recipe, name: str) -> Iterator[Change]:
    """The arrays and numbers in what is bound at one place."""
    if isinstance(recipe, Container) and isinstance(recipe.like, (list, tuple)):
        for place, part in enumerate(recipe.parts):
            yield from _parts(_item(read, place), part, f"{name}[{place}]")
    elif isinstance(recipe, Dict):
        for key, part in recipe.parts:
            if isinstance(key, Known):
                yield from _parts(_item(read, key.item), part, f"{name}[{key.item!r}]")
    elif isinstance(recipe, Instance):
        for attribute, part in recipe.attributes.items():
            found = read.part(attribute, True) if isinstance(read, Part) else Attribute(read, attribute)
            yield from _parts(found, part, f"{name}.{attribute}")
    else:
        now = None if isinstance(read, Part) else _now(read)
        yield Change(read, name, now, recipe.place if isinstance(recipe, Result) else None)


def _item(read: Read | Part, key: Any) -> Read | Part:
    return read.part(key) if isinstance(read, Part) else Item(read, key)


def renewed_arguments(changes: list[Change], traced: TracedFunction, call: Call) -> list[tuple[int, int]]:
    """Outputs, and the leaves of arguments whose places they take.

    Raises:
        TraceError: nothing of its type is there among the arguments.
    """
    positional, keywords = tree.unflatten(call.structure, range(len(call.leaves)))
    found: list[tuple[int, int]] = []
    for change in changes:
        if not isinstance(change.read, Part):
            continue
        name, steps = change.read.path
        leaf: Any = positional if name == "positional" else keywords
        try:
            for step in steps:
                leaf = getattr(leaf, step.key) if step.is_attribute else leaf[step.key]
        except (LookupError, AttributeError, TypeError):
            leaf = None
        if type(leaf) is not int or change.output is None:
            raise _none_in_c(traced.graph.name, change.name)
        before, after = traced.graph.inputs[leaf].type, traced.graph.outputs[change.output].type
        if before != after:
            raise TraceError(f"`{change.name}` is {before}, and `{traced.graph.name}` binds it to {after}: in C it stays what it is")
        found.append((change.output, leaf))
    return found


def _now(read: Read) -> Any:
    try:
        return read()
    except (LookupError, AttributeError, TypeError, ValueError):
        return _NOTHING


def numbers_in(changes: list[Change], traced: TracedFunction) -> set[str]:
    """The names of Python's numbers among what changes that the trace has taken as they were."""
    taken = {name for _, _, name in traced.taken}
    return {change.name for change in changes if isinstance(change.now, _NUMBERS) and change.name in taken}


def paired(changes: list[Change], traced: TracedFunction) -> Mapping[int, Change]:
    """What of the captured is kept from call to call: its number -> its change. What the function binds and does not read is none.

    Raises:
        TraceError: it cannot be kept: it is not there yet, changes its type, is bound to something else than an array or a number, or
            is one with another.
    """
    found: dict[int, Change] = {}
    function = traced.graph.name
    for change in changes:
        if isinstance(change.read, Part):
            continue
        number = next((number for number, item in enumerate(traced.captured) if _is_of(item, change)), None)
        if number is None:
            if (change.now is None or change.now is _NOTHING) and _was_asked_for(change, traced):
                raise TraceError(
                    f"`{change.name}` is not there yet, and `{function}` asks for it: call the function once before you export it, so "
                    "that what it keeps from call to call is there"
                )
            continue
        kept = traced.captured[number]
        if change.output is None:
            raise TraceError(f"`{function}` binds `{change.name}`, which it reads, to something that is no array or number")
        if number in found:
            raise TraceError(
                f"`{change.name}` and `{found[number].name}` are one array now, and will be two after a call: make each an array of its own"
            )
        type_ = traced.graph.outputs[change.output].type
        if type_ != kept.value.type:
            raise TraceError(
                f"`{change.name}` is {kept.value.type} now, and `{function}` binds it to {type_}: what is kept from call to call has one "
                "dtype and one shape"
            )
        found[number] = change
    return found


def _is_of(item: Captured, change: Change) -> bool:
    if isinstance(change.now, np.ndarray):
        return _now(item.read) is change.now
    return isinstance(change.now, _NUMBERS) and item.name == change.name


def _was_asked_for(change: Change, traced: TracedFunction) -> bool:
    """Whether the trace depends on what was there, or on nothing having been."""
    if not isinstance(change.read, Attribute):
        return any(read is change.read for read, _ in traced.guards)
    owner, name = change.read.owner(), change.read.name
    for read, _ in traced.guards:
        if isinstance(read, Attribute) and read.name == name and _now(read.owner) is owner:
            return True
        if isinstance(read, Attributes) and name in read.absent and _now(read.owner) is owner:
            return True
    return False


def results_of(traced: TracedFunction) -> Iterator[tuple[str, int]]:
    """The arrays and numbers that a function returns: the way to each in the result, and the graph's output that it is.

    Raises:
        TraceError: there is something else among them that is made at each call.
    """
    if traced.result is not None:
        return _results(traced.result, "", traced.graph.name)
    paths = tree.paths(tree.unflatten(traced.structure, range(len(traced.kinds))))
    return zip(paths, range(len(traced.kinds)), strict=True)


def _results(recipe: Recipe, path: str, function: str) -> Iterator[tuple[str, int]]:
    if isinstance(recipe, Result):
        yield path, recipe.place
    elif isinstance(recipe, Container):
        for place, part in enumerate(recipe.parts):
            yield from _results(part, f"{path}[{place}]", function)
    elif isinstance(recipe, Dict):
        for key, part in recipe.parts:
            yield from _results(part, f"{path}[{key.item!r}]" if isinstance(key, Known) else f"{path}[...]", function)
    elif isinstance(recipe, Instance):
        for name, part in recipe.attributes.items():
            yield from _results(part, f"{path}.{name}", function)
    elif not isinstance(recipe, Known):
        raise TraceError(f"result{path} of `{function}` is no array or number, nor made of them: a C function has nothing to return it as")
