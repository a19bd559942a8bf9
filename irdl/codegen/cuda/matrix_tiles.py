"""Tiles of a loop over time where warps multiply small matrices: blocks have the columns of one matrix, and some rows.

Elementwise groups of the same rows and columns have the same tiles: what one thread makes, it reads itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.codegen.cuda.dealing import WARP, WARPS, bound, only_below
from irdl.codegen.lowering.nest import Loop
from irdl.loops.index import Index
from irdl.loops.instructions import Instruction
from irdl.loops.language import For, Statement
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu

#: how much of a matrix has to be of use
_FILLED = 0.5
#: what a tile costs that does not fill its rows: each access stands under a condition
_GUARDED = 1.5


def rows_of_block(rows: int, columns: int, instruction: Instruction, gpu: Gpu) -> int | None:
    """As few rows as let the blocks for so many rows and columns run at once, some more where no block lacks any then; None where there
    are too few, or too many columns."""
    high, wide = instruction.total.shape
    tiles = -(-columns // high)
    if tiles > gpu.multiprocessors or rows < _FILLED * wide or columns < _FILLED * high:
        return None
    fitting = [n for n in range(wide, rows + wide, wide) if tiles * -(-rows // n) <= gpu.multiprocessors]
    return min(fitting, key=lambda n: n * (_GUARDED if rows % n else 1))


class ThreadsOfTile:
    """A block's threads, dealt the elements of a tile: lanes have neighbouring columns of some rows.

    Attributes:
        row, column: those of a thread, in the tile.
    """

    def __init__(self, rows: int, columns: int, names: Names) -> None:
        side_by_side = WARP // columns
        steps = rows // side_by_side
        warps = max(n for n in range(1, WARPS + 1) if steps % n == 0)
        self._warps, self._lanes = Loop(names("i"), warps), [Loop(names("l"), side_by_side), Loop(names("l"), columns)]
        self._turns = Loop(names("n"), steps // warps)
        self.row = Index.variable(self._warps.variable, side_by_side) + Index.variable(self._lanes[0].variable)
        if self._turns.extent > 1:
            self.row = self.row + Index.variable(self._turns.variable, warps * side_by_side)
        self.column = Index.variable(self._lanes[1].variable)

    def nest(self, body: list[Statement]) -> Statement:
        """`body` by each of them."""
        if self._turns.extent > 1:
            body = [For(self._turns.variable, 0, self._turns.extent, 1, "unrolled", body)]
        (nest,) = bound("warp", [self._warps], bound("lane", self._lanes, body))
        return nest


def in_matrix_tiles(
    loops: Sequence[Loop], body: Sequence[Statement], names: Names, instruction: Instruction, gpu: Gpu
) -> list[Statement] | None:
    """`body` in every step of the loops, of which the last goes along columns; None where they have no such tiles."""
    body = substitute(body, {loop.variable: Index() for loop in loops if loop.extent == 1})
    loops = [loop for loop in loops if loop.extent > 1]
    rows = rows_of_block(loops[0].extent, loops[1].extent, instruction, gpu) if len(loops) == 2 else None
    if rows is None:
        return None
    (row, column), columns = loops, instruction.total.shape[0]
    blocks = [Loop(names("j"), -(-row.extent // rows)), Loop(names("j"), -(-column.extent // columns))]
    threads = ThreadsOfTile(rows, columns, names)
    places = {
        row.variable: Index.variable(blocks[0].variable, rows) + threads.row,
        column.variable: Index.variable(blocks[1].variable, columns) + threads.column,
    }
    body = substitute(body, places)
    for loop, size in ((row, rows), (column, columns)):
        if loop.extent % size:
            body = only_below(places[loop.variable], loop.extent, body)
    return bound("block", blocks, [threads.nest(body)])
