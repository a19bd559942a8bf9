"""Inputs that a function stores into: their new contents are made where they lie.

An index out of range has to leave them as they were. So what can fail comes first, as far as it can, then the checks of all other
indices; at that place the program leaves if one has failed, and from there on nothing can fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from irdl.codegen.lowering.in_place import can_overwrite, chain_to, last_reads, makers
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value, reachable_nodes
from irdl.ops.checks import CHECK
from irdl.ops.fusion import FUSED
from irdl.ops.index import GATHER, SCATTER_ADD, SCATTER_SET

_INDEXED = (GATHER, SCATTER_ADD, SCATTER_SET)


class Indices(NamedTuple):
    """Indices that a node reads: `graph` makes them of `operands`. `reader` is that node, or one in its region."""

    reader: Node
    operands: tuple[Value, ...]
    graph: Graph


def can_fail(node: Node) -> bool:
    return node.op.can_raise or any(inner.op.can_raise for region in node.regions for inner in region.all_nodes())


def indices_of(node: Node) -> list[Indices] | None:
    """All indices that a node reads; None where they cannot be known before it, as in a loop."""
    if node.op in _INDEXED:
        value = node.operands[1]
        return [Indices(node, (value,), Graph([value], [value]))]
    if node.op is not FUSED:
        return None
    found: list[Indices] = []
    (region,) = node.regions
    for reader in region.nodes:
        if reader.op in _INDEXED:
            needed = {value for inner in reachable_nodes([reader.operands[1]]) for value in inner.operands} | {reader.operands[1]}
            inputs = [(outer, inner) for outer, inner in zip(node.operands, region.inputs, strict=True) if inner in needed]
            found.append(Indices(reader, tuple(outer for outer, _ in inputs), Graph([inner for _, inner in inputs], [reader.operands[1]])))
        elif can_fail(reader):
            return None
    return found


def failures_first(graph: Graph, stores: bool) -> Graph:
    """Where something is stored into, the graph with what can fail, and what that needs, before all else; where its indices are known
    before, what they need. An error of the user's comes last of what can fail: an index that is still checked then is of a place before
    it in the user's code, or can not be out of range."""
    needed: set[Node] = set()
    for node in graph.nodes if stores else ():
        if can_fail(node):
            indices = indices_of(node)
            wanted = node.outputs if indices is None else [value for item in indices for value in item.operands]
            needed.update(reachable_nodes(wanted))
    if not stores and not graph.has((CHECK,)):
        return graph
    order = sorted(graph.nodes, key=lambda node: 1 if node.op is CHECK else 2 if stores and node not in needed else 0)
    if order == list(graph.nodes):
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
        if fits(out, place) and _checks_before(graph, first_writer(graph, {**found, out: place})) is not None:
            found[out] = place
    return found


def first_writer(graph: Graph, in_place: Mapping[int, int]) -> Node | None:
    """The first node that writes to an input. `in_place`: output -> the input it is computed in. None where what is there already is
    copied when all else is done."""
    reads = last_reads(graph)
    writers = [node for out, place in in_place.items() for node in _writers(graph.inputs[place], graph.outputs[out], reads)]
    return min(writers, key=lambda node: node.serial, default=None)


def checks_before(graph: Graph, first: Node) -> list[Indices]:
    """The indices to check before `first`, so that nothing fails from there on."""
    found = _checks_before(graph, first)
    assert found is not None
    return found


def _checks_before(graph: Graph, first: Node | None) -> list[Indices] | None:
    found: list[Indices] = []
    for node in graph.nodes if first is not None else ():
        if first is None or node.serial < first.serial or not can_fail(node) or (node is first and node.op is CHECK):
            continue
        indices = indices_of(node)
        if indices is None:
            return None
        known = (value.node is None or value.node.serial < first.serial for item in indices for value in item.operands)
        if not all(known):
            return None
        found += indices
    return found


def _writers(old: Value, new: Value, reads: dict[Value, float]) -> Iterator[Node]:
    """Of all values that may be computed where `old` lies."""
    for link in [new, *(chain_to(old, new, reads) or ())]:
        yield from makers(link, reads)
