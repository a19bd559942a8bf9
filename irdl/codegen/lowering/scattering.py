"""Scatters: what is stored, or added, where rows of indices say, one row after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irdl.codegen.lowering.layout import Layout
from irdl.ir.builder import constant_of
from irdl.ir.graph import Node, Value
from irdl.ir.printer import format_location
from irdl.loops.expressions import Expression, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Check, CheckIndex, Statement
from irdl.loops.rewrite import Names
from irdl.ops.index import SCATTER_ADD
from irdl.ops.joining import CONCAT


@dataclass(frozen=True)
class Scatter:
    """A scatter, and where all of it lies. `whole` is x, with every update stored or added at its place.

    Attributes:
        checks: of the program, which those of its indices are added to.
    """

    node: Node
    x: Layout
    indices: Layout
    updates: Layout
    whole: Layout
    checks: list[Check]

    @property
    def rows(self) -> tuple[int, ...]:
        """How many rows of indices there are, along each axis."""
        return self.indices.shape[:-1]

    @property
    def axes(self) -> tuple[int, ...]:
        """Those of x that the columns of indices are of."""
        axes: tuple[int, ...] = self.node.attributes.axes
        return axes

    @property
    def rest(self) -> list[int]:
        """The others, which each update has."""
        return [axis for axis in range(len(self.x.shape)) if axis not in self.axes]

    def index(self, row: tuple[Index, ...], column: int) -> Load:
        """An index as it is given: it may count from the end, or be out of range."""
        return Load(self.indices.buffer, self.indices.at((*row, Index(column))))

    def checked(self, row: tuple[Index, ...], names: Names) -> tuple[list[Statement], list[Index]]:
        """What checks a row of indices, and the places that are bound to them."""
        return checked(self.node, self.indices, row, names, self.checks)

    def changed(self, old: Expression, update: Expression) -> Expression:
        """What is at a place behind an update."""
        return Operation("add", (old, update), self.x.buffer.dtype) if self.node.op is SCATTER_ADD else update

    def counts(self) -> dict[int, int]:
        """Columns whose indices are 0, 1, 2, .. along one axis of the rows, and the same along all others, by that axis: each row of another
        step of it is for another place. Of several columns of one axis, the first."""
        found: dict[int, int] = {}
        for column, (axis, value) in enumerate(zip(self.axes, _columns(self.node.operands[1]), strict=True)):
            array = None if value is None else _known(value)
            along = None if array is None else _counts_along(array.reshape(array.shape[: len(self.rows)]), self.x.shape[axis])
            if along is not None:
                found.setdefault(along, column)
        return found


def checked(node: Node, indices: Layout, row: tuple[Index, ...], names: Names, checks: list[Check]) -> tuple[list[Statement], list[Index]]:
    """The checks of one row of indices, and the places that they bind."""
    bound: list[Statement] = []
    places: list[Index] = []
    for column, axis in enumerate(node.attributes.axes):
        variable, extent = Variable(names("k"), np.dtype(np.int64)), node.operands[0].shape[axis]
        checks.append(Check(axis, extent, format_location(node.location), node.attributes.raises))
        value = Load(indices.buffer, indices.at((*row, Index(column))))
        bound.append(CheckIndex(variable, value, extent, len(checks) - 1))
        places.append(Index.variable(variable.name))
    return bound, places


def _columns(indices: Value) -> list[Value | None]:
    """What the columns of indices are made of, where each is a value of its own."""
    node, count = indices.node, indices.shape[-1]
    last = len(indices.shape) - 1
    if node is not None and node.op is CONCAT and node.attributes.axis == last and len(node.operands) == count:
        return list(node.operands)
    return [indices] if count == 1 else [None] * count


def _known(value: Value) -> np.ndarray | None:
    """The numbers of a constant, or of a view of one."""
    node = value.node
    if node is None or not node.op.is_view:
        return constant_of(value)
    base = _known(node.operands[0])
    if base is None:
        return None
    (array,) = node.op.evaluate([base], node.attributes, node.regions)
    return array


def _counts_along(array: np.ndarray, extent: int) -> int | None:
    """The axis along which an array counts from 0, below `extent`."""
    for axis, steps in enumerate(array.shape):
        if 1 < steps <= extent:
            count = np.arange(steps).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
            if (array == count).all():
                return axis
    return None
