"""The like steps of a loop side by side: what each operand is over all of them, and what the outside reads."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Node, Value
from irdl.ops.joining import UPDATE_SLICE
from irdl.ops.shape import RESHAPE, SLICE
from irdl.tracing.rolling.cost import Unfit
from irdl.tracing.rolling.record import Record
from irdl.tracing.rolling.stacks import Stacks, grid_step

#: a carry may come from so many steps before
MAX_DISTANCE = 8


class Same(NamedTuple):
    """An output of a node of the same step."""

    node: int
    output: int


class Invariant(NamedTuple):
    """One outside value in all steps."""

    value: Value


class Carried(NamedTuple):
    """An output of a node of `distance` steps before; the first steps get `starts`."""

    node: int
    output: int
    distance: int
    starts: tuple[Value, ...]


class Series(NamedTuple):
    """An outside value for each step."""

    values: tuple[Value, ...]


class Misfit(NamedTuple):
    """`lag`: it is an output of so many steps before, too many for a carry; 0 if it is something else."""

    reason: str
    lag: int = 0


Slot: TypeAlias = Same | Invariant | Carried | Series | Misfit


class Role(enum.Enum):
    """What becomes of one node of each step."""

    LITERAL = enum.auto()  #: the same constant in all steps: made in the body
    INVARIANT = enum.auto()  #: the same computation in all steps: the first step's serves all
    APART = enum.auto()  #: slices, stores and constants that differ by step: they stay outside
    BODY = enum.auto()


class Output(NamedTuple):
    """One output of one of the steps' nodes."""

    node: int
    output: int


