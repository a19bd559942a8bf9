"""Elements moved by a CPU: as vectors along the axis where most of what is read and written lies next to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.codegen.lowering.layout import Layout
from irdl.codegen.lowering.nest import Loop, build_nest, join, narrow_lanes
from irdl.codegen.lowering.schedule import Element
from irdl.loops.index import Index
from irdl.loops.language import Statement
from irdl.loops.rewrite import Names
from irdl.loops.target import Target

#: Bytes of a cache line, and how many neighbours are written one after the other where they are read from far apart.
LINE_BYTES, LINES_TOGETHER = 64, 8
#: of elements next to each other, and of every second one; of others it is -1
_SCORES = {1: 1, 2: 0}


def over(
    shape: Sequence[int], accesses: Sequence[Layout], element: Element, names: Names, target: Target, dtype: np.dtype
) -> list[Statement]:
    """`element` at every index of `shape`, as vectors along the axis where most `accesses` are contiguous."""
    if 0 in shape:
        return []
    lanes = target.lanes(dtype)
    variables = [names("i") for _ in shape]
    scores = [sum(_SCORES.get(layout.strides[axis], -1) for layout in accesses) for axis in range(len(shape))]
    # A few neighbours are one vector as well, as they are where they are computed.
    candidates = [a for a, extent in enumerate(shape) if extent >= max(2, lanes // 2) or (extent > 1 and scores[a] == len(accesses))]
    vector = max(candidates, key=lambda axis: (scores[axis], axis), default=None)
    if vector is not None and scores[vector] < 0:
        vector = None
    if vector is not None and any(abs(layout.strides[vector]) * dtype.itemsize >= 1024 for layout in accesses):
        lanes = min(lanes, 8)  # lanes so far apart share a set of the cache, which holds eight of them

    def index(place: Index | None) -> tuple[Index, ...]:
        return tuple(
            place if axis == vector and place is not None else Index.variable(name) if extent > 1 else Index()
            for axis, (name, extent) in enumerate(zip(variables, shape, strict=True))
        )

    others = [axis for axis, extent in enumerate(shape) if extent > 1 and axis != vector]
    if vector is None:
        return build_nest([Loop(variables[axis], shape[axis]) for axis in others], element(index(None)))
    # Where an access jumps from lane to lane, the axis along which it is contiguous runs innermost.
    jumping = [layout for layout in accesses if layout.strides[vector] != 1]
    near = next((axis for layout in jumping for axis in others if layout.strides[axis] == 1), None)
    # Reading in order is what the hardware fetches ahead; the first access is the one that is read.
    others.sort(key=lambda axis: -abs(accesses[0].strides[axis]))
    outer = [Loop(variables[axis], shape[axis]) for axis in others if axis != near]
    inner = [Loop(variables[near], shape[near])] if near is not None else []
    whole, rest = divmod(shape[vector], lanes)
    lane = names("l")
    result: list[Statement] = []
    if whole:
        block = names("b")
        place = Index.variable(block, lanes) + Index.variable(lane)
        nest = [*outer, Loop(block, whole), *inner, Loop(lane, lanes, "vector", lanes)]
        result += build_nest(nest, element(index(place)))
    if rest:
        lane = names("l")
        place = Index.variable(lane) + whole * lanes
        tail = build_nest([*outer, *inner, Loop(lane, rest, "vector", narrow_lanes(rest, lanes))], element(index(place)))
        result = join(result, tail, len(outer))
    return result


def scatters_lines(source: Layout, target: Layout) -> bool:
    """Rows of single lines, one row after the other in the source, line by line beneath each other in the target."""
    if len(source.shape) != 3:
        return False
    (_, rows, line), (near, far, one) = source.shape, source.strides
    in_lines = one == 1 and target.strides[1:] == (line, 1) and line * target.buffer.dtype.itemsize <= LINE_BYTES
    return in_lines and abs(near) < abs(far) and rows >= LINES_TOGETHER
