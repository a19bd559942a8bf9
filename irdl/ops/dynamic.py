"""Slices at places that are only known at run time, of sizes known before.

A start out of range is moved to the nearest one at which the slice fits, as in XLA; nothing is ever out of bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.elementwise import ADD, MAXIMUM, MINIMUM
from irdl.ops.index import GATHER, SCATTER_SET, IndexAttributes
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.shape import (
    BROADCAST,
    IOTA,
    RESHAPE,
    SLICE,
    TRANSPOSE,
    BroadcastAttributes,
    IotaAttributes,
    ReshapeAttributes,
    SliceAttributes,
    TransposeAttributes,
    with_batch,
)

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class DynamicSliceAttributes:
    """`axes`: which axes the starts are of, ascending; `sizes`: how much is taken of each of them. Other axes are taken whole."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class DynamicUpdateSliceAttributes:
    """`axes`: which axes the starts are of, ascending. The update is as large as the array on the other axes."""

    axes: tuple[int, ...]


def _check(name: str, x: TensorType, starts: TensorType, axes: tuple[int, ...], sizes: Sequence[int]) -> None:
    if starts != TensorType(np.dtype(np.int64), (len(axes),)):
        raise GraphError(f"{name} along {len(axes)} axes takes starts int64[{len(axes)}], not {starts}")
    if list(axes) != sorted(set(axes)) or any(not 0 <= axis < x.rank for axis in axes) or len(sizes) != len(axes):
        raise GraphError(f"{name} of {sizes} along the axes {axes} does not fit {x}")
    if any(not 0 <= size <= x.shape[axis] for axis, size in zip(axes, sizes, strict=True)):
        raise GraphError(f"{name} of {sizes} along the axes {axes} does not fit {x}")