class Family:
    """K like steps of n nodes each.

    Attributes:
        table: of each step its nodes.
        between: all nodes recorded in these steps, those that are not in the table too, in order.
        roles, slots: of each of the n nodes its role, and what its operands are.
        moving: slices and stores at places that change, of arrays that the steps change.
    """

    def __init__(self, record: Record, table: list[list[Node]], between: list[Node]) -> None:
        self.record, self.table, self.between = record, table, between
        self.count = len(table)
        self.roles: list[Role] = []
        self.slots: list[list[Slot]] = []
        self.moving: set[int] = set()
        #: what equal literals of later steps are; only a scan that is made makes them one
        self.literals: list[tuple[Value, Value]] = []
        self._place = {node: (k, j) for k, row in enumerate(table) for j, node in enumerate(row)}
        self._classify()

    # What each operand is.

    def _slot(self, values: list[Value]) -> Slot:
        place, count, table = self._place, self.count, self.table
        first, last = values[0], values[-1]
        at = place.get(first.node) if first.node is not None else None
        if at is not None and at[0] == 0:
            j, i = at[1], first.index
            if all([value.node is row[j] and value.index == i for value, row in zip(values, table, strict=True)]):
                return Same(j, i)
        if all([value is first for value in values]):
            return Invariant(first) if at is None else Misfit("computed in one step and read in all")
        end = place.get(last.node) if last.node is not None else None
        if end is not None:
            distance, j, i = count - 1 - end[0], end[1], last.index
            if 1 <= distance < count and all([v.node is row[j] and v.index == i for v, row in zip(values[distance:], table, strict=False)]):
                starts = tuple(values[:distance])
                if any([value.node in place for value in starts]):
                    return Misfit("a carry starts inside")
                if distance > MAX_DISTANCE:
                    return Misfit(f"an operand of {last.type} is {distance} steps old", distance)
                return Carried(j, i, distance, starts)
        if not any([value.node in place for value in values]):
            return Series(tuple(values))
        return Misfit(f"an operand of {last.type} is now from inside, now from outside")

    def _classify(self) -> None:
        now = self.record.now
        merged: list[tuple[Value, Value]] = []
        for j, node in enumerate(self.table[0]):
            column = [row[j] for row in self.table]
            slots = [self._slot([now(other.operands[place]) for other in column]) for place in range(len(node.operands))]
            role = self._role(j, column, slots)
            if role in (Role.LITERAL, Role.INVARIANT):
                pairs = self.literals if role is Role.LITERAL else merged
                for other in column[1:]:
                    pairs.extend(zip(other.outputs, node.outputs, strict=True))
            self.roles.append(role)
            self.slots.append(slots)
        self._leave_reshapes_outside()
        self._take_stores_in()
        self._take_reshapes_in()
        # Right whatever comes of the rest: it is one computation.
        self.merge(merged)

    def _role(self, j: int, column: list[Node], slots: list[Slot]) -> Role:
        op = column[0].op
        if op is CONSTANT:
            return Role.APART if _constants_vary(column) else Role.LITERAL
        if op in (SLICE, UPDATE_SLICE) and any([node.attributes != column[0].attributes for node in column]):
            if not self._is_moving(column, slots):
                return Role.APART
            self.moving.add(j)
            return Role.BODY
        roles = {self._slot_role(slot) for slot in slots}
        if roles <= {Role.LITERAL}:
            return Role.LITERAL
        if roles <= {Role.LITERAL, Role.INVARIANT}:
            return Role.INVARIANT
        return Role.APART if op is RESHAPE and roles == {Role.APART} else Role.BODY

    def _slot_role(self, slot: Slot) -> Role | None:
        if isinstance(slot, Same):
            return self.roles[slot.node]
        return Role.INVARIANT if isinstance(slot, Invariant) else None

    def _is_moving(self, column: list[Node], slots: list[Slot]) -> bool:
        """A slice or store at changing places that has to be done within the loop: slices of what the loop computes, or at
        places that are no affine sequence; stores whose result the loop reads."""
        if column[0].op is SLICE:
            if self._slot_role(slots[0]) not in (Role.INVARIANT, Role.LITERAL):
                return True
            steps = {grid_step(a.attributes, b.attributes) for a, b in itertools.pairwise(column)}
            return len(steps) != 1 or None in steps
        return any(self._is_read_by_body(node, is_classified=False) for node in column)

    def _is_read_by_body(self, store: Node, is_classified: bool) -> bool:
        """A node of the steps reads the buffer after this store, and not only to store into it further."""
        for user in self.record.readers(store.output):
            if user is None or user not in self._place:
                continue
            if is_classified:
                if self.roles[self._place[user][1]] is Role.BODY:
                    return True
            elif not (user.op is UPDATE_SLICE and self.record.now(user.operands[0]) is store.output):
                return True
        return False

    def _leave_reshapes_outside(self) -> None:
        """A reshape that only the outside reads is the outside's: what it reads is stacked once, in one shape."""
        for j in reversed(range(len(self.roles))):
            if self.roles[j] is Role.BODY and self.table[0][j].op is RESHAPE:
                readers = [user for row in self.table for user in self.record.readers(row[j].output) if user is not None]
                if not any(user in self._place and self.roles[self._place[user][1]] is Role.BODY for user in readers):
                    self.roles[j] = Role.APART

    def _take_stores_in(self) -> None:
        """A store that the body reads is the body's, and so are the stores before it."""
        for j in reversed(range(len(self.roles))):
            column = [row[j] for row in self.table]
            is_store = self.roles[j] is Role.APART and column[0].op is UPDATE_SLICE
            if is_store and any(self._is_read_by_body(node, is_classified=True) for node in column):
                self.roles[j] = Role.BODY
                self.moving.add(j)

    def _take_reshapes_in(self) -> None:
        """A reshape of what the body makes is the body's where that reads it, a store that was taken in."""
        for j in reversed(range(len(self.roles))):
            if self.roles[j] is Role.APART and self.table[0][j].op is RESHAPE and isinstance(slot := self.slots[j][0], (Same, Carried)):
                is_made = self.roles[slot.node] is Role.BODY
                if is_made and any(self._is_read_by_body(row[j], is_classified=True) for row in self.table):
                    self.roles[j] = Role.BODY

    def merge(self, pairs: Sequence[tuple[Value, Value]]) -> None:
        """Let the second of each pair stand for the first."""
        for old, new in pairs:
            if old.node not in self.record.ghosts:
                self.record.revive(new)
            self.record.replace(old, new)

    # What is needed of it.

    def read_outside(self) -> dict[Output, list[int]]:
        """Which outputs of the body's nodes something outside the body reads, and in which steps."""
        found: dict[Output, list[int]] = {}
        for j, node in enumerate(self.table[0]):
            if self.roles[j] is not Role.BODY:
                continue
            for i in range(len(node.outputs)):
                steps = [k for k, row in enumerate(self.table) if any(map(self._is_outside, self.record.readers(row[j].outputs[i])))]
                if steps:
                    found[Output(j, i)] = steps
        return found

    def _is_outside(self, reader: Node | None) -> bool:
        if reader is None:
            return True
        at = self._place.get(reader)
        return at is None or self.roles[at[1]] is not Role.BODY

    def needed(self, read: dict[Output, list[int]]) -> list[int]:
        """The body's nodes that what is read depends on, in order.

        Raises:
            Unfit: an operand of one of them fits no loop.
        """
        found: set[int] = set()
        stack = [output.node for output in read]
        far: list[Misfit] = []
        while stack:
            j = stack.pop()
            if j in found:
                continue
            found.add(j)
            for slot in self.slots[j]:
                if isinstance(slot, Misfit):
                    if not slot.lag:
                        raise Unfit(slot.reason)
                    far.append(slot)
                if isinstance(slot, (Same, Carried)) and self.roles[slot.node] is Role.BODY:
                    stack.append(slot.node)
        if far:
            nearest = min(far, key=lambda slot: slot.lag)
            raise Unfit(nearest.reason, lag=nearest.lag)
        return sorted(found)

    def tainted(self) -> set[Node]:
        """The nodes recorded in these steps that depend on the body: they may not be what the scan reads."""
        found: set[Node] = set()
        for node in self.between:
            at = self._place.get(node)
            is_body = at is not None and self.roles[at[1]] is Role.BODY
            if is_body or (node not in self.record.dead and any([value.node in found for value in self.record.operands(node)])):
                found.add(node)
        return found

    def descends(self, needed: Sequence[int], stacks: Stacks) -> bool:
        """Most arrays are walked from the end."""
        balance = 0
        for j, node in enumerate(self.table[0]):
            if self.roles[j] is Role.APART and node.op in (SLICE, UPDATE_SLICE):
                balance += 1 if node.attributes.start < self.table[1][j].attributes.start else -1
        for j in needed:
            for slot in self.slots[j]:
                if isinstance(slot, Series):
                    first, second = (stacks.element_of(value) for value in slot.values[:2])
                    if first is not None and second is not None and first.x is second.x:
                        balance += 1 if first.place.start < second.place.start else -1
        return balance < 0


def _constants_vary(column: list[Node]) -> bool:
    first = column[0].attributes.value
    text = first.tobytes()
    return any([node.attributes is not column[0].attributes and node.attributes.value.tobytes() != text for node in column])
