"""A fused group as loop nests: what each output element is, as expressions of the indices, and how the loops run.

`GroupBody` knows the meaning (the same for every schedule); `lower_group` picks a schedule from the strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from irdl.codegen.layout import Layout, broadcast_index, view_index
from irdl.codegen.nest import Loop, Names, blocks, build_nest
from irdl.passes.target import Target
from irdl.passes.tile import column_vectors, row_count
from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.printer import format_location
from irdl.ir.program import (
    Buffer,
    CheckIndex,
    Expression,
    For,
    Index,
    IndexValue,
    Let,
    Literal,
    Load,
    Operation,
    Statement,
    Store,
    Variable,
    subexpressions,
)
from irdl.ops.contract import DOT
from irdl.ops.fusion import UNPACK
from irdl.ops.index import GATHER
from irdl.ops.reduce import ALL, ANY, MAX, MIN, PROD, SUM, Reduce
from irdl.ops.shape import IOTA
from irdl.passes.fuse import is_inline_view

_COMBINE = {SUM: "add", PROD: "mul", MAX: "maximum", MIN: "minimum", ANY: "bitwise_or", ALL: "bitwise_and", DOT: "add"}


def identity_of(op, dtype: np.dtype) -> np.generic:
    """What an accumulator starts from."""
    if op in (SUM, DOT, ANY):
        return dtype.type(0)
    if op in (PROD, ALL):
        return dtype.type(1)
    if dtype.kind == "f":
        return dtype.type(-np.inf if op is MAX else np.inf)
    if dtype.kind == "b":
        return np.bool_(op is MIN)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min if op is MAX else limits.max)


@dataclass
class Scope:
    """Statements being collected at one set of indices, and what is bound already."""

    statements: list[Statement] = field(default_factory=list)
    memo: dict[tuple, Expression] = field(default_factory=dict)


class GroupBody:
    """The meaning of a group's region over the layouts of its inputs."""

    def __init__(self, region: Graph, inputs: Sequence[Layout], names: Names, checks: list[tuple[int, int, str]]) -> None:
        self.region = region
        self.layouts = dict(zip(region.inputs, inputs, strict=True))
        self.names = names
        self.checks = checks
        self.shape = region.outputs[0].shape
        self.reductions = [node for node in region.nodes if node.op is DOT or isinstance(node.op, Reduce)]
        self.analysing = False
        #: extents of all loop variables, for the views that split indices
        self.extents: dict[str, int] = {}

    def reduced_extents(self) -> tuple[int, ...]:
        """The extents of the loops that the group's accumulators share."""
        if not self.reductions:
            return ()
        node = self.reductions[0]
        if node.op is DOT:
            left, _, output = node.attributes.labels
            return tuple(n for label, n in zip(left, node.operands[0].shape, strict=True) if label not in output)
        return tuple(node.operands[0].shape[axis] for axis in node.attributes.axes)

    def expression(
        self, value: Value, index: tuple[Index, ...], scope: Scope, accumulators: dict[Node, Expression] | None = None
    ) -> Expression:
        """`value[index]`, its operations bound in `scope`. Accumulators read from `accumulators` once they are there."""
        key = (value, index)
        stack: list[tuple[Value, tuple[Index, ...]]] = [key]
        while stack:
            item = stack[-1]
            if item in scope.memo:
                stack.pop()
                continue
            missing = self._step(*item, scope, accumulators or {})
            if missing:
                stack += missing
            else:
                stack.pop()
        return scope.memo[key]

    def _step(
        self, value: Value, index: tuple[Index, ...], scope: Scope, accumulators: dict[Node, Expression]
    ) -> list[tuple[Value, tuple[Index, ...]]]:
        """Resolve one (value, index) if all it reads is resolved; otherwise what is missing."""
        memo = scope.memo
        node = value.node
        if node is None:
            layout = self.layouts[value]
            memo[value, index] = Load(layout.buffer, layout.at(index))
            return []
        if node in accumulators:
            memo[value, index] = accumulators[node]
            return []
        if node.op is CONSTANT:
            memo[value, index] = Literal(node.attributes.value.reshape(-1)[0])
            return []
        if node.op is IOTA:
            memo[value, index] = self._bind(_cast(IndexValue(index[node.attributes.axis]), value.dtype), scope)
            return []
        if node.op is UNPACK and self.analysing:
            rest = list(index)
            part = rest.pop(node.attributes.axis)
            needs = [(node.operands[0], (Index(), *rest, part))]
        elif is_inline_view(node):
            needs = [(node.operands[0], view_index(node, index, self.extents))]
        elif node.op is GATHER:
            return self._gather(node, index, scope)
        else:
            needs = [(operand, broadcast_index(index, operand.shape)) for operand in node.operands]
        missing = [need for need in needs if need not in memo]
        if missing:
            return missing
        arguments = tuple(memo[need] for need in needs)
        if is_inline_view(node):
            memo[value, index] = arguments[0]
        elif node.op.name == "cast":
            memo[value, index] = self._bind(_cast(arguments[0], value.dtype), scope)
        elif node.op.name == "stop_gradient":
            memo[value, index] = arguments[0]
        else:
            memo[value, index] = self._bind(Operation(node.op.name, arguments, value.dtype), scope)
        return []

    def _bind(self, expression: Expression, scope: Scope) -> Expression:
        if not isinstance(expression, Operation):
            return expression
        variable = Variable(self.names("t"), expression.dtype)
        scope.statements.append(Let(variable, expression))
        return variable

    def _gather(self, node: Node, index: tuple[Index, ...], scope: Scope) -> list[tuple[Value, tuple[Index, ...]]]:
        x, indices = node.operands
        axes = node.attributes.axes
        lead = len(indices.shape) - 1
        needs = [(indices, (*index[:lead], Index(column))) for column in range(len(axes))]
        missing = [need for need in needs if need not in scope.memo]
        if missing:
            return missing
        rest = list(index[lead:])
        full: list[Index] = []
        for axis in range(len(x.shape)):
            if axis in axes:
                need = needs[axes.index(axis)]
                full.append(self.checked_index(scope.memo[need], x.shape[axis], axis, node, scope))
            else:
                full.append(rest.pop(0))
        need = (x, tuple(full))
        if need not in scope.memo:
            return [need]
        scope.memo[node.output, index] = scope.memo[need]
        return []

    def checked_index(self, value: Expression, extent: int, axis: int, node: Node, scope: Scope) -> Index:
        """An index read at run time, bound once per value, made non-negative and reported if out of range."""
        key = ("checked", value, extent, axis)
        if key not in scope.memo:
            variable = Variable(self.names("k"), np.dtype(np.int64))
            self.checks.append((axis, extent, format_location(node.location)))
            scope.statements.append(CheckIndex(variable, value, extent, len(self.checks) - 1))
            scope.memo[key] = variable
        bound = scope.memo[key]
        assert isinstance(bound, Variable)
        return Index.variable(bound.name)

    def term(self, node: Node, index: tuple[Index, ...], reduced: Sequence[Index], scope: Scope) -> tuple[Expression, ...]:
        """What one step of an accumulator adds: one factor for a reduction, two for a contraction."""
        if node.op is DOT:
            left, right, output = node.attributes.labels
            place = dict(zip(output, index, strict=True))
            place.update(zip([label for label in left if label not in output], reduced, strict=True))
            return tuple(
                self.expression(operand, tuple(
                    Index() if extent == 1 else place[label] for label, extent in zip(labels, operand.shape, strict=True)
                ), scope)
                for operand, labels in zip(node.operands, (left, right), strict=True)
            )
        (operand,) = node.operands
        kept, gone = iter(index), iter(reduced)
        full = tuple(next(gone) if axis in node.attributes.axes else next(kept) for axis in range(len(operand.shape)))
        return (self.expression(operand, full, scope),)


