"""Places in arrays that follow from the counter of a loop: which number moves with it, and when two of them are one."""

from __future__ import annotations

from typing import NamedTuple

from irdl.ir.graph import Node, Value
from irdl.ops.joining import CONCAT
from irdl.tracing.counters import Line


class Place(NamedTuple):
    """Where a node reads or stores: on which axes of the array, and at which number of each; `key`: of numbers alike the same."""

    axes: tuple[int, ...]
    numbers: tuple[Value, ...]
    lines: tuple[Line | None, ...]
    moving: int
    first: int

    @property
    def scale(self) -> int:
        line = self.lines[self.moving]
        assert line is not None
        return line.scale

    @property
    def fixed(self) -> list[tuple[int, Value]]:
        """The axes that do not move, and their numbers."""
        return [(axis, self.numbers[which]) for which, axis in enumerate(self.axes) if which != self.moving]

    def known(self, shape: tuple[int, ...]) -> dict[int, int]:
        """Of these the ones whose numbers are known, counted from the front."""
        pairs = [(axis, self.lines[which]) for which, axis in enumerate(self.axes) if which != self.moving]
        return {axis: line.offset % shape[axis] for axis, line in pairs if line is not None and not line.scale}


#: of two places that may be one or not
UNCLEAR = -(2**62)


def distance_of(store: Place, read: Place, shape: tuple[int, ...]) -> int | None:
    """How many steps after one place another is the same: of places on the same axes, that move alike. None where they never are,
    `UNCLEAR` where it is not known."""
    distance, rest = divmod(store.first - read.first, store.scale)
    is_clear = True
    for which, axis in enumerate(store.axes):
        if which == store.moving or store.numbers[which] is read.numbers[which]:
            continue
        lines = [place.lines[which] for place in (store, read)]
        offsets = [_from_front(line, shape[axis]) for line in lines]
        first, second = lines
        if first is None or second is None or None in offsets or (first.counter, first.scale) != (second.counter, second.scale):
            is_clear = False
        elif offsets[0] != offsets[1]:
            return None
    if rest:
        return None
    return distance if is_clear else UNCLEAR


def _from_front(line: Line | None, extent: int) -> int | None:
    """Where a line begins, counted from the front of an axis; None where it is on both sides of zero."""
    if line is None:
        return None
    low, high = line.ends()
    return line.offset if low >= 0 else line.offset + extent if high < 0 else None


def rest_of(node: Node) -> tuple[int, ...]:
    """The shape of what lies at one place of what a node reads or stores into."""
    return tuple(extent for axis, extent in enumerate(node.operands[0].shape) if axis not in node.attributes.axes)


def numbers_of(index: Value) -> tuple[Value, ...] | None:
    """The numbers of one place."""
    if index.type.rank != 1:
        return None
    if index.shape == (1,):
        return (index,)
    node = index.node
    if node is None or node.op is not CONCAT or any(part.shape != (1,) for part in node.operands):
        return None
    return node.operands
