"""cbrt and pow as vector code, for float32 and float64, scalars included.

Coefficients and errors as in `vector_math`. The cases of `power` are C's: pow(1, y) = pow(x, 0) = 1 even of nan, negative bases
with odd exponents are negative, with fractional ones nan.
"""

from __future__ import annotations

import math

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind
from irdl.codegen.cpu.llvm.vector_math import EXPM1_64, LN2_64, LOG2E, VectorMath

#: log2(1 + g) / g for g in [-0.25, 0.5], and 2**r for |r| <= 1/2: for float32, worked in float64
LOG2_OF_32 = (
    1.4426950408885733,
    -0.7213475205957969,
    0.4808983474238315,
    -0.36067372133061976,
    0.28853888873738254,
    -0.24045190492902513,
    0.2061098075141568,
    -0.18026577481031195,
    0.15992483682191466,
    -0.14474777856945642,
    0.13658763921863626,
    -0.12676198430921612,
    0.09054847941443869,
    -0.03229329253306005,
)
EXP2_OF_32 = (
    0.9999999999616215,
    0.6931471807287216,
    0.2402265119875413,
    0.05550410352814985,
    0.009618027172813806,
    0.0013333922869642007,
    0.0001546931729577712,
    1.520189783967081e-05,
)
#: (log(m) / s - 2 - 2/3 s**2) / s**4 in s**2
LOG_REST_64 = (
    0.4,
    0.285714285714215,
    0.22222222225946717,
    0.1818181743375569,
    0.15384689269194657,
    0.13329360819547625,
    0.1188363182961762,
    0.08649019686492196,
    0.22137051014867207,
)
#: What added to an integer n in float64 puts n + 1023 into the lowest bits.
_MAGIC = 1.5 * 2.0**52 + 1023

#: A number and what it leaves of a longer one.
Pair = tuple[str, str]


