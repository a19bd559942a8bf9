"""NumPy's functions that pick and store elements by masks, places and cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_integer
from irdl.tracing.box import is_box, literal, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.choosing import take
from irdl.tracing.numpy.layout import all_known
from irdl.tracing.numpy.products import common_dtype
from irdl.tracing.numpy.rearranging import resize
from irdl.tracing.numpy.shaping import broadcast_to, ravel, reshape
from irdl.tracing.numpy.table import TABLE, as_box, settled, traced
from irdl.tracing.numpy.ufuncs import store, store_out


@traced(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    mask = _known_mask(condition, "compress")
    if mask.ndim != 1:
        raise ValueError(f"condition must be a 1-d array{user_line()}")
    return take(a, literal(np.flatnonzero(mask)), axis, out)


@traced(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return take(ravel(as_box(arr)), literal(np.flatnonzero(_known_mask(condition, "extract"))))


def _known_mask(condition: Any, name: str) -> np.ndarray:
    box = as_box(condition)
    known = settled(box)
    if known is None:
        raise TraceError(f"np.{name} gives as many elements as the condition has True: use np.where{user_line()}")
    return known.astype(bool)


@traced(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    places = as_box(a)
    if not is_integer(places.dtype) and places.dtype != np.bool_:
        raise TypeError(f"Cannot cast array data from {places.dtype!r} to {np.dtype(np.intp)!r} according to the rule 'safe'{user_line()}")
    choices = list(choices)
    dtype = common_dtype(*choices)
    boxes = [as_box(choice) for choice in choices]
    count = len(boxes)
    places = places.astype(np.int64)
    if mode == "wrap":
        places = np.remainder(places, count)
    elif mode == "clip":
        places = np.clip(places, 0, count - 1)
    else:
        places = np.where(places < 0, count, places)  # an error as those beyond the last are
    shape = np.broadcast_shapes(places.shape, *(box.shape for box in boxes))
    stacked = np.stack([broadcast_to(box.astype(dtype), shape) for box in boxes])
    grid = [literal(np.arange(n).reshape([-1 if i == axis else 1 for i in range(len(shape))])) for axis, n in enumerate(shape)]
    result = stacked[(broadcast_to(places, shape), *grid)] if shape else stacked[places]
    return result if out is None else store_out("choose", out, to_value(result))


@traced(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **options: Any) -> Any:
    box = as_box(x)
    functions = list(funclist)
    if np.isscalar(condlist) or (is_box(condlist) and condlist.ndim == 1 and box.ndim) or _is_one(condlist, box.ndim):
        condlist = [condlist]
    masks = [as_box(condition).astype(bool) for condition in condlist]
    if len(functions) == len(masks) + 1:
        held = masks[0]
        for mask in masks[1:]:
            held = held | mask
        masks.append(~held)
    elif len(functions) != len(masks):
        raise ValueError(f"with {len(masks)} condition(s), either {len(masks)} or {len(masks) + 1} functions are expected{user_line()}")
    if not box.ndim:
        return _piece(box, masks, functions, args, options)
    result = np.zeros_like(box)
    for mask, function in zip(masks, functions, strict=True):
        whole = wrap(broadcast_to(reshape(mask, mask.shape + (1,) * (box.ndim - mask.ndim)), box.shape).value)
        result[whole] = function(box[whole], *args, **options) if callable(function) else function
    return result


def _is_one(condlist: Any, rank: int) -> bool:
    first = condlist[0] if isinstance(condlist, (list, tuple)) else None
    return first is not None and not isinstance(first, (list, np.ndarray)) and rank != 0


def _piece(x: Any, masks: Sequence[Any], functions: Sequence[Any], args: Any, options: Any) -> Any:
    """Of one number."""
    result = np.zeros_like(x)
    for mask, function in zip(masks, functions, strict=True):
        value = function(x, *args, **options) if callable(function) else function
        result = np.where(mask, as_box(value).astype(x.dtype), result)
    return wrap(result.value)


# Stores.


def _target(a: Any, name: str) -> Any:
    if not is_box(a):
        raise TraceError(f"np.{name} would store traced values into a real array: make it with np.zeros_like(x, shape=...){user_line()}")
    return a


@traced(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    target = _target(a, "putmask")
    if np.size(mask) != target.size:
        raise ValueError(f"putmask: mask and data must be the same size{user_line()}")
    fresh = as_box(values)
    if not np.can_cast(fresh.dtype, target.dtype, "safe") and fresh.kind == "array":
        raise TypeError(f"Cannot cast array data from {fresh.dtype!r} to {target.dtype!r} according to the rule 'safe'{user_line()}")
    if not fresh.size:
        return
    fresh = fresh if fresh.size == 1 else resize(fresh, target.shape)
    fresh = reshape(fresh, ()) if fresh.size == 1 else fresh
    whole = np.where(reshape(as_box(mask), target.shape), fresh.astype(target.dtype), target)
    store(target, whole.value)


@traced(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    if np.size(vals) != 1:
        raise TraceError(f"np.place deals numbers out one by one, which cannot be traced: use np.where, or one number{user_line()}")
    target = _target(arr, "place")
    if np.size(mask) != target.size:
        raise ValueError(f"place: mask and data must be the same size{user_line()}")
    fresh = reshape(as_box(vals), ()).astype(target.dtype)
    store(target, np.where(reshape(as_box(mask), target.shape), fresh, target).value)


@traced(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    target = _target(a, "put")
    flat = reshape(target, (-1,))
    if flat.cell is not target.cell:
        raise TraceError(f"np.put into an array that does not lie in one piece cannot be traced: index it with its places{user_line()}")
    places = reshape(as_box(ind), (-1,))
    fresh = as_box(v)
    if not places.size or not fresh.size:
        return
    if mode == "wrap":
        places = np.remainder(places, target.size)
    elif mode == "clip":
        places = np.clip(places, 0, target.size - 1)
    flat[places] = resize(fresh, places.size).astype(target.dtype)


@traced(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    target = _target(a, "fill_diagonal")
    if target.ndim < 2:
        raise ValueError(f"array must be at least 2-d{user_line()}")
    if target.ndim > 2 and len(set(target.shape)) > 1:
        raise ValueError(f"All dimensions of input must be of equal length{user_line()}")
    width = target.shape[1]
    step = width + 1 if target.ndim == 2 else 1 + int(np.cumprod(target.shape[:-1]).sum())
    stop = target.size if wrap or target.ndim > 2 else min(width * width, target.size)
    places = np.unravel_index(np.arange(0, stop, step), target.shape)
    if places[0].size:
        target[tuple(literal(part) for part in places)] = resize(as_box(val), places[0].size)


# Places as one number and as several.


def _checked(place: Any, extent: int) -> Any:
    """A place along an axis, an error at run time where there is none such."""
    return literal(np.arange(extent))[np.where((place < 0) | (place >= extent), extent, place)]


@traced(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> Any:
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    if order not in ("C", "F"):
        raise ValueError(f"only 'C' or 'F' order is permitted{user_line()}")
    extents = shape if order == "C" else shape[::-1]
    rest = _integers(indices)
    if extents:  # a place is one of the array where its first part is one of the first axis
        first = rest // int(np.prod(extents[1:], dtype=np.int64))
        rest = rest + (_checked(first, extents[0]) - first)
    parts = []
    for extent in reversed(extents):
        parts.append(rest % extent)
        rest = rest // extent
    return tuple(reversed(parts) if order == "C" else parts)


@traced(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    extents = (int(dims),) if np.ndim(dims) == 0 else tuple(int(n) for n in dims)
    modes = (mode,) * len(extents) if isinstance(mode, str) else tuple(mode)
    if len(multi_index) != len(extents):
        raise ValueError(f"parameter multi_index must be a sequence of length {len(extents)}{user_line()}")
    fitted = [_fitted(_integers(x), n, how) for x, n, how in zip(multi_index, extents, modes, strict=True)]
    result: Any = 0
    for part, extent in list(zip(fitted, extents, strict=True))[:: 1 if order == "C" else -1]:
        result = result * extent + part
    return result


def _fitted(place: Any, extent: int, mode: str) -> Any:
    if mode == "raise":
        return _checked(place, extent)
    return np.remainder(place, extent) if mode == "wrap" else np.clip(place, 0, extent - 1)


def _integers(x: Any) -> Any:
    box = as_box(x)
    if not is_integer(box.dtype):
        raise TypeError(f"only int indices permitted{user_line()}")
    return box.astype(np.int64)


def _places_from(function: Callable[..., Any]) -> Callable[..., Any]:
    """They follow from the shape alone."""
    return lambda arr, k=0: all_known(function(np.broadcast_to(np.int8(0), np.shape(arr)), k))


TABLE[np.tril_indices_from] = _places_from(np.tril_indices_from)
TABLE[np.triu_indices_from] = _places_from(np.triu_indices_from)
TABLE[np.diag_indices_from] = lambda arr: all_known(np.diag_indices_from(np.broadcast_to(np.int8(0), np.shape(arr))))
