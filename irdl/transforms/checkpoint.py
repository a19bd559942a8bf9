"""Gradients that save less: what lies inside a `checkpoint` is computed again on the way back, and a scan under a byte budget
becomes a loop over segments of which only the carry at each start is kept.

The idea of saving some states of a long computation and computing the others again: A. Griewank, "Achieving logarithmic growth
of temporal and spatial complexity in reverse automatic differentiation", 1992.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from irdl.errors import DifferentiationError
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.dtypes import is_inexact
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops.control import SCAN, ScanAttributes
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.shape import RESHAPE, SLICE, ReshapeAttributes, SliceAttributes
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, is_box, to_value, wrap
from irdl.tracing.checks import absorb
from irdl.tracing.printing import show_later
from irdl.tracing.recorder import current_trace
from irdl.tracing.region import trace_region
from irdl.transforms.custom import CUSTOM_VJP, CustomVjpAttributes
from irdl.transforms.reverse import vjp_graph


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, of which a gradient saves the arguments alone: on the way back, what is inside is computed again.

    Saves memory as the body of a `scan`, or around a part of one; the results are those of `f`. Arguments and results are
    trees of arrays. Called outside a trace, `f` itself runs.
    """

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        leaves, structure = tree.flatten((arguments, options))
        trace = current_trace()
        if trace is None or not any(is_box(leaf) for leaf in leaves):
            return f(*arguments, **options)
        values = [to_value(leaf) for leaf in leaves]
        flat = tree.flatten(tuple(range(len(leaves))))[1]

        def call(*items: Any) -> Any:
            given, named = tree.unflatten(structure, items)
            return f(*given, **named)

        kinds = [tree.leaf_kind(leaf) or ARRAY for leaf in leaves]
        region = trace_region(
            call, [value.type for value in values], flat, kinds, getattr(f, "__name__", "checkpoint"), prints=True, raises=True
        )
        operands = [*values, *region.operands]
        try:
            regions = _with_derivative(region.graph)
        except DifferentiationError:
            return f(*arguments, **options)  # a gradient, if any is asked for, says why there is none
        results = trace.apply(CUSTOM_VJP, operands, CustomVjpAttributes(len(operands), derived=True), regions)
        count = len(region.kinds)
        shown, codes = region.hidden(results)
        if region.printed is not None:
            show_later(region.printed, shown)
        absorb(region.checked, codes)
        return tree.unflatten(region.structure, [wrap(value, kind) for value, kind in zip(results[:count], region.kinds, strict=True)])

    return wrapped


def _with_derivative(graph: Graph) -> list[Graph]:
    """The regions of a custom_vjp that saves its operands alone."""
    floats = [place for place, value in enumerate(graph.inputs) if is_inexact(value.dtype)]
    both = vjp_graph(graph, floats)
    backward = Graph(both.inputs, both.outputs[len(graph.outputs) :], graph.name)
    return [graph, graph, backward]


# A byte budget.


