"""The verifier: re-infers every type and checks that every graph is closed."""

from __future__ import annotations

from collections.abc import Iterable

from irdl.errors import GraphError
from irdl.ir.graph import Graph, Value
from irdl.ir.op import find_op
from irdl.ir.types import TensorType


def verify(graph: Graph) -> None:
    """Check `graph` and all its regions.

    Raises:
        GraphError: what is wrong, with the node it is wrong at.
    """
    known: set[Value] = set()
    for value in graph.inputs:
        if value.node is not None:
            raise GraphError(f"input {value} of {graph!r} is computed by {value.node}")
        if value in known:
            raise GraphError(f"{graph!r} lists one input twice")
        known.add(value)
    for node in graph.nodes:
        for operand in node.operands:
            if operand not in known:
                raise GraphError(f"{node} reads {operand}, which {graph!r} neither takes nor computes")
        if find_op(node.op.name) is not node.op:
            raise GraphError(f"{node} uses an op that is not registered")
        if not isinstance(node.attributes, node.op.Attributes):
            raise GraphError(f"{node} holds {type(node.attributes).__name__}, not {node.op.Attributes.__name__}")
        for region in node.regions:
            verify(region)
        try:
            types = tuple(node.op.infer([v.type for v in node.operands], node.attributes, node.regions))
        except GraphError as error:
            raise GraphError(f"{node}: {error}") from None
        stated = tuple(value.type for value in node.outputs)
        if types != stated:
            raise GraphError(f"{node.op.name} gives {_types(types)}, but the graph says {_types(stated)}")
        known.update(node.outputs)
    for value in graph.outputs:
        if value not in known:
            raise GraphError(f"output {value} is neither an input of {graph!r} nor computed in it")


def _types(types: Iterable[TensorType]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"
