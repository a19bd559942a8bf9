"""Conds and loops as steps record them: what differs from step to step inside of them is taken out, `x[t]`, numbers, stores at `t`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irdl.ir.builder import make_node
from irdl.ir.graph import Graph, Location, Node, Value
from irdl.ir.op import Op
from irdl.ops.branches import opened
from irdl.ops.side_stores import STORES
from irdl.tracing.rolling.record import Record


def opened_in(record: Record, node: Node) -> list[Node]:
    """The nodes that take the place of a cond or a loop in the record."""
    made: list[Node] = []

    def make(op: Op, operands: Sequence[Value], attributes: Any, regions: Sequence[Graph], location: Location) -> Node:
        made.append(make_node(op, operands, attributes, regions, location))
        return made[-1]

    values = opened(make, node, record.operands(node))
    inside = set(made)
    if node in record.ghosts:
        record.ghosts |= inside
    else:
        # Stores of results that nothing reads are kept like all that nothing reads.
        for old, value in zip(node.outputs, values, strict=True):
            while not record.readers(old) and value.node in inside and value.node.op in STORES:
                record.ghosts.add(value.node)
                value = value.node.operands[0]
    for new in made:
        if new not in record.ghosts:
            record.add(new)
    record.taken()
    for old, value in zip(node.outputs, values, strict=True):
        record.replace(old, value)
    record.dead.add(node)
    return made
