"""NumPy's eigenvalues of symmetric matrices and singular values, and what it makes of them (`irdl/ops/spectral.py`).

All is computed in float64, as in NumPy: which singular values count depends on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.ir.op import NO_ATTRIBUTES, Op
from irdl.ops.index import sure
from irdl.ops.spectral import COMPLEMENT, EIGENVALUES, EIGENVECTORS, PINV, SINGULAR_VALUES, SINGULAR_VECTORS
from irdl.tracing.box import to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.factorizations import floats_of, knowing, matrices_of
from irdl.tracing.numpy.shaping import broadcast_to
from irdl.tracing.numpy.table import as_box
from irdl.tracing.operations import apply, cast

_EighResult, _SVDResult = type(np.linalg.eigh(np.eye(1))), type(np.linalg.svd(np.eye(1)))
_DEFICIENT = "LinAlgError: of a matrix without full rank np.linalg.lstsq gives no residuals"


def _wide(a: Any) -> tuple[Any, np.dtype]:
    """A matrix in float64, and the dtype that NumPy gives results."""
    (matrix,) = floats_of(a)
    return matrix.astype(np.float64, copy=False), matrix.dtype


def _found(op: Op, matrix: Any, dtype: np.dtype) -> Any:
    return wrap(cast(apply(op, [matrix.value], NO_ATTRIBUTES), dtype))


def _turned(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _symmetric(a: Any) -> Any:
    """What NumPy takes a matrix for of which it reads the lower triangle."""
    (a,) = matrices_of(a)
    return np.tril(a) + _turned(np.tril(a, -1))


@knowing(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"UPLO argument must be 'L' or 'U'{user_line()}")
    matrices_of(a)
    matrix, dtype = _wide(a)
    matrix = matrix if UPLO.upper() == "L" else _turned(matrix)
    return _EighResult(_found(EIGENVALUES, matrix, dtype), _found(EIGENVECTORS, matrix, dtype))


@knowing(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigh(a, UPLO)[0]


@knowing(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    matrix, dtype = _wide(_symmetric(a) if hermitian else a)
    is_wide = matrix.shape[-2] < matrix.shape[-1]
    matrix = _turned(matrix) if is_wide else matrix
    m, n = matrix.shape[-2:]
    values = _found(SINGULAR_VALUES, matrix, dtype)
    if not compute_uv:
        return values
    vectors = wrap(apply(SINGULAR_VECTORS, [matrix.value], NO_ATTRIBUTES))
    left, right = vectors[..., :m, :], vectors[..., m:, :]
    if full_matrices and m > n:
        left = np.concatenate([left, wrap(apply(COMPLEMENT, [left.value], NO_ATTRIBUTES))], -1)
    left, right = (x.astype(dtype, copy=False) for x in ((right, left) if is_wide else (left, right)))
    return _SVDResult(wrap(left.value), values, wrap(_turned(right).value))


@knowing(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svd(x, compute_uv=False)


@knowing(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    box = as_box(A)
    if rtol is not None and tol is not None:
        raise ValueError(f"`tol` and `rtol` can't be both set.{user_line()}")
    if box.ndim < 2:
        return wrap_result(to_value(np.any(box != 0).astype(np.int64)))
    values = svd(box, compute_uv=False, hermitian=hermitian)
    if tol is None:
        rtol = max(box.shape[-2:]) * np.finfo(values.dtype).eps if rtol is None else as_box(rtol)[..., None]
        tol = np.max(values, -1, keepdims=True, initial=0) * rtol
    else:
        tol = as_box(tol)[..., None]
    return np.count_nonzero(values > tol, axis=-1)


@knowing(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError(f"`rtol` and `rcond` can't be both set.{user_line()}")
    matrix, dtype = _wide(_symmetric(a) if hermitian else a)
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
    if rcond is None:
        rcond = max(matrix.shape[-2:]) * np.finfo(dtype).eps
    return _pseudo_inverse(matrix, rcond).astype(dtype, copy=False)


def _pseudo_inverse(matrix: Any, rcond: Any) -> Any:
    is_wide = matrix.shape[-2] < matrix.shape[-1]
    matrix = _turned(matrix) if is_wide else matrix
    limit = as_box(rcond).astype(matrix.dtype)
    found = wrap(apply(PINV, [matrix.value, broadcast_to(limit, matrix.shape[:-2]).value], NO_ATTRIBUTES))
    return wrap(_turned(found).value) if is_wide else found


@knowing(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    dtype = floats_of(a, b)[0].dtype
    matrix, right = (as_box(x).astype(np.float64, copy=False) for x in (a, b))
    columns = right[:, None] if right.ndim == 1 else right
    for box in (matrix, columns):
        if box.ndim != 2:
            raise np.linalg.LinAlgError(f"{box.ndim}-dimensional array given. Array must be two-dimensional{user_line()}")
    m, n = matrix.shape
    if columns.shape[0] != m:
        raise np.linalg.LinAlgError(f"Incompatible dimensions{user_line()}")
    eps = np.finfo(np.float64).eps
    rcond = as_box(eps * max(m, n) if rcond is None else rcond).astype(np.float64)
    rcond = np.where(rcond < 0, eps, rcond)
    values = svd(matrix, compute_uv=False)
    rank = wrap_result(cast(to_value(np.count_nonzero(values > rcond * np.max(values, initial=0))), np.dtype(np.int32)))
    found = _pseudo_inverse(matrix, rcond) @ columns
    if m > n and (rank.known is None or rank.known == n):
        residuals = sure(np.sum((columns - matrix @ found) ** 2, 0), rank == n, _DEFICIENT)
    else:
        residuals = np.zeros_like(found, shape=(0,))
    found = found[:, 0] if right.ndim == 1 else found
    return wrap(found.astype(dtype).value), wrap(residuals.astype(dtype).value), rank, values.astype(dtype, copy=False)
