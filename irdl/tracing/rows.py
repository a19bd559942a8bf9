"""Rows of one array among items: many that follow one another are that array's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from irdl.tracing import views
from irdl.tracing.box import Box, is_box
from irdl.tracing.long_loops import plans

#: so many rows of an array are put together as a slice of it
_MANY_ROWS = 64


def runs_of_rows(items: Sequence[Any]) -> Iterator[tuple[Any, Box | None]]:
    """The items one by one; where many are one after the other the rows of one array, these rows (of the last of them)."""
    place = 0
    while place < len(items):
        end = place + 1
        if (row := _row(items[place])) is not None:
            first = items[place]
            while end < len(items) and is_box(items[end]) and items[end].cell is first.cell and _row(items[end]) == row + end - place:
                end += 1
        if end - place >= min(_MANY_ROWS, plans.MANY_STEPS) and row is not None:
            base = Box(first.cell, first.cell.value.type)
            part = slice(row, row + end - place)
            yield (
                items[place],
                base.through(views.basic_index_steps(base.shape, (part, *[slice(None)] * (base.ndim - 1))), base.shadow[part]),
            )
        else:
            for item in items[place:end]:
                yield item, None
        place = end


def _row(item: Any) -> int | None:
    """Which row of its cell's array a box is."""
    return views.row_of(item._steps, item.cell.value.type.shape) if is_box(item) else None
