"""Fusion: elementwise ops, contractions and reductions become groups, each one loop nest over one shape.

Groups are numbered in the order they start, and a group reads only from groups with smaller numbers (or, element for
element, from itself), so the result has no cycle. That one rule decides every merge; no path is ever searched.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from irdl.ir.builder import CONSTANT, Builder, constant_of, fresh_inputs
from irdl.ir.dtypes import is_half
from irdl.ir.graph import Graph, Node, Value
from irdl.loops.index import MOST_BETWEEN
from irdl.ops.contract import DOT
from irdl.ops.elementwise import CAST
from irdl.ops.fusion import FUSED
from irdl.ops.index import GATHER
from irdl.ops.joining import CONCAT
from irdl.ops.reduce import Reduce
from irdl.ops.shape import IOTA, RESHAPE

#: A group holds at most this many nodes, so that one kernel's code stays small.
GROUP_LIMIT = 200
#: How many groups of a shape a node tries to join, the latest ones: it keeps fusion linear.
_LOOK_BACK = 8


def fuse(graph: Graph, widening: bool = False) -> Graph:
    """Group the nodes of `graph` and of its regions. `widening`: contractions and reductions of floats of 16 bits cast them where they read them."""
    return _Fusion(graph, widening).run()


def is_inline_view(node: Node) -> bool:
    """Views that are affine index maps. A reshape is one if it only adds or drops axes of 1."""
    if node.op is RESHAPE:
        return _squeezed(node.operands[0].shape) == _squeezed(node.output.shape) and node.output.type.size > 0
    return node.op.is_view


def seen_through(value: Value) -> Value:
    """What a value is a view of."""
    while value.node is not None and value.node.op is not CONSTANT and is_inline_view(value.node):
        (value,) = value.node.operands
    return value


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(extent for extent in shape if extent != 1)


def only_multiplied(value: Value, users: Mapping[Value, Sequence[Node]], outputs: Container[Value], reduced: bool = False) -> bool:
    """Whether contractions alone read it, or views of it. `reduced`: or other reductions."""
    views = [value]
    while views:
        view = views.pop()
        if view in outputs:
            return False
        for user in users[view]:
            if is_inline_view(user):
                views.append(user.output)
            elif user.op is not DOT and not (reduced and isinstance(user.op, Reduce)):
                return False
    return True


def is_uniform_constant(value: Value) -> bool:
    array = constant_of(value)
    return array is not None and array.size == 1


@dataclass(eq=False)
class _Group:
    index: int
    shape: tuple[int, ...]
    #: what the accumulators of this group run over; () for none
    reduced: tuple[Any, ...] = ()
    members: list[Node] = field(default_factory=list)


class _Fusion:
    def __init__(self, graph: Graph, widening: bool) -> None:
        self.graph, self.widening = graph, widening
        self.users = graph.users()
        self.outputs = set(graph.outputs)
        self.group_of: dict[Node, _Group] = {}
        #: the number of the group (or lone node) that must have run before a value is there
        self.ready: dict[Value, int] = dict.fromkeys(graph.inputs, -1)
        self.count = 0
        self.by_shape: dict[tuple[int, ...], list[_Group]] = {}
        self.steps: list[_Group | Node] = []
        self.inlined = self._inlined_producers() | (self._inlined_casts() if widening else set())

    def run(self) -> Graph:
        for node in self.graph.nodes:
            self._place(node)
        self._merge_into_readers()
        self._merge_in_turns()
        self._merge_into_contractions()
        return self._rebuild()

    # Which group a node joins.

    def _place(self, node: Node) -> None:
        before = max((self.ready[value] for value in node.operands), default=-1)
        if node.op is CONSTANT or is_inline_view(node) or node in self.inlined:
            self.ready.update((value, before) for value in node.outputs)
        elif node.op is DOT or isinstance(node.op, Reduce):
            self._join(node, self._reduction_key(node), strict=True)
        elif node.op.is_elementwise or node.op is IOTA or node.op is GATHER:
            self._join(node, None, strict=False)
        else:
            self.steps.append(node)
            self.ready.update((value, self.count) for value in node.outputs)
            self.count += 1

    def _join(self, node: Node, reduced: tuple[Any, ...] | None, strict: bool) -> None:
        shape = node.output.shape
        needs = -1
        for value in node.operands:
            same_element = not strict and value.shape == shape and value.node in self.group_of and node.op is not GATHER
            needs = max(needs, self.ready[value] if same_element else self.ready[value] + 1)
        group = self._choose(node, shape, needs, reduced)
        if group is None:
            group = _Group(self.count, shape, reduced or ())
            self.count += 1
            self.steps.append(group)
            self.by_shape.setdefault(shape, []).append(group)
        group.members.append(node)
        self.group_of[node] = group
        self.ready[node.output] = group.index

    def _choose(self, node: Node, shape: tuple[int, ...], needs: int, reduced: tuple[Any, ...] | None) -> _Group | None:
        for group in reversed(self.by_shape.get(shape, [])[-_LOOK_BACK:]):
            if group.index < needs:
                return None
            if len(group.members) >= GROUP_LIMIT:
                continue
            if reduced is None:
                if self._related(node, group):
                    return group
            elif group.reduced == reduced:
                return group
        return None

    def _related(self, node: Node, group: _Group) -> bool:
        """Worth joining: it reads from the group, or reads something that the group reads too."""
        reads = {value for value in node.operands if not is_uniform_constant(value)}
        if any(value.node in self.group_of and self.group_of[value.node] is group for value in reads):
            return True
        return any(not reads.isdisjoint(member.operands) for member in group.members[-32:])

    def _merge_into_contractions(self) -> None:
        """An elementwise group moves into the contraction or reduction that it reads element for element, if whatever else it reads
        is there before: it was begun by something that has to do with neither, as `m * 0.5` in the midst of a cell."""
        for group in [step for step in self.steps if isinstance(step, _Group) and not step.reduced]:
            needs, target = -1, None
            for member in group.members:
                for value in member.operands:
                    source = self.group_of.get(value.node) if value.node is not None else None
                    if source is group:
                        continue
                    direct = source is not None and value.shape == group.shape and member.op is not GATHER
                    after = self.ready[value] if direct else self.ready[value] + 1
                    if after > needs:
                        needs, target = after, None
                    if direct and after == needs:
                        target = source
            if target is not None and target.reduced and target.shape == group.shape:
                self._move(group, target)

    def _move(self, group: _Group, target: _Group) -> None:
        if len(target.members) + len(group.members) > GROUP_LIMIT or any(node.op is GATHER for node in group.members):
            return
        target.members = sorted([*group.members, *target.members], key=lambda node: node.serial)
        for node in group.members:
            self.group_of[node] = target
            self.ready[node.output] = target.index
        self.steps.remove(group)

    def _merge_into_readers(self) -> None:
        """An elementwise group moves into the first group that reads it, if that has its shape and nothing reads it sooner.

        Every other reader comes later still, so the numbering stays an order.
        """
        for group in [step for step in reversed(self.steps) if isinstance(step, _Group) and not step.reduced]:
            readers = self._readers(group)
            if not readers:
                continue
            first = min(readers, key=lambda reader: reader[0])
            target = first[1]
            if (
                target is None
                or target.shape != group.shape
                or any(index == target.index and other is not target for index, other in readers)
            ):
                continue
            self._move(group, target)

    def _merge_in_turns(self) -> None:
        """Elementwise groups whose elements take turns in one array, as the parts of complex numbers do, become one, the last of them, if
        nothing reads the others sooner: they are stored at once then."""
        for step in [step for step in self.steps if isinstance(step, Node) and step.op is CONCAT]:
            axis = step.attributes.axis
            if axis != len(step.output.shape) - 1 or len(step.operands) > MOST_BETWEEN or any(v.shape[axis] != 1 for v in step.operands):
                continue
            makers = [seen_through(value).node for value in step.operands]
            made = [self.group_of[node] for node in makers if node in self.group_of and not self.group_of[node].reduced]
            target = max(made, key=lambda group: group.index, default=None)
            for group in dict.fromkeys(made):
                if target is None or group is target or group.shape != target.shape:
                    continue
                if all(index > target.index or reader is target for index, reader in self._readers(group)):
                    self._move(group, target)

    def _readers(self, group: _Group) -> set[tuple[int, _Group | None]]:
        """Who reads the group's values: (number, the group if it reads element for element, else None)."""
        found: set[tuple[int, _Group | None]] = set()
        for member in group.members:
            stack = [(member.output, True)]
            while stack:
                value, same = stack.pop()
                for user in self.users[value]:
                    reader = self.group_of.get(user)
                    if reader is group:
                        continue
                    if reader is not None:
                        direct = same and (user.op.is_elementwise and user.output.shape == value.shape)
                        found.add((reader.index, reader if direct else None))
                    elif is_inline_view(user) or user in self.inlined:
                        stack.append((user.output, False))
                    else:
                        found.add((self.ready[user.outputs[0]], None))
        return found

    def _reduction_key(self, node: Node) -> tuple[Any, ...]:
        if node.op is DOT:
            left, right, output = node.attributes.labels
            # Contractions of one array with several (the gates of a cell) share their loop.
            return ("dot", node.operands[0], left, right, output, node.operands[1].shape)
        axes = node.attributes.axes
        return ("reduce", node.operands[0].shape, axes)

    def _inlined_producers(self) -> set[Node]:
        """Elementwise nodes read by one reduction alone: computed where it reads them."""
        reader: dict[Node, Node] = {}  # of what is inlined, the reduction
        for node in reversed(self.graph.nodes):
            if not (node.op.is_elementwise or node.op is IOTA) or node.output in self.outputs:
                continue
            ends = set()
            for user in self.users[node.output]:
                same = user in reader and user.output.shape == node.output.shape
                ends.add(user if isinstance(user.op, Reduce) else reader[user] if same else None)
            if len(ends) == 1 and (end := ends.pop()) is not None:
                reader[node] = end
        return set(reader)

    def _inlined_casts(self) -> set[Node]:
        """Those of floats of 16 bits that only contractions and reductions read."""
        casts = [node for node in self.graph.nodes if node.op is CAST and is_half(node.operands[0].dtype)]
        return {node for node in casts if only_multiplied(node.output, self.users, self.outputs, reduced=True)}

    # The new graph.

    def _rebuild(self) -> Graph:
        self.builder = Builder(fold=False)
        inputs = fresh_inputs(self.graph.inputs)
        self.mapping: dict[Value, Value] = dict(zip(self.graph.inputs, inputs, strict=True))
        for step in self.steps:
            if isinstance(step, _Group):
                self._emit_group(step)
            else:
                regions = [fuse(region, self.widening) for region in step.regions]
                operands = [self._outside(value) for value in step.operands]
                made = self.builder.node(step.op, operands, step.attributes, regions, step.location)
                self.mapping.update(zip(step.outputs, made.outputs, strict=True))
        return Graph(inputs, [self._outside(value) for value in self.graph.outputs], self.graph.name)

    def _outside(self, value: Value) -> Value:
        """`value` in the new graph, outside any group: views and constants are made where they are first read."""
        stack = [value]
        while stack:
            item = stack[-1]
            if item in self.mapping:
                stack.pop()
                continue
            node = item.node
            assert node is not None
            missing = [v for v in node.operands if v not in self.mapping]
            if missing:
                stack += missing
                continue
            made = self.builder.node(node.op, [self.mapping[v] for v in node.operands], node.attributes, (), node.location)
            self.mapping[item] = made.outputs[0]
            stack.pop()
        return self.mapping[value]

    def _emit_group(self, group: _Group) -> None:
        inner = Builder(fold=False)
        inside: dict[Value, Value] = {}
        inputs: list[Value] = []
        outer: list[Value] = []
        members = set(group.members)

        def enter(value: Value) -> None:
            stack = [value]
            while stack:
                item = stack[-1]
                if item in inside:
                    stack.pop()
                    continue
                node = item.node
                local = node is not None and (node in members or node in self.inlined or is_inline_view(node) or is_uniform_constant(item))
                if not local:
                    made = Value(item.type, name=item.name)
                    inside[item] = made
                    inputs.append(made)
                    outer.append(item)
                    stack.pop()
                    continue
                assert node is not None
                missing = [v for v in node.operands if v not in inside]
                if missing:
                    stack += reversed(missing)
                    continue
                inside[item] = inner.node(node.op, [inside[v] for v in node.operands], node.attributes, (), node.location).outputs[0]
                stack.pop()

        results: list[Value] = []
        for member in group.members:
            enter(member.output)
            if member.output in self.outputs or self._read_outside(member.output, group):
                results.append(member.output)
        region = Graph(inputs, [inside[value] for value in results], "group")
        location = frozenset().union(*(member.location for member in group.members))
        made = self.builder.node(FUSED, [self._outside(v) for v in outer], regions=[region], location=location)
        self.mapping.update(zip(results, made.outputs, strict=True))

    def _read_outside(self, value: Value, group: _Group) -> bool:
        """True if anything but the group's own members, element for element, reads `value`."""
        stack = [value]
        while stack:
            item = stack.pop()
            for user in self.users[item]:
                if user in self.group_of:
                    if self.group_of[user] is not group or item is not value:
                        return True
                elif is_inline_view(user):
                    if user.output in self.outputs:
                        return True
                    stack.append(user.output)
                else:
                    return True
        return False
