"""Equations between ops, as rules: each says what it does and makes no code worse. Folding and sharing are the builder's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.ir.builder import Builder, constant_of, is_uniform, rewrite
from irdl.ir.dtypes import is_bool, is_complex, is_half, is_inexact
from irdl.ir.graph import Graph, Node, Value
from irdl.ops import elementwise as e
from irdl.ops.choices import CHOICES
from irdl.ops.contract import DOT
from irdl.ops.control import COND
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE, DynamicSliceAttributes
from irdl.ops.index import SCATTER_ADD
from irdl.ops.joining import CONCAT, UPDATE_SLICE
from irdl.ops.pieces import add_pieces, update_to_concat
from irdl.ops.products import dot_of_axes_of_one, dot_of_transposed, sum_of_dot, unwindow_of_one, windows_of_one
from irdl.ops.reduce import SUM, ReduceAttributes
from irdl.ops.shape import (
    BROADCAST,
    RESHAPE,
    REVERSE,
    SLICE,
    TRANSPOSE,
    BroadcastAttributes,
    ReshapeAttributes,
    SliceAttributes,
    TransposeAttributes,
)
from irdl.ops.windows import UNWINDOW, WINDOWS

#: From the builder, the node and its new operands to the new outputs, or None where the rule does not apply.
Rule = Callable[[Builder, Node, list[Value]], Sequence[Value] | None]

RULES: dict[Any, list[Rule]] = {}


def rule(*ops: Any) -> Callable[[Rule], Rule]:
    def record(function: Rule) -> Rule:
        for op in ops:
            RULES.setdefault(op, []).append(function)
        return function

    return record


def apply_rules(graph: Graph) -> Graph:
    """Rewrite `graph` and its regions bottom-up, each node by the first rule that applies."""
    return rewrite(graph, _visit)


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    for apply in RULES.get(node.op, ()):
        result = apply(builder, node, operands)
        if result is not None:
            return result
    return None


def uniform_number(value: Value) -> Any:
    """The number that a constant (or a broadcast of one) holds everywhere, or None."""
    node = value.node
    while node is not None and node.op in (BROADCAST, RESHAPE):
        value = node.operands[0]
        node = value.node
    array = constant_of(value)
    return array.reshape(-1)[0] if array is not None and is_uniform(array) else None


def _is(value: Value, number: float) -> bool:
    """Whether it holds the number everywhere. No complex one counts: x * (1 + 0j) has nans and signs of zeros that x has not."""
    found = uniform_number(value)
    if found is None or is_bool(found.dtype) or is_complex(found.dtype):
        return False
    return bool(found == number) and (number != 0 or not np.signbit(found))


def _keeps(node: Node, value: Value) -> bool:
    return value.type == node.output.type


@rule(e.MUL)
def multiply_by_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x * 1 = x"""
    x, y = operands
    if _is(y, 1) and _keeps(node, x):
        return [x]
    return [y] if _is(x, 1) and _keeps(node, y) else None


@rule(e.DIV)
def divide_by_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x / 1 = x"""
    return [operands[0]] if _is(operands[1], 1) and _keeps(node, operands[0]) else None


@rule(e.SUB)
def subtract_zero(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x - 0 = x"""
    return [operands[0]] if _is(operands[1], 0) and _keeps(node, operands[0]) else None


