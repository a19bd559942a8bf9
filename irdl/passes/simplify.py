"""Simplification: the ops' equations to a fixed point, slices moved towards what they read from, transposes towards what reads them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.contract import DOT
from irdl.ops.rules import apply_rules
from irdl.ops.shape import SLICE, SliceAttributes
from irdl.passes.transposes import sink_transposes

_ROUNDS = 6
#: graphs in which nothing is left to do, by identity
_simple: WeakValueDictionary[int, Graph] = WeakValueDictionary()


def simplify(graph: Graph) -> Graph:
    """Apply the rules until nothing changes."""
    if _simple.get(id(graph)) is graph:
        return graph
    unchanged, before = 0, graph
    for step in itertools.islice(itertools.cycle(_STEPS), _ROUNDS * len(_STEPS)):
        new = step(graph)
        unchanged = unchanged + 1 if new is graph else 0
        graph = new
        if unchanged == len(_STEPS):
            _simple[id(graph)] = graph
            break
        if step is _STEPS[-1]:
            if graph == before:  # what one step changes another one changes back
                break
            before = graph
    return graph


def sink_slices(graph: Graph) -> Graph:
    """f(x, y)[part] = f(x[part], y[part]) where nothing reads f(x, y) but such slices, none twice; contractions too.

    It is how the gates of a cell become contractions of their own that share one loop.
    """
    if not any(_only_sliced(inner) for inner in graph.all_graphs()):
        return graph
    sliced = _only_sliced(graph)

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        inner = node.operands[0].node if node.op is SLICE else None
        made = operands[0].node if operands else None
        if inner is None or inner not in sliced or made is None or made.op is not inner.op:
            return None
        attributes = node.attributes
        if made.op is DOT:
            left, right, output = made.attributes.labels
            part = dict(zip(output, zip(attributes.start, attributes.limit, strict=True), strict=True))
            parts = [_slice_labels(builder, v, labels, part) for v, labels in zip(made.operands, (left, right), strict=True)]
        else:
            parts = [_slice_operand(builder, v, operands[0].shape, attributes) for v in made.operands]
        return builder.node(made.op, parts, made.attributes, (), made.location | node.location).outputs

    memo: dict[Graph, Graph] = {}

    def region(inner: Graph) -> Graph:
        if inner not in memo:
            memo[inner] = sink_slices(inner)
        return memo[inner]

    def both(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        if node.regions:
            regions = [region(inner) for inner in node.regions]
            return builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        return visit(builder, node, operands)

    return rewrite(graph, both, regions=False)


def _only_sliced(graph: Graph) -> set[Node]:
    found: set[Node] = set()
    if not any(node.op is SLICE for node in graph.nodes):
        return found
    users = graph.users()
    outputs = set(graph.outputs)
    for node in graph.nodes:
        if not (node.op.is_elementwise or node.op is DOT) or node.output in outputs:
            continue
        readers = users[node.output]
        if readers and all(user.op is SLICE and set(user.attributes.stride) == {1} for user in readers) and _disjoint(readers):
            found.add(node)
    return found


def _disjoint(slices: Sequence[Node]) -> bool:
    """The slices cut one axis into parts that do not overlap."""
    attributes = [node.attributes for node in slices]
    shape = slices[0].operands[0].shape
    cut = {axis for a in attributes for axis in range(len(shape)) if (a.start[axis], a.limit[axis]) != (0, shape[axis])}
    if len(cut) != 1:
        return False
    (axis,) = cut
    spans = sorted((a.start[axis], a.limit[axis]) for a in attributes)
    return all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


def _slice_operand(builder: Builder, value: Value, shape: tuple[int, ...], attributes: SliceAttributes) -> Value:
    """The part of a broadcast operand that a slice of the result reads."""
    lead = len(shape) - len(value.shape)
    stretched = [n == 1 and m != 1 for n, m in zip(value.shape, shape[lead:], strict=True)]
    start = tuple(0 if mark else a for mark, a in zip(stretched, attributes.start[lead:], strict=True))
    limit = tuple(1 if mark else b for mark, b in zip(stretched, attributes.limit[lead:], strict=True))
    return _slice(builder, value, start, limit)


def _slice_labels(builder: Builder, value: Value, labels: str, part: dict[str, tuple[int, int]]) -> Value:
    start = tuple(part.get(label, (0, n))[0] for label, n in zip(labels, value.shape, strict=True))
    limit = tuple(part.get(label, (0, n))[1] for label, n in zip(labels, value.shape, strict=True))
    return _slice(builder, value, start, limit)


def _slice(builder: Builder, value: Value, start: tuple[int, ...], limit: tuple[int, ...]) -> Value:
    if limit == value.shape and not any(start):
        return value
    return builder.value(SLICE, [value], SliceAttributes(start, limit, (1,) * len(start)))


_STEPS: tuple[Callable[[Graph], Graph], ...] = (apply_rules, sink_slices, sink_transposes)
