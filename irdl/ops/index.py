"""Reading and writing at computed places. Indices count from the end when negative, as in NumPy; out of range raises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError, out_of_bounds
from irdl.ir.dtypes import is_bool
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.shape import IOTA, IotaAttributes, with_batch

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class IndexAttributes:
    """`axes`: which axes of the array the columns of `indices` index, ascending.

    `raises`: the error that an index out of range stands for ("LinAlgError: Singular matrix"), where it is no IndexError.
    """

    axes: tuple[int, ...]
    raises: str = ""


def _check(x: TensorType, indices: TensorType, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what `indices` (int64, [..., len(axes)]) read from `x`."""
    if indices.dtype != np.int64 or indices.rank < 1 or indices.shape[-1] != len(axes):
        raise GraphError(f"indices are int64[..., {len(axes)}], not {indices}")
    if list(axes) != sorted(set(axes)) or any(not 0 <= axis < x.rank for axis in axes):
        raise GraphError(f"axes {axes} do not fit {x}")
    return indices.shape[:-1] + tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes)


def _key(x: np.ndarray, indices: np.ndarray, attributes: IndexAttributes) -> Any:
    """`x` with the indexed axes in front, and the index arrays; raises IndexError with the place, or what else is asked for."""
    axes = attributes.axes
    front = np.moveaxis(x, axes, range(len(axes)))
    for column, axis in enumerate(axes):
        values, extent = indices[..., column], x.shape[axis]
        wrong = (values < -extent) | (values >= extent)
        if wrong.any():
            raise out_of_bounds(values[wrong][0], axis, extent, "", attributes.raises)
    return front, tuple(indices[..., column] for column in range(len(axes)))


