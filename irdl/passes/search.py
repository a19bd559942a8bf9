"""The place of an extremum along an axis, from reductions.

    argmax(x) -> min(select(x == max(x) or x is nan, place, extent))

Of a long last axis the extremum of each of its blocks comes first, and the place is looked for in the first block that has it: x is read
once. A nan makes the extremum nan, which equals nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from irdl.ir.dtypes import is_float
from irdl.ir.graph import Value
from irdl.ops import elementwise as e
from irdl.ops.index import GATHER, IndexAttributes
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.reduce import ARGMAX, MAX, MIN, ReduceAttributes
from irdl.passes.maker import Maker

#: Shorter axes are searched step by step.
_SHORT = 16
#: the elements of a block, and how many of those an axis has at least that is searched block by block
_BLOCK = 512
_BLOCKS = 2
_PLACE, _INDEX = np.dtype(np.int32), np.dtype(np.int64)


def search(make: Maker, x: Value) -> Sequence[Value] | None:
    """What stands for the argmax or argmin `make.node` of x."""
    axis = make.node.attributes.axis
    extent = x.shape[axis]
    if extent < _SHORT or extent >= 2**31 or not x.type.size:
        return None
    if x.dtype == np.bool_:
        x = make.cast(x, np.dtype(np.uint8))
    if axis == len(x.shape) - 1 and extent >= _BLOCK * _BLOCKS:
        found = _by_blocks(make, x)
    else:
        found = _first(make, x, _extremum(make, x, axis), axis)
    return [make.cast(found, _INDEX)]


def _extremum(make: Maker, x: Value, axis: int) -> Value:
    return make(MAX if make.node.op is ARGMAX else MIN, x, attributes=ReduceAttributes((axis,)))


def _first(make: Maker, x: Value, best: Value, axis: int) -> Value:
    """The first place along an axis where x is `best`, or a nan; the extent where it is nowhere."""
    extent = x.shape[axis]
    hit = make(e.EQUAL, x, make.shaped(best, tuple(1 if place == axis else n for place, n in enumerate(x.shape))))
    if is_float(x.dtype):
        hit = make(e.BITWISE_OR, hit, make(e.NOT_EQUAL, x, x))
    places = make.places(tuple(extent if place == axis else 1 for place in range(len(x.shape))), axis, _PLACE)
    chosen = make(e.SELECT, hit, places, make.builder.constant(extent, _PLACE))
    return make(MIN, chosen, attributes=ReduceAttributes((axis,)))


def _by_blocks(make: Maker, x: Value) -> Value:
    *lead, extent = x.shape
    rows, count = math.prod(lead), extent // _BLOCK
    x = make.shaped(x, (rows, extent))
    blocks = make.shaped(make.part(x, 1, 0, count * _BLOCK), (rows, count, _BLOCK))
    rest = make.part(x, 1, count * _BLOCK, extent) if extent % _BLOCK else None
    extrema = _extremum(make, blocks, 2)
    if rest is not None:
        last = make.shaped(_extremum(make, rest, 1), (rows, 1))
        extrema = make(CONCAT, extrema, last, attributes=ConcatAttributes(1))
    best = _extremum(make, extrema, 1)
    block = _first(make, extrema, best, 1)
    whole = make(e.MINIMUM, block, count - 1)
    found = make(e.ADD, make(e.MUL, whole, _BLOCK), _first(make, _block(make, blocks, whole), best, 1))
    if rest is not None:
        in_rest = make(e.ADD, _first(make, rest, best, 1), count * _BLOCK)
        found = make(e.SELECT, make(e.EQUAL, block, count), in_rest, found)
    return make.shaped(found, tuple(lead))


def _block(make: Maker, blocks: Value, number: Value) -> Value:
    """`blocks[row, number[row]]` for each row."""
    rows = blocks.shape[0]
    number = make.shaped(make.cast(number, _INDEX), (rows, 1))
    places = make(CONCAT, make.places((rows, 1), 0, _INDEX), number, attributes=ConcatAttributes(1))
    return make(GATHER, blocks, places, attributes=IndexAttributes((0, 1)))