def _cast(expression: Expression, dtype: np.dtype) -> Expression:
    return expression if expression.dtype == dtype else Operation("cast", (expression,), dtype)


def combine(node: Node, total: Expression, factors: tuple[Expression, ...]) -> Expression:
    dtype = total.dtype
    if len(factors) == 2:
        if dtype.kind == "f":
            return Operation("fma", (*factors, total), dtype)
        return Operation("add", (total, Operation("mul", factors, dtype)), dtype)
    return Operation(_COMBINE[node.op], (total, factors[0]), dtype)


#: Steps of a long reduction that are summed before they are added to the rest.
_BLOCK = 64


@dataclass
class _Axis:
    variable: str
    extent: int


class GroupLowering:
    """One group with its output layouts, on the way to statements."""

    def __init__(self, body: GroupBody, outputs: Sequence[Layout], target: Target) -> None:
        self.body = body
        self.outputs = list(outputs)
        self.target = target
        self.names = body.names
        self.domain = [_Axis(self.names("i"), extent) for extent in body.shape]
        self.reduced = [_Axis(self.names("r"), extent) for extent in body.reduced_extents()]
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
        for value in body.region.outputs:
            body.expression(value, index, outer, stand_in)
        del body.checks[checks:]
        body.analysing = False
        self.inner_loads = _loads(inner)
        self.outer_loads = _loads(outer)
        self.stores = [layout.at(index) for layout in self.outputs]
        self.uses_indices = any(isinstance(e, IndexValue) for e in _leaves(inner) + _leaves(outer))
        # The widest dtype sets the lanes; the indices of a gather are read one at a time.
        dtypes = {layout.buffer.dtype for layout in self.outputs}
        for node in body.region.nodes:
            operands = node.operands[:1] if node.op is GATHER else node.operands
            dtypes.update(v.dtype for v in (*operands, *node.outputs) if v.shape)
        self.lanes = min(self.target.lanes(dtype) for dtype in dtypes)
        self.unpacked = {
            node.attributes.width for node in body.region.nodes if node.op is UNPACK
        }

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
        return self._across(None if across is None else across[1])

    def _collapse(self) -> None:
        """Merge neighbouring axes that every access walks as one."""
        if self.uses_indices or self.body.reductions or self.unpacked:
            return
        accesses = [load.index for load in self.outer_loads] + self.stores
        self.collapsed: dict[str, int] = {}
        for place in reversed(range(len(self.domain) - 1)):
            left, right = self.domain[place], self.domain[place + 1]
            if all(a.coefficient(left.variable) == a.coefficient(right.variable) * right.extent for a in accesses) or left.extent == 1:
                right.extent *= left.extent
                left.extent = 1

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

    def _best(self, axes: Sequence[_Axis], over_domain: bool) -> tuple[float, _Axis] | None:
        """The axis whose neighbours lie next to each other in most accesses, with its score."""
        best: tuple[float, _Axis] | None = None
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
            return build_nest(loops, self._element(None, Index()))
        vector = best[1]
        whole, rest = divmod(vector.extent, self.lanes)
        lane = self.names("l")
        result: list[Statement] = []
        if whole:
            block = self.names("b")
            index = Index.variable(block, self.lanes) + Index.variable(lane)
            nest = [*loops, Loop(block, whole), Loop(lane, self.lanes, "vector", self.lanes)]
            self.body.extents.update({block: whole, lane: self.lanes})
            result += build_nest(nest, self._element(vector, index))
        if rest:
            index = Index.variable(lane) + whole * self.lanes
            result += build_nest([*loops, Loop(lane, rest, "vector", self.lanes)], self._element(vector, index))
        return result

    def _index(self, places: dict[str, Index]) -> tuple[Index, ...]:
        """The domain index with some axes placed, axes of one element at 0, the others at their variables."""
        return tuple(
            places[axis.variable] if axis.variable in places else Index.variable(axis.variable) if axis.extent > 1 else Index()
            for axis in self.domain
        )

    def _element(self, vector: _Axis | None, place: Index, accumulators: dict[Node, Expression] | None = None, more: dict[str, Index] | None = None) -> list[Statement]:
        """The statements that compute and store the outputs at one index."""
        places = dict(more or {})
        if vector is not None:
            places[vector.variable] = place
        index = self._index(places)
        scope = Scope()
        values = [self.body.expression(value, index, scope, accumulators) for value in self.body.region.outputs]
        stores = [Store(layout.buffer, layout.at(index), value) for layout, value in zip(self.outputs, values, strict=True)]
        return [*scope.statements, *stores]

    # Contractions and reductions with a vector over an output axis.

    def _tiled(self, vector: _Axis) -> list[Statement]:
        nodes = self.body.reductions
        row = self._row_axis(vector)
        rows = row.extent if row else 1
        if self.unpacked:
            columns = min(self.unpacked) // self.lanes
        else:
            columns = column_vectors(rows, vector.extent, len(nodes), self.lanes, self.target.registers)
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
                loops = [
                    *(Loop(axis.variable, axis.extent) for axis in shared),
                    *block_loops,
                    *(Loop(axis.variable, axis.extent) for axis in free),
                    *([Loop(step, count)] if count > 1 else []),
                ]
                tile = _Tile(self, vector, row, base, row_base, size, vectors, tail)
                result += build_nest(loops, tile.statements())
        return result

    def _row_axis(self, vector: _Axis) -> _Axis | None:
        """An output axis along which some load stays put: its rows share that load."""
        best: tuple[int, _Axis] | None = None
        for axis in self.domain:
            if axis is vector or axis.extent < 2:
                continue
            if any(load.index.coefficient(vector.variable) and not load.index.coefficient(axis.variable) for load in self.inner_loads) and (
                best is None or axis.extent >= best[0]
            ):
                best = (axis.extent, axis)
        return best[1] if best else None

    # Reductions with a vector over a reduced axis.

    def _across(self, vector: _Axis | None) -> list[Statement]:
        loops = [Loop(axis.variable, axis.extent) for axis in self.domain if axis.extent > 1]
        others = [axis for axis in self.reduced if axis is not vector]
        lanes = self.lanes if vector is not None else 1
        unroll = 4 if vector is not None and vector.extent >= 4 * lanes else 1
        nodes = self.body.reductions
        tiles = {node: Buffer(self.names("acc"), node.output.dtype, unroll * lanes, "register") for node in nodes}
        lane = self.names("l")
        statements: list[Statement] = []
        for node, tile in tiles.items():
            start = Literal(identity_of(node.op, tile.dtype))
            for part in range(unroll):
                statements += _lane_loop(lane, lanes, [Store(tile, Index.variable(lane) + part * lanes, start)], vector)
        statements += self._accumulate_across(vector, others, tiles, lanes, unroll, lane)
        for node, tile in tiles.items():
            for part in range(1, unroll):
                total = combine_tiles(node, tile, Index.variable(lane), Index.variable(lane) + part * lanes)
                statements += _lane_loop(lane, lanes, [total], vector)
        accumulators: dict[Node, Expression] = {}
        for node, tile in tiles.items():
            total: Expression = Load(tile, Index(0))
            for place in range(1, lanes):
                variable = Variable(self.names("h"), tile.dtype)
                statements.append(_Late(Let(variable, Operation(_COMBINE[node.op], (total, Load(tile, Index(place))), tile.dtype))))
                total = variable
            accumulators[node] = total
        statements += [_Late(s) for s in self._element(None, Index(), accumulators)]
        return _build_late(loops, statements)

    def _accumulate_across(
        self, vector: _Axis | None, others: list[_Axis], tiles: dict[Node, Buffer], lanes: int, unroll: int, lane: str
    ) -> list[Statement]:
        def step(place: Index | None, part: int) -> list[Statement]:
            scope = Scope()
            index = self._index({})
            stores: list[Statement] = []
            reduced = [
                place if axis is vector and place is not None else Index.variable(axis.variable) if axis.extent > 1 else Index()
                for axis in self.reduced
            ]
            for node, tile in tiles.items():
                factors = self.body.term(node, index, reduced, scope)
                where = Index.variable(lane) + part * lanes if vector is not None else Index()
                stores.append(Store(tile, where, combine(node, Load(tile, where), factors)))
            return [*scope.statements, *stores]

        outer = [Loop(axis.variable, axis.extent) for axis in others if axis.extent > 1]
        if any(axis.extent == 0 for axis in self.reduced):
            return []
        if vector is None:
            return self._blocked(outer[:-1], outer[-1:], step(None, 0), tiles, 1, lane)
        result: list[Statement] = []
        size = unroll * lanes
        whole, rest = divmod(vector.extent, size)
        if whole:
            block = self.names("b")
            parts: list[Statement] = []
            for part in range(unroll):
                place = Index.variable(block, size) + Index.variable(lane) + part * lanes
                parts += build_nest([Loop(lane, lanes, "vector", lanes)], step(place, part))
            result += self._blocked(outer, [Loop(block, whole)], parts, tiles, size, lane)
        done = whole * size
        whole, tail = divmod(rest, lanes)
        if whole:
            block = self.names("b")
            place = Index.variable(block, lanes) + Index.variable(lane) + done
            result += build_nest([*outer, Loop(block, whole), Loop(lane, lanes, "vector", lanes)], step(place, 0))
        if tail:
            place = Index.variable(lane) + (done + whole * lanes)
            result += build_nest([*outer, Loop(lane, tail, "vector", lanes)], step(place, 0))
        return result


    def _blocked(
        self, outer: list[Loop], last: list[Loop], body: list[Statement], tiles: dict[Node, Buffer], size: int, lane: str
    ) -> list[Statement]:
        """The last reduced loop; where it is long, sums run in blocks that are added up on the way, so that rounding
        grows with the number of blocks and not of elements."""
        sums = {node: tile for node, tile in tiles.items() if _COMBINE[node.op] == "add" and tile.dtype.kind == "f"}
        if not last or last[0].extent < 4 * _BLOCK or not sums:
            return build_nest([*outer, *last], body)
        (loop,) = last
        count, rest = divmod(loop.extent, _BLOCK)
        number, within = self.names("b"), self.names("b")
        place = Index.variable(number, _BLOCK) + Index.variable(within)
        lanes = self.lanes if size > 1 else 1
        vector = _Axis("", size) if size > 1 else None
        flush: list[Statement] = []
        start: list[Statement] = []
        end: list[Statement] = []
        for node, tile in sums.items():
            total = Buffer(self.names("total"), tile.dtype, tile.size, "register")
            zero = Literal(identity_of(node.op, tile.dtype))
            for part in range(tile.size // lanes):
                at = Index.variable(lane) + part * lanes
                both = Operation("add", (Load(total, at), Load(tile, at)), tile.dtype)
                start += _lane_loop(lane, lanes, [Store(total, at, zero)], vector)
                flush += _lane_loop(lane, lanes, [Store(total, at, both), Store(tile, at, zero)], vector)
                end += _lane_loop(lane, lanes, [Store(tile, at, both)], vector)
        block = [For(within, 0, _BLOCK, 1, "serial", substitute(body, {loop.variable: place})), *flush]
        result = [*start, *build_nest([*outer, Loop(number, count)], block)]
        if rest:
            place = Index.variable(within) + count * _BLOCK
            result += build_nest([*outer, Loop(within, rest)], substitute(body, {loop.variable: place}))
        return [*result, *end]


def substitute(body: Sequence[Statement], values: dict[str, Index]) -> list[Statement]:
    """`body` with loop variables replaced by indices."""

    def index(old: Index) -> Index:
        return old.substitute(values)

    def value(old: Expression) -> Expression:
        if isinstance(old, Load):
            return Load(old.buffer, index(old.index))
        if isinstance(old, IndexValue):
            return IndexValue(index(old.index))
        if isinstance(old, Operation):
            return Operation(old.name, tuple(value(a) for a in old.arguments), old.dtype)
        return old

    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, For):
            inner = substitute(statement.body, values)
            result.append(For(statement.variable, statement.start, statement.stop, statement.step, statement.kind, inner, statement.lanes))
        elif isinstance(statement, Let):
            result.append(Let(statement.variable, value(statement.value)))
        elif isinstance(statement, Store):
            result.append(Store(statement.buffer, index(statement.index), value(statement.value)))
        else:
            assert isinstance(statement, CheckIndex)
            result.append(CheckIndex(statement.variable, value(statement.value), statement.extent, statement.code))
    return result


