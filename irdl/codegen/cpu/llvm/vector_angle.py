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
#: (arctan(t) - t) / t**3 in t**2, for |t| <= sqrt(2) - 1
ARCTAN_32 = (-0.33333316445350647, 0.1999853253364563, -0.14244510233402252, 0.10600165277719498, -0.060927070677280426)
ARCTAN_64 = (
    -0.3333333333333333,
    0.19999999999997817,
    -0.14285714285299725,
    0.11111111078199011,
    -0.09090907672435512,
    0.0769227028325155,
    -0.06666023356067804,
    0.05874893794092893,
    -0.05204071102958358,
    0.04443417990676704,
    -0.03204437235060228,
    0.013722113779014172,
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
#: pi / 4 in two parts, of which three times the first is exact.
QUARTER_PI_32 = (0.785398006439209, 1.5695823663008923e-07)
QUARTER_PI_64 = (0.7853981633974483, 3.061616997868383e-17)


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
        """Of |x| <= sqrt(2) - 1 itself, else pi/4 + arctan((|x| - 1) / (|x| + 1)) or, from sqrt(2) + 1 on, pi/2 - arctan(1 / |x|)."""
        a, one, zero = self.abs(x), self.c(1.0), self.c(0.0)
        middle, far = (self.b.compare(self.k, "ogt", a, self.c(limit)) for limit in (math.sqrt(2) - 1, math.sqrt(2) + 1))
        top = self.select(far, self.c(-1.0), self.select(middle, self.sub(a, one), a))
        bottom = self.select(far, a, self.select(middle, self.add(a, one), one))
        quarters = self.select(far, self.c(2.0), self.select(middle, one, zero))
        return self.copysign(self._turned(self.div(top, bottom), one, quarters), x)

    def arctan2(self, y: str, x: str) -> str:
        """The smaller over the larger of |x| and |y|, as in `arctan`, turned to the eighth of the circle."""
        a, b, one, zero = self.abs(y), self.abs(x), self.c(1.0), self.c(0.0)
        steep = self.b.compare(self.k, "ogt", a, b)
        large, small = self.select(steep, a, b), self.select(steep, b, a)
        # Neither their sum nor their quotient may overflow or be denormal: both are scaled.
        huge = self.b.compare(self.k, "ogt", large, self.c(2.0 ** (1000 if self.double else 120)))
        tiny = self.less(large, self.c(2.0 ** (-900 if self.double else -90)))
        factor = self.select(huge, self.c(2.0**-60 if self.double else 2.0**-20), one)
        factor = self.select(tiny, self.c(2.0**110 if self.double else 2.0**60), factor)
        large, small = self.mul(large, factor), self.mul(small, factor)
        # Two infinities are as far from each axis as two ones, two zeros as near as zero and one.
        infinite = self.b.compare(self.k, "oeq", small, self.c(math.inf))
        large, small = self.select(infinite, one, large), self.select(infinite, one, small)
        large = self.select(self.b.compare(self.k, "oeq", large, zero), one, large)
        middle = self.b.compare(self.k, "ogt", small, self.mul(large, self.c(math.sqrt(2) - 1)))
        t = self.div(self.select(middle, self.sub(small, large), small), self.select(middle, self.add(small, large), large))
        # arctan(y / x) is then quarters * pi/4 + sign * arctan(t).
        left = self._is_negative(x)
        quarters, sign = self.select(middle, one, zero), one
        quarters = self.select(steep, self.sub(self.c(2.0), quarters), quarters)
        sign = self.select(steep, self.c(-1.0), sign)
        quarters = self.select(left, self.sub(self.c(4.0), quarters), quarters)
        sign = self.select(left, self.neg(sign), sign)
        angle = self.copysign(self._turned(t, sign, quarters), y)
        return self.select(self.b.compare(self.k, "uno", x, y), self.add(x, y), angle)

    def _is_negative(self, x: str) -> str:
        return self.b.compare(self.int, "slt", self.b.bitcast(self.k, self.int, x), self.int.constant(0))

    def _turned(self, t: str, sign: str, quarters: str) -> str:
        """quarters * pi/4 + sign * arctan(t)."""
        z = self.mul(t, t)
        rest = self.mul(self.mul(t, z), self.polynomial(z, ARCTAN_64 if self.double else ARCTAN_32))
        first, second = QUARTER_PI_64 if self.double else QUARTER_PI_32
        # The sum of the large parts, and what it lost.
        whole, turned = self.mul(quarters, self.c(first)), self.mul(sign, t)
        angle = self.add(whole, turned)
        lost = self.sub(turned, self.sub(angle, whole))
        small = self.fma(sign, rest, self.fma(quarters, self.c(second), lost))
        return self.add(angle, small)

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
