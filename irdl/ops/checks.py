"""Errors of a whole call: the op that raises one, and operands with which an op raises none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import CODE, GraphError, out_of_bounds
from irdl.ir.op import NO_ATTRIBUTES, Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.elementwise import SELECT
from irdl.ops.index import GATHER, SCATTER_ADD, SCATTER_SET
from irdl.ops.linear import CHOLESKY, SOLVE
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.ops.spectral import EIGENVALUES, EIGENVECTORS, PINV, SINGULAR_VALUES, SINGULAR_VECTORS

if TYPE_CHECKING:
    from irdl.ir.graph import Graph, Value

#: by their indices
INDEXED = (GATHER, SCATTER_ADD, SCATTER_SET)
OF_MATRICES = (SOLVE, CHOLESKY, EIGENVALUES, EIGENVECTORS, SINGULAR_VALUES, SINGULAR_VECTORS, PINV)


@dataclass(frozen=True)
class CheckAttributes:
    """`raises`: which errors codes stand for, in words ("ValueError: diverged (at model.py:12)"), each those up to one of `codes`, which ascend. A function
    that was traced knows the errors themselves."""

    raises: tuple[str, ...]
    codes: tuple[int, ...]


class Check(Op):
    """`check(code, numbers...)`: all of them as they are; a code (int64) that is not 0 raises. `numbers` are those that the error shows."""

    name = "check"
    Attributes = CheckAttributes
    only_moves = True
    can_raise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if not types or types[0] != TensorType(np.dtype(np.int64), ()):
            raise GraphError(f"check takes a code int64[] first, not {', '.join(map(str, types))}")
        if len(attributes.raises) != len(attributes.codes) or list(attributes.codes) != sorted(set(attributes.codes)):
            raise GraphError(f"check takes texts and as many codes, which ascend, not {attributes.raises} and {attributes.codes}")
        return tuple(types)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        code = int(operands[0])
        for last, raises in zip(attributes.codes, attributes.raises, strict=True):
            if code and code <= last:
                raise out_of_bounds(code, CODE, 1, "", raises)
        return operands

    def samples(self) -> Iterable[Sample]:
        return ()


CHECK = register(Check())


def harmless(
    make: Callable[..., Value], constant: Callable[[Any, Any], Value], op: Op, operands: Sequence[Value], active: Value
) -> list[Value]:
    """Operands with which an op that can raise does not where the bool scalar `active` does not hold: indices are 0, matrices are ones.

    Args:
        make: a value from an op, operands and attributes.
        constant: one from an array and a dtype.
    """
    if op in INDEXED:
        x, indices, *rest = operands
        return [x, make(SELECT, [active, indices, constant(0, indices.dtype)], NO_ATTRIBUTES), *rest]
    if op in OF_MATRICES:
        a, *rest = operands
        one = make(BROADCAST, [constant(np.eye(a.shape[-2], a.shape[-1]), a.dtype)], BroadcastAttributes(a.shape))
        return [make(SELECT, [active, a, one], NO_ATTRIBUTES), *rest]
    return list(operands)
