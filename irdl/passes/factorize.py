"""Linear systems, determinants, Cholesky and QR factors, eigenvalues and singular values are put together from other ops.

    solve(a, b) -> eliminate by columns, substitute     log_abs_det(a) -> sums of logarithms of pivots     cholesky(a), qr(a) -> columns
    solve(cholesky(a), b) -> substitute     eigenvalues(a), singular_values(a), and the vectors -> sweeps of rotations, until they change nothing

Small matrices are straight code on their elements (`small`), larger ones loops over columns, and over blocks of those (`columns`). What
is put together is code in NumPy, traced once for each type; equal parts, as the elimination for a system and for its gradient, are shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from irdl.ir.builder import Builder, rewrite
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.op import Op
from irdl.ir.types import TensorType
from irdl.ops.index import sure
from irdl.ops.linear import CHOLESKY, DET_SIGN, INDEFINITE, LOG_ABS_DET, QR, SINGULAR, SOLVE
from irdl.ops.shape import RESHAPE, TRANSPOSE, ReshapeAttributes
from irdl.ops.spectral import COMPLEMENT, EIGENVALUES, EIGENVECTORS, PINV, SINGULAR_VALUES, SINGULAR_VECTORS
from irdl.passes.factorization import columns, jacobi, small
from irdl.tracing.region import trace_rule
from irdl.transforms.batch import batch_graph
from irdl.transforms.reverse import zeros

#: Matrices of up to so many rows are straight code, with one right side or up to so many of its elements.
_SMALL = 4
_FEW = 16


def factorize(graph: Graph) -> Graph:
    """`graph` with other ops in place of those."""

    def visit(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value] | None:
        rule = _RULES.get(node.op)
        return None if rule is None else rule(builder, node, operands)

    return rewrite(graph, visit, ops=_RULES)


def _solve(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value]:
    a, b = operands
    attributes = node.attributes
    if not b.type.size:
        return [b]
    if not attributes.lower and _is_factor(node.operands[0]):
        attributes = replace(attributes, lower=True)
    elif not attributes.lower and (turn := _turn(node.operands[0])) is not None and _is_factor(turn.operands[0]):
        a = builder.value(TRANSPOSE, [a], turn.attributes, location=node.location)
        attributes = replace(attributes, lower=True, transposed=not attributes.transposed)
    operands = [a, b]
    if _is_small(a) and (b.shape[-1] == 1 or b.shape[-2] * b.shape[-1] <= _FEW):
        return _inlined(builder, node, operands, small.solve, attributes.transposed, attributes.lower)
    if attributes.lower:
        return _of_each(builder, node, operands, _triangular_system, attributes.transposed)
    factors = _of_each(builder, node, [a], columns.lu)
    return _of_each(builder, node, [*factors, b], _factored_system, attributes.transposed)


def _is_factor(a: Value) -> bool:
    """A Cholesky factor, above whose diagonal there is nothing."""
    return a.node is not None and a.node.op is CHOLESKY


def _turn(a: Value) -> Node | None:
    """The node that makes matrices of their transposes, if one does."""
    rank = len(a.shape)
    order = (*range(rank - 2), rank - 1, rank - 2)
    return a.node if a.node is not None and a.node.op is TRANSPOSE and a.node.attributes.permutation == order else None


def _triangular_system(a: Any, b: Any, transposed: bool) -> Any:
    return columns.solve_lower(a, sure(b, np.all(np.diagonal(a) != 0), SINGULAR), transposed)


def _factored_system(packed: Any, order: Any, place: Any, b: Any, transposed: bool) -> Any:
    return columns.solve(packed, order, place, sure(b, np.all(np.diagonal(packed) != 0), SINGULAR), transposed)


def _determinant(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value]:
    (a,) = operands
    is_logarithm = node.op is LOG_ABS_DET
    if not a.type.size:
        return _inlined(builder, node, operands, _of_empty, not is_logarithm)
    if _is_small(a):
        return _inlined(builder, node, operands, small.log_abs_det if is_logarithm else small.det_sign)
    packed, order, _ = _of_each(builder, node, [a], columns.lu)
    return _of_each(builder, node, [packed, order], columns.log_abs_det if is_logarithm else columns.det_sign)


def _of_empty(a: Any, one: bool) -> Any:
    return np.zeros_like(a, shape=a.shape[:-2]) + one


def _cholesky(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value]:
    (a,) = operands
    if not a.type.size:
        return [a]
    if _is_small(a):
        return _inlined(builder, node, operands, _small_factor)
    return _of_each(builder, node, operands, _factor)


def _qr(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value]:
    if not node.output.type.size:
        return [zeros(builder, node.output.type)]
    return _of_each(builder, node, operands, columns.qr)


def _by_rotations(builder: Builder, node: Node, operands: list[Value]) -> Sequence[Value]:
    if not node.output.type.size:
        return [zeros(builder, node.output.type)]
    function, place = _ROTATIONS[node.op]
    return [_inlined(builder, node, operands, function)[place]]


def _small_factor(a: Any) -> Any:
    factor, good = small.cholesky(a)
    return sure(factor, good[..., None, None], INDEFINITE)


def _factor(a: Any) -> Any:
    return sure(*columns.cholesky(a), INDEFINITE)


def _is_small(a: Value) -> bool:
    return a.shape[-1] <= _SMALL


#: by what each is found, and which of the results it is: values and vectors have what finds them in common
_ROTATIONS: dict[Op, tuple[Callable[..., Any], int]] = {
    EIGENVALUES: (jacobi.eigh, 0),
    EIGENVECTORS: (jacobi.eigh, 1),
    SINGULAR_VALUES: (jacobi.svd, 0),
    SINGULAR_VECTORS: (jacobi.svd, 1),
    PINV: (jacobi.pinv, 0),
    COMPLEMENT: (jacobi.complement, 0),
}

_RULES: dict[Op, Callable[[Builder, Node, list[Value]], Sequence[Value]]] = {
    SOLVE: _solve,
    LOG_ABS_DET: _determinant,
    DET_SIGN: _determinant,
    CHOLESKY: _cholesky,
    QR: _qr,
    **dict.fromkeys(_ROTATIONS, _by_rotations),
}


def _inlined(builder: Builder, node: Node, operands: Sequence[Value], function: Callable[..., Any], *options: bool) -> list[Value]:
    """What `function` gives for the operands, at the node's line."""
    return builder.inline(_traced(function, tuple(v.type for v in operands), options), operands, node.location)