class PowerMath(VectorMath):
    def cbrt(self, x: str) -> str:
        """1 / cbrt(a) from a third of the exponent's bits as a guess, by steps that leave the cube of the error; then one of
        Newton's for a times the square of that."""
        a = self.abs(x)
        tiny = self.less(a, self.c(float(np.finfo(self.k.dtype).tiny)))
        up = 54 if self.double else 24
        scaled = self.select(tiny, self.mul(a, self.c(2.0**up)), a)
        bits = self.b.emit(f"sitofp {self.int.text} {self.b.bitcast(self.k, self.int, scaled)} to {self.k.text}")
        # The logarithm of a number is about what its bits are, but for those of one; the constant halves the largest error.
        one = float(int(np.array(1, self.k.dtype).view(self.int.dtype)))
        guess = self.fma(bits, self.c(-1 / 3), self.c(one * 4 / 3 - 0.0432 * 2.0**self.mantissa))
        y = self.b.bitcast(self.int, self.k, self._to_int(guess))
        for coefficients in ((1 / 3, 2 / 9, 14 / 81), (1 / 3, 2 / 9, 14 / 81) if self.double else (1 / 3, 2 / 9)):
            # y * y and y * a are far from overflow and underflow; their product is about one.
            h = self.fma(self.neg(self.mul(y, y)), self.mul(y, scaled), self.c(1.0))
            y = self.fma(self.mul(y, h), self.polynomial(h, coefficients), y)
        square = self.mul(y, y)
        t = self.mul(scaled, square)
        rest = self.fma(self.neg(self.mul(t, t)), t, scaled)
        t = self.fma(self.mul(rest, square), self.c(1 / 3), t)
        t = self.select(tiny, self.mul(t, self.c(2.0 ** -(up // 3))), t)
        # Infinities and nans are their own roots.
        return self.select(self.b.compare(self.k, "ueq", a, self.c(math.inf)), x, self.copysign(t, x))

    def power(self, x: str, y: str) -> str:
        a, flag = self.abs(x), self.k.with_dtype(np.bool_)
        usual = self.b.compare(self.k, "ogt", x, self.c(0.0))
        for limited in (x, self.abs(y)):
            usual = self.b.binary(flag, "and", usual, self.less(limited, self.c(math.inf)))
        special = self.b.binary(flag, "xor", usual, flag.constant(True))
        return self.unless(special, self._power_of_positive(a, y), lambda: self._any_power(x, y))

    def _any_power(self, x: str, y: str) -> str:
        a, one, zero = self.abs(x), self.c(1.0), self.c(0.0)
        size = self._power_of_positive(a, y, ends=True)
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

    def _power_of_positive(self, a: str, y: str, ends: bool = False) -> str:
        """`ends`: a may be zero or infinite too, and y infinite."""
        return self._power_64(a, y, ends) if self.double else self._power_32(a, y, ends)

    def _ends(self, x: str, logarithm: str) -> str:
        """With the logarithms of zero and infinity."""
        logarithm = self.select(self.b.compare(self.k, "oeq", x, self.c(0.0)), self.c(-math.inf), logarithm)
        return self.select(self.b.compare(self.k, "oeq", x, self.c(math.inf)), self.c(math.inf), logarithm)

    def _power_32(self, a: str, y: str, ends: bool) -> str:
        """2**(y log2(a)) in float64."""
        g, e = self._parts(a)
        wide = PowerMath(self.b, self.k.with_dtype(np.float64))
        base, exponent, g, e = (_widened(self.b, self.k, item) for item in (a, y, g, e))
        logarithm = wide.fma(g, wide.polynomial(g, LOG2_OF_32), e)
        t = wide.mul(exponent, wide._ends(base, logarithm) if ends else logarithm)
        t = wide.at_least(wide.at_most(t, 300.0), -300.0)
        n = self.b.intrinsic(wide.k, "roundeven", t)
        result = wide.mul(wide.polynomial(wide.sub(t, n), EXP2_OF_32), wide._two_to(n))
        return self.b.emit(f"fptrunc {wide.k.text} {result} to {self.k.text}")

    def _two_to(self, n: str) -> str:
        """2**n for integral n of normal results, by additions and shifts alone."""
        shifted = self.b.binary(self.int, "shl", self.b.bitcast(self.k, self.int, self.add(n, self.c(_MAGIC))), self.int.constant(52))
        return self.b.bitcast(self.int, self.k, shifted)

    # float64: the logarithm to twice the digits, since an error of it is multiplied by as much as 745.

    def _power_64(self, a: str, y: str, ends: bool) -> str:
        high, low = self._long_log(a, ends)
        t, lost = self._product(y, high)
        rest = self.fma(y, low, lost)
        # Beyond this nothing but zero and infinity comes; a sum of infinities would be nan.
        beyond = self.b.compare(self.k, "ugt", self.abs(t), self.c(800.0))
        rest = self.select(beyond, self.c(0.0), rest)
        t = self.at_least(self.at_most(t, 800.0), -800.0)
        n = self.b.intrinsic(self.k, "roundeven", self.mul(t, self.c(LOG2E)))
        r = self.fma(n, self.c(-LN2_64[1]), self.fma(n, self.c(-LN2_64[0]), t))
        # What is added to one is exact to a quarter of its last place: powers that are whole numbers come out as such.
        r, lost = self._sum(r, rest, ordered=False)
        curved = self.fma(self.mul(r, r), self.polynomial(r, EXPM1_64), lost)
        return self.scale(self.add(self.c(1.0), self.add(r, curved)), n)

    def _long_log(self, x: str, ends: bool) -> Pair:
        """log(x) = e ln 2 + 2 s + s**3 (2/3 + ..) with s = (m - 1) / (m + 1), in two parts."""
        g, e = self._parts(x, math.sqrt(0.5))
        s = self._quotient(g, self._sum(g, self.c(2.0), ordered=False))
        z = self._product_of_pairs(s, s)
        series = self.mul(z[0], self.polynomial(z[0], LOG_REST_64))
        third = 2 / 3
        c, lost = self._sum(self.c(third), series, ordered=True)
        c_low = self.add(lost, self.c(2 / 3 * 2.0**-54))
        cubic = self._product_of_pairs(self._product_of_pairs(s, z), (c, c_low))
        twice = (self.add(s[0], s[0]), self.add(s[1], s[1]))
        near, near_lost = self._sum(twice[0], cubic[0], ordered=True)
        near_low = self.add(near_lost, self.add(twice[1], cubic[1]))
        whole = self.mul(e, self.c(LN2_64[0]))
        high, high_lost = self._sum(whole, near, ordered=False)
        low = self.add(high_lost, self.fma(e, self.c(LN2_64[1]), near_low))
        high, low = self._sum(high, low, ordered=True)
        if not ends:
            return high, low
        # At zero and infinity what is left over would be nan.
        at_end = self.b.compare(self.k, "oeq", x, self.c(0.0))
        at_end = self.b.binary(self.k.with_dtype(np.bool_), "or", at_end, self.b.compare(self.k, "oeq", x, self.c(math.inf)))
        return self._ends(x, high), self.select(at_end, self.c(0.0), low)

    def _sum(self, x: str, y: str, ordered: bool) -> Pair:
        """The rounded sum, and what it lost. `ordered`: |x| >= |y|, or x is 0."""
        total = self.add(x, y)
        if ordered:
            return total, self.sub(y, self.sub(total, x))
        other = self.sub(total, x)
        return total, self.add(self.sub(x, self.sub(total, other)), self.sub(y, other))

    def _product(self, x: str, y: str) -> Pair:
        product = self.mul(x, y)
        return product, self.fma(x, y, self.neg(product))

    def _product_of_pairs(self, x: Pair, y: Pair) -> Pair:
        product, lost = self._product(x[0], y[0])
        return product, self.fma(x[0], y[1], self.fma(x[1], y[0], lost))

    def _quotient(self, x: str, y: Pair) -> Pair:
        inverse = self.div(self.c(1.0), y[0])
        quotient = self.mul(x, inverse)
        rest = self.fma(self.neg(quotient), y[0], x)
        rest = self.fma(self.neg(quotient), y[1], rest)
        return quotient, self.mul(rest, inverse)


def _widened(b: IRBuilder, kind: Kind, x: str) -> str:
    return b.emit(f"fpext {kind.text} {x} to {kind.with_dtype(np.float64).text}")
