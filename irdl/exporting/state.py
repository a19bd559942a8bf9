"""What a function keeps from call to call: arrays and numbers that it reads from outside, and binds or stores into."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.runtime.call import Call
from irdl.runtime.overlaps import overlapping
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON
from irdl.tracing.capture.capture import Captured
from irdl.tracing.capture.reads import AreSame, Attribute, CellContents, DictItem, Item, Read
from irdl.tracing.capture.recipes import Container, Dict, Existing, Instance, Known, Method, Part, Recipe, Result
from irdl.tracing.function import TracedFunction

_NOTHING = object()
NUMBERS = (bool, int, float, complex, np.generic)


@dataclass(frozen=True)
class Change:
    """What is bound anew at each call.

    Attributes:
        read: where it is found.
        now: what is there; of an argument's leaf its number.
        recipe: what is there afterwards.
    """

    read: Read | Part
    name: str
    now: Any
    recipe: Recipe

    @property
    def result(self) -> Result | None:
        """The graph's output that follows it."""
        return self.recipe if isinstance(self.recipe, Result) else None


def changes_of(traced: TracedFunction, call: Call, unread: bool = False) -> list[Change]:
    """All that a call binds to something else, where it may depend on what was there; with `unread`, elsewhere too.

    Raises:
        TraceError: a C function has nothing that could change so.
    """
    arguments = tree.unflatten(call.structure, range(len(call.leaves)))
    found: list[Change] = []
    for effect in traced.effects:
        if effect.places is None:
            raise _none_in_c(traced.graph.name, effect.name)
        if effect.is_read or unread:
            for read, recipe in effect.places:
                # What a list or a dict holds is called as the trace calls it where it is read.
                name = f"{effect.name}[{read.key!r}]" if isinstance(read, Item) else effect.name
                found += _parts(read, recipe, name, _found(read, arguments), arguments)
    return found


def _none_in_c(function: str, what: str) -> TraceError:
    return TraceError(
        f"`{function}` changes {what}, which there is none of in C: an exported function keeps arrays and numbers that it finds outside or "
        "among its arguments (attributes, items of dicts and lists, globals) and binds anew; return what else is new"
    )


def _found(read: Read | Part, arguments: Any = None) -> Any:
    """What is there now."""
    try:
        if not isinstance(read, Part):
            return read()
        name, steps = read.path
        item = arguments[0] if name == "positional" else arguments[1]
        for step in steps:
            item = getattr(item, step.key) if step.is_attribute else item[step.key]
        return item
    except (LookupError, AttributeError, TypeError, ValueError):
        return _NOTHING


def _parts(read: Read | Part, recipe: Recipe, name: str, now: Any, arguments: Any) -> Iterator[Change]:
    """The arrays and numbers in what is bound at one place, and what else is not as it was."""
    if isinstance(recipe, Result) or not _is_like(now, recipe, arguments):
        yield Change(read, name, now, recipe)
        return
    for key, part in _within(recipe):
        if isinstance(recipe, Instance):
            attribute = read.part(key, True) if isinstance(read, Part) else Attribute(read, key)
            yield from _parts(attribute, part, f"{name}.{key}", vars(now)[key], arguments)
        else:
            item = read.part(key) if isinstance(read, Part) else Item(read, key)
            yield from _parts(item, part, f"{name}[{key!r}]", now[key], arguments)


def _within(recipe: Recipe) -> list[tuple[Any, Recipe]]:
    if isinstance(recipe, Container):
        return list(enumerate(recipe.parts))
    if isinstance(recipe, Dict):
        return [(key.item, part) for key, part in recipe.parts if isinstance(key, Known)]
    return list(recipe.attributes.items()) if isinstance(recipe, Instance) else []