@dataclass(frozen=True)
class _Cost:
    """Bytes that a scan and its gradient keep: in any case, for each step, and for each start of a segment."""

    fixed: int
    step: int
    start: int
    length: int

    def at(self, segment: int) -> int:
        """With segments of `segment` steps; one segment is the plain loop."""
        if segment >= self.length:
            return self.fixed + self.step * self.length
        return self.fixed + self.start * (self.length // segment) + self.step * (segment + self.length % segment)

    def cheapest(self) -> int:
        """The length of segments that keeps least."""
        near = math.isqrt(max(1, self.start * self.length // max(1, self.step)))
        candidates = {self.length, *(s for s in range(near // 2, 2 * near + 2) if 1 < s < self.length)}
        return min(candidates, key=self.at)

    def longest(self, budget: int) -> int:
        """The longest segments within a budget, or the cheapest; a length that leaves no rest is preferred."""
        if self.at(self.length) <= budget:
            return self.length
        fitting = [s for s in range(self.length // 2, 1, -1) if self.at(s) <= budget]
        if not fitting:
            return self.cheapest()
        even = [s for s in fitting if self.length % s == 0 and s >= fitting[0] // 2]
        return even[0] if even else fitting[0]


def within(graph: Graph, max_bytes: int) -> Graph:
    """`graph` with its scans in segments, so that what its gradient saves stays below `max_bytes`.

    The estimate counts, for every step that is kept, what the backward loop reads of the forward one and as much again for what
    it makes itself; the arena of the compiled function is the exact figure (`Compiled.memory`).

    Raises:
        DifferentiationError: even the cheapest segments would need more.
    """
    costs = {node: _cost(node) for node in graph.nodes if node.op is SCAN}
    total = sum(cost.at(cost.length) for cost in costs.values())
    least = sum(cost.at(cost.cheapest()) for cost in costs.values())
    if least > max_bytes:
        raise DifferentiationError(f"the gradient needs about {least:,} bytes for what its loops save, more than max_bytes={max_bytes:,}")
    if total <= max_bytes:
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        cost = costs.get(node)
        # Each loop gets its share of the budget, no less than it cannot do without.
        share = 0 if cost is None else cost.at(cost.cheapest()) + (max_bytes - least) * cost.at(cost.length) // max(1, total)
        segment = cost.longest(share) if cost is not None else 0
        if cost is None or segment >= cost.length:
            copy_nodes(builder, [node], mapping)
        else:
            outputs = _in_segments(builder, node, [mapping[value] for value in node.operands], segment)
            mapping.update(zip(node.outputs, outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _cost(node: Node) -> _Cost:
    """From the loop's own gradient, all of its float operands differentiated."""
    attributes: ScanAttributes = node.attributes
    inputs = [Value(value.type) for value in node.operands]
    made = Builder(fold=False).node(SCAN, inputs, attributes, node.regions)
    floats = [place for place, value in enumerate(inputs) if is_inexact(value.dtype)]
    gradient = vjp_graph(Graph(inputs, made.outputs), floats)
    forward = next((n for n in gradient.nodes if n.op is SCAN and n.attributes.reverse == attributes.reverse), None)
    saved = forward.outputs[len(node.outputs) :] if forward is not None else ()
    step = sum(value.type.nbytes for value in saved) // max(1, attributes.length)
    start = sum(value.type.nbytes for value in node.outputs[: attributes.carry])
    # The stacked results, and the loop's constants once more: packed, or as sums of their gradients.
    fixed = sum(value.type.nbytes for value in (*node.outputs[attributes.carry :], *node.operands[: attributes.consts]))
    return _Cost(fixed, 2 * step, start, attributes.length)


def _in_segments(builder: Builder, node: Node, operands: list[Value], segment: int) -> list[Value]:
    """The scan as a loop over segments, each a checkpointed scan, with the steps left over done plainly at the end."""
    attributes: ScanAttributes = node.attributes
    length = attributes.length
    number, rest = divmod(length, segment)
    steps = number * segment
    # The first steps in the order of the loop make the segments.
    first, left = (rest, 0) if attributes.reverse else (0, steps)
    given = attributes.inputs(operands)
    (body,) = node.regions
    inputs = attributes.inputs(body.inputs)
    inner_inputs = [Value(v.type, name=v.name) for v in (*inputs.consts, *inputs.carry)]
    inner_inputs += [Value(TensorType(v.dtype, (segment, *v.shape)), name=v.name) for v in inputs.xs]
    inner = Builder(fold=False).node(SCAN, inner_inputs, replace(attributes, length=segment), [body], node.location)
    regions = _with_derivative(Graph(inner_inputs, inner.outputs, body.name))
    outer_inputs = [Value(v.type, name=v.name) for v in inner_inputs]
    kept = CustomVjpAttributes(len(outer_inputs), derived=True)
    step = Builder(fold=False).node(CUSTOM_VJP, outer_inputs, kept, regions, node.location)
    outer_body = Graph(outer_inputs, step.outputs, body.name)
    cut = [_reshape(builder, _steps(builder, x, first, steps), (number, segment, *x.shape[1:])) for x in given.xs]
    outer = replace(attributes, length=number, segments=True)
    made = outer.outputs(builder.node(SCAN, [*given.consts, *given.carry, *cut], outer, [outer_body], node.location).outputs)
    last, ys = list(made.carry), [_reshape(builder, y, (steps, *y.shape[2:])) for y in made.ys]
    if rest:
        few = [_steps(builder, x, left, rest) for x in given.xs]
        short = replace(attributes, length=rest)
        plain = short.outputs(builder.node(SCAN, [*given.consts, *last, *few], short, [body], node.location).outputs)
        last = list(plain.carry)
        pairs = [(b, a) if attributes.reverse else (a, b) for a, b in zip(ys, plain.ys, strict=True)]
        ys = [builder.value(CONCAT, pair, ConcatAttributes(0)) for pair in pairs]
    return [*last, *ys]


def _steps(builder: Builder, x: Value, start: int, count: int) -> Value:
    if count == x.shape[0]:
        return x
    zeros, ones = (0,) * (len(x.shape) - 1), (1,) * len(x.shape)
    return builder.value(SLICE, [x], SliceAttributes((start, *zeros), (start + count, *x.shape[1:]), ones))


def _reshape(builder: Builder, x: Value, shape: tuple[int, ...]) -> Value:
    return builder.value(RESHAPE, [x], ReshapeAttributes(shape))
