"""Reverse mode: a graph and cotangents of its outputs become cotangents of its inputs.

Each op's `vjp` rule is traced once per (op, attributes, types) and spliced; scan, cond and custom_vjp are handled by
structure. Forward values are saved, not recomputed: that is the business of the remat pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.errors import DifferentiationError
from irdl.ir.builder import Builder, copy_nodes
from irdl.ir.dtypes import is_half, is_inexact
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ir.op import Op
from irdl.ir.printer import at_location
from irdl.ir.types import TensorType
from irdl.ops.control import AFTER, COND, SCAN, WHILE, ScanAttributes, scan_of
from irdl.ops.invariants import hoist_for_gradients
from irdl.ops.loop_parts import LoopInputs, LoopOutputs, settle
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.region import trace_rule
from irdl.transforms.custom import CUSTOM_VJP

#: From the cotangents of a node's outputs (None: zero) to those of its operands.
Pullback = Callable[[list[Value | None]], list[Value | None]]


def vjp_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The graph of (inputs, cotangents of the float outputs) -> (outputs, cotangents of the inputs `wrt`).

    Raises:
        DifferentiationError: a loop without a known length is in the way, or an op has no derivative.
    """
    graph = hoist_for_gradients(graph)
    builder = Builder(fold=False)
    cotangents = [Value(value.type, name=f"ct{place}") for place, value in enumerate(graph.outputs) if is_inexact(value.dtype)]
    given = iter(cotangents)
    seeds = [next(given) if is_inexact(value.dtype) else None for value in graph.outputs]
    outputs, results = reverse(builder, graph, [graph.inputs[i] for i in wrt], seeds)
    filled = [zeros(builder, graph.inputs[i].type) if ct is None else ct for i, ct in zip(wrt, results, strict=True)]
    return Graph([*graph.inputs, *cotangents], [*outputs, *filled], graph.name)


def zeros(builder: Builder, type: TensorType) -> Value:
    zero = builder.constant(0, type.dtype)
    return zero if not type.shape else builder.value(BROADCAST, [zero], BroadcastAttributes(type.shape))


def reverse(builder: Builder, graph: Graph, wrt: Sequence[Value], seeds: Sequence[Value | None]) -> tuple[list[Value], list[Value | None]]:
    """The outputs of `graph` (rebuilt only where a loop must save more) and the cotangents of `wrt`."""
    active = _active_values(graph, wrt)
    reached = _reached_values(graph, active, seeds)
    mapping: dict[Value, Value] = {}
    pullbacks: list[tuple[Node, Pullback]] = []
    for node in graph.nodes:
        differentiate = any(v in active for v in node.operands) and any(v in reached for v in node.outputs)
        new = node
        if differentiate and node.op is SCAN:
            new, pullback = _scan(builder, node, mapping, active, reached)
        elif differentiate and node.op is CUSTOM_VJP:
            outputs, pullback = _custom(builder, node, mapping, active)
            mapping.update(zip(node.outputs, outputs, strict=True))
            pullbacks.append((node, pullback))
            continue
        else:
            if any(v in mapping for v in node.operands):
                operands = [mapping.get(v, v) for v in node.operands]
                new = builder.node(node.op, operands, node.attributes, node.regions, node.location)
            pullback = _pullback(builder, node, new, active)
        if new is not node:
            mapping.update(zip(node.outputs, new.outputs, strict=False))
        if differentiate:
            pullbacks.append((node, pullback))
    cotangents: dict[Value, Value] = {}

    def accumulate(value: Value, ct: Value | None) -> None:
        if ct is not None and value in active:
            cotangents[value] = builder.value("add", [cotangents[value], ct]) if value in cotangents else ct

    for value, seed in zip(graph.outputs, seeds, strict=True):
        accumulate(value, seed)
    for node, pullback in reversed(pullbacks):
        given = [cotangents.get(value) for value in node.outputs]
        if all(ct is None for ct in given):
            continue
        for operand, ct in zip(node.operands, pullback(given), strict=True):
            accumulate(operand, ct)
    return [mapping.get(v, v) for v in graph.outputs], [cotangents.get(value) for value in wrt]


