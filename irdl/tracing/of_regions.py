"""`cond` and `while` as ops, of the regions of their parts: what these read, return, print and check brought together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.builder import Builder
from irdl.ir.graph import Graph, Value
from irdl.ops.control import COND, WHILE, WhileAttributes
from irdl.ops.elementwise import BITWISE_AND, EQUAL
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing import checks
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
    graphs = _give_both([_widen(region, shared, len(values)) for region in regions], count)
    results = trace.apply(COND, [predicate, *values, *shared], regions=graphs) if graphs[0].outputs else ()
    end = len(regions[0].graph.outputs)
    both = [region.hidden(hidden) for region, hidden in zip(regions, (results[:end], [*results[:count], *results[end:]]), strict=True)]
    if any(region.printed is not None for region in regions):
        shown = [value for printed, _ in both for value in printed]
        trace.printed.append(chosen(predicate, [region.printed or together(()) for region in regions], shown))
    for region, (_, codes) in zip(regions, both, strict=True):
        checks.absorb(region.checked, codes)  # of the side that is not taken there are none
    return list(results[:count])


def record_while(condition: Region, body: Region, values: Sequence[Value]) -> list[Value]:
    """What a while in the current trace carries at its end. Where a check of its body fails, that is its last step.

    Args:
        values: what it carries at first, of the types that the body takes and gives.
    """
    trace, count = open_trace(), len(values)
    attributes = WhileAttributes(len(condition.operands), len(body.operands))
    # What its checks come to is carried.
    first = [checks.unrecorded(value.type) for value in body.graph.outputs[count:]]
    results = trace.apply(WHILE, [*condition.operands, *body.operands, *values, *first], attributes, _parts(condition, body, count))
    checks.absorb(body.checked, results[count:])
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


def _parts(condition: Region, body: Region, count: int) -> list[Graph]:
    """The graphs of a while_loop: constants first, then the carry, behind it what the checks of the body come to."""
    types = body.graph.output_types[count:]
    graphs = []
    for graph in (condition.graph, body.graph):
        carried = [Value(type) for type in types]
        outputs = graph.outputs
        if graph is condition.graph and carried:
            builder = Builder(fold=False)
            none = builder.value(EQUAL, [carried[0], builder.constant(0, carried[0].dtype)])
            outputs = (builder.value(BITWISE_AND, [*outputs, none]),)
        graphs.append(Graph([*graph.inputs[count:], *graph.inputs[:count], *carried], outputs, graph.name))
    return graphs
