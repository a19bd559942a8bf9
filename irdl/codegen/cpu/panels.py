"""Contractions of few rows with a large matrix, of which a tile that walks all steps would read a line or a few in each of many rows:
no hardware fetches those ahead, and by the next tile of rows the cache has lost them. Here a block of steps goes over many columns before
the next one begins, and sums so far wait in memory:

    for j { acc = 0; for r in 0:2048 { acc += x[r] * w[2048*r + j] }; y[j] = acc }
    -> for j { sum[j] = 0 }
       for b in 0:128 { for j { acc = 0; for r in 0:16 { acc += x[16*b + r] * w[32768*b + 2048*r + j] }; sum[j] += acc } }
       for j { y[j] = sum[j] }

A few rows of the matrix are read as they lie, side by side. Where more tiles read them, so many rows and columns as the cache holds are
copied first, in the order in which tiles read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from irdl.codegen.cpu.tile import column_vectors, row_count
from irdl.codegen.cpu.tiled import Tile
from irdl.codegen.lowering.group import Axis
from irdl.codegen.lowering.nest import Loop, blocks, build_nest, wrap_in_loops
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import Statement, Store
from irdl.loops.rewrite import rewrite, substitute
from irdl.ops.contract import DOT

if TYPE_CHECKING:
    from irdl.codegen.cpu.schedule import Scheduled

#: Bytes of the matrix that no second-level cache keeps beside the rest, and from one of its rows to the next.
_MATRIX_BYTES, _ROW_BYTES = 1024 * 1024, 1024
#: Rows of the matrix that are read side by side: as many streams as the hardware follows, and not more.
_STREAMS = 16
#: Steps of a block that is copied, and bytes that all that is copied takes at most; as many may the sums so far of one that is not.
_STEPS, _PANEL_BYTES = 128, 256 * 1024
#: Rows that are worth a copy; and where several matrices share the loop, which would be too many streams.
_ROWS, _FEWEST = 17, 4
#: Tiles beside each other, so that a row is read in long pieces.
_TILES = 4
#: What is left over is one thread's where its tiles have all rows: no more of the columns than one in so many of a thread's.
_SHARES = 4
#: More rows than these are better off where the whole matrix is packed first.
ROWS_IN_PANELS = 256


def is_large(matrix_bytes: int) -> bool:
    """Whether a matrix, or all that share a loop, is too large to stay in the cache."""
    return matrix_bytes >= _MATRIX_BYTES


def wants_panels(matrix_bytes: int, row_bytes: int) -> bool:
    """Whether it is read in panels where it is not packed, with rows so far apart."""
    return is_large(matrix_bytes) and row_bytes >= _ROW_BYTES


def panels(scheduled: Scheduled, vector: Axis) -> list[Statement] | None:
    """The group's loops; None where all steps are better walked at once."""
    plan = _plan(scheduled, vector)
    return None if plan is None else _Panels(scheduled, plan).statements()


@dataclass(frozen=True)
class _Plan:
    """
    Attributes:
        vector, row, steps: axes of a tile's columns and rows, and the one that is summed along.
        outer, middle: the other axes of the result: those along which the matrix changes, and those that are more rows of it.
        columns: what is read of the matrix, or of several that share the loop.
        vectors, height: of a tile.
        copies: whether a block of the matrix is copied.
        depth: steps of a block.
        tiles, chunks: how many of a tile's width lie in a chunk of columns, and how many chunks there are.
    """

    vector: Axis
    row: Axis | None
    steps: Axis
    outer: tuple[Axis, ...]
    middle: tuple[Axis, ...]
    columns: tuple[Load, ...]
    vectors: int
    height: int
    copies: bool
    depth: int
    tiles: int
    chunks: int


