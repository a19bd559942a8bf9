"""A block of the user's code, traced for itself: what it changes, how it is left, and the region that it becomes."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.errors import IrdlError, TraceError
from irdl.ir.graph import Graph, Value
from irdl.tracing.box import ARRAY
from irdl.tracing.branches.places import Place, Places
from irdl.tracing.checks import checked
from irdl.tracing.lines import user_line
from irdl.tracing.printing import together
from irdl.tracing.recorder import Trace, trace_stack
from irdl.tracing.region import Region

#: how a block is left
NOTHING, BREAK_CODE, CONTINUE_CODE, RETURN_CODE = 0, 1, 2, 3


@dataclass(frozen=True)
class Exit:
    """How a block is left: the code of one of its `ways`, a traced number where there are several, and what the function returns.

    Attributes:
        partly: variables that are set on some of the ways only; what they hold refers to the exit by its `key`.
        folded: ways that are taken for NOTHING by now.
    """

    code: Any
    value: Any
    ways: frozenset[int]
    partly: tuple[types.CellType, ...] = ()
    key: Any = None
    folded: frozenset[int] = frozenset()


BREAK = Exit(BREAK_CODE, None, frozenset([BREAK_CODE]))
CONTINUE = Exit(CONTINUE_CODE, None, frozenset([CONTINUE_CODE]))


def leave(value: Any) -> Exit:
    """`return value`."""
    return Exit(RETURN_CODE, value, frozenset([RETURN_CODE]))


@dataclass
class Block:
    """A block that was traced; what it has changed is undone.

    Attributes:
        exit: how it is left; None at its end.
        raised: the error that it ends with.
    """

    trace: Trace
    exit: Exit | None
    changes: dict[tuple[int, Any], Place]
    raised: Exception | None

    @property
    def takes_numbers(self) -> bool:
        """Whether errors that it raises show numbers."""
        return self.trace.checks is not None and bool(self.trace.checks.numbers)

    def region(self, leaves: Callable[[], Sequence[Value]], explicit: Sequence[Value] = ()) -> Region:
        """As a region that gives what `leaves` reads at its end. `explicit`: its inputs that are not read from outside."""
        trace = self.trace
        with trace.resumed():
            outputs = list(leaves())
            found = checked(trace)
        printed = together(trace.printed) if trace.printed else None
        hidden = [*(printed.values if printed else ()), *(found.values if found else ())]
        graph = Graph([*explicit, *trace.lifted.values()], trace.rolled([*outputs, *hidden]), trace.name)
        return Region(graph, tuple(trace.lifted_operands()), None, (ARRAY,) * len(outputs), printed, found)


def trace_block(function: Callable[[], Exit | None], places: Places, name: str, trace: Trace | None = None) -> Block:
    """Run a block in a trace of its own. What it raises is kept, but for errors of irdl's."""
    trace = Trace(name) if trace is None else trace
    trace.is_block = True
    found: Exit | None = None
    raised: Exception | None = None
    with trace:
        try:
            found = function()
        except (IrdlError, MemoryError):
            raise
        except RecursionError as error:
            raise TraceError(
                f"a recursion whose end depends on traced numbers has no end while it is traced: write it as a loop{user_line()}"
            ) from error
        except Exception as error:
            raised = error
    changes = places.changes()
    places.restore(changes)
    return Block(trace, found, changes, raised)


def capture() -> Any:
    """What the trace of the whole function has captured."""
    stack = trace_stack()
    return stack[0].capture if stack else None
