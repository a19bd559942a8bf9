"""Text -> Graph: reads back what the printer writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from irdl.errors import GraphError, ParseError
from irdl.ir.builder import CONSTANT, ConstantAttributes, make_node
from irdl.ir.graph import Graph, Value
from irdl.ir.op import find_op
from irdl.ir.types import TensorType, dtype_of_short_name, is_short_name
from irdl.ir.verify import verify

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r]+ | \#[^\n]*)
  | (?P<newline>\n)
  | (?P<type>(?:bool|[iu](?:8|16|32|64)|f32|f64)\[[0-9,]*\])
  | (?P<value>%[0-9]+)
  | (?P<large>@[0-9]+)
  | (?P<number>-?(?:inf|nan)\b | -?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)
  | (?P<string>"[^"]*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<mark>->|[(){}\[\]:,=])
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
    try:
        graph = parser.graph()
        verify(graph)
    except ParseError:
        raise
    except RecursionError:
        raise parser._error("the regions are nested too deeply") from None
    except _MISFITS as error:  # an op was given operands, attributes or regions of a kind that it never has
        raise parser._error(f"{type(error).__name__}: {error}") from error
    return graph


_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, TypeError, ValueError)
#: elements that a constant written as one number may have
_MOST_ELEMENTS = 2**31


class _Parser:
    def __init__(self, text: str, constants: Sequence[np.ndarray]) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._constants = constants
        self._at = 0
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ParseError(f"line {line}: cannot read {text[position : position + 20]!r}")
            kind = match.lastgroup or ""
            if kind not in ("space", "newline"):
                self._tokens.append((kind, match.group(), line))
            line += kind == "newline"
            position = match.end()
        self._tokens.append(("end", "", line))

    def graph(self) -> Graph:
        self._expect("graph")
        name = self._take("word")
        inputs, names = self._inputs()
        self._expect("->")
        types = self._list(lambda: self._type())
        self._expect("{")
        outputs = self._body(names)
        if [value.type for value in outputs] != types:
            raise self._error(f"graph {name} returns other types than its first line says")
        if self._peek()[0] != "end":
            raise self._error(f"unexpected {self._peek()[1]!r} after the graph")
        return Graph(inputs, outputs, name)

    def _body(self, names: dict[str, Value]) -> list[Value]:
        while self._peek()[1] != "return":
            self._statement(names)
        self._expect("return")
        outputs: list[Value] = []
        if self._peek()[1] != "}":
            outputs.append(self._value(names))
            while self._peek()[1] == ",":
                self._expect(",")
                outputs.append(self._value(names))
        self._expect("}")
        return outputs

    def _statement(self, names: dict[str, Value]) -> None:
        results = [self._result()]
        while self._peek()[1] == ",":
            self._expect(",")
            results.append(self._result())
        self._expect("=")
        op_name = self._take("word")
        op = find_op(op_name)
        if op is None:
            raise self._error(f"there is no op named {op_name!r}")
        types = [type for _, type in results]
        operands: list[Value] = []
        regions: list[Graph] = []
        if op is CONSTANT:
            attributes: Any = ConstantAttributes(self._constant(types[0]))
        else:
            operands = self._list(lambda: self._value(names))
            attributes = self._attributes(op.Attributes)
            if self._peek()[1] == "{":
                self._expect("{")
                while self._peek()[1] == "(":
                    inputs, inner = self._inputs()
                    self._expect("{")
                    regions.append(Graph(inputs, self._body(inner)))
                self._expect("}")
        try:
            node = make_node(op, operands, attributes, regions)
        except GraphError as error:
            raise self._error(str(error)) from error
        if [value.type for value in node.outputs] != types:
            got = ", ".join(str(value.type) for value in node.outputs)
            raise self._error(f"{op_name} gives {got}, but the text says {', '.join(map(str, types))}")
        for (name, _), value in zip(results, node.outputs, strict=True):
            if name in names:
                raise self._error(f"{name} is defined twice")
            names[name] = value

    def _attributes(self, record: type) -> Any:
        found: dict[str, Any] = {}
        known = {field.name for field in fields(record)}
        while self._peek()[0] == "word" and self._tokens[self._at + 1][1] == "=":
            name = self._take("word")
            if name not in known:
                raise self._error(f"unknown attribute {name!r}; {record.__name__} has {', '.join(sorted(known))}")
            self._expect("=")
            found[name] = self._literal()
        try:
            return record(**found)
        except TypeError as error:
            raise self._error(str(error)) from error

    def _literal(self) -> Any:
        kind, text, _ = self._peek()
        if text == "(":
            return tuple(self._list(self._literal))
        self._at += 1
        if kind == "type":
            self._at -= 1
            return self._type()
        if kind == "string":
            return text[1:-1]
        if kind == "number":
            return int(text) if re.fullmatch(r"-?[0-9]+", text) else float(text)
        if text in ("True", "False", "None"):
            return {"True": True, "False": False, "None": None}[text]
        if is_short_name(text):
            return dtype_of_short_name(text)
        raise self._error(f"cannot read the attribute {text!r}")

    def _constant(self, type: TensorType) -> np.ndarray:
        kind, text, _ = self._peek()
        if kind == "large":
            self._at += 1
            index = int(text[1:])
            if index >= len(self._constants):
                raise self._error(f"constant {text} is not in the text: pass it in `constants`")
            return np.asarray(self._constants[index])
        if text == "[":
            items = self._list(lambda: self._number(type.dtype), "[", "]")
            if len(items) != type.size:
                raise self._error(f"{len(items)} numbers for a constant of type {type}")
            return np.array(items, dtype=type.dtype).reshape(type.shape)
        if text == "full":
            self._at += 1
        if type.size > _MOST_ELEMENTS:
            raise self._error(f"a constant of type {type} is too large")
        return np.full(type.shape, self._number(type.dtype), type.dtype)

    def _number(self, dtype: np.dtype) -> np.generic:
        _, text, _ = self._peek()
        self._at += 1
        try:
            if dtype.kind == "b":
                return np.bool_({"True": True, "False": False}[text])
            return dtype.type(float(text) if dtype.kind == "f" else int(text))
        except (KeyError, ValueError, OverflowError):
            raise self._error(f"{text!r} is not a number of dtype {dtype}") from None

    def _result(self) -> tuple[str, TensorType]:
        name = self._take("value")
        self._expect(":")
        return name, self._type()

    def _type(self) -> TensorType:
        text = self._take("type")
        short, _, rest = text.partition("[")
        return TensorType(dtype_of_short_name(short), tuple(int(part) for part in rest[:-1].split(",") if part))

    def _inputs(self) -> tuple[list[Value], dict[str, Value]]:
        def one() -> Value:
            name = self._take("word")
            self._expect(":")
            return Value(self._type(), name=name)

        inputs = self._list(one)
        return inputs, {value.name or "": value for value in inputs}

    def _value(self, names: dict[str, Value]) -> Value:
        kind, text, _ = self._peek()
        if kind not in ("value", "word") or text not in names:
            raise self._error(f"{text!r} is not a value known here")
        self._at += 1
        return names[text]

    def _list(self, item: Any, open: str = "(", close: str = ")") -> list[Any]:
        self._expect(open)
        items = []
        while self._peek()[1] != close:
            items.append(item())
            if self._peek()[1] == ",":
                self._expect(",")
        self._expect(close)
        return items

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at]

    def _take(self, kind: str) -> str:
        found, text, _ = self._peek()
        if found != kind:
            raise self._error(f"expected a {kind}, found {text or 'the end'!r}")
        self._at += 1
        return text

    def _expect(self, text: str) -> None:
        if self._peek()[1] != text:
            raise self._error(f"expected {text!r}, found {self._peek()[1] or 'the end'!r}")
        self._at += 1

    def _error(self, message: str) -> ParseError:
        return ParseError(f"line {self._peek()[2]}: {message}")
