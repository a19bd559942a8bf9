"""Rows shared by blocks and their warps, the lanes along each row: of elementwise groups that go with what is reduced along rows.

Before -> after, for rows of 1000 that a block has to itself:

    for i { for j in 0:1000 { b } } -> block i { warp w { lane l { for s in 0:3 { b, where j is 256 * s + 32 * w + l }
                                                                   if 32 * w + l < 232 { b, where j is 768 + 32 * w + l } } } }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from irdl.codegen.cuda.dealing import MOST_SUMS, WARP, WARPS, Tiles, bound, in_runs, only_below, rows_of_tile, run_in_row, warps_of_tile
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Graph, Node
from irdl.loops.index import Index
from irdl.loops.language import Statement
from irdl.loops.rewrite import Names
from irdl.loops.target import Gpu
from irdl.ops.contract import DOT
from irdl.ops.reduce import Reduce

#: rows whose elements follow what was reduced along them
_SHORTEST, _LONGEST = 64, 8192

#: from places on axes to what is done there
Element: TypeAlias = Callable[[Mapping[str, Index]], list[Statement]]


def warps_of_row(rows: int, gpu: Gpu) -> int:
    """How many warps share each of so many rows in every step of a loop: those that let all blocks run at once, for rows of any length,
    so that what was reduced along long rows and what follows in shorter ones are the same block's."""
    return next((n for n in (8, 4, 2) if rows * n <= gpu.multiprocessors * WARPS), 1)


def reduced_rows(graphs: Sequence[Graph]) -> frozenset[tuple[int, ...]]:
    """How many rows there are, by axes, of whatever the graphs reduce along rows alone; axes of one element do not count."""
    found = set()
    for node in all_nodes(graphs):
        if isinstance(node.op, Reduce):
            shape = node.operands[0].shape
            long = [axis for axis, extent in enumerate(shape) if extent > 1]
            if long and [axis for axis in long if axis in node.attributes.axes] == long[-1:] and shape[long[-1]] >= _SHORTEST:
                found.add(tuple(shape[axis] for axis in long[:-1]))
    return frozenset(found)


def runs_of_blocks(graphs: Sequence[Graph], rows: frozenset[tuple[int, ...]], gpu: Gpu) -> tuple[int, int] | None:
    """The runs of blocks that share rows in the graphs' contractions, if all have the same: how many, and the blocks of each. What goes
    through the same rows by itself is done by blocks of the same run then, which wait for each other alone."""
    found = set()
    for number, shape in _contractions(graphs):
        if shape[:-1] not in rows or len(shape) != 2:
            return None
        columns = -(-shape[1] // WARP)
        tile = rows_of_tile(shape[0], columns, max(1, MOST_SUMS // number), gpu)
        found.add((shape[0] // tile, columns))
    return found.pop() if len(found) == 1 else None


def _contractions(graphs: Sequence[Graph]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """How many there are in its group, and the axes of the result, of each; axes of one element do not count."""
    for graph in graphs:
        inside = [node for node in graph.nodes if node.op is DOT]
        yield from ((len(inside), tuple(extent for extent in node.output.shape if extent > 1)) for node in inside)
        for node in graph.nodes:
            yield from _contractions(node.regions)


def all_nodes(graphs: Sequence[Graph]) -> Iterator[Node]:
    for graph in graphs:
        for node in graph.nodes:
            yield node
            yield from all_nodes(node.regions)


def followed_rows(group: Group) -> Axis | None:
    """The last axis of an elementwise group of which some operand has one number for each row, as what was reduced along it has."""
    best = group.contiguous_axis(group.domain, True, WARP)
    if best is None or not _SHORTEST <= best[1].extent <= _LONGEST:
        return None
    column = best[1]
    others = {axis.variable for axis in group.domain if axis.extent > 1 and axis is not column}
    by_row = any(load.index.variables() & others and not load.index.coefficient(column.variable) for load in group.outer_loads)
    return column if by_row else None


def rows_of_loop(loops: Sequence[Loop], rows: frozenset[tuple[int, ...]]) -> tuple[list[Loop], Loop | None] | None:
    """Which of the loops are those over rows, of as many rows as there are, and which is along them, if one is; None if they are
    something else."""
    long = [loop for loop in loops if loop.extent > 1]
    extents = tuple(loop.extent for loop in long)
    if extents[:-1] in rows and _SHORTEST <= (extents or (0,))[-1] <= _LONGEST:
        return long[:-1], long[-1]
    return (long, None) if extents in rows else None


def in_rows(
    rows: Sequence[Loop],
    column: Loop | None,
    element: Element,
    names: Names,
    gpu: Gpu,
    dtypes: Iterable[np.dtype] = (),
    deep: int = 0,
    runs: tuple[int, int] | None = None,
) -> list[Statement]:
    """`element` in every step of the loops.

    Args:
        dtypes: of what lies along the rows, if threads are to take runs of it.
        deep: the warps of a row; 0: as a reduction outside of loops has them.
        runs: of blocks, as `runs_of_blocks` has them.
    """
    steps = [loop.extent for loop in rows]
    extent = 1 if column is None else column.extent
    tiles = Tiles(steps, deep or warps_of_tile(extent, WARP, math.prod(steps), gpu), names, runs)
    places = {loop.variable: where for loop, where in zip(rows, tiles.where, strict=True)}
    warp, lane = names("w"), names("l")
    numbers, lanes = [Loop(tiles.number, tiles.wide)], Loop(lane, 1)
    body: list[Statement] = []
    if column is None:
        body = element(places)
    else:
        numbers, lanes = [*numbers, Loop(warp, tiles.deep)], Loop(lane, WARP)
        slot, slots = (Index.variable(warp) if tiles.deep > 1 else Index()) * WARP + Index.variable(lane), tiles.deep * WARP
        name, length = column.variable, run_in_row(extent, slots, dtypes)
        body = in_runs(extent, length, slot, slots, names, lambda place: element({**places, name: place}))
    for index, most in tiles.guards:
        body = only_below(index, most, body)
    warps = [loop for loop in numbers if loop.extent > 1]
    return bound("block", tiles.blocks, bound("warp", warps, bound("lane", [lanes], body)))
