"""Views: reshape, transpose, broadcast, slice, reverse; and iota, whose elements are their own places."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import is_complex, short_name
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
        if any(not 0 <= axis < type.rank for axis in attributes.axes) or len(set(attributes.axes)) < len(attributes.axes):
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
        if is_complex(attributes.dtype):
            raise GraphError(f"iota is not defined for {short_name(attributes.dtype)}")
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
