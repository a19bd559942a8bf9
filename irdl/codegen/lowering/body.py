"""What a fused group means: each output element as expressions of the indices, the same for every schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irdl.codegen.lowering.layout import Layout, broadcast_index, view_index
from irdl.ir.builder import CONSTANT
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.printer import format_location
from irdl.loops.expressions import Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index
from irdl.loops.language import Check, CheckIndex, Let, Statement
from irdl.loops.rewrite import Names
from irdl.ops.contract import DOT
from irdl.ops.fusion import UNPACK
from irdl.ops.index import GATHER
from irdl.ops.reduce import ALL, ANY, MAX, MIN, PROD, SUM, Reduce
from irdl.ops.shape import IOTA
from irdl.passes.fuse import is_inline_view

COMBINE = {SUM: "add", PROD: "mul", MAX: "maximum", MIN: "minimum", ANY: "bitwise_or", ALL: "bitwise_and", DOT: "add"}


@dataclass
class Scope:
    """Statements being collected at one set of indices, and what is bound already."""

    statements: list[Statement] = field(default_factory=list)
    memo: dict[tuple[Any, ...], Expression] = field(default_factory=dict)


class GroupBody:
    """The meaning of a group's region over the layouts of its inputs."""

    def __init__(self, region: Graph, inputs: Sequence[Layout], names: Names, checks: list[Check], whole_slivers: bool = False) -> None:
        self.region = region
        self.layouts = dict(zip(region.inputs, inputs, strict=True))
        self.names = names
        self.checks = checks
        self.shape = region.outputs[0].shape
        self.reductions = [node for node in region.nodes if node.op is DOT or isinstance(node.op, Reduce)]
        #: to read packed matrices as if each were one sliver: their indices are affine then
        self.whole_slivers = whole_slivers
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
            memo[value, index] = self._bind(cast(IndexValue(index[node.attributes.axis]), value.dtype), scope)
            return []
        if node.op is UNPACK and self.whole_slivers:
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
            memo[value, index] = self._bind(cast(arguments[0], value.dtype), scope)
        elif node.op.name == "stop_gradient":
            memo[value, index] = arguments[0]
        else:
            memo[value, index] = self._bind(Operation(node.op.name, arguments, value.dtype), scope)
        return []

    def seen_through(self, value: Value, index: tuple[Index, ...]) -> tuple[Value, tuple[Index, ...]]:
        """What a value is a view of, and where `value[index]` is there."""
        while value.node is not None and value.node.op is not CONSTANT and is_inline_view(value.node):
            index = view_index(value.node, index, self.extents)
            (value,) = value.node.operands
        return value, index

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
        key = ("checked", value, extent, axis, node.attributes.raises)
        if key not in scope.memo:
            variable = Variable(self.names("k"), np.dtype(np.int64))
            self.checks.append(Check(axis, extent, format_location(node.location), node.attributes.raises))
            scope.statements.append(CheckIndex(variable, value, extent, len(self.checks) - 1))
            scope.memo[key] = variable
        bound = scope.memo[key]
        assert isinstance(bound, Variable)
        return Index.variable(bound.name)

    def factors(self, node: Node, index: tuple[Index, ...], reduced: Sequence[Index]) -> list[tuple[Value, tuple[Index, ...]]]:
        """What one step of an accumulator is made of: one value for a reduction, two for a contraction, each at its index."""
        if node.op is DOT:
            left, right, output = node.attributes.labels
            place = dict(zip(output, index, strict=True))
            place.update(zip([label for label in left if label not in output], reduced, strict=True))
            return [
                (operand, tuple(Index() if extent == 1 else place[label] for label, extent in zip(labels, operand.shape, strict=True)))
                for operand, labels in zip(node.operands, (left, right), strict=True)
            ]
        (operand,) = node.operands
        kept, gone = iter(index), iter(reduced)
        return [(operand, tuple(next(gone) if axis in node.attributes.axes else next(kept) for axis in range(len(operand.shape))))]

    def term(self, node: Node, index: tuple[Index, ...], reduced: Sequence[Index], scope: Scope) -> tuple[Expression, ...]:
        """What one step of an accumulator adds: one factor for a reduction, two for a contraction."""
        return tuple(self.expression(operand, place, scope) for operand, place in self.factors(node, index, reduced))


def cast(expression: Expression, dtype: np.dtype) -> Expression:
    return expression if expression.dtype == dtype else Operation("cast", (expression,), dtype)


def combine(node: Node, total: Expression, factors: tuple[Expression, ...]) -> Expression:
    dtype = total.dtype
    if len(factors) == 2:
        if is_float(dtype):
            return Operation("fma", (*factors, total), dtype)
        return Operation("add", (total, Operation("mul", factors, dtype)), dtype)
    return Operation(COMBINE[node.op], (total, factors[0]), dtype)
