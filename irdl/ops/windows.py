"""Windows of neighbours as a view, their sums back into place, and the diagonal of two axes.

    windows(x)[.., i, .., w] = x[.., i * step + w * dilation, ..]

A convolution is a `dot` of windows, a pooling a reduction of them; `unwindow` is the adjoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class WindowsAttributes:
    """For each windowed axis: which it is, how many neighbours a window has, how far apart the windows are, and the neighbours."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    dilations: tuple[int, ...]


@dataclass(frozen=True)
class UnwindowAttributes:
    """As `WindowsAttributes`; `extents` are those of the windowed axes of the result."""

    axes: tuple[int, ...]
    extents: tuple[int, ...]
    steps: tuple[int, ...]
    dilations: tuple[int, ...]


def window_count(extent: int, size: int, step: int, dilation: int) -> int:
    """How many windows fit an axis."""
    return max(0, (extent - (size - 1) * dilation - 1) // step + 1)


def _check(name: str, x: TensorType, attributes: Any, sizes: Sequence[int]) -> None:
    axes, steps, dilations = attributes.axes, attributes.steps, attributes.dilations
    if not len(axes) == len(sizes) == len(steps) == len(dilations) or len(set(axes)) != len(axes):
        raise GraphError(f"{name} of {sizes} along the axes {axes} by {steps} and {dilations}: one of each for each axis")
    if any(not 0 <= axis < x.rank for axis in axes) or any(part < 1 for part in (*sizes, *steps, *dilations)):
        raise GraphError(f"{name} of {sizes} along the axes {axes} by {steps} and {dilations} does not fit {x}")


class Windows(Op):
    """NumPy's `sliding_window_view` with steps and dilations: the window axes come last, in the order of `axes`."""

    name = "windows"
    is_view = True
    Attributes = WindowsAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (x,) = types
        _check(self.name, x, attributes, attributes.sizes)
        shape = list(x.shape)
        for axis, *window in zip(attributes.axes, attributes.sizes, attributes.steps, attributes.dilations, strict=True):
            shape[axis] = window_count(shape[axis], *window)
        return (TensorType(x.dtype, (*shape, *attributes.sizes)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        (type,) = self.infer([TensorType(x.dtype, x.shape)], attributes, ())
        strides = list(x.strides)
        for axis, step in zip(attributes.axes, attributes.steps, strict=True):
            strides[axis] *= step
        inner = [x.strides[axis] * dilation for axis, dilation in zip(attributes.axes, attributes.dilations, strict=True)]
        return (np.lib.stride_tricks.as_strided(x, type.shape, (*strides, *inner), writeable=False),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        extents = tuple(operands[0].shape[axis] for axis in attributes.axes)
        back = UnwindowAttributes(attributes.axes, extents, attributes.steps, attributes.dilations)
        return [UNWINDOW.apply([cotangents[0]], back)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        axes = tuple(axis + 1 for axis in attributes.axes)
        new = WindowsAttributes(axes, attributes.sizes, attributes.steps, attributes.dilations)
        return builder.node(self, operands, new).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, windows in _SAMPLES:
            yield Sample((TensorType(np.dtype(np.float64), shape),), WindowsAttributes(*windows))


#: shapes, and axes, sizes, steps, dilations
_SAMPLES: tuple[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], ...] = (
    ((9,), ((0,), (3,), (1,), (1,))),
    ((3, 9, 8, 2), ((1, 2), (3, 2), (2, 1), (1, 3))),
    ((2, 40), ((1,), (4,), (4,), (1,))),
    ((11, 3), ((0,), (2,), (5,), (1,))),
    ((12,), ((0,), (3,), (4,), (2,))),
    ((2, 15), ((1,), (3,), (2,), (3,))),
    ((5, 6), ((1, 0), (2, 5), (3, 1), (1, 1))),
    ((2,), ((0,), (3,), (1,), (1,))),
    ((4,), ((0,), (1,), (1,), (1,))),
    ((3,), ((), (), (), ())),
    ((0, 4), ((1,), (2,), (1,), (2,))),
)

WINDOWS = register(Windows())


class Unwindow(Op):
    """Windows back in their places, summed where they overlap (overlap-add): the adjoint of `windows`."""

    name = "unwindow"
    Attributes = UnwindowAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (y,) = types
        rank = y.rank - len(attributes.axes)
        if rank < 0 or len(attributes.extents) != len(attributes.axes):
            raise GraphError(f"unwindow along {attributes.axes} of {attributes.extents} does not fit {y}")
        sizes = y.shape[rank:]
        _check(self.name, TensorType(y.dtype, y.shape[:rank]), attributes, sizes)
        shape = list(y.shape[:rank])
        for axis, extent, *window in zip(attributes.axes, attributes.extents, sizes, attributes.steps, attributes.dilations, strict=True):
            if window_count(extent, *window) != shape[axis]:
                raise GraphError(f"axis {axis} of {extent} has not the {shape[axis]} windows of {y}")
            shape[axis] = extent
        return (TensorType(y.dtype, tuple(shape)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (y,) = operands
        (type,) = self.infer([TensorType(y.dtype, y.shape)], attributes, ())
        result = np.zeros(type.shape, y.dtype)
        for place in np.ndindex(y.shape[type.rank :]):
            where = [slice(None)] * type.rank
            for axis, tap, step, dilation in zip(attributes.axes, place, attributes.steps, attributes.dilations, strict=True):
                first = tap * dilation
                where[axis] = slice(first, first + y.shape[axis] * step, step)
            if y.size:
                result[tuple(where)] += y[(..., *place)]
        return (result,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        sizes = operands[0].shape[len(operands[0].shape) - len(attributes.axes) :]
        again = WindowsAttributes(attributes.axes, sizes, attributes.steps, attributes.dilations)
        return [WINDOWS.apply([cotangents[0]], again)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        axes = tuple(axis + 1 for axis in attributes.axes)
        new = UnwindowAttributes(axes, attributes.extents, attributes.steps, attributes.dilations)
        return builder.node(self, operands, new).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, (axes, sizes, steps, dilations) in _SAMPLES:
            (type,) = WINDOWS.infer([TensorType(np.dtype(np.float64), shape)], WindowsAttributes(axes, sizes, steps, dilations), ())
            yield Sample((type,), UnwindowAttributes(axes, tuple(shape[axis] for axis in axes), steps, dilations))


UNWINDOW = register(Unwindow())


@dataclass(frozen=True)
class DiagonalAttributes:
    first: int
    second: int


class Diagonal(Op):
    """NumPy's `diagonal` of two axes of one extent: it comes last."""

    name = "diagonal"
    is_view = True
    Attributes = DiagonalAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (x,) = types
        first, second = attributes.first, attributes.second
        if not (0 <= first < x.rank and 0 <= second < x.rank) or first == second or x.shape[first] != x.shape[second]:
            raise GraphError(f"{x} has no diagonal of the axes {first} and {second}")
        rest = [n for axis, n in enumerate(x.shape) if axis not in (first, second)]
        return (TensorType(x.dtype, (*rest, x.shape[first])),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.diagonal(operands[0], 0, attributes.first, attributes.second),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (x,), (ct,) = operands, cotangents
        *rest, extent = ct.shape
        flat = np.zeros_like(x, shape=(*rest, extent * extent))
        flat[..., :: extent + 1] = ct
        square = flat.reshape(*rest, extent, extent)
        return [np.moveaxis(square, (-2, -1), (attributes.first, attributes.second))]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands, DiagonalAttributes(attributes.first + 1, attributes.second + 1)).outputs

    def samples(self) -> Iterable[Sample]:
        for shape, first, second in (((4, 4), 0, 1), ((3, 2, 3), 2, 0), ((5, 3, 7, 3), 1, 3), ((0, 2, 0), 0, 2), ((1, 1), 1, 0)):
            yield Sample((TensorType(np.dtype(np.float64), shape),), DiagonalAttributes(first, second))


DIAGONAL = register(Diagonal())
