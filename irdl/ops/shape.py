"""Ops that move elements without computing: reshape, transpose, broadcast, slice, reverse, pad, concat, iota."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.broadcasting import sum_to_shape

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


def _type(dtype: str, *shape: int) -> TensorType:
    return TensorType(np.dtype(dtype), shape)


@dataclass(frozen=True)
class ReshapeAttributes:
    shape: tuple[int, ...]


class Reshape(Op):
    """The same elements in row-major order under another shape."""

    name = "reshape"
    is_view = True
    Attributes = ReshapeAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        if math.prod(attributes.shape) != type.size or any(extent < 0 for extent in attributes.shape):
            raise GraphError(f"cannot reshape {type} to {attributes.shape}")
        return (type.with_shape(attributes.shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (operands[0].reshape(attributes.shape),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [np.reshape(cotangents[0], operands[0].shape)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, ReshapeAttributes((size, *attributes.shape))).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, new in (((6, 4), (3, 8)), ((24,), (2, 3, 4)), ((), (1, 1)), ((0, 3), (3, 0)), ((2, 3, 4), (24,))):
            yield Sample((_type("float32", *shape),), ReshapeAttributes(new))
            yield Sample((_type("int8", *shape),), ReshapeAttributes(new))


RESHAPE = register(Reshape())


@dataclass(frozen=True)
class TransposeAttributes:
    permutation: tuple[int, ...]


class Transpose(Op):
    """Axis i of the output is axis `permutation[i]` of the operand."""

    name = "transpose"
    is_view = True
    Attributes = TransposeAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        if sorted(attributes.permutation) != list(range(type.rank)):
            raise GraphError(f"{attributes.permutation} does not permute the axes of {type}")
        return (TensorType(type.dtype, tuple(type.shape[axis] for axis in attributes.permutation)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (operands[0].transpose(attributes.permutation),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [np.transpose(cotangents[0], [int(axis) for axis in np.argsort(attributes.permutation)])]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        permutation = (0, *(axis + 1 for axis in attributes.permutation))
        return builder.node(self, operands, TransposeAttributes(permutation)).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, permutation in (((3, 4), (1, 0)), ((2, 3, 17), (2, 0, 1)), ((), ()), ((0, 3), (1, 0)), ((40, 33), (1, 0))):
            yield Sample((_type("float32", *shape),), TransposeAttributes(permutation))


TRANSPOSE = register(Transpose())


@dataclass(frozen=True)
class BroadcastAttributes:
    shape: tuple[int, ...]


class Broadcast(Op):
    """NumPy's `broadcast_to`."""

    name = "broadcast"
    is_view = True
    Attributes = BroadcastAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        shape = attributes.shape
        if len(shape) < type.rank or any(a not in (1, b) for a, b in zip(type.shape[::-1], shape[::-1], strict=False)):
            raise GraphError(f"cannot broadcast {type} to {shape}")
        return (TensorType(type.dtype, shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.broadcast_to(operands[0], attributes.shape),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [sum_to_shape(cotangents[0], operands[0].shape)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        (x,) = operands
        missing = len(attributes.shape) - (len(x.shape) - 1)
        aligned = builder.value(RESHAPE, [x], ReshapeAttributes((size, *([1] * missing), *x.shape[1:])))
        return builder.node(self, [aligned], BroadcastAttributes((size, *attributes.shape))).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, new in (((3, 1), (3, 37)), ((4,), (3, 4)), ((), (2, 3)), ((1,), (0,)), ((1, 3, 1), (2, 3, 4))):
            yield Sample((_type("float64", *shape),), BroadcastAttributes(new))


BROADCAST = register(Broadcast())


@dataclass(frozen=True)
class SliceAttributes:
    """Per axis: first index, end (exclusive) and a positive step."""

    start: tuple[int, ...]
    limit: tuple[int, ...]
    stride: tuple[int, ...]


class Slice(Op):
    """`x[start:limit:stride]` on every axis, with positive steps and all bounds inside."""

    name = "slice"
    is_view = True
    Attributes = SliceAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        parts = (attributes.start, attributes.limit, attributes.stride)
        if any(len(part) != type.rank for part in parts):
            raise GraphError(f"slice {parts} does not fit {type}")
        shape = []
        for extent, start, limit, stride in zip(type.shape, *parts, strict=True):
            if not (0 <= start <= limit <= extent and stride >= 1):
                raise GraphError(f"slice {start}:{limit}:{stride} does not fit an axis of {extent}")
            shape.append(limit - start if stride == 1 else len(range(start, limit, stride)))
        return (type.with_shape(tuple(shape)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (operands[0][_slices(attributes)],)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        result = np.zeros_like(operands[0])
        result[_slices(attributes)] = cotangents[0]
        return [result]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        new = SliceAttributes((0, *attributes.start), (size, *attributes.limit), (1, *attributes.stride))
        return builder.node(self, operands, new).outputs

    def samples(self) -> Iterable[Sample]:
        cases = [((6, 7), (1, 0), (5, 7), (2, 3)), ((5,), (2,), (2,), (1,)), ((40,), (3,), (39,), (1,)), ((), (), (), ())]
        for shape, start, limit, stride in cases:
            yield Sample((_type("float64", *shape),), SliceAttributes(start, limit, stride))


def _slices(attributes: SliceAttributes) -> tuple[slice, ...]:
    return tuple(
        slice(start, limit, stride) for start, limit, stride in zip(attributes.start, attributes.limit, attributes.stride, strict=True)
    )


SLICE = register(Slice())


@dataclass(frozen=True)
class UpdateSliceAttributes:
    start: tuple[int, ...]
    stride: tuple[int, ...]


class UpdateSlice(Op):
    """`update_slice(x, u)`: x with `u` stored from `start` on with the given steps; u has x's rank."""

    name = "update_slice"
    only_moves = True
    Attributes = UpdateSliceAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, update = types
        if x.dtype != update.dtype or x.rank != update.rank or not (len(attributes.start) == len(attributes.stride) == x.rank):
            raise GraphError(f"cannot store {update} into {x}")
        for extent, size, start, stride in zip(x.shape, update.shape, attributes.start, attributes.stride, strict=True):
            if stride < 1 or start < 0 or (size and start + (size - 1) * stride >= extent):
                raise GraphError(f"a store of {size} from {start} by {stride} does not fit an axis of {extent}")
        return (x,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        result = operands[0].copy()
        result[_update_slices(attributes, operands[1].shape)] = operands[1]
        return (result,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        where = _update_slices(attributes, operands[1].shape)
        (ct,) = cotangents
        rest = ct.copy()
        rest[where] = np.zeros_like(operands[1])
        return [rest, ct[where]]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        both = [with_batch(builder, v, mark, size) for v, mark in zip(operands, batched, strict=True)]
        return builder.node(self, both, UpdateSliceAttributes((0, *attributes.start), (1, *attributes.stride))).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, update, start, stride in (((6, 7), (2, 3), (1, 0), (2, 3)), ((40,), (36,), (3,), (1,)), ((5,), (0,), (5,), (1,))):
            yield Sample((_type("float64", *shape), _type("float64", *update)), UpdateSliceAttributes(start, stride))


def _update_slices(attributes: UpdateSliceAttributes, shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(start, start + size * stride, stride) for start, size, stride in zip(attributes.start, shape, attributes.stride, strict=True)
    )


UPDATE_SLICE = register(UpdateSlice())


def with_batch(builder: Builder, value: Value, batched: bool, size: int) -> Value:
    """`value` with a leading axis of `size`: as it is if it has one, broadcast otherwise."""
    if batched:
        return value
    return builder.value(BROADCAST, [value], BroadcastAttributes((size, *value.shape)))


@dataclass(frozen=True)
class ReverseAttributes:
    axes: tuple[int, ...]


class Reverse(Op):
    """NumPy's `flip`."""

    name = "reverse"
    is_view = True
    Attributes = ReverseAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        if any(not 0 <= axis < type.rank for axis in attributes.axes):
            raise GraphError(f"axes {attributes.axes} do not fit {type}")
        return (type,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.flip(operands[0], attributes.axes),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [np.flip(cotangents[0], attributes.axes)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, ReverseAttributes(tuple(axis + 1 for axis in attributes.axes))).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, axes in (((5,), (0,)), ((3, 4), (0, 1)), ((3, 33), (1,)), ((0, 2), (0,))):
            yield Sample((_type("float64", *shape),), ReverseAttributes(axes))


REVERSE = register(Reverse())


@dataclass(frozen=True)
class PadAttributes:
    """How much of the fill value goes before and behind each axis."""

    low: tuple[int, ...]
    high: tuple[int, ...]


class Pad(Op):
    """`pad(x, fill)`: x framed by the scalar `fill`."""

    name = "pad"
    only_moves = True
    Attributes = PadAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, fill = types
        if fill != TensorType(x.dtype, ()):
            raise GraphError(f"the fill of a pad of {x} is a scalar of its dtype, not {fill}")
        if len(attributes.low) != x.rank or len(attributes.high) != x.rank:
            raise GraphError(f"pad {attributes.low}, {attributes.high} does not fit {x}")
        if any(amount < 0 for amount in (*attributes.low, *attributes.high)):
            raise GraphError("a pad is not negative: slice instead")
        shape = tuple(a + b + c for a, b, c in zip(attributes.low, x.shape, attributes.high, strict=True))
        return (TensorType(x.dtype, shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        widths = list(zip(attributes.low, attributes.high, strict=True))
        x, fill = operands
        return (np.pad(x, widths, constant_values=fill) if x.ndim else x,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (ct,), (x, _) = cotangents, operands
        inner = ct[tuple(slice(low, low + n) for low, n in zip(attributes.low, x.shape, strict=True))]
        return [inner, np.sum(ct) - np.sum(inner)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        if batched[1]:
            return self._batch_fill(builder, operands, batched, size, attributes)
        new = PadAttributes((0, *attributes.low), (0, *attributes.high))
        return builder.node(self, operands, new).outputs

    def _batch_fill(
        self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: PadAttributes
    ) -> Sequence[Value]:
        x, fill = operands
        x = with_batch(builder, x, batched[0], size)
        inner = x.shape[1:]
        shape = (size, *(a + n + b for a, n, b in zip(attributes.low, inner, attributes.high, strict=True)))
        column = builder.value(RESHAPE, [fill], ReshapeAttributes((size, *([1] * len(inner)))))
        frame = builder.value(BROADCAST, [column], BroadcastAttributes(shape))
        where = UpdateSliceAttributes((0, *attributes.low), (1,) * len(shape))
        return builder.node(UPDATE_SLICE, [frame, x], where).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, low, high in (((3, 4), (1, 0), (2, 3)), ((5,), (0,), (30,)), ((0,), (2,), (1,)), ((), (), ())):
            yield Sample((_type("float64", *shape), _type("float64")), PadAttributes(low, high))


PAD = register(Pad())


@dataclass(frozen=True)
class ConcatAttributes:
    axis: int


class Concat(Op):
    """NumPy's `concatenate` of one or more arrays of one dtype."""

    name = "concat"
    only_moves = True
    Attributes = ConcatAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        axis = attributes.axis
        if not types or not 0 <= axis < types[0].rank:
            raise GraphError(f"concat along axis {axis} of {', '.join(map(str, types)) or 'nothing'}")

        def rest(type: TensorType) -> tuple[Any, ...]:
            return type.dtype, type.rank, type.shape[:axis] + type.shape[axis + 1 :]

        if any(rest(type) != rest(types[0]) for type in types):
            raise GraphError(f"cannot concat {', '.join(map(str, types))} along axis {axis}")
        total = sum(type.shape[axis] for type in types)
        return (TensorType(types[0].dtype, (*types[0].shape[:axis], total, *types[0].shape[axis + 1 :])),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.concatenate(operands, axis=attributes.axis),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        ends = np.cumsum([x.shape[attributes.axis] for x in operands])[:-1]
        return np.split(cotangents[0], [int(end) for end in ends], axis=attributes.axis)

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        both = [with_batch(builder, v, mark, size) for v, mark in zip(operands, batched, strict=True)]
        return builder.node(self, both, ConcatAttributes(attributes.axis + 1)).outputs

    def samples(self) -> Iterable[Sample]:
        yield Sample((_type("float64", 3, 4), _type("float64", 2, 4)), ConcatAttributes(0))
        yield Sample((_type("float64", 3, 4), _type("float64", 3, 33), _type("float64", 3, 0)), ConcatAttributes(1))
        yield Sample((_type("int32", 5),), ConcatAttributes(0))


CONCAT = register(Concat())


@dataclass(frozen=True)
class IotaAttributes:
    dtype: np.dtype
    shape: tuple[int, ...]
    axis: int


class Iota(Op):
    """0, 1, 2, ... along `axis`, the same everywhere else."""

    name = "iota"
    Attributes = IotaAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if types or not 0 <= attributes.axis < len(attributes.shape):
            raise GraphError(f"iota along axis {attributes.axis} of {attributes.shape}")
        return (TensorType(attributes.dtype, attributes.shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        shape, axis = attributes.shape, attributes.axis
        line = np.arange(shape[axis]).astype(attributes.dtype)
        return (np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return []

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        raise GraphError("iota has no operand and is never batched")

    def samples(self) -> Iterable[Sample]:
        for dtype, shape, axis in (("int64", (7,), 0), ("float32", (3, 40), 1), ("int32", (3, 4), 0), ("int64", (0,), 0)):
            yield Sample((), IotaAttributes(np.dtype(dtype), shape, axis))


IOTA = register(Iota())
