"""NumPy's functions of polynomials, highest power first, where no length depends on numbers; they are compositions, as in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import finfo, is_complex, is_float, is_inexact
from irdl.tracing.box import literal, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.factorizations import inv
from irdl.tracing.numpy.layout import INSTEAD
from irdl.tracing.numpy.shaping import reshape
from irdl.tracing.numpy.signals import vander
from irdl.tracing.numpy.spectral import lstsq
from irdl.tracing.numpy.table import as_box, traced


def _line(p: Any) -> Any:
    if isinstance(p, np.poly1d):
        raise TraceError(f"np.poly1d beside traced numbers cannot be traced: give its coefficients{user_line()}")
    box = as_box(p)
    return box if box.ndim else reshape(box, (1,))


@traced(np.polyfit)
def polyfit(x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    places, right, order = as_box(x) + 0.0, as_box(y) + 0.0, int(deg) + 1
    for wrong, message in (
        (order < 1, "expected deg >= 0"),
        (places.ndim != 1, "expected 1D vector for x"),
        (places.size == 0, "expected non-empty vector for x"),
        (right.ndim < 1 or right.ndim > 2, "expected 1D or 2D array for y"),
        (places.shape[:1] != right.shape[:1], "expected x and y to have same length"),
    ):
        if wrong:
            raise (ValueError if order < 1 else TypeError)(f"{message}{user_line()}")
    left, many = vander(places, order), right.ndim == 2
    if w is not None:
        weights = as_box(w) + 0.0
        if weights.shape != right.shape[:1]:
            raise TypeError(f"expected w and y to have the same length{user_line()}")
        left, right = left * weights[:, None], right * (weights[:, None] if many else weights)
    rcond = len(places) * finfo(places.dtype).eps if rcond is None else rcond
    scale = np.sqrt(np.sum(left * left, 0))
    left = left / scale
    found, residuals, rank, values = lstsq(left, right, rcond)
    found = wrap((found / (scale[:, None] if many else scale)).value)
    if full:
        return found, residuals, rank, values, rcond
    if not cov:
        return found
    base = inv(left.T @ left) / (scale[:, None] * scale)
    factor: Any = 1
    if not (isinstance(cov, str) and cov == "unscaled"):
        if len(places) <= order:
            raise ValueError(f"the number of data points must exceed order to scale the covariance matrix{user_line()}")
        factor = residuals / (len(places) - order)
    return found, base[:, :, None] * factor if many else base * factor


def ascending_polyval(x: Any, c: Any, tensor: bool = True) -> Any:
    """`np.polynomial.polynomial.polyval`, lowest power first, by Horner's rule as NumPy computes it."""
    box, coefficients = as_box(x), _line(c)
    coefficients = coefficients if is_inexact(coefficients.dtype) else coefficients.astype(np.float64)
    if tensor:
        coefficients = reshape(coefficients, coefficients.shape + (1,) * box.ndim)
    found = coefficients[-1] + box * 0
    for place in range(2, len(coefficients) + 1):
        found = coefficients[-place] + found * box
    return found


def _added(subtracts: bool) -> Any:
    def rule(a1: Any, a2: Any) -> Any:
        one, two = _line(a1), _line(a2)
        size = max(one.size, two.size)
        one, two = (np.concatenate([np.zeros_like(x, shape=(size - x.size,)), x]) for x in (one, two))
        return one - two if subtracts else one + two

    return rule


traced(np.polyadd)(_added(False))
traced(np.polysub)(_added(True))


@traced(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    order = int(m)
    if order < 0:
        raise ValueError(f"Order of derivative must be positive (see polyint){user_line()}")
    found = _line(p)
    for _ in range(order):
        found = found[:-1] * literal(np.arange(max(found.size - 1, 0), 0, -1))
    return wrap(found.value)


@traced(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    order = int(m)
    if order < 0:
        raise ValueError(f"Order of integral must be positive (see polyder){user_line()}")
    constants = _line(0.0 if k is None else k)
    if constants.size == 1 and order > 1:
        constants = constants[0] * literal(np.ones(order))
    if constants.size < order or constants.ndim != 1:
        raise ValueError(f"k must be a scalar or a rank-1 array of length 1 or >m.{user_line()}")
    found = _line(p)
    for place in range(order):
        found = np.concatenate([found / literal(np.arange(found.size, 0, -1)), reshape(constants[place], (1,))])
    return found


@traced(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    zeros = _line(seq_of_zeros)
    if zeros.ndim != 1 or is_complex(zeros.dtype):
        raise TraceError(f"np.poly is traced of a vector of real numbers: those of a matrix are its eigenvalues{user_line()}")
    if not zeros.size:
        return 1.0
    zeros = zeros if is_float(zeros.dtype) else zeros.astype(np.float64)
    found = np.ones_like(zeros, shape=(1,))
    for zero in zeros:
        found = np.concatenate([found, found[:1] * 0]) - np.concatenate([found[:1] * 0, found]) * zero
    return found


_TRIMMED = "it leaves out leading zeros, so that its length depends on numbers; "
INSTEAD[np.polymul] = _TRIMMED + "use np.convolve"
INSTEAD[np.polydiv] = _TRIMMED + "where the divisor's first number is not zero, write the steps of the division as a loop"
INSTEAD[np.roots] = _TRIMMED + "of which roots are complex, too; find them outside"
INSTEAD[np.trim_zeros] = "how many zeros it leaves out is not known while tracing; keep them, or weigh them with a mask"
for _function in (np.argwhere, np.flatnonzero):
    INSTEAD[_function] = (
        "it has as many results as there are numbers other than 0, which is not known while tracing; use np.where(mask, x, y)"
    )
INSTEAD[np.histogram2d] = INSTEAD[np.histogramdd] = (
    "find the bins with np.searchsorted, and count them with np.bincount(i * columns + j, minlength=rows * columns)"
)
INSTEAD[np.i0] = "sum its series, or compute it outside"
INSTEAD[np.packbits] = INSTEAD[np.unpackbits] = "use shifts: np.sum(bits << np.arange(7, -1, -1), -1, dtype=np.uint8), and x >> n & 1"
