"""Rematerialisation: what a forward loop stores for its backward loop, and what the backward loop computes again.

The forward body is cut between what must be there anyway (carries, contractions, transcendental functions) and what the
backward loop reads: a minimum cut, with the bytes of a value as the price of storing it. Cheap arithmetic is computed
again if that stores less; contractions and transcendental functions are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ops.control import SCAN, ScanAttributes
from irdl.ops.elementwise import ABS, ADD, CAST, EQUAL, LESS, LESS_EQUAL, MAXIMUM, MINIMUM, MUL, NEG, NOT_EQUAL, SELECT, SIGN, SUB

_CHEAP = {ABS, ADD, CAST, EQUAL, LESS, LESS_EQUAL, MAXIMUM, MINIMUM, MUL, NEG, NOT_EQUAL, SELECT, SIGN, SUB}
#: Larger bodies are left as they are: the cut is not linear.
_LIMIT = 2000


def remat(graph: Graph) -> Graph:
    """Store less between the forward and backward loops of `graph`."""
    if not graph.has((SCAN,)):
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    users = graph.users()
    #: (forward scan, backward scan) -> the plan for both
    plans = _plans(graph, users)
    forward_plans = {plan.forward: plan for plan in plans}
    backward_plans = {plan.backward: plan for plan in plans}
    stored: dict[Node, dict[Value, Value]] = {}
    for node in graph.nodes:
        outputs: Sequence[Value | None]
        if node in backward_plans:
            plan = backward_plans[node]
            outputs = _emit_backward(builder, plan, mapping, stored[plan.forward])
            mapping.update(zip(node.outputs, outputs, strict=True))
            continue
        operands = [mapping[value] for value in node.operands]
        if node in forward_plans:
            outputs, stored[node] = _emit_forward(builder, forward_plans[node], operands)
        else:
            regions = [remat(region) for region in node.regions]
            outputs = builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        mapping.update({old: new for old, new in zip(node.outputs, outputs, strict=True) if new is not None})
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


class _Plan:
    """A pair of loops over the same steps: the ys only the second reads, and the values to store instead."""

    def __init__(self, forward: Node, backward: Node, residuals: list[int]) -> None:
        self.forward, self.backward = forward, backward
        self.residuals = residuals
        (self.body,) = forward.regions
        self.wanted = [self.body.outputs[place] for place in residuals]
        self.saved = _cut(self.body, forward.attributes, self.wanted)

    @property
    def pays(self) -> bool:
        before = sum(value.type.nbytes for value in dict.fromkeys(self.wanted))
        first_x = self.forward.attributes.consts + self.forward.attributes.carry
        free = {*self.body.inputs[: self.forward.attributes.consts], *self.body.inputs[first_x:]}
        return sum(value.type.nbytes for value in self.saved if value not in free) < before


def _plans(graph: Graph, users: dict[Value, list[Node]]) -> list[_Plan]:
    outputs = set(graph.outputs)
    found: list[_Plan] = []
    taken: set[Node] = set()
    for forward in graph.nodes:
        if forward.op is not SCAN or len(forward.regions[0].nodes) > _LIMIT or forward in taken:
            continue
        readers: dict[Node, list[int]] = {}
        for place in range(forward.attributes.carry, len(forward.outputs)):
            value = forward.outputs[place]
            distinct = set(users[value])
            if len(distinct) == 1 and value not in outputs:
                (reader,) = distinct
                if _reads_as_xs(reader, value, forward.attributes.length):
                    readers.setdefault(reader, []).append(place)
        for backward, places in readers.items():
            if backward in taken:
                continue
            plan = _Plan(forward, backward, places)
            if plan.pays:
                found.append(plan)
                taken |= {forward, backward}
                break
    return found


def _reads_as_xs(node: Node, value: Value, length: int) -> bool:
    if node.op is not SCAN or node.attributes.length != length:
        return False
    return value not in node.operands[: node.attributes.consts + node.attributes.carry]


def _cut(body: Graph, attributes: ScanAttributes, wanted: Sequence[Value]) -> list[Value]:
    """The cheapest values to store from which all of `wanted` can be computed again."""
    import networkx  # takes longer to import than all the rest; few programs need it

    flow = networkx.DiGraph()
    first_x = attributes.consts + attributes.carry
    free = {*body.inputs[: attributes.consts], *body.inputs[first_x:]}

    def price(value: Value) -> int:
        # Constants and elements of xs are there in the backward loop too.
        return 0 if value in free else 1 + value.type.nbytes

    for node in reachable_nodes(wanted):
        cheap = node.op in _CHEAP or node.op.is_view or not node.operands
        for value in node.outputs:
            flow.add_edge((value, 0), (value, 1), capacity=price(value))
            if cheap:
                for operand in node.operands:
                    flow.add_edge((operand, 1), (value, 0))
                if not node.operands:
                    flow[value, 0][value, 1]["capacity"] = 0
                    flow.add_edge("source", (value, 0))
            else:
                flow.add_edge("source", (value, 0))
    for value in body.inputs:
        flow.add_edge((value, 0), (value, 1), capacity=price(value))
        flow.add_edge("source", (value, 0))
    for value in dict.fromkeys(wanted):
        flow.add_edge((value, 1), "sink")
    _, (near, _) = networkx.minimum_cut(flow, "source", "sink")
    order = {value: place for place, value in enumerate([*body.inputs, *(v for n in body.nodes for v in n.outputs)])}
    saved = [value for value in order if (value, 0) in near and flow.has_node((value, 1)) and (value, 1) not in near]
    return [value for value in saved if value.node is None or value.node.operands]


def _emit_forward(builder: Builder, plan: _Plan, operands: list[Value]) -> tuple[list[Value | None], dict[Value, Value]]:
    """The forward loop that stores the plan's values; its old outputs (None for those gone) and what is stored."""
    node, body = plan.forward, plan.body
    attributes: ScanAttributes = node.attributes
    first_x = attributes.consts + attributes.carry
    kept = [place for place in range(len(body.outputs)) if place not in plan.residuals]
    free = dict(zip(body.inputs, operands, strict=True))
    extra = [v for v in plan.saved if v not in body.inputs[: attributes.consts] and v not in body.inputs[first_x:]]
    outputs = [*(body.outputs[place] for place in kept), *extra]
    new_body = remat(Graph(body.inputs, outputs, body.name))
    made = builder.node(SCAN, operands, attributes, [new_body], node.location).outputs
    old: list[Value | None] = [None] * len(body.outputs)
    for place, value in zip(kept, made, strict=False):
        old[place] = value
    stored = dict(zip(extra, made[len(kept) :], strict=True))
    stored.update({v: free[v] for v in plan.saved if v not in stored})
    return old, stored


