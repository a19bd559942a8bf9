"""Floats of 16 bits are rounded by who makes them, once, rather than by all who read them, or by a kernel of its own.

    for t: h = f(round(h) @ u)            ->   r = round(h); for t: h = f(r @ u); r = round(h)
    round(concat(exp(x), exp(y)))         ->   concat(round(exp(x)), round(exp(y)))

What blocks exchange is of 16 bits then, and they meet once where they would have met twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs, rewrite
from irdl.ir.dtypes import is_half
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops.control import SCAN, scan_of
from irdl.ops.elementwise import CAST
from irdl.ops.joining import CONCAT
from irdl.ops.loop_parts import LoopInputs, LoopOutputs
from irdl.ops.prune import prune
from irdl.passes.half_sums import cast, widening_cast


def round_early(graph: Graph) -> Graph:
    """`graph` with roundings of what loops carry, and of what is put together, where that is made."""
    return prune(rewrite(graph, _visit)) if any(_rounds(node) for node in graph.all_nodes()) else graph


def _rounds(node: Node) -> bool:
    return node.op is CAST and is_half(node.output.dtype) and node.operands[0].dtype == np.float32


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    if node.op is SCAN:
        return _carried(builder, node, operands)
    whole = operands[0].node if _rounds(node) else None
    if whole is None or whole.op is not CONCAT or not all(part.node is not None and part.node.op.is_elementwise for part in whole.operands):
        return None
    parts = [_rounded(builder, part, node.output.dtype) for part in whole.operands]
    return builder.node(CONCAT, parts, whole.attributes, (), whole.location).outputs


def _rounded(builder: Builder, value: Value, dtype: np.dtype) -> Value:
    wide = widening_cast(value)
    return wide.operands[0] if wide is not None and wide.operands[0].dtype == dtype else cast(builder, value, dtype)


def _carried(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    """A loop that carries what its steps round of its carries as well."""
    (body,), attributes = node.regions, node.attributes
    parts, given, ends = attributes.inputs(body.inputs), attributes.inputs(operands), attributes.outputs(body.outputs)
    users = body.users()
    found = {(place, user.output.dtype) for place, old in enumerate(parts.carry) for user in users[old] if _rounds(user)}
    if not found or attributes.segments:
        return None
    rounded = sorted(found, key=lambda item: (item[0], item[1].name))
    copies = fresh_inputs(body.inputs)
    mapping = dict(zip(body.inputs, copies, strict=True))
    inner, own = Builder(fold=False), attributes.inputs(copies)
    more = {(place, dtype): Value(TensorType(dtype, parts.carry[place].shape)) for place, dtype in rounded}
    for place, dtype in rounded:
        mapping.update(
            (user.output, more[place, dtype]) for user in users[parts.carry[place]] if _rounds(user) and user.output.dtype == dtype
        )
    copy_nodes(inner, [item for item in body.nodes if not (item.outputs and item.outputs[0] in mapping)], mapping)
    lasts = [_rounded(inner, mapping[ends.carry[place]], dtype) for place, dtype in rounded]
    firsts = [cast(builder, given.carry[place], dtype) for place, dtype in rounded]
    results = scan_of(
        builder,
        LoopInputs(given.consts, [*given.carry, *firsts], given.xs),
        LoopInputs(own.consts, [*own.carry, *more.values()], own.xs),
        LoopOutputs([*(mapping[value] for value in ends.carry), *lasts], [mapping[value] for value in ends.ys]),
        node,
        body.name,
    )
    return [*results.carry[: attributes.carry], *results.ys]
