"""NumPy's functions that sort: sort, argsort, partition and lexsort. All of them are stable, whatever `kind` asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.op import Op
from irdl.ops.sort import ARGSORT, SORT, SortAttributes
from irdl.tracing.box import is_box, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.choosing import take_along_axis
from irdl.tracing.numpy.layout import INSTEAD
from irdl.tracing.numpy.shaping import ravel
from irdl.tracing.numpy.table import TABLE, as_box, settled, traced
from irdl.tracing.numpy.ufuncs import store
from irdl.tracing.operations import apply


def _check_order(order: Any = None, **options: Any) -> None:
    """Let NumPy look at how to sort, which it does of one element too."""
    if order is not None:
        raise ValueError(f"Cannot specify order when the array has no fields.{user_line()}")
    try:
        np.sort(np.zeros(1), **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}{user_line()}") from None


def ordered(op: Op, box: Any, axis: Any) -> Any:
    """SORT or ARGSORT along an axis, or of all elements in one line."""
    if axis is None:
        box, axis = ravel(box), 0
    return apply(op, [box.value], SortAttributes(_normal(axis, box.ndim)))


def _normal(axis: Any, rank: int) -> int:
    """
    Raises:
        AxisError: there is no such axis.
    """
    try:
        return np.lib.array_utils.normalize_axis_index(axis, rank)
    except np.exceptions.AxisError as error:
        raise np.exceptions.AxisError(f"{error}{user_line()}") from None


@traced(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    _check_order(order, kind=kind, stable=stable)
    return wrap(ordered(SORT, as_box(a), axis))


@traced(np.argsort)
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    _check_order(order, kind=kind, stable=stable)
    return wrap(ordered(ARGSORT, _of_one_axis(as_box(a)), axis))


def _of_one_axis(box: Any) -> Any:
    """NumPy's argsort takes a number for an array of one."""
    return box if box.ndim else ravel(box)


def sort_in_place(self: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """`x.sort()`."""
    _check_order(order, kind=kind, stable=stable)
    store(self, ordered(SORT, self, _one(axis)))


def _one(axis: Any) -> int:
    """What sorts in place takes no None for an axis.

    Raises:
        TypeError: it is one.
    """
    if axis is None:
        raise TypeError(f"'NoneType' object cannot be interpreted as an integer{user_line()}")
    return axis.__index__()


# Partitions: what is sorted is one.


def _check_partition(kth: Any, extent: int, kind: Any, order: Any) -> None:
    """
    Raises:
        TraceError: the places are not known; ValueError, TypeError: they are none.
    """
    if order is not None:
        raise ValueError(f"Cannot specify order when the array has no fields.{user_line()}")
    if is_box(kth) or (isinstance(kth, (list, tuple)) and any(is_box(part) for part in kth)):
        known = settled(as_box(kth))
        if known is None:
            raise TraceError(f"np.partition at places that are not known while tracing: use np.sort{user_line()}")
        kth = known
    try:
        np.partition(np.broadcast_to(np.int8(0), extent), kth, kind=kind)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}{user_line()}") from None


def _partition(op: Op) -> Callable[..., Any]:
    def rule(a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
        box = as_box(a) if op is SORT else _of_one_axis(as_box(a))
        if axis is None:
            box, axis = ravel(box), 0
        axis = _normal(axis, box.ndim)
        _check_partition(kth, box.shape[axis], kind, order)
        return wrap(ordered(op, box, axis))

    return rule


TABLE[np.partition], TABLE[np.argpartition] = _partition(SORT), _partition(ARGSORT)


def partition_in_place(self: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> None:
    """`x.partition(kth)`."""
    store(self, TABLE[np.partition](self, kth, _one(axis), kind, order).value)


@traced(np.lexsort)
def lexsort(keys: Any, axis: Any = -1) -> Any:
    if not isinstance(keys, (list, tuple)) and not np.ndim(keys):
        raise TypeError(f"need sequence of keys with len > 0 in lexsort{user_line()}")
    rows = [as_box(key) for key in keys]
    if not rows:
        raise TypeError(f"need sequence of keys with len > 0 in lexsort{user_line()}")
    if any(row.shape != rows[0].shape for row in rows):
        raise ValueError(f"all keys need to be the same shape{user_line()}")
    if not rows[0].ndim:
        return np.zeros_like(rows[0], np.int64)[()]
    axis = _normal(axis, rows[0].ndim)
    order = ordered(ARGSORT, rows[0], axis)
    for key in rows[1:]:  # those before decide among equals
        again = ordered(ARGSORT, take_along_axis(key, wrap(order), axis), axis)
        order = take_along_axis(wrap(order), wrap(again), axis).value
    return wrap(order)


# What has as many elements as there are different numbers, and what gives complex ones.

for _name in (
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "intersect1d",
    "setdiff1d",
    "setxor1d",
    "union1d",
):
    INSTEAD[getattr(np, _name)] = (
        "its result has as many elements as there are different numbers, which is not known while tracing. np.sort keeps them all, equal "
        "ones next to each other, with x[1:] != x[:-1] where others begin; np.isin gives a mask"
    )
INSTEAD[np.sort_complex] = "complex numbers have no order in irdl, sort real ones with np.sort"
