"""sin, cos, tan and their inverses as vector code, for float32 and float64, scalars included.

Coefficients and errors as in `vector_math`. Right at inf, nan, zeros and denormals, with NumPy's signs of zeros.
"""

from __future__ import annotations

import math

import numpy as np

from irdl.codegen.cpu.llvm.library import call_library
from irdl.codegen.cpu.llvm.vector_math import VectorMath

#: pi / 2 in three parts.
HALF_PI_32 = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
HALF_PI_64 = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
#: (sin(r) - r) / r**3 and (cos(r) - 1 + r**2 / 2) / r**4, in r**2
SIN_32 = (-0.16666655242443085, 0.008332189172506332, -0.0001951828016899526)
COS_32 = (0.04166664555668831, -0.0013887310633435845, 2.4432561986031942e-05)
SIN_64 = (
    -0.1666666666666663,
    0.008333333333321912,
    -0.00019841269829450634,
    2.7557313579124775e-06,
    -2.505074179243013e-08,
    1.5895911671917946e-10,
)
COS_64 = (
    0.041666666666666595,
    -0.001388888888887334,
    2.4801587288999115e-05,
    -2.7557314215724334e-07,
    2.0875705159128554e-09,
    -1.1358734198945976e-11,
)
#: (arctan(t) - t) / t**3 in t**2, for |t| <= 1
ARCTAN_32 = (
    -0.33333152532577515,
    0.19993767142295837,
    -0.14211002992225647,
    0.10665769129991531,
    -0.07551660388708115,
    0.04320473223924637,
    -0.016363192349672318,
    0.002919422695413232,
)
ARCTAN_64 = (
    -0.3333333333333307,
    0.19999999999951748,
    -0.1428571428258287,
    0.11111111007032948,
    -0.09090906999940025,
    0.0769227977396049,
    -0.06666403329003531,
    0.058805225482641936,
    -0.05253491769151853,
    0.04722222230054132,
    -0.042188982977889866,
    0.03663590931491315,
    -0.02989403214179113,
    0.021972561799638222,
    -0.013888928811880035,
    0.007188338314541574,
    -0.0028808088990660754,
    0.0008299242208882713,
    -0.00015187434688055177,
    1.3198472453136693e-05,
)
#: (arcsin(t) - t) / t**3 in t**2, for |t| <= 1 / 2
ARCSIN_32 = (0.16666659712791443, 0.0750051960349083, 0.044514138251543045, 0.031830351799726486, 0.014355708844959736, 0.03762966766953468)
ARCSIN_64 = (
    0.16666666666666508,
    0.07500000000026172,
    0.04464285713131543,
    0.03038194442965514,
    0.022372174553523364,
    0.017352218160069176,
    0.013974769995398597,
    0.011439896908127512,
    0.010591935118490861,
    0.004280825701326099,
    0.020603969521490472,
    -0.019807756114464392,
    0.03209095150597441,
)


