"""Functions of `scipy.linalg` and `scipy.signal` in terms of NumPy's: systems of triangular matrices and Cholesky factors, and filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex, is_float
from irdl.tracing.box import is_box, literal
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.table import as_box

#: by their packages and names
FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}


def _of(package: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[package, function.__name__] = function
        return function

    return record


def _matrix(a: Any) -> Any:
    """A real matrix, or a stack of them, as SciPy computes with it: integers in float64."""
    box = as_box(a)
    if is_complex(box.dtype):
        raise TraceError(f"functions of scipy.linalg are traced of real matrices{user_line()}")
    return box if is_float(box.dtype) and box.dtype.itemsize > 2 else box.astype(np.float64)


@_of("scipy.linalg")
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The factor whose triangle `lower` names, of the matrix whose same triangle is given."""
    a = _matrix(a)
    found = np.linalg.cholesky(a) if lower else np.linalg.cholesky(a.mT).mT
    return found.copy(order="F") if a.ndim == 2 else found.copy()


@_of("scipy.linalg")
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The factor, beside it what the matrix has in its other triangle, and which it is."""
    a = _matrix(a)
    factor = cholesky(a, lower)
    own = np.tri(a.shape[-1], k=0 if lower else -1, dtype=bool) == bool(lower)
    return np.where(literal(own), factor, a), lower


@_of("scipy.linalg")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    factor, lower = c_and_lower
    return solve_triangular(factor, solve_triangular(factor, b, trans=not lower, lower=lower), trans=bool(lower), lower=lower)


@_of("scipy.linalg")
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """x of a x = b, or of its transpose, for one triangle of a.

    Raises:
        LinAlgError: at run time, where a number on the diagonal is zero.
    """
    a = _matrix(a)
    triangle = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        triangle = np.where(literal(np.eye(a.shape[-1], dtype=bool)), 1, triangle)
    return np.linalg.solve(triangle.mT if trans in (1, 2, "T", "C") else triangle, as_box(b))


@_of("scipy.linalg")
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: Any = None,
    transposed: bool = False,
) -> Any:
    if assume_a not in (None, "gen", "general"):
        raise TraceError(f"scipy.linalg.solve with assume_a={assume_a!r} cannot be traced: take cho_factor and cho_solve{user_line()}")
    a = _matrix(a)
    return np.linalg.solve(a.mT if transposed else a, as_box(b))


@_of("scipy.signal")
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """A rational filter along an axis, step by step; with `zi`, the state before, also the state behind.

    Raises:
        ValueError: the coefficients are no vectors, or the first of `a` is known to be 0.
    """
    from irdl.tracing.control import scan  # which imports what this module is for

    above, below, signal = (as_box(item) for item in (b, a, x))
    if above.ndim > 1 or below.ndim > 1 or not above.size or not below.size:
        raise ValueError(f"the coefficients of a filter are vectors of one or more numbers{user_line()}")
    above, below = np.reshape(above, (-1,)), np.reshape(below, (-1,))
    if not is_box(below[0]) or (below[0].known is not None and not below[0].known):
        raise ValueError(f"a[0] of a filter is 0{user_line()}")
    dtype = np.result_type(above.dtype, below.dtype, signal.dtype, *([] if zi is None else [as_box(zi).dtype]))
    dtype = dtype if np.issubdtype(dtype, np.inexact) else np.dtype(np.float64)
    order = max(above.size, below.size)
    above, below = ((np.pad(item, (0, order - item.size)) / below[0]).astype(dtype) for item in (above, below))
    lines = np.moveaxis(signal.astype(dtype), axis, 0)
    inner = (1,) * (lines.ndim - 1)
    above, below = np.reshape(above, (order, *inner)), np.reshape(below, (order, *inner))
    shape = (order - 1, *lines.shape[1:])
    state = np.zeros_like(lines, shape=shape)
    if zi is not None:
        state = np.broadcast_to(np.moveaxis(as_box(zi).astype(dtype), axis, 0), shape)

    def step(state: Any, sample: Any) -> Any:
        if order == 1:
            return state, above[0] * sample
        out = above[0] * sample + state[0]
        shifted = np.concatenate([state[1:], np.zeros_like(state[:1])])
        return shifted + above[1:] * sample - below[1:] * out, out

    state, found = scan(step, state, lines)
    found = np.moveaxis(found, 0, axis)
    return found if zi is None else (found, np.moveaxis(state, 0, axis))
