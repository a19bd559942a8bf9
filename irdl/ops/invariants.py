"""What a loop's steps have in common: nodes that depend on its constants alone leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.control import SCAN, ScanAttributes
from irdl.ops.shape import BROADCAST

#: From a scan, its body with its own loops changed, and its operands in the new graph to its outputs there.
Change = Callable[[Builder, Node, Graph, list[Value]], Sequence[Value]]


def hoist_invariants(graph: Graph) -> Graph:
    """Move what depends on a loop's constants alone out of the loop."""
    return each_scan(graph, lambda builder, node, body, operands: _hoist(builder, node, body, operands, False))


def hoist_for_gradients(graph: Graph) -> Graph:
    """The same before a loop is differentiated: what leads from a parameter to what the steps read of it has its gradient taken once,
    of the sum over the steps, and not in each of them.

    Broadcasts stay: their gradient is a sum, and without it what is added up over the steps would be as large as they are.
    """
    return each_scan(graph, lambda builder, node, body, operands: _hoist(builder, node, body, operands, True))


def each_scan(graph: Graph, change: Change) -> Graph:
    """The graph with every scan changed, inner loops first."""
    if not graph.has((SCAN,)):
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        regions = [each_scan(region, change) for region in node.regions]
        if node.op is SCAN:
            outputs = change(builder, node, regions[0], operands)
        else:
            outputs = builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        mapping.update(zip(node.outputs, outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def is_literal(value: Value) -> bool:
    """It is made by a node of no operands."""
    return value.node is not None and not value.node.operands


def _hoist(builder: Builder, node: Node, body: Graph, operands: list[Value], keep_broadcasts: bool) -> Sequence[Value]:
    attributes: ScanAttributes = node.attributes
    consts = attributes.consts
    moved = _invariant_nodes(body, attributes)
    stay = _widening(body, moved) if keep_broadcasts else set()
    if moved <= stay:
        return builder.node(SCAN, operands, attributes, [body], node.location).outputs
    mapping = dict(zip(body.inputs[:consts], operands[:consts], strict=True))
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
    new_body = Graph([*inputs[:consts], *extra, *inputs[consts:]], outputs, body.name)
    new = replace(attributes, consts=consts + len(extra))
    given = [*operands[:consts], *(mapping[value] for value in wanted), *operands[consts:]]
    return builder.node(SCAN, given, new, [new_body], node.location).outputs


def _invariant_nodes(body: Graph, attributes: ScanAttributes) -> set[Node]:
    """The nodes of a body that depend on the loop's constants alone; of a loop that may not run none."""
    fixed = set(body.inputs[: attributes.consts])
    found: set[Node] = set()
    for node in body.nodes if attributes.length else ():
        if node.operands and all(value in fixed or is_literal(value) for value in node.operands):
            fixed.update(node.outputs)
            found.add(node)
    return found


def _widening(body: Graph, moved: set[Node]) -> set[Node]:
    """Those of the nodes that are broadcasts, or views of broadcasts."""
    found: set[Node] = set()
    for node in body.nodes:
        if node in moved and (node.op is BROADCAST or (node.op.is_view and node.operands[0].node in found)):
            found.add(node)
    return found
