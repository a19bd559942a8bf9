"""Lists that loops append to: while the body of one is traced once, what a step appends is kept apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from irdl.errors import TraceError
from irdl.tracing.box import PYTHON, is_box
from irdl.tracing.counters import line_of
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops.items import Rows
from irdl.tracing.long_loops.plans import current_plan
from irdl.tracing.recorder import Trace, current_trace


class Appended:
    """What a step of a loop does with lists from outside that grow: what it appends, and whether it asks for the last item.

    Attributes:
        items: by list, what the step appends.
        last: by list, the last item at the beginning of the step, where that is known to be asked for.
        asked: by list, whether it is asked for that alone.
    """

    def __init__(self, trace: Trace, last: dict[int, Any], around: Appended | None) -> None:
        self._trace = trace
        self.last, self.around = last, around
        self.items: dict[int, tuple[GrownList, list[Any]]] = {}
        self.asked: dict[int, tuple[GrownList, bool]] = {}

    def add(self, grown: GrownList, items: Iterable[Any]) -> None:
        """
        Raises:
            TraceError: on one side of a branch it would not be.
        """
        if current_trace() is not self._trace:
            raise TraceError(f"a list grows on one side of a branch only{user_line()}")
        self.items.setdefault(id(grown), (grown, []))[1].extend(items)

    def is_last(self, grown: GrownList, index: Any) -> bool:
        """Whether this index is that of the last item at all steps, if each appends one."""
        if type(index) is int:
            return index == -1
        line = line_of(self._trace, index.value) if is_box(index) and index.kind == PYTHON else None
        count = list.__len__(grown) + len(self.items.get(id(grown), (grown, ()))[1])
        return line is not None and line.scale == 1 and line.trace is self._trace and line.at(line.steps[0]) == count - 1

    def last_of(self, grown: GrownList) -> Any:
        self.asked.setdefault(id(grown), (grown, True))
        items = self.items.get(id(grown))
        if items is not None:
            return items[1][-1]
        return self.last[id(grown)] if id(grown) in self.last else list.__getitem__(grown, -1)

    def ask(self, grown: GrownList) -> None:
        self.asked[id(grown)] = grown, False

    def check(self) -> None:
        """
        Raises:
            TraceError: a list that grows is asked for more than its last item, or more than one is appended.
        """
        for number, (_, is_last) in self.asked.items():
            if number in self.items and (not is_last or len(self.items[number][1]) != 1):
                raise TraceError("a list is asked for what it holds while a loop makes it grow")


class GrownList(list[Any]):
    """A list that rewritten code has made; for all that it is asked it is any other list."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._within = _appended()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return list

    @property
    def _loops(self) -> list[Appended]:
        """The loops that are being traced once, and before which the list was there, from the inside out."""
        found, loop = [], _appended()
        while loop is not None and loop is not self._within:
            found.append(loop)
            loop = loop.around
        return found

    def append(self, item: Any) -> None:
        self.extend([item])

    def extend(self, items: Iterable[Any]) -> None:
        loops = self._loops
        if loops:
            loops[0].add(self, items)
        else:
            super().extend(items)

    def __iadd__(self, items: Iterable[Any]) -> GrownList:  # type: ignore[misc]
        self.extend(items)
        return self

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]

    def __getitem__(self, index: Any) -> Any:
        loops = self._loops
        if len(loops) == 1 and list.__len__(self) and loops[0].is_last(self, index):
            return loops[0].last_of(self)
        for loop in loops:
            loop.ask(self)
        if is_box(index) and index.known is None and (rows := Rows.of(self)) is not None:
            return rows.at(index)
        return super().__getitem__(index)

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def tree_flatten(self) -> tuple[list[Any], None]:
        return list(self), None

    @classmethod
    def tree_unflatten(cls, rest: None, items: Iterable[Any]) -> list[Any]:
        return list(items)


def _asking(name: str) -> Any:
    method = getattr(list, name)

    def ask(self: GrownList, *arguments: Any, **options: Any) -> Any:
        for loop in self._loops:
            loop.ask(self)
        return method(self, *arguments, **options)

    return ask


for _name in (
    *(
        "__setitem__",
        "__delitem__",
        "__len__",
        "__iter__",
        "__reversed__",
        "__contains__",
        "__eq__",
        "__ne__",
        "__lt__",
        "__le__",
        "__gt__",
    ),
    *("__ge__", "__add__", "__mul__", "__rmul__", "__imul__", "__repr__", "clear", "copy", "count", "index", "insert", "pop", "remove"),
    *("reverse", "sort"),
):
    setattr(GrownList, _name, _asking(_name))


def _appended() -> Appended | None:
    plan = current_plan()
    return plan.appended if plan is not None else None
