"""How captured state is found again at each call: every step reads anew, so that rebinding is seen.

The classes here are the reads that the native entry can follow itself (see `irdl.codegen.cpu.llvm.python_call`).
"""

from __future__ import annotations

import random
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Read = Callable[[], Any]
Write = Callable[[Any], None]


@dataclass(frozen=True, eq=False)
class Always:
    """An object that is reached without looking anything up."""

    item: Any

    def __call__(self) -> Any:
        return self.item


@dataclass(frozen=True, eq=False)
class DictItem:
    """`names[key]` of a dict that itself stays: a global."""

    names: dict[str, Any]
    key: str

    def __call__(self) -> Any:
        return self.names[self.key]


@dataclass(frozen=True, eq=False)
class CellContents:
    """What a closure holds."""

    cell: types.CellType

    def __call__(self) -> Any:
        return self.cell.cell_contents


@dataclass(frozen=True, eq=False)
class HasItem:
    """Whether a dict has the key: a name that is not among the globals is a builtin's."""

    names: dict[str, Any]
    key: str

    def __call__(self) -> bool:
        return self.key in self.names


@dataclass(frozen=True, eq=False)
class AreSame:
    """Whether two ways lead to one object."""

    first: Read
    second: Read

    def __call__(self) -> bool:
        return self.first() is self.second()


@dataclass(frozen=True, eq=False)
class Item:
    """`owner[key]` of a list, tuple or dict."""

    owner: Read
    key: Any

    def __call__(self) -> Any:
        return self.owner()[self.key]


@dataclass(frozen=True, eq=False)
class Attribute:
    """What an object (or a class) has in its own dict."""

    owner: Read
    name: str

    def __call__(self) -> Any:
        return vars(self.owner())[self.name]


@dataclass(frozen=True, eq=False)
class DefaultFactory:
    """What makes a defaultdict's items."""

    owner: Read

    def __call__(self) -> Any:
        return self.owner().default_factory


@dataclass(frozen=True, eq=False)
class Defaults:
    """The values that parameters have where none are given."""

    function: types.FunctionType

    def __call__(self) -> Any:
        return self.function.__defaults__


@dataclass(frozen=True, eq=False)
class KeywordDefaults:
    """The dict of those of keyword-only parameters."""

    function: types.FunctionType

    def __call__(self) -> Any:
        return self.function.__kwdefaults__


@dataclass(frozen=True, eq=False)
class Outline:
    """A container's type and keys (or length)."""

    owner: Read

    def __call__(self) -> tuple[Any, ...]:
        return outline(self.owner())


def outline(container: Any) -> tuple[Any, ...]:
    return (type(container), tuple(container) if isinstance(container, dict) else len(container))


class Attributes:
    """Whether an object is of its type, and has the attributes that were read and none of those that were looked for in vain.

    Attributes:
        present, absent: those; filled as the trace goes on.
        names: all its attributes, in order, where the trace has asked for them.
    """

    def __init__(self, owner: Read, cls: type) -> None:
        self.owner = owner
        self.cls = cls
        self.present: dict[str, None] = {}
        self.absent: set[str] = set()
        self.names: tuple[str, ...] | None = None

    def __call__(self) -> bool:
        item = self.owner()
        if type(item) is not self.cls:
            return False
        names = vars(item)
        if self.names is not None and self.names != tuple(names):
            return False
        return all(name in names for name in self.present) and not any(name in names for name in self.absent)


@dataclass(frozen=True, eq=False)
class ArrayLayout:
    """What of an array's layout a trace depends on."""

    read: Read

    def __call__(self) -> tuple[Any, ...]:
        return layout_of(self.read())


def layout_of(array: Any) -> tuple[Any, ...]:
    if type(array) is not np.ndarray:
        return (type(array),)
    return (array.dtype.str, array.shape, array.flags.writeable, None if array.flags.c_contiguous else array.strides)


class ClassMembers:
    """Whether a class still holds what it held: functions and attributes found through it were taken as they were."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.members = dict(vars(cls))

    def __call__(self) -> bool:
        now = vars(self.cls)
        return len(now) == len(self.members) and all(now.get(key, self) is item for key, item in self.members.items())


def generator_state(generator: Any) -> Any:
    """The state of a random generator, comparable."""
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return repr(generator.get_state(legacy=False))
    return generator.getstate()


def random_state() -> tuple[Any, ...]:
    """That of NumPy's and Python's global generators."""
    numpy_state: Any = np.random.get_state(legacy=True)
    return (numpy_state[1].tobytes(), numpy_state[2:], random.getstate())
