"""cbrt and pow as vector code, for float32 and float64, scalars included.

Coefficients and errors as in `vector_math`. The cases of `power` are C's: pow(1, y) = pow(x, 0) = 1 even of nan, negative bases
with odd exponents are negative, with fractional ones nan.
"""

from __future__ import annotations

import math

import numpy as np

from irdl.codegen.cpu.llvm.vector_log import LogMath, cells
from irdl.codegen.cpu.llvm.vector_math import EXPM1_64, LN2_64, LOG2E, Pair

#: ((1 - h)**(-1/3) - 1) / h and ((1 - h)**(-2/3) - 1) / h for |h| <= 0.11 and 0.1025
CBRT_64 = (0.3333310208464837, 0.22221427484781758, 0.17436378470245048, 0.14602047208322347)
CBRT_32 = (0.6666666865348816, 0.5555556416511536, 0.4937989413738251, 0.45262396335601807, 0.42894577980041504, 0.4069565534591675)
#: (log2(1 + r) - r / ln 2) / r**2 for r in [-0.0198, 0.0169]
LOG2_REST_32 = (-0.7213475108146667, 0.48089835047721863, -0.3608097434043884, 0.2885855734348297)
#: (2**r - 1) / r for |r| <= 1/2
EXP2_REST_32 = (
    0.6931471824645996,
    0.24022647738456726,
    0.05550359562039375,
    0.009618500247597694,
    0.0013390971580520272,
    0.00015328887093346566,
)
#: -2 (log(1 + r) - r + r**2 / 2) / r**3 for r in [-0.0342, 0.0333]
CUBIC_64 = (
    -0.6666666666666666,
    0.4999999999999955,
    -0.4000000000001558,
    0.3333333334199037,
    -0.28571428592542125,
    0.24999967933293668,
    -0.22222113137912405,
    0.20040676909871763,
    -0.18273308780088074,
)
#: ln 2 in two parts, whose first has as many digits after the binary point as a table's logarithms
_LN2 = (0.6931471805598903, 5.497923018708371e-14)


