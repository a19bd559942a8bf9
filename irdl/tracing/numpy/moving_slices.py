"""`x[i:i + n]` of an i that the trace does not know: how long it is follows from how its ends were computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.builder import constant_of
from irdl.ir.dtypes import is_integer
from irdl.ir.graph import Value
from irdl.ops.elementwise import ADD, LESS, MUL, NEG, SELECT, SUB
from irdl.ops.index import GATHER, IndexAttributes
from irdl.ops.shape import IOTA, RESHAPE, IotaAttributes, ReshapeAttributes
from irdl.tracing import counters
from irdl.tracing.box import Box, is_box, to_value
from irdl.tracing.lines import user_line
from irdl.tracing.operations import apply, cast
from irdl.tracing.recorder import Cell, open_trace

_INDEX = np.dtype(np.int64)
#: how far back two ways to compute a number are compared
_DEPTH = 8


@dataclass(frozen=True)
class MovingSlice:
    """From a number that is known at run time on, this many elements."""

    start: Value
    size: int

    def checked_start(self, extent: int) -> Cell:
        """Where it begins, as int64; at run time an error where NumPy would give fewer elements, or count from the end.

        Raises:
            IndexError: it is longer than the axis.
        """
        dtype = self.start.dtype
        if self.size > extent:
            raise IndexError(f"a slice of {self.size} elements does not fit an axis of {extent}{user_line()}")
        if extent > np.iinfo(dtype).max:
            raise TraceError(f"a slice of an axis of {extent} by {dtype} numbers: use int64{user_line()}")
        start, trace = cast(self.start, _INDEX), open_trace()
        ends = counters.reach(trace, start) if counters.are_within(trace) else None
        if ends is not None and ends[0] >= 0 and ends[1] <= extent - self.size:
            return Cell(trace, start)
        places = apply(IOTA, [], IotaAttributes(_INDEX, (extent - self.size + 1,), 0))
        outside = trace.constant(np.int64(extent + 1))
        place = apply(SELECT, [apply(LESS, [start, trace.constant(np.int64(0))]), outside, start])
        return Cell(trace, apply(GATHER, [places, apply(RESHAPE, [place], ReshapeAttributes((1,)))], IndexAttributes((0,))))


def is_moving(item: slice) -> bool:
    return any(is_box(part) and part.known is None for part in (item.start, item.stop, item.step))


def moving_slice(item: slice) -> MovingSlice:
    """A slice with traced ends, if they are a known number apart whatever they are.

    Raises:
        TraceError: they are not, or the step is not 1.
    """
    ends = [_end(part) for part in (item.start, item.stop)]
    if None not in ends and item.step in (None, 1):
        (first, start), (second, stop) = ends  # type: ignore[misc]
        if first == second:
            return MovingSlice(to_value(item.start), max(0, stop - start))
    raise TraceError(
        "the length of x[a:b] is not known while tracing: write it as x[i:i + n] with a known n, use np.where over the whole axis, or make "
        f"the ends static arguments{user_line()}"
    )


def _end(part: Any) -> tuple[dict[Any, int], int] | None:
    if not is_box(part):
        return ({}, part.__index__()) if part is not None else None
    box: Box = part
    if box.ndim or not is_integer(box.dtype):
        raise TypeError(f"slice indices must be integers or None or have an __index__ method{user_line()}")
    terms, constant = _terms(box.value)
    return {leaf: factor for leaf, factor in terms.items() if factor}, constant


def _terms(value: Value) -> tuple[dict[Any, int], int]:
    """An integer as a sum of multiples of others, modulo what its dtype holds: {how it is computed: factor}, and a constant."""
    array = constant_of(value)
    if array is not None and array.size == 1:
        return {}, int(array.reshape(-1)[0])
    node = value.node
    if node is not None and node.op in (ADD, SUB):
        (first, a), (second, b) = (_terms(operand) for operand in node.operands)
        sign = 1 if node.op is ADD else -1
        return {leaf: first.get(leaf, 0) + sign * second.get(leaf, 0) for leaf in {**first, **second}}, a + sign * b
    if node is not None and node.op is NEG:
        terms, constant = _terms(node.operands[0])
        return {leaf: -factor for leaf, factor in terms.items()}, -constant
    if node is not None and node.op is MUL:
        for (terms, constant), (others, factor) in (sides := [_terms(operand) for operand in node.operands], sides[::-1]):
            if not others:
                return {leaf: count * factor for leaf, count in terms.items()}, constant * factor
    return {_key(value, _DEPTH): 1}, 0


def _key(value: Value, depth: int) -> Any:
    """The same for two values that are computed alike, as `i[0]` written twice."""
    node = value.node
    if node is None or not depth or node.regions or len(node.outputs) > 1:
        return value
    return node.op, node.attributes, tuple([_key(operand, depth - 1) for operand in node.operands])