@rule(e.ADD)
def add_at_one_place(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x + scatter_add(0, i, u) = scatter_add(x, i, u) of one place; x + dynamic_update_slice(0, u, i) likewise: nothing else is touched"""
    for x, y in (operands, operands[::-1]):
        made = y.node
        if made is None or made.op not in (SCATTER_ADD, DYNAMIC_UPDATE_SLICE) or x.type != y.type or uniform_number(made.operands[0]) != 0:
            continue
        if made.op is SCATTER_ADD:
            _, indices, updates = made.operands
            if indices.type.rank == 1:
                return builder.node(SCATTER_ADD, [x, indices, updates], made.attributes, (), node.location).outputs
            continue
        _, update, starts = made.operands
        sizes = tuple(update.shape[axis] for axis in made.attributes.axes)
        there = builder.value(DYNAMIC_SLICE, [x, starts], DynamicSliceAttributes(made.attributes.axes, sizes))
        return [builder.value(DYNAMIC_UPDATE_SLICE, [x, builder.value(e.ADD, [there, update]), starts], made.attributes)]
    return None


@rule(e.ADD)
def add_zero(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x + 0 = x for integers, and for a product, a contraction or a sum (which are +0 or compare equal to it)"""
    for x, y in (operands, operands[::-1]):
        if _is(y, 0) and _keeps(node, x):
            made = x.node.op if x.node is not None else None
            if not is_inexact(x.dtype) or made in (DOT, SUM, e.MUL, CONCAT):
                return [x]
    return None


#: The largest whole exponent that becomes multiplications: each squaring may lose half a unit in the last place.
_MOST_FACTORS = 8


@rule(e.POWER)
def known_exponent(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x ** 2 = x * x, x ** -1 = 1 / x, and their kin (for halves see `passes/expand.py`: their gradients are better taken of the power)"""
    x, exponent = operands
    number = uniform_number(exponent)
    if number is None or is_complex(x.dtype) or not np.isfinite(number) or not _keeps(node, x):
        return None
    one = builder.constant(1, x.dtype)
    if number == 0:
        return [builder.value(BROADCAST, [one], BroadcastAttributes(x.shape))]
    if number == int(number) and abs(number) <= _MOST_FACTORS:
        base = builder.value(e.DIV, [one, x]) if number < 0 else x
        return [_product_of(builder, base, abs(int(number)))]
    return None


def _product_of(builder: Builder, x: Value, count: int) -> Value:
    """`x` times itself, `count` factors in all."""
    result, square = None, x
    while True:
        if count & 1:
            result = square if result is None else builder.value(e.MUL, [result, square])
        count >>= 1
        if not count:
            assert result is not None
            return result
        square = builder.value(e.MUL, [square, square])


@rule(e.NEG)
def negate_twice(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """-(-x) = x"""
    inner = operands[0].node
    return [inner.operands[0]] if inner is not None and inner.op is e.NEG else None


@rule(e.DIV)
def logistic(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """1 / (1 + exp(-x)) = sigmoid(x)"""
    one, total = operands
    if not _is(one, 1) or total.node is None or total.node.op is not e.ADD:
        return None
    for x, y in (total.node.operands, total.node.operands[::-1]):
        if _is(x, 1) and y.node is not None and y.node.op is e.EXP:
            inner = y.node.operands[0].node
            if inner is not None and inner.op is e.NEG and _keeps(node, inner.operands[0]):
                return [builder.value(e.SIGMOID, [inner.operands[0]], location=node.location)]
    return None


@rule(e.SELECT)
def select_known(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """select(True, x, y) = x; select(False, x, y) = y; select(c, x, x) = x"""
    condition, x, y = operands
    known = uniform_number(condition)
    chosen = x if x is y else None if known is None else x if known else y
    return [chosen] if chosen is not None and _keeps(node, chosen) else None


@rule(e.CAST)
def cast_to_itself(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cast(x, dtype of x) = x"""
    return [operands[0]] if operands[0].dtype == node.attributes.dtype else None


@rule(e.CAST)
def cast_and_back(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cast(cast(x, half -> f32), half) = x; cast(cast(x, half), f32) = x where x is a number of the half, as neg(cast(half -> f32)) is"""
    (x,), dtype = operands, node.attributes.dtype
    if x.node is None or x.node.op is not e.CAST:
        return None
    (inner,) = x.node.operands
    there = is_half(dtype) and x.dtype == np.float32
    return [inner] if inner.dtype == dtype and (there or (is_half(x.dtype) and _is_narrow(inner, x.dtype))) else None


def _is_narrow(value: Value, dtype: np.dtype, depth: int = 4) -> bool:
    """Every number of a float32 is one of `dtype`, too."""
    node = value.node
    if node is None or depth == 0:
        return False
    if node.op is e.CAST:
        return node.operands[0].dtype == dtype
    if node.op in (e.NEG, e.ABS, e.MAXIMUM, e.MINIMUM) or node.op.is_view:
        return all(_is_narrow(operand, dtype, depth - 1) for operand in node.operands)
    known = uniform_number(value)
    return known is not None and bool(known.astype(dtype) == known)


@rule(RESHAPE)
def reshape_once(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """reshape(x, shape of x) = x; reshape(reshape(x)) = reshape(x)"""
    (x,) = operands
    if _keeps(node, x):
        return [x]
    if x.node is not None and x.node.op is RESHAPE:
        return [builder.value(RESHAPE, x.node.operands, node.attributes, location=node.location)]
    return None


@rule(TRANSPOSE)
def transpose_once(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """transpose(x, 0 1 2 ..) = x; transpose(transpose(x)) = transpose(x)"""
    (x,) = operands
    order = node.attributes.permutation
    if order == tuple(range(len(order))):
        return [x]
    if x.node is not None and x.node.op is TRANSPOSE:
        inner = x.node.attributes.permutation
        both = TransposeAttributes(tuple(inner[axis] for axis in order))
        return [builder.value(TRANSPOSE, x.node.operands, both, location=node.location)]
    return None


@rule(BROADCAST)
def broadcast_to_itself(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """broadcast(x, shape of x) = x"""
    return [operands[0]] if _keeps(node, operands[0]) else None


@rule(SLICE)
def slice_once(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """x[:] = x; x[a][b] = x[a + b]"""
    (x,) = operands
    if _keeps(node, x):
        return [x]
    if x.node is not None and x.node.op is SLICE:
        a, b = x.node.attributes, node.attributes
        start, limit, stride = [], [], []
        for p, q, inner, outer, n in zip(a.start, b.start, a.stride, b.stride, node.output.shape, strict=True):
            first = p + q * inner if n else 0  # an empty slice may start behind the end
            start.append(first)
            stride.append(inner * outer)
            limit.append(first + (n - 1) * inner * outer + 1 if n else 0)
        attributes = SliceAttributes(tuple(start), tuple(limit), tuple(stride))
        return [builder.value(SLICE, x.node.operands, attributes, location=node.location)]
    return None


@rule(SLICE)
def slice_of_concat(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """concat(a, b)[where a lies] = a"""
    (x,) = operands
    if x.node is None or x.node.op is not CONCAT:
        return None
    axis = x.node.attributes.axis
    a = node.attributes
    position = 0
    for piece in x.node.operands:
        end = position + piece.shape[axis]
        if position <= a.start[axis] and a.limit[axis] <= end and piece.shape[axis]:
            start, limit = list(a.start), list(a.limit)
            start[axis] -= position
            limit[axis] -= position
            return [builder.value(SLICE, [piece], SliceAttributes(tuple(start), tuple(limit), a.stride), location=node.location)]
        position = end
    return None


@rule(SLICE)
def slice_of_update(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """(x with y stored at a place)[within the place] = y[..]"""
    stored = operands[0].node
    if stored is None or stored.op is not UPDATE_SLICE or set(stored.attributes.stride) != {1} or not node.output.type.size:
        return None
    y, a = stored.operands[1], node.attributes
    start, limit = (tuple(n - first for n, first in zip(ends, stored.attributes.start, strict=True)) for ends in (a.start, a.limit))
    if min(start) < 0 or any(end > n for end, n in zip(limit, y.shape, strict=True)):
        # What is beside the place stays as it is: to read it of x would make two arrays where there was one to store into.
        return None
    return [builder.value(SLICE, [y], SliceAttributes(start, limit, a.stride), location=node.location)]


@rule(CONCAT)
def concat_of_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """concat(x) = x"""
    return operands if len(operands) == 1 else None


@rule(REVERSE)
def reverse_twice(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """reverse(reverse(x)) = x; a reverse of axes of 1 = x"""
    (x,) = operands
    if all(x.shape[axis] == 1 for axis in node.attributes.axes):
        return [x]
    inner = x.node
    if inner is not None and inner.op is REVERSE and set(inner.attributes.axes) == set(node.attributes.axes):
        return inner.operands
    return None


@rule(SUM)
def sum_of_sum(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """sum(x, ()) = x; sum(sum(x, a), b) = sum(x, a and b)"""
    (x,) = operands
    if not node.attributes.axes:
        return [x]
    if x.node is not None and x.node.op is SUM:
        inner = x.node.attributes.axes
        rest = [axis for axis in range(len(x.node.operands[0].shape)) if axis not in inner]
        axes = sorted([*inner, *(rest[axis] for axis in node.attributes.axes)])
        return [builder.value(SUM, x.node.operands, ReduceAttributes(tuple(axes)), location=node.location)]
    return None


def _drop_broadcast(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """f(broadcast(x), y) = f(x, y) where y keeps the shape"""
    new = list(operands)
    for place, value in enumerate(operands):
        if value.node is not None and value.node.op is BROADCAST:
            new[place] = value.node.operands[0]
            if np.broadcast_shapes(*(v.shape for v in new)) != node.output.shape:
                new[place] = value
    if all(a is b for a, b in zip(new, operands, strict=True)):
        return None
    return builder.node(node.op, new, node.attributes, (), node.location).outputs


def _reshape_later(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """f(reshape(x), number) = reshape(f(x, number)) where the reshape only adds axes of 1: f joins what made x"""
    wide = [v for v in operands if v.shape]
    sources = [v.node.operands[0] for v in wide if v.node is not None and v.node.op is RESHAPE]
    if not sources or len(sources) < len(wide) or any(v.shape != node.output.shape for v in wide):
        return None
    shape = sources[0].shape
    if any(v.shape != shape for v in sources) or len(shape) >= len(node.output.shape) or not shape:
        return None
    if [n for n in shape if n != 1] != [n for n in node.output.shape if n != 1]:
        return None
    inner = iter(sources)
    made = builder.node(node.op, [next(inner) if v.shape else v for v in operands], node.attributes, (), node.location).outputs[0]
    return [builder.value(RESHAPE, [made], ReshapeAttributes(node.output.shape), location=node.location)]


for _op in list(vars(e).values()):
    if isinstance(_op, (e.Elementwise, e.Select)) and _op.name not in ("stop_gradient",):
        RULES.setdefault(_op, []).append(_drop_broadcast)
        RULES.setdefault(_op, []).append(_reshape_later)
RULES.setdefault(e.ADD, []).append(add_pieces)
RULES.setdefault(UPDATE_SLICE, []).append(update_to_concat)
RULES.setdefault(SUM, []).append(sum_of_dot)
RULES.setdefault(DOT, []).extend([dot_of_transposed, dot_of_axes_of_one])
RULES.setdefault(WINDOWS, []).append(windows_of_one)
RULES.setdefault(UNWINDOW, []).append(unwindow_of_one)
RULES.setdefault(COND, []).extend(CHOICES)
