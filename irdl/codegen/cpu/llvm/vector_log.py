"""log and its kin as vector code for float32 and float64, scalars included.

Coefficients and errors as in `vector_math`. Of a number m 2**e, m from 3/4 to 3/2, log(m 2**e) = e log 2 - log c + log(1 + r) with
r = m c - 1: c comes from a table of about 1 / m by m's first bits, is 1 on both sides of 1, and leaves a short polynomial of r (P. T. P.
Tang, Table-driven implementation of the logarithm function in IEEE floating-point arithmetic, 1990). Where a table is memory and no
register, c is 1 throughout, and the polynomial long.
"""

from __future__ import annotations

import functools
import math
import zlib
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import scalar_constant
from irdl.codegen.cpu.llvm.vector_math import LN2_32, LN2_64, LOG2E, Pair, VectorMath

LOG10_2 = 0.30102999566398120

# Lowest order first.
#: (log(1 + r) - r) / r**2 for r in [-1/64, 1/32] and in [-1/32, 1/16]: within a table's cell
NEAR_32 = (-0.5000012516975403, 0.3333645761013031, -0.243875652551651)
NEAR_64 = (
    -0.5000000000000003,
    0.33333333333347576,
    -0.24999999999807407,
    0.19999999927106404,
    -0.16666666247239362,
    0.1428582168007801,
    -0.12501835023151403,
    0.11070230021187362,
    -0.08736642086633589,
)
# Without a table.
#: (log(1 + g) - g + g**2 / 2) / g**3 for g in [-0.25, 0.5]
LOG_32 = (
    0.3333345055580139,
    -0.25000104308128357,
    0.19990819692611694,
    -0.1664699912071228,
    0.14478321373462677,
    -0.13163873553276062,
    0.10468878597021103,
    -0.04511205479502678,
)
#: (log(1 + g) / log(b) - g / log(b)) / g**2 for b = 2 and 10
LOG2_32 = (
    -0.7213475108146667,
    0.4809000492095947,
    -0.3606771230697632,
    0.2884092628955841,
    -0.24010640382766724,
    0.20872311294078827,
    -0.19033220410346985,
    0.15282678604125977,
    -0.06667492538690567,
)
LOG10_32 = (
    -0.21714723110198975,
    0.14476528763771057,
    -0.10857497900724411,
    0.0868222713470459,
    -0.07227560877799988,
    0.06279751658439636,
    -0.05728267878293991,
    0.0461416058242321,
    -0.020229140296578407,
)
#: in s**2 for s = g / (2 + g)
LOG_64 = (
    0.666666666666666,
    0.4000000000005654,
    0.2857142855588132,
    0.22222224289054487,
    0.18181666374866845,
    0.15391094444934753,
    0.1317390741529297,
    0.13840887380036415,
)


class Cells(NamedTuple):
    """By the first bits of a mantissa: about its inverse, and minus the logarithm of that in two parts."""

    inverses: tuple[float, ...]
    logarithms: tuple[float, ...]
    rests: tuple[float, ...]


@functools.cache
def cells(dtype: np.dtype, base: float, exact: bool = False) -> Cells:
    """For mantissas from 3/4; both cells at 1 have the inverse 1, the others one of few digits.

    The logarithms of those below 1 are of twice as much, so that an exponent goes with them that is that of [1, 2). `exact`: for
    mantissas from half a place below, each in the cell of the nearest place, whose inverse has so few digits that m c - 1 is a
    number, and whose exponent is the mantissa's. First parts have so few digits after the binary point that sums with an
    exponent's logarithm are exact.
    """
    count, digits = (16, 42) if dtype == np.float64 else (32, 16)  # as many as two registers of AVX-512 hold
    inverses, logarithms, rests = [], [], []
    with localcontext() as context:
        context.prec = 50
        scale = Decimal(1) if base == math.e else Decimal(base).ln()
        for place in range(count):
            # The upper half of mantissas are those of numbers below 1.
            below = 2 if place >= count // 2 else 1
            centre = (1 + (place + (0.0 if exact else 0.5)) / count) / below
            if place == 0 or (place == count - 1 and not exact):
                inverse = 1.0
            else:
                inverse = _short_inverse(dtype, centre, 0.5 / count / below) if exact else round(256 / centre) / 256
            logarithm = -Decimal(inverse).ln() / scale
            first = round(float(logarithm) * 2.0**digits) / 2.0**digits
            rest = float(logarithm - Decimal(first))
            if below == 2 and not exact:
                first, rest = (x + y for x, y in zip((first, rest), _log_of_two(dtype, base), strict=True))
            inverses.append(inverse)
            logarithms.append(first)
            rests.append(rest)
    return Cells(tuple(inverses), tuple(logarithms), tuple(rests))


