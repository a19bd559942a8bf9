"""How a CPU runs a group: which axis becomes the vector, and which the rows of a register tile, follows from the strides."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from irdl.codegen.cpu.across import Across
from irdl.codegen.cpu.inner import inner_products
from irdl.codegen.cpu.over import LINES_TOGETHER, over, scatters_lines
from irdl.codegen.cpu.panels import ROWS_IN_PANELS, is_large, panels
from irdl.codegen.cpu.ranks import sort_by_ranks
from irdl.codegen.cpu.sorting import sort_by_network
from irdl.codegen.cpu.tile import column_vectors, row_count
from irdl.codegen.cpu.tiled import Tile
from irdl.codegen.lowering.group import Axis, Group
from irdl.codegen.lowering.layout import Layout, merged, sub_layout
from irdl.codegen.lowering.nest import Loop, blocks, build_nest, join, narrow_lanes, wrap_in_loops
from irdl.codegen.lowering.schedule import Element, Schedule
from irdl.ir.graph import Graph
from irdl.loops.expressions import Buffer, Load
from irdl.loops.index import Index
from irdl.loops.language import Statement, Store
from irdl.loops.rewrite import Names
from irdl.loops.target import Target

#: Half of a small second-level cache.
_CACHE_BYTES = 256 * 1024
#: A stack for a carry, which the caches should hold; and where threads would have to meet at the copy that it spares.
_STACK, _STACK_OF_MANY = 128 * 1024, 4 * 1024 * 1024
#: A tile of a depthwise convolution, in rows and planes of places: what neighbours along both share is read from the cache once.
_BLOCK_ROWS, _BLOCK_PLANES = 4, 2


class CpuSchedule(Schedule):
    """The loops of one thread; which of them are divided among several, a pass of the program finds."""

    can_leave = True

    def __init__(self, target: Target, in_loop: bool = False) -> None:
        self.target, self.in_loop = target, in_loop
        self.stack_bytes = _STACK_OF_MANY if target.threads > 1 else _STACK
        self.chains = 4

    def group(self, group: Group) -> list[Statement]:
        if any(axis.extent == 0 for axis in group.domain):
            return []
        scheduled = Scheduled(group.merged(), self.target, self.in_loop)
        if not group.body.reductions:
            return scheduled.elementwise()
        slivers = scheduled.group.across_slivers
        columns = [axis for axis in scheduled.group.domain if not slivers or axis.variable in slivers]
        vector = scheduled.best(columns, over_domain=True)
        across = scheduled.best(scheduled.group.reduced, over_domain=False)
        if vector is not None and (across is None or vector[0] >= across[0]):
            return panels(scheduled, vector[1]) or scheduled.tiled(vector[1])
        tiles = None if across is None else inner_products(scheduled, across[1])
        return tiles or Across(scheduled, None if across is None else across[1]).statements()

    def inside_loop(self, graphs: Sequence[Graph], kept: Collection[Buffer]) -> Schedule:
        return CpuSchedule(self.target, in_loop=True)

    def over(self, shape: Sequence[int], accesses: Sequence[Layout], element: Element, names: Names, dtype: np.dtype) -> list[Statement]:
        return over(shape, accesses, element, names, self.target, dtype)

    def each(self, loops: Sequence[Loop], body: Sequence[Statement], names: Names) -> list[Statement]:
        return wrap_in_loops(loops, body)

    def sort(self, x: Layout, out: Layout, axis: int, wants_elements: bool, names: Names) -> list[Statement] | None:
        found = sort_by_ranks(x, out, axis, wants_elements, self.target, names)
        return found or sort_by_network(x, out, axis, wants_elements, self.target, names)

    def copy(self, source: Layout, target: Layout, names: Names) -> list[Statement]:
        source, target = merged(source, target)
        if not scatters_lines(source, target):
            return super().copy(source, target, names)
        # Row by row, each line would go to another place. Some rows at a time, the lines of each place are written together.
        result: list[Statement] = []
        for first, size, count in blocks(source.shape[1], LINES_TOGETHER):
            step = names("i")
            start: list[int | Index] = [0, Index.variable(step, size) + first, 0]
            shape = (source.shape[0], size, source.shape[2])
            piece, place = sub_layout(source, start, shape), sub_layout(target, start, shape)

            def element(index: tuple[Index, ...], piece: Layout = piece, place: Layout = place) -> list[Statement]:
                return [Store(place.buffer, place.at(index), Load(piece.buffer, piece.at(index)))]

            lines = self.over(shape, [place, place, piece], element, names, place.buffer.dtype)
            result += wrap_in_loops([Loop(step, count)], lines)
        return result


class Scheduled:
    """A group on its way to statements for a machine."""

    def __init__(self, group: Group, target: Target, in_loop: bool) -> None:
        self.group = group
        self.target = target
        self.in_loop = in_loop
        self.names = group.body.names
        # The widest dtype sets the lanes.
        self.lanes = min(target.lanes(dtype) for dtype in group.dtypes)

    def best(self, axes: Sequence[Axis], over_domain: bool) -> tuple[float, Axis] | None:
        return self.group.contiguous_axis(axes, over_domain, self.lanes)

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

    def tiled(self, vector: Axis, first: int = 0) -> list[Statement]:
        """The columns along `vector` from `first` on."""
        count = len(self.group.body.reductions)
        registers = self.target.registers
        row = self.group.shared_axis(vector)
        rows = row.extent if row else 1
        also: Axis | None = None
        apart = all(load.index.coefficient(vector.variable) for load in self.group.inner_loads)
        if self.group.unpacked:
            columns = min(self.group.unpacked) // self.lanes
        else:
            columns = column_vectors(rows, vector.extent, count, self.lanes, registers, packed=False, apart=apart)
        planes = 1
        if apart and row and columns > 1 and not self.group.unpacked:
            also = self._second_row(vector, row)
            if also is not None:
                planes = also.extent
                columns = min(columns, max(1, (registers - 8) // (rows * planes)))
            height = row_count(rows, columns, count, registers)
        elif apart and columns == 1 and (block := self._overlapping(vector)):
            row, also = block
            planes = min(also.extent, _BLOCK_PLANES) if also else 1
            height = min(row_count(row.extent, planes, count, registers), _BLOCK_ROWS if also else registers)
        else:
            height = row_count(rows, columns, count, registers)
        result: list[Statement] = []
        threads = self.target.threads if self._divides_rows(vector, columns, (row, also)) else 1
        joins = threads == 1 and self._takes_turns(vector, rows)
        column = self.names("j") if joins else ""
        for rows_at in blocks(row.extent if row else 1, height, threads):
            for planes_at in blocks(also.extent if also else 1, planes):
                tiles = self._tiles(vector, row, also, rows_at, planes_at, columns, first, column)
                result = join(result, tiles, 1) if joins else result + tiles
        return result

    def _tiles(
        self,
        vector: Axis,
        row: Axis | None,
        also: Axis | None,
        rows: tuple[int, int, int],
        planes: tuple[int, int, int],
        columns: int,
        first: int,
        block: str,
    ) -> list[Statement]:
        """The tiles of some blocks of rows and of planes: the first one, the size of a block, and how many blocks."""
        width = columns * self.lanes
        others = [axis for axis in self.group.domain if axis.extent > 1 and axis not in (vector, row, also)]
        shared = [axis for axis in others if all(load.index.coefficient(axis.variable) for load in self.group.inner_loads)]
        outer = [Loop(axis.variable, axis.extent) for axis in shared]
        middle = [Loop(axis.variable, axis.extent) for axis in others if axis not in shared]
        whole, rest = divmod(vector.extent - first, width)
        variants: list[tuple[list[Loop], Index, int, int]] = []
        if whole:
            block = block or self.names("j")
            self.group.body.extents[block] = whole
            variants.append(([Loop(block, whole)], Index.variable(block, width) + first, columns, 0))
        if rest:
            variants.append(([], Index(first + whole * width), rest // self.lanes, rest % self.lanes))
        result: list[Statement] = []
        for block_loops, base, vectors, tail in variants:
            bases, steps = [Index(), Index()], list[Loop]()
            for place, (start, size, count) in enumerate((planes, rows)):
                if place == 0 and also is None:
                    continue
                step = self.names("m")
                self.group.body.extents[step] = count
                bases[place] = Index.variable(step, size) + start if count > 1 else Index(start)
                steps += [Loop(step, count)] if count > 1 else []
            loops = [*middle, *steps, *block_loops] if self._stays_in_cache(vector) else [*block_loops, *middle, *steps]
            tile = Tile(self, vector, row, also, base, bases[1], bases[0], rows[1], planes[1], vectors, tail)
            result += build_nest([*outer, *loops], tile.statements())
        return result

    def _divides_rows(self, vector: Axis, columns: int, tiled: tuple[Axis | None, ...]) -> bool:
        """Whether the blocks of rows are what threads share: no other loop can be dealt out evenly, and there is work enough."""
        threads, group = self.target.threads, self.group
        steps = [axis.extent for axis in group.domain if axis not in (vector, *tiled)] + [vector.extent // (columns * self.lanes)]
        products = math.prod(axis.extent for axis in (*group.domain, *group.reduced)) * len(group.body.reductions)
        return products / self.lanes >= self.target.worth.kernel and all(n <= 1 or n % threads for n in steps)

    def _overlapping(self, vector: Axis) -> tuple[Axis, Axis | None] | None:
        """The axis, or both, along which neighbours of the result read mostly the same, as windows do: the longer one first. None where
        that is too short for a tile."""
        found = []
        for axis in reversed(self.group.domain):
            moving = [load.index for load in self.group.inner_loads if load.index.coefficient(axis.variable)]
            stays = any(load.index.coefficient(vector.variable) and load.index not in moving for load in self.group.inner_loads)
            if axis is not vector and axis.extent > 1 and stays and any(self._overlap(index, axis) for index in moving):
                found.append(axis)
        found.sort(key=lambda axis: -axis.extent)
        if len(found) > 1 and found[0].extent >= _BLOCK_ROWS:
            return found[0], found[1]
        return (found[0], None) if found and found[0].extent >= _BLOCK_ROWS * _BLOCK_PLANES else None

    def _overlap(self, index: Index, axis: Axis) -> bool:
        """A step of the axis is one of a reduced axis, or a few."""
        step = index.coefficient(axis.variable)
        others = ((other.extent, index.coefficient(other.variable)) for other in self.group.reduced)
        return any(inner and step % inner == 0 and abs(step // inner) < extent for extent, inner in others)

    def _second_row(self, vector: Axis, row: Axis) -> Axis | None:
        """Another axis that shares loads with the few rows of a tile, short enough for all of it: taps, of both axes of an image."""
        most = self.target.registers // 2 // (row.extent * len(self.group.body.reductions))
        for axis in reversed(self.group.domain):
            stays = any(
                load.index.coefficient(vector.variable) and not load.index.coefficient(axis.variable) for load in self.group.inner_loads
            )
            if axis not in (vector, row) and 1 < axis.extent <= most and stays:
                return axis
        return None

    def _takes_turns(self, vector: Axis, rows: int) -> bool:
        """Whether all rows, in tiles of two heights, take a sliver of a large matrix before they take the next one: it is packed just before
        then, where that is done outside of loops."""
        return bool(self.group.unpacked) and not self.in_loop and rows < ROWS_IN_PANELS and is_large(self._read_again(vector))

    def _stays_in_cache(self, vector: Axis) -> bool:
        """What the tiles read along the vector is small enough to be read anew for every element of the outer axes."""
        return self._read_again(vector) <= _CACHE_BYTES

    def _read_again(self, vector: Axis) -> int:
        """Bytes that the tiles read along the vector, for several elements of other axes."""
        extents = {axis.variable: axis.extent for axis in (*self.group.domain, *self.group.reduced)}
        total = 0
        for load in self.group.inner_loads:
            again = any(axis.extent > 1 and not load.index.coefficient(axis.variable) for axis in self.group.domain)
            if again and load.index.coefficient(vector.variable):
                total += math.prod(extents.get(name, 1) for name in load.index.variables()) * load.dtype.itemsize
        return total
