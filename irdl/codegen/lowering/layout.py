"""Where a value lies: a buffer, an offset that loops may move, and a stride per axis. Views only change the layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer
from irdl.loops.index import Index
from irdl.ops.fusion import UNPACK
from irdl.ops.shape import BROADCAST, RESHAPE, REVERSE, SLICE, TRANSPOSE
from irdl.ops.windows import DIAGONAL, WINDOWS


@dataclass(frozen=True)
class Layout:
    """Element i of the value is `buffer[offset + sum(i[a] * strides[a])]`; offsets and strides count elements."""

    buffer: Buffer
    offset: Index
    strides: tuple[int, ...]
    shape: tuple[int, ...]

    @staticmethod
    def contiguous(buffer: Buffer, shape: tuple[int, ...], offset: Index | None = None) -> Layout:
        return Layout(buffer, offset or Index(), row_major(shape), shape)

    @property
    def is_contiguous(self) -> bool:
        wanted = row_major(self.shape)
        return math.prod(self.shape) == 0 or all(
            extent == 1 or a == b for extent, a, b in zip(self.shape, self.strides, wanted, strict=True)
        )

    def at(self, index: tuple[Index, ...]) -> Index:
        place = self.offset
        for part, stride in zip(index, self.strides, strict=True):
            place = place + part * stride
        return place

    def element(self, position: Index, axis: int = 0) -> Layout:
        """The layout of `value.take(position, axis)`."""
        strides, shape = self.strides, self.shape
        offset = self.offset + position * strides[axis]
        return Layout(self.buffer, offset, strides[:axis] + strides[axis + 1 :], shape[:axis] + shape[axis + 1 :])


def is_same_place(a: Layout, b: Layout) -> bool:
    """Of two layouts of one shape."""
    steps = [strides for *strides, extent in zip(a.strides, b.strides, a.shape, strict=True) if extent != 1]
    return a.buffer is b.buffer and a.offset == b.offset and all(p == q for p, q in steps)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def sub_layout(whole: Layout, start: Sequence[int | Index], shape: Sequence[int], stride: Sequence[int] | None = None) -> Layout:
    """The layout of `whole[start : start + shape * stride : stride]`."""
    stride = stride or [1] * len(start)
    offset = whole.offset
    for first, step in zip(start, whole.strides, strict=True):
        offset = offset + first * step
    return Layout(whole.buffer, offset, tuple(a * b for a, b in zip(whole.strides, stride, strict=True)), tuple(shape))


def merged(source: Layout, target: Layout) -> tuple[Layout, Layout]:
    """The two layouts with neighbouring axes merged where both walk them as one."""
    shape, a, b = list(source.shape), list(source.strides), list(target.strides)
    for axis in reversed(range(len(shape) - 1)):
        if all(s[axis] == s[axis + 1] * shape[axis + 1] for s in (a, b)) or shape[axis] == 1:
            shape[axis + 1] *= shape[axis]
            for part in (shape, a, b):
                del part[axis]
    return Layout(source.buffer, source.offset, tuple(a), tuple(shape)), Layout(target.buffer, target.offset, tuple(b), tuple(shape))


def view_layout(node: Node, base: Layout) -> Layout | None:
    """The layout of a view of `base`, or None where it has to be copied."""
    attributes: Any = node.attributes
    shape = node.output.shape
    if node.op is TRANSPOSE:
        return Layout(base.buffer, base.offset, tuple(base.strides[axis] for axis in attributes.permutation), shape)
    if node.op is SLICE:
        offset = base.offset
        for start, stride in zip(attributes.start, base.strides, strict=True):
            offset = offset + start * stride
        return Layout(base.buffer, offset, tuple(a * b for a, b in zip(base.strides, attributes.stride, strict=True)), shape)
    if node.op is REVERSE:
        offset, strides = base.offset, list(base.strides)
        for axis in attributes.axes:
            offset = offset + max(shape[axis] - 1, 0) * strides[axis]
            strides[axis] = -strides[axis]
        return Layout(base.buffer, offset, tuple(strides), shape)
    if node.op is BROADCAST:
        lead = len(shape) - len(base.shape)
        strides = [0] * lead + [
            0 if old == 1 and new != 1 else stride for old, new, stride in zip(base.shape, shape[lead:], base.strides, strict=True)
        ]
        return Layout(base.buffer, base.offset, tuple(strides), shape)
    if node.op is RESHAPE:
        return reshape_layout(base, shape)
    if node.op is WINDOWS:
        strides = list(base.strides)
        for axis, step in zip(attributes.axes, attributes.steps, strict=True):
            strides[axis] *= step
        strides += [base.strides[axis] * dilation for axis, dilation in zip(attributes.axes, attributes.dilations, strict=True)]
        return Layout(base.buffer, base.offset, tuple(strides), shape)
    if node.op is DIAGONAL:
        both = (attributes.first, attributes.second)
        strides = [stride for axis, stride in enumerate(base.strides) if axis not in both]
        return Layout(base.buffer, base.offset, (*strides, sum(base.strides[axis] for axis in both)), shape)
    return None


def strides_of(value: Value, outside: Mapping[Value, Value] | None = None) -> tuple[int, ...]:
    """How far apart a value's elements are, as far as the views that it is of what was computed tell; `outside` says what a group's
    inputs are."""
    views: list[Node] = []
    while True:
        value = (outside or {}).get(value, value)
        if value.node is None or not value.node.op.is_view:
            break
        views.append(value.node)
        (value,) = value.node.operands
    layout = Layout.contiguous(Buffer("", value.dtype, value.type.size, "arena"), value.shape)
    for node in reversed(views):
        layout = view_layout(node, layout) or Layout.contiguous(layout.buffer, node.output.shape)
    return layout.strides


def before_view(node: Node, layout: Layout) -> Layout | None:
    """Where the operand of a reshape or a transpose lies if its result lies there."""
    (operand,) = node.operands
    if node.op is RESHAPE:
        return reshape_layout(layout, operand.shape)
    strides = [layout.strides[node.attributes.permutation.index(axis)] for axis in range(len(operand.shape))]
    return Layout(layout.buffer, layout.offset, tuple(strides), operand.shape)


def reshape_layout(base: Layout, shape: tuple[int, ...]) -> Layout | None:
    """Row-major reshape without a copy where the strides allow it."""
    if math.prod(shape) == 0:
        return Layout(base.buffer, base.offset, row_major(shape), shape)
    # Merge the old axes into runs that are contiguous in themselves, then cut the runs into the new axes.
    runs: list[list[int]] = []  # [extent, stride of its last axis]
    for extent, stride in zip(base.shape, base.strides, strict=True):
        if extent == 1:
            continue
        if runs and runs[-1][1] == stride * extent:
            runs[-1] = [runs[-1][0] * extent, stride]
        else:
            runs.append([extent, stride])
    strides: list[int] = []
    remaining = list(reversed(shape))
    for extent, stride in reversed(runs):
        step = stride
        while extent > 1:
            if not remaining:
                return None
            part = remaining.pop(0)
            if extent % part:
                return None
            strides.append(step)
            step *= part
            extent //= part
    strides += [0 if not runs else 1 for _ in remaining]
    return Layout(base.buffer, base.offset, tuple(reversed(strides)), shape)


def view_index(node: Node, index: tuple[Index, ...], extents: dict[str, int]) -> tuple[Index, ...]:
    """The operand's index that a view's output index reads. `extents` bounds the loop variables."""
    attributes: Any = node.attributes
    operand = node.operands[0]
    if node.op is TRANSPOSE:
        result: list[Index] = [Index()] * len(index)
        for place, axis in enumerate(attributes.permutation):
            result[axis] = index[place]
        return tuple(result)
    if node.op is SLICE:
        return tuple(part * stride + start for part, start, stride in zip(index, attributes.start, attributes.stride, strict=True))
    if node.op is REVERSE:
        return tuple(
            part * -1 + (extent - 1) if axis in attributes.axes else part
            for axis, (part, extent) in enumerate(zip(index, operand.shape, strict=True))
        )
    if node.op is BROADCAST:
        return broadcast_index(index, operand.shape)
    if node.op is RESHAPE:
        kept = iter(part for part, extent in zip(index, node.output.shape, strict=True) if extent != 1)
        return tuple(Index() if extent == 1 else next(kept) for extent in operand.shape)
    if node.op is WINDOWS:
        parts = list(index[: len(operand.shape)])
        taps = index[len(operand.shape) :]
        for axis, tap, step, dilation in zip(attributes.axes, taps, attributes.steps, attributes.dilations, strict=True):
            parts[axis] = parts[axis] * step + tap * dilation
        return tuple(parts)
    if node.op is DIAGONAL:
        others = iter(index[:-1])
        both = (attributes.first, attributes.second)
        return tuple(index[-1] if axis in both else next(others) for axis in range(len(operand.shape)))
    assert node.op is UNPACK
    rest = list(index)
    along = rest.pop(attributes.axis)
    if attributes.width >= attributes.extent:
        return (Index(), *rest, along)
    whole, part = split_index(along, attributes.width, extents)
    return (whole, *rest, part)


def broadcast_index(index: tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Index, ...]:
    """The index of an operand of `shape` that stretches to where `index` points."""
    tail = index[len(index) - len(shape) :]
    return tuple(Index() if extent == 1 else part for part, extent in zip(tail, shape, strict=True))


def split_index(index: Index, width: int, extents: dict[str, int]) -> tuple[Index, Index]:
    """`index` as (quotient, remainder) by `width`: the terms are multiples of it, or stay below it together."""
    quotient = Index(index.constant // width, tuple((n, c // width) for n, c in index.terms if c % width == 0))
    remainder = Index(index.constant % width, tuple((n, c) for n, c in index.terms if c % width))
    most = remainder.constant + sum(c * (extents[n] - 1) for n, c in remainder.terms)
    assert 0 <= most < width, f"{index} does not split by {width}"
    return quotient, remainder
