"""Python's `max`, `min`, `any` and `all` as traced code sees them: of numbers that the trace does not know, the choice is traced.

Python keeps the first of what compares equal, and of nan what comes first; so do these. Where Python would give one of several types,
as `max(0, x)` does, the result has the type that NumPy finds for all of them.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, is_box, to_value, wrap


def traced_max(*items: Any, **options: Any) -> Any:
    """`max`."""
    return _extremum(builtins.max, np.greater, items, options)


def traced_min(*items: Any, **options: Any) -> Any:
    """`min`."""
    return _extremum(builtins.min, np.less, items, options)


def traced_any(items: Iterable[Any]) -> Any:
    """`any`."""
    return _first(items, True, np.logical_or)


def traced_all(items: Iterable[Any]) -> Any:
    """`all`."""
    return _first(items, False, np.logical_and)


def _first(items: Iterable[Any], decisive: bool, joined: np.ufunc) -> Any:
    """Whether one of the items is as decisive; what comes behind one that is known to be is not asked for."""
    found: Any = None
    for item in items:
        if is_box(item) and item.is_open:
            truth = np.reshape(item, ()) != 0
            found = truth if found is None else joined(found, truth)
        elif bool(item) is decisive:
            return decisive
    return not decisive if found is None else wrap(to_value(found), PYTHON)


def _extremum(function: Callable[..., Any], is_better: np.ufunc, items: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if len(items) == 1:
        items = (list(items[0]),)
    candidates = items[0] if len(items) == 1 else items
    if options.get("key") is not None or not all(_is_number(item) for item in candidates) or not any(_is_open(item) for item in candidates):
        return function(*items, **options)
    first, *rest = candidates
    try:
        for item in rest:
            first = _chosen(is_better(item, first), item, first)
    except OverflowError:  # a Python int that the array's dtype does not hold
        return function(*items, **options)
    return first


def _is_number(item: Any) -> bool:
    return item.kind != ARRAY if is_box(item) else isinstance(item, (*PYTHON_NUMBERS, np.generic))


def _is_open(item: Any) -> bool:
    return is_box(item) and item.known is None


def _chosen(condition: Any, x: Any, y: Any) -> Any:
    """x or y: a Python number where both are, else one of NumPy's."""
    result = np.where(condition, x, y)
    python = all(item.kind == PYTHON if is_box(item) else type(item) in PYTHON_NUMBERS for item in (x, y))
    return wrap(to_value(result), PYTHON) if python else result[()]
