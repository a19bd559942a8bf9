"""How NumPy lays arrays out in memory: asked of shadows, arrays of a layout with no memory behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

#: extents of the tiny arrays
_TINY = 2


def contiguous_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Row-major strides in bytes."""
    return tuple(math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape)))


@lru_cache(maxsize=1024)
def shadow_array(shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...] | None = None) -> np.ndarray:
    """An array with the layout asked for and no memory behind it: views of it tell how NumPy would lay them out. Not to be changed."""
    if strides is None:
        strides = contiguous_strides(shape, dtype.itemsize)
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides)


def tiny(array: np.ndarray) -> np.ndarray:
    """An array of ones, at most two in each direction, whose axes have the order of those of `array` in memory."""
    shape = tuple(min(extent, _TINY) for extent in array.shape)
    sizes = sorted({abs(stride) for stride in array.strides if stride})
    rank = {size: array.itemsize * _TINY**place for place, size in enumerate(sizes)}
    strides = [rank[abs(stride)] if stride else 0 for stride in array.strides]
    if array.flags.c_contiguous:
        return np.ones(shape, array.dtype)
    room = np.ones(_TINY ** (len(sizes) + 1), array.dtype)
    made = np.lib.stride_tricks.as_strided(room, shape, strides)
    return made[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]


def fresh_strides(made: np.ndarray, shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """The strides of a new array of this shape whose axes have the order of those of `made`."""
    strides, step = [0] * len(shape), itemsize
    for axis in sorted(range(len(shape)), key=lambda axis: (abs(made.strides[axis]), -axis)):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def result_shadow(operands: Sequence[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The layout of a ufunc's result over these operands."""
    layouts = tuple([(operand.shape, operand.strides, operand.dtype) for operand in operands])
    return shadow_array(shape, dtype, _result_strides(layouts, shape, dtype.itemsize))


@lru_cache(maxsize=4096)
def _result_strides(layouts: tuple[tuple[Any, Any, np.dtype], ...], shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    given = [tiny(shadow_array(extents, dtype, strides)) for extents, strides, dtype in layouts]
    flags: Any = [["readonly"]] * len(given) + [["writeonly", "allocate"]]
    made = np.nditer([*given, None], ["zerosize_ok"], flags, op_dtypes=[None] * len(given) + [np.dtype(np.int8)]).operands[-1]
    return fresh_strides(made, shape, itemsize)


def reshape_is_view(shadow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The shadow under the new shape where NumPy gives a view, None where it copies."""
    try:
        return np.reshape(shadow, shape, copy=False)
    except ValueError:
        return None
