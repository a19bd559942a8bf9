"""Floats of 16 bits are kept in memory, and float32 is computed with: what lies behind this pass only moves and casts them.

    %2: f16[4] = exp(%1)   ->   %2: f32[4] = cast(%1)   %3: f32[4] = exp(%2)   %4: f16[4] = cast(%3)

Each op's result is rounded, as NumPy's is; sums and contractions are rounded once, at their end. For add, sub, mul, div and sqrt that
is the nearest number of the narrow dtype, as float32 has more than twice its digits (S. Figueroa, When is double rounding innocuous?,
SIGNUM Newsletter 30(3), 1995).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irdl.ir.builder import Builder, rewrite
from irdl.ir.dtypes import BFLOAT16, ROUNDS_ONCE, is_half, is_integer, is_signed
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops import elementwise as e
from irdl.ops.control import SCAN
from irdl.ops.shape import IOTA, IotaAttributes
from irdl.passes.fuse import only_multiplied
from irdl.passes.maker import Maker

_WIDE = np.dtype(np.float32)


def widen(graph: Graph) -> Graph:
    """`graph` with every op on floats of 16 bits done in float32, but for what moves them."""
    return rewrite(graph, _visit) if _has_halves(graph) else graph


def _has_halves(graph: Graph) -> bool:
    return any(is_half(value.dtype) for value in graph.inputs) or any(is_half(v.dtype) for node in graph.all_nodes() for v in node.outputs)


def _visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
    if not node.op.computes or not any(is_half(value.dtype) for value in (*operands, *node.outputs)):
        return None
    make = Maker(builder, node)
    if node.op is e.CAST:
        return [_converted(make, operands[0], node.output.dtype)]
    if node.op is IOTA:
        attributes = IotaAttributes(_WIDE, node.attributes.shape, node.attributes.axis)
        return [make.cast(builder.value(IOTA, [], attributes, (), node.location), node.output.dtype)]
    wide = [make.cast(value, _WIDE) if is_half(value.dtype) else value for value in operands]
    made = builder.node(node.op, wide, node.attributes, node.regions, node.location)
    return [make.cast(new, old.dtype) for new, old in zip(made.outputs, node.outputs, strict=True)]


def sink_casts(graph: Graph) -> Graph:
    """scan(consts=(cast(x)), ..) -> scan(consts=(x), ..), whose body casts what it multiplies: it reads fewer bytes."""
    if not _has_halves(graph) or not graph.has((SCAN,)):
        return graph

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        if not node.regions:
            return None
        regions = list(node.regions)
        if node.op is SCAN:
            (body,) = regions
            users, outputs, carry = body.users(), set(body.outputs), node.attributes.inputs(body.inputs).carry
            operands = [
                _narrow(builder, value) or value if inside not in carry and only_multiplied(inside, users, outputs) else value
                for value, inside in zip(operands, body.inputs, strict=True)
            ]
            regions = [_casting(body, [value.dtype for value in operands])]
        return builder.node(node.op, operands, node.attributes, [sink_casts(region) for region in regions], node.location).outputs

    return rewrite(graph, visit, regions=False)


def _narrow(builder: Builder, value: Value) -> Value | None:
    """What a view of a cast of floats of 16 bits is cast from."""
    node = value.node
    if node is None or value.dtype != _WIDE:
        return None
    if node.op is e.CAST:
        return node.operands[0] if is_half(node.operands[0].dtype) else None
    inner = _narrow(builder, node.operands[0]) if node.op.is_view else None
    return None if inner is None else builder.value(node.op, [inner], node.attributes, (), node.location)


def _casting(body: Graph, dtypes: Sequence[np.dtype]) -> Graph:
    """`body` of inputs of those dtypes."""
    builder = Builder()
    inputs = [Value(TensorType(dtype, old.shape), name=old.name) for old, dtype in zip(body.inputs, dtypes, strict=True)]
    given = [
        new if new.type == old.type else builder.value(e.CAST, [new], e.CastAttributes(old.dtype))
        for old, new in zip(body.inputs, inputs, strict=True)
    ]
    return Graph(inputs, builder.inline(body, given), body.name)


def _converted(make: Maker, x: Value, dtype: np.dtype) -> Value:
    """A cast to or from float32 is one that machines have. What is wider is rounded once, but to bfloat16 as ml_dtypes does."""
    if is_half(dtype) and (dtype == np.float16 or ROUNDS_ONCE):
        if is_integer(x.dtype) and x.dtype.itemsize >= 4 and dtype == BFLOAT16:  # an integer that float32 lacks is infinite in float16
            x = make.cast(_folded(make, x) if x.dtype.itemsize == 8 else x, np.dtype(np.float64))
        if x.dtype == np.float64:
            x = _rounded_to_odd(make, x)
    return make.cast(make.cast(x, _WIDE), dtype)


def _folded(make: Maker, x: Value) -> Value:
    """Integers of 64 bits that float64 has all of: of large ones the last 12 bits are 0, or 2048 for any others, on the same side of
    each number of fewer digits."""

    def constant(n: int) -> Value:
        return make.builder.constant(n, x.dtype)

    last = make(e.BITWISE_AND, x, constant(4095))
    some = make(e.SELECT, make(e.EQUAL, last, constant(0)), constant(0), constant(2048))
    folded = make(e.ADD, make(e.SUB, x, last), some)
    is_large = make(e.LESS, constant(2**53), x)
    if is_signed(x.dtype):
        is_large = make(e.BITWISE_OR, is_large, make(e.LESS, x, constant(-(2**53))))
    return make(e.SELECT, is_large, folded, x)


def _rounded_to_odd(make: Maker, x: Value) -> Value:
    """A float64 as float32, so that rounding that once more rounds `x` itself: towards zero, the last bit 1 where bits were lost
    (S. Boldo, G. Melquiond, Emulation of FMA and correctly rounded sums, IEEE Transactions on Computers 57(4), 2008)."""
    near = make.cast(x, _WIDE)
    back = make.cast(near, x.dtype)
    bits = make(e.FLOAT_TO_BITS, near)
    one, zero = (make.builder.constant(n, bits.dtype) for n in (1, 0))
    away = make(e.LESS, make(e.ABS, x), make(e.ABS, back))
    cut = make(e.SUB, bits, make(e.SELECT, away, one, zero))
    odd = make(e.BITWISE_OR, cut, make(e.SELECT, make(e.EQUAL, x, back), zero, one))
    return make(e.BITS_TO_FLOAT, odd)
