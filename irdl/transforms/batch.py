"""Batching: a graph becomes one whose marked inputs, and what depends on them, have a further leading axis.

It is what `vmap` does, and what loop distribution does with the time axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.builder import Builder
from irdl.ir.dtypes import is_inexact
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops.control import COND, SCAN, WHILE, ScanAttributes
from irdl.ops.elementwise import INVERT, SELECT
from irdl.ops.loop_parts import settle
from irdl.ops.reduce import ANY, SUM, ReduceAttributes
from irdl.ops.shape import RESHAPE, TRANSPOSE, ReshapeAttributes, TransposeAttributes, with_batch
from irdl.transforms.custom import CUSTOM_VJP
from irdl.transforms.guard import guarded, needs_guard


def batch_graph(graph: Graph, batched: Sequence[bool], size: int, force: Sequence[bool] | None = None) -> tuple[Graph, list[bool]]:
    """`graph` with the marked inputs batched; which outputs are (those in `force` always)."""
    builder = Builder(fold=False)
    inputs = [
        Value(TensorType(v.dtype, (size, *v.shape)) if mark else v.type, name=v.name) for v, mark in zip(graph.inputs, batched, strict=True)
    ]
    mapping = dict(zip(graph.inputs, inputs, strict=True))
    marked = {v for v, mark in zip(graph.inputs, batched, strict=True) if mark}
    batch_nodes(builder, graph.nodes, mapping, marked, size)
    marks = [v in marked for v in graph.outputs]
    outputs = [mapping[v] for v in graph.outputs]
    if force is not None:
        outputs = [with_batch(builder, new, mark, size) if forced else new for new, mark, forced in zip(outputs, marks, force, strict=True)]
        marks = [mark or forced for mark, forced in zip(marks, force, strict=True)]
    return Graph(inputs, outputs, graph.name), marks


def batch_nodes(builder: Builder, nodes: Sequence[Node], mapping: dict[Value, Value], batched: set[Value], size: int) -> None:
    """Rebuild `nodes` through `builder`. `mapping` and `batched` (old values that have the axis) are added to."""
    for node in nodes:
        operands = [mapping[v] for v in node.operands]
        marks = [v in batched for v in node.operands]
        if not any(marks):
            made = builder.node(node.op, operands, node.attributes, node.regions, node.location)
            mapping.update(zip(node.outputs, made.outputs, strict=True))
            continue
        if node.op is SCAN:
            outputs, out_marks = _scan(builder, node, operands, marks, size)
        elif node.op is COND:
            outputs, out_marks = _cond(builder, node, operands, marks, size)
        elif node.op is WHILE:
            outputs, out_marks = _while(builder, node, operands, marks, size)
        elif node.op is CUSTOM_VJP:
            outputs, out_marks = _custom(builder, node, operands, size, marks)
        else:
            outputs = list(node.op.batch(builder, operands, marks, size, node.attributes))
            out_marks = [True] * len(outputs)
        for old, new, mark in zip(node.outputs, outputs, out_marks, strict=True):
            mapping[old] = new
            if mark:
                batched.add(old)


def _swap(builder: Builder, value: Value) -> Value:
    order = (1, 0, *range(2, len(value.shape)))
    return builder.value(TRANSPOSE, [value], TransposeAttributes(order))


def _scan(builder: Builder, node: Node, operands: list[Value], marks: list[bool], size: int) -> tuple[list[Value], list[bool]]:
    attributes: ScanAttributes = node.attributes
    (body,) = node.regions
    marks = settle(marks, attributes.consts, attributes.carry, lambda marks: batch_graph(body, marks, size)[1])
    marked = attributes.inputs(marks)
    new_body, out_marks = batch_graph(body, marks, size, [*marked.carry, *([False] * (len(body.outputs) - attributes.carry))])
    given, was = attributes.inputs(operands), attributes.inputs(node.operands)
    carry = [
        with_batch(builder, value, value.type != old.type or not mark, size)
        for value, old, mark in zip(given.carry, was.carry, marked.carry, strict=True)
    ]
    # The loop's axis goes in front of the batch.
    xs = [_swap(builder, value) if mark else value for value, mark in zip(given.xs, marked.xs, strict=True)]
    results = attributes.outputs(builder.node(SCAN, [*given.consts, *carry, *xs], attributes, [new_body], node.location).outputs)
    ys = [_swap(builder, y) if mark else y for y, mark in zip(results.ys, attributes.outputs(out_marks).ys, strict=True)]
    return [*results.carry, *ys], out_marks


def _cond(builder: Builder, node: Node, operands: list[Value], marks: list[bool], size: int) -> tuple[list[Value], list[bool]]:
    if marks[0]:
        # Each element chooses: both branches run, and select picks.
        results = []
        chosen = operands[0]
        for region, active in zip(node.regions, (chosen, builder.value(INVERT, [chosen])), strict=True):
            given, batched = operands[1:], marks[1:]
            if needs_guard(region):
                region, given, batched = guarded(region), [active, *given], [True, *batched]
            graph, _ = batch_graph(region, batched, size, [True] * len(region.outputs))
            results.append(builder.inline(graph, given, node.location))
        outputs = []
        for on_true, on_false in zip(*results, strict=True):
            shape = (size, *([1] * (len(on_true.shape) - 1)))
            predicate = builder.value(RESHAPE, [operands[0]], ReshapeAttributes(shape))
            outputs.append(builder.value(SELECT, [predicate, on_true, on_false], location=node.location))
        return outputs, [True] * len(outputs)
    out_marks = [any(pair) for pair in zip(*(batch_graph(r, marks[1:], size)[1] for r in node.regions), strict=True)]
    regions = [batch_graph(region, marks[1:], size, out_marks)[0] for region in node.regions]
    return list(builder.node(COND, operands, regions=regions, location=node.location).outputs), out_marks


def _while(builder: Builder, node: Node, operands: list[Value], marks: list[bool], size: int) -> tuple[list[Value], list[bool]]:
    first, second = node.attributes.cond_consts, node.attributes.body_consts
    condition, body = node.regions
    count = len(operands) - first - second
    cond_marks, body_marks = marks[:first], marks[first : first + second]
    carry = marks[first + second :]
    settled = settle([*body_marks, *carry], second, count, lambda marks: batch_graph(body, marks, size)[1])
    carry = settled[second:]
    (_, (varies,)) = batch_graph(condition, [*cond_marks, *carry], size)
    if varies:
        # Elements end at different steps: all of the carry is batched, and an element that has ended keeps its value.
        carry = [True] * count
    new_condition, _ = batch_graph(condition, [*cond_marks, *carry], size, [varies])
    body_batched = [*body_marks, *carry]
    if varies and needs_guard(body):
        body, body_batched = guarded(body), [True, *body_batched]
    new_body, _ = batch_graph(body, body_batched, size, carry)
    if varies:
        new_condition, new_body, operands, first, second = _masked_while(new_condition, new_body, operands, first, second, size)
    start = first + second
    given = list(operands[:start])
    for value, mark, was in zip(operands[start:], carry, node.operands[-count:] if count else (), strict=True):
        given.append(with_batch(builder, value, value.type != was.type or not mark, size))
    attributes = type(node.attributes)(first, second)
    results = builder.node(WHILE, given, attributes, [new_condition, new_body], node.location).outputs
    return list(results), list(carry)


def _masked_while(
    condition: Graph, body: Graph, operands: list[Value], first: int, second: int, size: int
) -> tuple[Graph, Graph, list[Value], int, int]:
    """Run while any element goes on; the body takes the condition's constants too and selects."""
    make = Builder(fold=False)
    inputs = [Value(v.type, name=v.name) for v in condition.inputs]
    (each,) = make.inline(condition, inputs)
    new_condition = Graph(inputs, [make.value(ANY, [each], ReduceAttributes((0,)))], condition.name)
    make = Builder(fold=False)
    cond_consts = [Value(v.type) for v in condition.inputs[:first]]
    is_guarded = len(body.inputs) > second + len(condition.inputs) - first
    body_inputs = [Value(v.type, name=v.name) for v in body.inputs[is_guarded:]]
    carry = body_inputs[second:]
    (each,) = make.inline(condition, [*cond_consts, *carry])
    outputs = []
    given = [each, *body_inputs] if is_guarded else body_inputs
    for old, new in zip(carry, make.inline(body, given), strict=True):
        column = make.value(RESHAPE, [each], ReshapeAttributes((size, *([1] * (len(old.shape) - 1)))))
        outputs.append(make.value(SELECT, [column, new, old]))
    new_body = Graph([*cond_consts, *body_inputs], outputs, body.name)
    return new_condition, new_body, [*operands[:first], *operands[:first], *operands[first:]], first, first + second


