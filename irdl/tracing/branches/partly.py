"""Variables that are set on some of the ways out of a block: behind `if c: y = 1 else: return` there is y, where nothing was returned."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

from irdl.tracing.branches.blocks import NOTHING, Exit
from irdl.tracing.branches.merge import ANYTHING, Merge
from irdl.tracing.branches.places import CONTENTS, Places, contents_of
from irdl.tracing.capture.objects import MISSING
from irdl.tracing.unset import Partly, Unset

_AT_THE_END = frozenset([NOTHING])


def ways_of(found: Exit | None) -> frozenset[int]:
    """The ways out of a block that is left like this."""
    return _AT_THE_END if found is None else found.ways


def known_where(item: Any, found: Exit | None) -> tuple[Any, frozenset[int]]:
    """What a variable holds behind a block that is left like this, and on which ways out of that."""
    ways = ways_of(found)
    if isinstance(item, Partly) and found is not None and item.key is found.key:
        known = item.ways
        if not found.folded <= known:  # they look like its end
            known = known - _AT_THE_END
        return item.value, known & ways
    if item is MISSING or isinstance(item, Unset):
        return ANYTHING, frozenset()
    return item, ways


def joined_variable(merge: Merge, sides: Iterable[tuple[Any, Exit | None]], name: str, ways: frozenset[int], key: Any, why: str) -> Any:
    """What a variable holds behind two blocks of which one is run: what it holds behind each, with how that is left.

    Args:
        ways: those out of both.
        key: what the exit of both is going to have.
        why: what to say where it is not set, if nobody has said yet.
    """
    given = [(*known_where(item, found), ways_of(found), item) for item, found in sides]
    if all(item is MISSING for *_, item in given):
        return MISSING
    known = frozenset(way for way in ways if all(way in where for _, where, possible, _ in given if way in possible))
    told = next((item for *_, item in given if isinstance(item, Unset)), None)
    why = why if told is None else told.why
    if not known:
        return Unset(why)
    value = merge(given[0][0], given[1][0], name)
    return value if known == ways else Partly(why, value, known, key)


def partly_set(cells: Iterable[types.CellType], key: Any) -> tuple[types.CellType, ...]:
    """The variables among these that are set on some ways out of the block only whose exit has this key."""
    given = [(cell, (contents_of(cell) or {}).get(CONTENTS)) for cell in cells]
    return tuple(cell for cell, item in given if isinstance(item, Partly) and item.key is key)


def rename(cells: Iterable[types.CellType], found: Exit, key: Any) -> None:
    """Let variables that are set on some of these ways out of a block refer to them by another key."""
    for cell in partly_set(cells, found.key):
        item = cell.cell_contents
        cell.cell_contents = Partly(item.why, item.value, known_where(item, found)[1], key)


def resolve(cells: Iterable[types.CellType], found: Exit, ways: frozenset[int], places: Places) -> None:
    """Let variables hold what they hold on these ways out of a block."""
    for cell in partly_set(cells, found.key):
        item = (contents_of(cell) or {})[CONTENTS]
        _, known = known_where(item, found)
        if ways <= known:
            places.put([(cell, CONTENTS, item.value)])
        elif not ways & known:
            places.put([(cell, CONTENTS, Unset(item.why))])
