"""The functions of `math` as traced code sees them: of traced numbers they are NumPy's, and give traced Python floats."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.tracing.box import PYTHON, is_box, to_value, wrap
from irdl.tracing.operations import cast

_SAME = (
    *("sqrt", "cbrt", "exp", "exp2", "expm1", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("hypot", "copysign", "fmod", "degrees", "radians", "isnan", "isinf", "isfinite"),
)
_RENAMED = {
    **{"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh, "acosh": np.arccosh},
    **{"atanh": np.arctanh, "pow": np.power, "fabs": np.abs},
}


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
