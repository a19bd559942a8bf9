"""Ops that put arrays together without computing: update_slice, pad, concat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.shape import BROADCAST, RESHAPE, BroadcastAttributes, ReshapeAttributes, with_batch

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


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
            yield Sample(
                (TensorType(np.dtype(np.float64), shape), TensorType(np.dtype(np.float64), update)), UpdateSliceAttributes(start, stride)
            )


def _update_slices(attributes: UpdateSliceAttributes, shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(start, start + size * stride, stride) for start, size, stride in zip(attributes.start, shape, attributes.stride, strict=True)
    )


UPDATE_SLICE = register(UpdateSlice())


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
            yield Sample((TensorType(np.dtype(np.float64), shape), TensorType(np.dtype(np.float64), ())), PadAttributes(low, high))


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
        for dtype, axis, *shapes in ((np.float64, 0, (3, 4), (2, 4)), (np.float64, 1, (3, 4), (3, 33), (3, 0)), (np.int32, 0, (5,))):
            yield Sample(tuple(TensorType(np.dtype(dtype), shape) for shape in shapes), ConcatAttributes(axis))


CONCAT = register(Concat())
