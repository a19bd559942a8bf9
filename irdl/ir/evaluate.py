"""The interpreter: what a graph means, in NumPy. It is the first oracle of every pass and backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from irdl.errors import GraphError
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType


def evaluate(graph: Graph, arguments: Sequence[np.ndarray], known: Mapping[Value, np.ndarray] | None = None) -> list[np.ndarray]:
    """Run `graph` on arrays of its input types.

    `known` may hold values computed already, which are then not computed again.

    Raises:
        GraphError: an argument is not of its input's type.
        IndexError: a gather or scatter met an index out of range.
    """
    environment: dict[Value, np.ndarray] = dict(known or {})
    if len(arguments) != len(graph.inputs):
        raise GraphError(f"{graph!r} takes {len(graph.inputs)} arguments, not {len(arguments)}")
    for value, argument in zip(graph.inputs, arguments, strict=True):
        array = np.asarray(argument)
        if TensorType.of(array) != value.type:
            raise GraphError(f"argument {value.name or ''} is {TensorType.of(array)}, the graph wants {value.type}")
        environment[value] = array
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if all(value in environment for value in node.outputs):
                continue
            operands = [environment[value] for value in node.operands]
            results = node.op.evaluate(operands, node.attributes, node.regions)
            for value, result in zip(node.outputs, results, strict=True):
                array = np.asarray(result)
                if array.dtype != value.dtype or array.shape != value.shape:
                    raise GraphError(f"{node} evaluated to {array.dtype}{list(array.shape)}")
                environment[value] = array
    return [environment[value] for value in graph.outputs]
