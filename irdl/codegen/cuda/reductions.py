"""Reductions and contractions on a GPU: a thread for each result, or, where there are few, several warps."""

from __future__ import annotations

from irdl.codegen.cuda.accumulators import Reduction
from irdl.codegen.cuda.by_warps import ByWarps
from irdl.codegen.cuda.dealing import FEW_TERMS, WARP, bound, in_tiles
from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.nest import Loop
from irdl.ir.graph import Node
from irdl.loops.index import Index
from irdl.loops.language import Expression, Load, Statement
from irdl.loops.target import Gpu

#: threads of a multiprocessor that hide each other's latency
_THREADS_AT_WORK = 512
#: results of a thread that share what they read
_ROWS = (8, 4, 2)
#: terms of a column that the registers and the shared memory of a block have room for, in loops over time
_TERMS_KEPT = 5120


def schedule_reduction(group: Group, gpu: Gpu, in_loop: bool) -> list[Statement]:
    """The loops of a group that reduces. `in_loop`: they run again and again."""
    reduction = Reduction(group, gpu)
    wanted = gpu.multiprocessors * _THREADS_AT_WORK
    many = reduction.results * 4 >= wanted and not in_loop and not reduction.lies_along_terms()
    if many or reduction.terms < 8 * FEW_TERMS:
        return _by_threads(reduction, wanted, in_loop)
    return _by_warps(reduction, in_loop)


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
        body += reduction.group.element(where, totals)
    return in_tiles(loops, body, reduction.names, reduction.gpu) if in_loop else bound("grid", loops, body)


def _by_warps(reduction: Reduction, in_loop: bool) -> list[Statement]:
    """Some warps for a result, or for 32 of them that lie next to each other."""
    best = reduction.group.contiguous_axis(reduction.group.domain, True, WARP)
    across = reduction.group.contiguous_axis(reduction.group.reduced, False, WARP)
    column = best[1] if best is not None and not reduction.lies_along_terms() and best[1].extent >= FEW_TERMS else None
    if column is None and in_loop and reduction.terms * len(reduction.nodes) <= _TERMS_KEPT:
        # What is read once may lie as it will.
        column = next(
            (a for a in reduction.group.domain if a.extent >= FEW_TERMS and reduction.group.stores[0].coefficient(a.variable) == 1), None
        )
    longest = max(reduction.group.reduced, key=lambda axis: axis.extent)
    split = longest if column is not None or across is None else across[1]
    row = None if column is None else reduction.group.shared_axis(column)
    return ByWarps(reduction, column, row, split, in_loop).statements()