def _short_inverse(dtype: np.dtype, centre: float, reach: float) -> float:
    """Of the c for which m c - 1 is exact, wherever |m - centre| <= reach, that which leaves least of it."""
    mantissa, best = np.finfo(dtype).nmant, (math.inf, 1.0)
    for digits in range(10):
        inverse = round(2**digits / centre) / 2**digits
        most = max(abs((centre - reach) * inverse - 1), abs((centre + reach) * inverse - 1))
        # The last digits of m c, and of a number as large as what is left.
        last, of_rest = mantissa + digits + (centre < 1), mantissa - math.floor(math.log2(most))
        best = min(best, (most, inverse)) if last <= of_rest else best
    return best[1]


def _log_of_two(dtype: np.dtype, base: float) -> tuple[float, float]:
    """In two parts, the first of so few digits that its products with exponents are exact; both are positive, so that their sums
    with infinite exponents are no nans."""
    double = dtype == np.float64
    if base == math.e:
        return LN2_64 if double else LN2_32
    first = 0.30102992057800293 if double else 0.301025390625
    return (1.0, 0.0) if base == 2 else (first, LOG10_2 - first)


class LogMath(VectorMath):
    def log(self, x: str) -> str:
        return self._log_of_sum(x)

    def log2(self, x: str) -> str:
        """Exact for powers of two."""
        if self.avx512:
            return self._by_cells(*self._mantissa_of_cells(x), 2.0)
        m, e = self._mantissa_by_bits(x, self._middle())
        return self._limits(x, self.add(e, self._log_to_base(self.sub(m, self.c(1.0)), LOG2E, LOG2_32, self.c(0.0))))

    def log10(self, x: str) -> str:
        if self.avx512:
            return self._by_cells(*self._mantissa_of_cells(x), 10.0)
        m, e = self._mantissa_by_bits(x, self._middle())
        first, rest = _log_of_two(self.k.dtype, 10.0)
        curved = self._log_to_base(self.sub(m, self.c(1.0)), 1 / math.log(10), LOG10_32, self.mul(e, self.c(rest)))
        return self._limits(x, self.fma(e, self.c(first), curved))

    def log1p(self, x: str) -> str:
        u, lost = self._sum(self.c(1.0), x, ordered=False)
        lost = self.select(self.b.compare(self.k, "oeq", u, self.c(math.inf)), self.c(0.0), lost)
        # The sign of a zero got lost on the way.
        return self.copysign(self._log_of_sum(u, lost), x)

    def _log_of_sum(self, x: str, lost: str | None = None, twice: str | None = None) -> str:
        """log(x + lost) where x has lost that by rounding; of twice as much where `twice`."""
        m, e = self._mantissa_of_cells(x) if self.avx512 else self._mantissa_by_bits(x, 0.75)
        # The exponent of zero is minus infinity.
        low = None if lost is None else self.scale(lost, self.neg(self.at_least(e, -100.0)))
        if twice is not None:
            e = self.select(twice, self.add(e, self.c(1.0)), e)
        if self.avx512:
            low = low and self.select(self.less(m, self.c(1.0)), self.mul(low, self.c(0.5)), low)
            return self._by_cells(m, e, math.e, low)
        g = self.sub(m, self.c(1.0))
        g = g if low is None else self.add(g, low)
        return self._limits(x, self._log64(g, e) if self.double else self._log32(g, e))

    def _mantissa_of_cells(self, x: str) -> tuple[str, str]:
        """x's mantissa from 3/4 on, nan below zero, and its exponent, which for mantissas below 1 is one less than goes with them."""
        x = self.add(x, self.c(0.0))  # of -0.0, what 0.0 gives
        return self._avx512("getmant", (self.k.text, x), ("i32", "11")), self._avx512("getexp", (self.k.text, x))

    def _mantissa_by_bits(self, x: str, lowest: float) -> tuple[str, str]:
        """m and e with x = m 2**e and m in [lowest, 2 lowest), of a number that is not below zero."""
        is_tiny = self.less(x, self.c(float(np.finfo(self.k.dtype).tiny)))
        up = 54 if self.double else 25
        m, e = self._mantissa_of_normal(self.select(is_tiny, self.mul(x, self.c(2.0**up)), x), lowest)
        return m, self.select(is_tiny, self.sub(e, self.c(float(up))), e)

    def _mantissa_of_normal(self, x: str, lowest: float) -> tuple[str, str]:
        bits = self.b.bitcast(self.k, self.int, x)
        anchor = int(np.array(lowest, self.k.dtype).view(self.int.dtype))
        e = self.b.binary(self.int, "sub", bits, self.int.constant(anchor))
        e = self.b.binary(self.int, "ashr", e, self.int.constant(self.mantissa))
        shifted = self.b.binary(self.int, "shl", e, self.int.constant(self.mantissa))
        m = self.b.bitcast(self.int, self.k, self.b.binary(self.int, "sub", bits, shifted))
        return m, self.b.emit(f"sitofp {self.int.text} {e} to {self.k.text}")

    # With a table. The exponents of zero and infinity are infinite, and so is what is made of them.

    def _by_cells(self, m: str, e: str, base: float, low: str | None = None) -> str:
        """log((m + low) 2**e), of twice as much where m is below 1."""
        table = cells(self.k.dtype, base)
        place = self._place(m, table)
        inverse = self._look_up(table.inverses, place)
        r = self.fma(m, inverse, self.c(-1.0))
        r = r if low is None else self.fma(low, inverse, r)
        whole, small = self._log_of_inverse(place, e, 1.0, base)
        factor = 1.0 if base == math.e else 1 / math.log(base)
        near = self.polynomial(r, tuple(factor * coefficient for coefficient in (NEAR_64 if self.double else NEAR_32)))
        if base == math.e:
            return self.add(whole, self.add(r, self.fma(self.mul(r, r), near, small)))
        high = float(self.k.dtype.type(factor))
        small = self.fma(r, self.fma(r, near, self.c(factor - high)), small)
        return self.add(whole, self.fma(r, self.c(high), small))

    def _log_of_inverse(self, place: str, e: str, factor: float = 1.0, base: float = math.e) -> Pair:
        """What c and the exponent e leave out of a logarithm, times a power of two."""
        table = cells(self.k.dtype, base)
        first, rest = (factor * part for part in _log_of_two(self.k.dtype, base))
        logarithms, rests = (tuple(factor * entry for entry in column) for column in (table.logarithms, table.rests))
        small = self._look_up(rests, place)
        return self.fma(e, self.c(first), self._look_up(logarithms, place)), self.fma(e, self.c(rest), small) if rest else small

    def _place(self, m: str, table: Cells, rounded: bool = False) -> str:
        """A number whose lowest bits are m's place in the table."""
        rest = self.mantissa + 1 - len(table.inverses).bit_length()
        bits = self.b.bitcast(self.k, self.int, m)
        if rounded:
            bits = self.b.binary(self.int, "add", bits, self.int.constant(1 << (rest - 1)))
        return self.b.binary(self.int, "lshr", bits, self.int.constant(rest))

    def _look_up(self, column: tuple[float, ...], place: str) -> str:
        b, scalar = self.b, self.k.scalar
        entries = [f"{scalar} {scalar_constant(self.k.dtype, entry)}" for entry in column]
        if self.avx512:
            first, second = (f"<{', '.join(half)}>" for half in (entries[: self.k.lanes], entries[self.k.lanes :]))
            full, text, places = f"llvm.x86.avx512.vpermi2var.{'pd' if self.double else 'ps'}.512", self.k.text, self.int.text
            b.declarations.add(f"declare {text} @{full}({text}, {places}, {text})")
            return b.emit(f"call {text} @{full}({text} {first}, {places} {place}, {text} {second})")
        array = f"[{len(column)} x {scalar}]"
        name = f"@irdl.table.{zlib.crc32(repr((scalar, column)).encode()):08x}"
        b.declarations.add(f"{name} = private unnamed_addr constant {array} [{', '.join(entries)}], align 64")
        place = b.binary(self.int, "and", place, self.int.constant(len(column) - 1))
        result, lanes = "poison", range(self.k.lanes)
        for lane in lanes:
            one = b.emit(f"extractelement {self.int.text} {place}, i64 {lane}")
            result = b.emit(f"insertelement {self.k.text} {result}, {scalar} {self._entry(array, name, one)}, i64 {lane}")
        return result if lanes else self._entry(array, name, place)

    def _entry(self, array: str, name: str, place: str) -> str:
        address = self.b.emit(f"getelementptr inbounds {array}, ptr {name}, i64 0, {self.int.scalar} {place}")
        return self.b.emit(f"load {self.k.scalar}, ptr {address}")

    # Without.

    def _limits(self, x: str, y: str) -> str:
        infinity = self.c(float("inf"))
        y = self.select(self.b.compare(self.k, "oeq", x, infinity), infinity, y)
        y = self.select(self.b.compare(self.k, "oeq", x, self.c(0.0)), self.c(float("-inf")), y)
        # Negative or nan.
        return self.select(self.b.compare(self.k, "ult", x, self.c(0.0)), self.c(float("nan")), y)

    def _middle(self) -> float:
        """Where the mantissas start: from sqrt(1/2), log(1 + g) cancels least of a negative exponent's; the polynomial of float32
        does not reach down to there."""
        return math.sqrt(0.5) if self.double else 0.75

    def _log_to_base(self, g: str, factor: float, coefficients: tuple[float, ...], more: str) -> str:
        """log(1 + g) * factor + more, the factor in two parts. `coefficients`: the polynomial of float32."""
        high = float(self.k.dtype.type(factor))
        if self.double:
            g = self._log64(g, self.c(0.0))
            return self.fma(g, self.c(high), self.fma(g, self.c(factor - high), more))
        curved = self.fma(self.mul(g, g), self.polynomial(g, coefficients), more)
        return self.fma(g, self.c(high), self.fma(g, self.c(factor - high), curved))

    def _log32(self, g: str, e: str) -> str:
        p = self.polynomial(g, LOG_32)
        q = self.mul(self.mul(g, g), self.fma(g, p, self.c(-0.5)))
        q = self.fma(e, self.c(LN2_32[1]), q)
        return self.fma(e, self.c(LN2_32[0]), self.add(g, q))

    def _log64(self, g: str, e: str) -> str:
        s = self.div(g, self.add(g, self.c(2.0)))
        z = self.mul(s, s)
        rest = self.mul(self.polynomial(z, LOG_64), z)
        half = self.mul(self.mul(g, g), self.c(0.5))
        w = self.fma(s, self.add(half, rest), self.mul(e, self.c(LN2_64[1])))
        return self.fma(e, self.c(LN2_64[0]), self.sub(g, self.sub(half, w)))
