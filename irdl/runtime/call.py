"""A call taken apart: which of its arguments are traced, static and donated, and the signature that a compiled version is
chosen by."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.runtime.device_array import DeviceArray, adopt
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, SCALAR

#: What a native entry returns when a call is not of its signature.
MISS = object()


@dataclass(frozen=True)
class Options:
    """How to compile; see `jit`."""

    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    donate_argnums: tuple[int, ...] = ()
    donate_argnames: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    backend: str = "cpu"
    precision: str | None = None


@dataclass
class Call:
    """A call taken apart: its traced leaves, their structure, the static arguments and the donated leaves."""

    leaves: list[Any]
    structure: Any
    static: tuple[tuple[Any, Any], ...]
    donated: tuple[int, ...]
    #: the keys of its dicts in their order, which the structure leaves open and a function may depend on
    orders: tuple[Any, ...]
    #: the names of its keyword arguments, static ones among them, in order
    names: tuple[str, ...]
    #: the arguments as they were passed, by place and by name
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    #: the leaves that other libraries have on the GPU
    foreign: frozenset[int] = frozenset()

    def signature(self) -> tuple[Any, ...]:
        """What a compiled version is chosen by."""
        static = tuple((place, _exact(item)) for place, item in self.static)
        return ((self.structure, self.orders, tree.aliases(self.leaves)), static, tuple(_leaf_signature(leaf) for leaf in self.leaves))


class _Identity:
    """An array as part of a signature: equal to itself alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.array is other.array

    def __hash__(self) -> int:
        return id(self.array)

    def __repr__(self) -> str:
        return f"the {self.array.dtype} array at {id(self.array):#x}"


def _exact(item: Any) -> tuple[Any, ...]:
    """A static argument so that only the same compare equal: 1, 1.0 and True differ, and so do zeros of different signs.

    Raises:
        TraceError: an array that can be written to, or is of a subclass.
    """
    if isinstance(item, tuple) or type(item) is list:
        return (type(item), tuple(_exact(part) for part in item))
    if type(item) is dict:
        return (dict, tuple((_exact(key), _exact(part)) for key, part in item.items()))
    if isinstance(item, np.ndarray):
        _check_read_only(item)
        return (np.ndarray, _Identity(item))
    return (type(item), repr(item) if isinstance(item, (float, complex, np.inexact)) else item)


def _check_read_only(array: np.ndarray) -> None:
    what = f"a static argument holds an array ({array.dtype}{list(array.shape)})"
    if type(array) is not np.ndarray:
        raise TraceError(f"{what} that is a {type(array).__name__}: pass np.asarray of it, read-only")
    if array.flags.writeable:
        raise TraceError(
            f"{what} that can be written to, but its contents are read once, when the function is compiled: make it read-only "
            "(array.flags.writeable = False), or do not make it static"
        )
    base = array.base
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            raise TraceError(
                f"{what} that is a view of one that can be written to, but its contents are read once, when the function is "
                "compiled: make that one read-only too, or pass a read-only copy"
            )
        base = base.base


def _leaf_signature(leaf: Any) -> tuple[Any, ...]:
    if isinstance(leaf, np.ndarray):
        layout = None if leaf.flags.c_contiguous else leaf.strides
        subclass = None if type(leaf) is np.ndarray else type(leaf)
        return (ARRAY, leaf.dtype, leaf.shape, layout, leaf.flags.writeable, subclass)
    if isinstance(leaf, np.generic):
        return (SCALAR, leaf.dtype)
    if isinstance(leaf, DeviceArray):
        return (ARRAY, leaf.dtype, leaf.shape, DeviceArray)
    return (PYTHON, type(leaf))


@dataclass(frozen=True)
class Roles:
    """Which arguments of a function are static and which donated: positions and names of the same parameters."""

    static: frozenset[int | str]
    donated: frozenset[int | str]

    def bound(self) -> Roles:
        """Those of the bound method, whose first argument is given."""

        def shifted(keys: frozenset[int | str]) -> frozenset[int | str]:
            return frozenset(key - 1 if isinstance(key, int) else key for key in keys if key != 0)

        return Roles(shifted(self.static), shifted(self.donated))


