"""A fused group as loop nests. The schedule follows from the strides: which axis becomes the vector, which the rows of a
register tile, and which neighbouring axes are walked as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.codegen.across import Across
from irdl.codegen.axis import Axis
from irdl.codegen.body import GroupBody, Scope
from irdl.codegen.layout import Layout
from irdl.codegen.nest import Loop, blocks, build_nest, join, narrow_lanes
from irdl.codegen.tiled import Tile
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.language import CheckIndex, Expression, IndexValue, Let, Load, Statement, Store, Variable
from irdl.loops.target import Target
from irdl.loops.walk import subexpressions
from irdl.ops.fusion import UNPACK
from irdl.ops.index import GATHER
from irdl.passes.tile import column_vectors, row_count

#: Half of a small second-level cache.
_CACHE_BYTES = 256 * 1024


class GroupLowering:
    """One group with the values it stores and where, on the way to statements."""

    def __init__(self, body: GroupBody, stored: Sequence[tuple[Value, Layout]], target: Target) -> None:
        self.body = body
        self.values = [value for value, _ in stored]
        self.outputs = [layout for _, layout in stored]
        self.target = target
        self.names = body.names
        self.domain = [Axis(self.names("i"), extent) for extent in body.shape]
        self.reduced = [Axis(self.names("r"), extent) for extent in body.reduced_extents()]
        self._analyse()

    def _analyse(self) -> None:
        """Collect every access as an affine index of the axes."""
        body = self.body
        body.analysing = True
        body.extents = {axis.variable: axis.extent for axis in (*self.domain, *self.reduced)}
        index = tuple(Index.variable(axis.variable) for axis in self.domain)
        reduced = [Index.variable(axis.variable) for axis in self.reduced]
        checks = len(body.checks)
        inner, outer = Scope(), Scope()
        for node in body.reductions:
            body.term(node, index, reduced, inner)
        stand_in: dict[Node, Expression] = {node: Variable("accumulator", node.output.dtype) for node in body.reductions}
        for value in self.values:
            body.expression(value, index, outer, stand_in)
        del body.checks[checks:]
        body.analysing = False
        self.inner_loads = _loads(inner)
        self.outer_loads = _loads(outer)
        #: variables that the data give, bound where they are used
        self.looked_up = {s.variable.name for scope in (inner, outer) for s in scope.statements if isinstance(s, CheckIndex)}
        self.stores = [layout.at(index) for layout in self.outputs]
        self.uses_indices = any(isinstance(e, IndexValue) for e in _leaves(inner) + _leaves(outer))
        # The widest dtype sets the lanes; the indices of a gather are read one at a time.
        dtypes = {layout.buffer.dtype for layout in self.outputs}
        for node in body.region.nodes:
            operands = node.operands[:1] if node.op is GATHER else node.operands
            dtypes.update(v.dtype for v in (*operands, *node.outputs) if v.shape)
        self.lanes = min(self.target.lanes(dtype) for dtype in dtypes)
        self.unpacked = {node.attributes.width for node in body.region.nodes if node.op is UNPACK}

    def lower(self) -> list[Statement]:
        if any(extent == 0 for extent in self.body.shape):
            return []
        self._collapse()
        if not self.body.reductions:
            return self._elementwise()
        self._collapse_reduced()
        vector = self._best(self.domain, over_domain=True)
        across = self._best(self.reduced, over_domain=False)
        if vector is not None and (across is None or vector[0] >= across[0]):
            return self._tiled(vector[1])
        return Across(self, None if across is None else across[1]).statements()

    def _collapse(self) -> None:
        """Merge neighbouring axes that every access walks as one."""
        if self.uses_indices:
            return
        accesses = [load.index for load in (*self.inner_loads, *self.outer_loads)] + self.stores
        for place in reversed(range(len(self.domain) - 1)):
            left, right = self.domain[place], self.domain[place + 1]
            if self.body.reductions and self._is_columns(right):
                continue
            if all(a.coefficient(left.variable) == a.coefficient(right.variable) * right.extent for a in accesses) or left.extent == 1:
                right.extent *= left.extent
                left.extent = 1

    def _is_columns(self, axis: Axis) -> bool:
        """A contraction reads neighbours along the axis, which tiles and packing cut."""
        return any(load.index.coefficient(axis.variable) == 1 for load in self.inner_loads)

    def _collapse_reduced(self) -> None:
        """The same for reduced axes: `sum(x, (0, 1))` walks a contiguous x as one line."""
        if self.uses_indices or self.unpacked:
            return
        accesses = [load.index for load in self.inner_loads]
        for place in reversed(range(len(self.reduced) - 1)):
            left, right = self.reduced[place], self.reduced[place + 1]
            if all(a.coefficient(left.variable) == a.coefficient(right.variable) * right.extent for a in accesses):
                right.extent *= left.extent
                left.extent = 1

    def _best(self, axes: Sequence[Axis], over_domain: bool) -> tuple[float, Axis] | None:
        """The axis whose neighbours lie next to each other in most accesses, with its score."""
        best: tuple[float, Axis] | None = None
        for axis in axes:
            if axis.extent < 2:
                continue
            score = sum(_stride_score(load.index.coefficient(axis.variable), axis.extent) for load in self.inner_loads) * 4
            if over_domain:
                score += sum(_stride_score(load.index.coefficient(axis.variable), axis.extent) for load in self.outer_loads)
                score += 3 * sum(_stride_score(store.coefficient(axis.variable), axis.extent) for store in self.stores)
            if axis.extent < self.lanes // 2:
                score -= 1
            if score > 0 and (best is None or score >= best[0]):
                best = (score, axis)
        return best

    # Elementwise groups.

    def _elementwise(self) -> list[Statement]:
        best = self._best(self.domain, over_domain=True)
        others = [axis for axis in self.domain if axis.extent > 1 and (best is None or axis is not best[1])]
        loops = [Loop(axis.variable, axis.extent) for axis in others]
        if best is None:
            return build_nest(loops, self.element(None, Index()))
        vector = best[1]
        whole, rest = divmod(vector.extent, self.lanes)
        lane = self.names("l")
        result: list[Statement] = []
        if whole:
            block = self.names("b")
            index = Index.variable(block, self.lanes) + Index.variable(lane)
            nest = [*loops, Loop(block, whole), Loop(lane, self.lanes, "vector", self.lanes)]
            self.body.extents.update({block: whole, lane: self.lanes})
            result += build_nest(nest, self.element(vector, index))
        if rest:
            lane = self.names("l")  # runs less far, which arguments about indices need to know
            index = Index.variable(lane) + whole * self.lanes
            tail = build_nest([*loops, Loop(lane, rest, "vector", narrow_lanes(rest, self.lanes))], self.element(vector, index))
            result = join(result, tail, len(loops))
        return result

    def index(self, places: dict[str, Index]) -> tuple[Index, ...]:
        """The domain index with some axes placed, axes of one element at 0, the others at their variables."""
        return tuple(
            places[axis.variable] if axis.variable in places else Index.variable(axis.variable) if axis.extent > 1 else Index()
            for axis in self.domain
        )

    def element(
        self, vector: Axis | None, place: Index, accumulators: dict[Node, Expression] | None = None, more: dict[str, Index] | None = None
    ) -> list[Statement]:
        """The statements that compute and store the outputs at one index."""
        places = dict(more or {})
        if vector is not None:
            places[vector.variable] = place
        index = self.index(places)
        scope = Scope()
        values = [self.body.expression(value, index, scope, accumulators) for value in self.values]
        stores = [Store(layout.buffer, layout.at(index), value) for layout, value in zip(self.outputs, values, strict=True)]
        return [*scope.statements, *stores]

    # Contractions and reductions with a vector over an output axis.

    def _tiled(self, vector: Axis) -> list[Statement]:
        nodes = self.body.reductions
        row = self._row_axis(vector)
        rows = row.extent if row else 1
        if self.unpacked:
            columns = min(self.unpacked) // self.lanes
        else:
            columns = column_vectors(rows, vector.extent, len(nodes), self.lanes, self.target.registers, packed=False)
        height = row_count(rows, columns, len(nodes), self.target.registers)
        width = columns * self.lanes
        others = [axis for axis in self.domain if axis.extent > 1 and axis is not vector and axis is not row]
        shared = [axis for axis in others if all(load.index.coefficient(axis.variable) for load in self.inner_loads)]
        free = [axis for axis in others if axis not in shared]
        whole, rest = divmod(vector.extent, width)
        result: list[Statement] = []
        for first, size, count in blocks(rows, height):
            variants: list[tuple[list[Loop], Index, int, int]] = []
            if whole:
                block = self.names("j")
                self.body.extents[block] = whole
                variants.append(([Loop(block, whole)], Index.variable(block, width), columns, 0))
            if rest:
                variants.append(([], Index(whole * width), rest // self.lanes, rest % self.lanes))
            for block_loops, base, vectors, tail in variants:
                step = self.names("m")
                self.body.extents[step] = count
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
        extents = {axis.variable: axis.extent for axis in (*self.domain, *self.reduced)}
        total = 0
        for load in self.inner_loads:
            if load.index.coefficient(vector.variable):
                total += math.prod(extents.get(name, 1) for name in load.index.variables()) * load.dtype.itemsize
        return total <= _CACHE_BYTES

    def _row_axis(self, vector: Axis) -> Axis | None:
        """An output axis along which some load stays put: its rows share that load."""
        best: tuple[int, Axis] | None = None
        for axis in self.domain:
            if axis is vector or axis.extent < 2:
                continue
            if any(load.index.coefficient(vector.variable) and not load.index.coefficient(axis.variable) for load in self.inner_loads) and (
                best is None or axis.extent >= best[0]
            ):
                best = (axis.extent, axis)
        return best[1] if best else None


def _stride_score(coefficient: int, extent: int) -> float:
    if coefficient == 1:
        return 1.0
    if coefficient == 0:
        return 0.1
    return -1.0


def _loads(scope: Scope) -> list[Load]:
    return list(dict.fromkeys(e for e in scope.memo.values() if isinstance(e, Load)))


def _leaves(scope: Scope) -> list[Expression]:
    found: list[Expression] = list(scope.memo.values())
    for statement in scope.statements:
        if isinstance(statement, (Let, CheckIndex)):
            found += subexpressions(statement.value)
    return found


def lower_group(body: GroupBody, stored: Sequence[tuple[Value, Layout]], target: Target) -> list[Statement]:
    """The statements of one group: it writes values of one shape, each to its layouts."""
    return GroupLowering(body, stored, target).lower()
