"""A group of nodes with all that it reads and writes, each access an affine index of the group's axes. It is made once; schedules read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from irdl.codegen.lowering.body import GroupBody, Scope
from irdl.codegen.lowering.layout import Layout
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.loops.expressions import Buffer, Expression, IndexValue, Load, Variable
from irdl.loops.index import Index, part_of_run
from irdl.loops.language import Check, CheckIndex, Let, Statement, Store
from irdl.loops.rewrite import Names
from irdl.loops.walk import subexpressions
from irdl.ops.contract import DOT
from irdl.ops.fusion import UNPACK
from irdl.ops.index import GATHER
from irdl.ops.shape import SLICE


@dataclass(frozen=True)
class Axis:
    """An axis of the group's shape, or one that it reduces: a loop variable and how far it runs."""

    variable: str
    extent: int


@dataclass(frozen=True)
class Group:
    """
    Attributes:
        body: what the group computes.
        values, outputs: what it stores, and where.
        domain, reduced: the axes of its shape, and those of its accumulators' terms.
        inner_loads, outer_loads: what the terms read, and what is read around them.
        stores: where an element of each output goes.
        looked_up: variables that the data give, bound where they are used.
        uses_indices: whether it computes with places, so that no two axes may become one.
        dtypes: of all that it computes with.
        term_dtypes: of its reductions, and of what their terms are made of.
        unpacked: how wide the slivers are that it reads packed matrices in.
        across_slivers: the variables of the axes that those are cut along, which can only be read a sliver at a time.
    """

    body: GroupBody
    values: tuple[Value, ...]
    outputs: tuple[Layout, ...]
    domain: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    inner_loads: tuple[Load, ...]
    outer_loads: tuple[Load, ...]
    stores: tuple[Index, ...]
    looked_up: frozenset[str]
    uses_indices: bool
    dtypes: frozenset[np.dtype]
    term_dtypes: frozenset[np.dtype]
    unpacked: frozenset[int]
    across_slivers: frozenset[str]

    def index(self, places: Mapping[str, Index]) -> tuple[Index, ...]:
        """The domain index with some axes placed, axes of one element at 0, the others at their variables."""
        return tuple(
            places[axis.variable] if axis.variable in places else Index.variable(axis.variable) if axis.extent > 1 else Index()
            for axis in self.domain
        )

    def element(self, places: Mapping[str, Index], accumulators: dict[Node, Expression] | None = None) -> list[Statement]:
        """The statements that compute and store the outputs at one index."""
        index = self.index(places)
        scope = Scope()
        values = [self.body.expression(value, index, scope, accumulators) for value in self.values]
        stores = [Store(layout.buffer, layout.at(index), value) for layout, value in zip(self.outputs, values, strict=True)]
        return [*scope.statements, *stores]

    def is_columns(self, axis: Axis) -> bool:
        """A contraction reads neighbours along the axis, which tiles and packing cut."""
        return any(load.index.coefficient(axis.variable) == 1 for load in self.inner_loads)

    def contiguous_axis(self, axes: Sequence[Axis], over_domain: bool, lanes: int) -> tuple[float, Axis] | None:
        """The axis whose neighbours lie next to each other in most accesses, with its score. `over_domain`: stores count as well, but
        beside a reduction, which reads on for each result, all that is done once counts as one load and one store."""
        best: tuple[float, Axis] | None = None
        for axis in axes:
            if axis.extent < 2:
                continue
            score = sum(_stride_scores([(load.buffer, load.index) for load in self.inner_loads], axis)) * 4
            if over_domain:
                loads = _stride_scores([(load.buffer, load.index) for load in self.outer_loads], axis)
                stores = _stride_scores([(x.buffer, index) for x, index in zip(self.outputs, self.stores, strict=False)], axis)
                once = bool(self.inner_loads)
                score += sum(loads) / (max(1, len(loads)) if once else 1) + 3 * sum(stores) / (max(1, len(stores)) if once else 1)
            if axis.extent < lanes // 2:
                score -= 1
            if score > 0 and (best is None or score >= best[0]):
                best = (score, axis)
        return best

    def dtypes_along(self, axis: Axis) -> set[np.dtype]:
        """Of all that the axis goes along in memory."""
        loads = (*self.inner_loads, *self.outer_loads)
        found = {load.dtype for load in loads if load.index.coefficient(axis.variable)}
        return found | {x.buffer.dtype for x, index in zip(self.outputs, self.stores, strict=True) if index.coefficient(axis.variable)}

    def shared_axis(self, vector: Axis) -> Axis | None:
        """An axis of the result along which some load of neighbours along `vector` stays put: its rows share that load."""
        best: tuple[int, Axis] | None = None
        for axis in self.domain:
            if axis is vector or axis.extent < 2:
                continue
            if any(load.index.coefficient(vector.variable) and not load.index.coefficient(axis.variable) for load in self.inner_loads) and (
                best is None or axis.extent >= best[0]
            ):
                best = (axis.extent, axis)
        return best[1] if best else None

    def merged(self) -> Group:
        """Neighbouring axes that every access walks as one, as one; those that a contraction reads columns along stay."""
        if self.uses_indices:
            return self
        accesses = [load.index for load in (*self.inner_loads, *self.outer_loads)] + list(self.stores)
        columns = {axis.variable for axis in self.domain if self.body.reductions and self.is_columns(axis)}
        reduced = self.reduced
        if self.body.reductions:
            reduced = _merged(reduced, [load.index for load in self.inner_loads], keep=set(), drops_ones=False)
        return replace(self, domain=_merged(self.domain, accesses, columns, drops_ones=True), reduced=reduced)