def _emit_backward(builder: Builder, plan: _Plan, mapping: dict[Value, Value], stored: dict[Value, Value]) -> Sequence[Value]:
    """The backward loop that reads what is stored and computes the rest again."""
    node = plan.backward
    (body,) = node.regions
    attributes: ScanAttributes = node.attributes
    forward_consts = plan.forward.attributes.consts
    residuals = {plan.forward.outputs[place]: plan.body.outputs[place] for place in plan.residuals}
    inner = Builder(fold=False)
    again: dict[Value, Value] = {}
    new_consts: list[Value] = []
    new_xs: list[Value] = []
    const_operands: list[Value] = []
    x_operands: list[Value] = []
    for value in plan.saved:
        fresh = Value(value.type, name=value.name)
        again[value] = fresh
        if value in plan.body.inputs[:forward_consts]:
            new_consts.append(fresh)
            const_operands.append(stored[value])
        else:
            new_xs.append(fresh)
            x_operands.append(stored[value])
    wanted = {residuals[v] for v in node.operands if v in residuals}
    copy_nodes(inner, [n for n in reachable_nodes(list(wanted), set(again)) if n.outputs[0] not in again], again)
    table: dict[Value, Value] = {}
    kept: list[tuple[Value, Value]] = []
    for value, operand in zip(body.inputs, node.operands, strict=True):
        if operand in residuals:
            table[value] = again[residuals[operand]]
        else:
            table[value] = Value(value.type, name=value.name)
            kept.append((table[value], operand))
    copy_nodes(inner, body.nodes, table)
    consts = attributes.consts
    head, tail = kept[:consts], kept[consts:]
    inputs = [*(v for v, _ in head), *new_consts, *(v for v, _ in tail), *new_xs]
    given = [*(mapping[o] for _, o in head), *const_operands, *(mapping[o] for _, o in tail), *x_operands]
    new = replace(attributes, consts=consts + len(new_consts))
    new_body = Graph(inputs, [table[value] for value in body.outputs], body.name)
    return builder.node(SCAN, given, new, [new_body], node.location).outputs
