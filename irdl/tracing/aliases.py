"""Arrays that may be one: after `b = a if x > 0 else c`, what is stored into b is stored into a where x > 0, and the other way round."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ops.elementwise import SELECT
from irdl.tracing.recorder import Cell, Trace, trace_stack, user_line


@dataclass(frozen=True)
class Alias:
    """Where `flag`, a value of `trace`, is `holds`, the array of `whole`, seen through `steps`, is that of `part`.

    Attributes:
        refusal: where that cannot be expressed, what a store would do.
    """

    trace: Trace
    flag: Value
    holds: bool
    whole: weakref.ref[Cell]
    part: weakref.ref[Cell]
    steps: tuple[Any, ...]
    refusal: str = ""


def connect(trace: Trace, flag: Value, holds: bool, whole: Cell, steps: Sequence[Any], part: Cell, refusal: str = "") -> None:
    """From now on two arrays may be one."""
    alias = Alias(trace, flag, holds, weakref.ref(whole), weakref.ref(part), tuple(steps), refusal)
    trace_stack()[0].has_aliases = True
    for cell in (whole, part):
        cell.aliases = (*(other for other in cell.aliases if other.whole() is not None and other.part() is not None), alias)


def store(trace: Trace, cell: Cell, new: Value) -> None:
    """Let a cell hold a new value, and what its array may be too.

    Raises:
        TraceError: of one of these it cannot be said what it holds then.
    """
    if not cell.aliases:
        trace.put(cell, new)
        return
    waiting: list[tuple[Cell, Value]] = [(cell, new)]
    met = {cell}
    while waiting:
        cell, new = waiting.pop()
        trace.put(cell, new)
        for alias in cell.aliases:
            whole, part = alias.whole(), alias.part()
            if whole is None or part is None or alias.trace.ended:
                continue
            other = part if cell is whole else whole
            if other in met:
                continue
            met.add(other)
            if alias.refusal:
                raise TraceError(f"{alias.refusal}{user_line()}")
            waiting.append((other, _seen_in(part, alias, trace, new) if cell is whole else _shown_by(whole, alias, trace, new)))


def _seen_in(part: Cell, alias: Alias, trace: Trace, new: Value) -> Value:
    """What the part holds when the whole holds `new`."""
    for step in alias.steps:
        new = step.read(trace, new)
    return _chosen(trace, alias, new, trace.read(part))


def _shown_by(whole: Cell, alias: Alias, trace: Trace, new: Value) -> Value:
    """What the whole holds when the part holds `new`."""
    chain = [trace.read(whole)]
    for step in alias.steps:
        chain.append(step.read(trace, chain[-1]))
    new = _chosen(trace, alias, new, chain[-1])
    for step, base in zip(reversed(alias.steps), reversed(chain[:-1]), strict=True):
        new = step.write(trace, base, new)
    return new


def _chosen(trace: Trace, alias: Alias, new: Value, old: Value) -> Value:
    flag = trace.lift(alias.trace, alias.flag)
    return trace.apply(SELECT, [flag, new, old] if alias.holds else [flag, old, new])[0]


def check_apart(kept: Iterable[tuple[str, Cell]]) -> None:
    """No two of the arrays that stay behind a call may be one, which would not last from call to call.

    Raises:
        TraceError: two of them may; it names both.
    """
    names = {cell: name for name, cell in kept}
    for cell, name in names.items():
        for alias in cell.aliases:
            other = alias.part() if alias.whole() is cell else alias.whole()
            if other is not None and other is not cell and other in names:
                raise TraceError(
                    f"`{name}` is the array `{names[other]}` on one side of a branch and another one on the other, which is not kept from call "
                    "to call: copy it on that side"
                )
