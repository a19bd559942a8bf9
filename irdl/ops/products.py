"""Equations of contractions, and of the windows that they read. `rules` applies them."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.builder import Builder
from irdl.ir.graph import Node, Value
from irdl.ops.contract import DOT, DotAttributes
from irdl.ops.shape import RESHAPE, SLICE, TRANSPOSE, ReshapeAttributes, SliceAttributes


def sum_of_dot(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """sum over an axis that both operands of a contraction have = contract that axis too"""
    (x,) = operands
    if x.node is None or x.node.op is not DOT:
        return None
    left, right, output = x.node.attributes.labels
    gone = {output[axis] for axis in node.attributes.axes}
    if not gone <= set(left) & set(right):
        return None
    spec = f"{left},{right}->{''.join(label for label in output if label not in gone)}"
    return [builder.value(DOT, x.node.operands, DotAttributes(spec), location=node.location)]


def dot_of_transposed(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """dot(transpose(x), y) = dot(x, y) under other letters"""
    left, right, output = node.attributes.labels
    labels, values, changed = [left, right], list(operands), False
    for place, value in enumerate(operands):
        if value.node is not None and value.node.op is TRANSPOSE:
            order = value.node.attributes.permutation
            source = [""] * len(order)
            for position, axis in enumerate(order):
                source[axis] = labels[place][position]
            labels[place], values[place], changed = "".join(source), value.node.operands[0], True
    if not changed:
        return None
    return [builder.value(DOT, values, DotAttributes(f"{labels[0]},{labels[1]}->{output}"), location=node.location)]


def dot_of_axes_of_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """dot(reshape(x), y) = reshape(dot(x, y)) where the reshape adds axes of one, and x has others, of the result too"""
    left, right, output = node.attributes.labels
    gone: set[str] = set()
    for labels, value in zip((left, right), operands, strict=True):
        added = {labels[axis] for axis in _added_axes(value)}
        rest, of_result = set(labels) - added, added & set(output)
        if rest and (not of_result or rest & set(output)):
            gone |= added
    if not gone:
        return None
    kept, values = [], []
    for labels, value in zip((left, right), operands, strict=True):
        kept.append("".join(label for label in labels if label not in gone))
        shape = tuple(n for label, n in zip(labels, value.shape, strict=True) if label not in gone)
        values.append(_reshaped(builder, node, value, shape))
    spec = DotAttributes(f"{','.join(kept)}->{''.join(label for label in output if label not in gone)}")
    made = builder.value(DOT, values, spec, location=node.location)
    return [_reshaped(builder, node, made, node.output.shape)]


def _added_axes(value: Value) -> list[int]:
    """The axes of one that a reshape has added, if it does nothing else."""
    if value.node is None or value.node.op is not RESHAPE:
        return []
    given, added = list(value.node.operands[0].shape), []
    for axis, extent in enumerate(value.shape):
        if given and given[0] == extent:
            given.pop(0)
        elif extent == 1:
            added.append(axis)
        else:
            return []
    return [] if given else added


def windows_of_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """windows of one element each = a slice with axes of one"""
    (x,) = operands
    attributes = node.attributes
    if set(attributes.sizes) - {1}:
        return None
    stride = [1] * len(x.shape)
    for axis, step in zip(attributes.axes, attributes.steps, strict=True):
        stride[axis] = step
    part = SliceAttributes((0,) * len(stride), x.shape, tuple(stride))
    found = builder.value(SLICE, [x], part, location=node.location)
    return [_reshaped(builder, node, found, node.output.shape)]


def unwindow_of_one(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """windows of one element each that fill their axes = the elements"""
    (x,) = operands
    if x.type.size != node.output.type.size or set(x.shape[len(node.output.shape) :]) - {1}:
        return None
    return [_reshaped(builder, node, x, node.output.shape)]


def _reshaped(builder: Builder, node: Node, value: Value, shape: tuple[int, ...]) -> Value:
    return value if value.shape == shape else builder.value(RESHAPE, [value], ReshapeAttributes(shape), location=node.location)
