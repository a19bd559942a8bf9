"""NumPy's other functions on boxes: making arrays, questions about them, and the names of reductions and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, is_complex, is_float, is_inexact
from irdl.ir.types import TensorType
from irdl.ops import reduce as ops
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import (
    BROADCAST,
    BroadcastAttributes,
)
from irdl.tracing.box import PYTHON, is_box, literal, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import products, reductions
from irdl.tracing.numpy.complexes import join_parts
from irdl.tracing.numpy.layout import copied
from irdl.tracing.numpy.products import common_dtype
from irdl.tracing.numpy.shaping import broadcast_arrays, ravel, reshape
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufunc_rules import as_bool
from irdl.tracing.numpy.ufuncs import rounded, store, store_out
from irdl.tracing.operations import apply

# Making arrays.


def _filled(x: Any, fill: Any, dtype: Any, shape: Any) -> Any:
    dtype = np.dtype(dtype) if dtype is not None else x.dtype
    shape = x.shape if shape is None else tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    TensorType(dtype, shape)
    value = to_value(rounded(fill, dtype), dtype)
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
    value = to_value(rounded(src, dst.dtype), dst.dtype)
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
        box = box.astype(np.float16)
    if is_complex(box.dtype):
        result = join_parts(round_(box.real, decimals), round_(box.imag, decimals))
        return result if out is None else store_out("round", out, result.value)
    if not is_float(box.dtype):
        if decimals < 0:
            raise TraceError(f"np.round of integers to tens cannot be traced: divide and multiply{user_line()}")
        if out is not None:
            return store_out("round", out, box.value)
        return box if _ROUNDS_IN_PLACE else copied(box, box.value, "K")
    if decimals == 0:
        result = np.rint(box)
    else:
        scale: Any = 10.0 ** abs(decimals)
        scale = BFLOAT16.type(scale) if box.dtype == BFLOAT16 else scale  # with Python's floats it becomes float32
        result = np.rint(box * scale) / scale if decimals > 0 else np.rint(box / scale) * scale
    return wrap_result(result.value) if out is None else store_out("round", out, result.value)


@traced(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    return np.trunc(x) if out is None else np.trunc(x, out=out)


def _infinite(negative: bool) -> Any:
    def rule(x: Any, out: Any = None) -> Any:
        box = as_box(x)
        if is_complex(box.dtype):
            raise TypeError(f"This operation is not supported for {box.dtype} values because it would be ambiguous.{user_line()}")
        result = box == (-np.inf if negative else np.inf) if is_float(box.dtype) else np.zeros_like(box, np.bool_)
        return result if out is None else store_out("isneginf" if negative else "isposinf", out, to_value(result))

    return rule


TABLE[np.isposinf], TABLE[np.isneginf] = _infinite(False), _infinite(True)


@traced(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    num = num.__index__()
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.{user_line()}")
    intervals = num - 1 if endpoint else num
    working = common_dtype(start, stop, 0.0)
    first, last = as_box(start).astype(working), as_box(stop).astype(working)
    delta = last - first
    counted = literal(np.arange(num, dtype=working).reshape((-1,) + (1,) * delta.ndim))
    step = delta / intervals if intervals > 0 else delta * np.nan
    # where a step is too small to be told from zero, NumPy divides before it multiplies
    whole = np.where(step == 0, counted / max(intervals, 1) * delta, counted * step) if intervals > 0 else counted * delta
    whole = whole + first
    if endpoint and num > 1:
        whole[-1] = last
    whole = np.moveaxis(whole, 0, axis) if axis else whole
    if dtype is not None:
        whole = (np.floor(whole) if np.issubdtype(np.dtype(dtype), np.integer) else whole).astype(dtype)
    return (whole, step) if retstep else whole


@traced(np.logspace)
def logspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0) -> Any:
    if np.ndim(base):
        raise TraceError(f"np.logspace with an array as its base cannot be traced: take a power of np.linspace{user_line()}")
    result = np.power(base, linspace(start, stop, num, endpoint, axis=axis))
    return result if dtype is None else result.astype(dtype)


@traced(np.geomspace)
def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    working = np.result_type(common_dtype(start, stop), float(num), np.zeros(0, dtype))
    if is_complex(working):
        raise TraceError(f"np.geomspace of complex numbers cannot be traced: take the exponential of np.linspace{user_line()}")
    first, last = np.broadcast_arrays(as_box(start).astype(working), as_box(stop).astype(working))
    sign = np.sign(first)
    first, last = first / sign, last / sign
    found = logspace(np.log10(first), np.log10(last), num, endpoint)
    if num > 0:
        found[0] = first
    if num > 1 and endpoint:
        found[-1] = last
    found = found * sign
    found = np.moveaxis(found, 0, axis) if axis else found
    return found.astype(working if dtype is None else dtype, copy=False)


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
TABLE[np.result_type] = common_dtype
TABLE[np.can_cast] = lambda from_, to, casting="safe": np.can_cast(from_.dtype, to, casting)
TABLE[np.shares_memory] = TABLE[np.may_share_memory] = lambda a, b, **_: is_box(a) and is_box(b) and a.cell is b.cell


@traced(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    a, b = (x if is_inexact(x.dtype) else x.astype(np.float64) for x in (as_box(a), as_box(b)))
    result = np.where(np.isfinite(b), np.abs(a - b) <= atol + rtol * np.abs(b), a == b)
    result = np.logical_or(result, np.isnan(a) & np.isnan(b)) if equal_nan else result
    return result if result.ndim else wrap_result(result.value)


@traced(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    return wrap(to_value(np.all(isclose(a, b, rtol, atol, equal_nan))), PYTHON)


@traced(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    a1, a2 = as_box(a1), as_box(a2)
    if a1.shape != a2.shape:
        return False
    same = a1 == a2
    if equal_nan:
        same = same | (np.isnan(a1) & np.isnan(a2))
    return wrap(to_value(np.all(same)), PYTHON)


@traced(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    a1, a2 = as_box(a1), as_box(a2)
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    return wrap(to_value(np.all(a1 == a2)), PYTHON)


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


def _running(op: Any, plain: Any, first: int) -> Any:
    def rule(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
        box = as_box(x)
        box = reshape(box, (1,)) if not box.ndim else box
        if axis is None:
            if box.ndim > 1:
                raise ValueError(f"For arrays which have more than one dimension ``axis`` argument is required.{user_line()}")
            axis = 0
        result = reductions.cumulate(op, box, axis, dtype)
        if include_initial:
            place = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
            shape = (*box.shape[:place], 1, *box.shape[place + 1 :])
            result = np.concatenate([np.full_like(result, first, shape=shape), result], place)
        return result if out is None else store_out(plain.__name__, out, result.value)

    return rule


TABLE[np.cumulative_sum] = _running(ops.CUMSUM, np.cumulative_sum, 0)
TABLE[np.cumulative_prod] = _running(ops.CUMPROD, np.cumulative_prod, 1)
TABLE[np.mean] = reductions.mean
TABLE[np.var] = reductions.var
TABLE[np.std] = reductions.std
TABLE[np.count_nonzero] = reductions.count_nonzero
TABLE[np.ptp] = lambda a, axis=None, out=None, keepdims=False: _product(
    to_value(np.max(a, axis, keepdims=keepdims) - np.min(a, axis, keepdims=keepdims)), out
)


TABLE[np.dot] = lambda a, b, out=None: _product(products.dot(a, b), out)
TABLE[np.inner] = lambda a, b, /: wrap_result(products.inner(a, b))
TABLE[np.outer] = lambda a, b, out=None: _product(products.outer(a, b), out)
TABLE[np.vdot] = lambda a, b, /: wrap_result(products.dot(products.conjugate(ravel(a)), ravel(b)))
TABLE[np.tensordot] = lambda a, b, axes=2: wrap(products.tensordot(a, b, axes))  # an array even without axes
TABLE[np.einsum] = lambda *operands, out=None, optimize=False, **options: (
    products.einsum(*operands, optimize=optimize, **options)
    if out is None
    else store_out("einsum", out, to_value(products.einsum(*operands, optimize=optimize, **options)))
)
TABLE[np.linalg.matmul] = lambda a, b, /: wrap_result(products.matmul(a, b))


def _product(value: Any, out: Any) -> Any:
    return wrap_result(value) if out is None else store_out("product", out, value)
