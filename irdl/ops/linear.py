"""Linear systems, determinants, Cholesky and QR factors, of matrices along the last two axes.

A pass puts their elimination together from other ops (`irdl/passes/factorize.py`); until then they are what they mean, so that a
gradient is again a linear system and no derivative of an elimination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import is_float
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.shape import RESHAPE, TRANSPOSE, ReshapeAttributes, TransposeAttributes, with_batch

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value

SINGULAR = "LinAlgError: Singular matrix"
INDEFINITE = "LinAlgError: Matrix is not positive definite"


@dataclass(frozen=True)
class SolveAttributes:
    """`transposed`: of the systems of the matrices' transposes. `lower`: what lies above the diagonal counts as zero."""

    transposed: bool = False
    lower: bool = False


def check_square(name: str, a: TensorType) -> None:
    if a.rank < 2 or a.shape[-1] != a.shape[-2] or not is_float(a.dtype):
        raise GraphError(f"{name} takes square matrices of floats, not {a}")


def transposed(x: Any) -> Any:
    """The transposes of matrices: of an array, or of what is traced."""
    return np.swapaxes(x, -1, -2)


class Solve(Op):
    """`solve(a, b)`: for matrices a [..., n, n] and right sides b [..., n, k] the x with `a @ x == b`; a singular matrix raises."""

    name = "solve"
    Attributes = SolveAttributes
    can_raise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        a, b = types
        check_square(self.name, a)
        if b.dtype != a.dtype or b.shape[:-1] != a.shape[:-1]:
            raise GraphError(f"solve takes right sides {a.dtype}[{', '.join(map(str, a.shape[:-1]))}, k] for {a}, not {b}")
        return (b,)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        a, b = operands
        a = np.tril(a) if attributes.lower else a
        return (np.linalg.solve(transposed(a) if attributes.transposed else a, b),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        ct = self.apply([operands[0], cotangents[0]], replace(attributes, transposed=not attributes.transposed))
        rows, columns = (outputs[0], ct) if attributes.transposed else (ct, outputs[0])
        found = -(rows @ transposed(columns))
        return [np.tril(found) if attributes.lower else found, ct]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        a, b = operands
        if batched[0]:
            return [builder.value(self, [a, with_batch(builder, b, batched[1], size)], attributes)]
        # One matrix: all right sides are columns of one.
        *lead, n, count = b.shape[1:]
        rank = len(b.shape)
        columns = builder.value(TRANSPOSE, [b], TransposeAttributes((*range(1, rank), 0)))
        columns = builder.value(RESHAPE, [columns], ReshapeAttributes((*lead, n, count * size)))
        found = builder.value(self, [a, columns], attributes)
        found = builder.value(RESHAPE, [found], ReshapeAttributes((*lead, n, count, size)))
        return [builder.value(TRANSPOSE, [found], TransposeAttributes((rank - 1, *range(rank - 1))))]

    def samples(self) -> Iterable[Sample]:
        for dtype, a, k in (("float64", (2, 2), 1), ("float64", (3, 4, 4), 2), ("float32", (6, 6), 3), ("float64", (0, 0), 2)):
            types = TensorType(np.dtype(dtype), a), TensorType(np.dtype(dtype), (*a[:-1], k))
            for attributes in (
                SolveAttributes(),
                SolveAttributes(transposed=True),
                SolveAttributes(True, True),
                SolveAttributes(lower=True),
            ):
                yield Sample(types, attributes)


class OfStack(Op):
    """An op of one stack of matrices: a batch of stacks is a longer one."""

    #: of single matrices to try it with
    sample_shapes: Sequence[tuple[int, int]] = ((2, 2), (4, 4), (0, 0))

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        return builder.node(self, operands).outputs

    def samples(self) -> Iterable[Sample]:
        for shape in self.sample_shapes:
            for dtype, stack in (("float64", ()), ("float32", (3,))):
                yield Sample((TensorType(np.dtype(dtype), (*stack, *shape)),))


class LogAbsDet(OfStack):
    """The logarithm of the absolute determinant; -inf of a singular matrix."""

    name = "log_abs_det"

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        check_square(self.name, types[0])
        return (TensorType(types[0].dtype, types[0].shape[:-2]),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.asarray(np.linalg.slogdet(operands[0])[1]),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (a,) = operands
        return [SOLVE.apply([a, np.eye(a.shape[-1], dtype=a.dtype) * cotangents[0][..., None, None]], SolveAttributes(transposed=True))]


class DetSign(LogAbsDet):
    """The sign of the determinant: 1, -1, or 0 of a singular matrix."""

    name = "det_sign"

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.asarray(np.linalg.slogdet(operands[0])[0]),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [None]


class Cholesky(OfStack):
    """The lower triangular factor of symmetric positive definite matrices, of which what lies above the diagonal is not read; one that
    is not positive definite raises."""

    name = "cholesky"
    can_raise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        check_square(self.name, types[0])
        return (types[0],)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.linalg.cholesky(operands[0]),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """I. Murray, Differentiation of the Cholesky decomposition (arXiv:1602.07527), equation 10."""
        factor, (ct,) = outputs[0], cotangents
        half = np.tril(np.ones(factor.shape[-2:], factor.dtype)) - np.eye(factor.shape[-1], dtype=factor.dtype) / 2
        back = SolveAttributes(transposed=True, lower=True)
        inner = SOLVE.apply([factor, half * (transposed(factor) @ np.tril(ct))], back)
        found = SOLVE.apply([factor, transposed(inner)], back)
        return [half * (found + transposed(found))]


class Qr(OfStack):
    """Of matrices [..., m, n] with m >= n, the orthonormal columns q [..., m, n] with the upper triangle r [..., n, n] below them, as one
    array: q @ r is the matrix."""

    name = "qr"
    sample_shapes = ((2, 2), (5, 4), (3, 0))

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (a,) = types
        if a.rank < 2 or a.shape[-2] < a.shape[-1] or not is_float(a.dtype):
            raise GraphError(f"qr takes matrices of floats with no more columns than rows, not {a}")
        return (TensorType(a.dtype, (*a.shape[:-2], a.shape[-2] + a.shape[-1], a.shape[-1])),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.concatenate(np.linalg.qr(operands[0]), -2),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """M. Seeger et al., Auto-Differentiating Linear Algebra (arXiv:1710.08717), section 2.2; a matrix of less than full rank has none,
        and raises."""
        m = operands[0].shape[-2]
        (q, r), (ct_q, ct_r) = ((x[..., :m, :], x[..., m:, :]) for x in (outputs[0], cotangents[0]))
        inner = r @ transposed(np.triu(ct_r)) - transposed(ct_q) @ q
        whole = ct_q + q @ (np.tril(inner) + transposed(np.tril(inner, -1)))
        return [transposed(SOLVE.apply([transposed(r), transposed(whole)], SolveAttributes(transposed=True, lower=True)))]


SOLVE = register(Solve())
LOG_ABS_DET = register(LogAbsDet())
DET_SIGN = register(DetSign())
CHOLESKY = register(Cholesky())
QR = register(Qr())
