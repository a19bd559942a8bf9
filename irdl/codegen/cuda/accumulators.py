"""A reduction on its way to loops: its accumulators, and what a step adds to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from irdl.codegen.cuda.dealing import WARP
from irdl.codegen.lowering.body import Scope, combine
from irdl.codegen.lowering.group import Axis, Group
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Literal, Load
from irdl.loops.index import Index
from irdl.loops.language import For, Statement, Store
from irdl.loops.target import Gpu
from irdl.ops.reduce import identity_of

#: from a factor and a row to where it is at hand
Known: TypeAlias = Callable[[Value, int], Expression | None]


def nothing(value: Value, row: int) -> Expression | None:
    return None


class Reduction:
    """
    Attributes:
        nodes: the reductions of the group.
        results, terms: how many there are of each.
        is_whole: terms are at all places, so that what several of them read may be found out before them.
        may_be_cut: blocks may share the terms of a result.
    """

    is_whole, may_be_cut = True, True

    def __init__(self, group: Group, gpu: Gpu) -> None:
        self.group = group
        self.gpu = gpu
        self.nodes = group.body.reductions
        self.names = group.body.names
        self.results = math.prod(axis.extent for axis in group.domain)
        self.terms = math.prod(axis.extent for axis in group.reduced)

    def accumulators(self, rows: int = 1) -> list[Buffer]:
        """A register tile for each of the reductions."""
        return [Buffer(self.names("acc"), node.output.dtype, rows, "register") for node in self.nodes]

    def clear(self, accumulators: Sequence[Buffer]) -> list[Statement]:
        return [
            Store(buffer, Index(row), Literal(identity_of(node.op, node.output.dtype)))
            for buffer, node in zip(accumulators, self.nodes, strict=True)
            for row in range(buffer.size)
        ]

    def add_terms(
        self,
        accumulators: Sequence[Buffer],
        rows: Sequence[dict[str, Index]],
        reduced: Sequence[Index],
        known: Known = nothing,
    ) -> list[Statement]:
        """One step of the accumulators: for each row, given where its axes are, the term at `reduced`. `known`: factors of a row that
        are at hand."""
        scope = Scope()
        stores: list[Statement] = []
        for row, places in enumerate(rows):
            for buffer, node in zip(accumulators, self.nodes, strict=True):
                term = self.term(node, places, reduced, scope, row, known)
                stores.append(Store(buffer, Index(row), combine(node, Load(buffer, Index(row)), term)))
        return self.where_terms_are(rows[0], reduced, [*scope.statements, *stores])

    def term(
        self, node: Node, places: Mapping[str, Index], reduced: Sequence[Index], scope: Scope, row: int, known: Known
    ) -> tuple[Expression, ...]:
        """The factors of a term."""
        factors = self.factors(node, places, reduced)
        return tuple(known(value, row) or self.group.body.expression(value, place, scope) for value, place in factors)

    def where_terms_are(self, places: Mapping[str, Index], reduced: Sequence[Index], body: list[Statement]) -> list[Statement]:
        """What is done with the terms at `reduced`, if there are any."""
        return body

    def factors(self, node: Node, places: Mapping[str, Index], reduced: Sequence[Index]) -> list[tuple[Value, tuple[Index, ...]]]:
        """What a term is made of, each at its index."""
        return self.group.body.factors(node, self.group.index(places), reduced)

    def element(self, places: Mapping[str, Index], totals: dict[Node, Expression]) -> list[Statement]:
        """What is done with a result."""
        return self.group.element(places, totals)

    def serial(self, axes: Sequence[Axis], body: list[Statement]) -> list[Statement]:
        for axis in reversed(axes):
            body = [For(axis.variable, 0, axis.extent, 1, "serial", body)] if axis.extent else []
        return body

    def lies_along_terms(self) -> bool:
        """What neighbouring terms read lies next to each other, rather than what neighbouring results do."""
        best = self.group.contiguous_axis(self.group.domain, True, WARP)
        across = self.group.contiguous_axis(self.group.reduced, False, WARP)
        return across is not None and (best is None or best[0] < across[0])
