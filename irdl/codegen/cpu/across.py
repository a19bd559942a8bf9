"""Reductions with the vector along a reduced axis: partial sums in the lanes of a few registers, added up at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from irdl.codegen.lowering.body import COMBINE, Scope, combine
from irdl.codegen.lowering.group import Axis
from irdl.codegen.lowering.nest import Loop, build_nest, narrow_lanes, wrap_in_loops
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, Statement, Store
from irdl.loops.rewrite import substitute
from irdl.ops.reduce import identity_of

if TYPE_CHECKING:
    from irdl.codegen.cpu.schedule import Scheduled

#: Steps of a long reduction that are summed before they are added to the rest.
_BLOCK = 64


class Across:
    """One group's reductions, with the vector along `vector` (None: one element at a time)."""

    def __init__(self, scheduled: Scheduled, vector: Axis | None) -> None:
        self.scheduled, self.group = scheduled, scheduled.group
        self.vector = vector

    def statements(self) -> list[Statement]:
        vector = self.vector
        loops = [Loop(axis.variable, axis.extent) for axis in self.group.domain if axis.extent > 1]
        others = [axis for axis in self.group.reduced if axis is not vector]
        lanes = self.lanes = self._lanes()
        unroll = 4 if vector is not None and vector.extent >= 4 * lanes else 1
        nodes = self.group.body.reductions
        tiles = {node: Buffer(self.scheduled.names("acc"), node.output.dtype, unroll * lanes, "register") for node in nodes}
        lane = self.scheduled.names("l")
        statements: list[Statement] = []
        for node, tile in tiles.items():
            start = Literal(identity_of(node.op, tile.dtype))
            for part in range(unroll):
                statements += _lane_loop(lane, lanes, [Store(tile, Index.variable(lane) + part * lanes, start)], vector)
        statements += self._accumulate_across(vector, others, tiles, lanes, unroll, lane)
        for node, tile in tiles.items():
            for part in range(1, unroll):
                step = combine_tiles(node, tile, Index.variable(lane), Index.variable(lane) + part * lanes)
                statements += _lane_loop(lane, lanes, [step], vector)
        accumulators: dict[Node, Expression] = {}
        for node, tile in tiles.items():
            half = lanes // 2
            while half:
                step = combine_tiles(node, tile, Index.variable(lane), Index.variable(lane) + half)
                statements.append(For(lane, 0, half, 1, "vector", [step], lanes))
                half //= 2
            accumulators[node] = Load(tile, Index())
        statements += self.group.element({}, accumulators)
        return wrap_in_loops(loops, statements)

    def _lanes(self) -> int:
        """What is made of a result is not in vectors: the terms decide. A few terms are a vector as narrow as what has made them, from whose
        store a wider one would have to wait for memory."""
        target = self.scheduled.target
        if self.vector is None:
            return 1
        return narrow_lanes(self.vector.extent, min(target.lanes(dtype) for dtype in self.group.term_dtypes))

    def _accumulate_across(
        self, vector: Axis | None, others: list[Axis], tiles: dict[Node, Buffer], lanes: int, unroll: int, lane: str
    ) -> list[Statement]:
        def step(place: Index | None, part: int) -> list[Statement]:
            scope = Scope()
            index = self.group.index({})
            stores: list[Statement] = []
            reduced = [
                place if axis is vector and place is not None else Index.variable(axis.variable) if axis.extent > 1 else Index()
                for axis in self.group.reduced
            ]
            for node, tile in tiles.items():
                factors = self.group.body.term(node, index, reduced, scope)
                where = Index.variable(lane) + part * lanes if vector is not None else Index()
                stores.append(Store(tile, where, combine(node, Load(tile, where), factors)))
            return [*scope.statements, *stores]

        outer = [Loop(axis.variable, axis.extent) for axis in others if axis.extent > 1]
        if any(axis.extent == 0 for axis in self.group.reduced):
            return []
        if vector is None:
            return self._blocked(outer[:-1], outer[-1:], step(None, 0), tiles, 1, lane)
        result: list[Statement] = []
        size = unroll * lanes
        whole, rest = divmod(vector.extent, size)
        if whole:
            block = self.scheduled.names("b")
            parts: list[Statement] = []
            for part in range(unroll):
                place = Index.variable(block, size) + Index.variable(lane) + part * lanes
                parts += build_nest([Loop(lane, lanes, "vector", lanes)], step(place, part))
            result += self._blocked(outer, [Loop(block, whole)], parts, tiles, size, lane)
        done = whole * size
        whole, tail = divmod(rest, lanes)
        if whole:
            block = self.scheduled.names("b")
            place = Index.variable(block, lanes) + Index.variable(lane) + done
            result += build_nest([*outer, Loop(block, whole), Loop(lane, lanes, "vector", lanes)], step(place, 0))
        if tail:
            place = Index.variable(lane) + (done + whole * lanes)
            result += build_nest([*outer, Loop(lane, tail, "vector", lanes)], step(place, 0))
        return result

    def _blocked(
        self, outer: list[Loop], last: list[Loop], body: list[Statement], tiles: dict[Node, Buffer], size: int, lane: str
    ) -> list[Statement]:
        """The last reduced loop; where it is long, sums run in blocks that are added up on the way, so that rounding
        grows with the number of blocks and not of elements."""
        sums = {node: tile for node, tile in tiles.items() if COMBINE[node.op] == "add" and is_float(tile.dtype)}
        if not last or last[0].extent < 4 * _BLOCK or not sums:
            return build_nest([*outer, *last], body)
        (loop,) = last
        count, rest = divmod(loop.extent, _BLOCK)
        number, within = self.scheduled.names("b"), self.scheduled.names("b")
        place = Index.variable(number, _BLOCK) + Index.variable(within)
        lanes = self.lanes if size > 1 else 1
        vector = Axis("", size) if size > 1 else None
        flush: list[Statement] = []
        start: list[Statement] = []
        end: list[Statement] = []
        for node, tile in sums.items():
            total = Buffer(self.scheduled.names("total"), tile.dtype, tile.size, "register")
            zero = Literal(identity_of(node.op, tile.dtype))
            for part in range(tile.size // lanes):
                at = Index.variable(lane) + part * lanes
                both = Operation("add", (Load(total, at), Load(tile, at)), tile.dtype)
                start += _lane_loop(lane, lanes, [Store(total, at, zero)], vector)
                flush += _lane_loop(lane, lanes, [Store(total, at, both), Store(tile, at, zero)], vector)
                end += _lane_loop(lane, lanes, [Store(tile, at, both)], vector)
        block = [For(within, 0, _BLOCK, 1, "serial", substitute(body, {loop.variable: place})), *flush]
        result = [*start, *build_nest([*outer, Loop(number, count)], block)]
        if rest:
            place = Index.variable(within) + count * _BLOCK
            result += build_nest([*outer, Loop(within, rest)], substitute(body, {loop.variable: place}))
        return [*result, *end]


def combine_tiles(node: Node, tile: Buffer, to: Index, source: Index) -> Store:
    """`tile[to] = tile[to] (+) tile[source]`."""
    return Store(tile, to, Operation(COMBINE[node.op], (Load(tile, to), Load(tile, source)), tile.dtype))


def _lane_loop(lane: str, lanes: int, body: list[Statement], vector: Axis | None) -> list[Statement]:
    if vector is None:
        return substitute(body, {lane: Index()})
    return [For(lane, 0, lanes, 1, "vector", body, lanes)]
