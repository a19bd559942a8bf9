"""Views of a traced array: how to read one from its base, and how a store into it changes the base."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE, DynamicSliceAttributes, DynamicUpdateSliceAttributes
from irdl.ops.elementwise import CAST, COMPLEX, IMAG, REAL, CastAttributes
from irdl.ops.index import GATHER, SCATTER_SET, IndexAttributes
from irdl.ops.joining import CONCAT, UPDATE_SLICE, ConcatAttributes, UpdateSliceAttributes
from irdl.ops.shape import (
    BROADCAST,
    RESHAPE,
    REVERSE,
    SLICE,
    TRANSPOSE,
    BroadcastAttributes,
    ReshapeAttributes,
    ReverseAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from irdl.ops.windows import WINDOWS, WindowsAttributes
from irdl.tracing.lines import library_function, user_line
from irdl.tracing.recorder import Cell, Trace

# Each step has three sides: `read` and `write` record, `view` does to an array what the step stands for.


@dataclass(frozen=True)
class SliceStep:
    attributes: SliceAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        a = self.attributes
        return array[tuple(slice(*part) for part in zip(a.start, a.limit, a.stride, strict=True))]

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(SLICE, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        if new.shape == base.shape:
            return new
        where = UpdateSliceAttributes(self.attributes.start, self.attributes.stride)
        return trace.apply(UPDATE_SLICE, [base, new], where)[0]


@dataclass(frozen=True)
class ReverseStep:
    attributes: ReverseAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        return np.flip(array, self.attributes.axes)

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(REVERSE, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        return trace.apply(REVERSE, [new], self.attributes)[0]


@dataclass(frozen=True)
class PartStep:
    """`z.real` or `z.imag` of complex numbers."""

    imaginary: bool

    def view(self, array: np.ndarray) -> np.ndarray:
        return array.imag if self.imaginary else array.real

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(IMAG if self.imaginary else REAL, [base])[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        other = trace.apply(REAL if self.imaginary else IMAG, [base])[0]
        return trace.apply(COMPLEX, [other, new] if self.imaginary else [new, other])[0]


@dataclass(frozen=True)
class ReshapeStep:
    attributes: ReshapeAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self.attributes.shape)

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(RESHAPE, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        return trace.apply(RESHAPE, [new], ReshapeAttributes(base.shape))[0]


@dataclass(frozen=True)
class TransposeStep:
    attributes: TransposeAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(self.attributes.permutation)

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(TRANSPOSE, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        inverse = tuple(int(axis) for axis in np.argsort(self.attributes.permutation))
        return trace.apply(TRANSPOSE, [new], TransposeAttributes(inverse))[0]


@dataclass(frozen=True)
class BroadcastStep:
    attributes: BroadcastAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, self.attributes.shape)

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(BROADCAST, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        raise ValueError("assignment destination is read-only: it is a broadcast view")


@dataclass(frozen=True)
class WindowsStep:
    attributes: WindowsAttributes

    def view(self, array: np.ndarray) -> np.ndarray:
        return np.asarray(WINDOWS.evaluate([array], self.attributes, ())[0])

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(WINDOWS, [base], self.attributes)[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        raise ValueError("assignment destination is read-only: its windows overlap")


@dataclass(frozen=True)
class RowStep:
    """`x[i]`, with numbers that the trace does not know, on the axes given: those axes are gone."""

    numbers: tuple[Cell, ...]
    axes: tuple[int, ...]

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(GATHER, [base, _numbers(trace, self.numbers)], IndexAttributes(self.axes))[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        return trace.apply(SCATTER_SET, [base, _numbers(trace, self.numbers), new], IndexAttributes(self.axes))[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowStep) or self.axes != other.axes:
            return False
        return all(a.value is b.value for a, b in zip(self.numbers, other.numbers, strict=True))

    def __hash__(self) -> int:
        return hash(self.axes)


@dataclass(frozen=True)
class DynamicSliceStep:
    """`x[i:i + n]`, with numbers that the trace does not know: where it begins on the axes given, and how long it is."""

    starts: tuple[Cell, ...]
    axes: tuple[int, ...]
    sizes: tuple[int, ...]

    def read(self, trace: Trace, base: Value) -> Value:
        return trace.apply(DYNAMIC_SLICE, [base, _numbers(trace, self.starts)], DynamicSliceAttributes(self.axes, self.sizes))[0]

    def write(self, trace: Trace, base: Value, new: Value) -> Value:
        where = DynamicUpdateSliceAttributes(self.axes)
        return trace.apply(DYNAMIC_UPDATE_SLICE, [base, new, _numbers(trace, self.starts)], where)[0]


def cells_of(step: Any) -> tuple[Cell, ...]:
    """The traced numbers that say where a step goes."""
    return getattr(step, "numbers", ()) or getattr(step, "starts", ())


def _numbers(trace: Trace, cells: Sequence[Cell]) -> Value:
    """Numbers as one array of int64."""
    parts = []
    for cell in cells:
        value = trace.read(cell)
        if value.dtype != np.int64:
            value = trace.apply(CAST, [value], CastAttributes(np.dtype(np.int64)))[0]
        parts.append(value if value.shape == (1,) else trace.apply(RESHAPE, [value], ReshapeAttributes((1,)))[0])
    return parts[0] if len(parts) == 1 else trace.apply(CONCAT, parts, ConcatAttributes(0))[0]


def followed_by(steps: tuple[Any, ...], more: Sequence[Any]) -> tuple[Any, ...]:
    """The steps one after the other; a slice of windows is windows, further apart, of a slice."""
    if not steps or not more or not isinstance(steps[-1], WindowsStep) or not isinstance(more[0], SliceStep):
        return (*steps, *more)
    windows, part = steps[-1].attributes, more[0].attributes
    rank = len(part.start) - len(windows.axes)
    if any(start >= limit for start, limit in zip(part.start, part.limit, strict=True)):
        return (*steps, *more)
    start, limit, stride = list(part.start[:rank]), list(part.limit[:rank]), list(part.stride[:rank])
    sizes, apart, dilations = [], [], []
    for place, axis in enumerate(windows.axes):
        first, end, by = part.start[rank + place], part.limit[rank + place], part.stride[rank + place]
        last = len(range(start[axis], limit[axis], stride[axis])) - 1
        sizes.append(len(range(first, end, by)))
        apart.append(windows.steps[place] * stride[axis])
        dilations.append(windows.dilations[place] * by)
        start[axis] = start[axis] * windows.steps[place] + first * windows.dilations[place]
        limit[axis] = start[axis] + last * apart[-1] + (sizes[-1] - 1) * dilations[-1] + 1
        stride[axis] = 1
    whole = WindowsStep(WindowsAttributes(windows.axes, tuple(sizes), tuple(apart), tuple(dilations)))
    return (*steps[:-1], SliceStep(SliceAttributes(tuple(start), tuple(limit), tuple(stride))), whole, *more[1:])


def basic_index_steps(shape: tuple[int, ...], index: tuple[Any, ...]) -> list[Any]:
    """The steps of `x[index]` for an index of ints, slices and None (Ellipsis already expanded to full length)."""
    start, limit, stride, reversed_axes, kept = [], [], [], [], []
    axis = 0
    for item in index:
        if item is None:
            kept.append(1)
            continue
        extent = shape[axis]
        if isinstance(item, slice):
            first, last, step = item.indices(extent)
            count = len(range(first, last, step))
            if count == 0:
                lower, upper, step = 0, 0, 1
            elif step < 0:
                lower, upper = first + (count - 1) * step, first + 1
                reversed_axes.append(axis)
            else:
                lower, upper = first, first + (count - 1) * step + 1
            start.append(lower)
            limit.append(upper)
            stride.append(abs(step))
            kept.append(count)
        else:
            if not -extent <= item < extent:
                raise IndexError(f"index {item} is out of bounds for axis {axis} with size {extent}{user_line()}")
            item = int(item) % extent
            start.append(item)
            limit.append(item + 1)
            stride.append(1)
        axis += 1
    steps: list[Any] = []
    sliced = tuple(len(range(a, b, c)) for a, b, c in zip(start, limit, stride, strict=True))
    if sliced != tuple(shape) or any(c != 1 for c in stride):
        steps.append(SliceStep(SliceAttributes(tuple(start), tuple(limit), tuple(stride))))
    if reversed_axes:
        steps.append(ReverseStep(ReverseAttributes(tuple(reversed_axes))))
    if tuple(kept) != sliced:
        steps.append(ReshapeStep(ReshapeAttributes(tuple(kept))))
    return steps


def row_steps(shape: tuple[int, ...], row: int) -> list[Any]:
    """The steps of `x[row]`.

    Raises:
        IndexError: there is no such row.
    """
    extent, rest = shape[0], shape[1:]
    if not -extent <= row < extent:
        raise IndexError(f"index {row} is out of bounds for axis 0 with size {extent}{user_line()}")
    steps: list[Any] = []
    if extent != 1:
        row %= extent
        steps.append(SliceStep(SliceAttributes((row, *[0] * len(rest)), (row + 1, *rest), (1,) * len(shape))))
    return [*steps, ReshapeStep(ReshapeAttributes(rest))]


def row_of(steps: Sequence[Any], shape: tuple[int, ...]) -> int | None:
    """The row that these steps show of an array of a shape; None where they show something else."""
    if len(steps) != 2 or type(steps[0]) is not SliceStep or type(steps[1]) is not ReshapeStep:
        return None
    part, rest = steps[0].attributes, shape[1:]
    row: int = part.start[0]
    is_row = part.limit[0] == row + 1 and not any(part.start[1:]) and part.limit[1:] == rest and steps[1].attributes.shape == rest
    return row if is_row and all(by == 1 for by in part.stride) else None


def expand_index(index: Any, rank: int) -> tuple[Any, ...]:
    """The index as a tuple that names every axis: Ellipsis and missing axes become full slices.

    Raises:
        IndexError: more indices than axes, or two ellipses.
    """
    items = index if isinstance(index, tuple) else (index,)
    used = sum(1 for item in items if item is not None and item is not Ellipsis and not _is_bool(item))
    used += sum(np.ndim(item) if not np.isscalar(item) else 0 for item in items if _is_bool(item))
    if used > rank:
        raise IndexError(f"too many indices: the array has {rank} axes, but {used} were indexed{user_line()}")
    if sum(1 for item in items if item is Ellipsis) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    fill = (slice(None),) * (rank - used)
    for place, item in enumerate(items):
        if item is Ellipsis:
            return (*items[:place], *fill, *items[place + 1 :])
    return (*items, *fill)


def _is_bool(item: Any) -> bool:
    return isinstance(item, (bool, np.bool_)) or getattr(item, "dtype", None) == np.bool_


def check_reshape(size: int, shape: Any) -> tuple[int, ...]:
    """`shape` with its -1 filled in.

    Raises:
        ValueError: it does not hold `size` elements (NumPy's message).
    """
    shape = tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    if shape.count(-1) > 1:
        raise ValueError("can only specify one unknown dimension")
    if -1 in shape:
        rest = math.prod(n for n in shape if n != -1)
        if rest == 0 or size % rest:
            raise ValueError(f"cannot reshape array of size {size} into shape {shape}{user_line()}")
        shape = tuple(size // rest if n == -1 else n for n in shape)
    if math.prod(shape) != size or any(n < 0 for n in shape):
        raise ValueError(f"cannot reshape array of size {size} into shape {shape}{user_line()}")
    return shape


#: what to write in the place of float(x), which NumPy calls too, where x is stored into a real array
NO_FLOAT = "in a text f'{x:.3f}' does without it; np.array(a) in the place of a.copy() for what it is stored into"


def not_an_array(function: str, remedy: str, argument: str = "") -> TraceError:
    """`argument`: the name of a number among the arguments that it would have to be known for."""
    if library := library_function():
        function, remedy = f"`{library}` has no rule in irdl, and", "write it with NumPy's functions, or call it outside of the traced code"
    if argument:
        whole = re.split(r"[.\[]", argument)[0]
        remedy = f"`{argument}` is an argument, which irdl.jit(..., static_argnames={whole!r}) leaves as it is; else {remedy}"
    return TraceError(f"{function} needs the numbers of a traced array, which has none yet: {remedy}{user_line()}")