def _active_values(graph: Graph, wrt: Sequence[Value]) -> set[Value]:
    """The float values that depend on `wrt`."""
    active = {value for value in wrt if is_inexact(value.dtype)}
    for node in graph.nodes:
        if node.op.name != "stop_gradient" and any(value in active for value in node.operands):
            active.update(value for value in node.outputs if is_inexact(value.dtype))
    return active


def _reached_values(graph: Graph, active: set[Value], seeds: Sequence[Value | None]) -> set[Value]:
    """The active values that an output with a cotangent depends on."""
    reached = {value for value, seed in zip(graph.outputs, seeds, strict=True) if seed is not None and value in active}
    for node in reversed(graph.nodes):
        if any(value in reached for value in node.outputs):
            reached.update(value for value in node.operands if value in active)
    return reached


def _pullback(builder: Builder, old: Node, node: Node, active: set[Value]) -> Pullback:
    if node.op is COND:
        return lambda given: _cond(builder, old, node, active, given)
    if node.op is WHILE:

        def refuse(given: list[Value | None]) -> list[Value | None]:
            raise DifferentiationError(
                "a while_loop cannot be differentiated in reverse: the number of its steps is not known, so nothing can "
                f"be saved; use irdl.scan with a fixed length, or a `for` over a known range that breaks{at_location(node.location)}"
            )

        return refuse

    def pullback(given: list[Value | None]) -> list[Value | None]:
        (ct,) = given
        assert ct is not None
        return apply_rule(builder, node, ct)

    return pullback


def apply_rule(builder: Builder, node: Node, ct: Value) -> list[Value | None]:
    """An op's own vjp, spliced."""
    types = tuple(v.type for v in node.operands)
    graph, places = op_vjp(node.op, node.attributes, types, node.output.type)
    results = builder.inline(graph, [*node.operands, node.output, ct], node.location)
    return [None if place is None else results[place] for place in places]


@lru_cache(maxsize=4096)
def op_vjp(op: Op, attributes: Any, types: tuple[TensorType, ...], output: TensorType) -> tuple[Graph, list[int | None]]:
    """`(operands, output, cotangent) -> operand cotangents` of one op as a graph, and which operand each result is.

    The rules of floats of 16 bits are computed in float32, in which their constants are too.
    """
    count = len(types)

    def rule(boxes: list[Any]) -> Sequence[Any]:
        if op.computes:
            boxes = [box.astype(np.float32) if is_half(box.dtype) else box for box in boxes]
        results = op.vjp(boxes[:count], [boxes[count]], [boxes[count + 1]], attributes)
        return [_narrowed(r, t.dtype) if r is not None and is_inexact(t.dtype) else None for r, t in zip(results, types, strict=True)]

    try:
        graph, places = trace_rule(rule, [*types, output, output])
    except NotImplementedError as error:
        raise DifferentiationError(str(error)) from None
    for place, type in zip(places, types, strict=True):
        if place is not None and graph.outputs[place].type != type:
            raise DifferentiationError(f"the vjp of {op.name} gives {graph.outputs[place].type} for an operand of {type}")
    return graph, places


def _narrowed(cotangent: Any, dtype: np.dtype) -> Any:
    return cotangent.astype(dtype) if is_half(dtype) else cotangent


def _custom(builder: Builder, node: Node, mapping: dict[Value, Value], active: set[Value]) -> tuple[list[Value], Pullback]:
    """The user's own forward and backward functions, inlined."""
    if any(value in active for value in node.operands[node.attributes.arguments :]):
        raise DifferentiationError(
            "a custom_vjp reads a differentiated array from outside its arguments, for which its backward function gives no "
            f"cotangent: pass it as an argument{at_location(node.location)}"
        )
    _, forward, backward = node.regions[:3]
    operands = [mapping.get(v, v) for v in node.operands]
    results = builder.inline(forward, operands, node.location)
    outputs, residuals = results[: len(node.outputs)], results[len(node.outputs) :]

    def pullback(given: list[Value | None]) -> list[Value | None]:
        cts = [
            zeros(builder, value.type) if ct is None else ct
            for value, ct in zip(node.outputs, given, strict=True)
            if is_inexact(value.dtype)
        ]
        again = operands
        if node.attributes.derived:
            token = next(ct for ct in given if ct is not None)
            again = [builder.value(AFTER, [value, token]) for value in operands]
        found = iter(builder.inline(backward, [*again, *residuals, *cts], node.location))
        count = node.attributes.arguments
        return [next(found) if place < count and is_inexact(value.dtype) else None for place, value in enumerate(node.operands)]

    return outputs, pullback