class AngleMath(VectorMath):
    def sin(self, x: str) -> str:
        return self._sine(x, "sin", 0)

    def cos(self, x: str) -> str:
        return self._sine(x, "cos", 1)

    def _sine(self, x: str, name: str, quarters: int) -> str:
        """x = n pi/2 + r, and then sin(r) or cos(r) by the quadrant; numbers too large for that go to the C library."""
        n, sine, cosine = self._sine_and_cosine(x)
        quadrant = self.b.binary(self.int, "add", n, self.int.constant(quarters))
        odd = self._bit(quadrant, 0)
        y = self.select(odd, cosine, sine)
        y = self.select(self._bit(quadrant, 1), self.neg(y), y)
        if not quarters:
            y = self.select(self.b.compare(self.k, "oeq", x, self.c(0.0)), x, y)
        return self._unless_large(name, x, y)

    def tan(self, x: str) -> str:
        n, sine, cosine = self._sine_and_cosine(x)
        odd = self._bit(n, 0)
        y = self.div(self.select(odd, self.neg(cosine), sine), self.select(odd, sine, cosine))
        y = self.select(self.b.compare(self.k, "oeq", x, self.c(0.0)), x, y)
        return self._unless_large("tan", x, y)

    def _sine_and_cosine(self, x: str) -> tuple[str, str, str]:
        """n, as an integer, and the sine and cosine of r."""
        n = self.b.intrinsic(self.k, "roundeven", self.mul(x, self.c(2 / math.pi)))
        r = x
        for part in HALF_PI_64 if self.double else HALF_PI_32:
            r = self.fma(n, self.c(-part), r)
        z = self.mul(r, r)
        sine = self.fma(self.mul(self.polynomial(z, SIN_64 if self.double else SIN_32), z), r, r)
        cosine = self.fma(self.mul(self.polynomial(z, COS_64 if self.double else COS_32), z), z, self.fma(z, self.c(-0.5), self.c(1.0)))
        return self._to_int(n), sine, cosine

    def _bit(self, number: str, place: int) -> str:
        moved = self.b.binary(self.int, "lshr", number, self.int.constant(place))
        return self.b.emit(f"trunc {self.int.text} {moved} to {self.int.with_dtype(np.bool_).text}")

    def _unless_large(self, name: str, x: str, y: str) -> str:
        """y, but `name(x)` of the C library where three parts of pi are not enough."""
        large = self.b.compare(self.k, "ogt", self.abs(x), self.c(1e9 if self.double else 1e5))
        return self.unless(large, y, lambda: call_library(self.b, name, self.k, [x]))

    def arctan(self, x: str) -> str:
        """Of |x| <= 1 itself, else pi/2 + arctan(-1 / |x|)."""
        a, one = self.abs(x), self.c(1.0)
        steep = self.b.compare(self.k, "ogt", a, one)
        t = self.div(self.select(steep, self.c(-1.0), a), self.select(steep, a, one))
        return self.copysign(self._arctan_from(self.select(steep, self.c(self._half_pi()[0]), self.c(0.0)), t), x)

    def arctan2(self, y: str, x: str) -> str:
        """arctan(|y| / x), from pi on where x is negative, or pi/2 + arctan(-x / |y|) where that is steep; y's sign."""
        a, b = self.abs(y), self.abs(x)
        half, steep = self._half_pi()[0], self.b.compare(self.k, "ogt", a, b)
        t = self.div(self.select(steep, self.neg(x), a), self.select(steep, a, x))
        # Two infinities are as far from each axis as two ones, two zeros as near as zero and one.
        same = self.b.compare(self.k, "oeq", a, b)
        same = self.b.binary(self.k.with_dtype(np.bool_), "and", same, self.b.compare(self.k, "uno", t, t))
        t = self.select(same, self.copysign(self.at_most(a, 1.0), x), t)
        base = self.select(self._is_negative(x), self.c(2 * half), self.c(0.0))
        return self.copysign(self._arctan_from(self.select(steep, self.c(half), base), t), y)

    def _arctan_from(self, base: str, t: str) -> str:
        """base + arctan(t), for |t| <= 1 and a base of none, one or two times pi / 2, of which what its rounding lost is added too."""
        first, second = self._half_pi()
        z = self.mul(t, t)
        near = self.fma(base, self.c(second / first), t)
        return self.add(base, self.fma(self.mul(t, z), self.polynomial(z, ARCTAN_64 if self.double else ARCTAN_32), near))

    def _is_negative(self, x: str) -> str:
        return self.b.compare(self.int, "slt", self.b.bitcast(self.k, self.int, x), self.int.constant(0))

    def arcsin(self, x: str) -> str:
        """Of |x| <= 1/2 itself, else pi/2 - 2 arcsin(sqrt((1 - |x|) / 2)); nan beyond 1."""
        a = self.abs(x)
        near, t, rest = self._arcsine(a)
        first, second = self._half_pi()
        far = self.sub(self.c(first), self.sub(self.fma(self.c(2.0), rest, self.add(t, t)), self.c(second)))
        return self.copysign(self.select(near, self.add(t, rest), far), x)

    def arccos(self, x: str) -> str:
        a = self.abs(x)
        near, t, rest = self._arcsine(a)
        first, second = self._half_pi()
        # Near zero pi/2 - arcsin(x); near one 2 arcsin(sqrt((1 - |x|) / 2)), or pi less that.
        signed_t, signed_rest = self.copysign(t, x), self.copysign(rest, x)
        middle = self.sub(self.c(first), self.sub(signed_t, self.sub(self.c(second), signed_rest)))
        twice = self.fma(self.c(2.0), rest, self.add(t, t))
        left = self.sub(self.c(2 * first), self.sub(twice, self.c(2 * second)))
        return self.select(near, middle, self.select(self.less(x, self.c(0.0)), left, twice))

    def _arcsine(self, a: str) -> tuple[str, str, str]:
        """Whether a <= 1/2, and t and arcsin(t) - t for t = a or sqrt((1 - a) / 2)."""
        near = self.b.compare(self.k, "ole", a, self.c(0.5))
        z = self.select(near, self.mul(a, a), self.fma(a, self.c(-0.5), self.c(0.5)))
        t = self.select(near, a, self.b.intrinsic(self.k, "sqrt", z))
        return near, t, self.mul(self.mul(t, z), self.polynomial(z, ARCSIN_64 if self.double else ARCSIN_32))

    def _half_pi(self) -> tuple[float, float]:
        return (math.pi / 2, 6.123233995736766e-17) if self.double else (1.5707963705062866, -4.371138828673793e-08)
