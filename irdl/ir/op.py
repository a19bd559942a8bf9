"""What an op is. Every op is declared once (in `irdl.ops`) as an instance of a subclass of `Op`; the registry here is
how the verifier, the printer, the parser, the interpreter and the tests find it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from irdl.errors import GraphError
from irdl.ir.types import TensorType

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value


@dataclass(frozen=True)
class NoAttributes:
    """The attribute record of an op that has none."""


NO_ATTRIBUTES = NoAttributes()


@dataclass(frozen=True)
class Sample:
    """One example of an op for the tests: operand types, attributes, and how to draw the operands.

    `low` and `high` bound the values drawn; `smooth` says that finite differences make sense there.
    """

    types: tuple[TensorType, ...]
    attributes: Any = NO_ATTRIBUTES
    low: float = -2.0
    high: float = 2.0
    smooth: bool = True


class Op:
    """One operation: its types, its NumPy meaning, its gradient and its batching rule, side by side.

    Subclasses set `name` and `Attributes` (a frozen dataclass) and override what applies.
    """

    name: str
    Attributes: ClassVar[type] = NoAttributes
    #: True where every output element depends on one element of each (broadcast) operand.
    is_elementwise: ClassVar[bool] = False
    #: True where the output is the operand's elements in an order that is affine in their places: it costs nothing.
    is_view: ClassVar[bool] = False
    #: True where every number of an output is one of the operands', or of the regions' outputs, as a view's are.
    only_moves: bool = False
    #: of an elementwise op: cycles for a vector, roughly, for decisions; where it is not one
    cycles: float = 1.0
    #: False where a pass always puts it together from others: no backend has code for it
    has_code: bool = True
    #: True where evaluating can raise (an index out of range), which makes it unsafe to run speculatively.
    can_raise: ClassVar[bool] = False

    @property
    def computes(self) -> bool:
        """Its outputs hold other numbers than its operands, and its regions, have."""
        return not (self.is_view or self.only_moves)

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        """The output types.

        Raises:
            GraphError: the operand types or the attributes do not fit.
        """
        raise NotImplementedError(self.name)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        """The op's meaning, in NumPy."""
        raise NotImplementedError(self.name)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        """The operands' cotangents (None: no dependence), as NumPy code that is traced once per types and spliced."""
        raise NotImplementedError(f"op {self.name} has no derivative")

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        """The outputs with a new leading axis of `size`, from operands of which those marked have one already."""
        raise NotImplementedError(f"op {self.name} has no batching rule")

    def samples(self) -> Iterable[Sample]:
        """Examples that the tests run through every property."""
        return ()

    def apply(self, operands: Sequence[Any], attributes: Any) -> Any:
        """The output as a NumPy-level call, for gradient rules: traced arrays record it, arrays evaluate it."""
        traced = next((f for f in (getattr(operand, "__irdl_apply__", None) for operand in operands) if f), None)
        if traced is None:
            return self.evaluate(operands, attributes, ())[0]
        return traced(self, operands, attributes)[0]

    def __repr__(self) -> str:
        return f"<op {self.name}>"


_REGISTRY: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Make `op` known under its name. Raises GraphError for a name already taken."""
    if op.name in _REGISTRY:
        raise GraphError(f"an op named {op.name!r} is registered already")
    _REGISTRY[op.name] = op
    return op


def find_op(name: str) -> Op | None:
    return _REGISTRY.get(name)


def registered_ops() -> Iterator[Op]:
    return iter(list(_REGISTRY.values()))


def attribute_items(attributes: Any) -> list[tuple[str, Any]]:
    return [(name, getattr(attributes, name)) for name in _attribute_names(attributes.__class__)]


@cache
def _attribute_names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))
