"""Numbers that nothing traced goes into are Python's, who computes integers of any size and divides by no zero: a loop that is traced
once computes them at run time, so it has to be clear that none grows beyond an int64, and that no divisor is zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from irdl.ir.builder import constant_of
from irdl.ir.dtypes import is_integer
from irdl.ir.graph import Node, Value
from irdl.ops.control import COND, SCAN, WHILE
from irdl.tracing.intervals import Interval, holds_zero, interval_of

_INT64 = np.iinfo(np.int64)
#: e to this is still a float
_MOST_EXPONENT = 700.0
_TINY = 1e-300
#: where functions of Python's are defined
_DOMAINS = {
    **dict.fromkeys(("log", "log2", "log10"), (_TINY, math.inf)),
    **dict.fromkeys(("arcsin", "arccos"), (-1.0, 1.0)),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), (-math.inf, _MOST_EXPONENT)),
    "log1p": (-1 + 1e-15, math.inf),
    "sqrt": (0.0, math.inf),
    "arccosh": (1.0, math.inf),
    "arctanh": (-1 + 1e-15, 1 - 1e-15),
}
_ARITHMETIC = ("add", "sub", "mul", "neg", "abs", "floor_divide", "remainder", "left_shift")
_DIVIDES = ("div", "floor_divide", "remainder", "fmod")


class Unbounded(Exception):
    """It is not clear how large a number becomes, or whether it is divided by zero."""


def check_numbers(nodes: Iterable[Node], known: Mapping[Value, Interval], carried: Mapping[Value, tuple[Any, Value]]) -> None:
    """Check the numbers of a body that nothing traced goes into.

    Args:
        nodes: the body's, in order.
        known: inputs that nothing traced goes into: counters, and what follows from them outside.
        carried: numbers that it carries: what each is at first, and behind a step.

    Raises:
        Unbounded: one may be larger than an int64, or a divisor zero.
    """
    nodes = list(nodes)
    open_ = {value: pair for value, pair in carried.items() if not isinstance(pair[0], bool)}
    while True:
        found = _ranges(nodes, {**known, **dict.fromkeys(open_)}, checks=False)
        still = {value: pair for value, pair in open_.items() if pair[1] in found}
        if len(still) == len(open_):
            break
        open_ = still
    bounds: dict[Value, Interval] = {}
    for value, (first, after) in open_.items():
        behind = found[after]
        bounds[value] = None if behind is None else (min(first, behind[0]), max(first, behind[1]))
    _ranges(nodes, {**known, **bounds}, checks=True)


def _ranges(nodes: Iterable[Node], known: Mapping[Value, Interval], checks: bool) -> dict[Value, Interval]:
    """Of all numbers that nothing traced goes into, how far they reach."""
    found = dict(known)
    for node in nodes:
        if node.op in (COND, SCAN, WHILE):
            _within(node, found, checks)
            continue
        operands = []
        for operand in node.operands:
            if operand not in found and (array := constant_of(operand)) is not None and array.size == 1:
                found[operand] = (array.item(), array.item()) if array.dtype.kind in "if" else None
            if operand not in found:
                break
            operands.append(found[operand])
        else:
            if node.operands and all(value.type.size == 1 for value in node.outputs):
                if checks and node.op.name in _DIVIDES and holds_zero(operands[1]):
                    raise Unbounded("a number is divided by one that may be zero")
                made = interval_of(node.op.name, operands)
                if checks and _may_raise(node.op.name, operands):
                    raise Unbounded(f"`{node.op.name}` of a number of Python's may raise")
                if is_integer(node.output.dtype) and node.op.name in _ARITHMETIC and checks and not _fits(made):
                    raise Unbounded("an integer may grow beyond an int64")
                found.update(dict.fromkeys(node.outputs, made))
    return found


def _within(node: Node, found: Mapping[Value, Interval], checks: bool) -> None:
    """The numbers of a region: what a loop carries, or goes through, was looked at when that was recorded."""
    attributes: Any = node.attributes
    if node.op is COND:
        given = [node.operands[1:]] * 2
    elif node.op is SCAN:
        given = [node.operands[: attributes.consts]]
    else:
        first = attributes.cond_consts
        given = [node.operands[:first], node.operands[first : first + attributes.body_consts]]
    for region, operands in zip(node.regions, given, strict=True):
        inner = {value: found[operand] for value, operand in zip(region.inputs, operands, strict=False) if operand in found}
        _ranges(region.nodes, inner, checks)


def _may_raise(name: str, operands: list[Interval]) -> bool:
    """Whether Python's function of these floats may, where NumPy's gives inf or nan; what it gives for a power may be complex."""
    domain = _DOMAINS.get(name)
    if name == "power":
        base, exponent = operands
        if base is None or exponent is None or base[0] <= 0:
            return True
        return any(end > 0 and abs(power * math.log(end)) > _MOST_EXPONENT for end in base for power in exponent)
    return domain is not None and (operands[0] is None or operands[0][0] < domain[0] or operands[0][1] > domain[1])


def _fits(made: Interval) -> bool:
    return made is not None and _INT64.min <= made[0] and made[1] <= _INT64.max
