"""A reduction on its way to loops: its accumulators, and what a step adds to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from irdl.codegen.cuda.dealing import WARP
from irdl.codegen.lowering.body import Scope, combine, identity_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.ir.graph import Node, Value
from irdl.loops.index import Index
from irdl.loops.language import Buffer, Expression, For, Literal, Load, Statement, Store
from irdl.loops.target import Gpu


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
        known: Callable[[Value, int], Expression | None] = nothing,
    ) -> list[Statement]:
        """One step of the accumulators: for each row, given where its axes are, the term at `reduced`. `known`: factors of a row that
        are at hand."""
        scope, body = Scope(), self.group.body
        stores: list[Statement] = []
        for row, places in enumerate(rows):
            for buffer, node in zip(accumulators, self.nodes, strict=True):
                factors = tuple(
                    known(value, row) or body.expression(value, place, scope) for value, place in self.factors(node, places, reduced)
                )
                stores.append(Store(buffer, Index(row), combine(node, Load(buffer, Index(row)), factors)))
        return [*scope.statements, *stores]

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