def _cond(builder: Builder, old: Node, node: Node, active: set[Value], given: list[Value | None]) -> list[Value | None]:
    """A cond of the branches' gradients; each branch computes its forward values again."""
    wrt = [place for place, value in enumerate(old.operands[1:]) if value in active]
    kept = [place for place, ct in enumerate(given) if ct is not None]
    cts = [ct for ct in given if ct is not None]
    regions = []
    for region in node.regions:
        inner = Builder(fold=False)
        seeds: list[Value | None] = [None] * len(region.outputs)
        inputs = [Value(ct.type, name=f"ct{place}") for place, ct in zip(kept, cts, strict=True)]
        for place, value in zip(kept, inputs, strict=True):
            seeds[place] = value
        _, results = reverse(inner, region, [region.inputs[i] for i in wrt], seeds)
        outputs = [zeros(inner, region.inputs[i].type) if r is None else r for i, r in zip(wrt, results, strict=True)]
        regions.append(Graph([*region.inputs, *inputs], outputs, "cond gradient"))
    made = builder.node(COND, [*node.operands, *cts], regions=regions, location=node.location)
    found: list[Value | None] = [None] * len(node.operands)
    for place, result in zip(wrt, made.outputs, strict=True):
        found[place + 1] = result
    return found


def _scan(builder: Builder, node: Node, mapping: dict[Value, Value], active: set[Value], reached: set[Value]) -> tuple[Node, Pullback]:
    """A scan that also saves what its backward loop reads, and that loop."""
    attributes: ScanAttributes = node.attributes
    consts, count = attributes.consts, attributes.carry
    (body,) = node.regions
    inputs, parts = body.inputs, attributes.outputs(body.outputs)
    active_inputs, values = _active_inputs(node, active)
    wrt = [place for place, mark in enumerate(active_inputs) if mark]
    carry_marks = attributes.inputs(active_inputs).carry
    y_marks = [v in reached and inner in values for v, inner in zip(attributes.outputs(node.outputs).ys, parts.ys, strict=True)]
    # The backward body, written against the forward body's own values.
    inner = Builder(fold=False)
    seeds: list[Value | None] = [
        Value(v.type, name=f"ct{place}") if mark else None
        for place, (v, mark) in enumerate(zip(body.outputs, [*carry_marks, *y_marks], strict=True))
    ]
    outputs, results = reverse(inner, body, [inputs[place] for place in wrt], seeds)
    read = {place: ct for place, ct in zip(wrt, results, strict=True) if ct is not None or consts <= place < consts + count}
    wrt = list(read)
    cts = [zeros(inner, inputs[place].type) if ct is None else ct for place, ct in read.items()]
    seed_values = [seed for seed in seeds if seed is not None]
    residuals, recomputed = _residuals(body, outputs, cts, seed_values, consts)
    # Forward: the same loop, the residuals (but those that are elements of xs) as further ys.
    x_inputs = dict(zip(attributes.inputs(inputs).xs, attributes.inputs(range(len(inputs))).xs, strict=True))
    saved = [value for value in residuals if value not in x_inputs]
    forward_body = Graph(inputs, [*outputs, *saved], body.name)
    operands = [mapping.get(v, v) for v in node.operands]
    forward = builder.node(SCAN, operands, attributes, [forward_body], node.location)
    stacked = dict(zip(saved, forward.outputs[len(body.outputs) :], strict=True))
    places = attributes.inputs(range(len(inputs)))
    wrt_consts, wrt_carry, wrt_xs = ([place for place in part if place in read] for part in (places.consts, places.carry, places.xs))

    def pullback(given: list[Value | None]) -> list[Value | None]:
        carry_cts, y_cts = given[:count], given[count:]
        ct_carry = [Value(inputs[place].type, name=f"ct_carry{place - consts}") for place in wrt_carry]
        ct_consts = [Value(inputs[place].type, name=f"ct_const{place}") for place in wrt_consts]
        ct_ys = [
            Value(v.type, name=f"ct_y{place}") for place, (v, mark) in enumerate(zip(body.outputs[count:], y_marks, strict=True)) if mark
        ]
        const_values = [Value(value.type, name=value.name) for value in inputs[:consts]]
        residual_values = [Value(value.type, name=value.name or "saved") for value in residuals]
        make = Builder(fold=False)
        table: dict[Value, Value] = dict(zip(inputs[:consts], const_values, strict=True))
        table.update(zip(residuals, residual_values, strict=True))
        table.update(zip(seed_values, [*ct_carry, *ct_ys], strict=True))
        copy_nodes(make, recomputed, table)
        new_cts = dict(zip(wrt, (table[ct] for ct in cts), strict=True))
        totals = [make.value("add", [total, new_cts[place]]) for place, total in zip(wrt_consts, ct_consts, strict=True)]
        results = LoopOutputs([*(new_cts[place] for place in wrt_carry), *totals], [new_cts[place] for place in wrt_xs])
        start = [zeros(builder, inputs[place].type) if (ct := carry_cts[place - consts]) is None else ct for place in wrt_carry]
        start += [zeros(builder, inputs[place].type) for place in wrt_consts]
        xs = [operands[x_inputs[value]] if value in x_inputs else stacked[value] for value in residuals]
        xs += [
            zeros(builder, v.type) if ct is None else ct for v, ct, mark in zip(node.outputs[count:], y_cts, y_marks, strict=True) if mark
        ]
        given_inputs = LoopInputs(const_values, [*ct_carry, *ct_consts], [*residual_values, *ct_ys])
        loop = LoopInputs(operands[:consts], start, xs)
        backward = scan_of(builder, loop, given_inputs, results, node, "scan gradient", reverse=not attributes.reverse)
        found: list[Value | None] = [None] * len(node.operands)
        for place, value in zip([*wrt_carry, *wrt_consts, *wrt_xs], backward, strict=True):
            found[place] = value
        return found

    return forward, pullback


