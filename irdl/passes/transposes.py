"""Transposes move towards the contractions, reductions and transposes that take them up, so that values stay in the order in which
contractions make and want them: between two convolutions whose channels are innermost, none is left.

    f(transpose(x), transpose(y)) = transpose(f(x, y));  sum(transpose(x)) = sum(x) over other axes;  pad, slice and reverse likewise
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.contract import DOT
from irdl.ops.joining import PAD, PadAttributes
from irdl.ops.reduce import Reduce, ReduceAttributes
from irdl.ops.shape import RESHAPE, REVERSE, SLICE, TRANSPOSE, ReshapeAttributes, ReverseAttributes, SliceAttributes, TransposeAttributes

_MOVES = (PAD, SLICE, REVERSE)


def sink_transposes(graph: Graph) -> Graph:
    """Move each transpose past what reads it, where a contraction, a reduction or another transpose further on takes it up."""
    if not any(_moves_any(inner) for inner in graph.all_graphs()):
        return graph
    worth = _taken_up(graph)
    memo: dict[Graph, Graph] = {}

    def region(inner: Graph) -> Graph:
        if inner not in memo:
            memo[inner] = sink_transposes(inner)
        return memo[inner]

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        if node.regions:
            regions = [region(inner) for inner in node.regions]
            return builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        if isinstance(node.op, Reduce):
            return _reduction(builder, node, operands)
        if node.output not in worth:
            return None
        return _elementwise(builder, node, operands) if node.op.is_elementwise else _move(builder, node, operands)

    return rewrite(graph, visit, regions=False)


def _moves_any(graph: Graph) -> bool:
    """Whether something past which a transpose may move reads one."""
    readers = [node for node in graph.nodes if any(value.node is not None and value.node.op is TRANSPOSE for value in node.operands)]
    worth = _taken_up(graph) if readers else set()
    return any(isinstance(node.op, Reduce) or node.output in worth for node in readers)


def _taken_up(graph: Graph) -> set[Value]:
    """The values that can be had in another order at no cost, as far as some of what reads them goes."""
    users = graph.users()
    found: set[Value] = set()
    for node in reversed(graph.nodes):
        if node.op.is_elementwise or node.op in _MOVES:
            for user in users[node.output]:
                if user.op in (DOT, TRANSPOSE) or isinstance(user.op, Reduce) or (user.outputs and user.outputs[0] in found):
                    found.add(node.output)
                    break
    return found


def _order_of(value: Value) -> tuple[int, ...] | None:
    """Of a transpose: its permutation."""
    return tuple(value.node.attributes.permutation) if value.node is not None and value.node.op is TRANSPOSE else None


def _moved(builder: Builder, value: Value, node: Node, order: Sequence[int]) -> Value:
    if list(order) == sorted(order):
        return value
    return builder.value(TRANSPOSE, [value], TransposeAttributes(tuple(order)), location=node.location)


def _elementwise(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """f(transpose(x), transpose(y), z) = transpose(f(x, y, z')) where z is a number or stretches along all axes but one"""
    shape = node.output.shape
    whole = [value for value in operands if value.shape == shape and math.prod(shape) > max(shape, default=1)]
    orders = {_order_of(value) for value in whole}
    if len(orders) != 1 or None in orders:
        return None
    (order,) = orders
    assert order is not None
    parts = []
    for value in operands:
        if value in whole:
            assert value.node is not None
            parts.append(value.node.operands[0])
        elif sum(extent != 1 for extent in value.shape) > 1:
            return None
        elif value.shape:
            aligned = (1,) * (len(shape) - len(value.shape)) + value.shape
            inner = tuple(aligned[order.index(axis)] for axis in range(len(shape)))
            parts.append(builder.value(RESHAPE, [value], ReshapeAttributes(inner), location=node.location))
        else:
            parts.append(value)
    made = builder.node(node.op, parts, node.attributes, (), node.location).outputs[0]
    return [_moved(builder, made, node, order)]


def _reduction(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """sum(transpose(x), axes) = sum(x, the axes they are of x), transposed where two or more axes stay"""
    (value,) = operands
    order = _order_of(value)
    if order is None:
        return None
    assert value.node is not None
    axes = node.attributes.axes
    inner = tuple(sorted(order[axis] for axis in axes))
    kept = [order[axis] for axis in range(len(order)) if axis not in axes]
    made = builder.value(node.op, value.node.operands, ReduceAttributes(inner), location=node.location)
    return [_moved(builder, made, node, [sorted(kept).index(axis) for axis in kept])]


def _move(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """pad(transpose(x)) = transpose(pad(x)), and slice and reverse likewise"""
    value, *rest = operands
    order = _order_of(value)
    if order is None:
        return None
    assert value.node is not None
    a = node.attributes

    def inner(items: Sequence[int]) -> tuple[int, ...]:
        return tuple(items[order.index(axis)] for axis in range(len(order)))

    if node.op is PAD:
        a = PadAttributes(inner(a.low), inner(a.high))
    elif node.op is SLICE:
        a = SliceAttributes(inner(a.start), inner(a.limit), inner(a.stride))
    else:
        assert node.op is REVERSE
        a = ReverseAttributes(tuple(sorted(order[axis] for axis in a.axes)))
    made = builder.value(node.op, [value.node.operands[0], *rest], a, location=node.location)
    return [_moved(builder, made, node, order)]
