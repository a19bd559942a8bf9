"""Reductions and contractions on a GPU: a thread for each result, or, where there are few, several warps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from irdl.codegen.cuda.accumulators import Reduction
from irdl.codegen.cuda.by_warps import ByWarps
from irdl.codegen.cuda.dealing import FEW_TERMS, WARP, bound, in_tiles
from irdl.codegen.cuda.parts import OfParts, Parts, cuts_of
from irdl.codegen.cuda.row_tiles import warps_of_row
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import Statement
from irdl.loops.target import Gpu

#: threads of a multiprocessor that hide each other's latency
_THREADS_AT_WORK = 512
#: results of a thread that share what they read
_ROWS = (8, 4, 2)
#: terms of a column that the registers and the shared memory of a block have room for, in loops over time
_TERMS_KEPT = 5120


@dataclass(frozen=True)
class Step:
    """What is known of the steps of a loop over time.

    Attributes:
        kept: what no step writes.
        rows: the rows, by axes, that are reduced in it.
        multiplied: tensor cores do a contraction of it.
        runs: the runs of blocks that share rows, and how many blocks each has; None: they are not alike.
    """

    kept: frozenset[Buffer]
    rows: frozenset[tuple[int, ...]]
    multiplied: bool
    runs: tuple[int, int] | None = None


def schedule_reduction(group: Group, gpu: Gpu, step: Step | None) -> list[Statement]:
    """The loops of a group that reduces. `step`: they run again and again, in a loop."""
    return _schedule(Reduction(group, gpu), step)


def _schedule(reduction: Reduction, step: Step | None) -> list[Statement]:
    gpu, in_loop = reduction.gpu, step is not None
    wanted = gpu.multiprocessors * _THREADS_AT_WORK
    many = reduction.results * 4 >= wanted and not in_loop and not reduction.lies_along_terms()
    if many or reduction.terms < 8 * FEW_TERMS:
        return _by_threads(reduction, wanted, in_loop)
    return _by_warps(reduction, step)


def _by_threads(reduction: Reduction, wanted: int, in_loop: bool) -> list[Statement]:
    """A thread for some rows of the result, one after the other along the contiguous axis."""
    best = reduction.group.contiguous_axis(reduction.group.domain, True, WARP)
    column = None if best is None else best[1]
    row = None if column is None else reduction.group.shared_axis(column)
    rows = 1
    if row is not None and not in_loop:
        rows = next((n for n in _ROWS if row.extent % n == 0 and reduction.results // n >= wanted), 1)
    loops = [Loop(axis.variable, axis.extent) for axis in reduction.group.domain if axis.extent > 1 and axis not in (row, column)]
    places: list[dict[str, Index]] = [{} for _ in range(rows)]
    if row is not None:
        step = reduction.names("m")
        loops.append(Loop(step, row.extent // rows))
        places = [{row.variable: Index.variable(step, rows) + number} for number in range(rows)]
    if column is not None:
        loops.append(Loop(column.variable, column.extent))
    accumulators = reduction.accumulators(rows)
    reduced = [Index.variable(axis.variable) for axis in reduction.group.reduced]
    body = [*reduction.clear(accumulators), *reduction.serial(reduction.group.reduced, reduction.add_terms(accumulators, places, reduced))]
    for number, where in enumerate(places):
        totals: dict[Node, Expression] = {n: Load(a, Index(number)) for n, a in zip(reduction.nodes, accumulators, strict=True)}
        body += reduction.element(where, totals)
    return in_tiles(loops, body, reduction.names, reduction.gpu) if in_loop else bound("grid", loops, body)


def _by_warps(reduction: Reduction, step: Step | None) -> list[Statement]:
    """Some warps for a result, or for 32 of them that lie next to each other."""
    best = reduction.group.contiguous_axis(reduction.group.domain, True, WARP)
    across = reduction.group.contiguous_axis(reduction.group.reduced, False, WARP)
    column = best[1] if best is not None and not reduction.lies_along_terms() and best[1].extent >= FEW_TERMS else None
    if column is None and step is not None and reduction.terms * len(reduction.nodes) <= _TERMS_KEPT:
        column = _kept_column(reduction.group, step)
    longest = max(reduction.group.reduced, key=lambda axis: axis.extent)
    split = longest if column is not None or across is None else across[1]
    if step is None and (cuts := cuts_of(reduction, split, WARP if column is None else 1)):
        parts = Parts(reduction, cuts)
        return [*_schedule(parts, None), *_schedule(OfParts(parts), None)]
    row = None if column is None else reduction.group.shared_axis(column)
    rows = tuple(axis.extent for axis in reduction.group.domain if axis.extent > 1)
    deep = warps_of_row(math.prod(rows), reduction.gpu) if step is not None and column is None and rows in step.rows else 0
    runs = step.runs if step is not None and deep else None
    return ByWarps(reduction, column, row, split, step is not None, deep, runs).statements()


def _kept_column(group: Group, step: Step) -> Axis | None:
    """An axis of the result along which all that terms read stays with its threads: what is read once may lie as it will."""
    for axis in group.domain:
        along = {load.buffer for load in group.inner_loads if load.index.coefficient(axis.variable)}
        kept = all(buffer in step.kept or buffer.space == "constant" for buffer in along)
        if axis.extent >= FEW_TERMS and group.stores[0].coefficient(axis.variable) == 1 and kept:
            return axis
    return None