def _of_each(builder: Builder, node: Node, operands: Sequence[Value], function: Callable[..., Any], *options: bool) -> list[Value]:
    """As `_inlined`, of a function of one matrix, for each of the node's matrices."""
    lead = node.operands[0].shape[:-2]
    if not lead:
        return _inlined(builder, node, operands, function, *options)

    def shaped(value: Value, shape: tuple[int, ...]) -> Value:
        return value if value.shape == shape else builder.value(RESHAPE, [value], ReshapeAttributes(shape), location=node.location)

    size = math.prod(lead)
    given = [shaped(value, (size, *value.shape[len(lead) :])) for value in operands]
    graph = _batched(function, tuple(TensorType(v.dtype, v.shape[1:]) for v in given), options, size)
    return [shaped(value, (*lead, *value.shape[1:])) for value in builder.inline(graph, given, node.location)]


@lru_cache(maxsize=256)
def _traced(function: Callable[..., Any], types: tuple[TensorType, ...], options: tuple[bool, ...]) -> Graph:
    def rule(boxes: list[Any]) -> Sequence[Any]:
        found = function(*boxes, *options)
        return found if isinstance(found, tuple) else [found]

    return factorize(trace_rule(rule, types)[0])


@lru_cache(maxsize=256)
def _batched(function: Callable[..., Any], types: tuple[TensorType, ...], options: tuple[bool, ...], size: int) -> Graph:
    graph = _traced(function, types, options)
    return batch_graph(graph, [True] * len(types), size, [True] * len(graph.outputs))[0]
