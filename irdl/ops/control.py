"""Control: scan, cond and while. Their regions are closed graphs; what they read comes in as operands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.op import Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.loop_parts import Item, LoopInputs, LoopOutputs
from irdl.ops.shape import BROADCAST, BroadcastAttributes

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Node, Value


@dataclass(frozen=True)
class ScanAttributes:
    """Operands and body inputs are `consts`, then `carry`, then xs (body inputs without their leading axis).

    `segments`: each step is a loop of its own, whose memory the next step shall use again: nothing is moved out of the body.
    """

    consts: int
    carry: int
    length: int
    reverse: bool = False
    segments: bool = False

    def inputs(self, items: Sequence[Item]) -> LoopInputs[Item]:
        """What belongs to the operands, or to the inputs of the body, by its part."""
        first_x = self.consts + self.carry
        return LoopInputs(items[: self.consts], items[self.consts : first_x], items[first_x:])

    def outputs(self, items: Sequence[Item]) -> LoopOutputs[Item]:
        """What belongs to the outputs of the scan, or of the body, by its part."""
        return LoopOutputs(items[: self.carry], items[self.carry :])


class Scan(Op):
    """A loop over the leading axis of xs: `body(consts, carry, x) -> carry, y`; outputs the last carry and all ys.

    With `reverse` the elements are visited from the last to the first; ys keep the order of xs.
    """

    name = "scan"
    only_moves = True
    Attributes = ScanAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (body,) = regions
        consts, carry, length = attributes.consts, attributes.carry, attributes.length
        inputs, outputs = body.input_types, body.output_types
        if len(types) != len(inputs) or len(types) < consts + carry or len(outputs) < carry:
            raise GraphError(f"scan has {len(types)} operands and a body of {len(inputs)} inputs, {len(outputs)} outputs")
        for place, (type, inner) in enumerate(zip(types, inputs, strict=True)):
            expected = type
            if place >= consts + carry:
                if type.rank < 1 or type.shape[0] != length:
                    raise GraphError(f"xs of a scan of length {length} cannot be {type}")
                expected = TensorType(type.dtype, type.shape[1:])
            if inner != expected:
                raise GraphError(f"the body of a scan takes {inner} for operand {place}, which gives {expected}")
        if tuple(outputs[:carry]) != tuple(inputs[consts : consts + carry]):
            raise GraphError(
                "the body of a scan must return the carry with the types it took: "
                f"{list(map(str, inputs[consts : consts + carry]))}, not {list(map(str, outputs[:carry]))}"
            )
        return (*outputs[:carry], *(TensorType(type.dtype, (length, *type.shape)) for type in outputs[carry:]))

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (body,) = regions
        given = attributes.inputs(operands)
        carry = given.carry
        ys = [np.empty((attributes.length, *type.shape), type.dtype) for type in attributes.outputs(body.output_types).ys]
        steps = range(attributes.length)
        for step in reversed(steps) if attributes.reverse else steps:
            results = attributes.outputs(evaluate(body, [*given.consts, *carry, *(x[step] for x in given.xs)]))
            carry = results.carry
            for y, result in zip(ys, results.ys, strict=True):
                y[step] = result
        return [*carry, *ys]


SCAN = register(Scan())


def scan_of(
    builder: Builder,
    operands: LoopInputs[Value],
    inputs: LoopInputs[Value],
    outputs: LoopOutputs[Value],
    like: Node,
    name: str | None = None,
    **changes: Any,
) -> LoopOutputs[Value]:
    """A scan made of its parts, otherwise like another (but for `changes` of its attributes); its outputs by their parts.

    `inputs` and `outputs` are the body's.
    """
    body = Graph(list(inputs), list(outputs), like.regions[0].name if name is None else name)
    attributes = replace(like.attributes, consts=len(operands.consts), carry=len(operands.carry), **changes)
    return attributes.outputs(builder.node(SCAN, list(operands), attributes, [body], like.location).outputs)


class Cond(Op):
    """`cond(predicate, operands...)`: the first region's results if the bool scalar holds, else the second's."""

    name = "cond"
    only_moves = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        on_true, on_false = regions
        if not types or types[0] != TensorType(np.dtype(bool), ()):
            raise GraphError("the predicate of a cond is a bool scalar")
        for region in regions:
            if region.input_types != tuple(types[1:]):
                raise GraphError(f"a branch takes {list(map(str, region.input_types))}, not {list(map(str, types[1:]))}")
        if on_true.output_types != on_false.output_types:
            raise GraphError(f"the branches give {list(map(str, on_true.output_types))} and {list(map(str, on_false.output_types))}")
        return on_true.output_types

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return evaluate(regions[0 if operands[0] else 1], operands[1:])


COND = register(Cond())


@dataclass(frozen=True)
class WhileAttributes:
    """Operands are `cond_consts` of the condition, `body_consts` of the body, then the carry."""

    cond_consts: int
    body_consts: int


class While(Op):
    """`while condition(carry): carry = body(carry)`."""

    name = "while"
    only_moves = True
    Attributes = WhileAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        condition, body = regions
        first, second = attributes.cond_consts, attributes.body_consts
        carry = tuple(types[first + second :])
        if condition.output_types != (TensorType(np.dtype(bool), ()),):
            raise GraphError("the condition of a while gives one bool scalar")
        if condition.input_types != (*types[:first], *carry):
            raise GraphError("the condition of a while takes its constants and the carry")
        if body.input_types != (*types[first : first + second], *carry) or body.output_types != carry:
            raise GraphError("the body of a while takes its constants and the carry, and returns the carry")
        return carry

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        condition, body = regions
        first, second = attributes.cond_consts, attributes.body_consts
        carry = list(operands[first + second :])
        while evaluate(condition, [*operands[:first], *carry])[0]:
            carry = evaluate(body, [*operands[first : first + second], *carry])
        return carry


WHILE = register(While())


class After(Op):
    """The first operand, and nothing computed from it before the second is there.

    A gradient puts it before what it computes a second time, so that this is neither taken for the first time nor moved there.
    """

    name = "after"
    only_moves = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if len(types) != 2:
            raise GraphError(f"after takes two operands, not {len(types)}")
        return (types[0],)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (operands[0],)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        return [cotangents[0], None]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        x, token = operands
        if batched[0]:
            return [builder.value(self, [x, token])]
        return [builder.value(self, [builder.value(BROADCAST, [x], BroadcastAttributes((size, *x.shape))), token])]

    def samples(self) -> Iterable[Sample]:
        for dtype in ("float64", "float32", "int32", "bool"):
            yield Sample((TensorType(np.dtype(dtype), (3, 4)), TensorType(np.dtype(dtype), (2,))))


AFTER = register(After())
