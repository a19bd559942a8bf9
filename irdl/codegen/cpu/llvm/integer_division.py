"""Quotients and remainders of integers, defined for every input: of a zero divisor 0, of what overflows what NumPy gives."""

from __future__ import annotations

import re

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind
from irdl.ir.dtypes import is_signed

_LITERAL = re.compile(r"splat \(i64 (\d+)\)")
_HALF = 2**32 - 1


def floor_divide(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    quotient = _by_known(b, kind, x, y)
    if quotient is not None:
        return quotient
    quotient, remainder, is_zero = _towards_zero(b, kind, x, y)
    if is_signed(kind.dtype):
        lower = b.binary(kind, "sub", quotient, kind.constant(1))
        quotient = b.select(kind, _wrong_side(b, kind, remainder, y), lower, quotient)
    return b.select(kind, is_zero, kind.constant(0), quotient)


def remainder(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    """With the divisor's sign."""
    quotient = _by_known(b, kind, x, y)
    if quotient is not None:
        return b.binary(kind, "sub", x, b.binary(kind, "mul", quotient, y))
    _, rest, is_zero = _towards_zero(b, kind, x, y)
    if is_signed(kind.dtype):
        rest = b.select(kind, _wrong_side(b, kind, rest, y), b.binary(kind, "add", rest, y), rest)
    return b.select(kind, is_zero, kind.constant(0), rest)


def fmod(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    """With the dividend's sign."""
    _, rest, is_zero = _towards_zero(b, kind, x, y)
    return b.select(kind, is_zero, kind.constant(0), rest)


def _towards_zero(b: IRBuilder, kind: Kind, x: str, y: str) -> tuple[str, str, str]:
    """Quotient and remainder towards zero with a divisor made safe, and where the divisor is zero."""
    flag = kind.with_dtype(np.bool_)
    is_zero = b.compare(kind, "eq", y, kind.constant(0))
    unsafe = is_zero
    if is_signed(kind.dtype):
        lowest = b.compare(kind, "eq", x, kind.constant(int(np.iinfo(kind.dtype).min)))
        overflows = b.binary(flag, "and", lowest, b.compare(kind, "eq", y, kind.constant(-1)))
        unsafe = b.binary(flag, "or", is_zero, overflows)
    safe = b.select(kind, unsafe, kind.constant(1), y)
    letter = "s" if is_signed(kind.dtype) else "u"
    return b.binary(kind, letter + "div", x, safe), b.binary(kind, letter + "rem", x, safe), is_zero


def _wrong_side(b: IRBuilder, kind: Kind, rest: str, y: str) -> str:
    """The remainder is not zero and differs in sign from the divisor."""
    flag = kind.with_dtype(np.bool_)
    crossed = b.compare(kind, "slt", b.binary(kind, "xor", rest, y), kind.constant(0))
    return b.binary(flag, "and", crossed, b.compare(kind, "ne", rest, kind.constant(0)))


def _by_known(b: IRBuilder, kind: Kind, x: str, y: str) -> str | None:
    """floor(x / y) for a known y > 0 and vectors of 64 bits, of which LLVM would divide each number by itself: a product's upper half
    (T. Granlund and P. L. Montgomery, Division by invariant integers using multiplication, 1994)."""
    known = _LITERAL.fullmatch(y)
    if known is None or kind.bits != 64 or int(known[1]) < 2:
        return None
    divisor = int(known[1])
    length = (divisor - 1).bit_length()
    if is_signed(kind.dtype):
        # Of numbers below zero ~floor(~x / y): 63 bits.
        sign = b.binary(kind, "ashr", x, kind.constant(63))
        high = _upper_half(b, kind, b.binary(kind, "xor", x, sign), 2 ** (63 + length) // divisor + 1)
        return b.binary(kind, "xor", b.binary(kind, "lshr", high, kind.constant(length - 1)), sign)
    # The factor has 65 bits, the first of which is added by itself.
    high = _upper_half(b, kind, x, 2**64 * (2**length - divisor) // divisor + 1)
    half = b.binary(kind, "lshr", b.binary(kind, "sub", x, high), kind.constant(1))
    return b.binary(kind, "lshr", b.binary(kind, "add", high, half), kind.constant(length - 1))


def _upper_half(b: IRBuilder, kind: Kind, x: str, factor: int) -> str:
    """The first 64 of the 128 bits of a product of unsigned numbers, from those of their halves."""
    low, high = (kind.constant(part) for part in (factor & _HALF, factor >> 32))
    mask, width = kind.constant(_HALF), kind.constant(32)
    x_low, x_high = b.binary(kind, "and", x, mask), b.binary(kind, "lshr", x, width)
    carried = b.binary(kind, "lshr", b.binary(kind, "mul", x_low, low), width)
    middle = b.binary(kind, "add", b.binary(kind, "mul", x_high, low), carried)
    other = b.binary(kind, "add", b.binary(kind, "mul", x_low, high), b.binary(kind, "and", middle, mask))
    upper = b.binary(kind, "add", b.binary(kind, "mul", x_high, high), b.binary(kind, "lshr", middle, width))
    return b.binary(kind, "add", upper, b.binary(kind, "lshr", other, width))
