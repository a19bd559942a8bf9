"""Reductions and contractions of few results: each is shared by some warps, whose lanes lie along the result's axis that is contiguous
or along what is reduced.

Before -> after, for `y[j] = sum(r) x[r] * w[r, j]` with few j:

    block { warp w { lane l { acc = 0; for s { r = 8 * s + w; acc += x[r] * w[r, l] }; partial[w, l] = acc } }
            lane l { y[l] = partial[0, l] + .. + partial[7, l] } }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from irdl.codegen.cuda.accumulators import Reduction
from irdl.codegen.cuda.dealing import (
    LONGEST_RUN,
    MOST_SUMS,
    WARP,
    WARPS,
    Tiles,
    bound,
    in_runs,
    only_below,
    rows_of_tile,
    run_in_row,
    run_length,
    run_of,
    warps_of_tile,
)
from irdl.codegen.cuda.registers import touches
from irdl.codegen.lowering.body import COMBINE, Scope
from irdl.codegen.lowering.group import Axis
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, Statement, Store
from irdl.loops.rewrite import substitute

#: bytes of shared memory for what all columns of a tile read
_STAGED_BYTES = 96 * 1024
#: turns of a warp through what is staged that are on their way at once anyway, element by element
_FEW_TURNS = 2
#: sums that one lane finds at once of what all lanes of a warp have: each addition waits for the last one
_CHAINS = 4


class ByWarps:
    """A reduction whose terms are shared by warps, and by their lanes where no axis of the result is contiguous.

    Args:
        column: the axis of the result that lanes lie along, if they do.
        row: an axis whose elements share what is read along the columns, if there is one.
        split: the reduced axis whose steps are shared.
        in_loop: it runs again and again: the fewer tiles, the more stays where it is.
        deep: how many warps share a tile; 0: as many as there is work for.
        runs: of blocks, as `runs_of_blocks` has them.
    """

    def __init__(
        self,
        reduction: Reduction,
        column: Axis | None,
        row: Axis | None,
        split: Axis,
        in_loop: bool,
        deep: int = 0,
        runs: tuple[int, int] | None = None,
    ) -> None:
        self.reduction, self.column, self.row, self.split, self.in_loop = reduction, column, row, split, in_loop
        group, names, gpu = reduction.group, reduction.names, reduction.gpu
        others = [axis for axis in group.domain if axis.extent > 1 and axis not in (column, row)]
        steps = [axis.extent for axis in others] + ([] if column is None else [-(-column.extent // WARP)])
        #: rows of a tile
        self.rows = 1
        if row is not None and in_loop:
            self.rows = rows_of_tile(row.extent, math.prod(steps), max(1, MOST_SUMS // len(reduction.nodes)), gpu)
        if row is not None:
            others.append(row)
            steps.insert(len(others) - 1, row.extent // self.rows)
        lanes = WARP if column is None else 1
        tiles = Tiles(steps, deep or warps_of_tile(split.extent, lanes, math.prod(steps), gpu), names, runs)
        self.deep, self.wide, self.number, self.blocks = tiles.deep, tiles.wide, tiles.number, tiles.blocks
        self.guards, tile = list(tiles.guards), tiles.where
        #: where the axes of the result are
        self.places: dict[str, Index] = {}
        self.tile_row = Index()
        for place, axis in enumerate(others):
            self.places[axis.variable] = tile[place]
            if axis is row:
                self.tile_row = tile[place] * self.rows
        self.warp, self.lane, self.number_of_row = names("w"), names("l"), names("i")
        if column is not None:
            self.places[column.variable] = tile[-1] * WARP + Index.variable(self.lane)
            if column.extent % WARP:
                self.guards.append((self.places[column.variable], column.extent))
        self.partial = self._partial_results(self.wide * self.rows * self.deep * WARP)
        self.staged = self._stage()

    def _at_row(self, row: Index) -> dict[str, Index]:
        return self.places if self.row is None else {**self.places, self.row.variable: self.tile_row + row}

    def statements(self) -> list[Statement]:
        body = [*(self._fill(value, buffer) for value, buffer in self.staged.items()), self._shares()]
        if self.column is None:
            body += [self._fold_warps()] if self.deep > 1 else []
            totals, statements = self._totals(WARP, 1)
        else:
            totals, statements = self._totals(self.deep, WARP)
        statements += self.reduction.element(self._at_row(Index.variable(self.number_of_row)), totals)
        lanes = 1 if self.column is None else WARP
        body.append(self._warps(self._guarded(statements), [Loop(self.number_of_row, self.rows)], lanes))
        return bound("block", self.blocks, body)

    def _warps(self, body: list[Statement], inner: Sequence[Loop], lanes: int = WARP) -> Statement:
        """Warps share the tiles of a block and the steps of the loops, lanes lie side by side."""
        loops = [loop for loop in (Loop(self.number, self.wide), *inner) if loop.extent > 1]
        absent = {loop.variable: Index() for loop in inner if loop.extent == 1}
        (nest,) = bound("warp", loops, bound("lane", [Loop(self.lane, lanes)], substitute(body, absent)))
        return nest

    def _guarded(self, body: list[Statement]) -> list[Statement]:
        for index, extent in self.guards:
            body = only_below(index, extent, body)
        return body

    def _place(self, row: Index, warp: Index, lane: Index) -> Index:
        """Where partial results are."""
        number = Index.variable(self.number, self.rows * self.deep * WARP) if self.wide > 1 else Index()
        return number + row * (self.deep * WARP) + warp * WARP + lane

    # What all columns of a tile read lies in shared memory: it is found out once, whatever it takes.

    def _stage(self) -> dict[Value, Buffer]:
        """The factors that are the same for all lanes, and where they are kept."""
        reduction = self.reduction
        whole = len([axis for axis in reduction.group.reduced if axis.extent > 1]) == 1
        if self.column is None or self.wide > 1 or not (whole and reduction.is_whole):
            return {}
        row = self._at_row(Index.variable(self.number_of_row))
        reduced = [Index.variable(axis.variable) for axis in reduction.group.reduced]
        places: dict[Value, set[tuple[Index, ...]]] = {}
        for node in reduction.nodes:
            for value, place in reduction.factors(node, row, reduced):
                places.setdefault(value, set()).add(place)
        found: dict[Value, Buffer] = {}
        for value, where in places.items():
            variables = {name for place in where for part in place for name in part.variables()}
            # What is read at two places is not one factor: `x @ x`.
            if len(where) > 1 or self.lane in variables or self.split.variable not in variables:
                continue
            buffer = Buffer(reduction.names("staged"), value.dtype, self.rows * self.split.extent, "shared")
            if sum(b.nbytes for b in (*found.values(), buffer)) <= _STAGED_BYTES:
                found[value] = buffer
        return found

    def _fill(self, value: Value, buffer: Buffer) -> Statement:
        """All threads of a block find a staged factor out, of neighbours by runs."""
        reduction, extent = self.reduction, self.split.extent
        step, row, place = reduction.names("s"), self.number_of_row, reduction.names("v")
        alone = self._staged(value, buffer, Index.variable(place))
        along = [touch for touch in touches(alone) if touch.buffer is not buffer and touch.index.coefficient(place)]
        neighbours = all(touch.index.coefficient(place) == 1 for touch in along)
        length = min(LONGEST_RUN, run_length([value.dtype, *(touch.buffer.dtype for touch in along)])) if neighbours else 1
        if extent % length or self.rows * -(-extent // WARP) <= _FEW_TURNS * WARPS:
            length = 1
        first = (Index.variable(step, WARP) + Index.variable(self.lane)) * length
        body = run_of(place, length, self._staged(value, buffer, first + Index.variable(place)))
        if extent % (WARP * length):
            body = only_below(first, extent - length + 1, body)
        return self._warps(body, [Loop(row, self.rows), Loop(step, -(-extent // (WARP * length)))])

    def _staged(self, value: Value, buffer: Buffer, at: Index) -> list[Statement]:
        """An element of a staged factor is found out."""
        reduction, row, scope = self.reduction, self.number_of_row, Scope()
        where = next(
            where
            for node in reduction.nodes
            for operand, where in reduction.factors(node, self._at_row(Index.variable(row)), self._reduced(at))
            if operand is value
        )
        item = reduction.group.body.expression(value, where, scope)
        return [*scope.statements, Store(buffer, Index.variable(row, self.split.extent) + at, item)]

    def _reduced(self, split: Index) -> list[Index]:
        reduced = self.reduction.group.reduced
        return [split if axis is self.split else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in reduced]

    def _terms(self, accumulators: Sequence[Buffer], split: Index) -> list[Statement]:
        """One step of the accumulators of all rows."""

        def known(value: Value, row: int) -> Expression | None:
            return Load(self.staged[value], split + row * self.split.extent) if value in self.staged else None

        rows = [self._at_row(Index(row)) for row in range(self.rows)]
        return self.reduction.add_terms(accumulators, rows, self._reduced(split), known)

    def _shares(self) -> Statement:
        """Every thread its share of the terms: warps a run of them each, lanes every 32nd."""
        reduction, split = self.reduction, self.split
        warp = Index.variable(self.warp) if self.deep > 1 else Index()
        step = reduction.names("s")
        accumulators = reduction.accumulators(self.rows)
        if self.column is None:
            slot, slots = warp * WARP + Index.variable(self.lane), self.deep * WARP
            along = {load.dtype for load in reduction.group.inner_loads if load.index.coefficient(split.variable)}
            length = 1 if self.in_loop else run_in_row(split.extent, slots, along)
            terms = in_runs(split.extent, length, slot, slots, reduction.names, lambda place: self._terms(accumulators, place))
        else:
            whole, rest = divmod(split.extent, self.deep)
            each = self._terms(accumulators, warp * whole + Index.variable(step)) if whole else []
            terms = [For(step, 0, whole, 1, "serial", each)] if whole else []
            terms += only_below(warp, rest, self._terms(accumulators, warp + whole * self.deep)) if rest else []
        others = [axis for axis in reduction.group.reduced if axis is not split and axis.extent != 1]
        body = reduction.clear(accumulators)
        body += self._guarded(reduction.serial(others, terms))
        for row in range(self.rows):
            place = self._place(Index(row), warp, Index.variable(self.lane))
            for node, buffer in zip(reduction.nodes, accumulators, strict=True):
                part = self.partial[node](place)
                body.append(Store(part.buffer, part.index, Load(buffer, Index(row))))
        return self._warps(body, [Loop(self.warp, self.deep)])

    def _fold_warps(self) -> Statement:
        """Lane by lane, what the warps of a tile have, into the first one's place."""
        totals, body = self._totals(self.deep, WARP)
        parts = {node: part(self._place(Index(), Index(), Index.variable(self.lane))) for node, part in self.partial.items()}
        stores = [Store(part.buffer, part.index, totals[node]) for node, part in parts.items()]
        return self._warps([*body, *stores], [])

    def _totals(self, count: int, apart: int) -> tuple[dict[Node, Expression], list[Statement]]:
        """The sums, so to speak, of `count` partial results that lie `apart`, and the statements that find them."""
        row = Index.variable(self.number_of_row) if self.rows > 1 else Index()
        first = self._place(row, Index(), Index.variable(self.lane) if apart > 1 else Index())
        if count == 1:
            return {node: part(first) for node, part in self.partial.items()}, []
        chains = _CHAINS if count >= WARP else 1
        totals = {node: Buffer(self.reduction.names("total"), node.output.dtype, chains, "register") for node in self.partial}
        step = self.reduction.names("s")
        begin: list[Statement] = []
        more: list[Statement] = []
        end: list[Statement] = []
        for node, total in totals.items():
            for chain in range(chains):
                begin.append(Store(total, Index(chain), self.partial[node](first + chain * apart)))
                operands = (Load(total, Index(chain)), self.partial[node](first + Index.variable(step, chains * apart) + chain * apart))
                more.append(Store(total, Index(chain), Operation(COMBINE[node.op], operands, total.dtype)))
            end += [
                Store(total, Index(), Operation(COMBINE[node.op], (Load(total, Index()), Load(total, Index(chain))), total.dtype))
                for chain in range(1, chains)
            ]
        loop = For(step, 1, count // chains, 1, "unrolled", more)
        return {node: Load(total, Index()) for node, total in totals.items()}, [*begin, loop, *end]

    def _partial_results(self, count: int) -> dict[Node, Callable[[Index], Load]]:
        """Where the partial results of each reduction are. Those of a dtype lie side by side, to be read as one."""
        nodes = self.reduction.nodes
        found: dict[Node, Callable[[Index], Load]] = {}
        for dtype in dict.fromkeys(node.output.dtype for node in nodes):
            alike = [node for node in nodes if node.output.dtype == dtype]
            buffer = Buffer(self.reduction.names("partial"), dtype, count * len(alike), "shared")
            for number, node in enumerate(alike):
                found[node] = partial(_nth_of, buffer, len(alike), number)
        return found


def _nth_of(buffer: Buffer, count: int, number: int, place: Index) -> Load:
    return Load(buffer, place * count + number)
