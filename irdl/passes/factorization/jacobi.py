"""Eigenvalues of symmetric matrices, and singular values, by Jacobi's rotations: NumPy code that is traced, of all matrices of a stack.

A sweep turns each pair of rows once. Its pairs are dealt out to rounds in which no row comes twice, as players are in a tournament: the
pairs of a round are the rows of the upper and of the lower half, all are turned at once, and then all rows but the first move on by one
place. A row that is added to make their number even is the first: of zeros, it is never turned with another.

G. H. Golub, C. F. Van Loan, Matrix Computations, 8.5 (two-sided, for eigenvalues) and 8.6.3 (one-sided, for singular values). The rows
of a triangular factor are turned, and not the matrix: Z. Drmac, K. Veselic, New fast and accurate Jacobi SVD algorithm, SIAM J. Matrix
Anal. Appl. 29 (2008).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.index import sure
from irdl.ops.linear import QR, transposed
from irdl.ops.spectral import SINGULAR_VALUES, SINGULAR_VECTORS
from irdl.tracing.box import literal
from irdl.tracing.control import cond, scan, while_loop

#: Sweeps: most matrices take five to ten, those whose eigenvalues are of all orders of magnitude up to twenty.
_MOST = 60
_EIGENVALUES = "LinAlgError: Eigenvalues did not converge"
_SINGULAR_VALUES = "LinAlgError: SVD did not converge"


def eigh(a: Any) -> tuple[Any, Any]:
    """The eigenvalues of symmetric matrices, of which the lower triangle is read, and their orthonormal eigenvectors."""
    n = a.shape[-1]
    a, size = _scaled(np.tril(a) + transposed(np.tril(a, -1)))
    values, a, vectors = np.diagonal(a, axis1=-2, axis2=-1), _padded(a), _padded(_ones(a))
    values = np.concatenate([np.zeros_like(values[..., :1]), values], -1) if n % 2 else values
    count = a.shape[-1]
    half, places = max(count // 2, 1), literal(np.arange(count))
    apart = (places[:, None] - places) % half != 0  # of elements that are neither on the diagonal nor a round's pair
    a = np.where(places[:, None] == places, 0, a)

    def is_left(carry: Any) -> Any:
        sweep, values, a, _ = carry
        return (sweep < _MOST) & np.any(np.abs(a) > _small(values[..., :, None], values[..., None, :]))

    def turn(carry: Any, _: Any) -> Any:
        values, a, vectors = carry
        first, second = values[..., :half], values[..., half:]
        between = np.diagonal(a[..., :half, half:], axis1=-2, axis2=-1)
        sine, half_tangent, tangent = _rotation(first, second, between, np.abs(between) <= _small(first, second))
        values = np.concatenate([first - tangent * between, second + tangent * between], -1)
        turned = np.where(apart, transposed(_turned(transposed(_turned(a, sine, half_tangent)), sine, half_tangent)), 0)
        vectors = _turned(vectors, sine, half_tangent)
        return (_moved_on(values, -1), _moved_on(_moved_on(turned, -1), -2), _moved_on(vectors, -2)), None

    _, values, _, vectors = while_loop(is_left, _sweep(turn, count), (np.int64(0), values, a, vectors))
    if n % 2:
        values, vectors = values[..., 1:], vectors[..., 1:, 1:]
    order = np.argsort(values, -1)
    values = np.take_along_axis(values, order, -1) * size[..., None]
    vectors = np.take_along_axis(vectors, order[..., None], -2)
    is_finite = np.all(np.isfinite(values), -1)
    return sure(values, is_finite[..., None], _EIGENVALUES), sure(transposed(vectors), is_finite[..., None, None], _EIGENVALUES)


def svd(a: Any) -> tuple[Any, Any]:
    """The singular values of matrices with no more columns than rows, and left singular vectors with the right ones below them."""
    m, n = a.shape[-2:]
    a, size = _scaled(a)
    factors = QR.apply([a], NO_ATTRIBUTES)
    q, rows = factors[..., :m, :], factors[..., m:, :]
    turns = _padded(_ones(rows))
    rows = np.concatenate([np.zeros_like(rows[..., :1, :]), rows], -2) if n % 2 else rows
    count = rows.shape[-2]
    half = count // 2
    eps, tiny = np.finfo(a.dtype).eps, np.finfo(a.dtype).tiny / np.finfo(a.dtype).eps
    enough = eps * max(n, 16) ** 0.5

    def is_left(carry: Any) -> Any:
        sweep, more, _, _ = carry
        return (sweep < _MOST) & more

    def turn(carry: Any, _: Any) -> Any:
        more, rows, turns = carry
        upper, lower = rows[..., :half, :], rows[..., half:, :]
        first, second, between = (np.sum(x * y, -1) for x, y in ((upper, upper), (lower, lower), (upper, lower)))
        slanted = (np.abs(between) > enough * np.sqrt(first) * np.sqrt(second)) & (np.minimum(first, second) > tiny)
        sine, half_tangent, _ = _rotation(first, second, between, ~slanted)
        more = more | np.any(slanted)
        return (more, *(_moved_on(_turned(x, sine, half_tangent), -2) for x in (rows, turns))), None

    def sweep(carry: Any) -> Any:
        done, _, rows, turns = carry
        (more, rows, turns), _ = scan(turn, (np.bool_(False), rows, turns), None, max(count - 1, 0))
        return done + 1, more, rows, turns

    _, _, rows, turns = while_loop(is_left, sweep, (np.int64(0), np.bool_(True), rows, turns))
    if n % 2:
        rows, turns = rows[..., 1:, :], turns[..., 1:, 1:]
    squares = np.sum(rows * rows, -1)
    order = np.argsort(-squares, -1)
    squares = np.take_along_axis(squares, order, -1)
    rows, turns = (np.take_along_axis(x, order[..., None], -2) for x in (rows, turns))
    is_null = squares <= tiny
    values = np.sqrt(squares)
    right = transposed(np.where(is_null[..., None], 0, rows / np.where(is_null, 1, values)[..., None]))
    right = cond(np.any(is_null), complete, lambda x: x, right)
    values, is_finite = values * size[..., None], np.all(np.isfinite(values), -1)
    vectors = sure(np.concatenate([q @ transposed(turns), right], -2), is_finite[..., None, None], _SINGULAR_VALUES)
    return sure(values, is_finite[..., None], _SINGULAR_VALUES), vectors


def complete(columns: Any) -> Any:
    """Orthonormal columns, of which the last may be zero, with others in their place that are orthogonal to them."""
    m = columns.shape[-2]
    factors = QR.apply([columns], NO_ATTRIBUTES)
    turned = np.diagonal(factors[..., m:, :], axis1=-2, axis2=-1) < 0
    return np.where(turned[..., None, :], -factors[..., :m, :], factors[..., :m, :])


def complement(columns: Any) -> Any:
    """Orthonormal columns that span what m orthonormal columns leave over of a space, by the reflections that make these."""
    m, n = columns.shape[-2:]
    whole = np.concatenate([columns, np.zeros_like(columns, shape=(*columns.shape[:-1], m - n))], -1)
    return QR.apply([whole], NO_ATTRIBUTES)[..., :m, n:]


def pinv(a: Any, rcond: Any) -> Any:
    m = a.shape[-2]
    values, vectors = (op.apply([a], NO_ATTRIBUTES) for op in (SINGULAR_VALUES, SINGULAR_VECTORS))
    counts = values > rcond[..., None] * np.max(values, -1, keepdims=True)
    inverse = np.where(counts, 1 / np.where(counts, values, 1), 0)
    return (vectors[..., m:, :] * inverse[..., None, :]) @ transposed(vectors[..., :m, :])


def _scaled(a: Any) -> tuple[Any, Any]:
    """Matrices whose largest elements are 1, and what they are to be multiplied with: no square overflows."""
    size = np.max(np.abs(a), (-1, -2), keepdims=True)
    size = np.where(size == 0, 1, size)
    return a / size, size[..., 0, 0]


def _ones(a: Any) -> Any:
    return np.zeros_like(a) + np.eye(a.shape[-1], dtype=a.dtype)


def _padded(a: Any) -> Any:
    """With a row and a column of zeros in front, if their number is odd."""
    if a.shape[-1] % 2 == 0:
        return a
    a = np.concatenate([np.zeros_like(a[..., :1]), a], -1)
    return np.concatenate([np.zeros_like(a[..., :1, :]), a], -2)


def _rotation(first: Any, second: Any, between: Any, is_diagonal: Any) -> tuple[Any, Any, Any]:
    """Of the smaller angle that turns [[first, between], [between, second]] to a diagonal matrix the sine, the tangent of its half, and
    its tangent."""
    slope = (second - first) / np.where(is_diagonal, 1, 2 * between)
    tangent = np.where(is_diagonal, 0, np.copysign(1 / (np.abs(slope) + np.sqrt(slope * slope + 1)), slope))
    cosine = 1 / np.sqrt(tangent * tangent + 1)
    sine = tangent * cosine
    return sine, sine / (1 + cosine), tangent


def _small(first: Any, second: Any) -> Any:
    """So much between two numbers on the diagonal does not change them."""
    eps = np.finfo(first.dtype).eps
    return np.maximum(eps * np.sqrt(np.abs(first)) * np.sqrt(np.abs(second)), eps**3)


def _turned(x: Any, sine: Any, half_tangent: Any) -> Any:
    """The rows of the upper and the lower half turned, pair by pair."""
    half, sine, half_tangent = x.shape[-2] // 2, sine[..., None], half_tangent[..., None]
    upper, lower = x[..., :half, :], x[..., half:, :]
    return np.concatenate([upper - sine * (lower + half_tangent * upper), lower + sine * (upper - half_tangent * lower)], -2)


def _moved_on(x: Any, axis: int) -> Any:
    """All but the first moved on by one place, up in the lower half and down in the upper one."""
    x = np.moveaxis(x, axis, 0)
    half = len(x) // 2
    if half > 1:
        x = np.concatenate([x[:1], x[half : half + 1], x[1 : half - 1], x[half + 1 :], x[half - 1 : half]], 0)
    return np.moveaxis(x, 0, axis)


def _sweep(turn: Callable[[Any, Any], Any], count: int) -> Callable[[Any], Any]:
    def sweep(carry: Any) -> Any:
        done, *state = carry
        state, _ = scan(turn, tuple(state), None, count - 1)
        return (done + 1, *state)

    return sweep
