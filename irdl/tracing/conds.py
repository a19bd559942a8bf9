"""A `cond` of the regions of its two sides: what they read, return and print brought together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.builder import Builder
from irdl.ir.graph import Graph, Value
from irdl.ops.control import COND
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import ARRAY, PYTHON, result_kind
from irdl.tracing.printing import chosen, together
from irdl.tracing.recorder import open_trace
from irdl.tracing.region import Region


def record_cond(predicate: Value, values: Sequence[Value], regions: Sequence[Region], count: int) -> list[Value]:
    """The `count` results of a cond in the current trace; both regions give them with the same types. What either prints is printed.

    Args:
        predicate: a bool scalar.
        values: what the regions' explicit inputs are.
    """
    trace = open_trace()
    shared = list(dict.fromkeys([*regions[0].operands, *regions[1].operands]))
    graphs = [_widen(region, shared, len(values)) for region in regions]
    prints = any(region.printed is not None for region in regions)
    if prints:
        graphs = _give_both(graphs, count)
    results = trace.apply(COND, [predicate, *values, *shared], regions=graphs) if graphs[0].outputs else ()
    if prints:
        trace.printed.append(chosen(predicate, [region.printed or together(()) for region in regions], results[count:]))
    return list(results[:count])


def joined_dtype(a: np.dtype, b: np.dtype, first: str, second: str) -> np.dtype:
    """The dtype of two branches' results, of these kinds; a Python scalar gives way to the other."""
    if first == PYTHON and second != PYTHON:
        return np.result_type(a.type(0).item(), b)
    if second == PYTHON and first != PYTHON:
        return np.result_type(a, b.type(0).item())
    return np.result_type(a, b)


def joined_kind(value: Value, first: str, second: str) -> str:
    """The kind of a result that is of these kinds on the two sides."""
    return result_kind(value.type) if ARRAY in (first, second) or first != second else first


def _widen(region: Region, shared: Sequence[Value], explicit: int) -> Graph:
    """The region's graph with one input for each of `shared`, used or not."""
    inner = dict(zip(region.operands, region.graph.inputs[explicit:], strict=True))
    extra = [inner.get(value) or Value(value.type) for value in shared]
    return Graph([*region.graph.inputs[:explicit], *extra], region.graph.outputs, region.graph.name)


def _give_both(graphs: Sequence[Graph], count: int) -> list[Graph]:
    """Two branches, each with what the other gives behind its results too, as zeros."""
    first, second = (list(graph.outputs) for graph in graphs)
    builder = Builder(fold=False)
    zeros = [
        [builder.value(BROADCAST, [builder.constant(0, value.dtype)], BroadcastAttributes(value.shape)) for value in more[count:]]
        for more in (first, second)
    ]
    outputs = ([*first, *zeros[1]], [*second[:count], *zeros[0], *second[count:]])
    return [Graph(graph.inputs, found, graph.name) for graph, found in zip(graphs, outputs, strict=True)]
