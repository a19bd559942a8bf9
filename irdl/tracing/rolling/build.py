"""The scan that a family of steps becomes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from irdl.ir.builder import constant_of, make_node
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.types import TensorType
from irdl.ops.control import SCAN, ScanAttributes
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.rolling.cost import Bill, Unfit, check_copies, check_pays
from irdl.tracing.rolling.family import Carried, Family, Invariant, Misfit, Output, Role, Series, Slot
from irdl.tracing.rolling.moving import moving_node
from irdl.tracing.rolling.stacks import Before, Stacks


@dataclass(frozen=True)
class _Register:
    """A carry: what an output was `distance` steps before. The next value of one is the one a step nearer.

    `starts`: what the first `distance` steps get, the earliest first.
    """

    output: Output
    starts: tuple[Value, ...]

    @property
    def distance(self) -> int:
        return len(self.starts)

    @property
    def nearer(self) -> _Register:
        return _Register(self.output, self.starts[1:])


def build(family: Family, stacks: Stacks) -> list[Node]:
    """The nodes that take the place of all that the steps recorded.

    Raises:
        Unfit: the steps do not make a scan, or it would not pay.
    """
    read = family.read_outside()
    needed = family.needed(read)
    nodes = [family.table[0][j] for j in needed]
    check_pays(nodes, family.count)
    scan = _Scan(family, stacks, needed)
    scan.make_body()
    if scan.bill.entries:
        scan.charge_rows(read)
        check_copies(nodes, family.count, scan.bill)
    result = scan.finish(read)
    family.record.log.append(scan.summary)
    return result


class _Scan:
    """A scan under construction: what its body reads, by what it stands for outside."""

    def __init__(self, family: Family, stacks: Stacks, needed: Sequence[int]) -> None:
        self.family, self.stacks, self.record = family, stacks, family.record
        self.needed = needed
        self.tainted = family.tainted()
        self.reverse = family.descends(needed, stacks)
        self.bill = Bill()
        self.consts: dict[Value, Value] = {}
        self.registers: dict[_Register, Value] = {}
        #: by what they are a sequence of: the body's input and the stack
        self.xs: dict[tuple[Value, ...], tuple[Value, Value]] = {}
        self.tables: dict[tuple[bytes, tuple[int, ...]], tuple[Value, Value]] = {}
        self.inner: dict[int, Node] = {}
        #: of outside values that hold the same the first one that was read
        self.same: dict[Hashable, Value] = {}

    def make_body(self) -> None:
        family = self.family
        for j in self.needed:
            node = family.table[0][j]
            operands = [self._operand(slot) for slot in family.slots[j]]
            if j in family.moving:
                self.inner[j] = moving_node([row[j] for row in family.table], operands, self._table)
            else:
                self.inner[j] = make_node(node.op, operands, node.attributes, node.regions, node.location)

    # What the body reads.

    def _operand(self, slot: Slot) -> Value:
        assert not isinstance(slot, Misfit)
        if isinstance(slot, Invariant):
            return self._const(slot.value)
        if isinstance(slot, Series):
            return self._series(slot.values)
        if isinstance(slot, Carried):
            output = Output(slot.node, slot.output)
            if self.family.roles[slot.node] is Role.APART:
                return self._series((*slot.starts, *self._column(output)[: -slot.distance]))
            return self._register(_Register(output, tuple([self._outside(value) for value in slot.starts])))
        return self._made(Output(slot.node, slot.output))

    def _made(self, output: Output) -> Value:
        j, i = output
        role = self.family.roles[j]
        if role is Role.BODY:
            return self.inner[j].outputs[i]
        if role is Role.LITERAL:
            return self._literal(j).outputs[i]
        if role is Role.INVARIANT:
            return self._const(self.family.table[0][j].outputs[i])
        return self._series(self._column(output))

    def _column(self, output: Output) -> tuple[Value, ...]:
        return tuple([row[output.node].outputs[output.output] for row in self.family.table])

    def _outside(self, value: Value) -> Value:
        value = self.record.now(value)
        if value.node in self.tainted:
            raise Unfit(f"a value of {value.type} that the loop reads depends on the loop")
        if value.node in self.record.dead:  # what only ghosts read is not kept, and may be of any step
            raise Unfit(f"a value of {value.type} that the loop reads is not there any more")
        self.record.revive(value)
        return self.same.setdefault(self._identity(value), value)

    def _identity(self, value: Value) -> Hashable:
        """What values that hold the same share: constants of the same numbers, equal slices of an array."""
        array = constant_of(value)
        if array is not None:
            return (value.type, array.tobytes())
        element = self.stacks.element_of(value)
        return value if element is None else (value.type, element)

    def _const(self, value: Value) -> Value:
        value = self._outside(value)
        return self.consts.setdefault(value, Value(value.type, name=value.name))

    def _series(self, values: tuple[Value, ...]) -> Value:
        values = tuple([self._outside(value) for value in values])
        if all([value is values[0] for value in values]):
            return self._const(values[0])
        if values not in self.xs:
            self.xs[values] = Value(values[0].type), self.stacks.stack(self._in_order(values), self.bill)
        return self.xs[values][0]

    def _register(self, register: _Register) -> Value:
        """With it those that it goes through."""
        if register.distance > 1:
            self._register(register.nearer)
        return self.registers.setdefault(register, Value(register.starts[0].type))

    def _literal(self, j: int) -> Node:
        if j not in self.inner:
            node, slots = self.family.table[0][j], self.family.slots[j]
            operands = [self._operand(slot) for slot in slots]
            self.inner[j] = make_node(node.op, operands, node.attributes, node.regions, node.location)
        return self.inner[j]

    def _table(self, table: np.ndarray) -> Value:
        """Numbers known now as an x: `table[step]`."""
        table = table[::-1] if self.reverse else table
        key = (table.tobytes(), table.shape)
        if key not in self.tables:
            self.tables[key] = Value(TensorType(table.dtype, table.shape[1:])), self.record.constant(table)
        return self.tables[key][0]

    def _in_order(self, items: tuple[Value, ...]) -> tuple[Value, ...]:
        return items[::-1] if self.reverse else items

    # What the outside reads.

    def charge_rows(self, read: dict[Output, list[int]]) -> None:
        """Rows that leave one by one are copied too."""
        for (j, i), steps in read.items():
            value = self.family.table[steps[0]][j].outputs[i]
            if len(steps) > 1 and None in self.record.readers(value):
                self.bill.add((value,) * len(steps), 0)

    def finish(self, read: dict[Output, list[int]]) -> list[Node]:
        """Make the scan and let its outputs stand for what the steps recorded; the nodes in order."""
        family, record, count = self.family, self.record, self.family.count
        last_only = [output for output, steps in read.items() if steps == [count - 1]]
        for output in last_only:
            self._carry(output)
        stacked = [output for output in read if output not in last_only]
        # Of a carry that is stacked, what it was before each step too: `prune` drops it where nothing reads it.
        carries = {register.output: register for register in self.registers if register.distance == 1}
        before = {output: carries[output] for output in stacked if output in carries}
        outputs = [self._made(r.output) if r.distance == 1 else self.registers[r.nearer] for r in self.registers]
        outputs += [self._made(output) for output in stacked]
        outputs += [self.registers[register] for register in before.values()]
        xs = [*self.xs.values(), *self.tables.values()]
        body = Graph([*self.consts.values(), *self.registers.values(), *(value for value, _ in xs)], outputs, "rolled")
        operands = [*self.consts, *(register.starts[0] for register in self.registers), *(stack for _, stack in xs)]
        location = frozenset().union(*(family.table[0][j].location for j in self.needed))
        attributes = ScanAttributes(len(self.consts), len(self.registers), count, self.reverse)
        scan = make_node(SCAN, operands, attributes, [body], location)
        record.add(scan)
        record.rolled += 1
        family.merge(family.literals)
        gone = {row[j] for row in family.table for j, role in enumerate(family.roles) if role is Role.BODY}
        record.dead |= gone
        finals = {r.output: value for r, value in zip(self.registers, scan.outputs, strict=False) if r.distance == 1}
        for j, i in last_only:
            record.replace(family.table[-1][j].outputs[i], finals[Output(j, i)])
        ys = scan.outputs[len(self.registers) :]
        for (output, register), y in zip(before.items(), ys[len(stacked) :], strict=True):
            self.stacks.befores[ys[stacked.index(output)]] = Before(register.starts[0], y, self.reverse)
        for output, stack in zip(stacked, ys, strict=False):
            for k in read[output]:
                old = family.table[k][output.node].outputs[output.output]
                record.replace(old, self.stacks.row(stack, count - 1 - k if self.reverse else k, old.shape))
        made = record.taken()
        others = [node for node in family.between if node not in gone and node not in record.ghosts]
        before_it = [node for node in others if node not in self.tainted]
        behind_it = [node for node in others if node in self.tainted]
        return record.living(before_it + made + behind_it)

    def _carry(self, output: Output) -> None:
        """Keep the last step's value; where nothing carries it, from a start that nothing reads."""
        if any(register.output == output and register.distance == 1 for register in self.registers):
            return
        type = self.family.table[0][output.node].outputs[output.output].type
        start = self.record.constant(np.zeros((), type.dtype))
        if type.shape:
            start = self.record.new(BROADCAST, [start], BroadcastAttributes(type.shape), type)
        self.registers[_Register(output, (start,))] = Value(type)

    @property
    def summary(self) -> str:
        direction = " backwards" if self.reverse else ""
        return (
            f"rolled {self.family.count} steps of {len(self.needed)} nodes{direction}: {len(self.consts)} consts, "
            f"{len(self.registers)} carries, {len(self.xs) + len(self.tables)} xs"
        )
