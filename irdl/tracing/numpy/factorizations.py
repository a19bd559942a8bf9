"""NumPy's linear systems, inverses, determinants, Cholesky and QR factors, as ops of their own (`irdl/ops/linear.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ops.linear import CHOLESKY, DET_SIGN, LOG_ABS_DET, QR, SOLVE, SolveAttributes
from irdl.ops.spectral import COMPLEMENT
from irdl.tracing.box import literal, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.layout import computed
from irdl.tracing.numpy.shaping import broadcast_to, ravel, reshape
from irdl.tracing.numpy.table import are_settled, as_box, traced
from irdl.tracing.operations import apply


def matrices_of(a: Any, *more: Any) -> list[Any]:
    """The arguments in the dtype that NumPy computes in: float32 where all are, else float64.

    Raises:
        LinAlgError: the first is no stack of square matrices.
    """
    boxes = floats_of(a, *more)
    if boxes[0].shape[-1] != boxes[0].shape[-2]:
        raise np.linalg.LinAlgError(f"Last 2 dimensions of the array must be square{user_line()}")
    return boxes


def floats_of(a: Any, *more: Any) -> list[Any]:
    """As `matrices_of`, of which the first may have any shape of two axes."""
    boxes = [as_box(item) for item in (a, *more)]
    if boxes[0].ndim < 2:
        raise np.linalg.LinAlgError(f"{boxes[0].ndim}-dimensional array given. Array must be at least two-dimensional{user_line()}")
    dtype = np.float32 if all(box.dtype == np.float32 for box in boxes) else np.float64
    return [box.astype(dtype, copy=False) for box in boxes]


def knowing(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Matrices that the trace knows are NumPy's to work with; others are the rule's."""

    def decorate(rule: Callable[..., Any]) -> Callable[..., Any]:
        def rule_or_numbers(*arguments: Any, **options: Any) -> Any:
            if are_settled(arguments, options):
                return computed(function, arguments, options)
            return rule(*arguments, **options)

        return traced(function)(rule_or_numbers)

    return decorate


@knowing(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    matrix, right = matrices_of(a, b)
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
        matrix, right = shaped(matrix, (*lead, n, n)), shaped(right, (*lead, n, k))
        found = wrap(apply(SOLVE, [matrix.value, right.value], SolveAttributes()))
    return wrap_result((reshape(found, (*lead, n)) if vector else found).value)


def shaped(box: Any, shape: tuple[int, ...]) -> Any:
    return box if box.shape == shape else broadcast_to(box, shape)


@knowing(np.linalg.inv)
def inv(a: Any) -> Any:
    (matrix,) = matrices_of(a)
    one = literal(np.eye(matrix.shape[-1], dtype=matrix.dtype))
    return wrap(apply(SOLVE, [matrix.value, shaped(one, matrix.shape).value], SolveAttributes()))


@knowing(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    (matrix,) = matrices_of(a)
    parts = [wrap_result(apply(op, [matrix.value], NO_ATTRIBUTES)) for op in (DET_SIGN, LOG_ABS_DET)]
    return type(np.linalg.slogdet(np.eye(1)))(*parts)


@knowing(np.linalg.det)
def det(a: Any) -> Any:
    sign, logarithm = slogdet(a)
    return sign * np.exp(logarithm)  # as NumPy computes it


@knowing(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    (matrix,) = matrices_of(a)
    if not upper:
        return wrap(apply(CHOLESKY, [matrix.value], NO_ATTRIBUTES))
    factor = wrap(apply(CHOLESKY, [np.swapaxes(matrix, -1, -2).value], NO_ATTRIBUTES))
    return wrap(np.swapaxes(factor, -1, -2).value)


@knowing(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    (matrix,) = floats_of(a)
    m, n = matrix.shape[-2:]
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f"Unrecognized mode '{mode}'{user_line()}")
    if mode == "raw":
        raise TraceError(f"np.linalg.qr with mode='raw' cannot be traced: use mode='reduced'{user_line()}")
    few = min(m, n)
    found = wrap(apply(QR, [matrix[..., :few].value], NO_ATTRIBUTES))
    q, r = found[..., :m, :], found[..., m:, :]
    if n > m:  # what the first columns make of the others
        r = np.concatenate([r, np.swapaxes(q, -1, -2) @ matrix[..., m:]], -1)
    elif mode == "complete":
        q = np.concatenate([q, wrap(apply(COMPLEMENT, [q.value], NO_ATTRIBUTES))], -1)
        r = np.concatenate([r, np.zeros_like(r, shape=(*r.shape[:-2], m - n, n))], -2)
    results = [wrap(part.value) for part in (q, r)]
    return results[1] if mode == "r" else type(np.linalg.qr(np.eye(1)))(*results)


@traced(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    box = as_box(a)
    if ind <= 0:
        raise ValueError(f"Invalid ind argument.{user_line()}")
    return reshape(inv(reshape(box, (math.prod(box.shape[ind:]), -1))), box.shape[ind:] + box.shape[:ind])


@traced(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    box, right = as_box(a), as_box(b)
    if axes is not None:
        order = list(range(box.ndim))
        for axis in axes:
            order.remove(axis)
            order.append(axis)
        box = np.transpose(box, order)
    shape = box.shape[right.ndim - box.ndim :]
    size = math.prod(shape)
    if box.size != size**2:
        raise np.linalg.LinAlgError(
            f"Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim]){user_line()}"
        )
    return reshape(solve(reshape(box, (size, size)), ravel(right)), shape)


def _refused(function: Any, instead: str) -> None:
    """An error that says what to do, but of matrices that the trace knows."""

    @knowing(function)
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise TraceError(f"np.linalg.{function.__name__} cannot be traced: {instead}{user_line()}")


_refused(np.linalg.eig, "which eigenvalues are complex depends on numbers; of a symmetric matrix use np.linalg.eigh")
_refused(np.linalg.eigvals, "which eigenvalues are complex depends on numbers; of a symmetric matrix use np.linalg.eigvalsh")
