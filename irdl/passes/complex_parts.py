"""Complex numbers are put together from real ones: no pass behind this one, and no code generator, knows them.

    f(z: c64[n]) -> c64[n]   becomes   f(z: f32[n,2]) -> f32[n,2]      what comes in and goes out, in the memory where it lies
    %0: c64[n] = exp(z)      becomes   exp(z.re) * cos(z.im), exp(z.re) * sin(z.im)

Inside, a complex value is two real ones; so are those that loops and branches take, carry and give. Arrays of one part each fill vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from irdl.errors import GraphError
from irdl.ir.builder import CONSTANT, Builder
from irdl.ir.dtypes import is_bool, is_complex, real_dtype, short_name
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.ir.printer import at_location
from irdl.ir.types import TensorType
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT
from irdl.ops.control import AFTER, COND, SCAN, WHILE, WhileAttributes
from irdl.ops.dynamic import DYNAMIC_SLICE, DYNAMIC_UPDATE_SLICE
from irdl.ops.index import GATHER, SCATTER_ADD, SCATTER_SET
from irdl.ops.joining import CONCAT, PAD, UPDATE_SLICE, ConcatAttributes
from irdl.ops.pieces import is_zero
from irdl.ops.reduce import CUMPROD, CUMSUM, PROD, SUM
from irdl.ops.rules import uniform_number
from irdl.ops.shape import BROADCAST, RESHAPE, REVERSE, SLICE, TRANSPOSE, BroadcastAttributes, ReshapeAttributes
from irdl.ops.windows import DIAGONAL, UNWINDOW, WINDOWS
from irdl.passes.complex_functions import FUNCTIONS, divide, multiply
from irdl.passes.maker import Maker
from irdl.tracing.loops import associative_scan
from irdl.tracing.region import trace_rule

#: What stands for a value: a real one itself, of a complex one the real and the imaginary part.
Stand: TypeAlias = tuple[Value, ...]

#: What is done to the numbers is done to either part.
_BY_PARTS = {
    *(RESHAPE, TRANSPOSE, BROADCAST, SLICE, UPDATE_SLICE, REVERSE, PAD, CONCAT, GATHER, SCATTER_ADD, SCATTER_SET, DYNAMIC_SLICE),
    *(DYNAMIC_UPDATE_SLICE, WINDOWS, UNWINDOW, DIAGONAL, SUM, CUMSUM, e.SELECT, e.NEG, e.ADD, e.SUB, e.STOP_GRADIENT),
}


def split_complex(graph: Graph) -> Graph:
    """`graph` on real numbers; the same where there are no others."""
    if not _has_complex(graph):
        return graph
    builder = Builder()
    inputs: list[Value] = []
    stands: dict[Value, Stand] = {}
    whole: dict[Stand, Value] = {}
    for value in graph.inputs:
        made = Value(seen_as_real(value.type), name=value.name)
        inputs.append(made)
        stands[value] = (made,) if made.type == value.type else tuple(_part_of(builder, made, place) for place in (0, 1))
        whole[stands[value]] = made
    _Splitter(builder, stands).run(graph.nodes)
    outputs = [whole.get(stands[value]) or _joined(builder, stands[value]) for value in graph.outputs]
    return Graph(inputs, outputs, graph.name)


def seen_as_real(type: TensorType) -> TensorType:
    """The type of the same memory as real numbers: the parts of each complex number along a last axis."""
    return TensorType(real_dtype(type.dtype), (*type.shape, 2)) if is_complex(type.dtype) else type


def _has_complex(graph: Graph) -> bool:
    if any(is_complex(value.dtype) for value in graph.inputs):
        return True
    return any(is_complex(value.dtype) for node in graph.all_nodes() for value in node.outputs)


def _part_of(builder: Builder, made: Value, place: int) -> Value:
    axis = len(made.shape) - 1
    column = Maker(builder, _NO_NODE).part(made, axis, place, place + 1)
    return builder.value(RESHAPE, [column], ReshapeAttributes(made.shape[:-1]))


_NO_NODE = Node(CONSTANT, (), None, (), ())


def _joined(builder: Builder, stand: Stand) -> Value:
    """What goes out: of two parts the pairs, along a last axis."""
    if len(stand) == 1:
        return stand[0]
    columns = [builder.value(RESHAPE, [part], ReshapeAttributes((*part.shape, 1)), (), part.location) for part in stand]
    return builder.value(CONCAT, columns, ConcatAttributes(len(stand[0].shape)), (), stand[0].location)


class _Splitter:
    """Rebuilds nodes through `builder`; `stands` is added to."""

    def __init__(self, builder: Builder, stands: dict[Value, Stand], regions: dict[Graph, Graph] | None = None) -> None:
        self._builder = builder
        self._stands = stands
        #: what became of regions, of which several nodes may have the same
        self._regions: dict[Graph, Graph] = {} if regions is None else regions

    def run(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self._stands.update(zip(node.outputs, self._node(node), strict=True))

    def _node(self, node: Node) -> Sequence[Stand]:
        operands = [self._stands[value] for value in node.operands]
        if node.regions:
            return self._control(node, operands)
        if node.op is AFTER:
            x, token = operands
            return [tuple(self._made(node, [part, token[0]]) for part in x)]
        if not any(is_complex(value.dtype) for value in (*node.operands, *node.outputs)):
            made = self._builder.node(node.op, [value for (value,) in operands], node.attributes, (), node.location)
            return [(value,) for value in made.outputs]
        if node.op in _BY_PARTS:
            return [tuple(self._made(node, [stand[-1 if place else 0] for stand in operands]) for place in (0, 1))]
        rule = _RULES.get(node.op)
        if rule is None:
            kinds = ", ".join(short_name(value.dtype) for value in node.operands)
            raise GraphError(f"{node.op.name} of {kinds} is not supported{at_location(node.location)}")
        return [rule(self, node, operands)]

    def _made(self, node: Node, operands: Sequence[Value]) -> Value:
        return self._builder.value(node.op, operands, node.attributes, (), node.location)

    def _control(self, node: Node, operands: list[Stand]) -> Sequence[Stand]:
        """Loops and branches on the parts."""
        attributes: Any = node.attributes
        if node.op is SCAN:
            consts, carry, _ = (_count(part) for part in (attributes.inputs(operands).consts, attributes.inputs(operands).carry, ()))
            attributes = type(attributes)(consts, carry, attributes.length, attributes.reverse, attributes.segments)
        elif node.op is WHILE:
            first = attributes.cond_consts
            attributes = WhileAttributes(_count(operands[:first]), _count(operands[first : first + attributes.body_consts]))
        elif node.op is not COND:
            raise GraphError(f"{node.op.name} of complex numbers is not supported{at_location(node.location)}")
        regions = [self._region(region) for region in node.regions]
        flat = [value for stand in operands for value in stand]
        found = iter(self._builder.node(node.op, flat, attributes, regions, node.location).outputs)
        return [tuple(next(found) for _ in range(2 if is_complex(value.dtype) else 1)) for value in node.outputs]

    def _region(self, region: Graph) -> Graph:
        """A body on the parts of what it took and gave."""
        if region not in self._regions:
            self._regions[region] = self._split(region) if _has_complex(region) else region
        return self._regions[region]

    def _split(self, region: Graph) -> Graph:
        builder = Builder()
        stands: dict[Value, Stand] = {}
        for value in region.inputs:
            type = TensorType(real_dtype(value.dtype), value.shape)
            names = [value.name] if type == value.type else [value.name and f"{value.name}.{part}" for part in ("re", "im")]
            stands[value] = tuple(Value(type, name=name) for name in names)
        _Splitter(builder, stands, self._regions).run(region.nodes)
        inputs, outputs = ([value for item in items for value in stands[item]] for items in (region.inputs, region.outputs))
        return Graph(inputs, outputs, region.name)

    # What is more than the same for either part.

    def _constant(self, node: Node, operands: list[Stand]) -> Stand:
        array = node.attributes.value
        return tuple(self._builder.constant(part, location=node.location) for part in (array.real, array.imag))

    def _zeros(self, type: TensorType) -> Value:
        zero = self._builder.constant(0, type.dtype)
        return self._builder.value(BROADCAST, [zero], BroadcastAttributes(type.shape)) if type.shape else zero

    def _cast(self, node: Node, operands: list[Stand]) -> Stand:
        make, dtype, (stand,) = Maker(self._builder, node), node.attributes.dtype, operands
        if is_bool(dtype):
            return (make(e.BITWISE_OR, *(make(e.NOT_EQUAL, part, 0) for part in stand)),)
        parts = [make.cast(part, real_dtype(dtype)) for part in stand]
        if not is_complex(dtype):
            return (parts[0],)
        return (parts[0], parts[1] if len(parts) > 1 else self._zeros(parts[0].type))

    def _real(self, node: Node, operands: list[Stand]) -> Stand:
        return (operands[0][0],)

    def _imag(self, node: Node, operands: list[Stand]) -> Stand:
        return (operands[0][1],)

    def _complex(self, node: Node, operands: list[Stand]) -> Stand:
        make = Maker(self._builder, node)
        shape = node.output.shape
        return tuple(
            value if value.shape == shape else make(BROADCAST, value, attributes=BroadcastAttributes(shape)) for (value,) in operands
        )

    def _dot(self, node: Node, operands: list[Stand]) -> Stand:
        """Four contractions; two where one side was real: there a product with nothing is nothing, whatever the other number is."""
        make, ((a, b), (c, d)) = Maker(self._builder, node), operands

        def product(x: Value, y: Value) -> Value | None:
            return None if _is_nothing(x) or _is_nothing(y) else make(DOT, x, y, attributes=node.attributes)

        def combined(op: Op, x: Value | None, y: Value | None) -> Value:
            if x is None and y is None:
                return self._zeros(TensorType(a.dtype, node.output.shape))
            if y is None:
                assert x is not None
                return x
            if x is None:
                return make(e.NEG, y) if op is e.SUB else y
            return make(op, x, y)

        return combined(e.SUB, product(a, c), product(b, d)), combined(e.ADD, product(a, d), product(b, c))

    def _function(self, node: Node, operands: list[Stand]) -> Stand:
        return self._inlined(node, FUNCTIONS[node.op], [value for stand in operands for value in stand])

    def _inlined(self, node: Node, function: Callable[..., Any], values: Sequence[Value]) -> Stand:
        graph = _traced(function, tuple(value.type for value in values))
        return tuple(self._builder.inline(graph, values, node.location))

    def _power(self, node: Node, operands: list[Stand]) -> Stand:
        """Whole exponents that are known are products, as NumPy's are."""
        number = uniform_number(node.operands[1])
        x = operands[0]
        if number is None or number.imag or number.real != int(number.real) or abs(number.real) >= _MOST or number.real == 0:
            return self._function(node, operands)
        if x[0].shape != node.output.shape:
            x = tuple(self._builder.value(BROADCAST, [part], BroadcastAttributes(node.output.shape)) for part in x)
        count, result, square = abs(int(number.real)), None, x
        while True:
            if count & 1:
                result = square if result is None else self._inlined(node, multiply, [*result, *square])
            count >>= 1
            if not count:
                break
            square = self._inlined(node, multiply, [*square, *square])
        assert result is not None
        return result if number.real > 0 else self._inlined(node, _reciprocal, result)

    def _running(self, node: Node, operands: list[Stand]) -> Stand:
        """Products along axes are loops of products, one after the other as NumPy's."""
        rule = _product if node.op is PROD else _running_product
        graph = _traced_with(rule, node.operands[0].type, node.attributes)
        stands = {graph.inputs[0]: operands[0]}
        _Splitter(self._builder, stands).run(graph.nodes)
        return stands[graph.outputs[0]]


