"""Which values can take the place of others: loop carries and donated arguments updated where they lie, buffers stored into."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irdl.codegen.lowering.layout import Layout, before_view, is_same_place
from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Graph, Node, Value
from irdl.loops.expressions import Buffer
from irdl.ops.contract import DOT
from irdl.ops.control import SCAN, WHILE
from irdl.ops.dynamic import DYNAMIC_UPDATE_SLICE
from irdl.ops.fusion import FUSED
from irdl.ops.index import GATHER, SCATTER_ADD, SCATTER_SET
from irdl.ops.joining import CONCAT, PAD, UPDATE_SLICE
from irdl.ops.reduce import Reduce
from irdl.ops.shape import RESHAPE, TRANSPOSE
from irdl.passes.fuse import is_inline_view

#: ops that are their first operand but for what they store into it
STORES = (UPDATE_SLICE, DYNAMIC_UPDATE_SLICE, SCATTER_ADD, SCATTER_SET)

#: how many values are looked at for one that another may take the place of
_MOST_LINKS = 1000


def last_reads(graph: Graph) -> dict[Value, float]:
    """For each value the serial number of the last node that reads it, itself or a view of it; infinity of outputs."""
    found: dict[Value, float] = dict.fromkeys(graph.outputs, math.inf)
    for node in reversed(graph.nodes):
        end = max(node.serial, found.get(node.output, 0)) if node.op.is_view else node.serial
        for value in node.operands:
            found[value] = max(found.get(value, 0), end)
    return found


def base_of(value: Value, reads: dict[Value, float]) -> Value | None:
    """The value whose place `value` may take: what it is but for some elements, and which nothing else reads from then on."""
    node = value.node
    if node is None:
        return None
    if node.op in STORES:
        base = node.operands[0]
    elif node.op is SCAN and value.index < node.attributes.carry:
        base = node.operands[node.attributes.consts + value.index]
    elif node.op is WHILE:
        base = node.operands[node.attributes.cond_consts + node.attributes.body_consts + value.index]
    else:
        return None
    # A view of it, or of what it is a view of, among the operands would be read while it changes; stores copy what they read first.
    is_viewed = node.op not in STORES and any(origin(v) is origin(base) for v in node.operands if v is not base)
    return base if node.operands.count(base) == 1 and reads[_rearranged(base)] <= node.serial and not is_viewed else None


def _rearranged(value: Value) -> Value:
    """What a value is all of, in another shape or order."""
    while value.node is not None and value.node.op in (RESHAPE, TRANSPOSE):
        value = value.node.operands[0]
    return value


def makers(value: Value, reads: dict[Value, float]) -> Iterator[Node]:
    """The nodes that may write where a value is to be: what makes it, or what it is a view of, and what becomes that by stores, or
    is a part of it."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value.node is None or value.node.op is CONSTANT:
            continue
        if not value.node.op.is_view or value.node.op is RESHAPE:  # which may take a copy
            yield value.node
        waiting += value.node.operands if value.node.op.is_view or value.node.op in (CONCAT, PAD) else ()
        base = base_of(value, reads)
        waiting += () if base is None else (base,)


def chain_to(old: Value, new: Value, reads: dict[Value, float], place: Layout | None = None) -> dict[Value, Layout] | None:
    """Values of which each may take the place of the next, from `new` on, and the last one that of `old`, with where they are then if
    `new` is at `place`. None where there are no such."""
    place = place or Layout.contiguous(Buffer("", new.dtype, new.type.size, "output"), new.shape)
    links: dict[Value, tuple[Layout, Value | None]] = {new: (place, None)}
    waiting = [new]
    while waiting and len(links) < _MOST_LINKS:
        value = waiting.pop()
        (layout, after), node = links[value], value.node
        if value is old and is_same_place(layout, place):
            chain = []
            while after is not None:
                chain.append((after, links[after][0]))
                after = links[after][1]
            return dict(reversed(chain))
        if node is None:
            continue
        found: list[Value] = []
        if node.op in (RESHAPE, TRANSPOSE):
            before = before_view(node, layout)
            found, layout = (list(node.operands), before) if before is not None else ([], layout)
        elif node.op is FUSED:
            own = [v for v in dict.fromkeys(node.operands) if v.type == value.type and (v.node is None or not v.node.op.is_view)]
            found = [v for v in own if is_read_in_step(v, value, reads)]
        elif (base := base_of(value, reads)) is not None:
            found = [base]
        for operand in found:
            if operand not in links:
                links[operand] = layout, value
                waiting.append(operand)
    return None


def origin(value: Value) -> Value:
    """What a value is a view of."""
    while value.node is not None and value.node.op.is_view:
        value = value.node.operands[0]
    return value


def in_place_carries(body: Graph, consts: int, count: int) -> set[int]:
    """The carries whose new value may overwrite the old one as it is computed."""
    reads = last_reads(body)
    return {place for place in range(count) if is_updated(body, body.inputs[consts + place], body.outputs[place], reads)}


def is_updated(graph: Graph, old: Value, new: Value, reads: dict[Value, float]) -> bool:
    """True if `new` is `old` updated: element for element by one group that is the last to read it, or by stores into it. What else
    may lie there is better off elsewhere in a loop, where steps would have to wait for each other."""
    if old is new:
        return True
    if old.type != new.type or new.node is None or graph.outputs.count(new) != 1:
        return False
    if new.node.op is FUSED:
        return is_read_in_step(old, new, reads)
    value: Value | None = new
    while value is not None and value is not old:
        value = base_of(value, reads)
    return value is old


def can_overwrite(graph: Graph, old: Value, new: Value, reads: dict[Value, float]) -> bool:
    """True if `new` may be computed where `old` lies: element for element by one group that is the last to read it, by stores
    into it, or by what begins when nothing reads it any more. `reads`: `last_reads` of the graph."""
    if old is new:
        return True
    if old.type != new.type or graph.outputs.count(new) != 1:
        return False
    if chain_to(old, new, reads) is not None:
        return True
    # What is there already is copied when all else is done.
    return reads.get(old, 0) < min((node.serial for node in makers(new, reads)), default=math.inf)


def is_read_in_step(old: Value, new: Value, reads: dict[Value, float]) -> bool:
    """Whether the group that computes `new` is the last to read `old`, element for element."""
    node = new.node
    assert node is not None
    # A view of the old value may be read later than the view was made, or by this very group while it changes; outputs are read last.
    if reads.get(old, 0) > node.serial or any(value is not old and origin(value) is old for value in node.operands):
        return False
    if old not in node.operands:
        return True
    region = node.regions[0]
    inner = region.inputs[node.operands.index(old)]
    return node.operands.count(old) == 1 and _read_in_step(region, inner)


def _read_in_step(region: Graph, value: Value) -> bool:
    """Every read of `value` in the region is at the element being computed; so is what is made of it."""
    shape = region.outputs[0].shape
    if value.shape != shape:
        return False
    made = {value}
    for node in region.nodes:
        if made.isdisjoint(node.operands):
            continue
        if node.op is DOT or isinstance(node.op, Reduce) or node.op is GATHER or is_inline_view(node) or node.output.shape != shape:
            return False
        made.update(node.outputs)
    # With a reduction, other elements may be read again in a later tile of the same group.
    return True
