"""Contractions and reductions with the vector along an output axis: a tile of accumulators in registers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from irdl.codegen.cpu.across import combine_tiles
from irdl.codegen.lowering.body import Scope, combine
from irdl.codegen.lowering.group import Axis
from irdl.codegen.lowering.nest import Loop, build_nest, narrow_lanes, wrap_in_loops
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, Literal, Load
from irdl.loops.index import Index
from irdl.loops.language import For, Prefetch, Statement, Store
from irdl.ops.reduce import identity_of

if TYPE_CHECKING:
    from irdl.codegen.cpu.schedule import Scheduled


#: Steps of a reduction that last long enough for memory to answer.
_LONG = 16
#: Steps that are unrolled as a whole where a tile's rows are one vector.
_FEW = 7
#: Multiply-adds beside which the loop around them takes no time; of steps of fewer, which AVX2's all are, so many are unrolled.
_ENOUGH, _UNROLLED = 16, 4
#: Sums that are added to in turns, for none to wait for the addition before.
_IN_TURNS = 8


class Tile:
    """A register tile: `size` rows by `vectors` vectors (and one of `tail` lanes) for every accumulator; these for each of `planes`
    elements of `also`."""

    def __init__(
        self,
        scheduled: Scheduled,
        vector: Axis,
        row: Axis | None,
        also: Axis | None,
        base: Index,
        row_base: Index,
        also_base: Index,
        size: int,
        planes: int,
        vectors: int,
        tail: int,
    ) -> None:
        self.scheduled, self.group = scheduled, scheduled.group
        self.vector, self.row, self.also = vector, row, also
        self.base, self.row_base, self.also_base = base, row_base, also_base
        self.size, self.planes, self.vectors, self.tail = size, planes, vectors, tail
        names = scheduled.names
        self.r, self.v, self.lane = names("u"), names("v"), names("l")
        self.q = names("u") if also is not None else ""
        self.group.body.extents.update({self.q: self.planes, self.r: size, self.v: max(vectors, 1), self.lane: scheduled.lanes})
        #: lanes of the last vector, no more than it takes
        self.narrow = narrow_lanes(tail, scheduled.lanes)
        #: parts of each sum, to which steps are added in turns
        self.parts = self._parts()
        self.registers = self._registers(vectors * scheduled.lanes)
        self.last_registers = self._registers(self.narrow)

    def _registers(self, width: int) -> dict[Node, Buffer]:
        """A tile as wide as `width` for each accumulator."""
        names, nodes = self.scheduled.names, self.group.body.reductions
        count = self.parts * self.planes * self.size * width
        return {node: Buffer(names("acc"), node.output.dtype, count, "register") for node in nodes}

    def _parts(self) -> int:
        """Few sums wait for themselves: they are made of several, where there are steps for all."""
        axes = [axis for axis in self.group.reduced if axis.extent > 1]
        fits = (parts for parts in (4, 2) if axes and self._accumulators() * parts <= _IN_TURNS and self._count(axes[-1]) >= 2 * parts)
        return next(fits, 1)

    def _tiles(self, v: Index | None) -> dict[Node, Buffer]:
        return self.registers if v is not None else self.last_registers

    def statements(self) -> list[Statement]:
        result = self._each(self._clear)
        if all(axis.extent for axis in self.group.reduced):
            if math.prod(axis.extent for axis in self.group.reduced) >= _LONG:
                result += self._each(self._prefetch)
            result += self._reduce()
            result += self._each(self._join) if self.parts > 1 else []
        result += self._each(self._epilogue, abreast=True)
        return result

    def _clear(self, v: Index | None) -> list[Statement]:
        places = [self._place(v, part) for part in range(self.parts)]
        return [Store(tile, at, Literal(identity_of(node.op, tile.dtype))) for node, tile in self._tiles(v).items() for at in places]

    def _join(self, v: Index | None) -> list[Statement]:
        """The parts of each sum in the first."""
        result, parts = list[Statement](), self.parts
        while parts > 1:
            parts //= 2
            for node, tile in self._tiles(v).items():
                result += [combine_tiles(node, tile, self._place(v, part), self._place(v, part + parts)) for part in range(parts)]
        return result

    def _reduce(self) -> list[Statement]:
        """The loops over the reduced axes, the innermost one unrolled where its steps are short."""
        axes = [axis for axis in self.group.reduced if axis.extent > 1]
        if not axes:
            return self._each(lambda v: self._accumulate(v, {}))
        *outer, last = axes
        loops = [Loop(axis.variable, axis.extent) for axis in outer]
        # A few steps of rows of one vector are one step: taps, of which neighbouring rows read the same.
        count = self._count(last)
        unroll = count if count <= _FEW and self.vectors <= 1 else 1 if self._accumulators() >= _ENOUGH else _UNROLLED
        whole, rest = divmod(count, unroll)
        steps: list[Statement] = []
        if whole:
            u = self.scheduled.names("u")
            block = self._variable(last)
            place = Index.variable(block, unroll)
            if self.parts == 1:
                inner: list[Statement] = [For(u, 0, unroll, 1, "unrolled", self._step(last, place + Index.variable(u)))]
            else:
                inner = [statement for step in range(unroll) for statement in self._step(last, place + step, step % self.parts)]
            steps += wrap_in_loops([Loop(block, whole)], inner)
        for step in range(rest):
            steps += self._step(last, Index(whole * unroll + step), step % self.parts)
        return wrap_in_loops(loops, steps)

    def _accumulators(self) -> int:
        """Vectors of the tile, each of which a step adds to."""
        return len(self.group.body.reductions) * self.planes * self.size * (self.vectors + bool(self.tail))

    def _variable(self, axis: Axis) -> str:
        """Of the loop along the innermost reduced axis."""
        return axis.variable

    def _count(self, axis: Axis) -> int:
        """Steps along the innermost reduced axis."""
        return axis.extent

    def _step(self, last: Axis, place: Index, part: int = 0) -> list[Statement]:
        """One step of the innermost reduced loop for the whole tile."""
        return self._each(lambda v: self._accumulate(v, {last.variable: place}, part))

    def _each(self, make: Callable[[Index | None], list[Statement]], abreast: bool = False) -> list[Statement]:
        """`make(v)` for every row and vector of the tile; v is None for the last, narrower vector."""
        lanes = self.scheduled.lanes
        kind = "abreast" if abreast else "unrolled"
        plane, row = [Loop(self.q, self.planes, "unrolled")] if self.also else [], Loop(self.r, self.size, kind)
        result: list[Statement] = []
        if self.vectors:
            # Rows of one vector take turns; vectors of one row do where there are several.
            row_kind, vector_kind = (kind, "unrolled") if self.vectors == 1 else ("unrolled", kind)
            loops = [Loop(self.r, self.size, row_kind), Loop(self.v, self.vectors, vector_kind), Loop(self.lane, lanes, "vector", lanes)]
            result += build_nest([*plane, *loops], make(Index.variable(self.v)))
        if self.tail:
            result += build_nest([*plane, row, Loop(self.lane, self.tail, "vector", self.narrow)], make(None))
        return result

    def _place(self, v: Index | None, part: int = 0) -> Index:
        """Where an element lies in its register tile."""
        lanes = self.scheduled.lanes
        width = self.narrow if v is None else self.vectors * lanes
        row = Index.variable(self.r, width) + Index.variable(self.lane)
        if self.also is not None:
            row = row + Index.variable(self.q, self.size * width)
        row = row + part * self.planes * self.size * width
        return row if v is None else row + v * lanes

    def _places(self, v: Index | None) -> dict[str, Index]:
        vector = Index(self.vectors) if v is None else v
        places = {self.vector.variable: self.base + vector * self.scheduled.lanes + Index.variable(self.lane)}
        if self.row is not None:
            places[self.row.variable] = self.row_base + Index.variable(self.r)
        if self.also is not None:
            places[self.also.variable] = self.also_base + Index.variable(self.q)
        return places

    def _accumulate(self, v: Index | None, reduced: dict[str, Index], part: int = 0) -> list[Statement]:
        scope = Scope()
        index = self.group.index(self._places(v))
        place = self._place(v, part)
        steps = [reduced.get(axis.variable, Index.variable(axis.variable) if axis.extent > 1 else Index()) for axis in self.group.reduced]
        stores: list[Statement] = []
        for node, tile in self._tiles(v).items():
            factors = self.group.body.term(node, index, steps, scope)
            stores.append(Store(tile, place, combine(node, Load(tile, place), factors)))
        return [*scope.statements, *stores]

    def _prefetch(self, v: Index | None) -> list[Statement]:
        """What the epilogue reads and writes row by row is fetched while the contraction runs."""
        vector = self.vector.variable
        places = dict(zip((axis.variable for axis in self.group.domain), self.group.index(self._places(v)), strict=True))
        touched = [(load.buffer, load.index, False) for load in self.group.outer_loads]
        touched += [(layout.buffer, index, True) for layout, index in zip(self.group.outputs, self.group.stores, strict=True)]
        found: dict[tuple[Buffer, Index], Statement] = {}
        for buffer, index, write in touched:
            if index.variables() & self.group.looked_up:
                continue
            if index.coefficient(vector) == 1 and (self.row is None or index.coefficient(self.row.variable)):
                place = index.substitute(places)
                found.setdefault((buffer, place), Prefetch(buffer, place, write))
        return list(found.values())

    def _epilogue(self, v: Index | None) -> list[Statement]:
        accumulators: dict[Node, Expression] = {node: Load(tile, self._place(v)) for node, tile in self._tiles(v).items()}
        return self.group.element(self._places(v), accumulators)
