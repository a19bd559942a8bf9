"""What the steps of a loop append to lists: as rows of what comes out of the scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, Box, is_box, to_value
from irdl.tracing.branches.places import Place, contents_of
from irdl.tracing.counters import Line, line_of
from irdl.tracing.long_loops.growing import Appended, GrownList
from irdl.tracing.recorder import Cell, Trace, open_trace
from irdl.tracing.views import cells_of, row_steps

#: the key of a list's last item
LAST = "last"


def growths(appended: Appended, changes: dict[Any, Place], is_old: Callable[[Any], bool]) -> list[Growth]:
    """How lists grow. With their last items, where the body asks for them, as something that it changes.

    Args:
        changes: what else the body changes.
        is_old: whether something that can change was there before the body.

    Raises:
        TraceError: the body does with a list what cannot be followed.
    """
    appended.check()
    new = [item for _, items in appended.items.values() for item in _changeable(items)]
    held = [*new, *_changeable([place.after for place in changes.values()])]
    if new and (len({id(item) for item in held}) < len(held) or any(map(is_old, new))):
        raise TraceError("what is appended to a list can change, and is held elsewhere too")
    for number in appended.items.keys() & appended.asked.keys():
        grown, items = appended.items[number]
        changes[number, LAST] = Place(grown, LAST, "the last item of a list", list.__getitem__(grown, -1), items[-1])
    return [Growth(grown, items) for grown, items in appended.items.values()]


def _changeable(items: Iterable[Any]) -> Iterator[Any]:
    """Lists, dicts and objects among these, and in tuples and others among these; of objects that hold themselves no end is found."""
    for item in items:
        if isinstance(item, tuple):
            yield from _changeable(item)
        elif not is_box(item) and (contents := contents_of(item)) is not None:
            yield item
            yield from _changeable(contents.values())


class Growth:
    """What each step of a loop appends to a list: its `leaves`, of the body's trace."""

    def __init__(self, grown: GrownList, items: list[Any]) -> None:
        self._grown = grown
        self.leaves, self._structure = tree.flatten(items)

    def arrays(self, trace: Trace) -> list[Cell]:
        """What the leaves show that are other views at each step, or arrays."""
        return [leaf.cell for leaf in self.leaves if is_box(leaf) and leaf.kind == ARRAY and _differs(trace, leaf)]

    def values(self, trace: Trace) -> list[Value]:
        """Of the leaves that differ from step to step, what they are."""
        return [to_value(leaf) for leaf in self.leaves if _differs(trace, leaf)]

    def extend(self, stacks: list[Value], steps: range, trace: Trace) -> Iterator[tuple[Any, Cell]]:
        """Append the items of all steps.

        Args:
            stacks: of each value the rows of all steps; those of this list are taken out.
            trace: the body's.

        Yields:
            Leaves that are arrays, and the array that their rows are of.
        """
        columns: list[list[Any]] = []
        for leaf in self.leaves:
            line = _line(trace, leaf)
            if line is not None:
                columns.append([line.at(step) for step in steps])
            elif not _differs(trace, leaf):
                columns.append([leaf] * len(steps))
            else:
                cell = Cell(open_trace(), stacks.pop(0))
                columns.append(_rows(cell, leaf, len(steps)))
                if leaf.kind == ARRAY:
                    yield leaf, cell
        for row in zip(*columns, strict=True):
            self._grown.extend(tree.unflatten(self._structure, list(row)))


def _rows(cell: Cell, leaf: Any, count: int) -> list[Any]:
    shape = cell.value.shape
    return [Box(cell, leaf.type, leaf.kind, tuple(row_steps(shape, row))) for row in range(count)]


def _line(trace: Trace, leaf: Any) -> Line | None:
    """Of a Python int that follows from the counter of this body alone."""
    if not is_box(leaf) or leaf.kind != PYTHON or leaf.steps or leaf.cell.trace is not trace:
        return None
    line = line_of(trace, leaf.cell.value)
    return line if line is not None and line.trace in (trace, None) else None


def _differs(trace: Trace, leaf: Any) -> bool:
    """Whether it is another one at each step, and not one that was there before."""
    if not is_box(leaf) or _line(trace, leaf) is not None:
        return False
    cells = [leaf.cell, *(cell for step in leaf.steps for cell in cells_of(step))]
    return leaf.kind != ARRAY or any(cell.trace is trace for cell in cells)
