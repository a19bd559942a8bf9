"""The record of a trace while its loops are rolled: a tree of loops, and what has become of each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from irdl.ir.builder import CONSTANT, ConstantAttributes
from irdl.ir.graph import NOWHERE, Location, Node, Value, reachable_nodes
from irdl.ir.op import Op
from irdl.ir.types import TensorType
from irdl.ops.joining import CONCAT, UPDATE_SLICE, ConcatAttributes, UpdateSliceAttributes
from irdl.ops.shape import RESHAPE, REVERSE, SLICE, TRANSPOSE, ReshapeAttributes, ReverseAttributes, SliceAttributes, TransposeAttributes


class Mark(NamedTuple):
    """Where a step of a loop begins in the record; step -1 is the loop's end."""

    position: int
    loop: int
    step: int


@dataclass
class Loop:
    """A loop as recorded: of each step its nodes and inner loops, in order."""

    steps: list[list[Item]] = field(default_factory=list)


Item: TypeAlias = "Node | Loop"


def loop_tree(nodes: Sequence[Node], marks: Sequence[Mark]) -> list[Item]:
    """Nest `nodes` by the marks. A loop that never ended ends with the step that it is in."""
    root: list[Item] = []
    open_loops: list[tuple[int, Loop]] = []
    place = 0

    def here() -> list[Item]:
        return open_loops[-1][1].steps[-1] if open_loops else root

    for position, number, step in marks:
        here().extend(nodes[place:position])
        place = position
        depth = next((i for i, (other, _) in enumerate(open_loops) if other == number), None)
        if depth is not None:
            loop = open_loops[depth][1]
            del open_loops[depth:]
        elif step >= 0:
            loop = Loop()
            here().append(loop)
        if step >= 0:
            loop.steps.append([])
            open_loops.append((number, loop))
    here().extend(nodes[place:])
    return root


