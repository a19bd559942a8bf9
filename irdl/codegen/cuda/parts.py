"""Reductions of so few results that their terms are shared by blocks: each adds up a part of them, and what it gets goes through memory to
those that add up the parts, always in the same order.

Before -> after:

    y[0] = sum(r in 0:1000000) x[r]

    for p in 0:250 { part[p] = sum(r in 0:4000) x[4000 * p + r] }
    y[0] = sum(p in 0:250) part[p]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from irdl.codegen.cuda.accumulators import Known, Reduction
from irdl.codegen.cuda.dealing import WARP, WARPS, only_below
from irdl.codegen.lowering.body import Scope
from irdl.codegen.lowering.group import Axis
from irdl.ir.graph import Node, Value
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import Statement, Store

#: loads of a thread that take longer than one launch more, and how many it has left then, at least
_WORTH_A_LAUNCH, _LEFT = 512, 32
#: blocks of a multiprocessor that hide each other's latency
_BLOCKS_AT_WORK = 2


@dataclass(frozen=True)
class Cut:
    """An axis of the terms in so many parts, each of so many steps; the last may have fewer."""

    axis: Axis
    parts: int

    @property
    def size(self) -> int:
        return -(-self.axis.extent // self.parts)

    @property
    def is_even(self) -> bool:
        return self.size * self.parts == self.axis.extent


def cuts_of(reduction: Reduction, split: Axis, lanes: int) -> list[Cut]:
    """How the terms are cut into parts; none where there are threads enough, or too little for them to do.

    Args:
        split: the axis that warps share, of which each step takes so many `lanes`.
    """
    if not reduction.may_be_cut:
        return []
    tiles = -(-reduction.results * lanes // WARP)
    steps = -(-reduction.terms // (lanes * WARPS)) * max(1, len(reduction.group.inner_loads))
    blocks = _BLOCKS_AT_WORK * reduction.gpu.multiprocessors
    wanted = min(blocks // tiles, steps // _LEFT)
    if steps < _WORTH_A_LAUNCH or wanted < 2:
        return []
    cuts = []
    for axis in sorted(reduction.group.reduced, key=lambda axis: (axis is split, -axis.extent)):
        most = min(wanted, axis.extent // (lanes if axis is split else 1))
        if most < 2:
            continue
        even = max(n for n in range(1, most + 1) if axis.extent % n == 0)
        size = -(-axis.extent // (even if 2 * even > most else most))
        cuts.append(Cut(axis, -(-axis.extent // size)))
        wanted //= cuts[-1].parts
    return cuts


class Parts(Reduction):
    """What blocks do first: their part of the terms. Its results are the whole's, for each part.

    Attributes:
        totals: of each reduction, what adds the parts up finds: each part has all its results side by side.
    """

    may_be_cut = False

    def __init__(self, whole: Reduction, cuts: Sequence[Cut]) -> None:
        self.whole = whole
        #: each cut, and the variable that counts its parts
        self.cuts = {cut.axis.variable: (cut, whole.names("p")) for cut in cuts}
        group = whole.group
        parts = [Axis(variable, cut.parts) for cut, variable in self.cuts.values()]
        found = replace(
            group,
            domain=(*parts, *group.domain),
            reduced=tuple(
                replace(axis, extent=self.cuts[axis.variable][0].size) if axis.variable in self.cuts else axis for axis in group.reduced
            ),
            inner_loads=tuple(replace(load, index=load.index.substitute(self._moved())) for load in group.inner_loads),
            outer_loads=(),
        )
        super().__init__(replace(found, stores=(_number(found.domain, {}),)), whole.gpu)
        self.totals = {node: Buffer(self.names("part"), node.output.dtype, self.results, "arena") for node in self.nodes}
        self.is_whole = all(cut.is_even for cut, _ in self.cuts.values())

    def _moved(self) -> dict[str, Index]:
        return {
            name: Index.variable(name) + Index.variable(variable, cut.size) for name, (cut, variable) in self.cuts.items() if cut.size > 1
        } | {name: Index.variable(variable) for name, (cut, variable) in self.cuts.items() if cut.size == 1}

    def factors(self, node: Node, places: Mapping[str, Index], reduced: Sequence[Index]) -> list[tuple[Value, tuple[Index, ...]]]:
        return self.whole.factors(node, places, [self._of_whole(*item, places) for item in zip(self.group.reduced, reduced, strict=True)])

    def _of_whole(self, axis: Axis, place: Index, places: Mapping[str, Index]) -> Index:
        if axis.variable not in self.cuts:
            return place
        cut, variable = self.cuts[axis.variable]
        return places.get(variable, Index.variable(variable)) * cut.size + place

    def where_terms_are(self, places: Mapping[str, Index], reduced: Sequence[Index], body: list[Statement]) -> list[Statement]:
        for axis, place in zip(self.group.reduced, reduced, strict=True):
            cut = self.cuts[axis.variable][0] if axis.variable in self.cuts else None
            if cut is not None and not cut.is_even:
                body = only_below(self._of_whole(axis, place, places), cut.axis.extent, body)
        return body

    def element(self, places: Mapping[str, Index], totals: dict[Node, Expression]) -> list[Statement]:
        place = _number(self.group.domain, places)
        return [Store(self.totals[node], place, totals[node]) for node in self.nodes]


class OfParts(Reduction):
    """What blocks do then: add up the parts, and the rest of the group."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        group = parts.whole.group
        number = Axis(parts.names("p"), math.prod(cut.parts for cut, _ in parts.cuts.values()))
        self._results = math.prod(axis.extent for axis in group.domain)
        place = _number(group.domain, {}) + Index.variable(number.variable, self._results)
        loads = tuple(Load(parts.totals[node], place) for node in parts.nodes)
        super().__init__(replace(group, reduced=(number,), inner_loads=loads), parts.gpu)

    is_whole, may_be_cut = False, False

    def element(self, places: Mapping[str, Index], totals: dict[Node, Expression]) -> list[Statement]:
        return self.parts.whole.element(places, totals)

    def term(
        self, node: Node, places: Mapping[str, Index], reduced: Sequence[Index], scope: Scope, row: int, known: Known
    ) -> tuple[Expression, ...]:
        (number,) = reduced
        return (Load(self.parts.totals[node], _number(self.group.domain, places) + number * self._results),)


def _number(axes: Sequence[Axis], places: Mapping[str, Index]) -> Index:
    """The number of an element, in row-major order, with some axes placed, those of one element at 0, the others at their variables."""
    index, stride = Index(), 1
    for axis in reversed(axes):
        at = places.get(axis.variable, Index.variable(axis.variable))
        index = index + (at * stride if axis.extent > 1 else Index())
        stride *= axis.extent
    return index
