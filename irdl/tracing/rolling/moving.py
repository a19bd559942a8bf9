"""Slices and stores at places that change from step to step, done within the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from irdl.ir.builder import make_node
from irdl.ir.graph import Node, Value
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE, DynamicSliceAttributes, DynamicUpdateSliceAttributes
from irdl.ops.joining import UPDATE_SLICE, UpdateSliceAttributes
from irdl.ops.shape import SLICE, SliceAttributes


def moving_node(column: Sequence[Node], operands: Sequence[Value], table: Callable[[np.ndarray], Value]) -> Node:
    """The slice or store of one step.

    Args:
        column: the node of every step.
        operands: the body's values that it reads.
        table: makes numbers known now, one row a step, a value of the body.
    """
    node = column[0]
    x = operands[0]
    is_read = node.op is SLICE
    piece = node.output.shape if is_read else operands[1].shape
    stride = node.attributes.stride
    # What lies between the first and the last element that is read or stored.
    window = tuple([(extent - 1) * step + 1 if extent else 0 for extent, step in zip(piece, stride, strict=True)])
    axes = tuple([axis for axis, extent in enumerate(window) if extent != x.shape[axis]])
    starts = np.array([other.attributes.start for other in column], np.int64).reshape(len(column), len(piece))
    place = table(np.ascontiguousarray(starts[:, list(axes)]))
    is_whole = all(step == 1 for step in stride)
    location = node.location
    if is_read or not is_whole:
        read = make_node(DYNAMIC_SLICE, [x, place], DynamicSliceAttributes(axes, tuple([window[a] for a in axes])), (), location)
        if is_whole:
            return read
        zeros = (0,) * len(piece)
        if is_read:
            return make_node(SLICE, [read.output], SliceAttributes(zeros, window, stride), (), location)
        operands = [x, make_node(UPDATE_SLICE, [read.output, operands[1]], UpdateSliceAttributes(zeros, stride), (), location).output]
    return make_node(DYNAMIC_UPDATE_SLICE, [x, operands[1], place], DynamicUpdateSliceAttributes(axes), (), location)
