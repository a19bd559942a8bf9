"""Values, nodes and graphs: the one structure for functions and for the bodies of loops and branches.

A graph is its inputs and its outputs; what no output reaches does not exist. Values and nodes compare by identity,
graphs by structure (the user's lines and the names do not count).
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from irdl.errors import GraphError
from irdl.ir.op import NO_ATTRIBUTES, Op, attribute_items
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    import networkx


class Line(NamedTuple):
    """A line of the user's code, which other line called the function that it is in, and which line of irdl's own layers it led to."""

    file: str
    number: int
    caller: tuple[str, int] | None = None
    layer: tuple[str, int] | None = None


#: The lines that a node comes from: several, where passes made one node of many.
Location = frozenset[Line]
NOWHERE: Location = frozenset()

_serial = itertools.count()


class Value:
    """One typed array: an input of a graph (`node` is None) or output `index` of a node."""

    __slots__ = ("__weakref__", "index", "name", "node", "type")

    def __init__(self, type: TensorType, node: Node | None = None, index: int = 0, name: str | None = None) -> None:
        self.type = type
        self.node = node
        self.index = index
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    @property
    def location(self) -> Location:
        return self.node.location if self.node is not None else NOWHERE

    def __repr__(self) -> str:
        made_by = self.node.op.name if self.node is not None else f"input {self.name or ''}".rstrip()
        return f"<{self.type} of {made_by}>"


class Node:
    """One application of an op. Immutable once made; `serial` grows in order of creation, so it orders a graph."""

    __slots__ = ("attributes", "location", "op", "operands", "outputs", "regions", "serial")

    def __init__(
        self,
        op: Op,
        operands: Sequence[Value],
        attributes: Any,
        regions: Sequence[Graph],
        types: Sequence[TensorType],
        location: Location = NOWHERE,
    ) -> None:
        self.op = op
        self.operands = tuple(operands)
        self.attributes = attributes
        self.regions = tuple(regions)
        self.location = location
        self.serial = next(_serial)
        self.outputs = tuple([Value(type, self, index) for index, type in enumerate(types)])

    @property
    def output(self) -> Value:
        return self.outputs[0]

    def __repr__(self) -> str:
        return f"<{self.op.name} -> {', '.join(str(value.type) for value in self.outputs)}>"


def reachable_nodes(outputs: Iterable[Value], stop: frozenset[Value] | set[Value] = frozenset()) -> list[Node]:
    """The nodes that `outputs` need, each after its operands, in order of creation; `stop` values are not entered."""
    seen: set[Node] = set()
    stack = [value.node for value in outputs if value.node is not None and value not in stop]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(v.node for v in node.operands if v.node is not None and v.node not in seen and v not in stop)
    return sorted(seen, key=lambda node: node.serial)


class Graph:
    """A closed, typed dataflow graph. `name` is only for the reader."""

    __slots__ = ("__weakref__", "_hash", "_key", "_nodes", "_users", "inputs", "name", "outputs")

    def __init__(self, inputs: Sequence[Value], outputs: Sequence[Value], name: str = "") -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.name = name
        self._nodes: tuple[Node, ...] | None = None
        self._key: tuple[Any, ...] | None = None
        self._hash: int | None = None
        self._users: dict[Value, list[Node]] | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that the outputs reach, each after its operands."""
        if self._nodes is None:
            self._nodes = tuple(reachable_nodes(self.outputs))
        return self._nodes

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return tuple(value.type for value in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(value.type for value in self.outputs)

    def users(self) -> dict[Value, list[Node]]:
        """For every value, the nodes that read it (once per reading). Not to be changed."""
        if self._users is not None:
            return self._users
        users: dict[Value, list[Node]] = {value: [] for value in self.inputs}
        for node in self.nodes:
            for value in node.outputs:
                users[value] = []
            for value in node.operands:
                if value not in users:
                    raise GraphError(f"{node} reads {value}, which is neither an input nor computed in this graph")
                users[value].append(node)
        self._users = users
        return users

    def all_graphs(self) -> Iterable[Graph]:
        """This graph and all its regions, those of regions too."""
        stack = [self]
        while stack:
            graph = stack.pop()
            yield graph
            for node in graph.nodes:
                stack.extend(node.regions)

    def all_nodes(self) -> Iterable[Node]:
        """The nodes of this graph and of all its regions."""
        for graph in self.all_graphs():
            yield from graph.nodes

    def has(self, ops: Container[Op]) -> bool:
        """Whether there is a node of one of these ops, in regions too."""
        return any(node.op in ops for node in self.all_nodes())

    def structure(self) -> tuple[Any, ...]:
        """A key that two graphs share exactly when they are the same up to names, lines and order of creation."""
        if self._key is None:
            self._key = _structure(self)
        return self._key

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return self is other or (hash(self) == hash(other) and self.structure() == other.structure())

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.structure())
        return self._hash

    def __str__(self) -> str:
        from irdl.ir.printer import print_graph  # the printer reads graphs; a graph only borrows it for str()

        return print_graph(self)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.input_types))
        outputs = ", ".join(map(str, self.output_types))
        return f"<graph {self.name or ''}({inputs}) -> ({outputs}), {len(self.nodes)} nodes>"

    def __reduce__(self) -> Any:
        raise TypeError("a graph can't be pickled: str(graph) is its text, and irdl.parse reads it")

    def to_networkx(self) -> networkx.MultiDiGraph:
        """The graph's values and nodes as a networkx graph, for inspection and export.

        Nodes are ints (inputs first, then ops in order) with `label`, `op` and `types`; edges carry `operand`.
        """
        import networkx

        result = networkx.MultiDiGraph(name=self.name)
        number: dict[Value, int] = {}
        for position, value in enumerate(self.inputs):
            result.add_node(position, label=value.name or f"input {position}", op="input", types=[str(value.type)])
            number[value] = position
        for position, node in enumerate(self.nodes, len(self.inputs)):
            result.add_node(position, label=node.op.name, op=node.op.name, types=[str(v.type) for v in node.outputs])
            for place, operand in enumerate(node.operands):
                result.add_edge(number[operand], position, operand=place)
            for value in node.outputs:
                number[value] = position
        last = len(self.inputs) + len(self.nodes)
        for place, value in enumerate(self.outputs):
            result.add_node(last + place, label=f"output {place}", op="output", types=[str(value.type)])
            result.add_edge(number[value], last + place, operand=0)
        return result