def _plan(scheduled: Scheduled, vector: Axis) -> _Plan | None:
    group, target = scheduled.group, scheduled.target
    summed = [axis for axis in group.reduced if axis.extent > 1]
    known = {axis.variable for axis in (*group.domain, *group.reduced)}
    columns = tuple(load for load in group.inner_loads if load.index.coefficient(vector.variable))
    if len(summed) != 1 or group.unpacked or any(node.op is not DOT for node in group.body.reductions):
        return None
    if len(columns) in (0, len(group.inner_loads)) or any(axis.extent == 0 for axis in group.reduced):
        return None
    if any(load.index.coefficient(vector.variable) != 1 for load in columns) or any(
        load.index.variables() - known for load in group.inner_loads
    ):
        return None
    (steps,) = summed
    matrix_bytes = sum(vector.extent * steps.extent * load.dtype.itemsize for load in columns)
    row_bytes = min(abs(load.index.coefficient(steps.variable)) * load.dtype.itemsize for load in columns)
    if not wants_panels(matrix_bytes, row_bytes):
        return None

    def moves(axis: Axis) -> bool:
        return any(load.index.coefficient(axis.variable) for load in columns)

    others = [axis for axis in group.domain if axis.extent > 1 and axis is not vector]
    outer = tuple(axis for axis in others if moves(axis))
    rows = sorted((axis for axis in others if not moves(axis)), key=lambda axis: axis.extent)
    row = rows[-1] if rows else None
    middle = tuple(axis for axis in others if axis in rows[:-1])
    all_rows = math.prod(axis.extent for axis in rows)
    count, registers = len(group.body.reductions), target.registers
    if all_rows > 2 * ROWS_IN_PANELS:
        return None
    copies = all_rows >= (_ROWS if len(columns) == 1 else _FEWEST)
    height_of = row.extent if row else 1
    vectors = column_vectors(height_of, vector.extent, count, scheduled.lanes, registers, packed=True)
    # Few rows wait for pieces of each matrix that are as long as those of a single one, more rows for sums.
    share = 2 if all_rows >= _ROWS and len(columns) > 1 else len(columns)
    depth = _even(steps.extent, max(4, (_STEPS if copies else _STREAMS) // share))
    width = vectors * scheduled.lanes
    step_bytes = width * sum(load.dtype.itemsize for load in columns)
    total_bytes = width * all_rows * sum(node.output.dtype.itemsize for node in group.body.reductions)
    most = max(_TILES, _PANEL_BYTES // (step_bytes * depth if copies else total_bytes))
    tiles, chunks = _chunks(vector.extent // width, most, 1 if outer and outer[0].extent % target.threads == 0 else target.threads)
    if tiles * chunks < _TILES:
        return None
    height = row_count(height_of, vectors, count, registers)
    if target.threads > 1 and height_of <= height and (vector.extent - tiles * chunks * width) * _SHARES * target.threads > vector.extent:
        return None
    return _Plan(vector, row, steps, outer, middle, columns, vectors, height, copies, depth, tiles, chunks)


def _even(extent: int, most: int) -> int:
    """Steps of a block, about `most`: so many that none are left over, if that is possible."""
    if extent <= most:
        return extent
    return next((n for n in range(most + most // 4, most // 2, -1) if extent % n == 0), most)


def _chunks(count: int, most: int, threads: int) -> tuple[int, int]:
    """How many of `count` tiles make a chunk, of at most so many, and how many chunks there are, for each thread the same; so that few
    tiles are left over."""
    most = max(1, min(most, count // threads))

    def left(tiles: int) -> int:
        return count - count // (tiles * threads) * tiles * threads

    tiles = min(range(most, most // 2, -1), key=left)
    return tiles, count // (tiles * threads) * threads


class _Panels:
    """The loops of a plan."""

    def __init__(self, scheduled: Scheduled, plan: _Plan) -> None:
        self.scheduled, self.plan, self.group = scheduled, plan, scheduled.group
        names = scheduled.names
        self.width = plan.vectors * scheduled.lanes
        self.rows = plan.row.extent if plan.row else 1
        self.all_rows = math.prod((self.rows, *(axis.extent for axis in plan.middle)))
        self.parts, rest = divmod(plan.steps.extent, plan.depth)
        #: the first step, the size and the number of blocks
        self.blocks = [(0, plan.depth, self.parts)] + ([(self.parts * plan.depth, rest, 1)] if rest else [])
        self.waits = len(self.blocks) > 1 or self.parts > 1
        #: each thread has panels and sums of its own
        threads = scheduled.target.threads
        self.divided = next((axis for axis in plan.outer[:1] if axis.extent % threads == 0), None)
        self.thread = Loop(names("t"), threads)
        self.chunk = Loop(names("c"), plan.chunks if self.divided else plan.chunks // threads)
        self.tile = Loop(names("j"), plan.tiles)
        column = Index.variable(self.chunk.variable, plan.tiles) + Index.variable(self.tile.variable)
        if not self.divided:
            column = column + Index.variable(self.thread.variable, self.chunk.extent * plan.tiles)
        self.column = column * self.width
        self.panels = {
            load: Buffer(names("panel"), load.dtype, threads * plan.tiles * plan.depth * self.width, "arena")
            for load in plan.columns
            if plan.copies
        }
        self.sums = {
            node: Buffer(names("sum"), node.output.dtype, threads * plan.tiles * self.all_rows * self.width, "arena")
            for node in self.group.body.reductions
            if self.waits
        }

    def statements(self) -> list[Statement]:
        body: list[Statement] = []
        for sums in self.sums.values():
            body += self._clear(sums)
        for first, depth, count in self.blocks:
            block = self.scheduled.names("b")
            start = Index.variable(block, depth) + first
            steps = [statement for load, panel in self.panels.items() for statement in self._copy(load, panel, start, depth)]
            steps += self._tiles(self.plan.height, partial(_Block, self, start, depth))
            body += wrap_in_loops([Loop(block, count)], steps)
        if self.waits:
            body += self._tiles(1, partial(_Finish, self))
        divided = self.divided
        body = wrap_in_loops([*(Loop(axis.variable, axis.extent) for axis in self.plan.outer if axis is not divided), self.chunk], body)
        if divided:
            inner = self.scheduled.names("i")
            count = divided.extent // self.thread.extent
            place = Index.variable(self.thread.variable, count) + Index.variable(inner)
            body = wrap_in_loops([Loop(inner, count)], substitute(body, {divided.variable: place}))
        whole = self.plan.chunks * self.plan.tiles * self.width
        rest = self.scheduled.tiled(self.plan.vector, whole)
        if rest and self.rows <= self.plan.height:
            rest = wrap_in_loops([Loop(self.scheduled.names("j"), 1)], rest)  # one piece of work, for one thread
        return [*wrap_in_loops([self.thread], body), *rest]

    def _clear(self, sums: Buffer) -> list[Statement]:
        lane, step = self.scheduled.names("l"), self.scheduled.names("i")
        size = self.plan.tiles * self.all_rows * self.width
        place = Index.variable(self.thread.variable, size) + Index.variable(step, self.scheduled.lanes) + Index.variable(lane)
        lanes = Loop(lane, self.scheduled.lanes, "vector", self.scheduled.lanes)
        return build_nest([Loop(step, size // self.scheduled.lanes), lanes], [Store(sums, place, Literal(sums.dtype.type(0)))])

    def _copy(self, load: Load, panel: Buffer, start: Index, depth: int) -> list[Statement]:
        """The block's part of what `load` reads, a few rows at a time."""
        names, lanes = self.scheduled.names, self.scheduled.lanes
        result: list[Statement] = []
        for first, size, count in blocks(depth, _STREAMS):
            group, step, v, lane = names("p"), names("i"), names("v"), names("l")
            place = Index.variable(group, size) + Index.variable(step) + first
            along = Index.variable(v, lanes) + Index.variable(lane)
            source = load.index.substitute({self.plan.steps.variable: start + place, self.plan.vector.variable: self.column + along})
            store = Store(panel, self.in_panel(place) + along, Load(load.buffer, source))
            loops = [
                Loop(group, count),
                self.tile,
                Loop(step, size),
                Loop(v, self.plan.vectors, "abreast"),
                Loop(lane, lanes, "vector", lanes),
            ]
            result += build_nest(loops, [store])
        return result

    def in_panel(self, step: Index) -> Index:
        """Where a row of a tile's columns begins."""
        size = self.plan.depth * self.width
        tile = Index.variable(self.thread.variable, self.plan.tiles * size) + Index.variable(self.tile.variable, size)
        return tile + step * self.width

    def in_sums(self, row: Index) -> Index:
        """Where the sums of one row of a tile begin."""
        size = self.all_rows * self.width
        place = Index.variable(self.thread.variable, self.plan.tiles * size) + Index.variable(self.tile.variable, size)
        step = self.rows
        for axis in reversed(self.plan.middle):
            place = place + Index.variable(axis.variable, step * self.width)
            step *= axis.extent
        return place + row * self.width

    def _tiles(self, height: int, make: Callable[[Index, int], Tile]) -> list[Statement]:
        result: list[Statement] = []
        for first, size, count in blocks(self.rows, height):
            step = self.scheduled.names("m")
            tile = make(Index.variable(step, size) + first, size)
            loops = [*(Loop(axis.variable, axis.extent) for axis in self.plan.middle), Loop(step, count)]
            result += wrap_in_loops([self.tile, *loops], tile.statements())
        return result


class _Block(Tile):
    """A tile's steps in one block."""

    def __init__(self, panels: _Panels, start: Index, depth: int, row: Index, size: int) -> None:
        plan = panels.plan
        super().__init__(panels.scheduled, plan.vector, plan.row, None, panels.column, row, Index(), size, 1, plan.vectors, 0)
        self.panels, self.start, self.depth = panels, start, depth

    def statements(self) -> list[Statement]:
        if not self.panels.waits:
            return super().statements()
        return [*self._each(self._clear), *self._reduce(), *self._each(self._add)]

    def _sum(self, v: Index | None) -> Index:
        assert v is not None
        row = self.panels.in_sums(self.row_base + Index.variable(self.r))
        return row + v * self.scheduled.lanes + Index.variable(self.lane)

    def _add(self, v: Index | None) -> list[Statement]:
        """What the block adds to the sums so far: rounding grows with the number of blocks and not of steps."""
        stores: list[Statement] = []
        for node, tile in self._tiles(v).items():
            sums, place = self.panels.sums[node], self._sum(v)
            both = Operation("add", (Load(sums, place), Load(tile, self._place(v))), sums.dtype)
            stores.append(Store(sums, place, both))
        return stores

    def _variable(self, axis: Axis) -> str:
        return self.scheduled.names("r")  # runs less far than where all steps are walked

    def _count(self, axis: Axis) -> int:
        return self.depth

    def _parts(self) -> int:
        return 1  # the sums are many

    def _accumulate(self, v: Index | None, reduced: dict[str, Index], part: int = 0) -> list[Statement]:
        steps, panels = self.panels.plan.steps.variable, self.panels
        local = reduced.get(steps, Index.variable(steps))
        statements = super()._accumulate(v, {steps: self.start + local}, part)
        places = dict(zip((axis.variable for axis in self.group.domain), self.group.index(self._places(v)), strict=True))
        places[steps] = self.start + local
        assert v is not None
        copied = panels.in_panel(local) + v * self.scheduled.lanes + Index.variable(self.lane)
        copies = {Load(load.buffer, load.index.substitute(places)): Load(panel, copied) for load, panel in panels.panels.items()}
        return rewrite(statements, lambda old: copies.get(old, old) if isinstance(old, Load) else old, lambda _, index: index)


class _Finish(_Block):
    """What is made of the sums of one row."""

    def __init__(self, panels: _Panels, row: Index, size: int) -> None:
        super().__init__(panels, Index(), 0, row, size)

    def statements(self) -> list[Statement]:
        return self._each(self._finish, abreast=True)

    def _finish(self, v: Index | None) -> list[Statement]:
        sums: dict[Node, Expression] = {node: Load(sums, self._sum(v)) for node, sums in self.panels.sums.items()}
        return self.group.element(self._places(v), sums)
