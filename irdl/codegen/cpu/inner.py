"""Contractions with the vector along a summed axis: a tile of results, each a vector of partial sums that are added up at the end.

Of x @ y.T, with few results for each row, say: what both operands hold side by side are the terms of one sum.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from irdl.codegen.lowering.body import Scope, combine
from irdl.codegen.lowering.group import Axis
from irdl.codegen.lowering.nest import Loop, blocks, build_nest, wrap_in_loops
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, Statement, Store
from irdl.ops.contract import DOT
from irdl.ops.reduce import identity_of

if TYPE_CHECKING:
    from irdl.codegen.cpu.schedule import Scheduled

#: Columns of a tile at most.
_COLUMNS = 4
#: Lines so far apart take each other's place in a first-level cache of eight ways, two of which others need.
_WAY_BYTES, _WAYS = 4096, 6


def inner_products(scheduled: Scheduled, vector: Axis) -> list[Statement] | None:
    """The group in such tiles; None where it has other reductions, or no element of an operand is read for two results."""
    group = scheduled.group
    if any(node.op is not DOT for node in group.body.reductions) or vector.extent < scheduled.lanes:
        return None
    #: the longest axis along which the same operands stay put, the last of such
    longest: dict[frozenset[int], Axis] = {}
    for axis in group.domain:
        stays = frozenset(i for i, load in enumerate(group.inner_loads) if not load.index.coefficient(axis.variable))
        if axis.extent > 1 and stays and (stays not in longest or axis.extent >= longest[stays].extent):
            longest[stays] = axis
    if not longest or any(axis.extent == 0 for axis in group.reduced):
        return None
    row, *others = sorted(longest.values(), key=lambda axis: -axis.extent)
    column = others[0] if others else None
    registers, nodes = scheduled.target.registers, len(group.body.reductions)
    columns = 1 if column is None else min(column.extent, _COLUMNS if registers >= 32 else 2)
    rows = max(1, (registers - 2 - columns) // (columns * nodes + 1))
    rows = min([rows, *(_WAYS * _WAY_BYTES // math.gcd(step, _WAY_BYTES) for step in _row_bytes(scheduled, row))])
    outer = [Loop(axis.variable, axis.extent) for axis in group.domain if axis.extent > 1 and axis not in (row, column)]
    result: list[Statement] = []
    for first_row, height, row_blocks in blocks(row.extent, rows):
        for first_column, width, column_blocks in blocks(1 if column is None else column.extent, columns):
            m, j = scheduled.names("m"), scheduled.names("j")
            bases = {row.variable: Index.variable(m, height) + first_row}
            if column is not None:
                bases[column.variable] = Index.variable(j, width) + first_column
            loops = [*outer, Loop(m, row_blocks), Loop(j, column_blocks)]
            result += wrap_in_loops(loops, _Tile(scheduled, vector, bases, (height, width)).statements())
    return result


def _row_bytes(scheduled: Scheduled, row: Axis) -> list[int]:
    """How far apart in memory neighbours along the axis are."""
    loads = scheduled.group.inner_loads
    return [step * load.buffer.dtype.itemsize for load in loads if (step := abs(load.index.coefficient(row.variable)))]


class _Tile:
    """`size` results along the axes of `bases`, which start there."""

    def __init__(self, scheduled: Scheduled, vector: Axis, bases: dict[str, Index], size: tuple[int, int]) -> None:
        self.group, self.lanes, self.vector, self.size = scheduled.group, scheduled.lanes, vector, size
        self.names = scheduled.names
        self.u, self.v, self.lane = self.names("u"), self.names("v"), self.names("l")
        self.places = {name: base + Index.variable(step) for (name, base), step in zip(bases.items(), (self.u, self.v), strict=False)}
        #: of the result's vector of partial sums
        self.start = Index.variable(self.u, size[1] * self.lanes) + Index.variable(self.v, self.lanes)
        count = size[0] * size[1] * self.lanes
        nodes = self.group.body.reductions
        self.tiles = {node: Buffer(self.names("acc"), node.output.dtype, count, "register") for node in nodes}

    def statements(self) -> list[Statement]:
        at = self.start + Index.variable(self.lane)
        zero: list[Statement] = [Store(tile, at, Literal(identity_of(node.op, tile.dtype))) for node, tile in self.tiles.items()]
        result = self._each([self._vector(self.lanes, zero)])
        outer = [Loop(axis.variable, axis.extent) for axis in self.group.reduced if axis is not self.vector and axis.extent > 1]
        whole, tail = divmod(self.vector.extent, self.lanes)
        block = self.names("b")
        step = self._step(Index.variable(block, self.lanes) + Index.variable(self.lane))
        result += wrap_in_loops([*outer, Loop(block, whole)], self._each([self._vector(self.lanes, step)]))
        if tail:
            step = self._step(Index.variable(self.lane) + whole * self.lanes)
            result += wrap_in_loops(outer, self._each([self._vector(tail, step)]))
        half = self.lanes // 2
        while half:
            fold: list[Statement] = [
                Store(tile, at, Operation("add", (Load(tile, at), Load(tile, at + half)), tile.dtype)) for tile in self.tiles.values()
            ]
            result += self._each([For(self.lane, 0, half, 1, "vector", fold, half)], "abreast")
            half //= 2
        sums: dict[Node, Expression] = {node: Load(tile, self.start) for node, tile in self.tiles.items()}
        return result + self._each(self.group.element(self.places, sums))

    def _each(self, body: list[Statement], kind: str = "unrolled") -> list[Statement]:
        """`body` for each result."""
        rows, columns = self.size
        return build_nest([Loop(self.u, rows, "unrolled"), Loop(self.v, columns, kind)], body)

    def _vector(self, count: int, body: list[Statement]) -> Statement:
        return For(self.lane, 0, count, 1, "vector", body, self.lanes)

    def _step(self, place: Index) -> list[Statement]:
        """One vector of terms of a result."""
        scope, index, at = Scope(), self.group.index(self.places), self.start + Index.variable(self.lane)
        steps = [
            place if axis is self.vector else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in self.group.reduced
        ]
        stores: list[Statement] = []
        for node, tile in self.tiles.items():
            stores.append(Store(tile, at, combine(node, Load(tile, at), self.group.body.term(node, index, steps, scope))))
        return [*scope.statements, *stores]
