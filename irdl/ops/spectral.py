"""Eigenvalues of symmetric matrices, singular values, and what is made of them, of matrices along the last two axes.

As the ops of `irdl/ops/linear.py` they stay what they mean until a pass puts them together (`irdl/passes/factorization/jacobi.py`). The
signs of eigenvectors and of pairs of singular vectors are free, as are bases of those with equal values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import is_float
from irdl.ir.op import NO_ATTRIBUTES, Op, register
from irdl.ir.types import TensorType
from irdl.ops.linear import OfStack, check_square, transposed
from irdl.ops.shape import with_batch

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


def _check_tall(name: str, a: TensorType) -> None:
    if a.rank < 2 or a.shape[-2] < a.shape[-1] or not is_float(a.dtype):
        raise GraphError(f"{name} takes matrices of floats with no more columns than rows, not {a}")


def _quotient(x: Any, by: Any) -> Any:
    """`x / by` beside the diagonal, on which it is zero. Vectors of equal values have no derivative: it is infinite or nan."""
    diagonal = np.eye(x.shape[-1], dtype=np.bool_)
    return np.where(diagonal, 0, x / np.where(diagonal, 1, by))


def _lower(symmetric: Any) -> Any:
    """What a change of one element of the lower triangle, and of the upper one with it, comes to."""
    n = symmetric.shape[-1]
    return (np.tril(np.ones((n, n), symmetric.dtype)) - np.eye(n, dtype=symmetric.dtype) / 2) * (symmetric + transposed(symmetric))


class Eigenvalues(OfStack):
    """The eigenvalues [..., n], in ascending order, of symmetric matrices [..., n, n], of which the lower triangle is read; a matrix that
    holds nan or infinities raises."""

    name = "eigenvalues"
    can_raise = True
    sample_shapes = ()  # as of those below, `tests/tracing/test_spectral.py` tries it

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        check_square(self.name, types[0])
        return (TensorType(types[0].dtype, types[0].shape[:-1]),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.eigvalsh(operands[0]),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        vectors = EIGENVECTORS.apply(operands, NO_ATTRIBUTES)
        return [_lower(vectors * cotangents[0][..., None, :] @ transposed(vectors))]


class Eigenvectors(OfStack):
    """The orthonormal eigenvectors, in columns, of symmetric matrices [..., n, n], of which the lower triangle is read, in the order of
    `eigenvalues`; a matrix that holds nan or infinities raises."""

    name = "eigenvectors"
    can_raise = True
    sample_shapes = ()  # signs are free

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        check_square(self.name, types[0])
        return (types[0],)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.eigh(operands[0])[1],)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """M. Giles, An extended collection of matrix derivative results for forward and reverse mode algorithmic differentiation (2008),
        section 3.1."""
        vectors, values = outputs[0], EIGENVALUES.apply(operands, NO_ATTRIBUTES)
        inner = _quotient(transposed(vectors) @ cotangents[0], values[..., None, :] - values[..., :, None])
        return [_lower(vectors @ inner @ transposed(vectors))]


class SingularValues(OfStack):
    """The singular values [..., n], in descending order, of matrices [..., m, n] with m >= n; a matrix that holds nan or infinities
    raises."""

    name = "singular_values"
    can_raise = True
    sample_shapes = ()

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        _check_tall(self.name, types[0])
        return (TensorType(types[0].dtype, (*types[0].shape[:-2], types[0].shape[-1])),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.svd(operands[0], compute_uv=False),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        m, vectors = operands[0].shape[-2], SINGULAR_VECTORS.apply(operands, NO_ATTRIBUTES)
        return [vectors[..., :m, :] * cotangents[0][..., None, :] @ transposed(vectors[..., m:, :])]


class SingularVectors(OfStack):
    """The orthonormal singular vectors of matrices a [..., m, n] with m >= n in the order of `singular_values`, in columns, left ones u
    with right ones v below them, as one array [..., m + n, n]: u * s @ v.T is a. A matrix that holds nan or infinities raises."""

    name = "singular_vectors"
    can_raise = True
    sample_shapes = ()

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        _check_tall(self.name, types[0])
        *lead, m, n = types[0].shape
        return (TensorType(types[0].dtype, (*lead, m + n, n)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        left, _, right = np.linalg.svd(operands[0], full_matrices=False)
        return (np.concatenate([left, transposed(right)], -2),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """J. Townsend, Differentiating the Singular Value Decomposition (2016), with 1 / (t^2 - s^2) taken apart: the symmetric part of
        what changes is divided by t - s, the other by t + s, which does not cancel."""
        m, values = operands[0].shape[-2], SINGULAR_VALUES.apply(operands, NO_ATTRIBUTES)
        (left, right), (ct_left, ct_right) = ((x[..., :m, :], x[..., m:, :]) for x in (outputs[0], cotangents[0]))
        of_left, of_right = transposed(left) @ ct_left, transposed(right) @ ct_right
        apart = _quotient(of_left + of_right, values[..., None, :] - values[..., :, None])
        together = _quotient(of_left - of_right, values[..., None, :] + values[..., :, None])
        found = left @ (apart + transposed(apart) + together - transposed(together)) / 2
        if m > left.shape[-1]:
            found = found + (ct_left - left @ of_left) / values[..., None, :]
        return [found @ transposed(right)]


class Complement(OfStack):
    """For n orthonormal columns [..., m, n] others [..., m, m - n] that make an orthonormal basis with them."""

    name = "complement"
    sample_shapes = ()

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        _check_tall(self.name, types[0])
        *lead, m, n = types[0].shape
        return (TensorType(types[0].dtype, (*lead, m, m - n)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.qr(operands[0], mode="complete")[0][..., operands[0].shape[-1] :],)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        raise NotImplementedError(
            "what full_matrices=True or mode='complete' adds has no derivative, for any basis of it would do: "
            "np.eye(m) - u @ u.T projects on it, with full_matrices=False"
        )


class Pinv(Op):
    """`pinv(a, rcond)`: pseudo-inverses [..., n, m] of matrices a [..., m, n], m >= n; singular values count that are more than rcond
    [...] times the largest. A matrix that holds nan or infinities raises."""

    name = "pinv"
    can_raise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        a, rcond = types
        _check_tall(self.name, a)
        if rcond != TensorType(a.dtype, a.shape[:-2]):
            raise GraphError(f"pinv takes {a.dtype}{list(a.shape[:-2])} for {a}, not {rcond}")
        return (TensorType(a.dtype, (*a.shape[:-2], a.shape[-1], a.shape[-2])),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.pinv(operands[0], operands[1]),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """G. H. Golub, V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate,
        SIAM J. Numer. Anal. 10 (1973): of matrices that keep their rank."""
        a, p = operands[0], outputs[0]
        ct = transposed(cotangents[0])
        inner = p @ ct
        return [(ct - a @ inner) @ (p @ transposed(p)) + transposed(p) @ (inner - inner @ p @ a - transposed(inner)), None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        both = [with_batch(builder, value, mark, size) for value, mark in zip(operands, batched, strict=True)]
        return builder.node(self, both).outputs


EIGENVALUES = register(Eigenvalues())
EIGENVECTORS = register(Eigenvectors())
SINGULAR_VALUES = register(SingularValues())
SINGULAR_VECTORS = register(SingularVectors())
COMPLEMENT = register(Complement())
PINV = register(Pinv())
