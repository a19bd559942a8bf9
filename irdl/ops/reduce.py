"""Reductions over axes, and running (cumulative) ones along one axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import family, is_complex, is_float, short_name
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class ReduceAttributes:
    """`axes`: the axes that go, ascending."""

    axes: tuple[int, ...]


class Reduce(Op):
    """A reduction of the given axes by an associative, commutative combination; the dtype stays.

    `identity` is None for max and min, which have none: an empty axis is then an error.
    """

    Attributes = ReduceAttributes

    def __init__(self, name: str, function: Callable[..., Any], kinds: str, identity: bool) -> None:
        self.name = name
        self.kinds = kinds
        self._function = function
        self._identity = identity

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        axes = attributes.axes
        if list(axes) != sorted(set(axes)) or any(not 0 <= axis < type.rank for axis in axes):
            raise GraphError(f"axes {axes} do not fit {type}")
        if family(type.dtype) not in self.kinds:
            raise GraphError(f"{self.name} is not defined for {short_name(type.dtype)}")
        shape = tuple(extent for axis, extent in enumerate(type.shape) if axis not in axes)
        if not self._identity and any(type.shape[axis] == 0 for axis in axes) and TensorType(type.dtype, shape).size:
            raise GraphError(f"{self.name} of an empty axis: {type} has no elements to choose from")
        return (TensorType(type.dtype, shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        if not self._identity and x.size == 0:
            (type,) = self.infer([TensorType.of(x)], attributes, regions)
            return (np.empty(type.shape, x.dtype),)
        return (np.asarray(self._function(x, axis=attributes.axes)).astype(x.dtype, copy=False),)

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, ReduceAttributes(tuple(axis + 1 for axis in attributes.axes))).outputs

    def samples(self) -> Iterable[Sample]:
        shapes = [((3, 4), (0,)), ((3, 4), (1,)), ((3, 4), (0, 1)), ((2, 3, 70), (0, 2)), ((5,), ()), ((33,), (0,)), ((3, 0), (0,))]
        if self._identity:
            shapes += [((0, 4), (0,)), ((3, 0), (1,))]
        for kind in self.kinds:
            names = {"b": ["bool"], "f": ["float32", "float64"], "i": ["int32", "int64"], "u": ["uint8"], "c": ["complex64"]}[kind]
            for name in names:
                for shape, axes in shapes:
                    yield Sample((TensorType(np.dtype(name), shape),), ReduceAttributes(axes))


def expand(array: Any, axes: Sequence[int], shape: Sequence[int]) -> Any:
    """Put reduced axes back as axes of 1 and stretch them to `shape`."""
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    return np.broadcast_to(np.reshape(array, kept), shape)


class Sum(Reduce):
    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [expand(cotangents[0], attributes.axes, operands[0].shape)]


class Prod(Reduce):
    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        # The product of all the others, right at zeros too: what is before times what is behind.
        (x,) = operands
        axes = attributes.axes
        kept = [axis for axis in range(x.ndim) if axis not in axes]
        order = [*kept, *axes]
        flat = np.reshape(np.transpose(x, order), (*(x.shape[axis] for axis in kept), -1 if x.size else 0))
        if x.size == 0:
            return [np.zeros_like(x)]
        ones = np.ones_like(flat[..., :1])
        before = np.concatenate([ones, np.cumprod(flat[..., :-1], axis=-1)], axis=-1)
        behind = np.concatenate([np.cumprod(flat[..., :0:-1], axis=-1)[..., ::-1], ones], axis=-1)
        others = np.reshape(before * behind, [x.shape[axis] for axis in order])
        return [expand(cotangents[0], axes, x.shape) * np.transpose(others, np.argsort(order))]


class Extremum(Reduce):
    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        # Equal ones have equal shares of it: divided where there is one number for all of them.
        (x,) = operands
        hit = (x == expand(outputs[0], attributes.axes, x.shape)).astype(x.dtype)
        share = cotangents[0] / np.sum(hit, axis=attributes.axes)
        return [expand(share, attributes.axes, x.shape) * hit]


class Logical(Reduce):
    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [None]


SUM = register(Sum("sum", np.sum, "fiuc", True))
PROD = register(Prod("prod", np.prod, "fiuc", True))
MAX = register(Extremum("max", np.max, "bfiu", False))
MIN = register(Extremum("min", np.min, "bfiu", False))
ANY = register(Logical("any", np.any, "b", True))
ALL = register(Logical("all", np.all, "b", True))


def check_ordered(name: str, type: TensorType, axis: int) -> None:
    """
    Raises:
        GraphError: there is no such axis, or its elements have no order.
    """
    if is_complex(type.dtype):
        raise GraphError(f"{name} is not defined for {short_name(type.dtype)}, whose numbers have no order")
    if not 0 <= axis < type.rank:
        raise GraphError(f"axis {axis} does not fit {type}")


@dataclass(frozen=True)
class ArgReduceAttributes:
    axis: int


class ArgReduce(Op):
    """The index of the first extremum along `axis`, as int64; the first NaN counts as the extremum."""

    Attributes = ArgReduceAttributes

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self._function = function

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        check_ordered(self.name, type, attributes.axis)
        shape = tuple(extent for axis, extent in enumerate(type.shape) if axis != attributes.axis)
        if type.shape[attributes.axis] == 0 and TensorType(type.dtype, shape).size:
            raise GraphError(f"{self.name} of an empty axis: {type} has no elements to choose from")
        return (TensorType(np.dtype(np.int64), shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        if x.size == 0:
            return (np.empty(self.infer([TensorType.of(x)], attributes, regions)[0].shape, np.int64),)
        return (np.asarray(self._function(x, axis=attributes.axis), np.int64),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, ArgReduceAttributes(attributes.axis + 1)).outputs

    def samples(self) -> Iterable[Sample]:
        for dtype in ("float32", "float64", "int32", "bool", "uint8"):
            for shape, axis in (((5,), 0), ((3, 40), 1), ((3, 4), 0), ((37, 5), 0), ((2, 33, 4), 1), ((0, 3), 1)):
                yield Sample((TensorType(np.dtype(dtype), shape),), ArgReduceAttributes(axis))


ARGMAX = register(ArgReduce("argmax", np.argmax))
ARGMIN = register(ArgReduce("argmin", np.argmin))


@dataclass(frozen=True)
class CumulativeAttributes:
    """`reverse` runs from the end to the start."""

    axis: int
    reverse: bool = False


class Cumulative(Op):
    """Running combination along one axis; the shape and the dtype stay."""

    Attributes = CumulativeAttributes

    def __init__(self, name: str, ufunc: np.ufunc, kinds: str) -> None:
        self.name = name
        self.kinds = kinds
        self._ufunc = ufunc

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        if not 0 <= attributes.axis < type.rank:
            raise GraphError(f"axis {attributes.axis} does not fit {type}")
        if family(type.dtype) not in self.kinds:
            raise GraphError(f"{self.name} is not defined for {short_name(type.dtype)}")
        return (type,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        x = np.flip(x, attributes.axis) if attributes.reverse else x
        y = self._ufunc.accumulate(x, axis=attributes.axis, dtype=x.dtype)
        return (np.flip(y, attributes.axis) if attributes.reverse else y,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (x,), (y,), (ct,) = operands, outputs, cotangents
        if attributes.reverse:
            x, y, ct = (np.flip(a, attributes.axis) for a in (x, y, ct))
            flipped = self._vjp(x, y, ct, attributes.axis)
            return [np.flip(flipped, attributes.axis)]
        return [self._vjp(x, y, ct, attributes.axis)]

    def _vjp(self, x: Any, y: Any, ct: Any, axis: int) -> Any:
        """The operand's cotangent, running from the start."""
        raise NotImplementedError

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, CumulativeAttributes(attributes.axis + 1, attributes.reverse)).outputs

    def samples(self) -> Iterable[Sample]:
        for kind in self.kinds:
            for name in {"f": ["float32", "float64"], "i": ["int32", "int64"], "u": ["uint8"], "c": ["complex64"]}[kind]:
                for shape, axis in (((7,), 0), ((3, 4), 0), ((3, 4), 1), ((2, 0), 1), ((2, 5, 33), 1)):
                    for reverse in (False, True):
                        yield Sample((TensorType(np.dtype(name), shape),), CumulativeAttributes(axis, reverse))


