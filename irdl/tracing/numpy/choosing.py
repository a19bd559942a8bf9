"""NumPy's functions that pick elements: where, select, clip, take and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, finfo, is_complex, is_float
from irdl.ops.elementwise import SELECT
from irdl.tracing.box import is_box, literal, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.complexes import join_parts
from irdl.tracing.numpy.layout import INSTEAD
from irdl.tracing.numpy.products import common_dtype
from irdl.tracing.numpy.shaping import reshape
from irdl.tracing.numpy.table import as_box, settled, traced
from irdl.tracing.numpy.ufunc_rules import as_bool, scalar_like
from irdl.tracing.numpy.ufuncs import loop_dtypes, store, store_out
from irdl.tracing.operations import apply


@traced(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None and y is None and (known := settled(as_box(condition))) is not None:
        return tuple(literal(place) for place in np.nonzero(known))
    if x is None or y is None:
        raise TraceError(f"np.where(mask) has as many results as the mask has True: use the form with three arguments{user_line()}")
    dtype = common_dtype(x, y)
    value = apply(SELECT, [as_bool(to_value(condition)), to_value(x, dtype), to_value(y, dtype)])
    return wrap_result(value, (condition, x, y)) if value.shape else wrap(value)


INSTEAD[np.nonzero] = "it has as many results as there are numbers other than 0, which is not known while tracing; use np.where(mask, x, y)"


@traced(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    dtype = common_dtype(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = wrap(apply(SELECT, [as_bool(to_value(condition)), to_value(choice, dtype), to_value(result, dtype)]))
    return result


@traced(np.clip)
def clip(x: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **options: Any) -> Any:
    if options.get("where", True) is not True or not options.keys() <= {"where", "dtype", "casting", "order", "subok"}:
        raise TraceError(f"np.clip with {', '.join(options)} cannot be traced: use np.where{user_line()}")
    dtype = options.get("dtype")
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    result = as_box(x)
    if dtype is None and low is not None and high is not None:
        found = [loop_dtypes(np.maximum, (result, bound))[-1] for bound in (low, high)]
        dtype = np.result_type(np.float32, *found) if BFLOAT16 in found else None  # of two bounds there is no loop for it
    if low is not None:
        result = np.maximum(result, low, dtype=dtype)
    if high is not None:
        result = np.minimum(result, high, dtype=dtype)
    if result is x:
        result = x.copy()
    return result if out is None else store_out("clip", out, to_value(result))


@traced(np.take)
def take(x: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    box = as_box(x)
    if axis is None:
        box, axis = reshape(box, -1), 0
    if not is_box(indices) and not isinstance(indices, np.ndarray):
        indices = literal(np.asarray(indices)) if np.ndim(indices) else indices
    if getattr(indices, "dtype", None) == np.bool_:
        indices = indices.astype(np.int64)
    if not -box.ndim <= axis < box.ndim:
        raise np.exceptions.AxisError(axis, box.ndim)
    if mode == "clip":
        indices = np.clip(indices, 0, box.shape[axis] - 1)
    elif mode == "wrap":
        indices = np.remainder(indices, box.shape[axis])
    lead = (slice(None),) * (axis % box.ndim)
    result = box[(*lead, indices)]
    if result.ndim and (np.ndim(indices) or not is_box(indices)):
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
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    shape = np.shape(indices)
    key: list[Any] = []
    for place in range(box.ndim):
        if place == axis:
            key.append(indices)
        else:
            key.append(literal(np.arange(box.shape[place]).reshape([-1 if i == place else 1 for i in range(len(shape))])))
    return tuple(key)


def _lower_triangle(box: Any, k: int) -> Any:
    rows, columns = box.shape[-2:] if box.ndim > 1 else box.shape * 2  # a vector is repeated along a square
    return literal(np.tri(rows, columns, k=k, dtype=bool))


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
    if is_complex(box.dtype):
        result = join_parts(*(nan_to_num(part, True, nan, posinf, neginf) for part in (box.real, box.imag)))
        if copy or not is_box(x):
            return result
        store(box, result.value)
        return box
    if not is_float(box.dtype):
        return (box.copy() if box.ndim else wrap_result(box.value)) if copy else box
    is_nan = np.isnan(box)
    info = finfo(box.dtype)
    result = where(box == np.inf, box.dtype.type(info.max if posinf is None else posinf), box)
    result = where(box == -np.inf, box.dtype.type(info.min if neginf is None else neginf), result)
    result = wrap_result(where(is_nan, box.dtype.type(nan), result).value)
    if copy or not is_box(x):
        return result
    store(box, result.value)
    return box
