"""Recipes: how an object is made at each call from the call's arguments and the arrays that the compiled code gives.

It is as plain Python would have left it: one array under two names stays one, a view of an array that is kept is a view of it, and
what was there before is that very object. The recipes of a function are written out as one Python function, which is quick.
"""

from __future__ import annotations

import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON
from irdl.tracing.capture.reads import Always, Read
from irdl.tracing.printing import Slot, joined
from irdl.tracing.recorder import Cell
from irdl.tracing.views import ReshapeStep, SliceStep


class Step(NamedTuple):
    """From an argument to a part of it: an item, or an attribute of an object."""

    key: Any
    is_attribute: bool = False


#: how something is found among the arguments: the name of `positional` or `keywords`, and the way from there
Path: TypeAlias = tuple[str, tuple[Step, ...]]


class Script:
    """The text of a function that makes objects, each once, and the objects that it names."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: dict[str, Any] = {}
        self._made: dict[int, str] = {}
        self._keep: list[Any] = []
        #: what it takes from among the arguments
        self.parts: list[Part] = []

    def of(self, recipe: Recipe) -> str:
        """The name of what a recipe makes."""
        if id(recipe) not in self._made:
            recipe.write(self)
        return self._made[id(recipe)]

    def bind(self, recipe: Recipe, expression: str) -> str:
        """What a recipe makes is this: to be called before its parts are asked for, where they may hold it."""
        name = self._made[id(recipe)] = f"made{len(self._made)}"
        self._keep.append(recipe)
        self.line(f"{name} = {expression}")
        return name

    def line(self, text: str) -> None:
        self._lines.append(text)

    def constant(self, item: Any) -> str:
        if item is None or type(item) in (bool, int, str):
            return repr(item)
        name = f"known{len(self._names)}"
        self._names[name] = item
        return name

    def viewed(self, array: str, steps: Sequence[Any]) -> str:
        """An array through views."""
        steps = list(steps)
        while steps:
            step = steps.pop(0)
            if isinstance(step, SliceStep):
                a = step.attributes
                sizes = [len(range(*part)) for part in zip(a.start, a.limit, a.stride, strict=True)]
                drops = bool(steps) and isinstance(steps[0], ReshapeStep) and steps[0].attributes.shape == tuple(n for n in sizes if n != 1)
                if drops:  # a slice of one element and no axis for it is a number
                    steps.pop(0)
                key = tuple(
                    start if drops and size == 1 else slice(start, limit, stride)
                    for start, limit, stride, size in zip(a.start, a.limit, a.stride, sizes, strict=True)
                )
                array = f"{array}[{self.constant((*key, Ellipsis))}]"
            else:
                array = f"{self.constant(step.view)}({array})"
        return array

    def function(self, result: Recipe, effects: Sequence[Effect]) -> Callable[[tuple[Any, ...], dict[str, Any], Sequence[Any]], Any]:
        """From (positional arguments, keyword arguments, arrays) to the result. All new contents are made before anything changes."""
        made = self.of(result)
        changes = []
        for effect in effects:
            parts = ["None" if recipe is None else self.of(recipe) for recipe in (effect.owner, effect.contents)]
            changes.append(f"{self.constant(effect.apply)}({', '.join(parts)})")
        text = "\n    ".join(["def leave(positional, keywords, arrays):", *self._lines, *changes, f"return {made}"])
        names = dict(self._names)
        exec(compile(text, "<what a call leaves behind>", "exec"), names)
        return names["leave"]


class Recipe(Protocol):
    def write(self, script: Script) -> None:
        """Write the lines that make the object, and bind it."""


@dataclass
class Effect:
    """A change: of what (None: of what `apply` knows itself), how, and with what new contents.

    Attributes:
        name: of what changes, as messages have it.
        places: where it was found, outside or among the arguments, and what is there afterwards; None of a change that is no new
            contents of such places.
        is_read: whether the trace may depend on what was there.
    """

    owner: Recipe | None
    contents: Recipe | None
    apply: Callable[[Any, Any], None]
    name: str
    places: Sequence[tuple[Read | Part, Recipe]] | None = None
    is_read: bool = True


@dataclass(eq=False)
class Known:
    """An object that is there at every call: a number, a text, a class."""

    item: Any

    def write(self, script: Script) -> None:
        script.bind(self, script.constant(self.item))


@dataclass(eq=False)
class Existing:
    """What the function reached from outside."""

    read: Read

    def write(self, script: Script) -> None:
        is_fixed = isinstance(self.read, Always)
        script.bind(self, script.constant(self.read.item) if is_fixed else f"{script.constant(self.read)}()")  # type: ignore[attr-defined]


@dataclass(eq=False)
class Part:
    """Something among the arguments."""

    path: Path

    def part(self, key: Any, is_attribute: bool = False) -> Part:
        """An item or an attribute of it."""
        name, steps = self.path
        return Part((name, (*steps, Step(key, is_attribute))))

    def write(self, script: Script) -> None:
        script.parts.append(self)
        expression, steps = self.path
        for step in steps:
            key = script.constant(step.key)
            expression = f"getattr({expression}, {key})" if step.is_attribute else f"{expression}[{key}]"
        script.bind(self, expression)


@dataclass(eq=False)
class Result:
    """An output of the compiled code, or a view of it, as an array or a number; `cell`: the array of the trace that it is a part of."""

    place: int
    kind: str
    steps: tuple[Any, ...] = ()
    cell: Cell | None = None

    def write(self, script: Script) -> None:
        array = script.viewed(f"arrays[{self.place}]", self.steps)
        script.bind(self, array + {ARRAY: "", PYTHON: ".item()"}.get(self.kind, "[()]"))


@dataclass(eq=False)
class ViewOf:
    """A view of an array."""

    base: Recipe
    steps: tuple[Any, ...]

    def write(self, script: Script) -> None:
        script.bind(self, script.viewed(script.of(self.base), self.steps))


@dataclass(eq=False)
class PartOf:
    """A row of an array, at places that the compiled code gives, or from there on this many elements."""

    base: Recipe
    axes: tuple[int, ...]
    numbers: Sequence[Recipe]
    sizes: tuple[int, ...] | None = None

    def write(self, script: Script) -> None:
        keys = [script.of(number) for number in self.numbers]
        if self.sizes is not None:
            keys = [f"{key}:{key} + {size}" for key, size in zip(keys, self.sizes, strict=True)]
        places = dict(zip(self.axes, keys, strict=True))
        key = "".join([f"{places.get(axis, ':')}, " for axis in range(max(self.axes) + 1)])
        script.bind(self, f"{script.of(self.base)}[{key}...]")


@dataclass(eq=False)
class Text:
    """A text with numbers that the compiled code gives."""

    parts: Sequence[str | Slot]
    arrays: Sequence[Recipe]

    def write(self, script: Script) -> None:
        arrays = "".join([f"{script.of(array)}, " for array in self.arrays])
        script.bind(self, f"{script.constant(joined)}({script.constant(self.parts)}, ({arrays}))")


@dataclass(eq=False)
class Container:
    """A new list, tuple, set or deque."""

    like: Any
    parts: list[Recipe] = field(default_factory=list)

    def write(self, script: Script) -> None:
        cls = type(self.like)
        if cls is list:
            name = script.bind(self, "[]")
            parts = self._parts(script)
            script.line(f"{name} += ({parts})")
        elif cls is tuple:
            script.bind(self, f"({self._parts(script)})")
        elif cls is deque:
            script.bind(self, f"{script.constant(deque)}(({self._parts(script)}), {self.like.maxlen})")
        else:
            parts = self._parts(script)
            script.bind(self, f"{script.constant(cls)}({parts if hasattr(cls, '_fields') else f'({parts})'})")

    def _parts(self, script: Script) -> str:
        return "".join([f"{script.of(part)}, " for part in self.parts])


@dataclass(eq=False)
class Dict:
    """A new dict; of a defaultdict, with the recipe of what makes its items."""

    like: Any
    factory: Recipe | None = None
    parts: list[tuple[Recipe, Recipe]] = field(default_factory=list)

    def write(self, script: Script) -> None:
        cls = type(self.like)
        if cls is dict:
            name = script.bind(self, "{}")
        elif cls is OrderedDict:
            name = script.bind(self, f"{script.constant(OrderedDict)}()")
        else:
            factory = "None" if self.factory is None else script.of(self.factory)
            name = script.bind(self, f"{script.constant(defaultdict)}({factory})")
        for key, item in self.parts:
            script.line(f"{name}[{script.of(key)}] = {script.of(item)}")


@dataclass(eq=False)
class Instance:
    """A new object of a user's class."""

    cls: type
    attributes: dict[str, Recipe] = field(default_factory=dict)

    def write(self, script: Script) -> None:
        new = types.SimpleNamespace if self.cls is types.SimpleNamespace else object.__new__
        name = script.bind(self, f"{script.constant(new)}({'' if new is types.SimpleNamespace else script.constant(self.cls)})")
        attributes = [f"{script.constant(key)}: {script.of(recipe)}" for key, recipe in self.attributes.items()]
        script.line(f"{name}.__dict__.update({{{', '.join(attributes)}}})")


@dataclass(eq=False)
class Tree:
    """A new tree."""

    structure: Any
    parts: Sequence[Recipe]

    def write(self, script: Script) -> None:
        parts = ", ".join([script.of(part) for part in self.parts])
        script.bind(self, f"{script.constant(tree.unflatten)}({script.constant(self.structure)}, [{parts}])")


@dataclass(eq=False)
class Method:
    """A bound method."""

    function: Recipe
    owner: Recipe

    def write(self, script: Script) -> None:
        script.bind(self, f"{script.constant(types.MethodType)}({script.of(self.function)}, {script.of(self.owner)})")
