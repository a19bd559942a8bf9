"""What a loop's steps have in common: nodes that depend on its constants alone leave it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.ops.control import SCAN, WHILE, ScanAttributes, WhileAttributes
from irdl.ops.elementwise import Elementwise
from irdl.ops.shape import BROADCAST

#: cycles of a vector, as ops count them
_CHEAP = 1.0

#: From a loop, its regions with their own loops changed, and its operands in the new graph to its outputs there.
Change = Callable[[Builder, Node, Sequence[Graph], list[Value]], Sequence[Value]]


def hoist_invariants(graph: Graph) -> Graph:
    """Move what depends on a loop's constants alone out of the loop; of a `while`, which may run no step, what cannot raise.

    What costs no more than to read it, as it is larger than what it is made of, stays.
    """
    return each_loop(graph, partial(_hoist, broadcasts=False), (SCAN, WHILE))


def hoist_for_gradients(graph: Graph) -> Graph:
    """The same before a loop is differentiated: what leads from a parameter to what the steps read of it has its gradient taken once,
    of the sum over the steps, and not in each of them.

    Broadcasts stay: their gradient is a sum, and without it what is added up over the steps would be as large as they are.
    """
    return each_loop(graph, partial(_hoist, broadcasts=True), (SCAN,))


def each_loop(graph: Graph, change: Change, ops: Container[Op]) -> Graph:
    """The graph with every loop that is one of the `ops` changed, inner loops first."""
    if not graph.has(ops):
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        regions = [each_loop(region, change, ops) for region in node.regions]
        if node.op in ops:
            outputs = change(builder, node, regions, operands)
        else:
            outputs = builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        mapping.update(zip(node.outputs, outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def is_literal(value: Value) -> bool:
    """It is made by a node of no operands."""
    return value.node is not None and not value.node.operands


def _hoist(builder: Builder, node: Node, regions: Sequence[Graph], operands: list[Value], broadcasts: bool) -> Sequence[Value]:
    attributes: Any = node.attributes
    if node.op is WHILE:
        return _hoist_while(builder, node, regions, operands)
    consts, (body,) = attributes.consts, regions
    moved = _invariant_nodes(body, consts) if attributes.length else set()
    body, extra = _without(builder, body, operands[:consts], moved, _widening(body, moved, broadcasts))
    new: ScanAttributes = replace(attributes, consts=consts + len(extra))
    return builder.node(SCAN, [*operands[:consts], *extra, *operands[consts:]], new, [body], node.location).outputs


def _hoist_while(builder: Builder, node: Node, regions: Sequence[Graph], operands: list[Value]) -> Sequence[Value]:
    """The condition is computed at least once, the body may never be."""
    attributes: WhileAttributes = node.attributes
    first, second = attributes.cond_consts, attributes.body_consts
    of_condition, of_body, carry = operands[:first], operands[first : first + second], operands[first + second :]
    condition, more = _without(builder, regions[0], of_condition, _invariant_nodes(regions[0], first), set())
    body, extra = _without(builder, regions[1], of_body, _invariant_nodes(regions[1], second, harmless=True), set())
    new = WhileAttributes(first + len(more), second + len(extra))
    given = [*of_condition, *more, *of_body, *extra, *carry]
    return builder.node(WHILE, given, new, [condition, body], node.location).outputs


def _without(builder: Builder, body: Graph, consts: Sequence[Value], moved: set[Node], stay: set[Node]) -> tuple[Graph, list[Value]]:
    """A body whose first inputs are `consts` outside, without the nodes that moved there, but with those that `stay` as well; and what
    it takes behind its constants instead."""
    if moved <= stay:
        return body, []
    count = len(consts)
    mapping = dict(zip(body.inputs[:count], consts, strict=True))
    literals = [n for n in body.nodes if not n.operands and any(n.output in m.operands for m in moved)]
    copy_nodes(builder, sorted([*moved, *literals], key=lambda n: n.serial), mapping)
    left = [n for n in body.nodes if n not in moved or n in stay]
    read = {value for n in left for value in n.operands} | set(body.outputs)
    wanted = [value for n in body.nodes if n in moved - stay for value in n.outputs if value in read]
    inputs = fresh_inputs(body.inputs)
    extra = [Value(value.type, name=value.name) for value in wanted]
    inner_mapping = dict(zip([*body.inputs, *wanted], [*inputs, *extra], strict=True))
    copy_nodes(Builder(fold=False), left, inner_mapping)
    outputs = [inner_mapping[value] for value in body.outputs]
    return Graph([*inputs[:count], *extra, *inputs[count:]], outputs, body.name), [mapping[value] for value in wanted]


def _invariant_nodes(body: Graph, consts: int, harmless: bool = False) -> set[Node]:
    """The nodes of a body that depend on the loop's constants alone; of those that are `harmless`, which cannot raise."""
    fixed = set(body.inputs[:consts])
    found: set[Node] = set()
    for node in body.nodes:
        if harmless and (node.op.can_raise or any(inner.op.can_raise for region in node.regions for inner in region.all_nodes())):
            continue
        if node.operands and all(value in fixed or is_literal(value) for value in node.operands):
            fixed.update(node.outputs)
            found.add(node)
    return found


def _widening(body: Graph, moved: set[Node], broadcasts: bool) -> set[Node]:
    """Those of the nodes that make more than they read, at no cost, for steps that do so too; and broadcasts, where these are asked for.
    Views of them too."""
    found: set[Node] = set()
    users = body.users()
    for node in body.nodes:
        if node not in moved:
            continue
        wider = isinstance(node.op, Elementwise) and node.op.cycles <= _CHEAP and _bytes(node.outputs) > _bytes(node.operands)
        wider = wider and node.output not in body.outputs and all(user.op.is_elementwise for user in users[node.output])
        if wider or (broadcasts and node.op is BROADCAST) or (node.op.is_view and node.operands[0].node in found):
            found.add(node)
    return found


def _bytes(values: Sequence[Value]) -> int:
    return sum(value.type.nbytes for value in values)
