"""The contraction: an einsum of two operands. Matrix, outer, batched and transposed products are all this."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import family, is_inexact
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Node, Value


@dataclass(frozen=True)
class DotAttributes:
    """`spec`: one letter an axis, as in `np.einsum`: "bk,kh->bh"."""

    spec: str

    @property
    def labels(self) -> tuple[str, str, str]:
        """The axes of the left operand, the right operand and the output."""
        operands, _, output = self.spec.partition("->")
        left, _, right = operands.partition(",")
        return left, right, output


class Dot(Op):
    """Sum of products over the letters that the output lacks.

    No letter stands twice in one operand, and one that the output lacks stands in both operands.
    """

    name = "dot"
    Attributes = DotAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if len(types) != 2:
            raise GraphError(f"dot takes two operands, not {len(types)}")
        left, right, output = attributes.labels
        x, y = types
        if x.dtype != y.dtype or family(x.dtype) not in "fiuc":
            raise GraphError(f"dot takes two arrays of one numeric dtype, not {x} and {y}")
        if len(left) != x.rank or len(right) != y.rank:
            raise GraphError(f'"{attributes.spec}" does not fit {x} and {y}')
        for part in (left, right, output):
            if len(set(part)) != len(part):
                raise GraphError(f'"{attributes.spec}" repeats a letter')
        extents: dict[str, int] = {}
        for label, extent in [*zip(left, x.shape, strict=True), *zip(right, y.shape, strict=True)]:
            if extents.setdefault(label, extent) != extent:
                raise GraphError(f'axis {label} of "{attributes.spec}" is both {extents[label]} and {extent}')
        if not set(output) <= set(extents):
            raise GraphError(f'the output of "{attributes.spec}" has a letter that no operand has')
        if (set(left) ^ set(right)) - set(output):
            raise GraphError(f'"{attributes.spec}" sums over an axis of one operand alone: sum it first')
        return (TensorType(x.dtype, tuple(extents[label] for label in output)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        left, right = operands
        return (np.asarray(np.einsum(attributes.spec, left, right, optimize=is_inexact(left.dtype)), left.dtype),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        x, y = operands
        left, right, output = attributes.labels
        (ct,) = cotangents
        return [np.einsum(f"{output},{right}->{left}", ct, y), np.einsum(f"{output},{left}->{right}", ct, x)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        left, right, output = attributes.labels
        new = next(letter for letter in LETTERS if letter not in attributes.spec)
        left = new + left if batched[0] else left
        right = new + right if batched[1] else right
        return builder.node(self, operands, DotAttributes(f"{left},{right}->{new}{output}")).outputs

    def samples(self) -> Iterable[Sample]:
        cases = [
            ("ij,jk->ik", (5, 7), (7, 33)),
            ("ij,kj->ik", (5, 7), (33, 7)),
            ("ji,jk->ik", (7, 5), (7, 18)),
            ("ij,jk->ki", (5, 7), (7, 18)),
            ("bij,bjk->bik", (3, 4, 5), (3, 5, 20)),
            ("i,i->", (37,), (37,)),
            ("ij,j->i", (4, 37), (37,)),
            ("i,ij->j", (7,), (7, 37)),
            ("i,j->ij", (3,), (19,)),
            ("ij,ij->ij", (3, 4), (3, 4)),
            ("tbi,ih->tbh", (3, 2, 5), (5, 16)),
            ("tbi,tbh->ih", (3, 2, 5), (3, 2, 16)),
            ("ij,jk->ik", (0, 4), (4, 5)),
            ("ij,jk->ik", (3, 0), (0, 5)),
            ("ij,jk->ik", (1, 1), (1, 1)),
            ("ij,jk->ik", (5, 1), (1, 33)),
            ("bji,kbj->kbi", (3, 1, 20), (4, 3, 1)),
            ("ij,jk->ik", (37, 65), (65, 130)),
        ]
        for dtype in ("float64", "float32", "int64", "int32"):
            for spec, left, right in cases:
                yield Sample((TensorType(np.dtype(dtype), left), TensorType(np.dtype(dtype), right)), DotAttributes(spec))
        for dtype, places in (("complex64", (3, 6, 13)), ("complex128", (0, 5, 8, 12))):
            for spec, left, right in (cases[place] for place in places):
                yield Sample((TensorType(np.dtype(dtype), left), TensorType(np.dtype(dtype), right)), DotAttributes(spec))


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DOT = register(Dot())


def terms_of(node: Node) -> int:
    """How many products each element of a contraction is the sum of."""
    left, _, output = node.attributes.labels
    return math.prod(extent for label, extent in zip(left, node.operands[0].shape, strict=True) if label not in output)
