"""What a loop goes over, at a step that is known or is a traced number."""

from __future__ import annotations

import builtins
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import ARRAY, PYTHON, Refusal, is_box, literal, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops import plans
from irdl.tracing.marks import MarkedRange, marked
from irdl.tracing.rows import runs_of_rows

#: arrays are put together of so many pieces
_MOST_PIECES = 8
_APART = Refusal("an item of a list is stored into that a loop goes over as rows of an array: copy it")


class Items(ABC):
    """So many items in their order, of which each can be asked for."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return self.between(0, self._length)

    def between(self, first: int, end: int) -> Iterator[Any]:
        """The items from one step to before another."""
        return (self.at(step) for step in marked(range(first, end), is_known=True))

    @abstractmethod
    def at(self, step: Any) -> Any:
        """The item of a step, an int or a traced one."""


class _Range(Items):
    def __init__(self, numbers: range) -> None:
        super().__init__(len(numbers))
        self._numbers = numbers

    def at(self, step: Any) -> Any:
        if not is_box(step):
            return self._numbers[step]
        start, by = self._numbers.start, self._numbers.step
        moved = step if by == 1 else step * by
        return moved + start if start else moved


class Rows(Items):
    """Of an array, traced or not. `are_pythons`: as Python's numbers."""

    def __init__(self, array: Any, are_pythons: bool = False) -> None:
        super().__init__(len(array))
        self._array = array
        self._are_pythons = are_pythons

    def at(self, step: Any) -> Any:
        array = self._array
        row = (wrap(to_value(array)) if is_box(step) and not is_box(array) else array)[step]
        return row.item() if self._are_pythons else row

    @classmethod
    def of(cls, items: Sequence[Any]) -> Rows | None:
        """Numbers, or traced arrays of one type, as the rows of one; None of those that would have to be put together of many pieces."""
        first: Any = items[0] if items else None
        if type(first) in (int, float) and all(type(item) is type(first) for item in items):
            numbers = np.array(items)
            return cls(literal(numbers), True) if numbers.dtype in (np.int64, np.float64) else None
        if not is_box(first) or not all(is_box(item) and item.type == first.type and item.kind == first.kind for item in items):
            return None
        runs = list(itertools.islice(runs_of_rows(items), _MOST_PIECES + 1))
        if len(runs) > _MOST_PIECES:
            return None
        array: Any = runs[0][1]
        if array is None or len(runs) > 1:
            joined = np.stack(list(items))
            array = wrap(joined.value, ARRAY, _APART)  # type: ignore[attr-defined]
        return cls(array, first.kind == PYTHON)


class _Listed(Items):
    """Of a list; at a step that is not known, as rows of an array."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(list.__len__(items))
        self._items = items
        self._rows: Rows | None = None

    def at(self, step: Any) -> Any:
        if not is_box(step):
            return self._items[step]
        self._rows = self._rows or Rows.of(self._items)
        if self._rows is None:
            raise TraceError(f"the items of a list are not the rows of an array{user_line()}")
        return self._rows.at(step)


class _Numbered(Items):
    def __init__(self, items: Items, start: int) -> None:
        super().__init__(len(items))
        self._items, self._start = items, start

    def at(self, step: Any) -> Any:
        return step + self._start if self._start else step, self._items.at(step)


class _Zipped(Items):
    def __init__(self, parts: Sequence[Items]) -> None:
        super().__init__(min(map(len, parts)))
        self._parts = parts

    def at(self, step: Any) -> Any:
        return tuple([part.at(step) for part in self._parts])


class _Reversed(Items):
    def __init__(self, items: Items) -> None:
        super().__init__(len(items))
        self._items = items

    def at(self, step: Any) -> Any:
        return self._items.at(len(self) - 1 - step)


def items(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`function(*arguments, **options)`, which a loop goes over: of Python's own that put iterables together, items."""
    if function is builtins.zip and arguments and not (options.keys() - {"strict"}):
        parts = [items_of(item) for item in arguments]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts) and (not options.get("strict") or len(set(map(len, known))) == 1):
            return _Zipped(known)
    elif function is builtins.enumerate and len(arguments) + len(options) <= 2 and arguments:
        part, start = items_of(arguments[0]), [*arguments[1:], *options.values(), 0][0]
        if part is not None and type(start) is int:
            return _Numbered(part, start)
    elif function is builtins.reversed and len(arguments) == 1 and (part := items_of(arguments[0])) is not None:
        return _Reversed(part)
    return function(*arguments, **options)


def items_of(item: Any) -> Items | None:
    """What a loop over this goes over; None of what has to be gone through to know."""
    if isinstance(item, Items):
        return item
    if type(item) is MarkedRange:
        return _Range(item.plain)
    if type(item) is range:
        return _Range(item)
    if (is_box(item) or type(item) is np.ndarray) and item.ndim:
        return Rows(item)
    if isinstance(item, list) and list.__len__(item) >= plans.MANY_STEPS:
        return _Listed(item)
    return None
