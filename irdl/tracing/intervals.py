"""How far numbers reach: interval arithmetic, of Python's numbers, for the ops that indices and counts are computed with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

#: the least and the largest that a number may come to; None where that is not known
Interval = tuple[Any, Any] | None

_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "minimum": min,
    "maximum": max,
    "floor_divide": lambda a, b: a // b,
    "div": lambda a, b: a / b,
}


def holds_zero(interval: Interval) -> bool:
    """Whether it may be zero."""
    return interval is None or interval[0] <= 0 <= interval[1]


def interval_of(name: str, operands: Sequence[Interval]) -> Interval:
    """How far what an op of this name gives reaches, if its operands reach this far."""
    if name == "remainder":
        return _remainder(*operands)
    if name == "select":
        operands = operands[1:]
    known = [operand for operand in operands if operand is not None]
    if len(known) < len(operands) or not known:
        return None
    first = known[0]
    if name in ("cast", "reshape"):
        return first
    if name == "neg":
        return -first[1], -first[0]
    if name == "abs":
        ends = [abs(end) for end in first]
        return (0 if holds_zero(first) else min(ends)), max(ends)
    if name == "select":
        return min(first[0], known[1][0]), max(first[1], known[1][1])
    function = _FUNCTIONS.get(name)
    if function is None or (name in ("div", "floor_divide") and holds_zero(known[1])):
        return None
    every = [function(a, b) for a in first for b in known[1]]
    return None if any(math.isnan(end) for end in every) else (min(every), max(every))


def _remainder(dividend: Interval, divisor: Interval) -> Interval:
    """Of a division by one integer."""
    if divisor is None or divisor[0] != divisor[1] or divisor[0] <= 0 or not isinstance(divisor[0], int):
        return None
    inside = dividend is not None and dividend[0] >= 0 and dividend[1] < divisor[0]
    return dividend if inside else (0, divisor[0] - 1)
