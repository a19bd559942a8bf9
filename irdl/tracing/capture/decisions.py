"""What traced code decides by numbers that change from call to call, as a counter: the outcome is compared at each call, not the number.

`if self.t % 100 == 0` then has one version for each outcome, and not one for each value of the counter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Node, Value
from irdl.ops.elementwise import CAST, SELECT
from irdl.tracing.box import ARRAY
from irdl.tracing.capture.reads import Always, Attribute, Item, Read

if TYPE_CHECKING:
    from irdl.tracing.capture.capture import Capture, Captured

#: nodes behind a decision, elements of what they make, and decisions of a trace: with more, each value is compiled for
_MOST_NODES = 64
_MOST_ELEMENTS = 64
_MOST_DECISIONS = 64


#: ops that Python's numbers have too, with the same results where integers do not overflow
_OPERATORS = {
    **{"add": "+", "sub": "-", "mul": "*", "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<="},
    **{"floor_divide": "//", "remainder": "%", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"},
}
_OF_INTEGERS = ("floor_divide", "remainder")
_NUMBERS = {np.dtype(np.bool_): "bool", np.dtype(np.int64): "int", np.dtype(np.float64): "float"}


class Decision:
    """A read: whether what follows from captured numbers is true now. None where one of them is not of the type that it had."""

    def __init__(self, value: Value, nodes: list[Node], numbers: list[Captured]) -> None:
        self._value, self._nodes = value, nodes
        self._numbers = [(captured.value, captured.read, type(captured.read())) for captured in numbers]
        of_python = all(type_ in (int, float) for _, _, type_ in self._numbers)
        self._outcome = (_written_out(value, nodes, self._numbers) if of_python else None) or self._evaluated

    def __call__(self) -> bool | None:
        try:
            return self._outcome()
        except (LookupError, AttributeError, ValueError, TypeError, ArithmeticError):
            return None

    def _evaluated(self) -> bool | None:
        numbers = [read() for _, read, _ in self._numbers]
        if any(type(number) is not type_ for number, (_, _, type_) in zip(numbers, self._numbers, strict=True)):
            return None
        found = {value: np.asarray(number, value.dtype) for number, (value, _, _) in zip(numbers, self._numbers, strict=True)}
        with np.errstate(all="ignore"):
            for node in self._nodes:
                results = node.op.evaluate([found[operand] for operand in node.operands], node.attributes, node.regions)
                found.update(zip(node.outputs, map(np.asarray, results), strict=True))
        return bool(found[self._value])


def _written_out(value: Value, nodes: list[Node], numbers: list[tuple[Value, Read, type]]) -> Callable[[], bool | None] | None:
    """A function that reads Python's numbers and computes with them what the nodes do; None where it takes more than these."""
    names = {item: f"x{place}" for place, (item, _, _) in enumerate(numbers)}
    written: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
    lines = [f"    {names[item]} = {_as_text(read, written)}" for item, read, _ in numbers]
    lines += [f"    if type({names[item]}) is not {type_.__name__}: return None" for item, _, type_ in numbers]
    for node in nodes:
        if node.output.shape or node.output.dtype not in _NUMBERS:
            return None
        operands = [names[operand] for operand in node.operands]
        if node.op is CONSTANT:
            names[node.output] = repr(node.attributes.value.item())
            continue
        if node.op is CAST:
            text = f"{_NUMBERS[node.output.dtype]}({operands[0]})"
        elif node.op.name in _OPERATORS and not (node.op.name in _OF_INTEGERS and node.output.dtype.kind == "f"):
            text = f"{operands[0]} {_OPERATORS[node.op.name]} {operands[1]}"
        elif node.op is SELECT:
            text = f"{operands[1]} if {operands[0]} else {operands[2]}"
        else:
            return None
        names[node.output] = f"y{len(lines)}"
        lines.append(f"    y{len(lines)} = {text}")
    exec("\n".join(["def decide():", *lines, f"    return bool({names[value]})"]), written)
    return written["decide"]


def _as_text(read: Read, written: dict[str, Any]) -> str:
    """A read as an expression of Python's, over names that are given what it begins with."""
    if isinstance(read, Attribute):
        return f"vars({_as_text(read.owner, written)})[{read.name!r}]"
    if isinstance(read, Item) and type(read.key) in (int, str):
        return f"{_as_text(read.owner, written)}[{read.key!r}]"
    name = f"item{len(written)}"
    written[name] = read.item if isinstance(read, Always) else read
    return name if isinstance(read, Always) else f"{name}()"


def family_of(name: str) -> str:
    """What numbers at one place in each item of a list have in common: `layers[0].w[3].data` is one of `layers[].w[].data`."""
    return re.sub(r"\[\d+\]", "[]", name)


def decided(capture: Capture, value: Value) -> bool | None:
    """Whether `value` is true in this call, from captured numbers alone; the trace then holds for calls where that is the same. None
    where it follows from more than these."""
    behind = _behind(value)
    if behind is None or sum(isinstance(read, Decision) for read, _ in capture.guards) >= _MOST_DECISIONS:
        return None
    nodes, inputs = behind
    numbers = {item.value: item for item in capture.captured if item.kind != ARRAY}
    if not all(item in numbers for item in inputs):
        return None
    decision = Decision(value, nodes, [numbers[item] for item in inputs])
    outcome = decision()
    if outcome is not None:
        capture.guards.append((decision, outcome))
    return outcome


def argument_behind(capture: Capture, value: Value) -> str:
    """The name of an integer or truth value among the arguments that `value` follows from, where it follows from such alone; else
    nothing."""
    behind = _behind(value)
    if behind is None or not behind[1]:
        return ""
    taken = {item.value for item in capture.captured} | {item for item, _ in capture.static_arrays}
    inputs = set(capture.trace.inputs) - taken
    are_few = all(item in inputs and item.type.size == 1 and item.dtype.kind in "biu" for item in behind[1])
    return (behind[1][0].name or "") if are_few else ""


def _behind(value: Value) -> tuple[list[Node], list[Value]] | None:
    """The nodes that a value is computed by, in order, and the inputs of the trace that they begin with; None where they are many."""
    nodes: dict[Node, None] = {}
    inputs: dict[Value, None] = {}
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value.type.size > _MOST_ELEMENTS or len(nodes) > _MOST_NODES:
            return None
        if value.node is None:
            inputs[value] = None
        elif value.node not in nodes:
            nodes[value.node] = None
            waiting += value.node.operands
    return sorted(nodes, key=lambda node: node.serial), list(inputs)
