"""NumPy's functions that change an array's shape or the order of its axes; views where NumPy gives views."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ops.shape import (
    RESHAPE,
    BroadcastAttributes,
    ReshapeAttributes,
    ReverseAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from irdl.tracing.box import ARRAY, SCALAR, is_box, literal, wrap
from irdl.tracing.layout import reshape_is_view, shadow_array
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import reductions
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.operations import apply
from irdl.tracing.views import BroadcastStep, ReshapeStep, ReverseStep, SliceStep, TransposeStep, check_reshape


def array_view(box: Any) -> Any:
    """A box of kind array (NumPy's functions treat scalars as zero-dimensional arrays)."""
    return box if box.kind == ARRAY else wrap(box.value)


def is_scalar(x: Any) -> bool:
    """One of NumPy's numbers, which stays one where axes are moved that it has not."""
    return is_box(x) and x.kind == SCALAR


@traced(np.reshape)
def reshape(x: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    if order != "C":
        raise TraceError(f"np.reshape with order={order!r} cannot be traced: transpose first{user_line()}")
    box = array_view(as_box(x))
    shape = check_reshape(box.size, shape)
    if not shape and is_scalar(x):
        return x
    attributes = ReshapeAttributes(shape)
    shadow = reshape_is_view(box.shadow, shape)
    if shadow is None or copy:
        return wrap(apply(RESHAPE, [box.value], attributes))
    return box.through([ReshapeStep(attributes)], shadow)


@traced(np.ravel)
def ravel(x: Any, order: str = "C") -> Any:
    box = array_view(as_box(x))
    if order not in ("C", "K") or (order == "K" and not box.shadow.flags.c_contiguous):
        raise TraceError(f"np.ravel with order={order!r} cannot be traced: transpose first{user_line()}")
    flat = ReshapeAttributes((box.size,))
    if not box.shadow.flags.c_contiguous:
        return wrap(apply(RESHAPE, [box.value], flat))
    return box.through([ReshapeStep(flat)], np.reshape(box.shadow, -1))


@traced(np.transpose, np.permute_dims)
def transpose(x: Any, axes: Any = None) -> Any:
    box = array_view(as_box(x))
    if axes is None:
        permutation = tuple(reversed(range(box.ndim)))
    else:
        permutation = tuple(axis.__index__() for axis in axes)
        if len(permutation) != box.ndim:
            raise ValueError("axes don't match array")
        permutation = tuple(np.lib.array_utils.normalize_axis_index(axis, box.ndim) for axis in permutation)
        if len(set(permutation)) != len(permutation):
            raise ValueError("repeated axis in transpose")
    if is_scalar(x):
        return x
    return box.through([TransposeStep(TransposeAttributes(permutation))], box.shadow.transpose(permutation))


@traced(np.swapaxes)
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    order = list(range(np.ndim(x)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


@traced(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    rank = np.ndim(a)
    axis = np.lib.array_utils.normalize_axis_index(axis, rank)
    if not -rank <= start <= rank:
        raise np.exceptions.AxisError(f"'start' arg requires {-rank} <= start < {rank + 1}, but {start} was passed in")
    start = start + rank if start < 0 else start
    return moveaxis(a, axis, start - 1 if axis < start else start)


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
    if as_box(x).kind == SCALAR:
        return x
    box = array_view(as_box(x))
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
    box = array_view(as_box(x))
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
    return tuple(as_box(a) if np.shape(a) == shape else broadcast_to(a, shape) for a in arrays)


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
            results.append(reshape(box, shape) if shape != box.shape else array_view(box))
        return results[0] if len(results) == 1 else tuple(results)

    return rule


for _rank, _function in enumerate((np.atleast_1d, np.atleast_2d, np.atleast_3d), 1):
    TABLE[_function] = _at_least_rank(_rank)


@traced(np.flip)
def flip(x: Any, axis: Any = None) -> Any:
    box = array_view(as_box(x))
    axes = reductions.normalise_axes(axis, box.ndim)
    if not box.ndim:
        return wrap(box.value, SCALAR)
    key = tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(box.ndim))
    return box.through([ReverseStep(ReverseAttributes(axes))], box.shadow[key])


TABLE[np.fliplr] = lambda m: flip(m, 1)
TABLE[np.flipud] = lambda m: flip(m, 0)


@traced(np.diagonal)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    view = diagonal_view(as_box(x), offset, axis1, axis2)
    view.read_only = "it is a diagonal"
    return view


def diagonal_view(box: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal as a view: of rows and columns laid end to end, every (columns + 1)th element."""
    offset = operator.index(offset)
    strided = np.diagonal(box.shadow, offset, axis1, axis2)
    shadow = shadow_array(strided.shape, box.dtype, strided.strides)  # NumPy's is read-only
    moved = moveaxis(box, (axis1, axis2), (-2, -1))
    *lead, rows, columns = moved.shape
    start = -offset * columns if offset < 0 else offset
    count = shadow.shape[-1]
    stop = start + (count - 1) * (columns + 1) + 1 if count else start
    flat = ReshapeAttributes((*lead, rows * columns))
    start, stop = (start, stop) if count else (0, 0)
    part = SliceAttributes((0,) * len(lead) + (start,), (*lead, stop), (1,) * len(lead) + (columns + 1,))
    return moved.through([ReshapeStep(flat), SliceStep(part)], shadow)


@traced(np.trace)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    return np.sum(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


@traced(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    box = as_box(v)
    if box.ndim == 2:
        return diagonal(box, k)
    k = operator.index(k)
    n = box.shape[0] + abs(k)
    result = np.zeros_like(box, shape=(n, n))
    place = literal(np.arange(box.shape[0]))
    result[place + max(0, -k), place + max(0, k)] = box
    return result
