"""Making a region safe to run where it was not chosen: a batched branch or loop runs for every element, and an index that
only a chosen element has in range, or a matrix that is singular for others, must not raise for those."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from irdl.ir.builder import Builder, copy_nodes
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops.checks import INDEXED, OF_MATRICES, harmless
from irdl.ops.control import COND, SCAN, WHILE, WhileAttributes
from irdl.ops.elementwise import SELECT
from irdl.ops.index import SCATTER_ADD, SCATTER_SET

STORES = (SCATTER_ADD, SCATTER_SET)


def needs_guard(graph: Graph) -> bool:
    """True if the graph holds an op that can raise."""
    return any(node.op.can_raise for node in graph.all_nodes())


def guarded(graph: Graph) -> Graph:
    """`graph` with a further first input, a bool scalar: where it does not hold, indices are 0, stores do nothing, matrices are ones.

    Before -> after: `gather(x, i)` -> `gather(x, select(active, i, 0))`.
    """
    builder = Builder(fold=False)
    active = Value(TensorType(np.dtype(bool), ()), name="active")
    inputs = [Value(value.type, name=value.name) for value in graph.inputs]
    mapping = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        if node.op in INDEXED or node.op in OF_MATRICES:
            outputs = [_harmless(builder, node, operands, active)]
        elif node.regions and any(needs_guard(region) for region in node.regions):
            outputs = _control(builder, node, operands, active)
        else:
            copy_nodes(builder, [node], mapping)
            continue
        mapping.update(zip(node.outputs, outputs, strict=True))
    return Graph([active, *inputs], [mapping[value] for value in graph.outputs], graph.name)


def _harmless(builder: Builder, node: Node, operands: list[Value], active: Value) -> Value:
    safe = harmless(builder.value, builder.constant, node.op, operands, active)
    value = builder.value(node.op, safe, node.attributes, location=node.location)
    return builder.value(SELECT, [active, value, operands[0]]) if node.op in STORES else value


def _control(builder: Builder, node: Node, operands: list[Value], active: Value) -> list[Value]:
    regions = [guarded(region) for region in node.regions]
    attributes = node.attributes
    if node.op is SCAN:
        attributes = replace(attributes, consts=attributes.consts + 1)
        operands = [active, *operands]
    elif node.op is COND:
        operands = [operands[0], active, *operands[1:]]
    else:
        assert node.op is WHILE, node
        first = attributes.cond_consts
        attributes = WhileAttributes(first + 1, attributes.body_consts + 1)
        operands = [active, *operands[:first], active, *operands[first:]]
    return list(builder.node(node.op, operands, attributes, regions, node.location).outputs)
