"""Forward mode: a graph and tangents of its inputs become its outputs and their tangents.

No op declares a jvp. A vjp is linear in the cotangent, so its transpose with respect to the cotangent is the jvp; it is
derived once per (op, attributes, types) with the reverse mode itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from irdl.errors import DifferentiationError
from irdl.ir.builder import Builder
from irdl.ir.dtypes import is_inexact
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.ir.printer import at_location
from irdl.ir.types import TensorType
from irdl.ops.control import COND, SCAN, WHILE, ScanAttributes, WhileAttributes, scan_of
from irdl.ops.loop_parts import LoopInputs, LoopOutputs, settle
from irdl.transforms.custom import CUSTOM_VJP
from irdl.transforms.reverse import op_vjp, reverse, zeros


def jvp_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The graph of (inputs, tangents of the inputs `wrt`) -> (outputs, tangents of the float outputs)."""
    builder = Builder(fold=False)
    tangents: dict[Value, Value] = {graph.inputs[i]: Value(graph.inputs[i].type, name=f"t{i}") for i in wrt}
    given = list(tangents.values())
    found = push(builder, graph, tangents)
    return Graph([*graph.inputs, *given], [*graph.outputs, *found], graph.name)


def push(builder: Builder, graph: Graph, tangents: dict[Value, Value]) -> list[Value]:
    """The tangents of the float outputs of `graph`; `tangents` holds those of the inputs and is added to."""
    for node in graph.nodes:
        if node.op.name == "stop_gradient" or not any(value in tangents for value in node.operands):
            continue
        if node.op is SCAN:
            results = _scan(builder, node, tangents)
        elif node.op is COND:
            results = _cond(builder, node, tangents)
        elif node.op is WHILE:
            results = _while(builder, node, tangents)
        elif node.op is CUSTOM_VJP and node.attributes.derived:
            results = _derived(builder, node, tangents)
        elif node.op is CUSTOM_VJP and len(node.regions) == 4:
            results = _pushed(builder, node, tangents)
        elif node.op is CUSTOM_VJP:
            raise DifferentiationError(
                f"a custom_vjp has a reverse-mode rule alone: forward mode (jvp) cannot go through it{at_location(node.location)}"
            )
        else:
            results = [_op(builder, node, tangents)] if is_inexact(node.output.dtype) else [None]
        for value, tangent in zip(node.outputs, results, strict=True):
            if tangent is not None:
                tangents[value] = tangent
    return [tangents.get(v) or zeros(builder, v.type) for v in graph.outputs if is_inexact(v.dtype)]


def _pushed(builder: Builder, node: Node, tangents: dict[Value, Value]) -> list[Value | None]:
    """By the user's own rule, inlined."""
    count = node.attributes.arguments
    if any(value in tangents for value in node.operands[count:]):
        raise DifferentiationError(
            f"a custom_jvp reads a differentiated array from outside its arguments: pass it as an argument{at_location(node.location)}"
        )
    given = [tangents.get(value) or zeros(builder, value.type) for value in node.operands[:count] if is_inexact(value.dtype)]
    found = iter(builder.inline(node.regions[3], [*node.operands, *given], node.location))
    return [next(found) if is_inexact(value.dtype) else None for value in node.outputs]


def _derived(builder: Builder, node: Node, tangents: dict[Value, Value]) -> list[Value | None]:
    """Through the function itself: its backward function is only another way to compute the same gradient."""
    function = node.regions[0]
    wrt = [place for place, value in enumerate(node.operands) if value in tangents]
    moved = jvp_graph(function, wrt)
    found = iter(
        builder.inline(moved, [*node.operands, *(tangents[node.operands[place]] for place in wrt)], node.location)[len(node.outputs) :]
    )
    return [next(found) if is_inexact(value.dtype) else None for value in node.outputs]


def _op(builder: Builder, node: Node, tangents: dict[Value, Value]) -> Value | None:
    marks = tuple(value in tangents for value in node.operands)
    types = tuple(value.type for value in node.operands)
    graph = op_jvp(node.op, node.attributes, types, node.output.type, marks)
    if graph is None:
        return None
    given = [tangents[value] for value in node.operands if value in tangents]
    return builder.inline(graph, [*node.operands, node.output, *given], node.location)[0]


@lru_cache(maxsize=4096)
def op_jvp(op: Op, attributes: Any, types: tuple[TensorType, ...], output: TensorType, marks: tuple[bool, ...]) -> Graph | None:
    """`(operands, output, tangents of the marked operands) -> tangent` of one op; None if it is zero."""
    vjp, places = op_vjp(op, attributes, types, output)
    count = len(types)
    builder = Builder(fold=False)
    tangents = [Value(type) for type, mark in zip(types, marks, strict=True) if mark]
    given = iter(tangents)
    seeds: list[Value | None] = [None] * len(vjp.outputs)
    for place, mark in zip(places, marks, strict=True):
        tangent = next(given) if mark else None
        if place is not None:
            seeds[place] = tangent
    ct = vjp.inputs[count + 1]
    _, (result,) = reverse(builder, vjp, [ct], seeds)
    if result is None:
        return None
    # Linear in the cotangent: where the rule still mentions it, any value does.
    graph = Graph([*vjp.inputs, *tangents], [result])
    zero = zeros(builder, output)
    (result,) = builder.inline(graph, [*vjp.inputs[: count + 1], zero, *tangents])
    return Graph([*vjp.inputs[: count + 1], *tangents], [result], f"{op.name} jvp")


