"""Reductions on boxes, with NumPy's dtypes: sum, mean, var, max, argmax, cumsum and their kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irdl.ir.dtypes import family, is_bool, is_complex, is_half, is_inexact, is_unsigned, real_dtype
from irdl.ir.graph import Value
from irdl.ir.op import Op
from irdl.ops import reduce as ops
from irdl.ops.elementwise import SELECT
from irdl.ops.reduce import ArgReduceAttributes, CumulativeAttributes, ReduceAttributes
from irdl.ops.shape import BROADCAST, RESHAPE, BroadcastAttributes, ReshapeAttributes
from irdl.tracing.box import is_box, to_value, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.ufunc_rules import as_bool, scalar_like
from irdl.tracing.numpy.ufuncs import store_out
from irdl.tracing.operations import apply, cast

_UNSET = np._NoValue


def normalise_axes(axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None or (rank == 0 and not isinstance(axis, (tuple, list)) and axis in (0, -1)):
        return tuple(range(rank))  # of a number, NumPy's reductions take the first axis to be there
    axes = [axis] if not isinstance(axis, (tuple, list)) else list(axis)
    result = []
    for item in axes:
        item = item.__index__()
        if not -rank <= item < rank:
            raise np.exceptions.AxisError(item, rank)
        result.append(item % rank)
    if len(set(result)) != len(result):
        raise ValueError("duplicate value in 'axis'")
    return tuple(sorted(result))


def keep(value: Value, axes: tuple[int, ...], shape: tuple[int, ...], keepdims: Any) -> Value:
    """Put the reduced axes back as 1s if asked."""
    if not keepdims or keepdims is _UNSET:
        return value
    return apply(RESHAPE, [value], ReshapeAttributes(tuple(1 if i in axes else n for i, n in enumerate(shape))))


_COMBINE = {
    ops.SUM: "add",
    ops.PROD: "mul",
    ops.MAX: "maximum",
    ops.MIN: "minimum",
    ops.ANY: "bitwise_or",
    ops.ALL: "bitwise_and",
}
#: what sums, products and extrema of bools are
_OF_BOOLS: dict[Op, Op] = {ops.SUM: ops.ANY, ops.PROD: ops.ALL, ops.MAX: ops.ANY, ops.MIN: ops.ALL}
_RUNNING_OF_BOOLS: dict[Op, Op] = {ops.CUMSUM: ops.CUMMAX, ops.CUMPROD: ops.CUMMIN}


def _sum_dtype(dtype: np.dtype, wanted: Any, out: Any) -> np.dtype:
    """What sums and products are made in: as asked for, else as `out` has it."""
    if wanted is not None or is_box(out):
        return np.dtype(wanted) if wanted is not None else out.dtype
    if family(dtype) in "bi":
        return np.result_type(dtype, np.int_)
    if is_unsigned(dtype):
        return np.result_type(dtype, np.uint)
    return dtype


def reduce(
    op: Op, x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = _UNSET, where: Any = True
) -> Any:
    """One of sum, prod, max, min, any, all over `axis`, as NumPy's function of that name does it."""
    value = to_value(x)
    if op in (ops.SUM, ops.PROD):
        value = cast(value, _sum_dtype(value.dtype, dtype, out))
    elif op in (ops.ANY, ops.ALL):
        value = as_bool(value)
    elif dtype is not None:
        value = cast(value, np.dtype(dtype))
    axes = normalise_axes(axis, len(value.shape))
    made_by = _OF_BOOLS.get(op, op) if is_bool(value.dtype) else op
    if op in (ops.ANY, ops.ALL) and initial is not _UNSET:
        initial = bool(initial)
    if where is not True and where is not _UNSET:
        value = _masked(op, value, where, initial)
    if op in (ops.MAX, ops.MIN) and any(value.shape[i] == 0 for i in axes):
        rest = [n for i, n in enumerate(value.shape) if i not in axes]
        if initial is not _UNSET:
            return wrap_result(
                keep(apply(BROADCAST, [to_value(initial, value.dtype)], BroadcastAttributes(tuple(rest))), axes, value.shape, keepdims)
            )
        if math.prod(rest):
            name = "maximum" if op is ops.MAX else "minimum"
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity{user_line()}")
    result = apply(made_by, [value], ReduceAttributes(axes))
    if initial is not _UNSET and initial is not None:
        result = apply(_COMBINE[made_by], [result, to_value(initial, value.dtype)])
    result = keep(result, axes, value.shape, keepdims)
    return store_out(op.name, out, result) if out is not None else wrap_result(result)


def _masked(op: Op, value: Value, where: Any, initial: Any) -> Value:
    neutral: Any = {ops.SUM: 0, ops.PROD: 1, ops.ANY: False, ops.ALL: True}.get(op, initial)
    if neutral is _UNSET:
        raise ValueError(f"reduction operation '{op.name}' does not have an identity, so to use a where mask one has to specify 'initial'")
    return apply(SELECT, [as_bool(to_value(where)), value, scalar_like(value, neutral)])