def _active_inputs(node: Node, active: set[Value]) -> tuple[list[bool], set[Value]]:
    """Which inputs of a scan's body have a derivative, and all of the body's values that do."""
    attributes: ScanAttributes = node.attributes
    (body,) = node.regions

    def values_of(marks: Sequence[bool]) -> set[Value]:
        return _active_values(body, [v for v, mark in zip(body.inputs, marks, strict=True) if mark])

    def through(marks: Sequence[bool]) -> list[bool]:
        values = values_of(marks)
        return [value in values for value in body.outputs]

    marks = [is_inexact(v.dtype) and operand in active for v, operand in zip(body.inputs, node.operands, strict=True)]
    marks = settle(marks, attributes.consts, attributes.carry, through)
    return marks, values_of(marks)


def _residuals(
    body: Graph, outputs: Sequence[Value], cts: Sequence[Value], seeds: Sequence[Value], consts: int
) -> tuple[list[Value], list[Node]]:
    """What the backward body reads of the forward one, and the nodes that it holds itself.

    A node is the backward body's if it depends on a seed, or on the loop's constants alone (cheaper than saving it T times).
    """
    forward_values: dict[Value, None] = {}
    invariant = set(body.inputs[:consts])
    backward_nodes: list[Node] = []
    backward = set(seeds)
    for node in reachable_nodes([*cts, *outputs]):
        if any(v in backward for v in node.operands):
            backward.update(node.outputs)
        elif all(v in invariant for v in node.operands):
            invariant.update(node.outputs)
    for node in reachable_nodes(cts):
        if node.outputs[0] in backward:
            backward_nodes.append(node)
    needed = [v for node in backward_nodes for v in node.operands if v not in backward]
    needed += [ct for ct in cts if ct not in backward]
    invariant_needed: list[Value] = []
    for value in needed:
        if value in invariant:
            invariant_needed.append(value)
        else:
            forward_values.setdefault(value)
    nodes = reachable_nodes(invariant_needed) + backward_nodes
    return list(forward_values), sorted(set(nodes), key=lambda node: node.serial)
