"""How a CPU runs a group: which axis becomes the vector, and which the rows of a register tile, follows from the strides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.codegen.cpu.across import Across
from irdl.codegen.cpu.tile import column_vectors, row_count
from irdl.codegen.cpu.tiled import Tile
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.nest import Loop, blocks, build_nest, join, narrow_lanes
from irdl.loops.index import Index
from irdl.loops.language import Statement
from irdl.loops.target import Target

#: Half of a small second-level cache.
_CACHE_BYTES = 256 * 1024


def schedule(group: Group, target: Target) -> list[Statement]:
    """The loops of one group."""
    if any(axis.extent == 0 for axis in group.domain):
        return []
    scheduled = Scheduled(group.merged(), target)
    if not group.body.reductions:
        return scheduled.elementwise()
    vector = scheduled.best(scheduled.group.domain, over_domain=True)
    across = scheduled.best(scheduled.group.reduced, over_domain=False)
    if vector is not None and (across is None or vector[0] >= across[0]):
        return scheduled.tiled(vector[1])
    return Across(scheduled, None if across is None else across[1]).statements()


class Scheduled:
    """A group on its way to statements for a machine."""

    def __init__(self, group: Group, target: Target) -> None:
        self.group = group
        self.target = target
        self.names = group.body.names
        # The widest dtype sets the lanes.
        self.lanes = min(target.lanes(dtype) for dtype in group.dtypes)

    def best(self, axes: Sequence[Axis], over_domain: bool) -> tuple[float, Axis] | None:
        """The axis whose neighbours lie next to each other in most accesses, with its score."""
        best: tuple[float, Axis] | None = None
        for axis in axes:
            if axis.extent < 2:
                continue
            score = sum(_stride_score(load.index.coefficient(axis.variable), axis.extent) for load in self.group.inner_loads) * 4
            if over_domain:
                score += sum(_stride_score(load.index.coefficient(axis.variable), axis.extent) for load in self.group.outer_loads)
                score += 3 * sum(_stride_score(store.coefficient(axis.variable), axis.extent) for store in self.group.stores)
            if axis.extent < self.lanes // 2:
                score -= 1
            if score > 0 and (best is None or score >= best[0]):
                best = (score, axis)
        return best

    # Elementwise groups.

    def elementwise(self) -> list[Statement]:
        best = self.best(self.group.domain, over_domain=True)
        others = [axis for axis in self.group.domain if axis.extent > 1 and (best is None or axis is not best[1])]
        loops = [Loop(axis.variable, axis.extent) for axis in others]
        if best is None:
            return build_nest(loops, self.group.element({}))
        vector = best[1]
        whole, rest = divmod(vector.extent, self.lanes)
        lane = self.names("l")
        result: list[Statement] = []
        if whole:
            block = self.names("b")
            index = Index.variable(block, self.lanes) + Index.variable(lane)
            nest = [*loops, Loop(block, whole), Loop(lane, self.lanes, "vector", self.lanes)]
            self.group.body.extents.update({block: whole, lane: self.lanes})
            result += build_nest(nest, self.group.element({vector.variable: index}))
        if rest:
            lane = self.names("l")  # runs less far, which arguments about indices need to know
            index = Index.variable(lane) + whole * self.lanes
            tail = build_nest(
                [*loops, Loop(lane, rest, "vector", narrow_lanes(rest, self.lanes))], self.group.element({vector.variable: index})
            )
            result = join(result, tail, len(loops))
        return result

    # Contractions and reductions with a vector over an output axis.

    def tiled(self, vector: Axis) -> list[Statement]:
        nodes = self.group.body.reductions
        row = self._row_axis(vector)
        rows = row.extent if row else 1
        if self.group.unpacked:
            columns = min(self.group.unpacked) // self.lanes
        else:
            columns = column_vectors(rows, vector.extent, len(nodes), self.lanes, self.target.registers, packed=False)
        height = row_count(rows, columns, len(nodes), self.target.registers)
        width = columns * self.lanes
        others = [axis for axis in self.group.domain if axis.extent > 1 and axis is not vector and axis is not row]
        shared = [axis for axis in others if all(load.index.coefficient(axis.variable) for load in self.group.inner_loads)]
        free = [axis for axis in others if axis not in shared]
        whole, rest = divmod(vector.extent, width)
        result: list[Statement] = []
        for first, size, count in blocks(rows, height):
            variants: list[tuple[list[Loop], Index, int, int]] = []
            if whole:
                block = self.names("j")
                self.group.body.extents[block] = whole
                variants.append(([Loop(block, whole)], Index.variable(block, width), columns, 0))
            if rest:
                variants.append(([], Index(whole * width), rest // self.lanes, rest % self.lanes))
            for block_loops, base, vectors, tail in variants:
                step = self.names("m")
                self.group.body.extents[step] = count
                row_base = Index.variable(step, size) + first if count > 1 else Index(first)
                outer = [Loop(axis.variable, axis.extent) for axis in shared]
                middle = [Loop(axis.variable, axis.extent) for axis in free]
                steps = [Loop(step, count)] if count > 1 else []
                stays = self._stays_in_cache(vector)
                loops = [*outer, *middle, *steps, *block_loops] if stays else [*outer, *block_loops, *middle, *steps]
                tile = Tile(self, vector, row, base, row_base, size, vectors, tail)
                result += build_nest(loops, tile.statements())
        return result

    def _stays_in_cache(self, vector: Axis) -> bool:
        """What the tiles read along the vector is small enough to be read anew for every element of the outer axes."""
        extents = {axis.variable: axis.extent for axis in (*self.group.domain, *self.group.reduced)}
        total = 0
        for load in self.group.inner_loads:
            if load.index.coefficient(vector.variable):
                total += math.prod(extents.get(name, 1) for name in load.index.variables()) * load.dtype.itemsize
        return total <= _CACHE_BYTES

    def _row_axis(self, vector: Axis) -> Axis | None:
        """An output axis along which some load stays put: its rows share that load."""
        best: tuple[int, Axis] | None = None
        for axis in self.group.domain:
            if axis is vector or axis.extent < 2:
                continue
            if any(
                load.index.coefficient(vector.variable) and not load.index.coefficient(axis.variable) for load in self.group.inner_loads
            ) and (best is None or axis.extent >= best[0]):
                best = (axis.extent, axis)
        return best[1] if best else None


def _stride_score(coefficient: int, extent: int) -> float:
    if coefficient == 1:
        return 1.0
    if coefficient == 0:
        return 0.1
    return -1.0
