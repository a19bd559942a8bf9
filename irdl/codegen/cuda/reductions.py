"""Reductions and contractions on a GPU: a thread for each result, or, where there are few, several warps, whose lanes lie along
the result's axis that is contiguous or along what is reduced.

Before -> after, for `y[j] = sum(r) x[r] * w[r, j]` with few j:

    block { warp w { lane l { acc = 0; for s { r = 8 * s + w; acc += x[r] * w[r, l] }; partial[w, l] = acc } }
            lane l { y[l] = partial[0, l] + .. + partial[7, l] } }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, in_tiles, only_below, rows_of_tile
from irdl.codegen.lowering.body import COMBINE, Scope, combine, identity_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.language import (
    Buffer,
    Expression,
    For,
    Literal,
    Load,
    Operation,
    Statement,
    Store,
)
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu

#: threads of a multiprocessor that hide each other's latency, and warps where some are in one block anyway
_THREADS_AT_WORK, _WARPS_AT_WORK = 512, 16
#: the fewest terms worth a thread of their own
_FEW_TERMS = 8
#: results of a thread that share what they read
_ROWS = (8, 4, 2)
#: terms of a column that the registers and the shared memory of a block have room for, in loops over time
_TERMS_KEPT = 5120
#: rows whose elements follow what was reduced along them
_SHORTEST_ROW, _LONGEST_ROW = 64, 8192
#: accumulators of a thread, and bytes of shared memory for what all columns of a tile read
_ACCUMULATORS, _STAGED_BYTES = 64, 96 * 1024


def schedule_reduction(group: Group, gpu: Gpu, in_loop: bool) -> list[Statement]:
    """The loops of a group that reduces. `in_loop`: they run again and again."""
    reduction = _Reduction(group, gpu)
    wanted = gpu.multiprocessors * _THREADS_AT_WORK
    many = reduction.results * 4 >= wanted and not in_loop and not reduction.lies_along_terms()
    if many or reduction.terms < 8 * _FEW_TERMS:
        return reduction.by_threads(wanted, in_loop)
    return reduction.by_warps(in_loop)


class _Reduction:
    def __init__(self, group: Group, gpu: Gpu) -> None:
        self.group = group
        self.gpu = gpu
        self.nodes = group.body.reductions
        self.names = group.body.names
        self.results = math.prod(axis.extent for axis in group.domain)
        self.terms = math.prod(axis.extent for axis in group.reduced)

    def accumulators(self, rows: int = 1) -> list[Buffer]:
        """A register tile for each of the reductions."""
        return [Buffer(self.names("acc"), node.output.dtype, rows, "register") for node in self.nodes]

    def clear(self, accumulators: Sequence[Buffer]) -> list[Statement]:
        return [
            Store(buffer, Index(row), Literal(identity_of(node.op, node.output.dtype)))
            for buffer, node in zip(accumulators, self.nodes, strict=True)
            for row in range(buffer.size)
        ]

    def add_terms(self, accumulators: Sequence[Buffer], rows: Sequence[dict[str, Index]], reduced: dict[str, Index]) -> list[Statement]:
        """One step of the accumulators: for each row, given where its axes are, the term at `reduced`."""
        scope = Scope()
        place = [reduced.get(axis.variable, Index.variable(axis.variable)) for axis in self.group.reduced]
        stores: list[Statement] = []
        for row, places in enumerate(rows):
            index = self.group.index(places)
            for buffer, node in zip(accumulators, self.nodes, strict=True):
                factors = self.group.body.term(node, index, place, scope)
                stores.append(Store(buffer, Index(row), combine(node, Load(buffer, Index(row)), factors)))
        return [*scope.statements, *stores]

    def by_threads(self, wanted: int, in_loop: bool) -> list[Statement]:
        """A thread for some rows of the result, one after the other along the contiguous axis."""
        best = self.group.contiguous_axis(self.group.domain, True, WARP)
        column = None if best is None else best[1]
        row = None if column is None else self.group.shared_axis(column)
        rows = 1
        if row is not None and not in_loop:
            rows = next((n for n in _ROWS if row.extent % n == 0 and self.results // n >= wanted), 1)
        loops = [Loop(axis.variable, axis.extent) for axis in self.group.domain if axis.extent > 1 and axis not in (row, column)]
        places: list[dict[str, Index]] = [{} for _ in range(rows)]
        if row is not None:
            step = self.names("m")
            loops.append(Loop(step, row.extent // rows))
            places = [{row.variable: Index.variable(step, rows) + number} for number in range(rows)]
        if column is not None:
            loops.append(Loop(column.variable, column.extent))
        accumulators = self.accumulators(rows)
        body = [*self.clear(accumulators), *self.serial(self.group.reduced, self.add_terms(accumulators, places, {}))]
        for number, where in enumerate(places):
            totals: dict[Node, Expression] = {n: Load(a, Index(number)) for n, a in zip(self.nodes, accumulators, strict=True)}
            body += self.group.element(where, totals)
        return in_tiles(loops, body, self.names, self.gpu) if in_loop else bound("grid", loops, body)

    def serial(self, axes: Sequence[Axis], body: list[Statement]) -> list[Statement]:
        for axis in reversed(axes):
            body = [For(axis.variable, 0, axis.extent, 1, "serial", body)] if axis.extent else []
        return body

    def lies_along_terms(self) -> bool:
        """What neighbouring terms read lies next to each other, rather than what neighbouring results do."""
        best = self.group.contiguous_axis(self.group.domain, True, WARP)
        across = self.group.contiguous_axis(self.group.reduced, False, WARP)
        return across is not None and (best is None or best[0] < across[0])

    def by_warps(self, in_loop: bool) -> list[Statement]:
        """Some warps for a result, or for 32 of them that lie next to each other."""
        best = self.group.contiguous_axis(self.group.domain, True, WARP)
        across = self.group.contiguous_axis(self.group.reduced, False, WARP)
        column = best[1] if best is not None and not self.lies_along_terms() and best[1].extent >= _FEW_TERMS else None
        if column is None and in_loop and self.terms * len(self.nodes) <= _TERMS_KEPT:
            # What is read once may lie as it will.
            column = next(
                (a for a in self.group.domain if a.extent >= _FEW_TERMS and self.group.stores[0].coefficient(a.variable) == 1), None
            )
        longest = max(self.group.reduced, key=lambda axis: axis.extent)
        split = longest if column is not None or across is None else across[1]
        row = None if column is None else self.group.shared_axis(column)
        return _ByWarps(self, column, row, split, in_loop).statements()


def follows_rows(group: Group) -> Axis | None:
    """The last axis of an elementwise group of which some operand has one number for each row, as what was reduced along it has."""
    best = group.contiguous_axis(group.domain, True, WARP)
    if best is None or not _SHORTEST_ROW <= best[1].extent <= _LONGEST_ROW:
        return None
    column = best[1]
    others = {axis.variable for axis in group.domain if axis.extent > 1 and axis is not column}
    by_row = any(load.index.variables() & others and not load.index.coefficient(column.variable) for load in group.outer_loads)
    return column if by_row else None


def schedule_rows(group: Group, column: Axis, gpu: Gpu) -> list[Statement]:
    """The loops of an elementwise group in rows, which blocks and warps share as they share those of a reduction along the rows."""
    others = [axis for axis in group.domain if axis.extent > 1 and axis is not column]
    steps = [axis.extent for axis in others]
    names = group.body.names
    tiles = Tiles(steps, warps_of_tile(column.extent, WARP, math.prod(steps), gpu), names)
    places = {axis.variable: where for axis, where in zip(others, tiles.where, strict=True)}
    warp, lane, step = names("w"), names("l"), names("s")
    slot = (Index.variable(warp) if tiles.deep > 1 else Index()) * WARP + Index.variable(lane)
    whole, rest = divmod(column.extent, tiles.deep * WARP)
    body: list[Statement] = []
    if whole:
        at = Index.variable(step, tiles.deep * WARP) + slot
        body.append(For(step, 0, whole, 1, "serial", group.element({**places, column.variable: at})))
    if rest:
        last = group.element({**places, column.variable: slot + whole * tiles.deep * WARP})
        body += only_below(slot, rest, last)
    for index, extent in tiles.guards:
        body = only_below(index, extent, body)
    warps = [loop for loop in (Loop(tiles.number, tiles.wide), Loop(warp, tiles.deep)) if loop.extent > 1]
    return bound("block", tiles.blocks, bound("warp", warps, bound("lane", [Loop(lane, WARP)], body)))


def warps_of_tile(terms: int, lanes: int, tiles: int, gpu: Gpu) -> int:
    """How many warps share one of so many tiles, along an axis of so many steps that `lanes` lanes lie along."""
    most = 2 * gpu.multiprocessors * _WARPS_AT_WORK
    return next((n for n in (8, 4, 2) if terms >= n * lanes * _FEW_TERMS // 2 and tiles * n <= most), 1)


class Tiles:
    """Steps of some axes, shared by blocks and their warps.

    Attributes:
        deep: warps for each tile.
        wide, number: how many tiles a block has at once, and the variable that counts them.
        blocks: the loops over blocks.
        where: the place on each axis.
        guards: what has to be less than what.
    """

    def __init__(self, steps: Sequence[int], deep: int, names: Names) -> None:
        self.deep = deep
        self.number = names("n")
        self.blocks: list[Loop] = []
        self.where: list[Index] = []
        self.guards: list[tuple[Index, int]] = []
        longest = max(range(len(steps)), key=lambda place: steps[place], default=-1)
        self.wide = min(WARPS // deep, 1 << (steps[longest] - 1).bit_length()) if steps else 1
        for place, extent in enumerate(steps):
            variable = names("j")
            if place != longest or self.wide == 1:
                self.blocks.append(Loop(variable, extent))
                self.where.append(Index.variable(variable))
                continue
            self.blocks.append(Loop(variable, -(-extent // self.wide)))
            self.where.append(Index.variable(variable, self.wide) + Index.variable(self.number))
            if extent % self.wide:
                self.guards.append((self.where[-1], extent))


class _ByWarps:
    """A reduction whose terms are shared by warps, and by their lanes where no axis of the result is contiguous.

    Args:
        column: the axis of the result that lanes lie along, if they do.
        row: an axis whose elements share what is read along the columns, if there is one.
        split: the reduced axis whose steps are shared.
        in_loop: it runs again and again: the fewer tiles, the more stays where it is.
    """

    def __init__(self, reduction: _Reduction, column: Axis | None, row: Axis | None, split: Axis, in_loop: bool) -> None:
        self.reduction, self.column, self.row, self.split = reduction, column, row, split
        group, names, gpu = reduction.group, reduction.names, reduction.gpu
        others = [axis for axis in group.domain if axis.extent > 1 and axis not in (column, row)]
        steps = [axis.extent for axis in others] + ([] if column is None else [-(-column.extent // WARP)])
        #: rows of a tile
        self.rows = 1
        if row is not None and in_loop:
            self.rows = rows_of_tile(row.extent, math.prod(steps), max(1, _ACCUMULATORS // len(reduction.nodes)), gpu)
        if row is not None:
            others.append(row)
            steps.insert(len(others) - 1, row.extent // self.rows)
        lanes = WARP if column is None else 1
        tiles = Tiles(steps, warps_of_tile(split.extent, lanes, math.prod(steps), gpu), names)
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
        statements += self.reduction.group.element(self._at_row(Index.variable(self.number_of_row)), totals)
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
        if self.column is None or self.wide > 1 or not whole:
            return {}
        found: dict[Value, Buffer] = {}
        index = reduction.group.index(self._at_row(Index.variable(self.number_of_row)))
        for node in reduction.nodes:
            for value, place in reduction.group.body.factors(
                node, index, [Index.variable(axis.variable) for axis in reduction.group.reduced]
            ):
                variables = set().union(*(part.variables() for part in place))
                if self.lane in variables or self.split.variable not in variables or value in found:
                    continue
                buffer = Buffer(reduction.names("staged"), value.dtype, self.rows * self.split.extent, "shared")
                if sum(b.nbytes for b in (*found.values(), buffer)) <= _STAGED_BYTES:
                    found[value] = buffer
        return found

    def _fill(self, value: Value, buffer: Buffer) -> Statement:
        """All threads of a block find a staged factor out."""
        reduction, extent = self.reduction, self.split.extent
        step, row = reduction.names("s"), self.number_of_row
        at = Index.variable(step, WARP) + Index.variable(self.lane)
        scope = Scope()
        place = next(
            where
            for node in reduction.nodes
            for operand, where in reduction.group.body.factors(
                node, reduction.group.index(self._at_row(Index.variable(row))), self._reduced(at)
            )
            if operand is value
        )
        item = reduction.group.body.expression(value, place, scope)
        body = [*scope.statements, Store(buffer, Index.variable(row, extent) + at, item)]
        if extent % WARP:
            body = only_below(at, extent, body)
        return self._warps(body, [Loop(row, self.rows), Loop(step, -(-extent // WARP))])

    def _reduced(self, split: Index) -> list[Index]:
        reduced = self.reduction.group.reduced
        return [split if axis is self.split else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in reduced]

    def _terms(self, accumulators: Sequence[Buffer], split: Index) -> list[Statement]:
        """One step of the accumulators of all rows."""
        group, scope = self.reduction.group, Scope()
        stores: list[Statement] = []
        for row in range(self.rows):
            index = group.index(self._at_row(Index(row)))
            for buffer, node in zip(accumulators, self.reduction.nodes, strict=True):
                factors = tuple(
                    Load(self.staged[value], split + row * self.split.extent)
                    if value in self.staged
                    else group.body.expression(value, place, scope)
                    for value, place in group.body.factors(node, index, self._reduced(split))
                )
                stores.append(Store(buffer, Index(row), combine(node, Load(buffer, Index(row)), factors)))
        return [*scope.statements, *stores]

    def _shares(self) -> Statement:
        """Every thread its share of the terms: warps a run of them each, lanes every 32nd."""
        reduction, split = self.reduction, self.split
        warp = Index.variable(self.warp) if self.deep > 1 else Index()
        step = reduction.names("s")
        if self.column is None:
            slot, slots = warp * WARP + Index.variable(self.lane), self.deep * WARP
            whole, rest = divmod(split.extent, slots)
            at = Index.variable(step, slots) + slot
        else:
            slot, slots = warp, self.deep
            whole, rest = divmod(split.extent, slots)
            at = slot * whole + Index.variable(step)
        accumulators = reduction.accumulators(self.rows)
        terms: list[Statement] = []
        if whole:
            terms.append(For(step, 0, whole, 1, "serial", self._terms(accumulators, at)))
        if rest:
            terms += only_below(slot, rest, self._terms(accumulators, slot + whole * slots))
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
        totals = {node: Buffer(self.reduction.names("total"), node.output.dtype, 1, "register") for node in self.partial}
        step = self.reduction.names("s")
        begin: list[Statement] = [Store(total, Index(), self.partial[node](first)) for node, total in totals.items()]
        more: list[Statement] = []
        for node, total in totals.items():
            operands = (Load(total, Index()), self.partial[node](first + Index.variable(step, apart)))
            more.append(Store(total, Index(), Operation(COMBINE[node.op], operands, total.dtype)))
        loop = For(step, 1, count, 1, "unrolled", more)
        return {node: Load(total, Index()) for node, total in totals.items()}, [*begin, loop]

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
