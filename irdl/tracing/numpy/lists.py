"""Lists of traced arrays as arguments of NumPy's functions and ufuncs: NumPy looks for a box among the arguments, and not in a list,
which would become a real array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from irdl.tracing.box import is_box, to_value, wrap
from irdl.tracing.numpy.layout import all_known


def has_box(items: Any) -> bool:
    """Whether a list, or one within it, holds a traced array."""
    return any(is_box(item) or (isinstance(item, (list, tuple)) and has_box(item)) for item in items)


_LITERALS = (bool, int, float, complex, str, bytes, type, np.dtype, np.generic, range, Iterator)


def is_literal(item: Any) -> bool:
    """Numbers, texts, arrays that the trace knows, and what is made of such."""
    if isinstance(item, (list, tuple)):
        return all(is_literal(part) for part in item)
    if isinstance(item, dict):
        return all(is_literal(part) for part in item.values())
    if isinstance(item, slice):
        return is_literal((item.start, item.stop, item.step))
    return item is None or item is Ellipsis or isinstance(item, _LITERALS) or (is_box(item) and item.known is not None)


def as_array(item: Any) -> Any:
    """A list of boxes as an array; anything else itself."""
    return wrap(to_value(item)) if isinstance(item, (list, tuple)) and has_box(item) else item


def with_arrays(arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with the first list of boxes among them as an array. Where one of them is a box, they stay: a rule takes lists
    as it sees fit."""
    if any(is_box(item) for item in (*arguments, *options.values())):
        return arguments, options
    for place, item in enumerate(arguments):
        if (array := as_array(item)) is not item:
            return (*arguments[:place], array, *arguments[place + 1 :]), options
    for name, item in options.items():
        if (array := as_array(item)) is not item:
            return arguments, {**options, name: array}
    return arguments, options


class TracedUfunc:
    """A ufunc as traced code sees it: equal to the ufunc, and it takes lists of traced arrays."""

    __slots__ = ("__weakref__", "_ufunc")

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return np.ufunc

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _called(self._ufunc, arguments, options)

    def reduce(self, *arguments: Any, **options: Any) -> Any:
        return _called(self._ufunc.reduce, arguments, options)

    def accumulate(self, *arguments: Any, **options: Any) -> Any:
        return _called(self._ufunc.accumulate, arguments, options)

    def reduceat(self, *arguments: Any, **options: Any) -> Any:
        return _called(self._ufunc.reduceat, arguments, options)

    def outer(self, *arguments: Any, **options: Any) -> Any:
        return _called(self._ufunc.outer, arguments, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._ufunc

    def __hash__(self) -> int:
        return hash(self._ufunc)

    def __repr__(self) -> str:
        return repr(self._ufunc)

    def __copy__(self) -> TracedUfunc:
        return self

    def __deepcopy__(self, memo: Any) -> TracedUfunc:
        return self

    def __reduce__(self) -> Any:
        return real_ufunc, (self._ufunc,)


def _called(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if not any(isinstance(item, (list, tuple)) for item in arguments):
        return function(*arguments, **options)
    arguments, options = with_arrays(arguments, options)
    result = function(*arguments, **options)
    return all_known(result) if is_literal((arguments, options)) else result


_made: dict[np.ufunc, TracedUfunc] = {}


def traced_ufunc(ufunc: Any) -> Any:
    """What stands for a ufunc."""
    if type(ufunc) is TracedUfunc:
        return ufunc
    if ufunc not in _made:
        _made[ufunc] = TracedUfunc(ufunc)
    return _made[ufunc]


def real_ufunc(item: Any) -> Any:
    """The ufunc that something stands for; other things themselves."""
    return item._ufunc if type(item) is TracedUfunc else item
