"""`ufunc.reduce` and `ufunc.accumulate` of ufuncs that no op reduces by: step after step along the axis, a loop that is rolled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import is_box, literal, to_value, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.reductions import normalise_axes
from irdl.tracing.numpy.shaping import broadcast_to, expand_dims, moveaxis, reshape
from irdl.tracing.numpy.table import as_box
from irdl.tracing.numpy.ufuncs import loop_dtypes, store_out
from irdl.tracing.operations import apply

#: their loops give the dtype that they take
FOLDED = (
    *("logaddexp", "hypot", "fmax", "fmin", "subtract", "divide"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "logical_xor"),
)
_UNSET = np._NoValue


def folded(
    ufunc: np.ufunc,
    x: Any,
    axis: Any = 0,
    dtype: Any = None,
    _: Any = None,
    keepdims: Any = False,
    initial: Any = _UNSET,
    where: Any = True,
    *,
    out: Any = None,
) -> Any:
    """`ufunc.reduce(x, axis)`."""
    if where is not True and where is not _UNSET:
        raise TraceError(f"np.{ufunc.__name__}.reduce with where= cannot be traced: use np.where{user_line()}")
    box = _in_loop_dtype(ufunc, x, dtype)
    axes = normalise_axes(axis, box.ndim)
    if len(axes) > 1 and ufunc in (np.subtract, np.divide):
        raise ValueError(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified{user_line()}")
    rest = tuple(n for place, n in enumerate(box.shape) if place not in axes)
    count = math.prod(box.shape[place] for place in axes)
    rows = reshape(moveaxis(box, axes, range(len(axes))), (count, *rest))
    if initial is not _UNSET and initial is not None:
        first = np.zeros_like(box, shape=(1, *rest)) + box.dtype.type(initial) if not is_box(initial) else _spread(initial, box.dtype, rest)
        rows = np.concatenate([first, rows])
    elif not count and math.prod(rest):
        rows = _identity(ufunc, box.dtype, (1, *rest))
    result = _sum_of_logarithms(rows) if ufunc is np.logaddexp else _last(ufunc, rows)
    if keepdims and keepdims is not _UNSET:
        result = expand_dims(result, axes)
    return wrap_result(to_value(result)) if out is None else store_out(ufunc.__name__, out, to_value(result))


def accumulated(ufunc: np.ufunc, x: Any, axis: Any = 0, dtype: Any = None, *, out: Any = None) -> Any:
    """`ufunc.accumulate(x, axis)`."""
    box = _in_loop_dtype(ufunc, x, dtype)
    (place,) = normalise_axes(axis, box.ndim)
    results: list[Any] = []
    for row in moveaxis(box, place, 0):
        results.append(ufunc(results[-1], row) if results else row)
    result = moveaxis(np.stack(results), 0, place) if results else box
    return wrap_result(to_value(result)) if out is None else store_out(ufunc.__name__, out, to_value(result))


def _in_loop_dtype(ufunc: np.ufunc, x: Any, dtype: Any) -> Any:
    box = as_box(x)
    if ufunc is np.logical_xor:
        return box.astype(bool)
    return box.astype(loop_dtypes(ufunc, (box, box), dtype)[-1])


def _spread(number: Any, dtype: np.dtype, shape: tuple[int, ...]) -> Any:
    return broadcast_to(as_box(number).astype(dtype), (1, *shape))


def _identity(ufunc: np.ufunc, dtype: np.dtype, shape: tuple[int, ...]) -> Any:
    if ufunc.identity is None:
        raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity{user_line()}")
    return literal(np.full(shape, ufunc.identity, dtype))


def _last(ufunc: np.ufunc, rows: Any) -> Any:
    result = rows[0] if len(rows) else np.zeros_like(rows, shape=rows.shape[1:])
    for row in rows[1:]:
        result = ufunc(result, row)
    return result


def _sum_of_logarithms(rows: Any) -> Any:
    """log(sum(exp(rows))) along the first axis: of -inf alone it is -inf, and no gradient passes."""
    top = np.max(rows, axis=0, initial=-np.inf)
    top = wrap_result(apply("stop_gradient", [to_value(np.where(np.isfinite(top), top, 0))]))
    total = np.sum(np.exp(rows - top), axis=0)
    nothing = total == 0
    return np.where(nothing, -np.inf, np.log(np.where(nothing, 1, total)) + top).astype(rows.dtype)
