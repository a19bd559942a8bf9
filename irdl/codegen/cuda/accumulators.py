"""A reduction on its way to loops: its accumulators, and what a step adds to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.codegen.cuda.dealing import WARP
from irdl.codegen.lowering.body import Scope, combine, identity_of
from irdl.codegen.lowering.group import Axis, Group
from irdl.loops.index import Index
from irdl.loops.language import Buffer, For, Literal, Load, Statement, Store
from irdl.loops.target import Gpu


class Reduction:
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

    def add_terms(self, accumulators: Sequence[Buffer], rows: Sequence[dict[str, Index]], reduced: dict[str, Index]) -> list[Statement]:
        """One step of the accumulators: for each row, given where its axes are, the term at `reduced`."""
        scope = Scope()
        place = [reduced.get(axis.variable, Index.variable(axis.variable)) for axis in self.group.reduced]
        stores: list[Statement] = []
        for row, places in enumerate(rows):
            index = self.group.index(places)
            for buffer, node in zip(accumulators, self.nodes, strict=True):
                factors = self.group.body.term(node, index, place, scope)
                stores.append(Store(buffer, Index(row), combine(node, Load(buffer, Index(row)), factors)))
        return [*scope.statements, *stores]

    def serial(self, axes: Sequence[Axis], body: list[Statement]) -> list[Statement]:
        for axis in reversed(axes):
            body = [For(axis.variable, 0, axis.extent, 1, "serial", body)] if axis.extent else []
        return body

    def lies_along_terms(self) -> bool:
        """What neighbouring terms read lies next to each other, rather than what neighbouring results do."""
        best = self.group.contiguous_axis(self.group.domain, True, WARP)
        across = self.group.contiguous_axis(self.group.reduced, False, WARP)
        return across is not None and (best is None or best[0] < across[0])
