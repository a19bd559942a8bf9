"""Taking out what depends on static inputs alone.

   f(x, W: static) = x @ pack(W)
->
   preparation(W) = pack(W)        # once
   f(x, packed)   = x @ packed     # at each call
"""

from __future__ import annotations

from irdl.ir.builder import Builder, constant_of, copy_nodes
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.fusion import FUSED
from irdl.passes.fuse import is_inline_view


def precompute(graph: Graph, static_inputs: int) -> tuple[Graph, Graph]:
    """Split off what depends on the last `static_inputs` inputs alone.

    Returns:
        the preparation, from the static inputs to what the rest reads of it, and the rest, with these values as its last inputs.
    """
    first = len(graph.inputs) - static_inputs
    ready: set[Value] = set(graph.inputs[first:])
    rest: dict[Node, None] = {}
    for node in graph.nodes:
        others = [value for value in node.operands if constant_of(value) is None]
        if others and all(value in ready for value in others) and _can_be_prepared(node):
            ready.update(node.outputs)
        else:
            rest[node] = None
    # Views of what is ready stay: they cost nothing there, and a broadcast one would take memory here.
    pending = [value for value in (*graph.outputs, *(v for node in rest for v in node.operands)) if value in ready]
    prepared: dict[Value, Value] = {}
    kept: set[Node] = set()
    while pending:
        value = pending.pop()
        if value.node is not None and is_inline_view(value.node):
            kept.add(value.node)
            pending += [operand for operand in value.node.operands if operand in ready]
        elif value not in prepared:
            prepared[value] = Value(value.type, name=_name(value))
    preparation = Graph(graph.inputs[first:], list(prepared), graph.name)
    mapping = {value: Value(value.type, name=value.name) for value in graph.inputs[:first]}
    inputs = [*mapping.values(), *prepared.values()]
    mapping |= prepared
    copy_nodes(Builder(fold=False), [node for node in graph.nodes if node in kept or node in rest], mapping)
    return preparation, Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _name(value: Value) -> str:
    """After the input it comes from."""
    parts: list[str] = []
    while value.node is not None and not value.name:
        parts.append(value.node.op.name)
        value = next((operand for operand in value.node.operands if constant_of(operand) is None), value.node.operands[0])
    return ".".join([value.name or "static", *reversed(parts)])


def _can_be_prepared(node: Node) -> bool:
    """Beforehand, in NumPy: without loops, which NumPy runs step by step, and without values in between that only a fused
    loop has the memory for."""
    if node.op.can_raise or (node.regions and node.op is not FUSED):
        return False
    inner = [inner for region in node.regions for inner in region.nodes]
    largest = max(value.type.size for value in (*node.operands, *node.outputs))
    return all(not n.op.can_raise and not n.regions and all(v.type.size <= largest for v in n.outputs) for n in inner)
