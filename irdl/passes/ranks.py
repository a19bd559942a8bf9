"""Sorting along a short axis, of a line alone: every element is compared with all others, many at a time.

rank(x)[i] = sum over j of (x[j] lies before x[i])
argsort(x)[p] = sum over i of (i where its rank is p, else 0)
sort(x)[p] = max over i of (the bits of x[i] where its rank is p, else the least there are)
"""

from __future__ import annotations

import numpy as np

from irdl.ir.dtypes import is_bool, is_float
from irdl.ir.graph import Value
from irdl.ops import elementwise as e
from irdl.ops.reduce import MAX, SUM, ReduceAttributes
from irdl.ops.sort import SORT
from irdl.passes.maker import Maker

#: Longer axes are sorted by digits: what this does grows with their square. More lines are sorted side by side, where the machine can.
LONGEST, MOST_LINES = 128, 1


def sort_by_ranks(make: Maker, x: Value) -> list[Value] | None:
    """The sorted elements, or their places; None where the axis is long, or there are more lines."""
    axis = make.node.attributes.axis
    extent = x.shape[axis]
    if not 2 <= extent <= LONGEST or not 1 <= x.type.size // extent <= MOST_LINES:
        return None
    reduce = ReduceAttributes((axis,))
    key = _ordered(make, x)
    # as wide as the keys, for as many of both to fit a vector
    dtype = np.dtype(np.int64 if key.dtype.itemsize == 8 else np.int32)
    first, second = (_spread(make, key, axis, place) for place in (0, 1))
    one, other = (_places(make, x, axis, dtype, place) for place in (0, 1))
    is_before = make(e.SELECT, make(e.LESS, one, other), make(e.LESS_EQUAL, first, second), make(e.LESS, first, second))
    rank = make(SUM, make.cast(is_before, dtype), attributes=reduce)
    is_there = make(e.EQUAL, _spread(make, rank, axis, 0), other)
    if make.node.op is SORT:
        bits = _as_integers(make, x)
        least = make.builder.constant(np.iinfo(bits.dtype).min, bits.dtype)
        found = make(MAX, make(e.SELECT, is_there, _spread(make, bits, axis, 0), least), attributes=reduce)
        return [make(e.BITS_TO_FLOAT, found) if is_float(x.dtype) else make.cast(found, x.dtype)]
    # counted by the loop: read from an array of places, they would have the vector lie along themselves
    counted = make.places(is_there.shape, axis, dtype)
    found = make(SUM, make(e.SELECT, is_there, counted, make.builder.constant(0, dtype)), attributes=reduce)
    return [make.cast(found, np.dtype(np.int64))]


def _ordered(make: Maker, x: Value) -> Value:
    """Integers that are ordered as the elements are: nan behind all numbers, -0.0 equal to 0.0."""
    dtype = x.dtype
    if not is_float(dtype):
        return make.cast(x, np.dtype(np.int32)) if dtype.itemsize < 4 else x
    signed = np.dtype(f"i{dtype.itemsize}")
    bits = make.cast(make(e.FLOAT_TO_BITS, make(e.ADD, x, 0.0)), signed)
    most = np.iinfo(signed).max
    # of negative numbers all bits but the sign are turned
    turned = make(e.BITWISE_AND, make(e.RIGHT_SHIFT, bits, signed.itemsize * 8 - 1), most)
    return make(e.SELECT, make(e.EQUAL, x, x), make(e.BITWISE_XOR, bits, turned), make.builder.constant(most, signed))


def _as_integers(make: Maker, x: Value) -> Value:
    """The elements' bits: the greater of two floats would be looked for among nan."""
    if is_float(x.dtype):
        return make(e.FLOAT_TO_BITS, x)
    return make.cast(x, np.dtype(np.uint8)) if is_bool(x.dtype) else x


def _spread(make: Maker, x: Value, axis: int, place: int) -> Value:
    """`x` with the sorted axis as the first or the second of two."""
    pair = (x.shape[axis], 1) if place == 0 else (1, x.shape[axis])
    return make.shaped(x, (*x.shape[:axis], *pair, *x.shape[axis + 1 :]))


def _places(make: Maker, x: Value, axis: int, dtype: np.dtype, place: int) -> Value:
    """The places along the first or the second of two axes in place of the sorted one."""
    shape = [1] * (len(x.shape) + 1)
    shape[axis + place] = x.shape[axis]
    return make.places(tuple(shape), axis + place, dtype)
