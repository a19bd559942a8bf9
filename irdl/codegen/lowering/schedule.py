"""What a machine decides of a lowering: which loops run a group, or an element at every place of a shape, and in what order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np

from irdl.codegen.lowering.group import Group
from irdl.codegen.lowering.layout import Layout, merged
from irdl.codegen.lowering.nest import Loop
from irdl.codegen.lowering.scattering import Scatter
from irdl.ir.graph import Graph
from irdl.loops.expressions import Buffer, Expression, Load
from irdl.loops.index import Index
from irdl.loops.language import Statement, Store
from irdl.loops.rewrite import Names

#: from an index to the statements for that element
Element: TypeAlias = Callable[[tuple[Index, ...]], list[Statement]]


class Schedule(ABC):
    """A machine's loops.

    Attributes:
        stack_bytes: the most of a stack of all steps that is made for a carry alone, to spare it a copy in each step.
        chains: how many sequences of dependent operations one thread works at, so that one goes on while others wait.
        can_leave: whether a program can leave where a check has failed.
        slots: how many pieces of work that need scratch memory of their own have it at once.
    """

    stack_bytes: int
    chains: int = 1
    can_leave: bool = False
    slots: int = 64

    @abstractmethod
    def group(self, group: Group) -> list[Statement]:
        """The loops that compute and store a group's values."""

    def is_independent(self, statements: Sequence[Statement]) -> bool:
        """None of the loops of a group needs what another has made."""
        return True

    @abstractmethod
    def over(self, shape: Sequence[int], accesses: Sequence[Layout], element: Element, names: Names, dtype: np.dtype) -> list[Statement]:
        """`element` at every index of `shape`, in any order.

        Args:
            accesses: where elements lie, what is read first.
            dtype: of the elements.
        """

    @abstractmethod
    def each(self, loops: Sequence[Loop], body: Sequence[Statement], names: Names) -> list[Statement]:
        """`body` in every step of the loops, in any order."""

    def sort(self, x: Layout, out: Layout, axis: int, wants_elements: bool, names: Names) -> list[Statement] | None:
        """The elements of each line of x along an axis in order, or the places that they come from; None: each line is one thread's."""
        return None

    def scatter(self, scatter: Scatter, names: Names) -> list[Statement] | None:
        """The result of a scatter, all of it; None: x is copied, and one update follows the other."""
        return None

    def inside_loop(self, graphs: Sequence[Graph], kept: Collection[Buffer]) -> Schedule:
        """What runs what a loop does in each step: the graphs, which find in `kept` what no step writes."""
        return self

    def copy(self, source: Layout, target: Layout, names: Names) -> list[Statement]:
        """`target[...] = source[...]`."""
        source, target = merged(source, target)

        def element(index: tuple[Index, ...]) -> list[Statement]:
            return [Store(target.buffer, target.at(index), Load(source.buffer, source.at(index)))]

        return self.over(source.shape, [source, target, target], element, names, target.buffer.dtype)

    def fill(self, target: Layout, value: Expression, names: Names) -> list[Statement]:
        """`target[...] = value`."""
        _, target = merged(target, target)

        def element(index: tuple[Index, ...]) -> list[Statement]:
            return [Store(target.buffer, target.at(index), value)]

        return self.over(target.shape, [target], element, names, target.buffer.dtype)
