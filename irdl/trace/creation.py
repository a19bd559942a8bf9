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
from irdl.trace.layout import copied, has_order, own
from irdl.trace.recorder import current_trace, user_line

_MAKERS = (np.zeros, np.ones, np.empty, np.full, np.arange, np.eye, np.identity, np.linspace, np.tri)
_CONVERTERS = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)


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
    return own(open_trace().constant(array), array)


def _converter(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def convert(x: Any, dtype: Any = None, *rest: Any, **options: Any) -> Any:
        if rest:  # only np.asarray and its kin take more by position
            options["order"], *_ = rest
        if not is_box(x) and not (isinstance(x, (list, tuple)) and _has_box(x)):
            made = function(x, dtype, **options)
            return _known(made) if function is np.array else made
        order = _ORDERS.get(function) or options.get("order") or "K"
        if not is_box(x):
            wanted = np.dtype(dtype) if dtype is not None else np.result_type(*(_strong_dtype(item) for item in _flat(x)))
            x, copy = wrap(to_value(_nested(x), wanted)), None
        else:
            wanted = x.dtype if dtype is None else np.dtype(dtype)
            copy = options.get("copy", True if function is np.array else None)
        if copy or wanted != x.dtype or x.kind != "array" or not has_order(x, order):
            if copy is False:
                raise ValueError(f"Unable to avoid copy while creating an array as requested{user_line()}")
            value = to_value(x, wanted)
            x = copied(x, value, order) if value.shape else wrap(value)
        if function in _ORDERS and x.ndim == 0:
            x = np.reshape(x, (1,))
        if options.get("ndmin", 0) > x.ndim:
            x = np.reshape(x, (1,) * (options["ndmin"] - x.ndim) + x.shape)
        return x

    return convert


_ORDERS: dict[Any, str] = {np.ascontiguousarray: "C", np.asfortranarray: "F"}


def _strong_dtype(item: Any) -> np.dtype:
    """The dtype of an item of a list, as np.array sees it: Python's numbers are no weaker than NumPy's."""
    return item.dtype if is_box(item) else np.asarray(item).dtype


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
