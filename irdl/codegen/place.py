"""Which loop carries (and donated arguments) can be updated where they lie."""

from __future__ import annotations

from irdl.ir.graph import Graph, Value
from irdl.ops.contract import DOT
from irdl.ops.fusion import FUSED
from irdl.ops.index import GATHER
from irdl.ops.reduce import Reduce
from irdl.passes.fuse import is_inline_view


def in_place_carries(body: Graph, consts: int, count: int) -> set[int]:
    """The carries whose new value may overwrite the old one as it is computed."""
    return {place for place in range(count) if can_overwrite(body, body.inputs[consts + place], body.outputs[place])}


def can_overwrite(graph: Graph, old: Value, new: Value) -> bool:
    """True if `new` is computed element for element from `old` by one group that is the last to read `old`."""
    if old is new:
        return True
    node = new.node
    if old.type != new.type or node is None or node.op is not FUSED or graph.outputs.count(new) != 1:
        return False
    if old in graph.outputs:
        return False
    for user in graph.users()[old]:
        # A view of the old value may be read later than the view was made.
        if user is not node and (user.serial > node.serial or user.op.is_view):
            return False
    if old not in node.operands:
        return True
    region = node.regions[0]
    inner = region.inputs[node.operands.index(old)]
    return node.operands.count(old) == 1 and _read_in_step(region, inner)


def _read_in_step(region: Graph, value: Value) -> bool:
    """Every read of `value` in the region is at the element being computed."""
    shape = region.outputs[0].shape
    if value.shape != shape:
        return False
    for node in region.nodes:
        if value in node.operands and (
            node.op is DOT or isinstance(node.op, Reduce) or node.op is GATHER or is_inline_view(node) or node.output.shape != shape
        ):
            return False
    # With a reduction, other elements may be read again in a later tile of the same group.
    return True
