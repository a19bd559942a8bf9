"""What the native entry expects of a call, and gives back: the record that it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.python_reads import is_native_read
from irdl.ir.types import TensorType
from irdl.tracing.capture.reads import Read


@dataclass(frozen=True)
class Argument:
    """What a leaf of a call has to be."""

    value_type: TensorType
    kind: str
    python_type: type
    writeable: bool = True
    #: of an array that is not contiguous, which is copied
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Same:
    """In the place of a leaf: what a static argument has to be, an equal int or float, or else the very object, and an array
    still read-only."""

    item: Any


#: in the place of a result's tree: `finish` makes it, from the arguments as they are and the outputs
FROM_ARGUMENTS = "from arguments"


@dataclass(frozen=True)
class CallShape:
    """One signature. Trees hold the places of their leaves; `positional` is a tuple and `keywords` a dict of trees."""

    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    arguments: Sequence[Argument]
    #: hidden inputs, which follow the arguments: where each is read, and what it has to be
    captured: Sequence[tuple[Read, Argument]]
    #: what has to be the same object as when the function was traced
    guards: Sequence[tuple[Read, Any]]
    #: types of the results, and what each comes as; a Python number is made by `finish`
    outputs: Sequence[tuple[TensorType, str]]
    #: inputs that are stored into: their new contents follow the results
    stored: Sequence[int]
    result: Any
    #: outputs that are donated arguments, computed in place: output -> argument
    donations: Mapping[int, int]
    #: (place, first place) of arguments that have to be one array
    aliases: Sequence[tuple[int, int]] = ()
    #: the last inputs, the same at every call
    prepared: Sequence[np.ndarray] = ()

    @property
    def reads_natively(self) -> bool:
        """Whether captured state is found and verified here; else `prepare` does it in Python."""
        return all(is_native_read(read) for read, _ in (*self.captured, *self.guards))

    @property
    def inputs(self) -> list[Argument]:
        """The arguments, and what is captured."""
        return [*self.arguments, *(argument for _, argument in self.captured)]


def is_native(shape: CallShape) -> bool:
    """Whether the function below can be made for this signature."""
    trees = (shape.positional, *shape.keywords.values())
    if (shape.donations or shape.stored) and not shape.reads_natively:
        return False  # what is captured has to be known before anything is written
    return np.little_endian and all(_is_known(tree) for tree in trees)


def _is_known(tree: Any) -> bool:
    """As `is_plain`, named tuples and objects that are trees too."""
    if is_named_tuple(tree) or type(tree) is list or type(tree) is tuple:
        return all(_is_known(item) for item in tree)
    if type(tree) is dict:
        return all(type(key) is str and _is_known(item) for key, item in tree.items())
    if is_object(tree):
        return all(_is_known(item) for item in vars(tree).values())
    return tree is None or type(tree) in (int, Same)


def is_object(tree: Any) -> bool:
    """An object that is a tree, all of it in its dict."""
    return (is_dataclass(tree) or hasattr(type(tree), "tree_flatten")) and type(tree) is not Same and hasattr(tree, "__dict__")


def is_named_tuple(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields") and type(tree).__iter__ is tuple.__iter__


def is_plain(tree: Any) -> bool:
    if type(tree) in (list, tuple):
        return all(is_plain(item) for item in tree)
    if type(tree) is dict:
        return all(type(key) is str and is_plain(item) for key, item in tree.items())
    return tree is None or type(tree) in (int, Same)
