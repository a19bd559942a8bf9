"""Contractions in loops over time whose tiles are made of small matrices: what never changes lies along the rows of a matrix, what steps
exchange along its columns, and each contraction of the group has a matrix of its own over the same places, so that the rest of the group
finds all it needs of an element in one place.

Before -> after, for `y[i, j] = f(sum(k) x[i, k] * u[k, j], sum(k) x[i, k] * v[k, j])`, blocks having 16 j and some i:

    block { warp w { a = b = 0
                     for s { u_ = u[.., ..]; v_ = v[.., ..]; x_ = x[.., ..]; multiply a += u_ @ x_; multiply b += v_ @ x_ }
                     partial[w] = a, b }
            lane { y[i, j] = f(partial[0] + .. + partial[7]) } }

Warps share the steps of the contraction. Operands of 16 bits stay so; where a lane has neighbouring steps, it reads them at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below, run_of
from irdl.codegen.cuda.fragments import Lanes, as_multiplied, matrices, registers_of
from irdl.codegen.cuda.matrix_tiles import ThreadsOfTile, rows_of_block
from irdl.codegen.lowering.body import Scope
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.instructions import Fragment, Instruction
from irdl.loops.language import For, If, Multiply, Statement, Store
from irdl.loops.target import Gpu

#: the most registers of a thread for sums
_SUMS = 64
#: the fewest steps of a contraction that are worth it
_FEWEST_STEPS = 64
#: elements that are left out between rows of partial sums, so that lanes store into different banks
_APART = 1


@dataclass(frozen=True)
class LoopTiles:
    """The axes of a contraction, and how many rows a block has."""

    row: Axis
    column: Axis
    steps: Axis
    rows: int


def tiles_in_loop(group: Group, instruction: Instruction, gpu: Gpu) -> LoopTiles | None:
    """Tiles for the group, as few rows as let all run at once; None where they cannot, or its reductions are not contractions of one
    operand along the rows with others along the columns."""
    nodes = group.body.reductions
    axes = [axis for axis in group.domain if axis.extent > 1]
    reduced = [axis for axis in group.reduced if axis.extent > 1]
    if len(axes) != 2 or len(reduced) != 1:
        return None
    column = next((axis for axis in axes if group.stores[0].coefficient(axis.variable) == 1), None)
    if column is None or reduced[0].extent < _FEWEST_STEPS:
        return None
    (row,) = (axis for axis in axes if axis is not column)
    if not _have_sides(group, row, column):
        return None
    rows = rows_of_block(row.extent, column.extent, instruction, gpu)
    if rows is None:
        return None
    sums = len(nodes) * len(instruction.total.places) * (rows // instruction.total.shape[1])
    return LoopTiles(row, column, reduced[0], rows) if sums <= _SUMS else None


def _have_sides(group: Group, row: Axis, column: Axis) -> bool:
    """Of each contraction, one operand goes along the rows alone, and is the same for all; the other goes along the columns alone."""
    index, reduced = group.index({}), [Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
    along_rows: set[tuple[Value, tuple[Index, ...]]] = set()
    for node in group.body.reductions:
        factors = group.body.factors(node, index, reduced)
        sides = [[any(p.coefficient(axis.variable) for p in place) for axis in (row, column)] for _, place in factors]
        if sorted(sides) != [[False, True], [True, False]]:
            return False
        along_rows.add(factors[sides.index([True, False])])
    return len(along_rows) == 1


def schedule_loop_products(group: Group, instruction: Instruction, tiles: LoopTiles) -> list[Statement]:
    """The loops of a group of contractions in tiles of small matrices."""
    return _LoopProducts(group, instruction, tiles).statements()


class _LoopProducts:
    def __init__(self, group: Group, instruction: Instruction, tiles: LoopTiles) -> None:
        self.group, self.instruction, self.tiles = group, instruction, tiles
        self.nodes = group.body.reductions
        names = group.body.names
        self.high, wide = instruction.total.shape
        #: matrices side by side
        self.count = tiles.rows // wide
        self.row_tile, self.column_tile = names("j"), names("j")
        self.warp, self.step, self.neighbour, self.lanes = names("w"), names("s"), names("v"), Lanes(names)
        #: steps of a matrix, of a warp in matrices, and warps that share them
        self.depth = instruction.left.shape[1]
        steps = -(-tiles.steps.extent // self.depth)
        self.deep = -(-steps // WARPS)
        self.warps = -(-steps // self.deep)
        self.sums = matrices(names("acc"), instruction.dtype, instruction.total, len(self.nodes) * self.count)
        self.left = matrices(names("a"), instruction.operand, instruction.left, len(self.nodes))
        self.right = matrices(names("b"), instruction.operand, instruction.right, self.count)
        self.stride = self.high + _APART
        self.partial = Buffer(names("partial"), instruction.dtype, self.warps * tiles.rows * self.stride * len(self.nodes), "shared")

    def statements(self) -> list[Statement]:
        tiles = self.tiles
        blocks = [
            Loop(self.row_tile, -(-tiles.row.extent // tiles.rows)),
            Loop(self.column_tile, -(-tiles.column.extent // self.high)),
        ]
        return bound("block", blocks, [self._products(), self._rest()])

    def _thread(self) -> Index:
        return Index.variable(self.warp, WARP) + self.lanes.number

    def _products(self) -> Statement:
        """Warps, each its share of the steps; and where they leave their sums."""
        total = self.instruction.total
        places = range(len(self.nodes) * self.count * len(total.places))
        own = registers_of(self.sums, self._thread())
        zero = Literal(self.instruction.dtype.type(0))
        clear: list[Statement] = [Store(self.sums, own + place, zero) for place in places]
        put: list[Statement] = []
        for number in range(self.count):
            for slot in range(len(total.places)):
                row = self.lanes.place(total, 1, slot) + number * total.shape[1]
                column = self.lanes.place(total, 0, slot)
                for node in range(len(self.nodes)):
                    load = Load(self.sums, own + (self._sum(node, number) + slot))
                    put.append(Store(self.partial, self._partial(Index.variable(self.warp), row, column, node), load))
        loads = [*self._left(), *self._right()]
        steps = For(self.step, 0, self.deep, 1, "serial", [*self._lanes(loads), *self._multiply()])
        (nest,) = bound("warp", [Loop(self.warp, self.warps)], [*self._lanes(clear), steps, *self._lanes(put)])
        return nest

    def _lanes(self, body: list[Statement]) -> list[Statement]:
        return bound("lane", self.lanes.loops, body)

    def _sum(self, node: int, number: int) -> int:
        """Where the sums of a matrix begin, among a thread's."""
        return (node * self.count + number) * len(self.instruction.total.places)

    def _partial(self, warp: Index, row: Index, column: Index, node: int) -> Index:
        """Sums of an element lie side by side, to be read as one."""
        return ((warp * self.tiles.rows + row) * self.stride + column) * len(self.nodes) + node

    def _multiply(self) -> list[Statement]:
        warp = Index.variable(self.warp, WARP)
        left, right = len(self.instruction.left.places), len(self.instruction.right.places)
        return [
            Multiply(
                self.instruction,
                self.sums,
                registers_of(self.sums, warp) + self._sum(node, number),
                self.left,
                registers_of(self.left, warp) + node * left,
                self.right,
                registers_of(self.right, warp) + number * right,
            )
            for node in range(len(self.nodes))
            for number in range(self.count)
        ]

    def _left(self) -> list[Statement]:
        """What goes along the columns, which are the rows of matrices."""
        fragment, body, run = self.instruction.left, list[Statement](), self.instruction.left.run(1)
        for slot in range(0, len(fragment.places), run):
            column = Index.variable(self.column_tile, self.high) + self.lanes.place(fragment, 0, slot)
            for number, node in enumerate(self.nodes):
                to = registers_of(self.left, self._thread()) + (number * len(fragment.places) + slot)
                body += self._operands(node, Index(), column, self._at(fragment, 1, slot), self.left, to, run)
        return body

    def _right(self) -> list[Statement]:
        """What goes along the rows, the same for all contractions."""
        fragment, body, run = self.instruction.right, list[Statement](), self.instruction.right.run(0)
        for number in range(self.count):
            for slot in range(0, len(fragment.places), run):
                place = self.lanes.place(fragment, 1, slot) + number * fragment.shape[1]
                row = Index.variable(self.row_tile, self.tiles.rows) + place
                to = registers_of(self.right, self._thread()) + (number * len(fragment.places) + slot)
                body += self._operands(self.nodes[0], row, Index(), self._at(fragment, 0, slot), self.right, to, run)
        return body

    def _at(self, fragment: Fragment, axis: int, slot: int) -> Index:
        """The step of the contraction."""
        first = Index.variable(self.warp, self.deep * self.depth) + Index.variable(self.step, self.depth)
        return first + self.lanes.place(fragment, axis, slot)

    def _operands(self, node: Node, row: Index, column: Index, step: Index, buffer: Buffer, to: Index, run: int) -> list[Statement]:
        """Elements of so many neighbouring steps."""
        neighbour = Index.variable(self.neighbour)
        return run_of(self.neighbour, run, self._operand(node, row, column, step + neighbour, buffer, to + neighbour))

    def _operand(self, node: Node, row: Index, column: Index, step: Index, buffer: Buffer, to: Index) -> list[Statement]:
        """An element as it is multiplied, or 0 outside of the operand."""
        group, tiles, along_row = self.group, self.tiles, buffer is self.right
        reduced = [step if axis is tiles.steps else Index() for axis in group.reduced]
        marked = group.body.factors(node, group.index({}), reduced)
        axis = tiles.row if along_row else tiles.column
        side = next(n for n, (_, place) in enumerate(marked) if any(p.coefficient(axis.variable) for p in place))
        scope = Scope()
        value, place = group.body.factors(node, group.index({tiles.row.variable: row, tiles.column.variable: column}), reduced)[side]
        item = as_multiplied(self.instruction, group.body, value, place, scope)
        body: list[Statement] = [*scope.statements, Store(buffer, to, item)]
        own, whole = (row, tiles.rows) if along_row else (column, self.high)
        for index, extent, size in ((own, axis.extent, whole), (step, tiles.steps.extent, self.warps * self.deep * self.depth)):
            if extent % size:
                (guard,) = only_below(index, extent, body)
                assert isinstance(guard, If)
                body = [If(guard.condition, body, [Store(buffer, to, Literal(buffer.dtype.type(0)))])]
        return body

    def _rest(self) -> Statement:
        """Add up the warps' sums, and do the rest of the group: lanes have neighbouring columns of some rows."""
        threads = ThreadsOfTile(self.tiles.rows, self.high, self.group.body.names)
        return threads.nest(self._element(threads.row, threads.column))

    def _element(self, row: Index, column: Index) -> list[Statement]:
        tiles, names, dtype = self.tiles, self.group.body.names, self.instruction.dtype
        totals = [Buffer(names("total"), dtype, 1, "register") for _ in self.nodes]
        warp = names("s")
        parts = [Load(self.partial, self._partial(Index(), row, column, node)) for node in range(len(self.nodes))]
        body: list[Statement] = [Store(total, Index(), part) for total, part in zip(totals, parts, strict=True)]
        more: list[Statement] = []
        for node, total in enumerate(totals):
            part = Load(self.partial, self._partial(Index.variable(warp), row, column, node))
            more.append(Store(total, Index(), Operation("add", (Load(total, Index()), part), dtype)))
        if self.warps > 1:
            body.append(For(warp, 1, self.warps, 1, "unrolled", more))
        places = {
            tiles.row.variable: Index.variable(self.row_tile, tiles.rows) + row,
            tiles.column.variable: Index.variable(self.column_tile, self.high) + column,
        }
        found: dict[Node, Expression] = {node: Load(total, Index()) for node, total in zip(self.nodes, totals, strict=True)}
        body += self.group.element(places, found)
        for axis, size in ((tiles.row, tiles.rows), (tiles.column, self.high)):
            if axis.extent % size:
                body = only_below(places[axis.variable], axis.extent, body)
        return body