def _region(shape: Sequence[int], starts: np.ndarray, axes: tuple[int, ...], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Where the slice lies."""
    places = [slice(None)] * len(shape)
    for start, axis, size in zip(starts, axes, sizes, strict=True):
        first = min(max(int(start), 0), shape[axis] - size)
        places[axis] = slice(first, first + size)
    return tuple(places)


class DynamicSlice(Op):
    """`dynamic_slice(x, starts)`: the slice of x that begins at `starts`."""

    name = "dynamic_slice"
    only_moves = True
    Attributes = DynamicSliceAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, starts = types
        _check(self.name, x, starts, attributes.axes, attributes.sizes)
        shape = list(x.shape)
        for axis, size in zip(attributes.axes, attributes.sizes, strict=True):
            shape[axis] = size
        return (TensorType(x.dtype, tuple(shape)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        x, starts = operands
        return (x[_region(x.shape, starts, attributes.axes, attributes.sizes)].copy(),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        x, starts = operands
        return [dynamic_update_slice(np.zeros_like(x), cotangents[0], starts, attributes.axes), None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        x, starts = operands
        if not batched[1]:
            axes = tuple(axis + 1 for axis in attributes.axes)
            return [builder.value(self, [x, starts], DynamicSliceAttributes(axes, attributes.sizes))]
        x = with_batch(builder, x, batched[0], size)
        indices = _indices(builder, x, starts, attributes.axes, attributes.sizes)
        index_attributes = IndexAttributes((0, *(axis + 1 for axis in attributes.axes)))
        found = builder.value(GATHER, [x, indices], index_attributes)
        order = _order(attributes.axes, x.type.rank - 1)
        return [builder.value(TRANSPOSE, [found], TransposeAttributes(tuple(int(place) for place in np.argsort(order))))]

    def samples(self) -> Iterable[Sample]:
        for shape, axes, sizes in (
            ((6, 5), (0,), (1,)),
            ((6, 37), (1,), (20,)),
            ((4, 5, 3), (0, 2), (2, 1)),
            ((3,), (), ()),
            ((4, 2), (0,), (0,)),
        ):
            yield Sample((TensorType(np.dtype(np.float64), shape), _starts(axes)), DynamicSliceAttributes(axes, sizes), -2.0, 8.0)


DYNAMIC_SLICE = register(DynamicSlice())


class DynamicUpdateSlice(Op):
    """`dynamic_update_slice(x, update, starts)`: x with `update` stored from `starts` on."""

    name = "dynamic_update_slice"
    only_moves = True
    Attributes = DynamicUpdateSliceAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, update, starts = types
        if x.dtype != update.dtype or x.rank != update.rank:
            raise GraphError(f"cannot store {update} into {x}")
        _check(self.name, x, starts, attributes.axes, [update.shape[axis] for axis in attributes.axes if axis < x.rank])
        if any(a != b for axis, (a, b) in enumerate(zip(x.shape, update.shape, strict=True)) if axis not in attributes.axes):
            raise GraphError(f"{update} does not fill the axes of {x} that no start is of")
        return (x,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        x, update, starts = operands
        result = x.copy()
        result[_region(x.shape, starts, attributes.axes, [update.shape[axis] for axis in attributes.axes])] = update
        return (result,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        _, update, starts = operands
        (ct,) = cotangents
        sizes = tuple(update.shape[axis] for axis in attributes.axes)
        rest = dynamic_update_slice(ct, np.zeros_like(update), starts, attributes.axes)
        return [rest, dynamic_slice(ct, starts, attributes.axes, sizes), None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        x, update = (with_batch(builder, value, mark, size) for value, mark in zip(operands[:2], batched[:2], strict=True))
        starts = operands[2]
        axes = tuple(axis + 1 for axis in attributes.axes)
        if not batched[2]:
            return [builder.value(self, [x, update, starts], DynamicUpdateSliceAttributes(axes))]
        indices = _indices(builder, x, starts, attributes.axes, [update.shape[axis] for axis in axes])
        moved = builder.value(TRANSPOSE, [update], TransposeAttributes(_order(attributes.axes, x.type.rank - 1)))
        return [builder.value(SCATTER_SET, [x, indices, moved], IndexAttributes((0, *axes)))]

    def samples(self) -> Iterable[Sample]:
        f = np.dtype(np.float64)
        for shape, update, axes in (((6, 5), (1, 5), (0,)), ((6, 37), (6, 20), (1,)), ((4, 5, 3), (2, 5, 1), (0, 2)), ((3,), (3,), ())):
            yield Sample((TensorType(f, shape), TensorType(f, update), _starts(axes)), DynamicUpdateSliceAttributes(axes), -2.0, 8.0)


DYNAMIC_UPDATE_SLICE = register(DynamicUpdateSlice())


def _starts(axes: tuple[int, ...]) -> TensorType:
    return TensorType(np.dtype(np.int64), (len(axes),))


def _order(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Batch axis first, then the indexed axes, then the others: where they are in an array with a batch axis in front."""
    return (0, *(axis + 1 for axis in axes), *(axis + 1 for axis in range(rank) if axis not in axes))


def _indices(builder: Builder, x: Value, starts: Value, axes: tuple[int, ...], sizes: Sequence[int]) -> Value:
    """Index rows [batch, *sizes, 1 + axes] of a slice for each element of a batch, that of the batch first."""
    dtype = np.dtype(np.int64)
    size = x.shape[0]
    grid = (size, *sizes)
    columns = [builder.value(IOTA, [], IotaAttributes(dtype, (*grid, 1), 0))]
    for place, (axis, extent) in enumerate(zip(axes, sizes, strict=True)):
        last = builder.constant(np.int64(x.shape[axis + 1] - extent))
        start = builder.value(SLICE, [starts], SliceAttributes((0, place), (size, place + 1), (1, 1)))
        start = builder.value(MINIMUM, [builder.value(MAXIMUM, [start, builder.constant(np.int64(0))]), last])
        start = builder.value(RESHAPE, [start], ReshapeAttributes((size, *[1] * len(sizes), 1)))
        start = builder.value(BROADCAST, [start], BroadcastAttributes((*grid, 1)))
        columns.append(builder.value(ADD, [start, builder.value(IOTA, [], IotaAttributes(dtype, (*grid, 1), place + 1))]))
    return columns[0] if len(columns) == 1 else builder.value(CONCAT, columns, ConcatAttributes(len(grid)))


def dynamic_slice(x: Any, starts: Any, axes: tuple[int, ...], sizes: tuple[int, ...]) -> Any:
    """The op as a NumPy-level call for gradient rules: traced arrays record it, arrays evaluate it."""
    return DYNAMIC_SLICE.apply([x, starts], DynamicSliceAttributes(axes, sizes))


def dynamic_update_slice(x: Any, update: Any, starts: Any, axes: tuple[int, ...]) -> Any:
    """As `dynamic_slice`, for `dynamic_update_slice`."""
    return DYNAMIC_UPDATE_SLICE.apply([x, update, starts], DynamicUpdateSliceAttributes(axes))
