"""What contractions in tiles multiply, on its way into the shared memory of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from irdl.codegen.cuda.dealing import WARP, bound, only_below
from irdl.codegen.cuda.tiling import Tiling
from irdl.codegen.lowering.body import Scope
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, If, Literal, Load, Statement, Store

#: steps of the contraction that are in shared memory at once
STEPS = 16


class Frame:
    """Where a block is among the results and the terms of its contractions.

    Attributes:
        steps: the reduced axis that is walked `STEPS` at a time.
        outer: the others.
        row_block, column_block, step_block: the variables of the tile that a block is at, and of the steps.
    """

    def __init__(self, group: Group, tiling: Tiling) -> None:
        self.group, self.tiling = group, tiling
        reduced = [axis for axis in group.reduced if axis.extent != 1]
        self.steps = max(reduced, key=lambda axis: axis.extent, default=group.reduced[0])
        self.outer = [axis for axis in reduced if axis is not self.steps]
        names = group.body.names
        self.row_block, self.column_block, self.step_block = names("j"), names("j"), names("k")

    def factors(self, node: Node, row: Index, column: Index, step: Index) -> list[tuple[Value, tuple[Index, ...]]]:
        """What a contraction multiplies at one place, and where that is."""
        group, tiling = self.group, self.tiling
        index = group.index({tiling.row.variable: row, tiling.column.variable: column})
        reduced = [step if axis is self.steps else Index.variable(axis.variable) if axis.extent > 1 else Index() for axis in group.reduced]
        return group.body.factors(node, index, reduced)

    def factors_anywhere(self, node: Node) -> list[tuple[Value, tuple[Index, ...]]]:
        """The same in the axes' own variables."""
        axes = self.tiling.row, self.tiling.column, self.steps
        return self.factors(node, *(Index.variable(axis.variable) for axis in axes))


@dataclass(frozen=True, eq=False)
class Operand:
    """A factor of some contractions of a group, along the rows or the columns.

    Attributes:
        node, number: a contraction, and which of its factors it is.
        tile: in shared memory, for each step `stride` elements, of which the tile's are first.
        rounded: what is done with an element on its way.
    """

    frame: Frame
    node: Node
    number: int
    along_row: bool
    tile: Buffer
    stride: int
    rounded: Callable[[Expression], Expression]

    @property
    def axis(self) -> Axis:
        return self.frame.tiling.row if self.along_row else self.frame.tiling.column

    def fill(self) -> Statement:
        """What brings its next steps: steps x rows, or columns, transposed if need be."""
        frame, size = self.frame, self.frame.tiling.size
        names = frame.group.body.names
        first, second = names("i"), names("l")
        # Lanes go where neighbours are: along the steps, two rows at a time, or along the rows.
        if self._lies_along_steps():
            loops, lanes = [Loop(first, size * STEPS // WARP)], [Loop(names("l"), WARP // STEPS), Loop(second, STEPS)]
            inside = Index.variable(first, WARP // STEPS) + Index.variable(lanes[0].variable)
            step = Index.variable(second)
        else:
            third = names("i")
            loops, lanes = [Loop(first, STEPS), Loop(third, size // WARP)], [Loop(second, WARP)]
            inside, step = Index.variable(third, WARP) + Index.variable(second), Index.variable(first)
        place = Index.variable(frame.row_block if self.along_row else frame.column_block, size) + inside
        at = Index.variable(frame.step_block, STEPS) + step
        row, column = (place, Index()) if self.along_row else (Index(), place)
        value, where = frame.factors(self.node, row, column, at)[self.number]
        scope = Scope()
        item = frame.group.body.expression(value, where, scope)
        to = step * self.stride + inside
        body: list[Statement] = [*scope.statements, Store(self.tile, to, self.rounded(item))]
        nothing: list[Statement] = [Store(self.tile, to, Literal(self.tile.dtype.type(0)))]
        for guarded, extent, whole in ((place, self.axis.extent, size), (at, frame.steps.extent, STEPS)):
            if extent % whole:
                (guard,) = only_below(guarded, extent, body)
                assert isinstance(guard, If)
                body = [If(guard.condition, body, list(nothing))]
        (nest,) = bound("warp", loops, bound("lane", lanes, body))
        return nest

    def _lies_along_steps(self) -> bool:
        value, where = self.frame.factors_anywhere(self.node)[self.number]
        scope = Scope()
        self.frame.group.body.expression(value, where, scope)
        loads = [item for item in scope.memo.values() if isinstance(item, Load)]
        return sum(load.index.coefficient(self.frame.steps.variable) == 1 for load in loads) * 2 > len(loads)


def operands_of(
    frame: Frame, stride: int, rounded: Callable[[Expression], Expression]
) -> tuple[list[Operand], dict[Node, tuple[Operand, Operand]]]:
    """All of a group's, each once, and those of each contraction: the one along the rows first."""
    found: dict[tuple[Value, tuple[Index, ...]], Operand] = {}
    of_nodes: dict[Node, tuple[Operand, Operand]] = {}
    for node in frame.group.body.reductions:
        sides: dict[bool, Operand] = {}
        for number, factor in enumerate(frame.factors_anywhere(node)):
            value, place = factor
            along_row = any(part.coefficient(frame.tiling.row.variable) for part in place)
            if factor not in found:
                tile = Buffer(frame.group.body.names("left" if along_row else "right"), value.dtype, STEPS * stride, "shared")
                found[factor] = Operand(frame, node, number, along_row, tile, stride, rounded)
            sides[along_row] = found[factor]
        of_nodes[node] = sides[True], sides[False]
    return list(found.values()), of_nodes