def _is_like(now: Any, recipe: Recipe, arguments: Any) -> bool:
    """Whether a recipe makes what is there now, but for the arrays and numbers in it: what the trace has found there holds afterwards."""
    if isinstance(recipe, Known):
        return now is recipe.item or (type(now) is type(recipe.item) and repr(now) == repr(recipe.item))
    if isinstance(recipe, (Existing, Part)):
        return _found(recipe.read if isinstance(recipe, Existing) else recipe, arguments) is now
    if isinstance(recipe, Method):
        is_method = isinstance(now, types.MethodType)
        return is_method and _is_like(now.__func__, recipe.function, arguments) and _is_like(now.__self__, recipe.owner, arguments)
    if isinstance(recipe, Container) and isinstance(recipe.like, (list, tuple, deque)):
        same = type(now) is type(recipe.like) and len(now) == len(recipe.parts)
        return same and getattr(now, "maxlen", None) == getattr(recipe.like, "maxlen", None)
    if isinstance(recipe, Dict):
        return type(now) is type(recipe.like) and list(now) == [key for key, _ in _within(recipe)] and len(now) == len(recipe.parts)
    return isinstance(recipe, Instance) and type(now) is recipe.cls and vars(now).keys() == recipe.attributes.keys()


def renewed_arguments(changes: list[Change], traced: TracedFunction) -> list[tuple[int, int]]:
    """Outputs, and the leaves of arguments whose places they take.

    Raises:
        TraceError: nothing of its type is there among the arguments.
    """
    found: list[tuple[int, int]] = []
    for change in changes:
        if not isinstance(change.read, Part):
            continue
        if type(change.now) is not int or change.result is None:
            raise _none_in_c(traced.graph.name, change.name)
        before, after = traced.graph.inputs[change.now].type, traced.graph.outputs[change.result.place].type
        if before != after:
            raise TraceError(f"`{change.name}` is {before}, and `{traced.graph.name}` binds it to {after}: in C it stays what it is")
        found.append((change.result.place, change.now))
    return found


def numbers_in(changes: list[Change]) -> set[str]:
    """The names of Python's numbers among what changes, which a trace takes as they are unless it is told."""
    return {change.name for change in changes if not isinstance(change.read, Part) and isinstance(change.now, NUMBERS)}


def paired(changes: list[Change], traced: TracedFunction) -> Mapping[int, Change]:
    """What of the captured is kept from call to call: its number -> its change.

    Raises:
        TraceError: it cannot be kept: it is not there yet, changes its type, is bound to something else than an array or a number, or
            is one with another.
    """
    found: dict[int, Change] = {}
    function = traced.graph.name
    for change in changes:
        if isinstance(change.read, Part):
            continue
        if change.now is None or change.now is _NOTHING:
            raise TraceError(
                f"`{change.name}` is not there yet, and `{function}` asks for it: call the function once before you export it, so "
                "that what it keeps from call to call is there"
            )
        if change.result is None:
            raise TraceError(
                f"`{function}` depends on `{change.name}`, {_described(change.now)} now, and binds it to {_made(change.recipe)}: what a C function "
                "keeps from call to call are arrays and numbers, each at its place; keep a number there, and choose by that"
            )
        after = traced.graph.outputs[change.result.place].type
        before = tree.leaf_type(change.now, change.name) if isinstance(change.now, (np.ndarray, *NUMBERS)) else _described(change.now)
        if before != after:
            raise TraceError(
                f"`{change.name}` is {before} now, and `{function}` binds it to {after}: what is kept from call to call has one dtype and "
                "one shape"
            )
        number = next((number for number, item in enumerate(traced.captured) if _is_of(item, change)), None)
        if number is None:
            continue
        if traced.captured[number].kind == PYTHON and change.result.kind != PYTHON:
            raise TraceError(
                f"`{change.name}` is a number of Python's now, and `{function}` binds it to one of NumPy's, whose dtype decides others: let it "
                f"be one from the start, np.{after.dtype}({change.now!r})"
            )
        others = (found[number].read,) if number in found else _names(traced, number)
        other = next((read for read in others if not is_same_place(read, change.read)), None)
        if other is not None:
            raise TraceError(
                f"`{change.name}` and `{_name(other, change)}` are one array now, and will be two after a call: make each an array of its own"
            )
        found[number] = change
    return found