class Record:
    """The nodes of one trace, and the values that stand for others by now. The nodes themselves are never changed.

    Attributes:
        ghosts: nodes recorded but read by nothing that counts (the last step's state): kept, so that steps are alike.
        dead: nodes that something else stands for.
        rolled: how many scans were made.
        log: a line for every scan made, and for every run of steps that none was made of.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Value]) -> None:
        self.rolled = 0
        self.log: list[str] = []
        self.dead: set[Node] = set()
        self._instead: dict[Value, Value] = {}
        self._readers: dict[Value, list[Node | None]] = {}
        self._made: list[Node] = []
        self._keys: dict[Node, int] = {}
        self._numbers: dict[tuple[Any, ...], int] = {}
        live = set(reachable_nodes(outputs))
        self.ghosts = {node for node in nodes if node not in live}
        readers = self._readers
        for node in nodes:
            if node in live:
                for value in node.operands:
                    if value in readers:
                        readers[value].append(node)
                    else:
                        readers[value] = [node]
        for value in outputs:
            readers.setdefault(value, []).append(None)

    # What stands for what.

    def now(self, value: Value) -> Value:
        """What stands for `value` by now."""
        instead = self._instead
        if value not in instead:
            return value
        root = instead[value]
        while root in instead:
            root = instead[root]
        instead[value] = root
        return root

    def operands(self, node: Node) -> list[Value]:
        return [self.now(value) for value in node.operands]

    def replace(self, old: Value, new: Value) -> None:
        self._instead[old] = new
        self._readers.setdefault(new, []).extend(self._readers.pop(old, ()))

    def revive(self, value: Value) -> None:
        """A value that nothing read is read now, and so is what it is made of."""
        stack = [value.node]
        while stack:
            node = stack.pop()
            if node is not None and node in self.ghosts:
                self.ghosts.discard(node)
                self._read(node)
                stack.extend(operand.node for operand in self.operands(node))

    def readers(self, value: Value) -> list[Node | None]:
        """The nodes that read a value (None: the outside), without those that something stands for."""
        return [user for user in self._readers.get(value, ()) if user is None or user not in self.dead]

    def _read(self, node: Node) -> None:
        for value in node.operands:
            self._readers.setdefault(self.now(value), []).append(node)

    def living(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes that something reads, in their order; ghosts stay."""
        kept, dead, ghosts, readers = [], self.dead, self.ghosts, self._readers
        for node in reversed(nodes):
            if node in dead:
                continue
            if node not in ghosts:
                for value in node.outputs:
                    if not dead.issuperset(readers.get(value, ())):  # None, the outside, is not among them
                        break
                else:
                    dead.add(node)
                    continue
            kept.append(node)
        return kept[::-1]

    def keys(self, nodes: Sequence[Node]) -> tuple[int, ...]:
        """What nodes record, by number: equal for nodes that differ in operands, indices and constants' numbers at most."""
        known = self._keys
        return tuple([known[node] if node in known else self._key(node) for node in nodes])

    def _key(self, node: Node) -> int:
        found = self._keys.get(node)
        if found is None:
            op, attributes = node.op, node.attributes
            if op is SLICE or op is UPDATE_SLICE:
                attributes = attributes.stride
            elif op is CONSTANT:
                attributes = None
            types = tuple([value.type for value in node.operands]), tuple([value.type for value in node.outputs])
            full = (op.name, attributes, *types, node.regions, node.location)
            found = self._keys[node] = self._numbers.setdefault(full, len(self._numbers))
        return found

    # New nodes.

    def add(self, node: Node) -> None:
        """Take a new node in: it is among those `taken` next."""
        for value in node.operands:
            self._readers.setdefault(value, []).append(node)
        self._made.append(node)

    def new(self, op: Op, operands: Sequence[Value], attributes: Any, type: TensorType, location: Location = NOWHERE) -> Value:
        node = Node(op, operands, attributes, (), [type], location)
        self.add(node)
        return node.output

    def taken(self) -> list[Node]:
        """The nodes made since this was asked last."""
        made, self._made = self._made, []
        return made

    def drop(self) -> None:
        """Forget the nodes made since `taken`."""
        self.dead.update(self.taken())

    def constant(self, array: Any, location: Location = NOWHERE) -> Value:
        attributes = ConstantAttributes(array)
        return self.new(CONSTANT, (), attributes, TensorType.of(attributes.value), location)

    def reshape(self, x: Value, shape: tuple[int, ...], location: Location | None = None) -> Value:
        x = self.before_reshapes(x)
        if x.shape == shape:
            return x
        return self.new(RESHAPE, [x], ReshapeAttributes(shape), TensorType(x.dtype, shape), x.location if location is None else location)

    def before_reshapes(self, x: Value) -> Value:
        """What a value is a reshape of."""
        while x.node is not None and x.node.op is RESHAPE:
            x = self.now(x.node.operands[0])
        return x

    def slice(self, x: Value, attributes: SliceAttributes, location: Location | None = None) -> Value:
        shape = tuple(len(range(*part)) for part in zip(attributes.start, attributes.limit, attributes.stride, strict=True))
        if shape == x.shape:
            return x
        return self.new(SLICE, [x], attributes, TensorType(x.dtype, shape), x.location if location is None else location)

    def rows(self, x: Value, start: int, stop: int) -> Value:
        """`x[start:stop]`."""
        rest = x.shape[1:]
        return self.slice(x, SliceAttributes((start, *[0] * len(rest)), (stop, *rest), (1,) * x.type.rank))

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        if list(order) == list(range(len(order))):
            return x
        shape = tuple(x.shape[axis] for axis in order)
        return self.new(TRANSPOSE, [x], TransposeAttributes(tuple(order)), TensorType(x.dtype, shape), x.location)

    def reverse(self, x: Value, axis: int) -> Value:
        if x.node is not None and x.node.op is REVERSE and x.node.attributes.axes == (axis,):
            return self.now(x.node.operands[0])
        return self.new(REVERSE, [x], ReverseAttributes((axis,)), x.type, x.location)

    def concat(self, parts: Sequence[Value], axis: int, location: Location = NOWHERE) -> Value:
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.new(CONCAT, parts, ConcatAttributes(axis), TensorType(parts[0].dtype, tuple(shape)), location)

    def update(self, x: Value, piece: Value, start: Sequence[int], stride: Sequence[int], location: Location = NOWHERE) -> Value:
        return self.new(UPDATE_SLICE, [x, piece], UpdateSliceAttributes(tuple(start), tuple(stride)), x.type, location)

    # The end.

    def rebuilt(self, outputs: Sequence[Value]) -> list[Value]:
        """`outputs` as values of a graph of new nodes, in an order that fits.

        Raises:
            AssertionError: there is none: the graph has a cycle.
        """
        new: dict[Value, Value] = {}
        wanted = [self.now(value) for value in outputs]
        stack = [value.node for value in wanted if value.node is not None]
        done: set[Node] = set()
        entered: set[Node] = set()
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
                continue
            operands = self.operands(node)
            waiting = [value.node for value in operands if value.node is not None and value.node not in done]
            if waiting:
                if node in entered:
                    raise AssertionError("a rolled graph has a cycle")
                entered.add(node)
                stack.extend(waiting)
                continue
            stack.pop()
            done.add(node)
            types = [value.type for value in node.outputs]
            made = Node(node.op, [new.get(value, value) for value in operands], node.attributes, node.regions, types, node.location)
            new.update(zip(node.outputs, made.outputs, strict=True))
        return [new.get(value, value) for value in wanted]
