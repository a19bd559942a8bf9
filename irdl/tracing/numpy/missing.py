"""NumPy's functions that leave nan out: nansum, nanmean, nanmax and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_inexact
from irdl.ir.op import Op
from irdl.ops import reduce as ops
from irdl.tracing.box import to_value, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import reductions
from irdl.tracing.numpy.reductions import _UNSET
from irdl.tracing.numpy.table import TABLE, as_box, traced
from irdl.tracing.numpy.ufuncs import store_out


def without_nan(a: Any, number: float) -> Any:
    """`a` with `number` for nan; integers and bools have none."""
    box = as_box(a)
    return np.where(np.isnan(box), box.dtype.type(number), box) if is_inexact(box.dtype) else box


def _reduction(op: Op, neutral: float) -> Callable[..., Any]:
    def rule(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = _UNSET, where: Any = True
    ) -> Any:
        return reductions.reduce(op, without_nan(a, neutral), axis, dtype, out, keepdims, initial, where)

    return rule


def _running(op: Op, neutral: float) -> Callable[..., Any]:
    return lambda a, axis=None, dtype=None, out=None: reductions.cumulate(op, without_nan(a, neutral), axis, dtype, out)


def _extremum(op: Op, least: float) -> Callable[..., Any]:
    """`least` stands for nan, and nan for what is nothing but nan."""

    def rule(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = _UNSET, where: Any = True, *, least: float = least
    ) -> Any:
        box = as_box(a)
        if not is_inexact(box.dtype):
            return reductions.reduce(op, box, axis, None, out, keepdims, initial, where)
        none_is_nan = initial is _UNSET or initial is None or (isinstance(initial, float) and np.isnan(initial))
        if none_is_nan and initial is not _UNSET and initial is not None:
            initial = box.dtype.type(least)
        result = reductions.reduce(op, without_nan(box, least), axis, None, None, keepdims, initial, where)
        if none_is_nan:
            missing = np.isnan(box) if where is True or where is _UNSET else np.isnan(box) | np.logical_not(where)
            nothing = np.all(missing, axis=axis, keepdims=keepdims is not _UNSET and keepdims)
            result = wrap_result(np.where(nothing, box.dtype.type(np.nan), result).value)
        return result if out is None else store_out(op.name, out, to_value(result))

    return rule


def _place(op: Op, least: float) -> Callable[..., Any]:
    return lambda a, axis=None, out=None, *, keepdims=False: reductions.arg_reduce(
        op, without_nan(a, least), axis, out, keepdims=keepdims is True
    )


TABLE[np.nansum], TABLE[np.nanprod] = _reduction(ops.SUM, 0), _reduction(ops.PROD, 1)
TABLE[np.nancumsum], TABLE[np.nancumprod] = _running(ops.CUMSUM, 0), _running(ops.CUMPROD, 1)
TABLE[np.nanmax], TABLE[np.nanmin] = _extremum(ops.MAX, -np.inf), _extremum(ops.MIN, np.inf)
TABLE[np.nanargmax], TABLE[np.nanargmin] = _place(ops.ARGMAX, -np.inf), _place(ops.ARGMIN, np.inf)


def _present(box: Any, where: Any) -> Any:
    """Where there are numbers that `where` asks for."""
    present = ~np.isnan(box)
    return present if where is True or where is _UNSET else present & where


def _check_floats(dtype: Any, out: Any) -> None:
    for name, given in (("dtype", dtype), ("out", out)):
        if given is not None and not is_inexact(np.dtype(getattr(given, "dtype", given))):
            raise TypeError(f"If a is inexact, then {name} must be inexact{user_line()}")


@traced(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    box = as_box(a)
    if not is_inexact(box.dtype):
        return reductions.mean(box, axis, dtype, out, keepdims, where=where)
    _check_floats(dtype, out)
    return reductions.mean(box, axis, dtype, out, keepdims, where=_present(box, where))


@traced(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *, where: Any = True, **options: Any
) -> Any:
    box = as_box(a)
    if not is_inexact(box.dtype):
        return reductions.var(box, axis, dtype, out, ddof, keepdims, where=where, **options)
    _check_floats(dtype, out)
    present = _present(box, where)
    # nan goes before the squares are made: a gradient of nan times zero would be nan
    spread = reductions.var(without_nan(box, 0), axis, dtype, None, ddof, keepdims, where=present, **options)
    correction = options.get("correction", _UNSET)
    count = np.sum(present, axis=axis, keepdims=keepdims is not _UNSET and keepdims)
    enough = count > (ddof if correction is _UNSET else correction)
    result = wrap_result(np.where(enough, spread, spread.dtype.type(np.nan)).value)
    return result if out is None else store_out("nanvar", out, to_value(result))


@traced(np.nanstd)
def nanstd(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, **options: Any) -> Any:
    result = np.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, **options))
    return result if out is None else store_out("nanstd", out, to_value(result))
