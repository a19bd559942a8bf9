"""Dead parts of loops: outputs nobody reads, carries that feed only themselves, operands the body does not use."""

from __future__ import annotations

from dataclasses import replace

from irdl.ir.builder import Builder, constant_of, copy_nodes, fresh_inputs, is_uniform
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ops.control import COND, SCAN, WHILE, ScanAttributes, WhileAttributes
from irdl.ops.loop_parts import LoopInputs
from irdl.ops.shape import BROADCAST, BroadcastAttributes

_CONTROL = (SCAN, COND, WHILE)


def prune(graph: Graph) -> Graph:
    """Rebuild `graph` with its loops and branches reduced to what their used outputs need."""
    if not graph.has(_CONTROL):
        return graph
    used = set(graph.outputs)
    for node in graph.nodes:
        used.update(node.operands)
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        if node.op is SCAN:
            mapping.update(_scan(builder, node, operands, used))
        elif node.op is COND:
            mapping.update(_cond(builder, node, operands, used))
        elif node.op is WHILE:
            mapping.update(_while(builder, node, operands, used))
        else:
            regions = [prune(region) for region in node.regions]
            made = builder.node(node.op, operands, node.attributes, regions, node.location)
            mapping.update(zip(node.outputs, made.outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _reads(outputs: list[Value]) -> set[Value]:
    values = set(outputs)
    for node in reachable_nodes(outputs):
        values.update(node.operands)
    return values


def _cut(body: Graph, outputs: list[Value]) -> tuple[Graph, set[Value]]:
    """What these outputs need of a body, of its own loops too, and which of the body's inputs that reads."""
    cut = prune(Graph(list(body.inputs), outputs, body.name))
    reads = _reads(list(cut.outputs))
    return cut, {value for value, new in zip(body.inputs, cut.inputs, strict=True) if new in reads}


def _scan(builder: Builder, node: Node, operands: list[Value], used: set[Value]) -> dict[Value, Value]:
    attributes: ScanAttributes = node.attributes
    body = _with_known_inputs(node, operands)
    count = attributes.carry
    given, inputs = attributes.inputs(operands), attributes.inputs(body.inputs)
    ys = [place for place in range(count, len(body.outputs)) if node.outputs[place] in used]
    live = {place for place in range(count) if node.outputs[place] in used}
    while True:
        _, reads = _cut(body, [body.outputs[place] for place in (*sorted(live), *ys)])
        grown = live | {place for place in range(count) if inputs.carry[place] in reads}
        if grown == live:
            break
        live = grown
    # A carry that comes back as it went in is a constant of the loop.
    fixed = [place for place in sorted(live) if body.outputs[place] is inputs.carry[place]]
    carries = [place for place in sorted(live) if place not in fixed]
    outputs = [body.outputs[place] for place in (*carries, *ys)]
    cut, reads = _cut(body, outputs)

    def kept(parts: LoopInputs[Value]) -> LoopInputs[Value]:
        consts = [value for value, inner in zip(parts.consts, inputs.consts, strict=True) if inner in reads]
        consts += [parts.carry[place] for place in fixed if inputs.carry[place] in reads]
        xs = [value for value, inner in zip(parts.xs, inputs.xs, strict=True) if inner in reads]
        return LoopInputs(consts, [parts.carry[place] for place in carries], xs)

    found: dict[Value, Value] = {node.outputs[place]: given.carry[place] for place in fixed}
    if outputs:
        left = kept(given)
        new_body = Graph(list(kept(attributes.inputs(cut.inputs))), cut.outputs, body.name)
        new = replace(attributes, consts=len(left.consts), carry=len(left.carry))
        made = builder.node(SCAN, list(left), new, [new_body], node.location)
        found.update(zip([node.outputs[place] for place in (*carries, *ys)], made.outputs, strict=True))
    return found


def _with_known_inputs(node: Node, operands: list[Value]) -> Graph:
    """The body with constants, and xs that are one element stretched over the steps, made inside it; of what it is given twice as a
    constant, or as xs, it reads the first."""
    (body,) = node.regions
    builder = Builder(fold=False)
    mapping: dict[Value, Value] = {}
    inputs: list[Value] = []
    first_x = node.attributes.consts + node.attributes.carry
    given: dict[tuple[Value, bool], Value] = {}
    for place, (value, operand) in enumerate(zip(body.inputs, operands, strict=True)):
        fresh = Value(value.type, name=value.name)
        inputs.append(fresh)
        is_carry = node.attributes.consts <= place < first_x
        mapping[value] = fresh if is_carry else given.setdefault((operand, place >= first_x), fresh)
        if place < node.attributes.consts:
            array = constant_of(operand)
            if array is not None and array.size == 1:
                mapping[value] = builder.constant(array)
        elif place >= first_x:
            known = _stretched(builder, operand)
            if known is not None:
                mapping[value] = known
    copy_nodes(builder, body.nodes, mapping)
    return Graph(inputs, [mapping[value] for value in body.outputs], body.name)


def _stretched(builder: Builder, operand: Value) -> Value | None:
    """One step's element of xs that are one known number everywhere."""
    node = operand.node
    while node is not None and node.op.is_view:
        node = node.operands[0].node
    array = None if node is None else constant_of(node.output)
    if array is None or not is_uniform(array):
        return None
    value = builder.constant(array.reshape(-1)[0])
    shape = operand.shape[1:]
    return value if not shape else builder.value(BROADCAST, [value], BroadcastAttributes(shape))


def _cond(builder: Builder, node: Node, operands: list[Value], used: set[Value]) -> dict[Value, Value]:
    places = [place for place, value in enumerate(node.outputs) if value in used]
    if not places:
        return {}
    reads = set().union(*(_reads([region.outputs[place] for place in places]) for region in node.regions))
    kept = [place for place in range(len(operands) - 1) if any(region.inputs[place] in reads for region in node.regions)]
    regions = [
        prune(Graph([region.inputs[place] for place in kept], [region.outputs[place] for place in places], region.name))
        for region in node.regions
    ]
    made = builder.node(COND, [operands[0], *(operands[place + 1] for place in kept)], regions=regions, location=node.location)
    return dict(zip([node.outputs[place] for place in places], made.outputs, strict=True))


def _while(builder: Builder, node: Node, operands: list[Value], used: set[Value]) -> dict[Value, Value]:
    condition, body = node.regions
    first, second = node.attributes.cond_consts, node.attributes.body_consts
    if not any(value in used for value in node.outputs):
        return {}
    asking, asked = _cut(condition, list(condition.outputs))
    live = {place for place, value in enumerate(node.outputs) if value in used or condition.inputs[first + place] in asked}
    while True:
        cut, reads = _cut(body, [body.outputs[place] for place in sorted(live)])
        grown = live | {place for place in range(len(body.outputs)) if body.inputs[second + place] in reads}
        if grown == live:
            break
        live = grown
    carries = sorted(live)
    cond_consts = [place for place in range(first) if condition.inputs[place] in asked]
    body_consts = [place for place in range(second) if body.inputs[place] in reads]
    regions = [
        Graph([graph.inputs[place] for place in (*consts, *(count + place for place in carries))], graph.outputs, graph.name)
        for graph, consts, count in ((asking, cond_consts, first), (cut, body_consts, second))
    ]
    given = [
        operands[place]
        for place in (*cond_consts, *(first + place for place in body_consts), *(first + second + place for place in carries))
    ]
    made = builder.node(WHILE, given, WhileAttributes(len(cond_consts), len(body_consts)), regions, node.location)
    return dict(zip([node.outputs[place] for place in carries], made.outputs, strict=True))