def _custom(builder: Builder, node: Node, operands: list[Value], size: int, marks: list[bool]) -> tuple[list[Value], list[bool]]:
    """All its functions batched; a cotangent of an argument that is not batched is summed over the batch."""
    function, forward, backward, *pushforward = node.regions
    count = len(function.outputs)
    (_, first), (_, second) = (batch_graph(region, marks, size) for region in (function, forward))
    out_marks = [a or b for a, b in zip(first, second[:count], strict=True)]
    residual_marks = second[count:]
    new_function, _ = batch_graph(function, marks, size, out_marks)
    new_forward, _ = batch_graph(forward, marks, size, [*out_marks, *residual_marks])
    ct_marks = [mark for mark, value in zip(out_marks, function.outputs, strict=True) if is_inexact(value.dtype)]
    arguments = [place for place in range(node.attributes.arguments) if is_inexact(node.operands[place].dtype)]
    wanted = [marks[place] for place in arguments]
    raw, given = batch_graph(backward, [*marks, *residual_marks, *ct_marks], size, wanted)
    make = Builder(fold=False)
    inputs = [Value(v.type, name=v.name) for v in raw.inputs]
    cotangents = [
        make.value(SUM, [value], ReduceAttributes((0,))) if has and not want else value
        for value, has, want in zip(make.inline(raw, inputs), given, wanted, strict=True)
    ]
    regions = [new_function, new_forward, Graph(inputs, cotangents, backward.name)]
    for region in pushforward:
        regions.append(batch_graph(region, [*marks, *(marks[place] for place in arguments)], size, ct_marks)[0])
    made = builder.node(CUSTOM_VJP, operands, node.attributes, regions, node.location)
    return list(made.outputs), out_marks
