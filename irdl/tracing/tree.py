"""Pytrees: nested dicts, lists, tuples, dataclasses, and objects that say how they are flattened, of arrays, through optree. Texts,
enumerations and dtypes among a dataclass's fields belong to its form: code is compiled for each.

A class whose objects are trees has `tree_flatten()`, which gives the parts and what else there is, and the class method
`tree_unflatten(rest, parts)`; `tree_trainable()` says which of the parts have gradients, if not all.
"""

from __future__ import annotations

import atexit
import dataclasses
import enum
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import optree

from irdl.errors import TraceError
from irdl.forks import hold_while_forking
from irdl.ir.dtypes import is_supported
from irdl.ir.types import TensorType
from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, SCALAR, is_box
from irdl.tracing.unset import Unset

NAMESPACE = "irdl"
#: what to do with an argument that is neither a tree nor a number
INSTEAD = "list it in static_argnums, close over it, or register its class with irdl.tree.register_class"
#: fields of a dataclass that are no parts of it as a tree, but of its form
STATIC = (str, bytes, enum.Enum, np.dtype)
#: what a subclass of arrays may define anew without computing otherwise
_HARMLESS = (
    {"__new__", "__doc__", "__class_getitem__", "__repr__", "__str__", "__format__", "__sizeof__", "__hash__"}
    | {"__array_finalize__", "__array_wrap__", "__array_priority__"}
    | {"__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__setstate__", "dump", "dumps", "tofile", "tobytes"}
)
_DICTS = (optree.PyTreeKind.DICT, optree.PyTreeKind.ORDEREDDICT, optree.PyTreeKind.DEFAULTDICT)
#: classes that were met
_seen: set[type] = set()
#: those of which somebody has said how their objects are trees; not so of subclasses
registered_by_hand: set[type] = set()
#: held while optree's code runs, while the process forks, and from the interpreter's end on
_lock = threading.RLock()
_PATIENCE = 1.0


def _acquire() -> Any:
    """Keep other threads out of optree; the lock, to be released.

    optree gives the interpreter's lock away for moments. A thread that wants it back when the interpreter has ended is ended by
    Python on the spot, within C++ that may not be left so: the process aborts. And in a child forked in such a moment, optree's
    own locks stay taken. Who waits for long goes on all the same: the thread inside may be waiting for this very one.
    """
    global _lock
    lock = _lock
    while not lock.acquire(timeout=_PATIENCE):
        lock = _lock = threading.RLock()
    return lock