def roles_of(function: Callable[..., Any], how: Options) -> Roles:
    """Resolve positions and names through the function's signature, so that it does not matter how a call passes them.

    Raises:
        ValueError: a position or a name that the function does not have.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Roles(frozenset({*how.static_argnums, *how.static_argnames}), frozenset({*how.donate_argnums, *how.donate_argnames}))
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}

    def resolve(places: Sequence[int], chosen: Sequence[str], what: str) -> frozenset[int | str]:
        found: set[int | str] = set()
        for place in places:
            if not (-len(positional) <= place < len(positional) or (open_ended and place >= 0)):
                raise ValueError(f"{what}_argnums names argument {place}, but the function has {len(positional)} positional ones")
            place = place % len(positional) if place < 0 else place
            found.add(place)
            if place < len(positional):
                found.add(positional[place])
        for name in chosen:
            if name not in names and not any_name:
                raise ValueError(f"{what}_argnames names {name!r}, which is no parameter of the function")
            found.add(name)
            if name in positional:
                found.add(positional.index(name))
        return frozenset(found)

    return Roles(resolve(how.static_argnums, how.static_argnames, "static"), resolve(how.donate_argnums, how.donate_argnames, "donate"))


def _leaf_name(function: Callable[..., Any] | None, arguments: Sequence[Any], options: Mapping[str, Any], place: int) -> str:
    """What the caller calls a leaf: the parameter's name and the path in it."""
    parts: list[tuple[str, Any]] = [(f"argument {number}", item) for number, item in enumerate(arguments)]
    if function is not None:
        try:
            parameters = list(inspect.signature(function).parameters.values())
            names = [p.name if p.kind is not p.VAR_POSITIONAL else "" for p in parameters]
            parts = [(name or old[0], old[1]) for name, old in zip([*names, *[""] * len(parts)], parts, strict=False)]
        except (TypeError, ValueError):
            pass
    for name, item in [*parts, *sorted(options.items())]:
        paths = tree.paths(item)
        if place < len(paths):
            return name + paths[place]
        place -= len(paths)
    return "?"


def _what_to_do(leaf: Any) -> str:
    what = f"is a {type(leaf).__name__}, not an array or a number: "
    cls = type(leaf)  # an object may answer to any name
    if hasattr(cls, "numpy") or hasattr(cls, "to_numpy"):
        return f"{what}pass x.{'numpy' if hasattr(cls, 'numpy') else 'to_numpy'}()"
    if hasattr(cls, "__array__"):
        return f"{what}pass np.asarray(x)"
    if isinstance(leaf, tree.STATIC):
        return f"{what}list the argument in static_argnums, close over it, or let it be a field of a dataclass"
    if callable(leaf):
        return f"{what}list the argument in static_argnums, or close over it"
    return what + tree.INSTEAD


def take_apart(
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    roles: Roles,
    function: Callable[..., Any] | None = None,
    backend: str = "cpu",
    flat: tuple[list[Any], Any] | None = None,
) -> Call:
    """Split a call into traced leaves and static arguments. For the backend "cuda", what other libraries have on the GPU is a leaf too.

    Args:
        flat: leaves and structure of arguments of which none is static, if they are known.

    Raises:
        TraceError: an argument is neither array-like nor static, or cannot be shared with its library, or a static one cannot be hashed
            or holds a writeable array.
    """
    static: list[tuple[Any, Any]] = []
    traced_arguments, traced_options = list(arguments), dict(options)
    if roles.static:
        for place in range(len(arguments)):
            if place in roles.static:
                static.append((place, arguments[place]))
                traced_arguments[place] = None
        static += [(name, traced_options.pop(name)) for name in options if name in roles.static]
    traced = (tuple(traced_arguments), traced_options)
    leaves, structure = tree.flatten(traced) if flat is None else flat
    adopted: dict[int, DeviceArray] = {}
    foreign = set()
    for place, leaf in enumerate(leaves):
        if tree.leaf_kind(leaf) is not None or isinstance(leaf, DeviceArray):
            continue
        shared, wrong, cause = adopted.get(id(leaf)), "", None
        if shared is None and backend == "cuda":
            try:
                shared = adopt(leaf)
            except TypeError as error:
                wrong, cause = str(error), error.__cause__
        if shared is None:
            name = _leaf_name(function, traced_arguments, traced_options, place)
            raise TraceError(f"argument `{name}` {wrong or _what_to_do(leaf)}") from cause
        adopted[id(leaf)] = leaves[place] = shared
        foreign.add(place)
    donated: list[int] = []
    if roles.donated:
        # Leaves come in the order of the arguments, then of the sorted names.
        parts = [*enumerate(traced_arguments), *sorted(traced_options.items())]
        count = 0
        for key, part in parts:
            size = len(tree.flatten(part)[0])
            if key in roles.donated:
                donated += range(count, count + size)
            count += size
    try:
        hash(tuple(_exact(item) for _, item in static))
    except TypeError as error:
        raise TraceError(f"a static argument must be hashable: {error}") from None
    orders = tree.key_orders(traced) if tree.has_orders(structure) else ()
    return Call(
        leaves, structure, tuple(static), tuple(donated), orders, tuple(options), (tuple(arguments), dict(options)), frozenset(foreign)
    )


def explain(old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    """In what two signatures differ."""
    if old[0] != new[0]:
        return f"the structure was {old[0]} and is {new[0]}"
    if old[1] != new[1]:
        return f"static arguments were {old[1]} and are {new[1]}"
    if old[3:] != new[3:]:
        return f"the number of threads was {old[3]} and is {new[3]}"
    for place, (a, b) in enumerate(zip(old[2], new[2], strict=True)):
        if a != b:
            return f"leaf {place} was {_show(a)} and is {_show(b)}"
    return "nothing"


def _show(signature: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in signature if part is not None)