class CumulativeSum(Cumulative):
    def _vjp(self, x: Any, y: Any, ct: Any, axis: int) -> Any:
        return np.flip(np.cumsum(np.flip(ct, axis), axis=axis), axis)


class CumulativeProduct(Cumulative):
    def _vjp(self, x: Any, y: Any, ct: Any, axis: int) -> Any:
        # d y[j] / d x[i] is the product up to j without x[i], for i <= j: right at zeros, quadratic in the axis.
        n = x.shape[axis]
        rows = np.moveaxis(x, axis, -1)
        eye = np.eye(n, dtype=bool)
        without = np.where(eye, np.ones_like(rows[..., None, :]), rows[..., None, :])
        jacobian = np.cumprod(without, axis=-1) * np.triu(np.ones((n, n), x.dtype))
        return np.moveaxis(np.sum(jacobian * np.moveaxis(ct, axis, -1)[..., None, :], axis=-1), -1, axis)


class CumulativeExtremum(Cumulative):
    def _vjp(self, x: Any, y: Any, ct: Any, axis: int) -> Any:
        # Element j of the output is the first x[i], i <= j, that equals it.
        rows, out = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
        n = x.shape[axis]
        hit = (rows[..., :, None] == out[..., None, :]) & np.triu(np.ones((n, n), bool))
        first = hit & (np.cumsum(hit.astype(np.int64), axis=-2) == 1)
        return np.moveaxis(np.sum(first.astype(x.dtype) * np.moveaxis(ct, axis, -1)[..., None, :], axis=-1), -1, axis)


CUMSUM = register(CumulativeSum("cumsum", np.add, "fiuc"))
CUMPROD = register(CumulativeProduct("cumprod", np.multiply, "fiuc"))
CUMMAX = register(CumulativeExtremum("cummax", np.maximum, "fiu"))
CUMMIN = register(CumulativeExtremum("cummin", np.minimum, "fiu"))


def identity_of(op: Op, dtype: np.dtype) -> np.generic:
    """What changes nothing in a reduction, a running one or a contraction: what those start from that are computed step by step. Of bools
    there are `any` and `all` alone."""
    if op in (PROD, ALL, CUMPROD):
        return dtype.type(1)
    if op not in (MAX, MIN, CUMMAX, CUMMIN):
        return dtype.type(0)
    low, high = (-np.inf, np.inf) if is_float(dtype) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return dtype.type(low if op in (MAX, CUMMAX) else high)