def _in_floats(x: Any, dtype: Any) -> tuple[Value, np.dtype]:
    """What is added up, and the result's dtype: floats of 16 bits are added up in float32, as NumPy's mean does."""
    value = to_value(x)
    found = np.dtype(dtype) if dtype is not None else value.dtype if is_inexact(value.dtype) else np.dtype(np.float64)
    value = cast(value, found)
    return cast(value, np.dtype(np.float32)) if is_half(found) else value, found


def _sum_and_count(value: Value, axes: tuple[int, ...], where: Any) -> tuple[Value, Value]:
    """The sum over `axes`, of what `where` holds for, and how many terms it has."""
    if where is True or where is _UNSET:
        total = apply(ops.SUM, [value], ReduceAttributes(axes))
        return total, scalar_like(total, math.prod(value.shape[i] for i in axes))
    mask = apply(BROADCAST, [as_bool(to_value(where))], BroadcastAttributes(value.shape))
    total = apply(ops.SUM, [apply(SELECT, [mask, value, scalar_like(value, 0)])], ReduceAttributes(axes))
    count = apply(ops.SUM, [cast(mask, np.dtype(np.int64))], ReduceAttributes(axes))
    return total, cast(count, value.dtype)


def mean(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    value, found = _in_floats(x, out.dtype if dtype is None and is_box(out) and is_inexact(out.dtype) else dtype)
    axes = normalise_axes(axis, len(value.shape))
    result = keep(cast(apply("div", list(_sum_and_count(value, axes, where))), found), axes, value.shape, keepdims)
    return store_out("mean", out, result) if out is not None else wrap_result(result)


def var(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = _UNSET,
    correction: Any = _UNSET,
) -> Any:
    if correction is not _UNSET:
        if ddof:
            raise ValueError(f"ddof and correction can't be provided simultaneously{user_line()}")
        ddof = correction
    value, found = _in_floats(x, dtype)
    axes = normalise_axes(axis, len(value.shape))
    total, count = _sum_and_count(value, axes, where)
    middle = keep(apply("div", [total, count]), axes, value.shape, True) if mean is _UNSET or mean is None else to_value(mean, value.dtype)
    centred = apply("sub", [value, middle])
    squares, _ = _sum_and_count(_squares(centred), axes, where)
    count = apply("real", [count]) if is_complex(count.dtype) else count
    degrees = apply("maximum", [apply("sub", [count, to_value(ddof, count.dtype)]), scalar_like(count, 0)])
    result = keep(cast(apply("div", [squares, degrees]), real_dtype(found)), axes, value.shape, keepdims)
    return store_out("var", out, result) if out is not None else wrap_result(result)


def _squares(value: Value) -> Value:
    """|x| ** 2, real of complex numbers too."""
    if not is_complex(value.dtype):
        return apply("mul", [value, value])
    re, im = apply("real", [value]), apply("imag", [value])
    return apply("add", [apply("mul", [re, re]), apply("mul", [im, im])])


def std(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Any:
    result = np.sqrt(var(x, axis, dtype, None, ddof, keepdims, **options))
    return store_out("std", out, to_value(result)) if out is not None else result


def arg_reduce(op: Op, x: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    value = to_value(x)
    shape = value.shape
    if axis is None or not shape:
        value = apply(RESHAPE, [value], ReshapeAttributes((value.type.size,)))
        (place,), axes = (0,), tuple(range(len(shape)))
    else:
        axes = (place,) = normalise_axes(axis, len(shape))
    if value.shape[place] == 0:
        raise ValueError(f"attempt to get {op.name} of an empty sequence{user_line()}")
    result = keep(apply(op, [value], ArgReduceAttributes(place)), axes, shape, keepdims)
    return store_out(op.name, out, result) if out is not None else wrap_result(result)


def cumulate(op: Op, x: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    value = to_value(x)
    if op in (ops.CUMSUM, ops.CUMPROD):
        value = cast(value, _sum_dtype(value.dtype, dtype, out))
    elif dtype is not None:
        value = cast(value, np.dtype(dtype))
    made_by, are_bools = op, is_bool(value.dtype)
    if are_bools:
        made_by, value = _RUNNING_OF_BOOLS.get(op, op), cast(value, np.dtype(np.uint8))
    if axis is None or (not value.shape and axis in (0, -1)):
        value = apply(RESHAPE, [value], ReshapeAttributes((value.type.size,)))
        axis = 0
    (place,) = normalise_axes(axis, len(value.shape))
    result = apply(made_by, [value], CumulativeAttributes(place))
    if are_bools:
        result = cast(result, np.dtype(np.bool_))
    return store_out(op.name, out, result) if out is not None else wrap_result(result)


def count_nonzero(x: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return reduce(ops.SUM, wrap_result(as_bool(to_value(x))), axis, np.int64, keepdims=keepdims)
