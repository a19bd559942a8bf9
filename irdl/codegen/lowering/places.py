"""Where values are computed: where they are wanted, in the place of what is read for the last time, or in the arena."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from irdl.codegen.lowering import moves
from irdl.codegen.lowering.in_place import STORES, base_of, chain_to, in_place_carries, is_read_in_step, is_updated, last_reads, origin
from irdl.codegen.lowering.layout import Layout, before_view, is_same_place, reshape_layout, sub_layout
from irdl.codegen.lowering.schedule import Schedule
from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.loops.index import Index
from irdl.ops.contract import DOT
from irdl.ops.control import ScanAttributes
from irdl.ops.fusion import FUSED
from irdl.ops.joining import CONCAT, PAD
from irdl.ops.shape import RESHAPE, TRANSPOSE


class Room(Protocol):
    """What memory there is for values that nobody wants anywhere."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def depth(self) -> int:
        """How many loops are around the graph."""

    def arena(self, type: TensorType, name: str = "a") -> Layout: ...


class Places:
    """Where the values of a graph (or region) are to be computed, given where its inputs lie and where its outputs are wanted."""

    def __init__(self, room: Room, graph: Graph, environment: dict[Value, Layout], destinations: Sequence[Layout]) -> None:
        self._room = room
        self.graph = graph
        self.environment = environment
        self.users = graph.users()
        #: values whose layout is fixed before they are computed
        self.planned: dict[Value, Layout] = {}
        #: of each scan being lowered, the carries that live in a stack
        self.stacks: dict[Node, dict[int, Layout]] = {}
        self.destinations = list(zip(graph.outputs, destinations, strict=True))
        self.places: defaultdict[Value, list[tuple[int, Layout]]] = defaultdict(list)
        for number, (value, layout) in enumerate(self.destinations):
            self.places[value].append((number, layout))
        #: the places of destinations that the kernel computing the value writes too
        self.stored: set[int] = set()
        self.reads = last_reads(graph)
        for value, layout in itertools.starmap(_before_views, self.destinations):
            if value.node is not None and not value.node.op.is_view and value.node.op is not CONSTANT:
                self.planned.setdefault(value, layout)
                self._plan_stores(value, layout)

    def destination(self, value: Value) -> Layout:
        """Where a value is to be computed: where it is wanted, or in the arena."""
        if value not in self.planned:
            self.planned[value] = self._wanted(value) or self._sum_so_far(value) or self._room.arena(value.type)
        return self.planned[value]

    def _wanted(self, value: Value) -> Layout | None:
        """As planned, straight into a concatenation or between padding, before reshapes too."""
        if value in self.planned:
            return self.planned[value]
        users = self.users[value]
        if len(users) == 1 and users[0].op is CONCAT and users[0].operands.count(value) == 1:
            concat = users[0]
            return moves.concat_piece(concat, self.destination(concat.output), concat.operands.index(value))
        if len(users) == 1 and users[0].op is PAD and users[0].operands[0] is value:
            return moves.pad_piece(users[0], self.destination(users[0].output))
        if len(users) == 1 and users[0].op is RESHAPE:
            reshaped = self._wanted(users[0].output)
            return None if reshaped is None else reshape_layout(reshaped, value.shape)
        return self._stored_into(value)

    def _sum_so_far(self, value: Value) -> Layout | None:
        """Of a contraction whose result is added to what nothing else reads any more: where that is. Threads that go on with their
        own rows need not meet."""
        node = value.node
        if node is None or node.op is not FUSED or not any(inner.op is DOT for inner in node.regions[0].nodes):
            return None
        # What else the group makes may be wanted there: the sum of another result, or a link of the chain that updates a carry.
        promised = {self.planned[other].buffer for other in node.outputs if other in self.planned}
        for operand in node.operands:
            # Of a view, what it is of may be read later.
            is_own = operand.node is not None and operand.node.op is FUSED and operand.type == value.type
            if is_own and is_read_in_step(operand, value, self.reads):
                layout = self.environment[operand]
                is_whole = layout.is_contiguous and layout.buffer.size == operand.type.size
                if layout.buffer.space == "arena" and is_whole and layout.buffer not in promised:
                    return layout
        return None

    def _plan_stores(self, value: Value, layout: Layout) -> None:
        """What is made of a value from outside by stores into it is made where that lies, if it is wanted there."""
        for old, place in self.environment.items():
            is_there = place.shape == layout.shape and is_same_place(place, layout)
            chain = chain_to(old, value, self.reads, layout) if is_there else None
            if chain is not None:
                self.planned.update({link: found for link, found in chain.items() if link.node is not None and not link.node.op.is_view})
                return

    def _stored_into(self, value: Value) -> Layout | None:
        """Where what becomes of a value by stores into it is to be: all of it is one place. None where nothing is stored into it."""
        chain = [value]
        while chain[-1] not in self.planned:
            following = [user for user in self.users[chain[-1]] if user.op in STORES and base_of(user.output, self.reads) is chain[-1]]
            if len(following) != 1:
                break
            chain.append(following[0].output)
        if len(chain) == 1:
            return None
        layout = self.destination(chain[-1])
        self.planned.update(dict.fromkeys(chain[:-1], layout))
        return layout

    def unreshaped(self, node: Node) -> Layout | None:
        """Where a reshape's result is wanted, as what it is of."""
        wanted = next((layout for _, layout in self.places.get(node.output, ())), None) or self._wanted(node.output)
        return None if wanted is None else reshape_layout(wanted, node.operands[0].shape)

    def reuse_xs(self, node: Node, operands: list[Layout]) -> None:
        """Let ys take the place of xs that nothing reads after the loop: where each step reads its element of xs before it
        writes the same element of ys, one buffer serves both."""
        attributes: ScanAttributes = node.attributes
        (body,) = node.regions
        first = attributes.consts + attributes.carry
        free = [
            place
            for place in range(first, len(operands))
            if operands[place].buffer.space == "arena"
            and operands[place].is_contiguous
            and operands[place].buffer.size == node.operands[place].type.size
            and self.users[node.operands[place]] == [node]
            and (made := node.operands[place].node) is not None
            and made.op is FUSED
            and operands[place].buffer.depth == self._room.depth
        ]
        reads = last_reads(body)
        for y in range(attributes.carry, len(node.outputs)):
            value = node.outputs[y]
            if value in self.planned:
                continue
            for place in free:
                if node.operands[place].type == value.type and is_updated(body, body.inputs[place], body.outputs[y], reads):
                    self.planned[value] = operands[place]
                    free.remove(place)
                    break

    def more_stores(self, node: Node, outputs: list[Layout]) -> list[tuple[Value, Layout]]:
        """Where a group's results go besides their own place: a carry that is also stacked."""
        found = []
        for value, inner, own in zip(node.outputs, node.regions[0].outputs, outputs, strict=True):
            for number, layout in self.places.get(value, ()):
                if layout != own and layout.buffer is not own.buffer:
                    found.append((inner, layout))
                    self.stored.add(number)
        return found

    def stack_carries(self, node: Node) -> None:
        """Let a carry live in a stack of T + 1 rows: each step reads the row before it and writes its own, and what the loop
        stacks of the carry, before or after each step, are rows of it."""
        attributes: ScanAttributes = node.attributes
        consts, count, length = attributes.consts, attributes.carry, attributes.length
        (body,) = node.regions
        in_place = in_place_carries(body, consts, count)
        limit = self._room.schedule.stack_bytes
        stacks: dict[int, Layout] = {}
        for place in range(count):
            old, new = body.inputs[consts + place], body.outputs[place]
            final = node.outputs[place]
            ys = [y for y in range(count, len(node.outputs)) if body.outputs[y] in (old, new) and node.outputs[y] not in self.planned]
            whole = TensorType(old.dtype, (length + 1, *old.shape))
            small = whole.nbytes <= limit and place not in in_place
            if old is new or not length or final in self.planned or not (ys or small):
                continue
            stack = stacks[place] = self._room.arena(whole, "stack")
            first, last = (length, 0) if attributes.reverse else (0, length)
            self.planned[final] = stack.element(Index(last))
            for y in ys:
                start = min(first, 1) if body.outputs[y] is old else min(last, 1)
                self.planned[node.outputs[y]] = sub_layout(stack, [start, *[0] * len(old.shape)], (length, *old.shape))
        self.stacks[node] = stacks


def _before_views(value: Value, layout: Layout) -> tuple[Value, Layout]:
    """What a value is a reshape of, and where that lies if the value lies as `layout`; of stores, in another order too."""
    while value.node is not None and (value.node.op is RESHAPE or (value.node.op is TRANSPOSE and _is_stored(value))):
        found = before_view(value.node, layout)
        if found is None:
            break
        value, layout = value.node.operands[0], found
    return value, layout


def _is_stored(value: Value) -> bool:
    node = origin(value).node
    return node is not None and node.op in STORES
