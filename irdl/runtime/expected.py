"""What the native entry expects of a call, from a traced function and the call that it was traced for."""

from __future__ import annotations

import types
from collections.abc import Collection, Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.call_shape import FROM_ARGUMENTS, Argument, CallShape, Same, is_native
from irdl.ir.types import TensorType
from irdl.runtime.call import Call
from irdl.runtime.entry import layouts_hold
from irdl.runtime.executable import match_donations
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON_NUMBERS
from irdl.tracing.capture.reads import ArrayLayout, Read
from irdl.tracing.function import TracedFunction
from irdl.tracing.users import is_hashable


def donated_inputs(traced: TracedFunction, call: Call, kept: Sequence[Any]) -> tuple[int, ...]:
    """The donated arguments that results may be computed in: what is stored into holds its new contents when the call ends, and what
    is a result itself, or a view's base, is `kept`."""
    lasting = {id(item) for item in kept}
    return tuple(place for place in call.donated if place not in traced.stored and id(call.leaves[place]) not in lasting)


def _array_argument(array: np.ndarray, type_: TensorType) -> Argument | None:
    """What the native entry expects in an array's place; None of one that has to be made ready in Python."""
    if not (array.flags.aligned and array.dtype.isnative):
        return None
    return Argument(type_, ARRAY, np.ndarray, array.flags.writeable, None if array.flags.c_contiguous else array.strides)


def call_shape(traced: TracedFunction, call: Call, donated: Collection[int]) -> CallShape | None:
    """What the native entry expects of a call; None where only the way through Python will do. `donated`: see `donated_inputs`."""
    if not layouts_hold():
        return None
    arguments: list[Argument] = []
    captured: list[tuple[Read, Argument]] = []
    for leaf, value in zip(call.leaves, traced.graph.inputs, strict=False):
        if type(leaf) is np.ndarray:
            argument = _array_argument(leaf, value.type)
            if argument is None:
                return None
            arguments.append(argument)
        elif type(leaf) in PYTHON_NUMBERS or isinstance(leaf, np.generic):
            arguments.append(Argument(value.type, tree.leaf_kind(leaf) or ARRAY, type(leaf)))
        else:
            return None
    for item in traced.captured:
        array = item.read()
        argument = None
        if type(array) is np.ndarray:
            argument = _array_argument(array, item.value.type)
        elif item.kind != ARRAY:
            argument = Argument(item.value.type, item.kind, type(array))
        if argument is None:
            return None
        captured.append((item.read, argument))
    inputs = [*arguments, *(argument for _, argument in captured)]
    # The native entry verifies the layout of captured arrays itself.
    reads = {id(item.read) for item in traced.captured}
    guards = [(read, item) for read, item in traced.guards if not (isinstance(read, ArrayLayout) and id(read.read) in reads)]
    positional, keywords = tree.unflatten(call.structure, range(len(call.leaves)))
    static = dict(call.static)
    try:
        positional = tuple(
            _same(static[place]) if place in static else _expected(part, call.arguments[0][place]) for place, part in enumerate(positional)
        )
        keywords = {
            name: _same(static[name]) if name in static else _expected(keywords[name], call.arguments[1][name]) for name in call.names
        }
    except _NotNative:
        return None
    donations = match_donations(traced.graph, donated, range(len(traced.kinds), len(traced.graph.outputs)))
    written = [inputs[place] for place in (*donations.values(), *traced.stored)]
    if any(a.kind != ARRAY or not a.writeable or a.strides is not None for a in written):
        return None
    if written and any(argument.strides is not None for argument in inputs):
        return None  # it would see the copies, and not whether what is written overlaps what they are of
    if any(traced.kinds[out] != ARRAY for out in donations):
        return None
    kinds = [*traced.kinds, *(ARRAY for _ in traced.stored)]
    outputs = [(value.type, kind) for value, kind in zip(traced.graph.outputs, kinds, strict=False)]  # those that are not hidden
    result = FROM_ARGUMENTS if traced.result is not None else tree.unflatten(traced.structure, range(len(traced.kinds)))
    aliases = tree.aliases(call.leaves)
    shape = CallShape(positional, keywords, arguments, captured, guards, outputs, traced.stored, result, donations, aliases)
    return shape if is_native(shape) else None


_IMMUTABLE = (bool, int, float, complex, str, bytes, np.dtype, type, np.ufunc, types.FunctionType, types.BuiltinFunctionType)


class _NotNative(Exception):
    """Something that only Python can compare."""


def _expected(places: Any, given: Any) -> Any:
    """A tree of places as the native entry checks it, like what is given: what is static in an object is as a static argument."""
    if type(places) is dict:
        return {key: _expected(part, given[key]) for key, part in places.items()}
    if type(places) in (list, tuple):
        return type(places)(_expected(part, own) for part, own in zip(places, given, strict=True))
    if is_dataclass(places):
        made = object.__new__(type(places))
        for name, part in vars(places).items():
            vars(made)[name] = Same(part) if isinstance(part, tree.STATIC) else _expected(part, getattr(given, name))
        return made
    if not hasattr(type(places), "tree_flatten"):
        return places
    children, *_ = given.tree_flatten()
    leaves = set(map(id, children))
    made = object.__new__(type(places))
    for name, part in vars(places).items():
        own = vars(given)[name]
        vars(made)[name] = _expected(part, own) if id(own) in leaves else _fixed(own)
    return made


def _fixed(item: Any) -> Any:
    """What the native entry checks of something static in an object: that it is what it was, and holds what it held.

    Raises:
        _NotNative: it may change in ways that are not seen.
    """
    if type(item) in (list, tuple):
        return type(item)(_fixed(part) for part in item)
    if type(item) is dict and all(type(key) is str for key in item):
        return {key: _fixed(part) for key, part in item.items()}
    if item is None:
        return None
    if isinstance(item, _IMMUTABLE):
        return Same(item)
    raise _NotNative


def _same(item: Any) -> Any:
    """What the native entry checks of a static argument: the very object, or containers that hold the same where they may
    change. It does not know tuples of other types."""
    if isinstance(item, tuple) and not is_hashable(item):
        return tuple(_same(part) for part in item) if type(item) is tuple else item
    if type(item) is list:
        return [_same(part) for part in item]
    if type(item) is dict:
        return {key: _same(part) for key, part in item.items()}
    return Same(item)
