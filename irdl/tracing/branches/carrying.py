"""A loop whose body is traced once: again and again, until it is clear what it changes, which is what it carries from step to step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.tracing.aliases import connect, may_be_another
from irdl.tracing.box import ARRAY, Refusal, is_box, wrap
from irdl.tracing.branches.blocks import Block, Exit, capture, trace_block
from irdl.tracing.branches.merge import Merge
from irdl.tracing.branches.places import Place, Places
from irdl.tracing.branches.sides import as_type, joined
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import Cell, Trace, open_trace

#: so often the body is traced until what it changes stands
_MOST_TRIES = 8
_STEP = "step of the loop"
SHARED = Refusal(
    "an array is stored into that, behind a step of the loop, may be another one too, which would change with it: copy it where the loop "
    "takes it over"
)

#: of what is carried: the place that holds it, and where it is in what that holds
Key = tuple[Any, str]


@dataclass
class Carried:
    """A number or an array that the loop carries. `is_shared`: behind a step it is another one's too."""

    type: TensorType
    kind: str
    is_shared: bool

    def box(self, value: Value) -> Any:
        return wrap(value, self.kind, SHARED if self.is_shared else "")


@dataclass
class Step:
    """The body, traced over what it carries: at its beginning that is `inputs`, and `boxes` of them, and `cells`.

    Attributes:
        own: its first input, which says of the step whether it is one, or which.
        leaves: of what it carries, what it is before the loop and behind the step.
        holders: how often each array is held behind the step.
    """

    block: Block
    own: Value
    inputs: dict[Key, Value]
    boxes: dict[Key, Any]
    cells: dict[Cell, Value]
    leaves: dict[Key, tuple[Any, Any]] = field(default_factory=dict)
    holders: Counter[Cell] = field(default_factory=Counter)

    @property
    def trace(self) -> Trace:
        return self.block.trace

    def is_outer(self, cell: Cell) -> bool:
        """Whether an array is, or may be, one from outside."""
        return cell.trace is not self.trace or may_be_another(cell, self.trace, self.boxes.values())

    def others(self, after: Any) -> list[Cell]:
        """The arrays from outside that a shared one may be behind the last step."""
        given = (after, *(before for before, _ in self.leaves.values()))
        arrays = [item.cell for item in given if is_array(item)]
        aliases = [alias.other(cell) for cell in arrays if cell.trace is self.trace for alias in cell.aliases]
        return list(dict.fromkeys(cell for cell in (*arrays, *aliases) if cell is not None and cell.trace is not self.trace))


class CarryingLoop(ABC):
    """A loop that is being recorded.

    Args:
        functions: what its steps run, which hold what they may change.
        partly: variables that are set on some of the ways to it only.
    """

    def __init__(self, functions: Sequence[Callable[..., Any]], partly: Sequence[Any] = ()) -> None:
        self._places = Places(functions, capture(), partly)
        self._carried: dict[Key, Carried] = {}
        self._cells: list[Cell] = []
        #: what it changes
        self._changes: dict[Any, Place] = {}

    @abstractmethod
    def _trace_step(self) -> Step:
        """The body, traced over what is known to be carried so far."""

    @abstractmethod
    def _run(self, own: Value, boxes: dict[Key, Any]) -> Exit | None:
        """Run the body, with these in the places of what it carries."""

    @abstractmethod
    def _find(self, step: Step, is_first: bool) -> None:
        """What the body has turned out to change is what is carried from now on. `is_first`: by the first trace of it."""

    @abstractmethod
    def _is_shared(self, step: Step, key: Key, cell: Cell) -> bool:
        """Whether an array that is carried is another one's too behind a step."""

    def _carries(self) -> tuple[Any, ...]:
        """What stands when it is what it was the last time."""
        return self._carried, self._cells

    def settle(self) -> bool:
        """Trace the body until it carries what it changes, and with the types that it gives them. False where it raises, whatever it is
        given.

        Raises:
            TraceError: the types change with each step.
        """
        for attempt in range(_MOST_TRIES):
            self._step = step = self._trace_step()
            if step.block.raised is not None:
                return False
            before = self._carries()
            self._find(step, attempt == 0)
            if self._carries() == before:
                return True
        names = ", ".join(f"`{name}`" for _, name in self._carried)
        raise TraceError(f"what a loop carries from step to step does not settle: {names}{user_line()}")

    @property
    def block(self) -> Block:
        """The body as it was traced last."""
        return self._step.block

    def _trace_body(self, name: str, own: TensorType, own_name: str = "") -> Step:
        """Trace `_run`."""
        outer = open_trace()
        trace = Trace(name)
        first = trace.input(own, own_name)
        inputs = {key: trace.input(item.type) for key, item in self._carried.items()}
        cells = {cell: trace.input(outer.read(cell).type) for cell in self._cells}
        trace.stored.update(cells)
        boxes: dict[Key, Any] = {}

        def run() -> Exit | None:
            boxes.update((key, item.box(inputs[key])) for key, item in self._carried.items())
            return self._run(first, boxes)

        return Step(trace_block(run, self._places, name, trace), first, inputs, boxes, cells)

    def _merge(self, leaf: Callable[[Any, Any, str], Any]) -> Merge:
        return Merge(leaf, self._places.knows, _STEP)

    def _giving(self, given: dict[Key, Any], key: Any) -> Merge:
        """What a place holds, with these in the places of numbers and arrays."""
        return self._merge(lambda before, after, name: given[key, name])

    def _carry(self, step: Step, key: Key) -> Carried:
        before, after = step.leaves[key]
        type_, kind = joined(before, after, key[1], _STEP)
        return Carried(type_, kind, is_array(after) and kind == ARRAY and self._is_shared(step, key, after.cell))

    def _before(self) -> list[Value]:
        """What it carries, as it is before the loop."""
        return self._values(0)

    def _after(self) -> list[Value]:
        """What it carries, as it is behind the step."""
        return self._values(1)

    def _values(self, side: int) -> list[Value]:
        trace, leaves = open_trace(), self._step.leaves
        return [*(as_type(pair[side], self._carried[key].type) for key, pair in leaves.items()), *map(trace.read, self._cells)]

    @property
    def _inputs(self) -> list[Value]:
        """What it carries, as it is at the beginning of the step."""
        return [*(self._step.inputs[key] for key in self._step.leaves), *self._step.cells.values()]

    def _boxes_of(self, results: Sequence[Value], flag: Value) -> dict[Key, Any]:
        """What it carries behind the loop; arrays from outside that it stores into are what comes out.

        Args:
            flag: whether there was a step.
        """
        trace, leaves = open_trace(), self._step.leaves
        found = {}
        for key, value in zip(leaves, results, strict=False):
            made = found[key] = self._carried[key].box(value)
            if self._carried[key].is_shared:
                for other in self._step.others(leaves[key][1]):
                    connect(trace, flag, True, other, (), made.cell, SHARED)
        for cell, value in zip(self._cells, results[len(leaves) :], strict=False):
            trace.put(cell, value)
        return found


def is_array(item: Any) -> bool:
    return is_box(item) and item.kind == ARRAY
