"""Steps that are independent, dealt out: to all threads of a grid, or, in loops over time, in tiles to blocks, which then have the same
elements in every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from irdl.codegen.lowering.nest import Loop
from irdl.loops.expressions import Expression, IndexValue, Literal, Operation
from irdl.loops.index import Index
from irdl.loops.language import For, If, Statement
from irdl.loops.rewrite import Names, substitute
from irdl.loops.target import Gpu

WARP = 32
#: warps of a block, and of a multiprocessor where some are in one block anyway
WARPS, _WARPS_AT_WORK = 8, 16
#: the fewest terms worth a thread of their own
FEW_TERMS = 8
#: sums of a thread in a loop over time
MOST_SUMS = 64
#: bytes of the widest access, at a multiple of which arrays begin
WIDEST = 16
#: neighbours that a thread takes at once in its loops, at most, and how many times as many elements it may then do
LONGEST_RUN, _UNEVEN = 4, 1.25


def bound(kind: str, loops: Sequence[Loop], body: Sequence[Statement]) -> list[Statement]:
    """`body` in every step of the loops, which are dealt out together. Without a loop, it is one step."""
    result = list(body)
    for loop in reversed(loops or [Loop(f"one_{kind}", 1)]):
        result = [For(loop.variable, 0, loop.extent, 1, kind, result)]
    return result


def only_below(index: Index, extent: int, body: list[Statement]) -> list[Statement]:
    """`body` where the index is less than `extent`."""
    condition = Operation("less", (IndexValue(index), Literal(np.int64(extent))), np.dtype(bool))
    return [If(condition, body, [])]


def as_guard(condition: Expression) -> tuple[Index, int] | None:
    """A place that is less than how far it may go, and that, if the condition says so."""
    if not (isinstance(condition, Operation) and condition.name == "less"):
        return None
    place, extent = condition.arguments
    return (place.index, int(extent.value)) if isinstance(place, IndexValue) and isinstance(extent, Literal) else None


def run_length(dtypes: Iterable[np.dtype]) -> int:
    """Neighbours of which the widest take one access."""
    return WIDEST // max((dtype.itemsize for dtype in dtypes), default=WIDEST)


def run_in_row(extent: int, slots: int, dtypes: Iterable[np.dtype]) -> int:
    """How many neighbours each of so many threads takes at once of a row: as many as it can, if it then does about as many elements.
    It goes by the row alone, for all that is done with it to be dealt out alike."""
    most = min(LONGEST_RUN, run_length(dtypes))
    fewest = -(-extent // slots)
    return next((n for n in (4, 2) if n <= most and extent % n == 0 and -(-extent // (n * slots)) * n <= _UNEVEN * fewest), 1)


def in_runs(
    extent: int, length: int, slot: Index, slots: int, names: Names, element: Callable[[Index], list[Statement]]
) -> list[Statement]:
    """`element` at a thread's places on an axis: of every `slots` runs of so many neighbours, that of its `slot`."""
    step, place = names("s"), names("v")
    whole, rest = divmod(extent // length, slots)

    def run(number: Index) -> list[Statement]:
        return run_of(place, length, element(number * length + Index.variable(place)))

    result: list[Statement] = []
    if whole == 1:
        result += run(slot)
    elif whole:
        result.append(For(step, 0, whole, 1, "serial", run(Index.variable(step, slots) + slot)))
    return result + (only_below(slot, rest, run(slot + whole * slots)) if rest else [])


def run_of(variable: str, length: int, body: list[Statement]) -> list[Statement]:
    """`body` in so many steps of neighbours, behind the guards that hold for all of them or none."""
    if length == 1:
        return substitute(body, {variable: 0})
    only = body[0] if len(body) == 1 else None
    guard = as_guard(only.condition) if isinstance(only, If) else None
    if guard is not None:
        assert isinstance(only, If)
        index, extent = guard
        inside = index.coefficient(variable)
        others = (extent, index.constant, *(c for name, c in index.terms if name != variable))
        if not inside or (inside == 1 and all(part % length == 0 for part in others)):
            (result,) = only_below(index.substitute({variable: 0}), extent, run_of(variable, length, only.then))
            assert isinstance(result, If)
            return [replace(result, otherwise=run_of(variable, length, only.otherwise) if only.otherwise else [])]
    return [For(variable, 0, length, 1, "unrolled", body)]


def rows_of_tile(extent: int, others: int, most: int, gpu: Gpu) -> int:
    """How many of `extent` rows, at most `most`, a tile has: as few as let all tiles run at once, or as many as there may be."""
    fitting = [n for n in range(1, extent + 1) if extent % n == 0 and n <= most]
    return next((n for n in fitting if others * (extent // n) <= gpu.multiprocessors), fitting[-1])


def in_tiles(loops: Sequence[Loop], body: Sequence[Statement], names: Names, gpu: Gpu) -> list[Statement]:
    """`body` in every step of the loops: blocks have tiles of some rows of 32 columns, the steps of the last loop.

    Before -> after: `for i in 0:32 { for j in 0:256 { b } }` ->
    `block p { block q { warp r { lane l { b, where i is 2 * p + r and j is 32 * q + l } } } }`
    """
    body = substitute(body, {loop.variable: Index() for loop in loops if loop.extent == 1})
    loops = [loop for loop in loops if loop.extent > 1]
    if not loops:
        return bound("block", [], bound("warp", [], bound("lane", [], body)))
    *others, column = loops
    row = max(others, key=lambda loop: loop.extent, default=None)
    rest = [loop for loop in others if loop is not row]
    columns = -(-column.extent // WARP)
    tiles = columns * math.prod(loop.extent for loop in rest)
    rows = 1 if row is None else rows_of_tile(row.extent, tiles, row.extent, gpu)
    #: column tiles of a block
    wide = -(-columns // max(1, gpu.multiprocessors // (tiles // columns))) if row is None else 1
    block, warp, number, lane = names("j"), names("i"), names("n"), names("l")
    blocks, places = list(rest), {}
    if row is not None:
        tile = names("j")
        blocks.append(Loop(tile, row.extent // rows))
        places[row.variable] = Index.variable(tile, rows) + (Index.variable(warp) if rows > 1 else Index())
    blocks.append(Loop(block, -(-columns // wide)))
    place = Index.variable(block, wide) + (Index.variable(number) if wide > 1 else Index())
    place = place * WARP + Index.variable(lane)
    body = substitute(body, {**places, column.variable: place})
    if column.extent % (WARP * wide):
        body = only_below(place, column.extent, body)
    warps = [loop for loop in (Loop(number, wide), Loop(warp, rows)) if loop.extent > 1]
    return bound("block", blocks, bound("warp", warps, bound("lane", [Loop(lane, min(WARP, column.extent))], body)))


def warps_of_tile(terms: int, lanes: int, tiles: int, gpu: Gpu) -> int:
    """How many warps share one of so many tiles, along an axis of so many steps that `lanes` lanes lie along."""
    most = 2 * gpu.multiprocessors * _WARPS_AT_WORK
    return next((n for n in (8, 4, 2) if terms >= n * lanes * FEW_TERMS // 2 and tiles * n <= most), 1)


class Tiles:
    """Steps of some axes, shared by blocks and their warps.

    Attributes:
        deep: warps for each tile.
        wide, number: how many tiles a block has at once, and the variable that counts them.
        blocks: the loops over blocks.
        where: the place on each axis.
        guards: what has to be less than what.
    """

    def __init__(self, steps: Sequence[int], deep: int, names: Names, runs: tuple[int, int] | None = None) -> None:
        """`runs`: how many runs of how many blocks each there are, of which one is to have neighbouring steps; None: it does not matter."""
        self.deep = deep
        self.number = names("n")
        self.blocks: list[Loop] = []
        self.where: list[Index] = []
        self.guards: list[tuple[Index, int]] = []
        longest = max(range(len(steps)), key=lambda place: steps[place], default=-1)
        self.wide = min(WARPS // deep, 1 << (steps[longest] - 1).bit_length()) if steps else 1
        if runs is not None and self.wide == 1 and len(steps) == 1 and steps[0] % runs[0] == 0 and steps[0] <= math.prod(runs):
            self._in_runs(steps[0] // runs[0], runs, names)
            return
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

    def _in_runs(self, steps: int, runs: tuple[int, int], names: Names) -> None:
        """The first blocks of each run have so many steps, one each."""
        self.blocks = [Loop(names("j"), count) for count in runs]
        run, block = (Index.variable(loop.variable) for loop in self.blocks)
        self.where = [run * steps + block]
        self.guards = [(block, steps)] if steps < runs[1] else []