def _stride_scores(accesses: Sequence[tuple[Buffer, Index]], axis: Axis) -> list[float]:
    """How good it is for each access that the vector lies along an axis."""

    def score(buffer: Buffer, index: Index) -> float:
        step = index.coefficient(axis.variable)
        if step in (0, 1):
            return 1.0 if step else 0.1
        return -1.0 if part_of_run(buffer, index, axis.variable, there) is None else 0.5

    there = set(accesses)
    return [score(buffer, index) for buffer, index in accesses]


def _merged(axes: Sequence[Axis], accesses: Sequence[Index], keep: set[str], drops_ones: bool) -> tuple[Axis, ...]:
    found = list(axes)
    for place in reversed(range(len(found) - 1)):
        left, right = found[place], found[place + 1]
        if right.variable in keep:
            continue
        alike = all(a.coefficient(left.variable) == a.coefficient(right.variable) * right.extent for a in accesses)
        if alike or (drops_ones and left.extent == 1):
            found[place : place + 2] = [Axis(left.variable, 1), Axis(right.variable, left.extent * right.extent)]
    return tuple(found)


def group_of(region: Graph, inputs: Sequence[Layout], stored: Iterable[tuple[Value, Layout]], names: Names, checks: list[Check]) -> Group:
    """A fused node's region over the layouts of its inputs, and where its values are stored."""
    values, outputs = (tuple(items) for items in zip(*stored, strict=True))
    body = GroupBody(region, inputs, names, checks)
    domain = tuple(Axis(names("i"), extent) for extent in body.shape)
    reduced = tuple(Axis(names("r"), extent) for extent in body.reduced_extents())
    body.extents.update((axis.variable, axis.extent) for axis in (*domain, *reduced))
    # What is bound on the way, and the checks, are of no account: a body of its own collects the accesses.
    analysis = GroupBody(region, inputs, names, [], whole_slivers=True)
    analysis.extents.update(body.extents)
    index = tuple(Index.variable(axis.variable) for axis in domain)
    inner, outer = Scope(), Scope()
    for node in body.reductions:
        analysis.term(node, index, [Index.variable(axis.variable) for axis in reduced], inner)
    stand_in: dict[Node, Expression] = {node: Variable("accumulator", node.output.dtype) for node in body.reductions}
    for value in values:
        analysis.expression(value, index, outer, stand_in)
    terms = [value for node in body.reductions for value in node.operands]
    return Group(
        body,
        values,
        outputs,
        domain,
        reduced,
        _loads(inner),
        _loads(outer),
        tuple(layout.at(index) for layout in outputs),
        frozenset(s.variable.name for scope in (inner, outer) for s in scope.statements if isinstance(s, CheckIndex)),
        any(isinstance(e, IndexValue) for e in _leaves(inner) + _leaves(outer)),
        frozenset(layout.buffer.dtype for layout in outputs) | _dtypes(region.nodes),
        _dtypes([*body.reductions, *reachable_nodes(terms)]),
        frozenset(width for width, _ in _slivers(region)),
        frozenset(domain[place].variable for _, place in _slivers(region)),
    )


def _dtypes(nodes: Iterable[Node]) -> frozenset[np.dtype]:
    """The places of a gather are read one at a time, and so are numbers."""
    operands = (value for node in nodes for value in (*(node.operands[:1] if node.op is GATHER else node.operands), *node.outputs))
    return frozenset(value.dtype for value in operands if value.shape)


def _slivers(region: Graph) -> set[tuple[int, int]]:
    """Of the operands that are packed along an axis of the result: how wide, and which. (One packed along what is summed is only
    transposed.)"""
    found = set()
    for node in region.nodes:
        if node.op is DOT:
            *labels, output = node.attributes.labels
            for value, own in zip(node.operands, labels, strict=True):
                while value.node is not None and value.node.op is SLICE:
                    (value,) = value.node.operands
                if value.node is not None and value.node.op is UNPACK and own[value.node.attributes.axis] in output:
                    found.add((value.node.attributes.width, output.index(own[value.node.attributes.axis])))
    return found


def _loads(scope: Scope) -> tuple[Load, ...]:
    return tuple(dict.fromkeys(e for e in scope.memo.values() if isinstance(e, Load)))


def _leaves(scope: Scope) -> list[Expression]:
    found: list[Expression] = list(scope.memo.values())
    for statement in scope.statements:
        if isinstance(statement, (Let, CheckIndex)):
            found += subexpressions(statement.value)
    return found
