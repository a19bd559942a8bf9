"""The functions of `math` as traced code sees them: of traced numbers they are NumPy's, and give traced Python floats."""

from __future__ import annotations

import functools
import math
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_float
from irdl.tracing.box import PYTHON, is_box, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.operations import cast

_SAME = (
    *("sqrt", "cbrt", "exp", "exp2", "expm1", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("hypot", "copysign", "fmod", "degrees", "radians", "isnan", "isinf", "isfinite"),
)
_RENAMED = {
    **{"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh, "acosh": np.arccosh},
    **{"atanh": np.arctanh, "pow": np.power, "fabs": np.abs},
}


def rounded(x: Any, digits: int) -> Any:
    """Python's `round(x, digits)`, digits up to 22: the decimal that is nearest to x itself, where NumPy's is nearest to its product with
    a power of ten.

    Raises:
        TraceError: there are more digits, or x is an integer, of which tens are asked for.
    """
    digits = operator.index(digits)
    if not is_float(x.dtype) and digits >= 0:
        return x
    if not is_float(x.dtype) or abs(digits) > 22:
        raise TraceError(f"round(x, {digits}) of a traced number cannot be traced: divide and multiply{user_line()}")
    power = 10.0 ** abs(digits)
    scaled = x * power if digits > 0 else x / power
    # Halfway between two: what the product or quotient was rounded by tells on which side x is.
    beyond = _rest(x, power, scaled) if digits > 0 else (x - scaled * power) - _rest(scaled, power, scaled * power)
    low = np.floor(scaled)
    nearest = np.where(beyond > 0, low + 1, np.where(beyond < 0, low, np.rint(scaled)))
    whole = np.where(scaled - low == 0.5, nearest, np.rint(scaled))
    found = np.copysign(whole / power if digits > 0 else whole * power, x)
    # Decimals that lie closer than floats are of no use: x is the nearest there is.
    is_kept = ~np.isfinite(scaled) | ((np.abs(scaled) >= 2.0**53) & (digits > 0))
    return wrap(to_value(np.where(is_kept, x, found)), PYTHON)


def _rest(x: Any, y: float, product: Any) -> Any:
    """x y - product, exactly (Dekker)."""
    (a, b), (c, d) = _halves(x), _halves(y)
    return ((a * c - product) + a * d + b * c) + b * d


def _halves(x: Any) -> tuple[Any, Any]:
    """Two numbers of half as many digits whose sum is x (Veltkamp)."""
    large = x * (2.0**27 + 1)
    high = large - (large - x)
    return high, x - high


def _log(x: Any, base: Any = math.e) -> Any:
    return np.log(x) if base is math.e else np.log(x) / np.log(base)


def _integer(ufunc: np.ufunc) -> Callable[[Any], Any]:
    return lambda x: wrap(cast(to_value(ufunc(x)), np.dtype(np.int64)))


_RULES: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _SAME if hasattr(math, name)},
    **_RENAMED,
    "log": _log,
    **{name: _integer(getattr(np, name)) for name in ("floor", "ceil", "trunc")},
}


def _traced(function: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*numbers: Any) -> Any:
        if not any(is_box(number) for number in numbers):
            return function(*numbers)
        items = [number.item() if is_box(number) else number for number in numbers]
        if not any(is_box(item) for item in items):  # the trace knows them
            return function(*items)
        # Of an integer too, `math` computes in float64.
        values = [wrap(cast(item.value, np.dtype(np.float64)), PYTHON) if is_box(item) else item for item in items]
        return wrap(to_value(rule(*values)), PYTHON)

    return call


_FUNCTIONS = {getattr(math, name): _traced(getattr(math, name), rule) for name, rule in _RULES.items()}


def as_traced_function(function: Any) -> Callable[..., Any] | None:
    """What stands for a function of `math`; None for others."""
    return _FUNCTIONS.get(function)


class TracedMath(types.ModuleType):
    """Stands for `math` in traced code."""

    def __init__(self) -> None:
        super().__init__(math.__name__)

    def __getattr__(self, name: str) -> Any:
        item = getattr(math, name)
        return (_FUNCTIONS.get(item) if callable(item) else None) or item
