"""arcsinh, arccosh and arctanh as vector code for float32 and float64, scalars included.

Coefficients and errors as in `vector_math`. With AVX-512 each is log(u) of a number u that is known only about: c, a number of few
digits near 1 / u from `vector_log`'s table, leaves r = c u - 1, which is computed without u, from what u is made of, so that nothing
cancels. Elsewhere, and of arguments at an end of the range, they are log1p of expressions that cancel nothing.
"""

from __future__ import annotations

import math

import numpy as np

from irdl.codegen.cpu.llvm.vector_log import NEAR_32, NEAR_64, LogMath, cells
from irdl.codegen.cpu.llvm.vector_math import Pair

#: (arctanh(s) - s) / s**3 in s**2, for |s| <= 1/63 and 1/31: within a table's cell
ARCTANH_32 = (1 / 3,)
ARCTANH_64 = (1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11)


class InverseHyperbolicMath(LogMath):
    def arcsinh(self, x: str) -> str:
        """log(a + sqrt(a**2 + 1)) of a = |x|."""
        if not self.avx512:
            return self._arcsinh_of_any(x)
        a = self.abs(x)
        square = self.fma(a, a, self.c(1.0))
        # What the sum has lost counts only where it is near 1.
        lost = self.fma(a, a, self.sub(self.c(1.0), square))
        root, half = self._root(square)
        low = self.mul(self.add(self.fma(self.neg(root), root, square), lost), half)
        place, e, c = self._scaled_inverse(self.add(a, root))
        r = self.fma(c, a, self.fma(c, root, self.c(-1.0)))
        y = self._log_of_cell(place, e, self.fma(c, low, r))
        return self.unless(self._beyond(a), self.copysign(y, x), lambda: self._arcsinh_of_any(x))

    def arccosh(self, x: str) -> str:
        """log(x + sqrt(x**2 - 1)); with t = x - 1, which is exact, that is log(1 + t + sqrt(t (t + 2)))."""
        if not self.avx512:
            return self._arccosh_of_any(x)
        t = self.sub(x, self.c(1.0))
        root, _ = self._root(self.fma(t, t, self.add(t, t)))
        place, e, c = self._scaled_inverse(self.add(x, root))
        r = self.fma(c, root, self.fma(c, t, self.sub(c, self.c(1.0))))
        # The root of zero is not to be had so.
        flags = self.k.with_dtype(np.bool_)
        special = self.b.binary(flags, "or", self._beyond(x), self.b.compare(self.k, "ole", x, self.c(1.0)))
        return self.unless(special, self._log_of_cell(place, e, r), lambda: self._arccosh_of_any(x))

    def arctanh(self, x: str) -> str:
        """log((1 + a) / (1 - a)) / 2 of a = |x|, which is arctanh(s) - log(c) / 2 with s = (c - 1 + a (c + 1)) / (c + 1 + a (c - 1)).

        c has so few digits that its sums with 1 are exact, but for an a that is all but 1.
        """
        if not self.avx512:
            return self._arctanh_of_any(x)
        a = self.abs(x)
        about = self.mul(self.add(a, self.c(1.0)), self._about("rcp14", self.sub(self.c(1.0), a)))
        place, e, c = self._scaled_inverse(about)
        less, more = self.sub(c, self.c(1.0)), self.add(c, self.c(1.0))
        s = self.div(self.fma(a, more, less), self.fma(a, less, more))
        whole, rest = self._log_of_inverse(place, e, 0.5)
        square = self.mul(s, s)
        curved = self.polynomial(square, ARCTANH_64 if self.double else ARCTANH_32)
        y = self.add(whole, self.add(s, self.fma(self.mul(square, s), curved, rest)))
        special = self.b.compare(self.k, "uge", a, self.c(1 - 2.0 ** (-40 if self.double else -14)))
        return self.unless(special, self.copysign(y, x), lambda: self._arctanh_of_any(x))

    def _beyond(self, x: str) -> str:
        """Whether the square would be too large, or x is a nan."""
        return self.b.compare(self.k, "ugt", x, self.c(2.0 ** (500 if self.double else 60)))

    def _about(self, name: str, x: str) -> str:
        """To 14 binary digits 1 / x ("rcp14") or 1 / sqrt(x) ("rsqrt14")."""
        full = f"llvm.x86.avx512.{name}.{'pd' if self.double else 'ps'}.512"
        text, mask = self.k.text, f"i{self.k.lanes}"
        self.b.declarations.add(f"declare {text} @{full}({text}, {text}, {mask})")
        return self.b.emit(f"call {text} @{full}({text} {x}, {text} zeroinitializer, {mask} -1)")

    def _root(self, x: str) -> Pair:
        """sqrt(x), and half its inverse to 14 binary digits, 28 of float64."""
        inverse = self._about("rsqrt14", x)
        if self.double:
            root = self.b.intrinsic(self.k, "sqrt", x)
            inverse = self.fma(self.fma(self.neg(inverse), root, self.c(1.0)), inverse, inverse)
            return root, self.mul(inverse, self.c(0.5))
        half = self.mul(inverse, self.c(0.5))
        about = self.mul(x, inverse)
        return self.fma(self.fma(self.neg(about), about, x), half, about), half

    def _scaled_inverse(self, x: str) -> tuple[str, str, str]:
        """The place of x's mantissa in the table, x's exponent, and of about 1 / x some digits."""
        m, e = self._mantissa_of_cells(x)
        table = cells(self.k.dtype, math.e)
        place = self._place(m, table)
        upper = len(table.inverses) // 2
        inverses = (*table.inverses[:upper], *(inverse / 2 for inverse in table.inverses[upper:]))
        return place, e, self._scalef(self._look_up(inverses, place), self.neg(e))

    def _log_of_cell(self, place: str, e: str, r: str) -> str:
        """log((1 + r) / c), c as `_scaled_inverse` gives it."""
        whole, rest = self._log_of_inverse(place, e)
        near = self.polynomial(r, NEAR_64 if self.double else NEAR_32)
        return self.add(whole, self.add(r, self.fma(self.mul(r, r), near, rest)))

    # log1p of what cancels nothing.

    def _arcsinh_of_any(self, x: str) -> str:
        """log(|x| + sqrt(x**2 + 1)) = log1p(|x| + x**2 / (1 + sqrt(x**2 + 1)))."""
        a = self.abs(x)
        square = self.mul(a, a)
        root = self.b.intrinsic(self.k, "sqrt", self.add(square, self.c(1.0)))
        t = self.add(a, self.div(square, self.add(root, self.c(1.0))))
        return self.copysign(self._log_of_twice(a, t), x)

    def _arccosh_of_any(self, x: str) -> str:
        """log(x + sqrt(x**2 - 1)) = log1p(t + sqrt(t (t + 2))) with t = x - 1."""
        t = self.sub(x, self.c(1.0))
        t = self.select(self.less(t, self.c(0.0)), self.c(math.nan), t)
        return self._log_of_twice(x, self.add(t, self.b.intrinsic(self.k, "sqrt", self.mul(t, self.add(t, self.c(2.0))))))

    def _arctanh_of_any(self, x: str) -> str:
        """log((1 + x) / (1 - x)) / 2."""
        a = self.abs(x)
        y = self.log1p(self.div(self.add(a, a), self.sub(self.c(1.0), a)))
        return self.copysign(self.mul(y, self.c(0.5)), x)

    def _log_of_twice(self, x: str, t: str) -> str:
        """log1p(t), but log(2 x) for a large x, of which 1 + t is twice as much, or was too large on the way."""
        large = self.b.compare(self.k, "ogt", x, self.c(2.0**28 if self.double else 2.0**13))
        u, lost = self._sum(self.c(1.0), t, ordered=False)
        return self._log_of_sum(self.select(large, x, u), self.select(large, self.c(0.0), lost), large)