def canonical_order(outputs: Iterable[Value]) -> list[Node]:
    """Post-order from the outputs: it depends on structure alone, not on when nodes were made."""
    order: list[Node] = []
    done: set[Node] = set()
    for output in outputs:
        if output.node is None or output.node in done:
            continue
        stack: list[tuple[Node, int]] = [(output.node, 0)]
        while stack:
            node, place = stack.pop()
            if node in done:
                continue
            while place < len(node.operands):
                child = node.operands[place].node
                place += 1
                if child is not None and child not in done:
                    stack.append((node, place))
                    stack.append((child, 0))
                    break
            else:
                done.add(node)
                order.append(node)
    return order


def freeze_attributes(attributes: Any) -> tuple[Any, ...]:
    """Attributes as a hashable key; arrays by dtype, shape and bytes, so that nan and -0.0 count."""
    return () if attributes is NO_ATTRIBUTES else tuple(_freeze(value) for _, value in attribute_items(attributes))


def _freeze(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, float):
        return ("float", value.hex())
    return value


def _structure(graph: Graph) -> tuple[Any, ...]:
    number: dict[Value, int] = {value: position for position, value in enumerate(graph.inputs)}
    rows: list[tuple[Any, ...]] = [tuple(value.type for value in graph.inputs)]
    for node in canonical_order(graph.outputs):
        try:
            operands = tuple(number[value] for value in node.operands)
        except KeyError as error:
            raise GraphError(f"{node} reads {error.args[0]}, which is not a value of this graph") from None
        types = tuple(value.type for value in node.outputs)
        rows.append((node.op.name, operands, freeze_attributes(node.attributes), node.regions, types))
        for value in node.outputs:
            number[value] = len(number)
    rows.append(tuple(number[value] for value in graph.outputs))
    return tuple(rows)
