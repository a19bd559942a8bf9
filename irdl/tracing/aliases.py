"""Arrays that may be one: after `b = a if x > 0 else c`, what is stored into b is stored into a where x > 0, and the other way round.

Each array knows all others that it may be, whatever number of branches lies between them: one step along these reaches all of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from irdl.errors import TraceError
from irdl.ir.graph import Value
from irdl.ops.elementwise import BITWISE_AND, BITWISE_OR, INVERT, SELECT
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import Cell, Trace, trace_stack

_TANGLED = "an array is stored into that several branches may have made a part of another one: copy it on that side of the branch"


@dataclass(frozen=True, eq=False)
class Alias:
    """Where the flags, values of `trace`, are what is said here, the array of `whole`, seen through `steps`, is that of `part`.

    Attributes:
        holds: that, as one value.
        refusal: where that cannot be expressed, what a store would do.
        line: of the branch.
    """

    trace: Trace
    flags: dict[Value, bool]
    holds: Value
    whole: weakref.ref[Cell]
    part: weakref.ref[Cell]
    steps: tuple[Any, ...]
    refusal: str
    line: str

    def other(self, cell: Cell) -> Cell | None:
        """The other one of the two; None where that is gone."""
        return self.part() if self.whole() is cell else self.whole()


def connect(trace: Trace, flag: Value, holds: bool, whole: Cell, steps: Sequence[Any], part: Cell, refusal: str = "") -> None:
    """From now on two arrays, of which the part is a new one, may be one: where the flag is `holds`. So may those that the first may be."""
    line = user_line()
    condition = flag if holds else trace.apply(INVERT, [flag])[0]
    _add(Alias(trace, {flag: holds}, condition, weakref.ref(whole), weakref.ref(part), tuple(steps), refusal, line))
    for known in whole.aliases:
        other = known.other(whole)
        if other is None or other is part or known.trace.ended or known.flags.get(flag, holds) is not holds:
            continue
        why, ends, way = refusal or known.refusal, (other, part), (*known.steps, *steps)
        if whole is known.whole():
            # Both are seen in the whole: the new one shows all of it, or the same.
            ends, way = (part, other), known.steps
            if steps and tuple(steps) == known.steps:
                way = ()
            elif steps:
                why = why or _TANGLED
        both = trace.apply(BITWISE_AND, [trace.lift(known.trace, known.holds), condition])[0]
        first, second = map(weakref.ref, ends)
        _add(Alias(trace, {**known.flags, flag: holds}, both, first, second, way, why, line))


def _add(alias: Alias) -> None:
    """Take in an alias; two ways in which the same two arrays are one become one."""
    trace_stack()[0].has_aliases = True
    whole, part = alias.whole(), alias.part()
    if whole is None or part is None:
        return
    for known in whole.aliases:
        if known.part() is part and known.whole() is whole and known.steps == alias.steps and not known.trace.ended:
            trace = alias.trace
            either = trace.apply(BITWISE_OR, [trace.lift(known.trace, known.holds), alias.holds])[0]
            flags = {flag: holds for flag, holds in alias.flags.items() if known.flags.get(flag) is holds}
            alias = replace(alias, flags=flags, holds=either, refusal=alias.refusal or known.refusal)
            _drop(known, whole, part)
            break
    for cell in (whole, part):
        cell.aliases = (*(other for other in cell.aliases if other.whole() is not None and other.part() is not None), alias)


def _drop(alias: Alias, *cells: Cell) -> None:
    for cell in cells:
        cell.aliases = tuple(other for other in cell.aliases if other is not alias)


def may_be_another(cell: Cell, trace: Trace, given: Iterable[Any]) -> bool:
    """Whether an array of the body of a loop may be one from outside of it, or one that it was given."""
    others = [alias.other(cell) for alias in cell.aliases]
    cells = {box.cell for box in given}
    return any(other is not None and (other.trace is not trace or other in cells) for other in others)


def store(trace: Trace, cell: Cell, new: Value) -> None:
    """Let a cell hold a new value, and what its array may be too.

    Raises:
        TraceError: of one of these it cannot be said what it holds then.
    """
    trace.put(cell, new)
    for alias in cell.aliases:
        other = alias.other(cell)
        if other is None or alias.trace.ended:
            continue
        if alias.refusal:
            raise TraceError(f"{alias.refusal}{user_line()}")
        trace.put(other, _seen_in(other, alias, trace, cell) if cell is alias.whole() else _shown_by(other, alias, trace, cell))


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
    return trace.apply(SELECT, [trace.lift(alias.trace, alias.holds), new, old])[0]
