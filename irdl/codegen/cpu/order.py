"""Contractions over several axes walk them as the rows' elements lie in memory, those that lie next to each other innermost.

    dot(windows(x), w) spec="nxycij,ocij->nxyo"
->
    dot(windows(x).T, w.T) spec="nxyijc,oijc->nxyo"

with views alone. Loops over neighbouring axes that lie one behind the other then become one, and what is packed is packed in this order.
"""

from __future__ import annotations

from collections.abc import Sequence

from irdl.codegen.lowering.layout import strides_of
from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ops.contract import DOT, DotAttributes
from irdl.ops.shape import TRANSPOSE, TransposeAttributes
from irdl.passes.maker import Maker


def order_contractions(graph: Graph) -> Graph:
    """`graph` with the summed axes of each contraction in the order of their strides."""

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        return _ordered(Maker(builder, node), *operands) if node.op is DOT else None

    return rewrite(graph, visit, ops=(DOT,))


def _ordered(make: Maker, x: Value, y: Value) -> Sequence[Value] | None:
    left, right, output = make.node.attributes.labels
    summed = [label for label in left if label not in output]
    if len(summed) < 2 or 0 in x.shape:
        return None
    # The tile's vector runs along the result's last axis; the other operand has the rows.
    rows, labels = (y, right) if output and output[-1] in left and output[-1] not in right else (x, left)
    strides = dict(zip(labels, strides_of(rows), strict=True))
    order = sorted(summed, key=lambda label: -abs(strides[label]))
    operands, specs = [], []
    for value, own in ((x, left), (y, right)):
        wanted = iter(order)
        places = [own.index(next(wanted) if label in order else label) for label in own]
        operands.append(value if places == sorted(places) else make(TRANSPOSE, value, attributes=TransposeAttributes(tuple(places))))
        specs.append("".join(own[place] for place in places))
    if operands == [x, y]:
        return None
    return [make(DOT, *operands, attributes=DotAttributes(f"{specs[0]},{specs[1]}->{output}"))]
