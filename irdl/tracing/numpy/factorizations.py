"""NumPy's linear systems, inverses, determinants, Cholesky and QR factors, as ops of their own (`irdl/ops/linear.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.linear import CHOLESKY, DET_SIGN, LOG_ABS_DET, QR, SOLVE, SolveAttributes
from irdl.tracing.box import apply, literal, wrap, wrap_result
from irdl.tracing.numpy.layout import computed
from irdl.tracing.numpy.shaping import broadcast_to, reshape
from irdl.tracing.numpy.table import are_settled, as_box, traced
from irdl.tracing.recorder import user_line


def _matrices(a: Any, *more: Any) -> list[Any]:
    """The arguments in the dtype that NumPy computes in: float32 where all are, else float64.

    Raises:
        LinAlgError: the first is no stack of square matrices.
    """
    boxes = _floats(a, *more)
    if boxes[0].shape[-1] != boxes[0].shape[-2]:
        raise np.linalg.LinAlgError(f"Last 2 dimensions of the array must be square{user_line()}")
    return boxes


def _floats(a: Any, *more: Any) -> list[Any]:
    """As `_matrices`, of which the first may have any shape of two axes."""
    boxes = [as_box(item) for item in (a, *more)]
    if boxes[0].ndim < 2:
        raise np.linalg.LinAlgError(f"{boxes[0].ndim}-dimensional array given. Array must be at least two-dimensional{user_line()}")
    dtype = np.float32 if all(box.dtype == np.float32 for box in boxes) else np.float64
    return [box.astype(dtype, copy=False) for box in boxes]


def _knowing(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Matrices that the trace knows are NumPy's to work with; others are the rule's."""

    def decorate(rule: Callable[..., Any]) -> Callable[..., Any]:
        def rule_or_numbers(*arguments: Any, **options: Any) -> Any:
            if are_settled(arguments, options):
                return computed(function, arguments, options)
            return rule(*arguments, **options)

        return traced(function)(rule_or_numbers)

    return decorate


@_knowing(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    matrix, right = _matrices(a, b)
    n, vector = matrix.shape[-1], right.ndim == 1
    core = right.shape[-1:] if vector or right.ndim == 0 else right.shape[-2:-1]
    if core != (n,):
        found = f"size {core[0]} is different from {n}" if core else "it has no axes"
        signature = "(m,m),(m)->(m)" if vector else "(m,m),(m,n)->(m,n)"
        raise ValueError(
            f"solve: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature {signature} ({found}){user_line()}"
        )
    right = reshape(right, (n, 1)) if vector else right
    try:
        lead = np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
    except ValueError:
        raise ValueError(
            f"operands could not be broadcast together with remapped shapes: {matrix.shape} and {right.shape}{user_line()}"
        ) from None
    k = right.shape[-1]
    if matrix.ndim == 2 and lead:  # one matrix: all right sides are columns of one
        columns = reshape(np.moveaxis(right, -2, 0), (n, -1 if right.size else 0))
        found = wrap(apply(SOLVE, [matrix.value, columns.value], SolveAttributes()))
        found = np.moveaxis(reshape(found, (n, *lead, k)), 0, -2)
    else:
        matrix, right = _shaped(matrix, (*lead, n, n)), _shaped(right, (*lead, n, k))
        found = wrap(apply(SOLVE, [matrix.value, right.value], SolveAttributes()))
    return wrap_result((reshape(found, (*lead, n)) if vector else found).value)


def _shaped(box: Any, shape: tuple[int, ...]) -> Any:
    return box if box.shape == shape else broadcast_to(box, shape)


@_knowing(np.linalg.inv)
def inv(a: Any) -> Any:
    (matrix,) = _matrices(a)
    one = literal(np.eye(matrix.shape[-1], dtype=matrix.dtype))
    return wrap(apply(SOLVE, [matrix.value, _shaped(one, matrix.shape).value], SolveAttributes()))


@_knowing(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    (matrix,) = _matrices(a)
    parts = [wrap_result(apply(op, [matrix.value], NO_ATTRIBUTES)) for op in (DET_SIGN, LOG_ABS_DET)]
    return type(np.linalg.slogdet(np.eye(1)))(*parts)


@_knowing(np.linalg.det)
def det(a: Any) -> Any:
    sign, logarithm = slogdet(a)
    return sign * np.exp(logarithm)  # as NumPy computes it


@_knowing(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    (matrix,) = _matrices(a)
    if not upper:
        return wrap(apply(CHOLESKY, [matrix.value], NO_ATTRIBUTES))
    factor = wrap(apply(CHOLESKY, [np.swapaxes(matrix, -1, -2).value], NO_ATTRIBUTES))
    return wrap(np.swapaxes(factor, -1, -2).value)


@_knowing(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    (matrix,) = _floats(a)
    m, n = matrix.shape[-2:]
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f"Unrecognized mode '{mode}'{user_line()}")
    if mode == "raw" or (mode == "complete" and m > n):
        raise TraceError(f"np.linalg.qr with mode={mode!r} cannot be traced: use mode='reduced'{user_line()}")
    few = min(m, n)
    found = wrap(apply(QR, [matrix[..., :few].value], NO_ATTRIBUTES))
    q, r = found[..., :m, :], found[..., m:, :]
    if n > m:  # what the first columns make of the others
        r = np.concatenate([r, np.swapaxes(q, -1, -2) @ matrix[..., m:]], -1)
    results = [wrap(part.value) for part in (q, r)]
    return results[1] if mode == "r" else type(np.linalg.qr(np.eye(1)))(*results)


def _refused(function: Any, instead: str) -> None:
    """An error that says what to do, but of matrices that the trace knows."""

    @_knowing(function)
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise TraceError(f"np.linalg.{function.__name__} cannot be traced: {instead}{user_line()}")


_EIGENVALUES: tuple[Any, ...] = (np.linalg.eig, np.linalg.eigh, np.linalg.eigvals, np.linalg.eigvalsh)
_SINGULAR_VALUES: tuple[Any, ...] = (np.linalg.svd, np.linalg.svdvals, np.linalg.cond, np.linalg.matrix_rank)
_BY_SINGULAR_VALUES: tuple[Any, ...] = (np.linalg.pinv, np.linalg.lstsq)

for _function in (*_EIGENVALUES, *_SINGULAR_VALUES):
    _what = "eigenvalues" if _function in _EIGENVALUES else "singular values"
    _refused(_function, f"{_what} are found by an iteration that irdl has no op for; compute them outside")
for _function in _BY_SINGULAR_VALUES:
    _refused(_function, "it takes singular values; of a matrix of full rank np.linalg.qr, or np.linalg.solve of a.T @ a, gives the same")
