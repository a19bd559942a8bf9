"""Functions of complex numbers as NumPy code on their parts, traced by `complex_parts`.

Results where a part is infinite, or 0 with a sign, are C's (Annex G), which NumPy's are; divisions scale, by Smith's method ("Algorithm 116",
1962), so that they overflow only where the result does. Absolute values are `hypot`s for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.ir.op import Op
from irdl.ops import elementwise as e

#: (real part, imaginary part)
Parts = tuple[Any, Any]


def multiply(a: Any, b: Any, c: Any, d: Any) -> Parts:
    return a * c - b * d, a * d + b * c


def divide(a: Any, b: Any, c: Any, d: Any) -> Parts:
    first = np.abs(c) >= np.abs(d)
    large, small = np.where(first, c, d), np.where(first, d, c)
    nothing = (c == 0) & (d == 0)  # then both parts are divided by 0
    ratio = small / np.where(nothing, 1, large)
    scale = np.where(nothing, np.inf, 1 / (large + small * ratio))
    p, q = np.where(first, a, b), np.where(first, b, a)
    im = (q - p * ratio) * scale
    return np.where(nothing, a, p + q * ratio) * scale, np.where(nothing, b * scale, np.where(first, im, -im))


def absolute(x: Any, y: Any) -> Any:
    return np.hypot(x, y)


def exponential(x: Any, y: Any) -> Parts:
    # In halves: exp(x) alone may overflow where its product with a cosine does not.
    half = np.exp(0.5 * x)
    re, im = half * np.cos(y) * half, half * np.sin(y) * half
    turns = np.isfinite(y)
    re = np.where(turns | ~np.isinf(x), re, np.where(x > 0, x, 0))
    return re, np.where(y == 0, y, np.where(turns | (x != -np.inf), im, 0))


def _exponential_2(x: Any, y: Any) -> Parts:
    return exponential(x * math.log(2), y * math.log(2))


def _exponential_minus_one(x: Any, y: Any) -> Parts:
    half = np.sin(0.5 * y)
    return np.expm1(x) * np.cos(y) - 2 * half * half, np.exp(x) * np.sin(y)


def _scaled(x: Any, y: Any, power: int) -> tuple[Any, Any, Any, Any]:
    """The parts scaled into the middle of the range, whether they were scaled down (by 1 / 4) and whether up (by 2 ** power)."""
    info = np.finfo(x.dtype)
    size = np.maximum(np.abs(x), np.abs(y))
    down, up = (size > info.max / 4) & (size < np.inf), size < info.tiny * 2 / info.eps
    scale = _chosen(x, down, 0.25, up, 2.0**power, 1)
    return x * scale, y * scale, down, up


def _chosen(like: Any, first: Any, a: float, second: Any, b: float, otherwise: float) -> Any:
    """Of three numbers the one whose condition holds, of the dtype of `like`."""
    number = like.dtype.type
    return np.where(first, number(a), np.where(second, number(b), number(otherwise)))


def logarithm(x: Any, y: Any) -> Parts:
    p, q, down, up = _scaled(x, y, 54)
    far = np.log(np.hypot(p, q)) + _chosen(x, down, math.log(4), up, -54 * math.log(2), 0)
    # Of a size next to 1 the logarithm is small, and log(size) would be nothing but what was lost in rounding the size.
    large, small = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    beyond = (large - 1) * (large + 1) + small * small
    return np.where(np.abs(beyond) < 0.5, 0.5 * np.log1p(beyond), far), np.arctan2(y, x)


def _logarithm_scaled(factor: float) -> Callable[..., Parts]:
    def function(x: Any, y: Any) -> Parts:
        re, im = logarithm(x, y)
        return re * factor, im * factor

    return function


def _logarithm_of_more(x: Any, y: Any) -> Parts:
    return np.log(np.hypot(x + 1, y)), np.arctan2(y, x + 1)


def square_root(x: Any, y: Any) -> Parts:
    p, q, down, up = _scaled(x, y, 54)
    root = np.sqrt(0.5 * (np.abs(p) + np.hypot(p, q)))
    other = np.where(root == 0, root, np.abs(q) / (2 * np.where(root == 0, 1, root)))
    back = _chosen(x, down, 2, up, 2.0**-27, 1)
    right = p >= 0
    re, im = np.where(right, root, other) * back, np.copysign(np.where(right, other, root) * back, y)
    return np.where(np.isinf(y), np.inf, re), np.where(np.isinf(y), y, im)


#: from here on sinh(x) and cosh(x) are exp(|x|) / 2, and tanh(x) is 1, in double precision
_FAR = 22.0


def _hyperbolic(x: Any) -> tuple[Any, Any, Any, Any]:
    """sinh and cosh of what is near, whether x is far, and exp(|x| / 2)."""
    far = np.abs(x) > _FAR
    near = np.where(far, 0, x)
    return np.sinh(near), np.cosh(near), far, np.exp(0.5 * np.abs(x))


def hyperbolic_sine(x: Any, y: Any) -> Parts:
    sinh, cosh, far, half = _hyperbolic(x)
    cos, sin, sign = np.cos(y), np.sin(y), np.copysign(1, x).astype(x.dtype)
    re = np.where(far, 0.5 * half * cos * half * sign, sinh * cos)
    im = np.where(far, 0.5 * half * sin * half, cosh * sin)
    wild = np.isinf(x) & ~np.isfinite(y)
    return np.where(x == 0, x, np.where(wild, x, re)), np.where(y == 0, y, im)


def hyperbolic_cosine(x: Any, y: Any) -> Parts:
    sinh, cosh, far, half = _hyperbolic(x)
    cos, sin, sign = np.cos(y), np.sin(y), np.copysign(1, x).astype(x.dtype)
    re = np.where(far, 0.5 * half * cos * half, cosh * cos)
    im = np.where(far, 0.5 * half * sin * half * sign, sinh * sin)
    turns = np.isfinite(y)
    im = np.where((x == 0) & ~turns, x, np.where(y == 0, sign * y, im))
    return np.where(turns | ~np.isinf(x), re, np.inf), im


def hyperbolic_tangent(x: Any, y: Any) -> Parts:
    # By Kahan's formula ("Branch cuts for complex elementary functions", 1987).
    far = np.abs(x) > _FAR
    sinh, tan = np.sinh(np.where(far, 0, x)), np.tan(y)
    square = 1 + tan * tan
    size = 1 + square * sinh * sinh
    re, im = square * np.sqrt(1 + sinh * sinh) * sinh / size, tan / size
    sign = np.copysign(1, x).astype(x.dtype)
    beyond = np.where(np.isinf(x) & ~np.isfinite(y), 0, 4 * np.sin(y) * np.cos(y) * np.exp(-2 * np.abs(x)))
    re = np.where(far, np.where(np.isfinite(y) | np.isinf(x), sign, np.nan), np.where(x == 0, x, re))
    return re, np.where(y == 0, y, np.where(far, beyond, im))


def _turned(function: Callable[..., Parts]) -> Callable[..., Parts]:
    """sin and tan: -i f(i z) of the hyperbolic function."""

    def turned(x: Any, y: Any) -> Parts:
        re, im = function(-y, x)
        return im, -re

    return turned


def power(a: Any, b: Any, c: Any, d: Any) -> Parts:
    """exp((c + i d) * log(a + i b)); 1 where the exponent is 0; of 0, 0 where c > 0, else nan."""
    nothing, is_one = (a == 0) & (b == 0), (c == 0) & (d == 0)
    of_nothing = np.where(c > 0, np.zeros_like(c), np.nan)
    re, im = (np.where(nothing, of_nothing, part) for part in exponential(*multiply(c, d, *logarithm(a, b))))
    return np.where(is_one, 1, re), np.where(is_one, 0, im)


#: From the parts of the operands to those of the output, or to a real output.
FUNCTIONS: dict[Op, Callable[..., Any]] = {
    e.MUL: multiply,
    e.DIV: divide,
    e.ABS: absolute,
    e.EXP: exponential,
    e.EXP2: _exponential_2,
    e.EXPM1: _exponential_minus_one,
    e.LOG: logarithm,
    e.LOG2: _logarithm_scaled(1 / math.log(2)),
    e.LOG10: _logarithm_scaled(1 / math.log(10)),
    e.LOG1P: _logarithm_of_more,
    e.SQRT: square_root,
    e.SINH: hyperbolic_sine,
    e.COSH: hyperbolic_cosine,
    e.TANH: hyperbolic_tangent,
    e.SIN: _turned(hyperbolic_sine),
    e.COS: lambda x, y: hyperbolic_cosine(-y, x),
    e.TAN: _turned(hyperbolic_tangent),
    e.POWER: power,
    e.EQUAL: lambda a, b, c, d: (a == c) & (b == d),
    e.NOT_EQUAL: lambda a, b, c, d: (a != c) | (b != d),
    e.CONJ: lambda x, y: (x, -y),
}