def _region(region: Graph, marks: Sequence[bool], out_marks: Sequence[bool]) -> tuple[list[Value], list[Value]]:
    """The tangent inputs and the tangents of the outputs marked, over the region's own values."""
    builder = Builder(fold=False)
    inputs = {
        v: Value(v.type, name=f"t_{v.name or place}") for place, (v, mark) in enumerate(zip(region.inputs, marks, strict=True)) if mark
    }
    tangents = dict(inputs)
    push(builder, region, tangents)
    outputs = [tangents.get(v) or zeros(builder, v.type) for v, mark in zip(region.outputs, out_marks, strict=True) if mark]
    return list(inputs.values()), outputs


def _depends(region: Graph, marks: Sequence[bool]) -> list[bool]:
    """Which float outputs depend on the marked inputs."""
    live = {value for value, mark in zip(region.inputs, marks, strict=True) if mark}
    for node in region.nodes:
        if node.op.name != "stop_gradient" and any(value in live for value in node.operands):
            live.update(value for value in node.outputs if is_inexact(value.dtype))
    return [value in live for value in region.outputs]


def _tangents_of(builder: Builder, operands: Sequence[Value], marks: Sequence[bool], tangents: dict[Value, Value]) -> list[Value]:
    return [tangents.get(v) or zeros(builder, v.type) for v, mark in zip(operands, marks, strict=True) if mark]


def _scan(builder: Builder, node: Node, tangents: dict[Value, Value]) -> list[Value | None]:
    attributes: ScanAttributes = node.attributes
    (body,) = node.regions
    marks = settle([v in tangents for v in node.operands], attributes.consts, attributes.carry, lambda marks: _depends(body, marks))
    marked = attributes.inputs(marks)
    out_marks = [*marked.carry, *attributes.outputs(_depends(body, marks)).ys]
    inner, outer = _region(body, marks, out_marks)
    sizes = replace(attributes, consts=sum(marked.consts), carry=sum(marked.carry))

    def weave(plain: Sequence[Value], tangent: Sequence[Value]) -> LoopInputs[Value]:
        a, b = attributes.inputs(plain), sizes.inputs(tangent)
        return LoopInputs([*a.consts, *b.consts], [*a.carry, *b.carry], [*a.xs, *b.xs])

    primals, derivatives = attributes.outputs(body.outputs), sizes.outputs(outer)
    outputs = LoopOutputs([*primals.carry, *derivatives.carry], [*primals.ys, *derivatives.ys])
    given = weave(node.operands, _tangents_of(builder, node.operands, marks, tangents))
    results = scan_of(builder, given, weave(body.inputs, inner), outputs, node, "scan jvp")
    found = iter([*results.carry[attributes.carry :], *results.ys[len(primals.ys) :]])
    return [next(found) if mark else None for mark in out_marks]


def _cond(builder: Builder, node: Node, tangents: dict[Value, Value]) -> list[Value | None]:
    marks = [v in tangents for v in node.operands[1:]]
    out_marks = [any(pair) for pair in zip(*(_depends(region, marks) for region in node.regions), strict=True)]
    regions = []
    for region in node.regions:
        inner, outer = _region(region, marks, out_marks)
        regions.append(Graph([*region.inputs, *inner], outer, "cond jvp"))
    given = _tangents_of(builder, node.operands[1:], marks, tangents)
    found = iter(builder.node(COND, [*node.operands, *given], regions=regions, location=node.location).outputs)
    return [next(found) if mark else None for mark in out_marks]


def _while(builder: Builder, node: Node, tangents: dict[Value, Value]) -> list[Value | None]:
    attributes: WhileAttributes = node.attributes
    first, second = attributes.cond_consts, attributes.body_consts
    condition, body = node.regions
    body_operands = node.operands[first:]
    count = len(body_operands) - second
    marks = settle([v in tangents for v in body_operands], second, count, lambda marks: _depends(body, marks))
    carry_marks = marks[second:]
    inner, outer = _region(body, marks, carry_marks)
    given = _tangents_of(builder, body_operands, marks, tangents)
    const_count = sum(marks[:second])
    carry = body.inputs[second:]
    new_body = Graph([*body.inputs[:second], *inner[:const_count], *carry, *inner[const_count:]], [*body.outputs, *outer], "while jvp")
    extra = [Value(value.type) for value in inner[const_count:]]
    new_condition = Graph([*condition.inputs, *extra], condition.outputs, condition.name)
    operands = [
        *node.operands[: first + second],
        *given[:const_count],
        *node.operands[first + second :],
        *given[const_count:],
    ]
    new = WhileAttributes(first, second + const_count)
    results = builder.node(WHILE, operands, new, [new_condition, new_body], node.location).outputs
    found = iter(results[count:])
    return [next(found) if mark else None for mark in carry_marks]
