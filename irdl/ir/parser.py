"""Text -> Graph: reads back what the printer writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.builder import CONSTANT, ConstantAttributes, make_node
from irdl.ir.dtypes import SHORT_NAME, dtype_of_short_name, is_bool, is_complex, is_float, is_short_name, real_dtype
from irdl.ir.graph import Graph, Value
from irdl.ir.op import find_op
from irdl.ir.tokens import Tokens
from irdl.ir.types import TensorType
from irdl.ir.verify import verify

_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r]+ | \#[^\n]*)
  | (?P<newline>\n)
  | (?P<type>{SHORT_NAME}\[[0-9,]*\])
  | (?P<value>%[0-9]+)
  | (?P<large>@[0-9]+)
  | (?P<number>-?(?:inf|nan)\b | -?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)
  | (?P<string>"[^"]*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<mark>->|[(){{}}\[\]:,=])
    """,
    re.VERBOSE,
)


def parse(text: str, constants: Sequence[np.ndarray] = ()) -> Graph:
    """The graph that `text` (a dump) describes.

    Args:
        text: what `print(graph)` wrote; comments and spacing do not matter.
        constants: the arrays named `@0`, `@1`, ... in the text (`irdl.ir.printer.sidecar`).

    Raises:
        ParseError: the text is not a dump; the message names the line.
    """
    parser = _Parser(text, constants)
    return parser.whole(parser.graph, verify)


#: elements that a constant written as one number may have
MOST_ELEMENTS = 2**31


class _Parser(Tokens):
    def __init__(self, text: str, constants: Sequence[np.ndarray]) -> None:
        super().__init__(text, _TOKEN)
        self._constants = constants

    def graph(self) -> Graph:
        self.expect("graph")
        name = self.take("word")
        inputs, names = self._inputs()
        self.expect("->")
        types = self.list(lambda: self._type())
        self.expect("{")
        outputs = self._body(names)
        if [value.type for value in outputs] != types:
            raise self.error(f"graph {name} returns other types than its first line says")
        if self.peek()[0] != "end":
            raise self.error(f"unexpected {self.peek()[1]!r} after the graph")
        return Graph(inputs, outputs, name)

    def _body(self, names: dict[str, Value]) -> list[Value]:
        while self.peek()[1] != "return":
            self._statement(names)
        self.expect("return")
        outputs: list[Value] = []
        if self.peek()[1] != "}":
            outputs.append(self._value(names))
            while self.peek()[1] == ",":
                self.expect(",")
                outputs.append(self._value(names))
        self.expect("}")
        return outputs

    def _statement(self, names: dict[str, Value]) -> None:
        results = [self._result()]
        while self.peek()[1] == ",":
            self.expect(",")
            results.append(self._result())
        self.expect("=")
        op_name = self.take("word")
        op = find_op(op_name)
        if op is None:
            raise self.error(f"there is no op named {op_name!r}")
        types = [type for _, type in results]
        operands: list[Value] = []
        regions: list[Graph] = []
        if op is CONSTANT:
            attributes: Any = ConstantAttributes(self._constant(types[0]))
        else:
            operands = self.list(lambda: self._value(names))
            attributes = self._attributes(op.Attributes)
            if self.peek()[1] == "{":
                self.expect("{")
                while self.peek()[1] == "(":
                    inputs, inner = self._inputs()
                    self.expect("{")
                    regions.append(Graph(inputs, self._body(inner)))
                self.expect("}")
        try:
            node = make_node(op, operands, attributes, regions)
        except GraphError as error:
            raise self.error(str(error)) from error
        if [value.type for value in node.outputs] != types:
            got = ", ".join(str(value.type) for value in node.outputs)
            raise self.error(f"{op_name} gives {got}, but the text says {', '.join(map(str, types))}")
        for (name, _), value in zip(results, node.outputs, strict=True):
            if name in names:
                raise self.error(f"{name} is defined twice")
            names[name] = value

    def _attributes(self, record: type) -> Any:
        found: dict[str, Any] = {}
        known = {field.name for field in fields(record)}
        while self.peek()[0] == "word" and self.peek(1)[1] == "=":
            name = self.take("word")
            if name not in known:
                raise self.error(f"unknown attribute {name!r}; {record.__name__} has {', '.join(sorted(known))}")
            self.expect("=")
            found[name] = self._literal()
        try:
            return record(**found)
        except TypeError as error:
            raise self.error(str(error)) from error

    def _literal(self) -> Any:
        kind, text, _ = self.peek()
        if text == "(":
            return tuple(self.list(self._literal))
        self.skip()
        if kind == "type":
            self.skip(-1)
            return self._type()
        if kind == "string":
            return text[1:-1]
        if kind == "number":
            return int(text) if re.fullmatch(r"-?[0-9]+", text) else float(text)
        if text in ("True", "False", "None"):
            return {"True": True, "False": False, "None": None}[text]
        if is_short_name(text):
            return dtype_of_short_name(text)
        raise self.error(f"cannot read the attribute {text!r}")

    def _constant(self, type: TensorType) -> np.ndarray:
        kind, text, _ = self.peek()
        if kind == "large":
            self.skip()
            index = int(text[1:])
            if index >= len(self._constants):
                raise self.error(f"constant {text} is not in the text: pass it in `constants`")
            return np.asarray(self._constants[index])
        if text == "[":
            items = self.list(lambda: self._number(type.dtype), "[", "]")
            if len(items) != type.size:
                raise self.error(f"{len(items)} numbers for a constant of type {type}")
            return np.array(items, dtype=type.dtype).reshape(type.shape)
        if text == "full":
            self.skip()
        if type.size > MOST_ELEMENTS:
            raise self.error(f"a constant of type {type} is too large")
        return np.full(type.shape, self._number(type.dtype), type.dtype)

    def _number(self, dtype: np.dtype) -> np.generic:
        if is_complex(dtype):
            re, im = self.list(lambda: self._number(real_dtype(dtype)))
            return np.array([re, im]).view(dtype)[0]  # the parts as they are: arithmetic would change signs of zeros
        _, text, _ = self.peek()
        self.skip()
        try:
            if is_bool(dtype):
                return np.bool_({"True": True, "False": False}[text])
            return dtype.type(float(text) if is_float(dtype) else int(text))
        except (KeyError, ValueError, OverflowError):
            raise self.error(f"{text!r} is not a number of dtype {dtype}") from None

    def _result(self) -> tuple[str, TensorType]:
        name = self.take("value")
        self.expect(":")
        return name, self._type()

    def _type(self) -> TensorType:
        text = self.take("type")
        short, _, rest = text.partition("[")
        return TensorType(dtype_of_short_name(short), tuple(int(part) for part in rest[:-1].split(",") if part))

    def _inputs(self) -> tuple[list[Value], dict[str, Value]]:
        def one() -> Value:
            name = self.take("word")
            self.expect(":")
            return Value(self._type(), name=name)

        inputs = self.list(one)
        return inputs, {value.name or "": value for value in inputs}

    def _value(self, names: dict[str, Value]) -> Value:
        kind, text, _ = self.peek()
        if kind not in ("value", "word") or text not in names:
            raise self.error(f"{text!r} is not a value known here")
        self.skip()
        return names[text]
