"""NumPy's functions that join, split and repeat arrays."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ops.joining import CONCAT, PAD, ConcatAttributes, PadAttributes
from irdl.ops.shape import RESHAPE, ReshapeAttributes
from irdl.tracing.box import is_box, literal, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import reductions
from irdl.tracing.numpy.choosing import take
from irdl.tracing.numpy.products import common_dtype
from irdl.tracing.numpy.shaping import broadcast_to, expand_dims, moveaxis, reshape
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufuncs import store_out
from irdl.tracing.operations import apply
from irdl.tracing.rows import runs_of_rows
from irdl.tracing.sources import check_source


@traced(np.concatenate)
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = list(arrays)
    dtype = np.dtype(dtype) if dtype is not None else common_dtype(*arrays)
    if axis is not None and arrays and np.ndim(arrays[0]):
        arrays = [part if rows is None else _side_by_side(rows, axis) for part, rows in runs_of_rows(arrays)]
    values = [to_value(a, dtype) for a in arrays]
    if axis is None:
        values = [apply(RESHAPE, [v], ReshapeAttributes((v.type.size,))) for v in values]
        axis = 0
    if not values[0].shape:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    (place,) = reductions.normalise_axes(axis, len(values[0].shape))
    shapes = {(*v.shape[:place], *v.shape[place + 1 :]) for v in values}
    if len(shapes) > 1 or len({len(v.shape) for v in values}) > 1:
        raise ValueError(f"arrays of shapes {[v.shape for v in values]} cannot be joined along axis {axis}{user_line()}")
    result = apply(CONCAT, values, ConcatAttributes(place))
    return wrap(result) if out is None else store_out("concatenate", out, result)


def _side_by_side(rows: Any, axis: int) -> Any:
    """The rows of an array joined along an axis of theirs."""
    (place,) = reductions.normalise_axes(axis, rows.ndim - 1)
    moved = moveaxis(rows, 0, place)
    shape = moved.shape
    return reshape(moved, (*shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :]))


@traced(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = list(arrays)
    shapes = {np.shape(a) for a in arrays}
    if len(shapes) != 1:
        raise ValueError("all input arrays must have the same shape" if arrays else "need at least one array to stack")
    parts = [expand_dims(part, axis) if rows is None else moveaxis(rows, 0, axis) for part, rows in runs_of_rows(arrays)]
    return concatenate(parts, axis, out, dtype=dtype)


@traced(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([TABLE[np.atleast_2d](a) for a in tup], 0, dtype=dtype)


@traced(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = [TABLE[np.atleast_1d](a) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype)


@traced(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([TABLE[np.atleast_3d](a) for a in tup], 2)


@traced(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([reshape(a, (-1, 1)) if np.ndim(a) < 2 else a for a in tup], 1)


def joined_by(maker: Any, key: Any) -> Any:
    """`np.r_[key]` or `np.c_[key]`, where arrays of the trace are among the parts.

    Raises:
        TraceError: a text among them says how to join.
    """
    name = "r_" if maker is np.r_ else "c_"
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, str) for part in parts):
        raise TraceError(f"np.{name} with a text cannot be traced: use np.concatenate{user_line()}")
    parts = tuple(literal(np.r_[part]) if isinstance(part, slice) else part for part in parts)
    dtype = common_dtype(*parts)
    if name == "c_":
        return concatenate([_as_columns(part) for part in parts], -1, dtype=dtype)
    return concatenate([TABLE[np.atleast_1d](as_box(part)) for part in parts], 0, dtype=dtype)


def _as_columns(x: Any) -> Any:
    box = as_box(x)
    return box if box.ndim > 1 else reshape(box, (-1, 1))


@traced(np.array_split)
def array_split(x: Any, parts: Any, axis: int = 0) -> list[Any]:
    box = as_box(x)
    extent = box.shape[axis]
    if isinstance(parts, (int, np.integer)):
        size, extra = divmod(extent, int(parts))
        ends = list(itertools.accumulate([size + 1] * extra + [size] * (int(parts) - extra)))[:-1]
    else:
        ends = [int(end) for end in parts]
    edges = [0, *ends, extent]
    lead = (slice(None),) * (axis % box.ndim)
    return [box[(*lead, slice(a, b))] for a, b in itertools.pairwise(edges)]


@traced(np.split)
def split(x: Any, parts: Any, axis: int = 0) -> list[Any]:
    if isinstance(parts, (int, np.integer)) and np.shape(x)[axis] % parts:
        raise ValueError("array split does not result in an equal division")
    return array_split(x, parts, axis)


TABLE[np.hsplit] = lambda x, parts: split(x, parts, 1 if np.ndim(x) > 1 else 0)
TABLE[np.vsplit] = lambda x, parts: split(x, parts, 0)


@traced(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    return tuple(moveaxis(x, axis, 0))


def _listed(items: Any) -> list[Any]:
    """One number, or a sequence of them."""
    is_sequence = isinstance(items, (list, tuple)) or (hasattr(items, "ndim") and items.ndim > 0)
    return [items[place] for place in range(len(items))] if is_sequence else [items]


@traced(np.tile)
def tile(x: Any, reps: Any) -> Any:
    box = as_box(x)
    reps = tuple(map(operator.index, _listed(reps)))
    rank = max(len(reps), box.ndim)
    reps = (1,) * (rank - len(reps)) + reps
    shape = (1,) * (rank - box.ndim) + box.shape
    spread = reshape(box, tuple(n for pair in shape for n in (1, pair)))
    whole = broadcast_to(spread, tuple(n for pair in zip(reps, shape, strict=True) for n in pair))
    return wrap(apply(RESHAPE, [whole.value], ReshapeAttributes(tuple(r * n for r, n in zip(reps, shape, strict=True)))))


@traced(np.repeat)
def repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
    box = as_box(x)
    if is_box(repeats):
        if repeats.known is None:
            raise TraceError(f"np.repeat with traced counts has no static shape{user_line()}")
        repeats = repeats.known.tolist()
    if axis is None or (box.ndim == 0 and axis in (0, -1)):  # NumPy takes a number for a row of one
        box, axis = reshape(box, -1), 0
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    check_source(repeats)
    if np.ndim(repeats) == 0 and np.can_cast(np.asarray(repeats).dtype, np.int64, "same_kind") and repeats >= 0:
        shape = box.shape
        spread = broadcast_to(expand_dims(box, axis + 1), (*shape[: axis + 1], int(repeats), *shape[axis + 1 :]))
        whole = (*shape[:axis], shape[axis] * int(repeats), *shape[axis + 1 :])
        return wrap(apply(RESHAPE, [spread.value], ReshapeAttributes(whole)))
    places = np.repeat(np.arange(box.shape[axis]), repeats)
    return take(box, literal(places), axis)


@traced(np.roll)
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    box = as_box(x)
    if axis is None:
        return reshape(roll(reshape(box, -1), shift, 0), box.shape)
    shifts, axes = _listed(shift), _listed(axis)
    for one, other in np.broadcast(np.arange(len(shifts)), np.arange(len(axes))):
        amount, place = shifts[one], np.lib.array_utils.normalize_axis_index(int(axes[other]), box.ndim)
        extent = box.shape[place]
        if is_box(amount) and amount.known is None:
            if not np.can_cast(amount.dtype, np.int64, "same_kind"):
                raise TypeError(f"np.roll takes integers as its shift, not {amount.dtype}{user_line()}")
            places = literal(np.arange(extent)) - amount.astype(np.int64)
            box = take(box, places % extent, place) if extent else box
        elif extent:
            cut = -int(amount) % extent
            lead = (slice(None),) * place
            box = concatenate([box[(*lead, slice(cut, None))], box[(*lead, slice(None, cut))]], place)
    return wrap(box.value)


#: What these fill in is elements of the array, whichever those are.
_OF_ELEMENTS = ("edge", "reflect", "symmetric", "wrap")


@traced(np.pad)
def pad(x: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    box = as_box(x)
    if mode not in ("constant", "empty", *_OF_ELEMENTS):
        raise TraceError(f"np.pad with mode={mode!r} cannot be traced: join slices with np.concatenate{user_line()}")
    if options.keys() - {"constant_values" if mode == "constant" else "reflect_type"} or (mode in ("edge", "wrap", "empty") and options):
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {set(options)}{user_line()}")
    if options.get("reflect_type", "even") != "even":
        raise TraceError(f"np.pad with reflect_type={options['reflect_type']!r} cannot be traced: join slices{user_line()}")
    if isinstance(pad_width, dict):
        places = {place % box.ndim: width for place, width in pad_width.items()}
        pad_width = [(w, w) if isinstance(w := places.get(place, 0), int) else w for place in range(box.ndim)]
    if not np.can_cast(np.asarray(pad_width).dtype, np.int64, "same_kind"):
        raise TypeError(f"`pad_width` must be of integral type{user_line()}")
    if np.min(pad_width, initial=0) < 0:
        raise ValueError(f"index can't contain negative values{user_line()}")
    widths = np.broadcast_to(np.asarray(pad_width, np.int64), (box.ndim, 2))
    if mode in _OF_ELEMENTS:
        for axis, (low, high) in enumerate(widths):
            if low or high:
                sources = np.pad(np.arange(box.shape[axis]), (low, high), mode)
                ends = [take(box, literal(part), axis) for part in (sources[:low], sources[len(sources) - high :])]
                box = concatenate([ends[0], box, ends[1]], axis)
        return wrap(box.value)
    fill = options.get("constant_values", 0)
    value = box.value
    if not np.ndim(fill):
        return wrap(_padded(value, widths, to_value(fill, value.dtype)))
    fills = broadcast_to(as_box(fill), (box.ndim, 2))
    for axis, side in itertools.product(range(box.ndim), range(2)):
        one = np.zeros_like(widths)
        one[axis, side] = widths[axis, side]
        value = _padded(value, one, to_value(fills[axis, side], value.dtype))
    return wrap(value)


def _padded(value: Value, widths: np.ndarray, fill: Value) -> Value:
    return apply(PAD, [value, fill], PadAttributes(tuple(int(a) for a in widths[:, 0]), tuple(int(b) for b in widths[:, 1])))
