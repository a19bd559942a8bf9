"""NumPy's functions on boxes (`__array_function__`): a table from NumPy's function to its traced form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.types import TensorType
from irdl.ops import reduce as ops
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import (
    BROADCAST,
    CONCAT,
    PAD,
    RESHAPE,
    BroadcastAttributes,
    ConcatAttributes,
    PadAttributes,
    ReshapeAttributes,
    ReverseAttributes,
    TransposeAttributes,
)
from irdl.trace import products, reductions
from irdl.trace.box import ARRAY, PYTHON, apply, is_box, to_value, wrap, wrap_result
from irdl.trace.products import common_dtype
from irdl.trace.recorder import user_line
from irdl.trace.ufuncs import as_bool, scalar_like, store, store_out
from irdl.trace.views import BroadcastStep, ReshapeStep, ReverseStep, TransposeStep, check_reshape, reshape_is_view

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}


def traced(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def record(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            TABLE[function] = rule
        return rule

    return record


def array_function(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """`Box.__array_function__`: an unknown function is an error, never a silent fallback."""
    rule = TABLE.get(function)
    if rule is None:
        name = f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}".replace("numpy", "np", 1)
        raise TraceError(f"{name} has no rule in irdl: write it with functions that have one{user_line()}")
    return rule(*arguments, **options)


def as_box(x: Any) -> Any:
    return x if is_box(x) else wrap(to_value(x))


def _array_view(box: Any) -> Any:
    """A box of kind array (NumPy's functions treat scalars as zero-dimensional arrays)."""
    return box if box.kind == ARRAY else wrap(box.value)


# Shape.


@traced(np.reshape)
def reshape(x: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    if order != "C":
        raise TraceError(f"np.reshape with order={order!r} cannot be traced: transpose first{user_line()}")
    box = _array_view(as_box(x))
    shape = check_reshape(box.size, shape)
    attributes = ReshapeAttributes(shape)
    shadow = reshape_is_view(box.shadow, shape)
    if shadow is None or copy:
        return wrap(apply(RESHAPE, [box.value], attributes))
    return box.through([ReshapeStep(attributes)], shadow)


@traced(np.ravel)
def ravel(x: Any, order: str = "C") -> Any:
    return reshape(x, -1, order)


@traced(np.transpose, np.permute_dims)
def transpose(x: Any, axes: Any = None) -> Any:
    box = _array_view(as_box(x))
    if axes is None:
        permutation = tuple(reversed(range(box.ndim)))
    else:
        permutation = tuple(axis.__index__() for axis in axes)
        if len(permutation) != box.ndim:
            raise ValueError("axes don't match array")
        permutation = tuple(np.lib.array_utils.normalize_axis_index(axis, box.ndim) for axis in permutation)
        if len(set(permutation)) != len(permutation):
            raise ValueError("repeated axis in transpose")
    return box.through([TransposeStep(TransposeAttributes(permutation))], box.shadow.transpose(permutation))


@traced(np.swapaxes)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    order = list(range(np.ndim(x)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


@traced(np.moveaxis)
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    rank = np.ndim(x)
    sources: list[Any] = [source] if np.isscalar(source) else list(source)
    places: list[Any] = [destination] if np.isscalar(destination) else list(destination)
    first = [np.lib.array_utils.normalize_axis_index(axis, rank) for axis in sources]
    second = [np.lib.array_utils.normalize_axis_index(axis, rank) for axis in places]
    order = [axis for axis in range(rank) if axis not in first]
    for place, axis in sorted(zip(second, first, strict=True)):
        order.insert(place, axis)
    return transpose(x, order)


@traced(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    return swapaxes(x, -1, -2)


@traced(np.squeeze)
def squeeze(x: Any, axis: Any = None) -> Any:
    box = _array_view(as_box(x))
    axes = [i for i, n in enumerate(box.shape) if n == 1] if axis is None else reductions.normalise_axes(axis, box.ndim)
    if any(box.shape[i] != 1 for i in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return reshape(box, tuple(n for i, n in enumerate(box.shape) if i not in axes))


@traced(np.expand_dims)
def expand_dims(x: Any, axis: Any) -> Any:
    box = as_box(x)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = box.ndim + len(axes)
    places = reductions.normalise_axes(tuple(axes), rank)
    rest = iter(box.shape)
    return reshape(box, tuple(1 if i in places else next(rest) for i in range(rank)))


@traced(np.broadcast_to)
def broadcast_to(x: Any, shape: Any, subok: bool = False) -> Any:
    box = _array_view(as_box(x))
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    shape = tuple(int(n) for n in shape)
    try:
        shadow = np.broadcast_to(box.shadow, shape)
    except ValueError:
        raise ValueError(f"cannot broadcast an array of shape {box.shape} to {shape}{user_line()}") from None
    view = box.through([BroadcastStep(BroadcastAttributes(shape))], shadow)
    view.read_only = "it is a broadcast view"
    return view


@traced(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    return tuple(broadcast_to(a, shape) for a in arrays)


def _at_least_rank(rank: int) -> Callable[..., Any]:
    def rule(*arrays: Any) -> Any:
        results = []
        for x in arrays:
            box = as_box(x)
            shape = box.shape
            if len(shape) < rank:
                pad = rank - len(shape)
                shape = (
                    (1, *shape, 1)
                    if rank == 3 and len(shape) == 1
                    else (*shape, 1)
                    if rank == 3 and len(shape) == 2
                    else (*([1] * pad), *shape)
                )
            results.append(reshape(box, shape) if shape != box.shape else _array_view(box))
        return results[0] if len(results) == 1 else tuple(results)

    return rule


for _rank, _function in enumerate((np.atleast_1d, np.atleast_2d, np.atleast_3d), 1):
    TABLE[_function] = _at_least_rank(_rank)


@traced(np.flip)
def flip(x: Any, axis: Any = None) -> Any:
    box = _array_view(as_box(x))
    axes = reductions.normalise_axes(axis, box.ndim)
    key = tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(box.ndim))
    return box.through([ReverseStep(ReverseAttributes(axes))], box.shadow[key])


TABLE[np.fliplr] = lambda m: flip(m, 1)
TABLE[np.flipud] = lambda m: flip(m, 0)


@traced(np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    box = as_box(x)
    axis1, axis2 = axis1 % box.ndim, axis2 % box.ndim
    n, m = box.shape[axis1], box.shape[axis2]
    rows = np.arange(max(0, -offset), max(max(0, -offset), min(n, m - offset)))
    moved = moveaxis(box, (axis1, axis2), (0, 1))
    result = moveaxis(moved[rows, rows + offset], 0, -1)
    return wrap(result.value, ARRAY, "it is a diagonal")


@traced(np.trace)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return np.sum(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


@traced(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    box = as_box(v)
    if box.ndim == 2:
        return diagonal(box, k)
    n = box.shape[0] + abs(k)
    result = zeros_like(box, shape=(n, n))
    place = np.arange(box.shape[0])
    result[place + max(0, -k), place + max(0, k)] = box
    return result


# Joining and splitting.


@traced(np.concatenate)
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = list(arrays)
    dtype = np.dtype(dtype) if dtype is not None else common_dtype(*arrays)
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


@traced(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    arrays = list(arrays)
    shapes = {np.shape(a) for a in arrays}
    if len(shapes) != 1:
        raise ValueError("all input arrays must have the same shape" if arrays else "need at least one array to stack")
    return concatenate([expand_dims(a, axis) for a in arrays], axis, out, dtype=dtype)


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


@traced(np.tile)
def tile(x: Any, reps: Any) -> Any:
    box = as_box(x)
    reps = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
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
        raise TraceError(f"np.repeat with traced counts has no static shape{user_line()}")
    if axis is None:
        box, axis = reshape(box, -1), 0
    places = np.repeat(np.arange(box.shape[axis]), repeats)
    return take(box, places, axis)


@traced(np.roll)
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    box = as_box(x)
    if axis is None:
        return reshape(roll(reshape(box, -1), shift, 0), box.shape)
    for amount, place in np.broadcast(shift, axis):
        extent = box.shape[int(place)]
        if extent:
            cut = int(-amount) % extent
            lead = (slice(None),) * (int(place) % box.ndim)
            box = concatenate([box[(*lead, slice(cut, None))], box[(*lead, slice(None, cut))]], int(place))
    return wrap(box.value)


@traced(np.pad)
def pad(x: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    box = as_box(x)
    if mode != "constant" and mode != "edge":
        raise TraceError(f"np.pad with mode={mode!r} cannot be traced: join slices with np.concatenate{user_line()}")
    widths = np.broadcast_to(np.asarray(pad_width, np.int64), (box.ndim, 2))
    if mode == "edge":
        for axis, (low, high) in enumerate(widths):
            box = take(box, np.clip(np.arange(-low, box.shape[axis] + high), 0, box.shape[axis] - 1), axis)
        return box
    fill = options.get("constant_values", 0)
    if not is_box(fill) and np.ndim(fill):
        raise TraceError(f"np.pad with one constant per side cannot be traced{user_line()}")
    attributes = PadAttributes(tuple(int(a) for a in widths[:, 0]), tuple(int(b) for b in widths[:, 1]))
    value = box.value
    return wrap(apply(PAD, [value, to_value(fill, value.dtype)], attributes))


# Choosing.


@traced(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None or y is None:
        raise TraceError(f"np.where(mask) has as many results as the mask has True: use the form with three arguments{user_line()}")
    dtype = common_dtype(x, y)
    value = apply(SELECT, [as_bool(to_value(condition)), to_value(x, dtype), to_value(y, dtype)])
    return wrap_result(value, (condition, x, y)) if value.shape else wrap(value)


@traced(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    dtype = common_dtype(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = wrap(apply(SELECT, [as_bool(to_value(condition)), to_value(choice, dtype), to_value(result, dtype)]))
    return result


@traced(np.clip)
def clip(x: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **options: Any) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    result = as_box(x)
    if low is not None:
        result = np.maximum(result, low)
    if high is not None:
        result = np.minimum(result, high)
    if result is x:
        result = x.copy()
    return result if out is None else store_out("clip", out, to_value(result))


@traced(np.take)
def take(x: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    box = as_box(x)
    if axis is None:
        box, axis = reshape(box, -1), 0
    if not is_box(indices) and np.asarray(indices).dtype == np.bool_:
        indices = np.asarray(indices).astype(np.int64)
    if not -box.ndim <= axis < box.ndim:
        raise np.exceptions.AxisError(axis, box.ndim)
    if mode == "clip":
        indices = np.clip(indices, 0, box.shape[axis] - 1)
    elif mode == "wrap":
        indices = np.remainder(indices, box.shape[axis])
    lead = (slice(None),) * (axis % box.ndim)
    result = box[(*lead, indices if is_box(indices) else np.asarray(indices))]
    if result.ndim and not is_box(indices) and np.ndim(indices) == 0:
        result = wrap(result.value)
    return result if out is None else store_out("take", out, result.value)


@traced(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    box = as_box(arr)
    if axis is None:
        box, axis = reshape(box, -1), 0
    return box[_along_axis(box, indices, axis)]


@traced(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    if not is_box(arr):
        raise TraceError(f"np.put_along_axis would store traced values into a real array{user_line()}")
    arr[_along_axis(arr, indices, axis)] = values


def _along_axis(box: Any, indices: Any, axis: int) -> tuple[Any, ...]:
    axis = axis % box.ndim
    shape = np.shape(indices)
    key: list[Any] = []
    for place in range(box.ndim):
        if place == axis:
            key.append(indices)
        else:
            key.append(np.arange(box.shape[place]).reshape([-1 if i == place else 1 for i in range(len(shape))]))
    return tuple(key)


def _lower_triangle(box: Any, k: int) -> np.ndarray:
    rows, columns = box.shape[-2:]
    return np.tri(rows, columns, k=k, dtype=bool)


@traced(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    box = as_box(m)
    return where(_lower_triangle(box, k), box, scalar_zero(box))


@traced(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    box = as_box(m)
    return where(_lower_triangle(box, k - 1), scalar_zero(box), box)


def scalar_zero(box: Any) -> Any:
    return wrap(scalar_like(box.value, 0))


@traced(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    box = as_box(x)
    if not copy:
        raise TraceError(f"np.nan_to_num with copy=False cannot be traced: assign its result{user_line()}")
    if box.dtype.kind != "f":
        return box.copy()
    is_nan = np.isnan(box)
    info = np.finfo(box.dtype)
    result = where(box == np.inf, box.dtype.type(info.max if posinf is None else posinf), box)
    result = where(box == -np.inf, box.dtype.type(info.min if neginf is None else neginf), result)
    return wrap_result(where(is_nan, box.dtype.type(nan), result).value)


# Making arrays.


def _filled(x: Any, fill: Any, dtype: Any, shape: Any) -> Any:
    dtype = np.dtype(dtype) if dtype is not None else x.dtype
    shape = x.shape if shape is None else tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    TensorType(dtype, shape)
    value = to_value(fill, dtype) if is_box(fill) else to_value(np.asarray(fill, dtype))
    return wrap(apply(BROADCAST, [value], BroadcastAttributes(tuple(int(n) for n in shape))))


@traced(np.zeros_like, np.empty_like)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None) -> Any:
    return _filled(a, 0, dtype, shape)


@traced(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None) -> Any:
    return _filled(a, 1, dtype, shape)


@traced(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return _filled(a, fill_value, dtype, shape)


@traced(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    value = to_value(a)
    return wrap_result(value, (a,) if order == "K" else ()) if value.shape else wrap(value)


@traced(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not is_box(dst):
        raise TraceError(f"np.copyto would store traced values into a real array: make it with np.zeros_like(x, shape=...){user_line()}")
    value = to_value(src, dst.dtype)
    if where is not True:
        value = apply(SELECT, [as_bool(to_value(where)), value, dst.value])
    store(dst, value)


@traced(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x.astype(dtype, copy=copy)


@traced(np.round, np.around)
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    box = as_box(a)
    if box.dtype.kind != "f":
        if decimals < 0:
            raise TraceError(f"np.round of integers to tens cannot be traced: divide and multiply{user_line()}")
        return box if out is None else store_out("round", out, box.value)
    if decimals == 0:
        result = np.rint(box)
    elif decimals > 0:
        result = np.rint(box * 10.0**decimals) / 10.0**decimals
    else:
        result = np.rint(box / 10.0**-decimals) * 10.0**-decimals
    return result if out is None else store_out("round", out, result.value)


@traced(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, **options: Any) -> Any:
    if options:
        raise TraceError(f"np.diff with {', '.join(options)} cannot be traced{user_line()}")
    box = as_box(a)
    lead = (slice(None),) * (axis % box.ndim)
    for _ in range(n):
        later, earlier = box[(*lead, slice(1, None))], box[(*lead, slice(None, -1))]
        box = later != earlier if box.dtype == np.bool_ else later - earlier
    return box


@traced(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    order = [1, 0, *range(2, len(xi))] if indexing == "xy" and len(xi) > 1 else list(range(len(xi)))
    results = []
    for place, x in enumerate(xi):
        shape = [1] * len(xi)
        shape[order[place]] = -1
        results.append(reshape(x, tuple(shape)))
    return tuple(results) if sparse else tuple(wrap(b.value) for b in broadcast_arrays(*results))


# Questions that have an answer while tracing.

TABLE[np.shape] = lambda a: np.shape(a) if not is_box(a) else a.shape
TABLE[np.ndim] = lambda a: np.ndim(a) if not is_box(a) else a.ndim
TABLE[np.size] = lambda a, axis=None: a.size if axis is None else a.shape[axis]
TABLE[np.iscomplexobj] = lambda x: False
TABLE[np.isrealobj] = lambda x: True
TABLE[np.real] = lambda val: val
TABLE[np.result_type] = lambda *items: common_dtype(*[np.empty(0, i) if isinstance(i, (np.dtype, type)) else i for i in items])
TABLE[np.can_cast] = lambda from_, to, casting="safe": np.can_cast(from_.dtype, to, casting)
TABLE[np.shares_memory] = TABLE[np.may_share_memory] = lambda a, b, **_: is_box(a) and is_box(b) and a.cell is b.cell


@traced(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    a, b = (x if x.dtype.kind == "f" else x.astype(np.float64) for x in (as_box(a), as_box(b)))
    result = np.where(np.isfinite(b), np.abs(a - b) <= atol + rtol * np.abs(b), a == b)
    return np.logical_or(result, np.isnan(a) & np.isnan(b)) if equal_nan else result


@traced(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    return wrap(to_value(np.all(isclose(a, b, rtol, atol, equal_nan))), PYTHON)


@traced(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    if np.shape(a1) != np.shape(a2):
        return False
    a1, a2 = as_box(a1), as_box(a2)
    same = a1 == a2
    if equal_nan:
        same = same | (np.isnan(a1) & np.isnan(a2))
    return wrap(to_value(np.all(same)), PYTHON)


# Reductions and products.

_reduction: Any
for _reduction, _op in ((np.sum, ops.SUM), (np.prod, ops.PROD)):
    TABLE[_reduction] = lambda a, axis=None, dtype=None, out=None, keepdims=False, initial=reductions._UNSET, where=True, _op=_op: (
        reductions.reduce(_op, a, axis, dtype, out, keepdims, initial, where)
    )
for _reduction, _op in ((np.max, ops.MAX), (np.min, ops.MIN)):
    TABLE[_reduction] = lambda a, axis=None, out=None, keepdims=False, initial=reductions._UNSET, where=True, _op=_op: reductions.reduce(
        _op, a, axis, None, out, keepdims, initial, where
    )
TABLE[np.amax], TABLE[np.amin] = TABLE[np.max], TABLE[np.min]
for _reduction, _op in ((np.any, ops.ANY), (np.all, ops.ALL)):
    TABLE[_reduction] = lambda a, axis=None, out=None, keepdims=False, *, where=True, _op=_op: reductions.reduce(
        _op, a, axis, None, out, keepdims, reductions._UNSET, where
    )
for _reduction, _op in ((np.argmax, ops.ARGMAX), (np.argmin, ops.ARGMIN)):
    TABLE[_reduction] = lambda a, axis=None, out=None, *, keepdims=False, _op=_op: reductions.arg_reduce(
        _op, a, axis, out, keepdims=keepdims is True
    )
for _reduction, _op in ((np.cumsum, ops.CUMSUM), (np.cumprod, ops.CUMPROD)):
    TABLE[_reduction] = lambda a, axis=None, dtype=None, out=None, _op=_op: reductions.cumulate(_op, a, axis, dtype, out)
TABLE[np.mean] = reductions.mean
TABLE[np.var] = reductions.var
TABLE[np.std] = reductions.std
TABLE[np.count_nonzero] = reductions.count_nonzero
TABLE[np.linalg.norm] = reductions.norm
TABLE[np.ptp] = lambda a, axis=None, out=None, keepdims=False: _product(
    to_value(np.max(a, axis, keepdims=keepdims) - np.min(a, axis, keepdims=keepdims)), out
)


@traced(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    if weights is None and not returned and keepdims is False:
        return np.mean(a, axis)
    if weights is None or np.shape(weights) != np.shape(a) or returned or keepdims is not False:
        raise TraceError(f"np.average with these arguments cannot be traced: divide two sums{user_line()}")
    return np.sum(a * weights, axis) / np.sum(weights, axis)


TABLE[np.dot] = lambda a, b, out=None: _product(products.dot(a, b), out)
TABLE[np.inner] = lambda a, b, /: wrap_result(products.inner(a, b))
TABLE[np.outer] = lambda a, b, out=None: _product(products.outer(a, b), out)
TABLE[np.vdot] = lambda a, b, /: wrap_result(products.dot(ravel(a), ravel(b)))
TABLE[np.tensordot] = lambda a, b, axes=2: wrap_result(products.tensordot(a, b, axes))
TABLE[np.einsum] = lambda *operands, out=None, optimize=False, **options: _product(
    to_value(products.einsum(*operands, optimize=optimize, **options)), out
)
TABLE[np.linalg.matmul] = lambda a, b, /: wrap_result(products.matmul(a, b))


def _product(value: Any, out: Any) -> Any:
    return wrap_result(value) if out is None else store_out("product", out, value)
