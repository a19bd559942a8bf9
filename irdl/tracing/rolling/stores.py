"""What is stored where: reads of a buffer find what was stored there, so that a loop's `h[t - 1]` is the step before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from irdl.ir.graph import Node, Value
from irdl.ops.joining import UPDATE_SLICE
from irdl.ops.shape import RESHAPE, SLICE, SliceAttributes
from irdl.tracing.rolling.record import Record

#: a read may be put together from so many stores
_MAX_SPAN = 32
#: buffers made of buffers are followed so far
_MAX_BASES, _MAX_DEPTH = 64, 3

#: what `Stores.clean` is for
CLEANED = frozenset((UPDATE_SLICE, SLICE, RESHAPE))

Place: TypeAlias = tuple[int, ...]


@dataclass
class _Chain:
    """Stores of one shape into one buffer at places of a grid, so that two of them are the same place or apart."""

    base: Value
    origin: Place
    shape: Place
    length: int = 0
    cells: dict[Place, list[tuple[int, Value]]] = field(default_factory=dict)

    def is_on_grid(self, start: Place, shape: Place) -> bool:
        return shape == self.shape and all((s - o) % w == 0 for s, o, w in zip(start, self.origin, shape, strict=True))

    def store(self, start: Place, piece: Value) -> int:
        self.length += 1
        self.cells.setdefault(start, []).append((self.length, piece))
        return self.length

    def spans(self, start: Place, limit: Place) -> list[list[int]]:
        """For each axis, where the grid's cells begin that a region meets."""
        return [list(range(o + (s - o) // w * w, e, w)) for s, e, o, w in zip(start, limit, self.origin, self.shape, strict=True)]

    def at(self, cell: Place, version: int) -> Value | None:
        """What a cell held after so many stores; None where nothing was stored."""
        return next((piece for number, piece in reversed(self.cells.get(cell, ())) if number <= version), None)


class _Version(NamedTuple):
    """A buffer after so many stores of a chain."""

    chain: _Chain
    stores: int


class _Region(NamedTuple):
    """Part of an array; `is_stored`: the array is what was stored, and not the buffer."""

    x: Value
    start: Place
    limit: Place
    is_stored: bool


class _Joined(NamedTuple):
    axis: int
    parts: list[_Region | _Joined]


class Stores:
    """The stores of a record so far."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._versions: dict[Value, _Version] = {}
        self._reshapes: dict[tuple[Value, Place], Value] = {}

    def clean(self, node: Node) -> list[Node]:
        """What takes the place of one of `CLEANED` in the record: reads of what was stored, reshapes of reshapes, equal reshapes are not made anew.

        Without this, first steps would look different from the others.
        """
        if node.op is UPDATE_SLICE:
            return self._update(node)
        if node.op is SLICE:
            return self._slice(node)
        return self._reshape(node)

    def _instead(self, node: Node, value: Value) -> list[Node]:
        self._record.replace(node.output, value)
        self._record.dead.add(node)
        return self._record.taken()

    def _update(self, node: Node) -> list[Node]:
        base, piece = self._record.operands(node)
        start = node.attributes.start
        version = self._versions.get(base)
        if version is not None and version.chain.shape == piece.shape and self._at(version, start) is piece:
            return self._instead(node, base)  # it is there already
        self._store(node, base, piece)
        return [node]

    def learn(self, nodes: Sequence[Node]) -> None:
        """The stores that take the place of others, in their order."""
        for node in nodes:
            self._store(node, *self._record.operands(node))

    def _store(self, node: Node, base: Value, piece: Value) -> None:
        start = node.attributes.start
        if any(step != 1 for step in node.attributes.stride) or 0 in piece.shape:
            return
        version = self._versions.get(base)
        if version is None or version.stores != version.chain.length or not version.chain.is_on_grid(start, piece.shape):
            version = _Version(_Chain(base, start, piece.shape), 0)
        self._versions[node.output] = _Version(version.chain, version.chain.store(start, piece))

    def _slice(self, node: Node) -> list[Node]:
        record, a = self._record, node.attributes
        base = record.now(node.operands[0])
        if base not in self._versions or 0 in node.output.shape:
            return [node]
        found = self._find(base, a.start, a.limit, a.stride)
        if isinstance(found, _Region) and found.x is base:
            return [node]
        return self._instead(node, self._assembled(found, a.stride, node))

    def _reshape(self, node: Node) -> list[Node]:
        record, shape = self._record, node.output.shape
        x = record.before_reshapes(record.now(node.operands[0]))
        known = x if x.shape == shape else self._reshapes.get((x, shape))
        if known is not None and known.node not in record.dead:
            if node not in record.ghosts:
                record.revive(known)
            return self._instead(node, known)
        if x is not record.now(node.operands[0]):
            known = record.reshape(x, shape, node.location)
            self._reshapes[x, shape] = known
            return self._instead(node, known)
        self._reshapes[x, shape] = node.output
        return [node]

    def _assembled(self, found: _Region | _Joined, stride: Place, node: Node) -> Value:
        # With the line of who reads: with the buffer's, the first step would differ from the others.
        if isinstance(found, _Region):
            return self._record.slice(found.x, SliceAttributes(found.start, found.limit, stride), node.location)
        parts = [self._assembled(part, stride, node) for part in found.parts]
        return self._record.concat(parts, found.axis, node.location)

    def _at(self, version: _Version, cell: Place) -> Value | None:
        """What stands by now for what a cell holds."""
        piece = version.chain.at(cell, version.stores)
        return None if piece is None else self._record.now(piece)

    def _find(self, base: Value, start: Place, limit: Place, stride: Place, depth: int = 0) -> _Region | _Joined:
        """Where a region of a buffer comes from."""
        for _ in range(_MAX_BASES):
            version = self._versions.get(base)
            if version is None:
                break
            chain = version.chain
            spans = chain.spans(start, limit)
            wide = [axis for axis, span in enumerate(spans) if len(span) > 1]
            if not wide:
                cell = tuple(span[0] for span in spans)
                piece = self._at(version, cell)
                if piece is not None:
                    return _Region(piece, _minus(start, cell), _minus(limit, cell), True)
                base = chain.base
                continue
            if len(wide) > 1 or len(spans[wide[0]]) > _MAX_SPAN or stride[wide[0]] != 1 or depth > _MAX_DEPTH:
                break
            joined = self._join(version, base, spans, wide[0], start, limit, stride, depth)
            if joined is not None:
                return joined
            if any(chain.at(cell, version.stores) is not None for cell in _cells(spans, wide[0])):
                break
            base = chain.base
        return _Region(base, start, limit, False)

    def _join(
        self, version: _Version, base: Value, spans: list[list[int]], axis: int, start: Place, limit: Place, stride: Place, depth: int
    ) -> _Joined | None:
        """A region that meets several cells along an axis, from whole stores put together; None where it is not that."""
        chain = version.chain
        cells = _cells(spans, axis)
        pieces = [chain.at(cell, version.stores) for cell in cells]
        if all(piece is None for piece in pieces):
            return None
        width = chain.shape[axis]
        parts: list[_Region | _Joined] = []
        place = 0
        while place < len(cells):
            end = place + 1
            while pieces[place] is None and end < len(cells) and pieces[end] is None:
                end += 1
            low = max(start[axis], cells[place][axis])
            high = min(limit[axis], cells[end - 1][axis] + width)
            # Windows that overlap, as in overlap-add, are reads of the buffer.
            if pieces[place] is not None and high - low < width:
                return None
            owner = base if pieces[place] is not None else chain.base
            parts.append(self._find(owner, _put(start, axis, low), _put(limit, axis, high), stride, depth + 1))
            place = end
        is_whole = all(isinstance(part, _Joined) or part.is_stored for part in parts)
        return _Joined(axis, parts) if is_whole else None


def _minus(places: Place, others: Place) -> Place:
    return tuple(a - b for a, b in zip(places, others, strict=True))


def _put(places: Place, axis: int, place: int) -> Place:
    return (*places[:axis], place, *places[axis + 1 :])


def _cells(spans: list[list[int]], axis: int) -> list[Place]:
    """The cells that a region meets along one axis."""
    corner = tuple(span[0] for span in spans)
    return [_put(corner, axis, place) for place in spans[axis]]