def _is_nothing(value: Value) -> bool:
    """Zeros, seen in any form, negated ones too: the imaginary part of what was real, and of its conjugate."""
    while value.node is not None and (value.node.op.is_view or value.node.op is e.NEG):
        value = value.node.operands[0]
    return is_zero(value)


#: NumPy's power multiplies up to here.
_MOST = 100


def _reciprocal(x: Any, y: Any) -> Any:
    nothing = (x == 0) & (y == 0)
    return tuple(np.where(nothing, np.nan, part) for part in divide(np.ones_like(x), np.zeros_like(x), x, y))


def _running_product(x: Any, attributes: Any) -> Any:
    return associative_scan(np.multiply, x, attributes.reverse, attributes.axis)


def _product(x: Any, attributes: Any) -> Any:
    axes = attributes.axes
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    rest = [x.shape[axis] for axis in kept]
    flat = np.reshape(np.transpose(x, [*axes, *kept]), (count, *rest))
    one = np.ones_like(flat, shape=(1, *rest))
    return associative_scan(np.multiply, np.concatenate([one, flat], 0))[-1]


@lru_cache(maxsize=4096)
def _traced(function: Callable[..., Any], types: tuple[TensorType, ...]) -> Graph:
    def rule(boxes: list[Any]) -> Sequence[Any]:
        found = function(*boxes)
        return found if isinstance(found, tuple) else [found]

    return trace_rule(rule, types)[0]


@lru_cache(maxsize=256)
def _traced_with(function: Callable[..., Any], type: TensorType, attributes: Any) -> Graph:
    return trace_rule(lambda boxes: [function(*boxes, attributes)], [type])[0]


def _count(stands: Sequence[Stand]) -> int:
    return sum(map(len, stands))


_RULES: dict[Op, Callable[[_Splitter, Node, list[Stand]], Stand]] = {
    **dict.fromkeys(FUNCTIONS, _Splitter._function),
    CONSTANT: _Splitter._constant,
    e.CAST: _Splitter._cast,
    e.REAL: _Splitter._real,
    e.IMAG: _Splitter._imag,
    e.COMPLEX: _Splitter._complex,
    e.POWER: _Splitter._power,
    DOT: _Splitter._dot,
    PROD: _Splitter._running,
    CUMPROD: _Splitter._running,
}
