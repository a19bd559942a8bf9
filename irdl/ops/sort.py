"""Sorting along one axis: the elements in order, and the places that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.reduce import check_ordered

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class SortAttributes:
    axis: int


class Sorting(Op):
    """An ascending, stable order along one axis: False lies before True, nan behind all numbers, and 0.0 and -0.0 are equal."""

    Attributes = SortAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        check_ordered(self.name, type, attributes.axis)
        return (self.result(type),)

    def result(self, type: TensorType) -> TensorType:
        raise NotImplementedError

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, SortAttributes(attributes.axis + 1)).outputs

    def samples(self) -> Iterable[Sample]:
        shapes = [((7,), 0), ((3, 4), 0), ((2, 0), 1), ((0, 3), 1), ((5, 1), 1), ((2, 5, 3), 1), ((100,), 0), ((130, 2), 0), ((3, 300), 1)]
        for name in ("float32", "float64", "int32", "uint8", "bool"):
            for shape, axis in shapes:
                yield Sample((TensorType(np.dtype(name), shape),), SortAttributes(axis))


class Sort(Sorting):
    """The elements of each line in order."""

    name = "sort"

    def result(self, type: TensorType) -> TensorType:
        return type

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.sort(operands[0], axis=attributes.axis, kind="stable"),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (x,), (ct,), axis = operands, cotangents, attributes.axis
        result = np.zeros_like(ct)
        np.put_along_axis(result, np.argsort(x, axis=axis, kind="stable"), ct, axis)
        return [result]


class ArgSort(Sorting):
    """The places in each line of its elements in order, as int64."""

    name = "argsort"

    def result(self, type: TensorType) -> TensorType:
        return TensorType(np.dtype(np.int64), type.shape)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.argsort(operands[0], axis=attributes.axis, kind="stable").astype(np.int64, copy=False),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [None]


SORT = register(Sort())
ARGSORT = register(ArgSort())
