"""The loops of a record, from the inside out."""

from __future__ import annotations

from collections.abc import Sequence

from irdl.ir.graph import Node, Value
from irdl.ops.branches import CONTROL
from irdl.tracing.rolling.align import Attempt, roll_steps
from irdl.tracing.rolling.collapse import collapse
from irdl.tracing.rolling.cost import MIN_STEPS
from irdl.tracing.rolling.hidden import without_hidden
from irdl.tracing.rolling.opening import opened_in
from irdl.tracing.rolling.record import Item, Loop, Mark, Record, loop_tree
from irdl.tracing.rolling.repeats import Finder
from irdl.tracing.rolling.stacks import Stacks
from irdl.tracing.rolling.stores import CLEANED, Stores


def roll(nodes: Sequence[Node], marks: Sequence[Mark], outputs: Sequence[Value]) -> tuple[list[Value], list[str]]:
    """Make scans of the loops of a record.

    Args:
        nodes: everything recorded, in order, what nothing reads too.
        marks: where the steps of loops begin.
        outputs: the values wanted, of these nodes or of none.

    Returns:
        What computes the outputs (they themselves where nothing rolls), and a line for every loop rolled or not.
    """
    roller = _Roller(nodes, outputs)
    roller.sequence(loop_tree(nodes, marks))
    record = roller.record
    return (record.rebuilt(outputs) if record.rolled else list(outputs)), record.log


class _Roller:
    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Value]) -> None:
        self.record = Record(nodes, outputs)
        self.stores = Stores(self.record)
        self.stacks = Stacks(self.record)
        self.finder = Finder(self.record, self.roll_repeat)

    def sequence(self, items: Sequence[Item]) -> list[Node]:
        """The nodes of a sequence after its loops are rolled."""
        result: list[Node] = []
        for item in items:
            if isinstance(item, Loop):
                result += self.loop(item)
            elif item.op in CONTROL:
                for node in opened_in(self.record, item):
                    result += self.stores.clean(node) if node.op in CLEANED else [node]
            elif item.op in CLEANED:
                result += self.stores.clean(item)
            else:
                result.append(item)
        (result,) = without_hidden([result], self.record, self.stores)
        return self.collapsed(self.finder.rolled(self.collapsed(self.record.living(result))))

    def loop(self, loop: Loop) -> list[Node]:
        steps = without_hidden([self.sequence(step) for step in loop.steps], self.record, self.stores)
        made = roll_steps(steps, self.record, self.stacks).nodes if len(steps) >= MIN_STEPS else None
        return [node for step in steps for node in step] if made is None else made

    def roll_repeat(self, steps: list[list[Node]]) -> Attempt:
        made = roll_steps(steps, self.record, self.stacks)
        return made if made.nodes is None else Attempt(self.collapsed(made.nodes))

    def collapsed(self, nodes: list[Node]) -> list[Node]:
        return collapse(nodes, self.record, self.stacks)
