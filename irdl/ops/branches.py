"""Conds and loops opened: what their regions hold of the outside is computed outside.

    cond(p, f(x[3], 2.0), g(x))   ->  cond(p, f(x3, two), g(x)), of x3 = x[3] and two = 2.0

Nothing can fail that was not computed before: views and constants cannot. With it stores of a cond's sides are done behind it
(`side_stores`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from irdl.ir.builder import CONSTANT, make_node
from irdl.ir.graph import Graph, Node, Value, canonical_order
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.control import COND, SCAN, WHILE, WhileAttributes
from irdl.ops.shape import RESHAPE, REVERSE, SLICE, TRANSPOSE
from irdl.ops.side_stores import Make, results_apart, with_stores

CONTROL = frozenset((COND, SCAN, WHILE))
#: views that are computed outside; a broadcast would be an array of its own there
_VIEWS = frozenset((SLICE, RESHAPE, TRANSPOSE, REVERSE))


def opened(make: Make, node: Node, operands: Sequence[Value]) -> list[Value]:
    """What stands for the outputs of a cond or a loop once all that can be is done outside of it, of those within it too."""
    regions = [opened_within(region) for region in node.regions]
    if any(a is not b for a, b in zip(regions, node.regions, strict=True)):
        node = _like(node, node.operands, node.attributes, regions)
    apart = results_apart(node.regions) if node.op is COND else None
    if apart is None:
        return list(known_outside(make, node, operands))
    regions, results = apart
    types = regions[0].output_types
    values = known_outside(make, Node(COND, node.operands, NO_ATTRIBUTES, regions, types, node.location), operands) if types else ()
    return with_stores(make, results, operands, values)


def opened_within(graph: Graph) -> Graph:
    """A graph with its conds and loops opened."""
    if not any(node.op in CONTROL for node in graph.nodes):
        return graph
    now: dict[Value, Value] = {value: value for value in graph.inputs}
    for node in graph.nodes:
        operands = [now[value] for value in node.operands]
        outputs: Sequence[Value]
        if node.op in CONTROL:
            outputs = opened(make_node, node, operands)
        elif all(a is b for a, b in zip(operands, node.operands, strict=True)):
            outputs = node.outputs
        else:
            types = [value.type for value in node.outputs]
            outputs = Node(node.op, operands, node.attributes, node.regions, types, node.location).outputs
        now.update(zip(node.outputs, outputs, strict=True))
    return Graph(graph.inputs, [now[value] for value in graph.outputs], graph.name)


def known_outside(make: Make, node: Node, operands: Sequence[Value]) -> Sequence[Value]:
    """The outputs of a cond or a loop with the constants of its regions, and views of what they are given from outside, computed outside."""
    attributes: Any = node.attributes
    if node.op is COND:
        values, graphs = _cond_parts(make, node, operands)
    elif node.op is SCAN:
        consts, (graph,) = _loop_parts(make, node.regions, [operands[: attributes.consts]])
        values, graphs = [*consts[0], *operands[attributes.consts :]], [graph]
        attributes = replace(attributes, consts=len(consts[0]))
    else:
        first, second = attributes.cond_consts, attributes.cond_consts + attributes.body_consts
        consts, graphs = _loop_parts(make, node.regions, [operands[:first], operands[first:second]])
        values = [*consts[0], *consts[1], *operands[second:]]
        attributes = WhileAttributes(*map(len, consts))
    return make(node.op, values, attributes, graphs, node.location).outputs


def _loop_parts(make: Make, regions: Sequence[Graph], given: Sequence[Sequence[Value]]) -> tuple[list[list[Value]], list[Graph]]:
    """Regions that take constants of a loop first: their new constants, and what they become."""
    values, graphs = [], []
    for region, operands in zip(regions, given, strict=True):
        part = _Outside(make, region, region.inputs[: len(operands)], operands)
        consts = part.consts(operands)
        values.append([value for _, value in consts])
        graphs.append(Graph([*(inner for inner, _ in consts), *region.inputs[len(operands) :]], part.outputs, region.name))
    return values, graphs


def _cond_parts(make: Make, node: Node, operands: Sequence[Value]) -> tuple[list[Value], list[Graph]]:
    """Each side takes what it reads itself, in the order in which it reads that: which values happen to be one does not matter."""
    sides = [_Outside(make, region, region.inputs, operands[1:]) for region in node.regions]
    read = [side.in_order(operands[1:]) for side in sides]
    graphs = []
    for side in sides:
        inputs = [inner if other is side else Value(inner.type) for other, found in zip(sides, read, strict=True) for inner, _ in found]
        graphs.append(Graph(inputs, side.outputs, side.region.name))
    return [operands[0], *(value for found in read for _, value in found)], graphs


def _like(node: Node, values: Sequence[Value], attributes: Any, regions: Sequence[Graph]) -> Node:
    return Node(node.op, values, attributes, regions, [value.type for value in node.outputs], node.location)


class _Outside:
    """A region, rebuilt without what can be computed outside.

    Attributes:
        outputs: the new ones.
        added: further inputs that it takes now, and the values for them.
    """

    def __init__(self, make: Make, region: Graph, inputs: Sequence[Value], values: Sequence[Value]) -> None:
        self.region = region
        self.added: list[tuple[Value, Value]] = []
        self._make = make
        self._outer: dict[Value, Value] = dict(zip(inputs, values, strict=True))
        #: what stands for a value inside; what is missing is computed outside where it is read
        self._inner: dict[Value, Value] = {value: value for value in region.inputs}
        views = set(inputs)
        for node in region.nodes:
            if node.op in _VIEWS and node.operands[0] in views:
                views.add(node.output)
            elif node.op is not CONSTANT:
                self._keep(node)
        self.outputs = [self._read(value) for value in region.outputs]

    def read(self) -> dict[Value, None]:
        """The inputs and nodes' outputs that the new outputs need, in the order in which they are read."""
        found: dict[Value, None] = {}
        for node in canonical_order(self.outputs):
            found.update(dict.fromkeys(node.operands))
        found.update(dict.fromkeys(self.outputs))
        return found

    def in_order(self, operands: Sequence[Value]) -> list[tuple[Value, Value]]:
        """The inputs that are read, and their values, all of them being given from outside."""
        values = {**dict(zip(self.region.inputs, operands, strict=True)), **dict(self.added)}
        return [(inner, values[inner]) for inner in self.read() if inner in values]

    def consts(self, operands: Sequence[Value]) -> list[tuple[Value, Value]]:
        """The inputs from outside that are read, and their values."""
        read = self.read()
        given = zip(self.region.inputs[: len(operands)], operands, strict=True)
        return [*((inner, value) for inner, value in given if inner in read), *self.added]

    def _keep(self, node: Node) -> None:
        operands = [self._read(value) for value in node.operands]
        if all(a is b for a, b in zip(operands, node.operands, strict=True)):
            made = node
        else:
            types = [value.type for value in node.outputs]
            made = Node(node.op, operands, node.attributes, node.regions, types, node.location)
        self._inner.update(zip(node.outputs, made.outputs, strict=True))

    def _read(self, value: Value) -> Value:
        found = self._inner.get(value)
        if found is None:
            found = self._inner[value] = Value(value.type)
            self.added.append((found, self._outside(value)))
        return found

    def _outside(self, value: Value) -> Value:
        found = self._outer.get(value)
        if found is None:
            node = value.node
            assert node is not None
            operands = [self._outside(operand) for operand in node.operands]
            found = self._outer[value] = self._make(node.op, operands, node.attributes, (), node.location).output
        return found
