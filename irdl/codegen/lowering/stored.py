"""Inputs that a function stores into: their new contents are made where they lie.

An index out of range has to leave them as they were. So what can fail comes first, then, at one place, the program leaves if
something has; from there on nothing can fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from irdl.codegen.lowering.in_place import base_of, can_overwrite, last_reads
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ops.index import SCATTER_ADD, SCATTER_SET

#: their indices can be checked before anything is stored
SCATTERS = (SCATTER_ADD, SCATTER_SET)


def can_fail(node: Node) -> bool:
    return node.op.can_raise or any(inner.op.can_raise for region in node.regions for inner in region.all_nodes())


def failures_first(graph: Graph) -> Graph:
    """The graph with what can fail, and what that needs, before all else; of stores at computed places, what the places need."""
    needed: set[Node] = set()
    for node in graph.nodes:
        if can_fail(node):
            needed.update(reachable_nodes([node.operands[1]] if node.op in SCATTERS else node.outputs))
    order = sorted(graph.nodes, key=lambda node: node not in needed)
    if not needed or order == list(graph.nodes):
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    copy_nodes(builder, order, mapping)
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def in_place_outputs(graph: Graph, donations: Mapping[int, int], stored: Mapping[int, int]) -> dict[int, int]:
    """output -> the input it is computed in.

    Args:
        graph: what is lowered, `failures_first` if something is stored into.
        donations: output -> donated input that it may be computed in.
        stored: output -> the input whose new contents it is.
    """
    reads = last_reads(graph)

    def fits(out: int, place: int) -> bool:
        return can_overwrite(graph, graph.inputs[place], graph.outputs[out], reads)

    found = {out: place for out, place in donations.items() if fits(out, place)}
    for out, place in stored.items():
        if fits(out, place) and _is_last_to_fail(graph, first_writer(graph, (*found, out))):
            found[out] = place
    return found


def first_writer(graph: Graph, outputs: Iterable[int]) -> Node | None:
    """Of the outputs that are computed in inputs, the first node that writes to one."""
    reads = last_reads(graph)
    writers = [node for out in outputs for node in _writers(graph.outputs[out], reads)]
    return min(writers, key=lambda node: node.serial, default=None)


def _writers(new: Value, reads: Mapping[Value, float]) -> Iterator[Node]:
    value: Value | None = new
    while value is not None and value.node is not None:
        yield value.node
        value = base_of(value, dict(reads))


def _is_last_to_fail(graph: Graph, first: Node | None) -> bool:
    """Whether all that can fail is known to have when `first` begins."""
    if first is None:
        return True
    for node in scatters_from(graph, first):
        indices = node.operands[1].node
        if indices is not None and indices.serial >= first.serial:
            return False
    return not any(can_fail(node) for node in graph.nodes if node.serial >= first.serial and node.op not in SCATTERS)


def scatters_from(graph: Graph, first: Node) -> list[Node]:
    """Those whose indices are checked before `first` begins."""
    return [node for node in graph.nodes if node.serial >= first.serial and node.op in SCATTERS]
