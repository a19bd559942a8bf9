"""Equations of cond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.ir.builder import FOLD_LIMIT, Builder, constant_of, copy_nodes, fresh_inputs
from irdl.ir.dtypes import is_bool
from irdl.ir.graph import Graph, Node, Value, freeze_attributes
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.control import COND
from irdl.ops.elementwise import INVERT
from irdl.ops.shape import BROADCAST, RESHAPE
from irdl.ops.side_stores import results_apart, with_stores


def cond_known(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cond(True, x) { f } { g } = f(x)"""
    known = constant_of(operands[0])
    return None if known is None else builder.inline(node.regions[0 if known else 1], operands[1:], node.location)


def cond_negated(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cond(not p, x) { f } { g } = cond(p, x) { g } { f }"""
    inner = operands[0].node
    if inner is None or inner.op is not INVERT or not is_bool(operands[0].dtype):
        return None
    return builder.node(COND, [*inner.operands, *operands[1:]], NO_ATTRIBUTES, node.regions[::-1], node.location).outputs


def cond_of_known(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cond(p, 2, p, x, x) { f } { g } = cond(p, x) { f(2, True, x, x) } { g(2, False, x, x) }"""
    predicate, given = operands[0], operands[1:]
    kept = [value for value in dict.fromkeys(given) if value is not predicate and not _is_known(value)]
    if len(kept) == len(given):
        return None
    regions = []
    for region, answer in zip(node.regions, (True, False), strict=True):
        inner = Builder()
        inputs = fresh_inputs([region.inputs[given.index(value)] for value in kept])
        now = dict(zip(kept, inputs, strict=True))
        now[predicate] = inner.constant(np.bool_(answer))
        mapping = {old: now[value] if value in now else _made_inside(inner, value) for old, value in zip(region.inputs, given, strict=True)}
        copy_nodes(inner, region.nodes, mapping)
        regions.append(Graph(inputs, [mapping[value] for value in region.outputs], region.name))
    return builder.node(COND, [predicate, *kept], NO_ATTRIBUTES, regions, node.location).outputs


def _is_known(value: Value) -> bool:
    """A small constant, or one stretched."""
    node = value.node
    while node is not None and node.op in (BROADCAST, RESHAPE):
        node = node.operands[0].node
    return node is not None and (array := constant_of(node.output)) is not None and array.size <= FOLD_LIMIT


def _made_inside(builder: Builder, value: Value) -> Value:
    node = value.node
    assert node is not None
    return builder.value(node.op, [_made_inside(builder, operand) for operand in node.operands], node.attributes, (), node.location)


def cond_of_stores(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cond(p, x, a) { x[i] = a } { x } = x[i] = cond(p, x, a) { a } { x[i] }; what both sides hand through is no result of theirs"""
    apart = results_apart(node.regions)
    if apart is None:
        return None
    regions, results = apart
    values = builder.node(COND, operands, NO_ATTRIBUTES, regions, node.location).outputs if regions[0].outputs else ()
    return with_stores(builder.node, results, operands, values)


def cond_of_equal(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """cond(p, x) { f(x), g(x) } { f(x), h(x) } = f(x), cond(p, x) { g } { h }"""
    table: dict[Any, int] = {}
    first, second = (_numbers(region, table) for region in node.regions)
    equal = [a == b for a, b in zip(first, second, strict=True)]
    if not any(equal):
        return None
    same, *others = (
        Graph(region.inputs, [value for value, mark in zip(region.outputs, equal, strict=True) if mark is wanted], region.name)
        for region, wanted in zip((node.regions[0], *node.regions), (True, False, False), strict=True)
    )
    both = builder.inline(same, operands[1:], node.location)
    rest = builder.node(COND, operands, NO_ATTRIBUTES, others, node.location).outputs if others[0].outputs else ()
    found = {True: iter(both), False: iter(rest)}
    return [next(found[mark]) for mark in equal]


def _numbers(region: Graph, table: dict[Any, int]) -> list[tuple[int, int]]:
    """The outputs' numbers: those of two regions are equal where they compute the same of the same inputs."""
    found: dict[Value, tuple[int, int]] = {value: (-1, place) for place, value in enumerate(region.inputs)}
    for node in region.nodes:
        key = (node.op, freeze_attributes(node.attributes), node.regions, *(found[value] for value in node.operands))
        number = table.setdefault(key, len(table))
        found.update((value, (number, place)) for place, value in enumerate(node.outputs))
    return [found[value] for value in region.outputs]


CHOICES = (cond_known, cond_negated, cond_of_known, cond_of_stores, cond_of_equal)