class PowerMath(LogMath):
    def cbrt(self, x: str) -> str:
        """y = 1 / cbrt(a) from a third of the exponent's bits as a guess, made better by h = 1 - a y**3; a y**2 at last.

        What a y**2 lost by rounding is in its h too, and does not count.
        """
        a = self.abs(x)
        tiny = self.less(a, self.c(float(np.finfo(self.k.dtype).tiny)))
        up = 54 if self.double else 24
        scaled = self.select(tiny, self.mul(a, self.c(2.0**up)), a)
        bits = self.b.emit(f"sitofp {self.int.text} {self.b.bitcast(self.k, self.int, scaled)} to {self.k.text}")
        # The logarithm of a number is about what its bits are, but for those of one; the constant halves the largest error.
        one = float(int(np.array(1, self.k.dtype).view(self.int.dtype)))
        guess = self.fma(bits, self.c(-1 / 3), self.c(one * 4 / 3 - 0.068 * 2.0**self.mantissa))
        y = self.b.bitcast(self.int, self.k, self._to_int(guess))
        if self.double:
            _, h = self._root_and_rest(scaled, y)
            y = self.fma(self.mul(y, h), self.polynomial(h, CBRT_64), y)
        t, h = self._root_and_rest(scaled, y)
        t = self.fma(self.mul(t, h), self.polynomial(h, (2 / 3, 5 / 9) if self.double else CBRT_32), t)
        t = self.select(tiny, self.mul(t, self.c(2.0 ** -(up // 3))), t)
        # Infinities and nans are their own roots.
        return self.select(self.b.compare(self.k, "ueq", a, self.c(math.inf)), x, self.copysign(t, x))

    def _root_and_rest(self, a: str, y: str) -> Pair:
        """a y**2, far from overflow and underflow for y near 1 / cbrt(a), and 1 - a y**3."""
        t = self.mul(a, self.mul(y, y))
        return t, self.fma(self.neg(t), y, self.c(1.0))

    def power(self, x: str, y: str) -> str:
        flag = self.k.with_dtype(np.bool_)
        t, rest = self._exponent_of_power(y, *self._logarithm(*self._mantissa_of_normal(x, self._lowest)))
        # Of an infinite y t is infinite or nan.
        usual = self.less(self.abs(t), self.c(self._most))
        normal = self.b.compare(self.k, "oge", x, self.c(float(np.finfo(self.k.dtype).tiny)))
        for condition in (normal, self.less(x, self.c(math.inf))):
            usual = self.b.binary(flag, "and", usual, condition)
        special = self.b.binary(flag, "xor", usual, flag.constant(True))
        return self.unless(special, self._exp_of_pair(t, rest), lambda: self._any_power(x, y))

    def _any_power(self, x: str, y: str) -> str:
        a, one, zero = self.abs(x), self.c(1.0), self.c(0.0)
        size = self._power_of_any_size(a, y)
        flag = self.k.with_dtype(np.bool_)
        # The sign: an odd exponent keeps that of the base; of other numbers below zero only whole powers are real.
        half = self.mul(y, self.c(0.5))
        whole = self.b.compare(self.k, "oeq", self.b.intrinsic(self.k, "trunc", y), y)
        odd = self.b.binary(flag, "and", whole, self.b.compare(self.k, "one", self.b.intrinsic(self.k, "trunc", half), half))
        size = self.select(odd, self.copysign(size, x), size)
        negative = self.b.binary(flag, "and", self.less(x, zero), self.b.compare(self.k, "ogt", x, self.c(-math.inf)))
        fraction = self.b.binary(flag, "xor", whole, flag.constant(True))
        size = self.select(self.b.binary(flag, "and", negative, fraction), self.c(math.nan), size)
        size = self.select(self.b.compare(self.k, "uno", x, y), self.c(math.nan), size)
        # -1 to an infinite power is 1 too, as is anything to the power of zero.
        infinite = self.b.compare(self.k, "oeq", self.abs(y), self.c(math.inf))
        is_one = self.b.binary(flag, "and", infinite, self.b.compare(self.k, "oeq", a, one))
        is_one = self.b.binary(flag, "or", is_one, self.b.compare(self.k, "oeq", x, one))
        return self.select(self.b.binary(flag, "or", is_one, self.b.compare(self.k, "oeq", y, zero)), one, size)

    @property
    def _most(self) -> float:
        """Beyond this exponent nothing but zero and infinity comes."""
        return 800.0 if self.double else 160.0

    def _power_of_any_size(self, a: str, y: str) -> str:
        """Of denormal numbers, zero and infinity too, and to infinite powers."""
        high, low = self._logarithm(*self._mantissa_by_bits(a, self._lowest))
        # Where something is infinite, what is left over would be nan.
        zero, infinite = (self.b.compare(self.k, "oeq", a, self.c(end)) for end in (0.0, math.inf))
        high = self.select(zero, self.c(-math.inf), self.select(infinite, self.c(math.inf), high))
        low = self.select(zero, self.c(0.0), self.select(infinite, self.c(0.0), low))
        t, rest = self._exponent_of_power(y, high, low)
        rest = self.select(self.b.compare(self.k, "ugt", self.abs(t), self.c(self._most)), self.c(0.0), rest)
        return self._exp_of_pair(self.at_least(self.at_most(t, self._most), -self._most), rest)

    def _exponent_of_power(self, y: str, high: str, low: str) -> Pair:
        """y (high + low)"""
        t, lost = self._product(y, high)
        return t, self.fma(y, low, lost)

    # Natural in float64, to base 2 in float32, where e and 2**n are exact then; to more digits than a number has, since an error is
    # multiplied by as much as 745 or 150.

    @property
    def _lowest(self) -> float:
        """Half a place of the table below 3/4."""
        return 0.75 - 2.0 ** (-6 if self.double else -7)

    def _logarithm(self, m: str, e: str) -> Pair:
        return self._long_log(m, e) if self.double else self._long_log2(m, e)

    def _exp_of_pair(self, t: str, rest: str) -> str:
        return self._exp_64(t, rest) if self.double else self._exp2_32(t, rest)

    def _in_cell(self, m: str, base: float) -> tuple[str, str, str]:
        """r = m c - 1, exact, and the logarithm of 1 / c in two parts."""
        table = cells(self.k.dtype, base, exact=True)
        place = self._place(m, table, rounded=True)
        r = self.fma(m, self._look_up(table.inverses, place), self.c(-1.0))
        return r, self._look_up(table.logarithms, place), self._look_up(table.rests, place)

    def _long_log2(self, m: str, e: str) -> Pair:
        r, of_cell, rest = self._in_cell(m, 2.0)
        factor = float(self.k.dtype.type(LOG2E))
        linear, lost = self._product(r, self.c(factor))
        # Each rounding counts: the linear term of the factor last.
        curved = self.fma(r, self.c(LOG2_REST_32[0]), self.mul(self.mul(r, r), self.polynomial(r, LOG2_REST_32[1:])))
        curved = self.fma(r, curved, self.fma(r, self.c(LOG2E - factor), lost))
        high, dropped = self._sum(self.add(e, of_cell), linear, ordered=True)
        return high, self.add(self.add(rest, dropped), curved)

    def _exp2_32(self, t: str, rest: str) -> str:
        n = self.b.intrinsic(self.k, "roundeven", self.add(t, rest))
        f = self.add(self.sub(t, n), rest)
        return self.scale(self.fma(f, self.polynomial(f, EXP2_REST_32), self.c(1.0)), n)

    def _long_log(self, m: str, e: str) -> Pair:
        r, of_cell, rest = self._in_cell(m, math.e)
        square, square_rest = self._product(self.mul(r, self.c(-0.5)), r)
        high, first_lost = self._sum(self.fma(e, self.c(_LN2[0]), of_cell), r, ordered=True)
        high, second_lost = self._sum(high, square, ordered=True)
        lost = self.add(self.add(first_lost, second_lost), self.add(square_rest, self.fma(e, self.c(_LN2[1]), rest)))
        return high, self.fma(self.mul(square, r), self.polynomial(r, CUBIC_64), lost)

    def _exp_64(self, t: str, rest: str) -> str:
        n = self.b.intrinsic(self.k, "roundeven", self.mul(self.add(t, rest), self.c(LOG2E)))
        r, rest = self.fma(n, self.c(-LN2_64[0]), t), self.fma(n, self.c(-LN2_64[1]), rest)
        # What is added to one is exact to a quarter of its last place: powers that are whole numbers come out as such.
        r, lost = self._sum(r, rest, ordered=True)
        curved = self.fma(self.mul(r, r), self.polynomial(r, EXPM1_64), lost)
        return self.scale(self.add(self.c(1.0), self.add(r, curved)), n)

    def _product(self, x: str, y: str) -> Pair:
        product = self.mul(x, y)
        return product, self.fma(x, y, self.neg(product))