def _alone(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    lock = _acquire()
    try:
        return function(*arguments, **options)
    finally:
        lock.release()


atexit.register(_acquire)
hold_while_forking(_acquire, lambda lock: lock.release())


def _register_dataclass(cls: type) -> None:
    names = tuple(field.name for field in dataclasses.fields(cls))

    def flatten(instance: Any) -> tuple[list[Any], Any, tuple[str, ...]]:
        items = [(name, getattr(instance, name)) for name in names]
        fixed = tuple((name, item) for name, item in items if isinstance(item, STATIC))
        parts = [(name, item) for name, item in items if not isinstance(item, STATIC)] if fixed else items
        return [item for _, item in parts], fixed, tuple(name for name, _ in parts)

    def unflatten(fixed: Any, children: Any) -> Any:
        instance: Any = object.__new__(cls)
        known, parts = dict(fixed), iter(children)
        for name in names:
            object.__setattr__(instance, name, known[name] if name in known else next(parts))
        return instance

    _alone(optree.register_pytree_node, cls, flatten, unflatten, namespace=NAMESPACE)


def _meet(node: Any) -> bool:
    """A leaf test that registers classes of trees when it meets them."""
    cls = type(node)
    if cls not in _seen:
        _seen.add(cls)
        if cls in registered_by_hand:
            return False
        if dataclasses.is_dataclass(cls):
            _register_dataclass(cls)
        elif hasattr(cls, "tree_flatten") and hasattr(cls, "tree_unflatten"):
            _alone(
                optree.register_pytree_node,
                cls,
                lambda instance: (
                    (*instance.tree_flatten(), instance.tree_names()) if hasattr(cls, "tree_names") else instance.tree_flatten()
                ),
                cls.tree_unflatten,
                namespace=NAMESPACE,
            )
    return False


@cache
def _has_parts(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or hasattr(cls, "tree_flatten")


def is_object(item: Any) -> bool:
    """An object that is a tree, of its attributes."""
    cls: Any = type(item)
    return _has_parts(cls) and hasattr(item, "__dict__") and cls not in registered_by_hand


def trainable(tree: Any) -> list[bool]:
    """Of the leaves: whether they have gradients."""
    found: list[bool] = []
    for part in _alone(
        optree.tree_leaves, tree, is_leaf=lambda node: _meet(node) or hasattr(type(node), "tree_trainable"), namespace=NAMESPACE
    ):
        if not hasattr(type(part), "tree_trainable"):
            found.append(True)
            continue
        children, *_ = part.tree_flatten()
        for child, mark in zip(children, part.tree_trainable(), strict=True):
            found += trainable(child) if mark else [False] * len(flatten(child)[0])
    return found


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves and the structure of a tree."""
    leaves, structure = _alone(optree.tree_flatten, tree, namespace=NAMESPACE)
    if not _seen.issuperset(map(type, leaves)):
        leaves, structure = _alone(optree.tree_flatten, tree, is_leaf=_meet, namespace=NAMESPACE)
    return leaves, structure


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    return _alone(optree.tree_unflatten, structure, leaves)


def paths(tree: Any) -> list[str]:
    """A readable name for each leaf: `['w'][0]`."""
    found, _, _ = _alone(optree.tree_flatten_with_path, tree, is_leaf=_meet, namespace=NAMESPACE)
    return ["".join(f"[{part!r}]" for part in path) for path in found]


@lru_cache(maxsize=256)
def has_orders(structure: Any) -> bool:
    """Whether there may be dicts of more than one item in trees of that structure."""
    if structure.kind is optree.PyTreeKind.CUSTOM:
        return True
    if structure.kind in _DICTS and structure.num_children > 1:
        return True
    return any(map(has_orders, structure.children()))


def key_orders(tree: Any) -> tuple[Any, ...]:
    """The keys of every dict of more than one item, in their order."""
    found: list[tuple[Any, ...]] = []

    def visit(item: Any) -> None:
        if isinstance(item, dict):
            if len(item) > 1:
                found.append(tuple(item))
            for part in item.values():
                visit(part)
        elif isinstance(item, (list, tuple)):
            for part in item:
                visit(part)
        elif is_object(item) and not isinstance(item, type):
            visit(list(vars(item).values()))

    visit(tree)
    return tuple(found)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


#: an array in fewer leaves is no pattern
_MANY = 4


def aliases(leaves: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    """(place, first place) of leaves that are one array, as the weights in the cache of every step."""
    places: dict[int, list[int]] = {}
    for place, leaf in enumerate(leaves):
        if type(leaf) is np.ndarray:
            places.setdefault(id(leaf), []).append(place)
    return tuple((place, found[0]) for found in places.values() if len(found) >= _MANY for place in found[1:])


def leaf_kind(leaf: Any) -> str | None:
    """How NumPy sees a leaf: array, scalar or Python scalar; None for anything that is not numeric."""
    if is_box(leaf):
        return leaf.kind
    if isinstance(leaf, np.ndarray):
        return ARRAY
    if isinstance(leaf, np.generic):
        return SCALAR
    if isinstance(leaf, PYTHON_NUMBERS):
        return PYTHON
    return None


def has_own_arithmetic(cls: type) -> bool:
    """Whether a subclass of arrays defines anew what arrays do, as units and masks do, which code made for plain arrays would pass over.
    Those that look like arrays, carry something with them, or lie in a file do not."""
    bases = itertools.takewhile(lambda base: base not in (np.ndarray, np.memmap, np.recarray), cls.__mro__)
    return any(name in vars(np.ndarray) and name not in _HARMLESS for base in bases for name in vars(base))


def leaf_type(leaf: Any, what: str) -> TensorType:
    """The type of an array-like leaf.

    Raises:
        TraceError: it is no array or number, or of a dtype irdl does not know; the message names it.
    """
    if is_box(leaf):
        return leaf.type
    if isinstance(leaf, Unset):
        leaf.refuse()
    if leaf_kind(leaf) is None:
        raise TraceError(f"{what} is a {type(leaf).__name__}, not an array or a number: {INSTEAD}")
    if type(leaf) is not np.ndarray and isinstance(leaf, np.ndarray) and has_own_arithmetic(type(leaf)):
        raise TraceError(f"{what} is a {type(leaf).__name__}, whose arithmetic is its own: pass np.asarray of it")
    array = np.asarray(leaf)
    if isinstance(leaf, int) and not isinstance(leaf, np.generic) and not -(2**63) <= leaf < 2**63:
        raise TraceError(f"{what} is a Python int that no int64 holds: pass it as np.uint64 or a float")
    if not is_supported(array.dtype):
        raise TraceError(f"{what} has dtype {array.dtype}, which is not supported: convert it with .astype")
    return TensorType(array.dtype.newbyteorder("="), array.shape)
