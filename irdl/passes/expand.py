"""What the loop language would do step by step, put together from what it does many elements at a time.

    argmax(x)
->
    min(select(x == max(x) or x is nan, place, extent))

   and the maximum of bools is `any`, the minimum `all`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.ops import elementwise as e
from irdl.ops.reduce import ALL, ANY, ARGMAX, ARGMIN, MAX, MIN, ReduceAttributes
from irdl.ops.shape import IOTA, RESHAPE, IotaAttributes, ReshapeAttributes

#: Shorter axes are searched step by step.
_SHORT = 16


def expand(graph: Graph) -> Graph:
    """`graph` with the searches along long axes as two reductions."""
    return rewrite(graph, _visit)


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    if node.op in (MAX, MIN) and operands[0].dtype == np.bool_:
        return builder.node(ANY if node.op is MAX else ALL, operands, node.attributes, (), node.location).outputs
    if node.op not in (ARGMAX, ARGMIN):
        return None
    (x,) = operands
    axis = node.attributes.axis
    extent = x.shape[axis]
    if extent < _SHORT or extent >= 2**31 or not x.type.size:
        return None
    if x.dtype == np.bool_:
        x = builder.value(e.CAST, [x], e.CastAttributes(np.dtype(np.uint8)), (), node.location)
    reduce = ReduceAttributes((axis,))
    kept = tuple(1 if place == axis else n for place, n in enumerate(x.shape))

    def make(op: Op, *values: Value) -> Value:
        return builder.value(op, values, location=node.location)

    best = builder.value(MAX if node.op is ARGMAX else MIN, [x], reduce, (), node.location)
    hit = make(e.EQUAL, x, builder.value(RESHAPE, [best], ReshapeAttributes(kept), (), node.location))
    if x.dtype.kind == "f":
        hit = make(e.BITWISE_OR, hit, make(e.NOT_EQUAL, x, x))  # a nan makes the extremum nan, which equals nothing
    index = np.dtype(np.int32)
    along = tuple(extent if place == axis else 1 for place in range(len(x.shape)))
    places = builder.value(IOTA, [], IotaAttributes(index, along, axis), (), node.location)
    chosen = make(e.SELECT, hit, places, builder.constant(extent, index))
    first = builder.value(MIN, [chosen], reduce, (), node.location)
    return [builder.value(e.CAST, [first], e.CastAttributes(np.dtype(np.int64)), (), node.location)]