class Gather(Op):
    """`gather(x, indices)`: for every row of indices the slice of x there; index axes first, then what is left of x."""

    name = "gather"
    only_moves = True
    Attributes = IndexAttributes
    can_raise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, indices = types
        return (TensorType(x.dtype, _check(x, indices, attributes.axes)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        x, indices = operands
        front, key = _key(x, indices, attributes)
        return (front[key] if key else np.broadcast_to(front, indices.shape[:-1] + front.shape),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        x, indices = operands
        return [scatter(np.zeros_like(x), indices, cotangents[0], attributes.axes), None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        x, indices = operands
        if not batched[0]:
            return builder.node(self, operands, attributes).outputs
        if not batched[1]:
            # The batch axis is left over, behind the index axes: bring it to the front.
            from irdl.ops.shape import TRANSPOSE, TransposeAttributes

            axes = tuple(axis + 1 for axis in attributes.axes)
            out = builder.value(self, operands, replace(attributes, axes=axes))
            lead = len(indices.shape) - 1
            order = (lead, *range(lead), *range(lead + 1, len(out.shape)))
            return (builder.value(TRANSPOSE, [out], TransposeAttributes(order)),)
        return builder.node(self, [x, _numbered(builder, indices)], _with_batch_axis(attributes)).outputs

    def samples(self) -> Iterable[Sample]:
        # Indices are drawn in the range that the axes have: see the tests.
        for shape, indices, axes in (
            ((5,), (3, 1), (0,)),
            ((5, 6), (2, 3, 1), (1,)),
            ((5, 6, 33), (4, 2), (0, 1)),
            ((4, 3), (1,), (0,)),
            ((4, 3), (0, 1), (0,)),
            ((4, 5, 3), (4, 2), (0, 2)),
        ):
            yield Sample(
                (TensorType(np.dtype("float64"), shape), TensorType(np.dtype("int64"), indices)), IndexAttributes(axes), smooth=True
            )


GATHER = register(Gather())


class Scatter(Op):
    """`scatter(x, indices, updates)`: x with every update stored (or added) at its place, in order."""

    Attributes = IndexAttributes
    can_raise = True

    def __init__(self, name: str, adds: bool) -> None:
        self.name = name
        self.adds = adds
        self.only_moves = not adds

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        x, indices, updates = types
        shape = _check(x, indices, attributes.axes)
        if updates != TensorType(x.dtype, shape) or (self.adds and is_bool(x.dtype)):
            raise GraphError(f"{self.name} into {x} by {indices} takes {TensorType(x.dtype, shape)}, not {updates}")
        return (x,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        x, indices, updates = operands
        result = x.copy()
        front, key = _key(result, indices, attributes)
        if self.adds:
            np.add.at(front, key, updates)
        else:
            # Row by row: NumPy leaves the order open where an index stands twice; here the last one wins.
            flat = updates.reshape(-1, *updates.shape[indices.ndim - 1 :]) if updates.size else updates[:0]
            for row, place in enumerate(indices.reshape(-1, indices.shape[-1])[: len(flat)]):
                front[tuple(place)] = flat[row]
        return (result,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        _, indices, updates = operands
        (ct,) = cotangents
        taken = gather(ct, indices, attributes.axes)
        if self.adds:
            return [ct, None, taken]
        if indices.ndim == 1:  # one place
            return [scatter(ct, indices, np.zeros_like(taken), attributes.axes, adds=False), None, taken]
        # Only the last store to a place counts: give each store its number and see whose number stayed.
        count = int(np.prod(indices.shape[:-1]))
        lead = indices.shape[:-1]
        rest = (1,) * (updates.ndim - len(lead))
        number = np.broadcast_to(np.reshape(np.arange(1, count + 1), lead + rest), updates.shape)
        # `ct` only lends its shape and its being traced.
        owner = scatter(np.zeros_like(ct, dtype=np.int64), indices, number, attributes.axes, adds=False)
        won = gather(owner, indices, attributes.axes) == number
        zero = np.zeros_like(ct)
        return [np.where(owner == 0, ct, zero), None, np.where(won, taken, np.zeros_like(taken))]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        x, indices, updates = (with_batch(builder, v, mark, size) for v, mark in zip(operands, batched, strict=True))
        return builder.node(self, [x, _numbered(builder, indices), updates], _with_batch_axis(attributes)).outputs

    def samples(self) -> Iterable[Sample]:
        f, i = np.dtype("float64"), np.dtype("int64")
        for shape, indices, axes in (
            ((5,), (7, 1), (0,)),
            ((5, 6), (3, 1), (1,)),
            ((5, 6, 20), (4, 2), (0, 1)),
            ((4, 3), (1,), (0,)),
            ((4, 3), (0, 1), (0,)),
        ):
            x, k = TensorType(f, shape), TensorType(i, indices)
            yield Sample((x, k, TensorType(f, _check(x, k, axes))), IndexAttributes(axes))


SCATTER_ADD = register(Scatter("scatter_add", True))
SCATTER_SET = register(Scatter("scatter_set", False))


def _with_batch_axis(attributes: IndexAttributes) -> IndexAttributes:
    return replace(attributes, axes=(0, *(axis + 1 for axis in attributes.axes)))


def _numbered(builder: Builder, indices: Value) -> Value:
    """Batched indices with the number of the batch element as their first column."""
    shape = (*indices.shape[:-1], 1)
    number = builder.value(IOTA, [], IotaAttributes(np.dtype(np.int64), shape, 0))
    return builder.value(CONCAT, [number, indices], ConcatAttributes(len(shape) - 1))


def gather(x: Any, indices: Any, axes: tuple[int, ...]) -> Any:
    """The op as a NumPy-level call for gradient rules: traced arrays record it, arrays evaluate it."""
    return GATHER.apply([x, indices], IndexAttributes(axes))


def scatter(x: Any, indices: Any, updates: Any, axes: tuple[int, ...], adds: bool = True) -> Any:
    """As `gather`, for scatter_add and scatter_set."""
    return (SCATTER_ADD if adds else SCATTER_SET).apply([x, indices, updates], IndexAttributes(axes))


def sure(x: Any, holds: Any, raises: str) -> Any:
    """`x`; an error at run time where `holds`, of x's shape or a scalar, does not."""
    index = np.where(holds, np.int64(0), np.int64(1))[..., None]
    return x * GATHER.apply([np.ones(1, x.dtype), index], IndexAttributes((0,), raises))
