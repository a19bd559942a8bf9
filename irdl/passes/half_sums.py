"""Sums of 16 bits over the steps of a loop: they are rounded once, at their end, as other sums are.

for t: a = round(a + round(x[t] @ y[t]))   ->   for t: wide = wide + x[t] @ y[t];  a = round(wide)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.dtypes import is_half
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.control import ScanAttributes
from irdl.ops.elementwise import ADD, CAST, CastAttributes


def cast(builder: Builder, value: Value, dtype: np.dtype) -> Value:
    return value if value.dtype == dtype else builder.value(CAST, [value], CastAttributes(dtype))


def widening_cast(value: Value) -> Node | None:
    """What casts floats of 16 bits to the value."""
    node = value.node
    return node if node is not None and node.op is CAST and is_half(node.operands[0].dtype) and not is_half(value.dtype) else None


@dataclass(frozen=True)
class _Sum:
    """A carry of 16 bits: what it is cast to, what is added to that before it was rounded, by way of views, and the node that adds."""

    old: Value
    term: Value
    views: list[Node]
    added: Node


def rounded_once(body: Graph, attributes: ScanAttributes, leaves: Callable[[Node], bool]) -> tuple[Graph, dict[int, np.dtype]]:
    """A loop's body whose carries of 16 bits are as wide as sums are, where they only add up what a node makes that `leaves` the loop; and
    the dtypes that those had, by their places."""
    carries, users, found = attributes.inputs(body.inputs).carry, body.users(), dict[int, _Sum]()
    for place, (old, new) in enumerate(zip(carries, attributes.outputs(body.outputs).carry, strict=True)):
        if is_half(old.dtype) and old not in body.outputs and not users[new] and body.outputs.count(new) == 1:
            sum_of = _sum(old, new)
            if sum_of is not None and _is_alone(old, sum_of, body) and (made := _seen_through(sum_of.term)[0].node) and leaves(made):
                found[place] = sum_of
    if not found:
        return body, {}
    builder, inputs = Builder(fold=False), fresh_inputs(body.inputs)
    mapping = dict(zip(body.inputs, inputs, strict=True))
    for place, item in found.items():
        inputs[attributes.consts + place] = mapping[item.old] = Value(item.old.type, name=carries[place].name)
    sums = {item.added: item for item in found.values()}
    for node in body.nodes:
        if node in sums:
            term = mapping[sums[node].term]
            for view in reversed(sums[node].views):
                term = builder.value(view.op, [term], view.attributes, (), view.location)
            mapping[node.output] = builder.value(ADD, [mapping[sums[node].old], term], location=node.location)
        elif not (node.outputs and node.outputs[0] in mapping):
            copy_nodes(builder, [node], mapping)
    results = [mapping[found[place].added.output if place in found else value] for place, value in enumerate(body.outputs)]
    return Graph(inputs, results, body.name), {place: carries[place].dtype for place in found}


def _sum(old: Value, new: Value) -> _Sum | None:
    """How a carry becomes its next value, if that is by a rounded sum of it and of something else that was rounded."""
    if new.node is None or new.node.op is not CAST or (added := new.node.operands[0].node) is None or added.op is not ADD:
        return None
    for wide, term in (added.operands, reversed(added.operands)):
        first, last = widening_cast(wide), widening_cast(term)
        if first is None or first.operands[0] is not old or last is None:
            continue
        narrow, views = _seen_through(last.operands[0])
        rounding = narrow.node
        if rounding is not None and rounding.op is CAST and rounding.operands[0].dtype == wide.dtype:
            return _Sum(wide, rounding.operands[0], views, added)
    return None


def _is_alone(carry: Value, item: _Sum, body: Graph) -> bool:
    """Nothing else reads the carry, nor the sum before it is rounded."""
    users = body.users()
    alone = len(users[carry]) == 1 and users[item.old] == [item.added] and len(users[item.added.output]) == 1
    return alone and item.old not in body.outputs and item.added.output not in body.outputs


def _seen_through(value: Value) -> tuple[Value, list[Node]]:
    """What a value is a view of, and the views, the last first."""
    views: list[Node] = []
    while value.node is not None and value.node.op.is_view:
        views.append(value.node)
        value = value.node.operands[0]
    return value, views
