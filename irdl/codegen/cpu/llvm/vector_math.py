"""exp and its kin, tanh, sinh, cosh, sigmoid, erf and fmod as vector code, for float32 and float64, scalars included.

Coefficients are minimax fits (Lawson's reweighted least squares, rounded one at a time, lowest order first). Errors over
all float32 values, and the ranges, are in docs/vector-math.md. Right at inf, nan, zeros and denormals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind
from irdl.codegen.cpu.llvm.library import call_library

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453
#: ln 2 in two parts whose sum is exact enough for n * ln 2 (Cody and Waite).
LN2_32 = (0.693145751953125, 1.428606765330187e-06)
LN2_64 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)

#: What ln 2 is beyond its float32, and beyond its float64.
LN2_REST_32, LN2_REST_64 = -1.904654299957768e-09, 2.3190468138462996e-17

# Lowest order first.
EXP_32 = (1.0, 1.0, 0.4999999403953552, 0.16666516661643982, 0.041668280959129333, 0.008369249291718006, 0.001382077462039888)
EXP_64 = (
    1.0,
    1.0,
    0.5000000000000011,
    0.16666666666666402,
    0.04166666666652294,
    0.008333333333498349,
    0.00138888889461047,
    0.00019841269504844065,
    2.4801490079604057e-05,
    2.755758171137246e-06,
    2.7631456997540653e-07,
    2.5003538741428187e-08,
)
#: (exp(r) - 1 - r) / r**2
EXPM1_32 = (0.4999999701976776, 0.16666541993618011, 0.041667431592941284, 0.008366874419152737, 0.0013871865812689066)
EXPM1_64 = (
    0.5,
    0.16666666666666677,
    0.04166666666666659,
    0.008333333333321183,
    0.0013888888888935796,
    0.00019841269887713295,
    2.480158721439366e-05,
    2.755724223538913e-06,
    2.755737107183714e-07,
    2.5109837199562616e-08,
    2.0884520185972465e-09,
)
#: (sinh(x) - x) / x**3 in x**2, for |x| <= 0.36
SINH_32 = (0.1666666716337204, 0.008333181962370872, 0.0001996637147385627)
SINH_64 = (0.16666666666666688, 0.00833333333331178, 0.0001984126991217198, 2.7557217442587747e-06, 2.5118420704767704e-08)

#: A number and what it leaves of a longer one.
Pair = tuple[str, str]


class VectorMath:
    """The functions for one type; each method takes and gives the name of a value."""

    def __init__(self, builder: IRBuilder, kind: Kind) -> None:
        self.b, self.k = builder, kind
        #: AVX-512 scales by a power of two, and takes exponent and mantissa, in one instruction each
        self.avx512 = builder.target.avx512 and kind.lanes * kind.bits == 512
        self.double = kind.dtype == np.float64
        self.int = kind.with_dtype(np.int64 if self.double else np.int32)
        self.mantissa, self.bias = (52, 1023) if self.double else (23, 127)

    def c(self, number: float) -> str:
        return self.k.constant(number)

    def add(self, x: str, y: str) -> str:
        return self.b.binary(self.k, "fadd", x, y)

    def sub(self, x: str, y: str) -> str:
        return self.b.binary(self.k, "fsub", x, y)

    def mul(self, x: str, y: str) -> str:
        return self.b.binary(self.k, "fmul", x, y)

    def div(self, x: str, y: str) -> str:
        return self.b.binary(self.k, "fdiv", x, y)

    def fma(self, a: str, b: str, c: str) -> str:
        """Rounded as if once, near enough: what functions that keep what an operation has lost rely on."""
        if self.b.target.fma:
            return self.b.fma(self.k, a, b, c)
        return self._long_fma(a, b, c) if self.double else self._wide_fma(a, b, c)

    def _wide_fma(self, *operands: str) -> str:
        """float32's in float64, whose products are exact."""
        wide = VectorMath(self.b, self.k.with_dtype(np.float64))
        a, b, c = (self.b.emit(f"fpext {self.k.text} {x} to {wide.k.text}") for x in operands)
        return self.b.emit(f"fptrunc {wide.k.text} {wide.add(wide.mul(a, b), c)} to {self.k.text}")

    def _long_fma(self, a: str, b: str, c: str) -> str:
        """float64's by what the product and the sum have lost (T. J. Dekker, A floating-point technique for extending the available
        precision, 1971)."""
        (a1, a2), (b1, b2) = self._halves(a), self._halves(b)
        product = self.mul(a, b)
        lost = self.add(self.sub(self.mul(a1, b1), product), self.mul(a1, b2))
        lost = self.add(self.add(lost, self.mul(a2, b1)), self.mul(a2, b2))
        total = self.add(product, c)
        other = self.sub(total, product)
        dropped = self.add(self.sub(product, self.sub(total, other)), self.sub(c, other))
        exact = self.add(total, self.add(dropped, lost))
        # Beyond the range of the halves, and of infinities, the plain sum.
        return self.select(self.b.compare(self.k, "uno", exact, exact), total, exact)

    def _halves(self, x: str) -> tuple[str, str]:
        """A sum of two numbers of half as many bits."""
        scaled = self.mul(x, self.c(2.0**27 + 1))
        high = self.sub(scaled, self.sub(scaled, x))
        return high, self.sub(x, high)

    def _sum(self, x: str, y: str, ordered: bool) -> Pair:
        """The rounded sum, and what it lost. `ordered`: |x| >= |y|, or x is 0."""
        total = self.add(x, y)
        if ordered:
            return total, self.sub(y, self.sub(total, x))
        other = self.sub(total, x)
        return total, self.add(self.sub(x, self.sub(total, other)), self.sub(y, other))

    def neg(self, x: str) -> str:
        return self.b.emit(f"fneg {self.k.text} {x}")

    def abs(self, x: str) -> str:
        return self.b.intrinsic(self.k, "fabs", x)

    def copysign(self, x: str, y: str) -> str:
        return self.b.intrinsic(self.k, "copysign", x, y)

    def less(self, x: str, y: str) -> str:
        return self.b.compare(self.k, "olt", x, y)

    def select(self, condition: str, x: str, y: str) -> str:
        return self.b.select(self.k, condition, x, y)

    def at_most(self, x: str, limit: float) -> str:
        """min(x, limit); a nan stays."""
        return self.select(self.b.compare(self.k, "ogt", x, self.c(limit)), self.c(limit), x)

    def at_least(self, x: str, limit: float) -> str:
        return self.select(self.b.compare(self.k, "olt", x, self.c(limit)), self.c(limit), x)

    def polynomial(self, x: str, coefficients: tuple[float, ...]) -> str:
        """Horner's rule; coefficients lowest order first. The last steps count most: of a long polynomial the even and the odd terms
        beyond are summed by themselves, which makes the chain shorter."""
        first, rest = coefficients[:-1], coefficients[-1:]
        if len(coefficients) > 8:
            first, rest = coefficients[:2], coefficients[2:]
        result = self.c(rest[0])
        if len(rest) > 1:
            square = self.mul(x, x)
            result = self.fma(self.polynomial(square, rest[1::2]), x, self.polynomial(square, rest[::2]))
        for coefficient in reversed(first[1:]):
            result = self.b.fma(self.k, result, x, self.c(coefficient))
        return self.fma(result, x, self.c(first[0])) if first else result

    def _estrin(self, x: str, coefficients: Sequence[float]) -> str:
        """As `polynomial`, by Estrin's scheme: terms are summed in pairs, these in pairs by x**2, and so on, a few multiplications
        more and a chain as short as the logarithm of the degree."""
        terms, power = [self.c(coefficient) for coefficient in coefficients], x
        while len(terms) > 1:
            pairs = [self.b.fma(self.k, high, power, low) for low, high in zip(terms[::2], terms[1::2], strict=False)]
            terms = pairs + terms[2 * len(pairs) :]
            power = self.mul(power, power)
        return terms[0]

    def _to_int(self, x: str) -> str:
        # `freeze` keeps a nan from making the whole result undefined; the caller's arithmetic carries the nan itself.
        converted = self.b.emit(f"fptosi {self.k.text} {x} to {self.int.text}")
        return self.b.emit(f"freeze {self.int.text} {converted}")

    def _exponent(self, n: str) -> str:
        """2**n for an integer vector n in the normal range."""
        biased = self.b.binary(self.int, "add", n, self.int.constant(self.bias))
        shifted = self.b.binary(self.int, "shl", biased, self.int.constant(self.mantissa))
        return self.b.bitcast(self.int, self.k, shifted)

    def power_of_two(self, n: str) -> str:
        """2**n for integral n in the normal range."""
        return self._scalef(self.c(1.0), n) if self.avx512 else self._exponent(self._to_int(n))

    def _scalef(self, x: str, n: str) -> str:
        return self._avx512("scalef", (self.k.text, x), (self.k.text, n))

    def _avx512(self, name: str, *operands: tuple[str, str]) -> str:
        """An instruction of AVX-512, unmasked, in the usual rounding mode."""
        full = f"llvm.x86.avx512.mask.{name}.{'pd' if self.double else 'ps'}.512"
        text, mask = self.k.text, f"i{self.k.lanes}"
        self.b.declarations.add(f"declare {text} @{full}({', '.join([*(type for type, _ in operands), text, mask, 'i32'])})")
        given = [*(f"{type} {value}" for type, value in operands), f"{text} zeroinitializer", f"{mask} -1", "i32 4"]
        return self.b.emit(f"call {text} @{full}({', '.join(given)})")

    def scale(self, x: str, n: str) -> str:
        """x * 2**n for integral n, right where the result overflows or is denormal."""
        if self.avx512:
            return self._scalef(x, n)
        whole = self._to_int(n)
        half = self.b.binary(self.int, "ashr", whole, self.int.constant(1))
        rest = self.b.binary(self.int, "sub", whole, half)
        return self.mul(self.mul(x, self._exponent(half)), self._exponent(rest))

    def reduce(self, x: str) -> tuple[str, str]:
        """n = round(x / ln 2) and r = x - n ln 2."""
        n = self.b.intrinsic(self.k, "roundeven", self.mul(x, self.c(LOG2E)))
        high, low = LN2_64 if self.double else LN2_32
        r = self.fma(n, self.c(-high), x)
        return n, self.fma(n, self.c(-low), r)

    def exp(self, x: str) -> str:
        x = self.at_least(self.at_most(x, 710.0 if self.double else 89.0), -746.0 if self.double else -104.5)
        n, r = self.reduce(x)
        return self.scale(self.polynomial(r, EXP_64 if self.double else EXP_32), n)

    def _expm1_reduced(self, r: str) -> str:
        q = self.polynomial(r, EXPM1_64 if self.double else EXPM1_32)
        return self.fma(self.mul(r, r), q, r)

    def expm1(self, x: str) -> str:
        """With exp(x) = 2^n (1 + s): 2^n s + (2^n - 1)."""
        x = self.at_least(self.at_most(x, 710.0 if self.double else 89.0), -40.0 if self.double else -20.0)
        n, r = self.reduce(x)
        s = self._expm1_reduced(r)
        # 2^n may be too large where the result is not yet: half of it, twice.
        half = self.scale(self.c(0.5), n)
        y = self.fma(half, s, self.sub(half, self.c(0.5)))
        return self.copysign(self.add(y, y), x)

    def exp2(self, x: str) -> str:
        x = self.at_least(self.at_most(x, 1025.0 if self.double else 129.0), -1077.0 if self.double else -151.0)
        n = self.b.intrinsic(self.k, "roundeven", x)
        r = self.sub(x, n)
        low = LN2 - float(self.k.dtype.type(LN2))
        # r ln 2 in two parts, the smaller one to first order.
        product = self.mul(r, self.c(LN2))
        rest = self.fma(r, self.c(LN2), self.neg(product))
        rest = self.fma(r, self.c(low), rest)
        y = self.polynomial(product, EXP_64 if self.double else EXP_32)
        return self.scale(self.fma(y, rest, y), n)

    def _expm1_soon(self, r: str, linear: str, scale: float = 1.0) -> str:
        """exp(r * scale) - 1 for small r, by a chain as short as it gets: what waits for it is a step of a loop over time. `linear`:
        r * scale, with more digits."""
        terms = [c * scale ** (k + 2) for k, c in enumerate(EXPM1_64 if self.double else EXPM1_32)]
        square = self.mul(r, r)
        first = self.fma(square, self.b.fma(self.k, self.c(terms[1]), r, self.c(terms[0])), linear)
        return self.fma(self.mul(square, square), self._estrin(r, terms[2:]), first)

    def tanh(self, x: str) -> str:
        """(1 - e) / (1 + e) of e = exp(-2|x|) = 2^n (1 + s). What n times the rounding of ln 2 is off is nothing beside 1 - e."""
        limit = 20.0 if self.double else 9.1
        y = self.at_least(self.neg(self.abs(x)), -limit)
        n = self.b.intrinsic(self.k, "roundeven", self.mul(y, self.c(2 * LOG2E)))
        r = self.fma(n, self.c(-LN2 / 2), y)
        s = self._expm1_soon(r, self.add(r, r), 2.0)
        power, one = self.power_of_two(n), self.c(1.0)
        top = self.fma(self.neg(power), s, self.sub(one, power))
        return self.copysign(self.div(top, self.fma(power, s, self.add(one, power))), x)

    def sigmoid(self, x: str) -> str:
        """With exp(-x) = 2^m (1 + s): 2^-m / ((1 + 2^-m) + s); denormal results come out right. What the rounding of ln 2 is off
        counts in float32's linear term alone."""
        y = self.at_least(self.at_most(x, 60.0 if self.double else 40.0), -746.0 if self.double else -104.5)
        n = self.b.intrinsic(self.k, "roundeven", self.mul(y, self.c(LOG2E)))
        r = self.fma(n, self.c(LN2), self.neg(y))
        exact = self.fma(n, self.c(LN2_REST_64 if self.double else LN2_REST_32), r)
        s = self._expm1_soon(exact if self.double else r, exact)
        power = self.scale(self.c(1.0), n)
        return self.div(power, self.add(self.add(power, self.c(1.0)), s))

    def erf(self, x: str) -> str:
        """float32 only: two polynomials after N. Juffa's scheme, 1 - exp(p(|x|)) and x + x q(x**2)."""
        size = self.abs(x)
        capped = self.at_most(size, 4.0)
        square, capped_square = self.mul(x, x), self.mul(capped, capped)
        r = self.fma(self.c(-1.72853470e-5), capped, self.c(3.83197126e-4))
        u = self.fma(self.c(-3.88396438e-3), capped, self.c(2.42546219e-2))
        r = self.fma(r, capped_square, u)
        for coefficient in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
            r = self.fma(r, capped, self.c(coefficient))
        r = self.fma(r, capped, self.neg(capped))
        n, rest = self.reduce(r)
        large = self.sub(self.c(1.0), self.scale(self.polynomial(rest, EXP_32), n))
        q = self.c(-5.96761703e-4)
        for coefficient in (4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1):
            q = self.fma(q, square, self.c(coefficient))
        small = self.fma(q, x, x)
        is_large = self.b.compare(self.k, "ogt", size, self.c(0.927734375))
        return self.select(is_large, self.copysign(large, x), small)

    def sinh(self, x: str) -> str:
        """(exp(|x|) - exp(-|x|)) / 2; near zero a polynomial, since that would cancel."""
        half, rest = self._half_exponentials(self.abs(x))
        z = self.mul(x, x)
        near = self.fma(self.mul(x, z), self.polynomial(z, SINH_64 if self.double else SINH_32), x)
        return self.select(self.less(self.abs(x), self.c(0.36)), near, self.copysign(self.sub(half, rest), x))

    def cosh(self, x: str) -> str:
        half, rest = self._half_exponentials(self.abs(x))
        return self.add(half, rest)

    def _half_exponentials(self, x: str) -> tuple[str, str]:
        """exp(x) / 2, finite as far as that is, and exp(-x) / 2."""
        x = self.at_most(x, 711.0 if self.double else 90.0)
        n, r = self.reduce(x)
        half = self.scale(self.mul(self.polynomial(r, EXP_64 if self.double else EXP_32), self.c(0.5)), n)
        return half, self.div(self.c(0.25), half)

    def fmod(self, x: str, y: str) -> str:
        """x - trunc(x / y) y, which a fused multiply-add gives exactly where the quotient is small; it may be one too large."""
        quotient = self.b.intrinsic(self.k, "trunc", self.div(x, y))
        rest = self.fma(self.neg(quotient), y, x)
        crossed = self.less(self.mul(rest, self.copysign(self.c(1.0), x)), self.c(0.0))
        rest = self.select(crossed, self.add(rest, self.copysign(y, x)), rest)
        # Nor is it so with infinite divisors; and where anything is a nan, so is the quotient.
        flag = self.k.with_dtype(np.bool_)
        large = self.b.compare(self.k, "uge", self.abs(quotient), self.c(2.0**51 if self.double else 2.0**22))
        large = self.b.binary(flag, "or", large, self.b.compare(self.k, "oeq", self.abs(y), self.c(math.inf)))
        return self.unless(large, self.copysign(rest, x), lambda: call_library(self.b, "fmod", self.k, [x, y]))

    def unless(self, condition: str, y: str, other: Callable[[], str]) -> str:
        """y, but in all lanes what `other` makes where the condition holds, which is rare, in any."""
        b, flags = self.b, self.k.with_dtype(np.bool_)
        if flags.lanes:
            packed = b.emit(f"bitcast {flags.text} {condition} to i{flags.lanes}")
            condition = b.emit(f"icmp ne i{flags.lanes} {packed}, 0")
        slot = b.alloca(self.k.text)
        b.do(f"store {self.k.text} {y}, ptr {slot}, align 64")
        b.detour(condition, lambda: b.do(f"store {self.k.text} {other()}, ptr {slot}, align 64"))
        return b.fresh(f"load {self.k.text}, ptr {slot}, align 64")
