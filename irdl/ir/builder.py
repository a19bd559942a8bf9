"""Building graphs: infers types, folds constants and shares equal nodes on the way."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.graph import NOWHERE, Graph, Location, Node, Value, freeze_attributes
from irdl.ir.op import NO_ATTRIBUTES, Op, find_op, register
from irdl.ir.types import TensorType
from irdl.lazy import cached_property

#: Folding never makes a constant larger than this many elements out of smaller ones.
FOLD_LIMIT = 1024


@dataclass(frozen=True, eq=False)
class ConstantAttributes:
    value: np.ndarray

    def __post_init__(self) -> None:
        value = np.array(self.value, order="C", copy=True)
        value.flags.writeable = False
        object.__setattr__(self, "value", value)

    @cached_property
    def type(self) -> TensorType:
        return TensorType.of(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConstantAttributes) and freeze_attributes(self) == freeze_attributes(other)

    def __hash__(self) -> int:
        return hash(freeze_attributes(self))


class Constant(Op):
    """A literal array."""

    name = "constant"
    Attributes = ConstantAttributes
    only_moves = True

    def infer(self, types: Sequence[TensorType], attributes: ConstantAttributes, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        return (attributes.type,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (attributes.value,)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return ()

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        raise GraphError("a constant has no operand and is never batched")


CONSTANT = register(Constant())


def constant_of(value: Value) -> np.ndarray | None:
    """The array a value is known to hold, or None."""
    if value.node is not None and value.node.op is CONSTANT:
        return value.node.attributes.value
    return None


def is_uniform(array: np.ndarray) -> bool:
    """One number everywhere, to the bit."""
    return array.size == 1 or (
        array.size > 0 and bool((array == array.flat[0]).all()) and array.tobytes() == array.flat[0].tobytes() * array.size
    )


def make_node(
    op: Op,
    operands: Sequence[Value],
    attributes: Any = NO_ATTRIBUTES,
    regions: Sequence[Graph] = (),
    location: Location = NOWHERE,
) -> Node:
    """A node as asked, its types inferred, nothing folded and nothing shared."""
    operand_types = tuple([value.type for value in operands])
    if attributes is NO_ATTRIBUTES and not regions:
        types = _infer_plain(op, operand_types)
    else:
        types = op.infer(operand_types, attributes, regions)
    return Node(op, operands, attributes, regions, types, location)


@lru_cache(maxsize=4096)
def _infer_plain(op: Op, types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    """The same few ops of the same few types are made over and over."""
    return op.infer(types, NO_ATTRIBUTES, ())


class Builder:
    """Makes nodes, shared and folded. One builder serves one graph under construction."""

    def __init__(self, fold: bool = True) -> None:
        # The operands are kept with the node: the key holds their ids, which must not be reused.
        self._table: dict[tuple[Any, ...], tuple[Node, tuple[Value, ...]]] = {}
        self._fold = fold

    def node(
        self,
        op: Op | str,
        operands: Sequence[Value] = (),
        attributes: Any = NO_ATTRIBUTES,
        regions: Sequence[Graph] = (),
        location: Location = NOWHERE,
    ) -> Node:
        op = _resolve(op)
        key = (op.name, tuple(map(id, operands)), freeze_attributes(attributes), tuple(regions))
        found = self._table.get(key)
        if found is not None:
            return found[0]
        node = make_node(op, operands, attributes, regions, location)
        folded = self._folded(node)
        if folded is not None:
            node = folded
        self._table[key] = (node, tuple(operands))
        return node

    def value(
        self,
        op: Op | str,
        operands: Sequence[Value] = (),
        attributes: Any = NO_ATTRIBUTES,
        regions: Sequence[Graph] = (),
        location: Location = NOWHERE,
    ) -> Value:
        return self.node(op, operands, attributes, regions, location).outputs[0]

    def constant(self, array: Any, dtype: Any = None, location: Location = NOWHERE) -> Value:
        return self.value(CONSTANT, (), ConstantAttributes(np.asarray(array, dtype)), (), location)

    def _folded(self, node: Node) -> Node | None:
        if not self._fold or node.op is CONSTANT or node.op.can_raise or node.regions or len(node.outputs) != 1:
            return None
        arrays = [array for array in map(constant_of, node.operands) if array is not None]
        if not arrays or len(arrays) != len(node.operands) or node.output.type.size > FOLD_LIMIT:
            return None
        with np.errstate(all="ignore"):
            (result,) = node.op.evaluate(arrays, node.attributes, ())
        return self.node(CONSTANT, (), ConstantAttributes(result), (), node.location)

    def inline(self, graph: Graph, arguments: Sequence[Value], location: Location = NOWHERE) -> list[Value]:
        """A copy of `graph`'s nodes with `arguments` for its inputs; the outputs' values."""
        if [value.type for value in arguments] != list(graph.input_types):
            raise GraphError(f"arguments {[str(v.type) for v in arguments]} do not fit {graph!r}")
        mapping: dict[Value, Value] = dict(zip(graph.inputs, arguments, strict=True))
        copy_nodes(self, graph.nodes, mapping, location=location)
        return [mapping[value] for value in graph.outputs]


def copy_nodes(
    builder: Builder,
    nodes: Sequence[Node],
    mapping: dict[Value, Value],
    location: Location = NOWHERE,
    region: Callable[[Graph], Graph] | None = None,
) -> None:
    """Rebuild `nodes` through `builder`, operands looked up in and outputs added to `mapping`."""
    for node in nodes:
        regions = node.regions if region is None else tuple(region(graph) for graph in node.regions)
        made = builder.node(node.op, [mapping[v] for v in node.operands], node.attributes, regions, node.location or location)
        mapping.update(zip(node.outputs, made.outputs, strict=True))


def rewrite(
    graph: Graph,
    visit: Callable[[Builder, Node, list[Value]], Sequence[Value] | None],
    *,
    regions: bool = True,
    ops: Container[Op] | None = None,
    name: str | None = None,
) -> Graph:
    """Rebuild a graph bottom-up. `visit(builder, node, new_operands)` returns the new outputs, or None to keep the node.

    With `regions`, the regions are rewritten first, and `visit` sees nodes that already hold the new ones. A graph without any of the
    `ops`, and one in which nothing changes, is given back as it is.
    """
    if ops is not None and not graph.has(ops):
        return graph
    builder = Builder()
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    memo: dict[Graph, Graph] = {}
    changed, last = name is not None and name != graph.name, -1
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        old_outputs = node.outputs
        if regions and node.regions:
            new_regions = []
            for inner in node.regions:
                if inner not in memo:
                    memo[inner] = rewrite(inner, visit)
                new_regions.append(memo[inner])
            if any(a is not b for a, b in zip(new_regions, node.regions, strict=True)):
                changed = True
                node = Node(node.op, node.operands, node.attributes, new_regions, [v.type for v in node.outputs], node.location)
        new = visit(builder, node, operands)
        if new is None:
            new = builder.node(node.op, operands, node.attributes, node.regions, node.location).outputs
        if not changed:
            made = new[0].node if new else None
            changed = made is None or made.serial <= last or not _is_copy(node, made, new, operands)
            last = last if made is None else made.serial
        for old, value in zip(old_outputs, new, strict=True):
            if old.type != value.type:
                raise GraphError(f"a rewrite of {node} turned {old.type} into {value.type}")
            mapping[old] = value
    if not changed:
        return graph
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name if name is None else name)


def _is_copy(node: Node, made: Node, outputs: Sequence[Value], operands: Sequence[Value]) -> bool:
    """Whether `made`, whose outputs these are, does to `operands` what `node` does to its own."""
    if made.op is not node.op or made.attributes is not node.attributes:
        return False
    pairs = ((outputs, made.outputs), (operands, made.operands), (node.regions, made.regions))
    return all(len(left) == len(right) and all(map(operator.is_, left, right)) for left, right in pairs)


def fresh_inputs(values: Sequence[Value]) -> list[Value]:
    """New input values of the same types and names."""
    return [Value(value.type, name=value.name) for value in values]


def _resolve(op: Op | str) -> Op:
    if isinstance(op, Op):
        return op
    found = find_op(op)
    if found is None:
        raise GraphError(f"there is no op named {op!r}")
    return found
