"""Arrays made of pieces along one axis: sums of slices' gradients and stores into buffers become concatenations."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from irdl.ir.builder import Builder, constant_of
from irdl.ir.graph import Node, Value
from irdl.ops.joining import CONCAT, UPDATE_SLICE, ConcatAttributes
from irdl.ops.shape import BROADCAST, SLICE, BroadcastAttributes, SliceAttributes

#: (first, end, what lies there, from which index of it); None is zero.
Piece = tuple[int, int, Value | None, int]
_MOST = 64


def is_zero(value: Value) -> bool:
    """A constant (or a broadcast of one) of zeros."""
    while value.node is not None and value.node.op is BROADCAST:
        value = value.node.operands[0]
    array = constant_of(value)
    return array is not None and not array.any()


def pieces_of(value: Value) -> tuple[int, list[Piece]] | None:
    """The axis that `value` is pieced together along, and its pieces; None if it is no such thing."""
    node = value.node
    if node is None:
        return None
    if node.op is CONCAT:
        axis = node.attributes.axis
        position, result = 0, []
        for part in node.operands:
            end = position + part.shape[axis]
            if end > position:
                result.append((position, end, None if is_zero(part) else part, 0))
            position = end
        return axis, result
    if node.op is UPDATE_SLICE:
        return _stored_pieces(value)
    return None


def _stored_pieces(value: Value) -> tuple[int, list[Piece]] | None:
    """Of a buffer stored into along one axis."""
    stores: list[tuple[int, Value]] = []
    axis = -1
    while not is_zero(value) and value.node is not None and value.node.op is UPDATE_SLICE:
        base, update = value.node.operands
        cut = [place for place, (a, b) in enumerate(zip(base.shape, update.shape, strict=True)) if a != b]
        if len(cut) != 1 or (stores and cut[0] != axis) or 0 in update.shape or not set(value.node.attributes.stride) <= {1}:
            return None
        axis = cut[0]
        stores.append((value.node.attributes.start[axis], update))
        value = base
    if is_zero(value):
        pieces: list[Piece] = [(0, value.shape[axis], None, 0)]
    else:
        under = pieces_of(value)
        if under is None or under[0] != axis:
            return None
        pieces = under[1]
    for start, update in reversed(stores):
        end = start + update.shape[axis]
        first = bisect_right(pieces, start, key=lambda piece: piece[1])
        last = bisect_left(pieces, end, key=lambda piece: piece[0])
        met = pieces[first:last]
        pieces[first:last] = [*_within(met, 0, start), (start, end, update, 0), *_within(met, end, value.shape[axis])]
    return axis, pieces


#: of a buffer stored into, how many elements stores can have reached at most
_reached: WeakKeyDictionary[Value, int] = WeakKeyDictionary()


def _is_filled(base: Value, update: Value, stored: Value) -> bool:
    """Stores may have reached all of a buffer: most have not, and need no look at every store before."""
    size = stored.type.size
    before = _reached.get(base)
    if before is None:
        before = 0 if is_zero(base) else size
    _reached[stored] = min(before + update.type.size, size)
    return _reached[stored] == size


def _within(pieces: Sequence[Piece], first: int, end: int) -> list[Piece]:
    """The parts of pieces that lie between two indices."""
    found: list[Piece] = []
    for a, b, value, offset in pieces:
        low, high = max(a, first), min(b, end)
        if low < high:
            found.append((low, high, value, offset + low - a))
    return found


def build_concat(builder: Builder, value: Value, axis: int, pieces: Sequence[Piece]) -> Value:
    """The concatenation of pieces in the shape of `value`."""
    parts: list[Value] = []
    for first, end, part, offset in pieces:
        shape = (*value.shape[:axis], end - first, *value.shape[axis + 1 :])
        if part is None:
            parts.append(builder.value(BROADCAST, [builder.constant(0, value.dtype)], BroadcastAttributes(shape)))
            continue
        if part.shape != shape:
            start = tuple(offset if i == axis else 0 for i in range(len(shape)))
            limit = tuple(offset + end - first if i == axis else n for i, n in enumerate(part.shape))
            part = builder.value(SLICE, [part], SliceAttributes(start, limit, (1,) * len(shape)))
        parts.append(part)
    return parts[0] if len(parts) == 1 else builder.value(CONCAT, parts, ConcatAttributes(axis))


def add_pieces(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """concat(a, 0) + concat(0, b) = concat(a, b), where no two pieces that meet are both there"""
    if any(value.type != node.output.type for value in operands):
        return None
    left, right = (pieces_of(value) for value in operands)
    if left is None or right is None or left[0] != right[0] or len(left[1]) + len(right[1]) > _MOST:
        return None
    edges = sorted({edge for _, pieces in (left, right) for first, end, _, _ in pieces for edge in (first, end)})
    result: list[Piece] = []
    for first, end in itertools.pairwise(edges):
        (a,), (b,) = _within(left[1], first, end), _within(right[1], first, end)
        if a[2] is not None and b[2] is not None:
            return None
        result.append(a if a[2] is not None else b)
    return [build_concat(builder, node.output, left[0], _joined(result))]


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbouring pieces of one value (or of zeros) as one."""
    result: list[Piece] = []
    for piece in pieces:
        if result:
            first, end, value, offset = result[-1]
            if value is piece[2] and (value is None or offset + end - first == piece[3]):
                result[-1] = (first, piece[1], value, offset)
                continue
        result.append(piece)
    return result


def update_to_concat(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """stores that fill a whole buffer piece by piece = concat of what was stored"""
    base, update = operands
    trial = builder.node(UPDATE_SLICE, operands, node.attributes, (), node.location)
    found = pieces_of(trial.output) if _is_filled(base, update, trial.output) else None
    if found is None or any(value is None for _, _, value, _ in found[1]) or base.shape == update.shape:
        return None
    return [build_concat(builder, node.output, found[0], found[1])]
