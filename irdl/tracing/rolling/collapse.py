"""What is stored or joined piece by piece, of stacks, is stored or joined at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from irdl.ir.graph import Node, Value
from irdl.ops.joining import CONCAT, UPDATE_SLICE
from irdl.tracing.rolling.cost import MIN_STEPS, Unfit
from irdl.tracing.rolling.hidden import chain_to
from irdl.tracing.rolling.record import Record
from irdl.tracing.rolling.stacks import MAX_PIECES, Stacks


class _Store(NamedTuple):
    start: tuple[int, ...]
    piece: Value


#: pieces by the array that they are slices of (None: of none) and their shape
_Groups = dict[tuple[Value | None, tuple[int, ...]], list[_Store]]


class _Block(NamedTuple):
    """Pieces that lie beside each other as one piece: its first place along the axis, and the stride."""

    value: Value
    first: int
    stride: int


def collapse(nodes: list[Node], record: Record, stacks: Stacks) -> list[Node]:
    """The nodes with chains of stores, and concatenations, of elements of stacks made one store or concatenation of each stack."""
    if not record.rolled:
        return nodes
    instead: dict[Node, list[Node]] = {}
    inside = set(nodes)
    seen: set[Node] = set()
    for node in reversed(nodes):
        if node in record.dead or node in seen:
            continue
        if node.op is UPDATE_SLICE:
            chain = chain_to(node, inside, record)
            seen.update(chain)
            if len(chain) >= MIN_STEPS and _as_one_store(chain, record, stacks):
                instead[node] = record.taken()
        elif node.op is CONCAT and len(node.operands) >= MIN_STEPS and _as_one_concat(node, record, stacks):
            instead[node] = record.taken()
    if not instead:
        return nodes
    return record.living([made for node in nodes for made in instead.get(node, [node])])


def _as_one_store(chain: list[Node], record: Record, stacks: Stacks) -> bool:
    """Stores of elements of stacks, at places that do not overlap: one store for each stack. Of those into one place the last counts."""
    last: dict[tuple[int, ...], _Store] = {}
    for node in chain:
        store = _Store(node.attributes.start, record.now(node.operands[1]))
        before = last.pop(store.start, store)
        if before.piece.shape != store.piece.shape or any(step != 1 for step in node.attributes.stride):
            return False
        last[store.start] = store
    groups: _Groups = {}
    for store in last.values():
        element = stacks.element_of(store.piece)
        groups.setdefault((None if element is None else element.x, store.piece.shape), []).append(store)
    if len(groups) > max(2 * MAX_PIECES, len(chain) // MIN_STEPS) or not _are_apart(groups):
        return False
    alone = 0
    value = record.now(chain[0].operands[0])
    location = chain[-1].location
    for stores in groups.values():
        starts = np.array([store.start for store in stores])
        axes = np.flatnonzero((starts != starts[0]).any(axis=0))
        axis = int(axes[0]) if len(axes) == 1 else None
        block = _block(stores, axis, stacks) if axis is not None else None
        if block is None:
            alone += len(stores)
            if alone > max(MAX_PIECES, len(chain) // 2):
                record.drop()
                return False
            for start, piece in stores:
                value = record.update(value, piece, start, (1,) * len(start), location)
        elif block.value.shape == value.shape:
            value = block.value
        else:
            corner = [block.first if place == axis else int(first) for place, first in enumerate(starts[0])]
            stride = [block.stride if place == axis else 1 for place in range(len(corner))]
            value = record.update(value, block.value, corner, stride, location)
    record.replace(chain[-1].output, value)
    record.dead.update(chain)
    return True


def _block(stores: Sequence[_Store], axis: int, stacks: Stacks) -> _Block | None:
    """Pieces that lie side by side, or at equal distances, along an axis as one."""
    ordered = sorted(stores, key=lambda store: store.start[axis])
    steps = {b.start[axis] - a.start[axis] for a, b in itertools.pairwise(ordered)}
    width = ordered[0].piece.shape[axis]
    if len(steps) != 1 or not (width == 1 or steps == {width}):
        return None
    try:
        stack = stacks.stack([store.piece for store in ordered])
    except Unfit:
        return None
    return _Block(stacks.along(stack, axis), ordered[0].start[axis], steps.pop() if width == 1 else 1)


def _are_apart(groups: Mapping[tuple[Value | None, tuple[int, ...]], Sequence[_Store]]) -> bool:
    """Stores of one shape lie on one grid; those of different shapes have boxes that do not meet."""
    by_shape: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for (_, shape), stores in groups.items():
        by_shape.setdefault(shape, []).extend(store.start for store in stores)
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    for shape, starts in by_shape.items():
        table = np.array(starts)
        if 0 in shape or ((table - table[0]) % np.array(shape)).any():
            return False
        low, high = table.min(axis=0), table.max(axis=0) + np.array(shape)
        if any((np.maximum(low, other_low) < np.minimum(high, other_high)).all() for other_low, other_high in boxes):
            return False
        boxes.append((low, high))
    return True


def _as_one_concat(node: Node, record: Record, stacks: Stacks) -> bool:
    """A concatenation with runs of elements of a stack."""
    axis = node.attributes.axis
    operands = record.operands(node)
    parts = []
    for first, end in stacks.runs(operands):
        run = operands[first:end]
        parts.append(run[0] if len(run) == 1 else stacks.along(stacks.stack(run), axis))
    if len(parts) > len(operands) // 2:
        record.drop()
        return False
    record.replace(node.output, record.concat(parts, axis, node.location))
    record.dead.add(node)
    return True