def combine_tiles(node: Node, tile: Buffer, to: Index, source: Index) -> Store:
    """`tile[to] = tile[to] (+) tile[source]`."""
    return Store(tile, to, Operation(_COMBINE[node.op], (Load(tile, to), Load(tile, source)), tile.dtype))


class _Late:
    """Marks a statement that must stay behind the ones before it (it reads an accumulator)."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement


def _build_late(loops: list[Loop], statements: list) -> list[Statement]:
    """A nest whose innermost body is `statements` in the order given."""
    body = [s.statement if isinstance(s, _Late) else s for s in statements]
    for loop in reversed(loops):
        body = [For(loop.variable, 0, loop.extent, 1, loop.kind, body)]
    return body


def _lane_loop(lane: str, lanes: int, body: list[Statement], vector: _Axis | None) -> list[Statement]:
    if vector is None:
        return substitute(body, {lane: Index()})
    return [For(lane, 0, lanes, 1, "vector", body, lanes)]


class _Tile:
    """A register tile: `size` rows by `vectors` vectors (and one of `tail` lanes) for every accumulator."""

    def __init__(
        self, lowering: GroupLowering, vector: _Axis, row: _Axis | None, base: Index, row_base: Index, size: int, vectors: int, tail: int
    ) -> None:
        self.lowering, self.vector, self.row = lowering, vector, row
        self.base, self.row_base = base, row_base
        self.size, self.vectors, self.tail = size, vectors, tail
        names = lowering.names
        self.r, self.v, self.lane = names("u"), names("v"), names("l")
        lowering.body.extents.update({self.r: size, self.v: max(vectors, 1), self.lane: lowering.lanes})
        self.across = vectors + (1 if tail else 0)
        self.registers = {
            node: Buffer(names("acc"), node.output.dtype, size * self.across * lowering.lanes, "register")
            for node in lowering.body.reductions
        }

    def statements(self) -> list[Statement]:
        lowering = self.lowering
        result: list[Statement] = []
        result += self._each(
            lambda v: [
                Store(tile, self._place(v), Literal(identity_of(node.op, tile.dtype))) for node, tile in self.registers.items()
            ]
        )
        if all(axis.extent for axis in lowering.reduced):
            result += self._reduce()
        result += self._each(self._epilogue)
        return result

    def _reduce(self) -> list[Statement]:
        """The loops over the reduced axes, the innermost one unrolled by four."""
        axes = [axis for axis in self.lowering.reduced if axis.extent > 1]
        if not axes:
            return self._each(lambda v: self._accumulate(v, {}))
        *outer, last = axes
        loops = [Loop(axis.variable, axis.extent) for axis in outer]
        result: list[Statement] = []
        whole, rest = divmod(last.extent, 4)
        if whole:
            u = self.lowering.names("u")
            place = Index.variable(last.variable, 4) + Index.variable(u)
            inner = self._each(lambda v: self._accumulate(v, {last.variable: place}))
            result += _build_late([*loops, Loop(last.variable, whole)], [For(u, 0, 4, 1, "unrolled", inner)])
        for step in range(rest):
            place = Index(whole * 4 + step)
            result += _build_late(loops, self._each(lambda v, place=place: self._accumulate(v, {last.variable: place})))
        return result

    def _each(self, make) -> list[Statement]:
        """`make(v)` for every row and vector of the tile."""
        lanes = self.lowering.lanes
        row = Loop(self.r, self.size, "unrolled")
        result: list[Statement] = []
        if self.vectors:
            loops = [row, Loop(self.v, self.vectors, "unrolled"), Loop(self.lane, lanes, "vector", lanes)]
            result += build_nest(loops, make(Index.variable(self.v)))
        if self.tail:
            result += build_nest([row, Loop(self.lane, self.tail, "vector", lanes)], make(Index(self.vectors)))
        return result

    def _place(self, v: Index) -> Index:
        lanes = self.lowering.lanes
        return Index.variable(self.r, self.across * lanes) + v * lanes + Index.variable(self.lane)

    def _places(self, v: Index) -> dict[str, Index]:
        places = {self.vector.variable: self.base + v * self.lowering.lanes + Index.variable(self.lane)}
        if self.row is not None:
            places[self.row.variable] = self.row_base + Index.variable(self.r)
        return places

    def _accumulate(self, v: Index, reduced: dict[str, Index]) -> list[Statement]:
        lowering = self.lowering
        scope = Scope()
        index = lowering._index(self._places(v))
        place = self._place(v)
        steps = [
            reduced.get(axis.variable, Index.variable(axis.variable) if axis.extent > 1 else Index()) for axis in lowering.reduced
        ]
        stores: list[Statement] = []
        for node, tile in self.registers.items():
            factors = lowering.body.term(node, index, steps, scope)
            stores.append(Store(tile, place, combine(node, Load(tile, place), factors)))
        return [*scope.statements, *stores]

    def _epilogue(self, v: Index) -> list[Statement]:
        accumulators: dict[Node, Expression] = {
            node: Load(tile, self._place(v)) for node, tile in self.registers.items()
        }
        return self.lowering._element(None, Index(), accumulators, self._places(v))


def _stride_score(coefficient: int, extent: int) -> float:
    if coefficient == 1:
        return 1.0
    if coefficient == 0:
        return 0.1
    return -1.0


def _loads(scope: Scope) -> list[Load]:
    return [e for e in scope.memo.values() if isinstance(e, Load)]


def _leaves(scope: Scope) -> list[Expression]:
    found: list[Expression] = list(scope.memo.values())
    for statement in scope.statements:
        if isinstance(statement, (Let, CheckIndex)):
            found += subexpressions(statement.value)
    return found


def lower_group(body: GroupBody, outputs: Sequence[Layout], target: Target) -> list[Statement]:
    """The statements of one group: it writes `outputs`, which share the group's shape."""
    return GroupLowering(body, outputs, target).lower()

