"""Functions of `scipy.special` in terms of NumPy's: ufuncs that are no op, and what SciPy writes in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_float
from irdl.tracing.box import to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.table import as_box
from irdl.tracing.numpy.ufunc_rules import RULES
from irdl.tracing.operations import apply

#: by their names in `scipy.special`
FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _ufunc(function: Callable[..., Any]) -> Callable[..., Any]:
    RULES[function.__name__] = lambda *values: to_value(function(*map(wrap, values)))
    return function


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    FUNCTIONS[function.__name__] = function
    return function


@_ufunc
def xlogy(x: Any, y: Any) -> Any:
    """x log(y), 0 where x is 0 and y no nan."""
    return x * np.log(np.where((x == 0) & ((y <= 0) | (y == np.inf)), 1, y))


@_ufunc
def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), 0 where x is 0 and y no nan."""
    return x * np.log1p(np.where((x == 0) & ((y <= -1) | (y == np.inf)), 0, y))


@_ufunc
def entr(x: Any) -> Any:
    """-x log(x), 0 at 0 and -inf below."""
    return np.where(x < 0, -np.inf, 0 - xlogy(x, np.where(x < 0, 1, x)))


def _times_log_ratio(x: Any, y: Any) -> Any:
    """x log(x / y) of positive numbers, as SciPy: exact where they are close, without overflow where they are not."""
    ratio = x / y
    near, far = (ratio > 0.5) & (ratio < 2), (ratio < np.finfo(np.float64).tiny) | (ratio == np.inf)
    close = np.log1p(np.where(near, (x - y) / y, 0))
    return x * np.where(near, close, np.where(far, np.log(x) - np.log(y), np.log(np.where(far, 1, ratio))))


def _divergence(x: Any, y: Any, linear: bool) -> Any:
    x, y = x.astype(np.float64), y.astype(np.float64)  # as SciPy does, of float32 too
    positive = (x > 0) & (y > 0)
    a, b = np.where(positive, x, 1), np.where(positive, y, 1)
    found = a * np.log(a / b) - a + b if linear else _times_log_ratio(a, b)
    found = np.where(positive, found, np.where((x == 0) & (y >= 0), y if linear else 0, np.inf))
    return np.where((x != x) | (y != y), np.nan, found)


@_ufunc
def rel_entr(x: Any, y: Any) -> Any:
    """x log(x / y), 0 where x is 0, inf where one is negative."""
    return _divergence(x, y, linear=False)


@_ufunc
def kl_div(x: Any, y: Any) -> Any:
    """x log(x / y) - x + y, y where x is 0, inf where one is negative."""
    return _divergence(x, y, linear=True)


@_ufunc
def huber(delta: Any, r: Any) -> Any:
    """r**2 / 2 up to |r| = delta, a line from there on; inf where delta is negative."""
    size = np.abs(r)
    return np.where(delta < 0, np.inf, np.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta)))


def _largest(x: Any, axis: Any) -> Any:
    """What is taken off before exp, so that it does not overflow. It cancels out: no derivative goes through it."""
    top = np.max(x, axis=axis, keepdims=True)
    return wrap(apply("stop_gradient", [to_value(np.where(np.isfinite(top), top, 0))]))


@_function
def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)): of the whole array, if no axis is given."""
    e = np.exp(x - _largest(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


@_function
def log_softmax(x: Any, axis: Any = None) -> Any:
    """x - log(sum(exp(x)))"""
    x = x - _largest(x, axis)
    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))


@_function
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b exp(a))), b 1 by default; and with `return_sign` the sum's sign."""
    a = as_box(a) if is_float(as_box(a).dtype) else as_box(a).astype(np.float64)
    if a.size == 0:
        raise TraceError(f"scipy.special.logsumexp of an empty array cannot be traced: its result is -inf{user_line()}")
    if b is not None:
        a = np.where(np.not_equal(b, 0), a, -np.inf)
    top = _largest(a, axis)
    e = np.exp(a - top)
    total = np.sum(e if b is None else b * e, axis=axis, keepdims=True)
    sign = np.sign(total)
    found = np.log(np.abs(total) if return_sign else total) + top
    if not keepdims:
        found, sign = np.squeeze(found, axis=axis)[()], np.squeeze(sign, axis=axis)[()]
    return (found, sign) if return_sign else found
