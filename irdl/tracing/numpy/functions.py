"""NumPy's other functions on boxes: making arrays, questions about them, and the names of reductions and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import family, is_float
from irdl.ir.types import TensorType
from irdl.ops import reduce as ops
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import (
    BROADCAST,
    BroadcastAttributes,
)
from irdl.tracing.box import PYTHON, apply, is_box, to_value, wrap, wrap_result
from irdl.tracing.numpy import products, reductions
from irdl.tracing.numpy.layout import copied
from irdl.tracing.numpy.products import common_dtype
from irdl.tracing.numpy.shaping import broadcast_arrays, ravel, reshape
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufuncs import as_bool, store, store_out
from irdl.tracing.recorder import user_line

# Making arrays.


def _filled(x: Any, fill: Any, dtype: Any, shape: Any) -> Any:
    dtype = np.dtype(dtype) if dtype is not None else x.dtype
    shape = x.shape if shape is None else tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    TensorType(dtype, shape)
    value = to_value(fill, dtype)
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
    box = as_box(a)
    return copied(box, box.value, order) if box.ndim else wrap(box.value)


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


_INTEGERS = np.arange(2)
#: Older versions of NumPy give integers back themselves.
_ROUNDS_IN_PLACE = np.round(_INTEGERS) is _INTEGERS


@traced(np.round, np.around)
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    box = as_box(a)
    if box.dtype == np.bool_:
        raise TraceError(f"np.round of bools gives float16, which is not supported: cast first{user_line()}")
    if not is_float(box.dtype):
        if decimals < 0:
            raise TraceError(f"np.round of integers to tens cannot be traced: divide and multiply{user_line()}")
        if out is not None:
            return store_out("round", out, box.value)
        return box if _ROUNDS_IN_PLACE else copied(box, box.value, "K")
    if decimals == 0:
        result = np.rint(box)
    elif decimals > 0:
        result = np.rint(box * 10.0**decimals) / 10.0**decimals
    else:
        result = np.rint(box / 10.0**-decimals) * 10.0**-decimals
    return wrap_result(result.value) if out is None else store_out("round", out, result.value)


@traced(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, **options: Any) -> Any:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if options:
        raise TraceError(f"np.diff with {', '.join(options)} cannot be traced{user_line()}")
    box = as_box(a)
    lead = (slice(None),) * np.lib.array_utils.normalize_axis_index(axis, box.ndim)
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
    if not sparse:
        results = list(broadcast_arrays(*results))
    return tuple(wrap(box.value) if copy else box for box in results)


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
    a, b = (x if is_float(x.dtype) else x.astype(np.float64) for x in (as_box(a), as_box(b)))
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
    a, weights = as_box(a), as_box(weights)
    dtype = np.result_type(a.dtype, weights.dtype, *(["f8"] if family(a.dtype) in "iub" else []))
    return np.divide(np.sum(np.multiply(a, weights, dtype=dtype), axis), np.sum(weights, axis, dtype=dtype))


TABLE[np.dot] = lambda a, b, out=None: _product(products.dot(a, b), out)
TABLE[np.inner] = lambda a, b, /: wrap_result(products.inner(a, b))
TABLE[np.outer] = lambda a, b, out=None: _product(products.outer(a, b), out)
TABLE[np.vdot] = lambda a, b, /: wrap_result(products.dot(ravel(a), ravel(b)))
TABLE[np.tensordot] = lambda a, b, axes=2: wrap(products.tensordot(a, b, axes))  # an array even without axes
TABLE[np.einsum] = lambda *operands, out=None, optimize=False, **options: (
    products.einsum(*operands, optimize=optimize, **options)
    if out is None
    else store_out("einsum", out, to_value(products.einsum(*operands, optimize=optimize, **options)))
)
TABLE[np.linalg.matmul] = lambda a, b, /: wrap_result(products.matmul(a, b))


def _product(value: Any, out: Any) -> Any:
    return wrap_result(value) if out is None else store_out("product", out, value)