def _is_of(item: Captured, change: Change) -> bool:
    return _found(item.read) is change.now if isinstance(change.now, np.ndarray) else is_same_place(item.read, change.read)


def _names(traced: TracedFunction, number: int) -> Iterator[Read]:
    """All places where the trace has found an array."""
    item = traced.captured[number]
    yield item.read
    for guard, _ in traced.guards:
        if isinstance(guard, AreSame) and item.kind == ARRAY and _found(guard.second) is _found(item.read):
            yield guard.first


def is_same_place(first: Read | Part, second: Read | Part) -> bool:
    """Whether two ways lead to one attribute, item or name."""
    if isinstance(first, CellContents) and isinstance(second, CellContents):
        return first.cell is second.cell
    if isinstance(first, DictItem) and isinstance(second, DictItem):
        return first.names is second.names and first.key == second.key
    if isinstance(first, Attribute) and isinstance(second, Attribute):
        return first.name == second.name and _found(first.owner) is _found(second.owner)
    if isinstance(first, Item) and isinstance(second, Item):
        return bool(first.key == second.key) and _found(first.owner) is _found(second.owner)
    return first is second


def _name(read: Read | Part, beside: Change) -> str:
    """What a place is called: as something beside it, or as far as it says itself."""
    if isinstance(read, Attribute):
        near = isinstance(beside.read, Attribute) and _found(beside.read.owner) is _found(read.owner)
        owner = beside.name.rpartition(".")[0] if near else _name(read.owner, beside)
        return f"{owner}.{read.name}".removeprefix(".")
    if isinstance(read, Item):
        near = isinstance(beside.read, Item) and _found(beside.read.owner) is _found(read.owner)
        return f"{beside.name.rpartition('[')[0] if near else _name(read.owner, beside)}[{read.key!r}]"
    return read.key if isinstance(read, DictItem) else ""


def _described(item: Any) -> str:
    return f"{item!r:.40}" if isinstance(item, (str, bytes, *NUMBERS)) or item is None else f"of type {type(item).__name__}"


def _made(recipe: Recipe) -> str:
    if isinstance(recipe, Known):
        return f"{recipe.item!r:.40}"
    if isinstance(recipe, (Container, Dict)):
        return f"a {type(recipe.like).__name__} of other parts"
    return f"a new {recipe.cls.__name__}" if isinstance(recipe, Instance) else "something else"


def array_of(item: Captured) -> np.ndarray:
    """The array that was captured; of a number one of no memory."""
    array = _found(item.read)
    return array if isinstance(array, np.ndarray) else np.empty(0)


def check_sharing(changes: list[Change], traced: TracedFunction, count: int) -> None:
    """What is stored into has memory of its own, at the export and after each call: in C it is an array of its own.

    Args:
        count: of the graph's inputs that are arguments.

    Raises:
        TraceError: another array is a view of it, or will be.
    """
    stored = {place - count for place in traced.stored if place >= count}
    function, captured = traced.graph.name, traced.captured
    arrays = [array_of(item) for item in captured]
    pair = overlapping(arrays, stored)
    if pair is not None:
        raise TraceError(
            f"`{function}` stores into `{captured[pair[0]].name}`, which shares its memory with `{captured[pair[1]].name}`: in C each is an "
            "array of its own; keep one, and make the view of it in the function"
        )
    kept = [change for change in changes if change.result is not None and not isinstance(change.read, Part)]
    holders = [
        (change.result.cell, change.name, any(_is_of(captured[number], change) for number in stored)) for change in kept if change.result
    ]
    holders += [
        (traced.cells[number], item.name, number in stored)
        for number, item in enumerate(captured)
        if not any(is_same_place(item.read, change.read) for change in kept)
    ]
    met: dict[Any, tuple[str, bool]] = {}
    for cell, name, is_stored in holders:
        if cell in met and cell is not None and (is_stored or met[cell][1]):
            raise TraceError(
                f"`{function}` leaves one array at `{met[cell][0]}` and `{name}`, and stores into it at the next call: in C each is an array of "
                "its own; bind one of them to a copy"
            )
        met.setdefault(cell, (name, is_stored))


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
