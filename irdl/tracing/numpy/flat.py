"""`x.flat`: the elements one after the other, read, stored into and walked through; and `np.ndenumerate`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import ARRAY, Box, is_box, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.rearranging import resize
from irdl.tracing.numpy.shaping import ravel, reshape
from irdl.tracing.numpy.table import as_box
from irdl.tracing.numpy.ufuncs import store


class Flat:
    """What `np.ndarray.flat` gives: views of nothing, stores go into the array."""

    __slots__ = ("base",)

    def __init__(self, base: Box) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        whole = reshape(self.base, (-1,))
        return iter(whole) if whole.cell is self.base.cell else (self[place] for place in range(len(self)))

    def __next__(self) -> Any:
        raise TraceError(f"next(x.flat) cannot be traced: walk through x.flat with for, or index it{user_line()}")

    def __getitem__(self, key: Any) -> Any:
        found = reshape(self.base, (-1,))[_single(key)]
        return wrap(found.value) if is_box(found) and found.kind == ARRAY else found

    def __setitem__(self, key: Any, values: Any) -> None:
        key, values = _single(key), as_box(values)
        if values.size != 1:
            values = resize(values, self._count(key))
        whole = reshape(self.base, (-1,))
        whole[key] = reshape(values, ()) if values.size == 1 else values
        if whole.cell is not self.base.cell:
            store(self.base, reshape(whole, self.base.shape).value)

    def _count(self, key: Any) -> int:
        """How many elements are stored into."""
        if is_box(key) and key.known is None:
            if key.dtype == np.bool_:
                raise TraceError(f"x.flat[mask] = values deals them out one by one, which cannot be traced: use np.where{user_line()}")
            return int(key.size)
        return int(np.size(np.arange(len(self))[np.asarray(key) if is_box(key) else key]))

    def copy(self) -> Any:
        return wrap(ravel(self.base).value)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*_as_boxes(inputs), **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return function(*_as_boxes(arguments), **options)


def _single(key: Any) -> Any:
    if isinstance(key, tuple):
        if len(key) != 1:
            raise IndexError(f"unsupported iterator index{user_line()}")
        (key,) = key
    return key


def _as_boxes(items: Any) -> list[Any]:
    return [item.copy() if isinstance(item, Flat) else item for item in items]


def store_flat(box: Box, values: Any) -> None:
    """`x.flat = values`."""
    Flat(box)[:] = values


def ndenumerate(arr: Any) -> Any:
    """What stands for `np.ndenumerate`."""
    if not is_box(arr):
        return np.ndenumerate(arr)
    return ((place, arr[place] if place else arr.reshape(1)[0]) for place in np.ndindex(arr.shape))
