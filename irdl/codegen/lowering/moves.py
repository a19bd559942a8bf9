"""Ops that are kernels of their own: copies, concatenation, padding, stores into slices, scatters, packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from irdl.codegen.lowering.layout import Layout, is_same_place, sub_layout
from irdl.codegen.lowering.running import arg_reduce, running
from irdl.codegen.lowering.scattering import Scatter, checked
from irdl.codegen.lowering.schedule import Schedule
from irdl.codegen.lowering.sorting import sort
from irdl.errors import CODE
from irdl.ir.graph import Node
from irdl.loops.expressions import Expression, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Check, CheckIndex, For, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.ops.checks import CHECK
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE
from irdl.ops.fusion import PACK
from irdl.ops.index import SCATTER_ADD, SCATTER_SET
from irdl.ops.joining import CONCAT, PAD, UPDATE_SLICE
from irdl.ops.reduce import ARGMAX, ARGMIN, CUMMAX, CUMMIN, CUMPROD, CUMSUM
from irdl.ops.sort import ARGSORT, SORT

#: A padded array no larger than this is filled as a whole, a loop instead of one for each edge.
_FILLED_BYTES = 16 * 1024

Move: TypeAlias = Callable[[Node, list[Layout], list[Layout], Names, Schedule, list[Check]], list[Statement]]


def concat_piece(node: Node, whole: Layout, place: int) -> Layout:
    """Where operand `place` of a concatenation lies in the result."""
    axis = node.attributes.axis
    start = [0] * len(whole.shape)
    start[axis] = sum(value.shape[axis] for value in node.operands[:place])
    return sub_layout(whole, start, node.operands[place].shape)


def _concat(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    result: list[Statement] = []
    for place, source in enumerate(operands):
        piece = concat_piece(node, outputs[0], place)
        if not is_same_place(source, piece):
            result += schedule.copy(source, piece, names)
    return result


def _pad(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    x, filler = operands
    (whole,) = outputs
    piece, value = pad_piece(node, whole), Load(filler.buffer, filler.offset)
    is_there = is_same_place(x, piece)
    edges = _around(whole, node.attributes.low, x.shape) if is_there or not _is_filled(node) else [whole]
    result = [statement for edge in edges for statement in schedule.fill(edge, value, names)]
    return result if is_there else result + schedule.copy(x, piece, names)


def _is_filled(pad: Node) -> bool:
    return pad.output.type.nbytes <= _FILLED_BYTES


def pad_piece(node: Node, whole: Layout) -> Layout:
    """Where the operand of a padding lies in the result."""
    return sub_layout(whole, node.attributes.low, node.operands[0].shape)


def _around(whole: Layout, low: Sequence[int], shape: Sequence[int]) -> list[Layout]:
    """What of `whole` lies before and behind a piece, axis by axis: along the earlier axes as long as the piece."""
    found = []
    start, extents = [0] * len(shape), list(whole.shape)
    for axis, (first, extent) in enumerate(zip(low, shape, strict=True)):
        for begin, end in ((0, first), (first + extent, whole.shape[axis])):
            if begin < end:
                found.append(
                    sub_layout(whole, [*start[:axis], begin, *start[axis + 1 :]], [*extents[:axis], end - begin, *extents[axis + 1 :]])
                )
        start[axis], extents[axis] = first, extent
    return found


def _update_slice(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    x, update = operands
    (whole,) = outputs
    result = [] if is_same_place(x, whole) else schedule.copy(x, whole, names)
    where = sub_layout(whole, node.attributes.start, update.shape, node.attributes.stride)
    return result + schedule.copy(update, where, names)


def _dynamic_slice(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    x, starts = operands
    (piece,) = outputs
    if 0 in piece.shape:
        return []
    bound, window = _window(x, starts, node.attributes.axes, piece.shape, names)
    return [*bound, *schedule.copy(window, piece, names)]


def _dynamic_update_slice(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    x, update, starts = operands
    (whole,) = outputs
    result = [] if is_same_place(x, whole) else schedule.copy(x, whole, names)
    if 0 in update.shape:
        return result
    bound, window = _window(whole, starts, node.attributes.axes, update.shape, names)
    return [*result, *bound, *schedule.copy(update, window, names)]


def _window(x: Layout, starts: Layout, axes: Sequence[int], shape: tuple[int, ...], names: Names) -> tuple[list[Statement], Layout]:
    """The layout of a part of x that begins where `starts` say, moved to where it fits, and the statements that find that place."""
    bound: list[Statement] = []
    first: list[int | Index] = [0] * len(shape)
    for column, axis in enumerate(axes):
        last = x.shape[axis] - shape[axis]
        if not last:
            continue
        dtype = np.dtype(np.int64)
        start: Expression = Load(starts.buffer, starts.at((Index(column),)))
        start = Operation("minimum", (Operation("maximum", (start, Literal(np.int64(0))), dtype), Literal(np.int64(last))), dtype)
        variable = Variable(names("k"), dtype)
        bound.append(Let(variable, start))
        first[axis] = Index.variable(variable.name)
    return bound, sub_layout(x, first, shape)


def _pack(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    (x,) = operands
    (packed,) = outputs
    axis, width, extent = node.attributes.axis, node.attributes.width, node.attributes.extent
    whole, rest = divmod(extent, width)
    rest_shape = x.shape[:axis] + x.shape[axis + 1 :]
    rest_strides = x.strides[:axis] + x.strides[axis + 1 :]
    step = x.strides[axis]
    result: list[Statement] = []
    if whole:
        source = Layout(x.buffer, x.offset, (step * width, *rest_strides, step), (whole, *rest_shape, width))
        result += schedule.copy(source, sub_layout(packed, [0] * len(packed.shape), source.shape), names)
    if rest:
        last = packed.element(Index(whole))
        zero = Literal(packed.buffer.dtype.type(0))
        padding = (*rest_shape, width - rest)
        result += schedule.fill(sub_layout(last, [*[0] * len(rest_shape), rest], padding), zero, names)
        source = Layout(x.buffer, x.offset + whole * width * step, (*rest_strides, step), (*rest_shape, rest))
        result += schedule.copy(source, sub_layout(last, [0] * len(last.shape), source.shape), names)
    return result


def _scatter(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    x, indices, updates = operands
    (whole,) = outputs
    result = [] if is_same_place(x, whole) else schedule.copy(x, whole, names)
    if 0 in updates.shape:
        return result
    scatter = Scatter(node, x, indices, updates, whole, checks)
    found = schedule.scatter(scatter, names)
    return result + _in_turn(scatter, names, schedule) if found is None else found


def _in_turn(scatter: Scatter, names: Names, schedule: Schedule) -> list[Statement]:
    """One update after the other, into what lies there."""
    whole, updates = scatter.whole, scatter.updates
    rows = [names("i") for _ in scatter.rows]
    row = tuple(Index.variable(name) for name in rows)
    bound, places = scatter.checked(row, names)
    base_offset, update_offset = whole.offset, updates.offset
    for axis, place in zip(scatter.axes, places, strict=True):
        base_offset = base_offset + place * whole.strides[axis]
    for axis, place in enumerate(row):
        update_offset = update_offset + place * updates.strides[axis]
    shape = tuple(whole.shape[axis] for axis in scatter.rest)
    slot = Layout(whole.buffer, base_offset, tuple(whole.strides[axis] for axis in scatter.rest), shape)
    update = Layout(updates.buffer, update_offset, updates.strides[len(rows) :], shape)

    def element(index: tuple[Index, ...]) -> list[Statement]:
        place = slot.at(index)
        return [Store(slot.buffer, place, scatter.changed(Load(slot.buffer, place), Load(update.buffer, update.at(index))))]

    inner = schedule.over(shape, [slot, update], element, names, whole.buffer.dtype)
    body: list[Statement] = [*bound, *inner]
    for name, extent in zip(reversed(rows), reversed(scatter.rows), strict=True):
        body = [For(name, 0, extent, 1, "serial", body)]
    return body


def check_indices(node: Node, indices: Layout, names: Names, checks: list[Check]) -> list[Statement]:
    """Check the indices of a gather or a scatter, and neither load nor store what is there."""
    if 0 in (node.operands[2] if len(node.operands) > 2 else node.output).shape:
        return []
    rows = [names("i") for _ in indices.shape[:-1]]
    body, _ = checked(node, indices, tuple(Index.variable(name) for name in rows), names, checks)
    for name, extent in zip(reversed(rows), reversed(indices.shape[:-1]), strict=True):
        body = [For(name, 0, extent, 1, "serial", body)]
    return body


def _check(
    node: Node, operands: list[Layout], outputs: list[Layout], names: Names, schedule: Schedule, checks: list[Check]
) -> list[Statement]:
    """The code and the numbers are stored where they are found when it has failed."""
    result: list[Statement] = []
    for source, target in zip(operands, outputs, strict=True):
        if not is_same_place(source, target):
            result += schedule.copy(source, target, names)
    int64 = np.dtype(np.int64)
    code = Variable(names("k"), int64)
    result.append(Let(code, Load(operands[0].buffer, operands[0].offset)))
    # Of several that fail the first is reported.
    for last, raises in zip(node.attributes.codes, node.attributes.raises, strict=True):
        checks.append(Check(CODE, 1, "", raises))
        is_one = Operation("less_equal", (code, Literal(np.int64(last))), np.dtype(bool))
        value = Operation("select", (is_one, code, Literal(np.int64(0))), int64)
        result.append(CheckIndex(Variable(names("k"), int64), value, 1, len(checks) - 1))
    return result


MOVES: dict[Any, Move] = {
    CHECK: _check,
    CONCAT: _concat,
    PAD: _pad,
    UPDATE_SLICE: _update_slice,
    DYNAMIC_SLICE: _dynamic_slice,
    DYNAMIC_UPDATE_SLICE: _dynamic_update_slice,
    PACK: _pack,
    SCATTER_ADD: _scatter,
    SCATTER_SET: _scatter,
    CUMSUM: running,
    CUMPROD: running,
    CUMMAX: running,
    CUMMIN: running,
    ARGMAX: arg_reduce,
    ARGMIN: arg_reduce,
    SORT: sort,
    ARGSORT: sort,
}


def is_independent(node: Node) -> bool:
    """The move's statements write different elements and read nothing of what the others write."""
    return node.op in (CONCAT, PACK, SORT, ARGSORT) or (node.op is PAD and not _is_filled(node))
