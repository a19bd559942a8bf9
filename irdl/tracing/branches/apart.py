"""What stays behind a call holds arrays apart: no two of them may be one on one side of a branch only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from irdl.errors import TraceError
from irdl.tracing.box import is_box
from irdl.tracing.branches.places import contents_of
from irdl.tracing.capture.arguments import Given
from irdl.tracing.capture.capture import Capture
from irdl.tracing.capture.containers import boxes_within
from irdl.tracing.recorder import Cell


def check_apart(capture: Capture, arguments: Sequence[Given]) -> None:
    """Of the arrays among the arguments, and of those that names, objects, lists and dicts hold at the end, none may be another.

    Raises:
        TraceError: two of them may, which would not last from call to call; it names both.
    """
    kept = list(_held(capture))
    for given in arguments:
        if not is_box(given.made):
            kept += [(given.name, cell) for cell in _cells(given.made)]
        elif len(given.path[1]) == 1:  # the caller has it
            kept.append((given.made.cell.value.name or given.name, given.made.cell))
    _check(kept)


def _held(capture: Capture) -> Iterator[tuple[str, Cell]]:
    """The arrays that names, objects, lists and dicts hold, with what holds them."""
    things = [(copied.copy, copied.before, copied.name) for copied in capture.objects]
    things += [(container.made, container.before, container.name) for container in capture.containers]
    held = [
        (item, before if isinstance(before, dict) else dict(enumerate(before)), contents_of(item) or {}, name)
        for item, before, name in things
    ]
    names = [dict(names.written()) for names, _ in capture.functions.globals]
    names += [{variable.name: variable.made.cell_contents} for variable in capture.functions.bound_variables()]
    now = {id(part) for parts in (*names, *(parts for _, _, parts, _ in held)) for part in parts.values()}
    gone = {id(part) for _, before, _, _ in held for part in before.values()} - now
    for item, _, parts, name in held:
        if id(item) not in gone:  # it has been replaced where it was
            yield from ((f"{name}.{key}", cell) for key, part in parts.items() for cell in _cells(part))
    for parts in names:
        yield from ((name, cell) for name, part in parts.items() for cell in _cells(part))


def _cells(item: Any) -> list[Cell]:
    """Those of the arrays within something."""
    return [box.cell for _, box in boxes_within(item, lambda _: None)]


def _check(kept: Iterable[tuple[str, Cell]]) -> None:
    names = {cell: name for name, cell in kept}
    for cell, name in names.items():
        for alias in cell.aliases:
            other = alias.other(cell)
            if other is not None and other is not cell and other in names:
                raise TraceError(
                    f"`{name}` is the array `{names[other]}` on one side of a branch and another one on the other, which is not kept from call "
                    f"to call: copy it on that side{alias.line}"
                )
