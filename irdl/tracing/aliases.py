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

_TANGLED = "an array is stored into that several branches may have made another one, in more than one way: copy it on the side of one"


@dataclass(frozen=True, eq=False)
class Alias:
    """Where `flag`, a value of `trace`, is `holds`, the array of `whole`, seen through `steps`, is that of `part`.

    Attributes:
        refusal: where that cannot be expressed, what a store would do.
        line: of the branch.
    """

    trace: Trace
    flag: Value
    holds: bool
    whole: weakref.ref[Cell]
    part: weakref.ref[Cell]
    steps: tuple[Any, ...]
    refusal: str = ""
    line: str = ""

    def other(self, cell: Cell) -> Cell | None:
        """The other one of the two; None where that is gone."""
        return self.part() if self.whole() is cell else self.whole()


def connect(trace: Trace, flag: Value, holds: bool, whole: Cell, steps: Sequence[Any], part: Cell, refusal: str = "") -> None:
    """From now on two arrays may be one."""
    alias = Alias(trace, flag, holds, weakref.ref(whole), weakref.ref(part), tuple(steps), refusal, user_line())
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
    trace.put(cell, new)
    # Each with the flags that hold, or do not, where it is the array that was stored into.
    waiting: list[tuple[Cell, dict[Value, bool]]] = [(cell, {})]
    met, done = {cell}, set[Alias]()
    while waiting:
        cell, flags = waiting.pop()
        reached: dict[Cell, dict[Value, bool]] = {}
        for alias in cell.aliases:
            other = alias.other(cell)
            if other is None or alias in done or alias.trace.ended or flags.get(alias.flag, alias.holds) is not alias.holds:
                continue
            done.add(alias)
            if alias.refusal or (other in met and other not in reached):
                raise TraceError(f"{alias.refusal or _TANGLED}{user_line()}")
            # Of two aliases of the same two arrays, as `b = a[1:] if c else a[:-1]`, one holds.
            trace.put(other, _seen_in(other, alias, trace, cell) if cell is alias.whole() else _shown_by(other, alias, trace, cell))
            reached[other] = flags if other in reached else {**flags, alias.flag: alias.holds}
            met.add(other)
        waiting += reached.items()


def _seen_in(part: Cell, alias: Alias, trace: Trace, whole: Cell) -> Value:
    """What the part holds now that the whole holds something else."""
    new = trace.read(whole)
    for step in alias.steps:
        new = step.read(trace, new)
    return _chosen(trace, alias, new, trace.read(part))


def _shown_by(whole: Cell, alias: Alias, trace: Trace, part: Cell) -> Value:
    """What the whole holds now that the part holds something else."""
    chain = [trace.read(whole)]
    for step in alias.steps:
        chain.append(step.read(trace, chain[-1]))
    new = _chosen(trace, alias, trace.read(part), chain[-1])
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
            other = alias.other(cell)
            if other is not None and other is not cell and other in names:
                raise TraceError(
                    f"`{name}` is the array `{names[other]}` on one side of a branch and another one on the other, which is not kept from call "
                    f"to call: copy it on that side{alias.line}"
                )
