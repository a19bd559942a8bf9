"""Which steps of loops touch the same memory: arguments about the affine indices of a kernel alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TypeAlias

import numpy as np

from irdl.ir.dtypes import is_bool, is_integer
from irdl.loops.expressions import Buffer, Expression, Literal, Load, Operation
from irdl.loops.index import Index
from irdl.loops.language import CheckIndex, For, If, Kernel, Let, Statement, Store, While
from irdl.loops.walk import buffers_of, expressions, subexpressions, walk

#: A variable that may be as large as this goes anywhere.
_FAR = 2**40

#: How far variables run; None where the data say where they point.
Extents: TypeAlias = dict[str, int | None]


def loop_extents(kernel: Kernel) -> Extents:
    """How far each variable of a kernel runs, from 0 at the earliest; None where the data say where it points."""
    extents: Extents = {}
    for statement in walk(kernel.body):
        if isinstance(statement, For):
            extents[statement.variable] = max(extents.get(statement.variable) or 0, statement.stop)
        elif isinstance(statement, Let):
            low, high = interval(statement.value)
            extents[statement.variable.name] = int(high) + 1 if low >= 0 and high < _FAR else None
        elif isinstance(statement, CheckIndex):
            extents[statement.variable.name] = None
    return extents


def interval(expression: Expression) -> tuple[float, float]:
    """The least and the greatest number that it can be, as far as its form says so."""
    dtype = expression.dtype
    if not (is_integer(dtype) or is_bool(dtype)):
        return -math.inf, math.inf
    if isinstance(expression, Literal):
        return int(expression.value), int(expression.value)
    limits = (0, 1) if is_bool(dtype) else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not isinstance(expression, Operation):
        return limits
    inner = [interval(argument) for argument in expression.arguments]
    if expression.name == "minimum":
        return min(low for low, _ in inner), min(high for _, high in inner)
    if expression.name == "maximum":
        return max(low for low, _ in inner), max(high for _, high in inner)
    if expression.name == "bitwise_and" and any(low >= 0 for low, _ in inner):
        return 0, min(high for low, high in inner if low >= 0)
    if expression.name == "cast" and limits[0] <= inner[0][0] and inner[0][1] <= limits[1]:
        return inner[0]
    return limits


def path(statement: Statement) -> Iterator[For]:
    """The loops from the outside in, as long as each body is one loop and bindings."""
    while isinstance(statement, For) and statement.kind == "serial":
        yield statement
        inner = [s for s in statement.body if not isinstance(s, (Let, CheckIndex))]
        if len(inner) != 1:
            return
        statement = inner[0]


def is_divisible(kernel: Kernel, nest: Statement, loop: For, extents: Extents) -> bool:
    """Different steps of `loop` touch different elements of everything the kernel writes, and share no registers."""
    inside = list(walk(loop.body))
    in_loop = {id(s) for s in inside}
    registers = {b for s in inside for b in buffers_of(s) if b.space == "register"}
    reads: dict[Buffer, list[Index]] = {}
    writes: dict[Buffer, list[Index]] = {}
    for statement in walk(kernel.body):
        if isinstance(statement, (If, While)):
            return False
        if id(statement) not in in_loop:
            if registers.intersection(buffers_of(statement)):
                return False
            if isinstance(statement, Store) and any(s is statement for s in walk([nest])):
                return False
            continue
        if isinstance(statement, Store) and statement.buffer.space != "register":
            writes.setdefault(statement.buffer, []).append(statement.index)
        for expression in expressions(statement):
            for item in subexpressions(expression):
                if isinstance(item, Load):
                    reads.setdefault(item.buffer, []).append(item.index)
    for buffer, stored in writes.items():
        for other in {*stored, *reads.get(buffer, [])}:
            if not all(apart(place, other, loop, extents) or never_meet(place, other, extents) for place in set(stored)):
                return False
    return True


def apart(a: Index, b: Index, loop: For, extents: Extents) -> bool:
    """`a` in one step of the loop and `b` in another never meet.

    Terms of larger coefficients than the loop's only move by multiples of their divisor M; what is left of an index,
    coefficient * step + (something small), must then differ by more than the small parts do, and by less than M.
    """
    coefficient = a.coefficient(loop.variable)
    if not coefficient or b.coefficient(loop.variable) != coefficient:
        return False
    size, steps = abs(coefficient), loop.stop - loop.start
    modulus = 0
    low = high = 0
    moved = a.constant - b.constant
    if abs(moved) >= size:
        modulus = abs(moved)
    else:
        low = high = moved
    for sign, index in ((1, a), (-1, b)):
        for name, factor in index.terms:
            if name == loop.variable:
                continue
            extent = extents.get(name)
            if extent is None:
                # A variable from outside the kernel is the same for all threads.
                if name in extents or a.coefficient(name) != b.coefficient(name):
                    return False
            elif abs(factor) > size:
                modulus = math.gcd(modulus, factor)
            else:
                ends = (0, sign * factor * (extent - 1))
                low, high = low + min(ends), high + max(ends)
    spread = max(abs(low), abs(high))
    return size > spread and (not modulus or size * (steps - 1) + spread < modulus)


def never_meet(a: Index, b: Index, extents: Extents, drifting: Collection[str] = ()) -> bool:
    """The two indices range over different places, whatever the steps.

    `drifting`: loops outside, in which one thread may be ahead of the other.
    """
    low = high = a.constant - b.constant
    modulus = 0
    for sign, index, other in ((1, a, b), (-1, b, a)):
        for name, factor in index.terms:
            extent = extents.get(name)
            if name in drifting:
                modulus = math.gcd(modulus, factor)
            elif extent is not None:
                ends = (0, sign * factor * (extent - 1))
                low, high = low + min(ends), high + max(ends)
            elif name in extents or other.coefficient(name) != factor:
                return False
    return low > 0 or high < 0 if not modulus else -(-low // modulus) * modulus > high
