"""NumPy as traced code sees it: what makes arrays makes traced ones, whose values are known, so that traced values can
be stored into them (`h = np.zeros(n); h[0] = x`) and `np.array([x, y])` joins."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.ir.types import is_supported
from irdl.trace.box import is_box, open_trace, to_value, wrap
from irdl.trace.products import common_dtype
from irdl.trace.recorder import current_trace

_MAKERS = (np.zeros, np.ones, np.empty, np.full, np.arange, np.eye, np.identity, np.linspace, np.tri)
_CONVERTERS = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray)


def _maker(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def make(*arguments: Any, **options: Any) -> Any:
        if function is np.full:
            shape, fill, *rest = [*arguments, *([options.pop("fill_value")] if "fill_value" in options else [])]
            if is_box(fill):
                dtype = rest[0] if rest else options.get("dtype")
                return np.full_like(fill, fill, dtype=dtype, shape=shape)
            arguments = (shape, fill, *rest)
        made = function(*arguments, **options)
        return _known(made)

    return make


def _known(array: Any) -> Any:
    if current_trace() is None or type(array) is not np.ndarray or not is_supported(array.dtype):
        return array
    return wrap(open_trace().constant(array))


def _converter(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def convert(x: Any, dtype: Any = None, **options: Any) -> Any:
        if is_box(x):
            wanted = x.dtype if dtype is None else np.dtype(dtype)
            if (function is np.array and options.get("copy", True)) or wanted != x.dtype or x.kind != "array":
                return wrap(to_value(x, wanted))
            return x
        if isinstance(x, (list, tuple)) and _has_box(x):
            wanted = np.dtype(dtype) if dtype is not None else common_dtype(*_flat(x))
            return wrap(to_value(_nested(x), wanted))
        made = function(x, dtype, **options)
        return _known(made) if function is np.array else made

    return convert


def _has_box(items: Any) -> bool:
    return any(is_box(item) or (isinstance(item, (list, tuple)) and _has_box(item)) for item in items)


def _flat(items: Any) -> list[Any]:
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, (list, tuple)) else [item])]


def _nested(items: Any) -> Any:
    return np.stack([_nested(item) if isinstance(item, (list, tuple)) else wrap(to_value(item)) for item in items])


REPLACED: dict[Any, Callable[..., Any]] = {
    **{function: _maker(function) for function in _MAKERS},
    **{function: _converter(function) for function in _CONVERTERS},
}


class TracedNumPy(types.ModuleType):
    """Stands for the module `numpy` in the globals of traced code."""

    def __init__(self) -> None:
        super().__init__("numpy")

    def __getattr__(self, name: str) -> Any:
        item = getattr(np, name)
        try:
            return REPLACED.get(item, item)
        except TypeError:
            return item
