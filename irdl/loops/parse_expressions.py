"""Text -> Expression: what `parse` reads statements with, and the tokens of both."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from irdl.ir.dtypes import SHORT_NAME, dtype_of_short_name, is_float
from irdl.ir.op import find_op
from irdl.ir.parser import MOST_ELEMENTS
from irdl.ir.tokens import Tokens
from irdl.ir.types import TensorType
from irdl.loops.expressions import Buffer, Expression, IndexValue, Literal, Load, Operation, Variable
from irdl.loops.index import Index

_NUMBER = r"-?(?:inf|nan|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r]+ | \#[^\n]*)
  | (?P<newline>\n)
  | (?P<literal>{_NUMBER}{SHORT_NAME}\b | (?:True|False)\b)
  | (?P<large>@[0-9]+)
  | (?P<number>{_NUMBER}(?![A-Za-z_]))
  | (?P<string>"[^"\n]*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<mark>[(){{}}\[\]:,=*+@])
    """,
    re.VERBOSE,
)


class Expressions(Tokens):
    """Reads expressions of buffers and variables that have been declared."""

    def __init__(self, text: str, constants: Sequence[np.ndarray]) -> None:
        super().__init__(text, _TOKEN)
        self._constants = constants
        self._buffers: dict[str, Buffer] = {}
        #: what is bound by `let`
        self._variables: dict[str, Variable] = {}

    def _constant(self, buffer: Buffer) -> np.ndarray:
        kind, text, _ = self.peek()
        if kind == "large":
            self.skip()
            place = int(text[1:])
            if place >= len(self._constants):
                raise self.error(f"constant {text} is not in the text: pass it in `constants`")
            return np.asarray(self._constants[place])
        if text == "[":
            items = self.list(lambda: self._number(buffer.dtype), "[", "]")
        elif self.accept("full") and buffer.size <= MOST_ELEMENTS:
            return np.full(buffer.size, self._number(buffer.dtype), buffer.dtype)
        else:
            items = [self._number(buffer.dtype)]
        if len(items) != buffer.size:
            raise self.error(f"{len(items)} numbers for a constant of {buffer.size}")
        return np.array(items, buffer.dtype)

    def _number(self, dtype: np.dtype) -> np.generic:
        text = self.take("literal" if dtype == np.bool_ else "number")
        return _number(text, dtype)

    def _buffer(self) -> Buffer:
        name = self.take("word")
        if name not in self._buffers:
            raise self.error(f"there is no buffer {name!r}")
        return self._buffers[name]

    def _place(self) -> Index:
        self.expect("[")
        index = self._index()
        self.expect("]")
        return index

    def _index(self) -> Index:
        index = self._term()
        while self.accept("+"):
            index = index + self._term()
        return index

    def _term(self) -> Index:
        if self.peek()[0] == "word":
            return Index.variable(self.take("word"))
        number = self._integer()
        return Index.variable(self.take("word"), number) if self.accept("*") else Index(number)

    def _integer(self) -> int:
        return int(self.take("number"))

    def _expression(self) -> Expression:
        kind, text, _ = self.peek()
        if kind == "literal":
            self.skip()
            if text in ("True", "False"):
                return Literal(np.bool_(text == "True"))
            match = re.fullmatch(rf"({_NUMBER})({SHORT_NAME})", text)
            assert match is not None
            return Literal(_number(match[1], dtype_of_short_name(match[2])))
        name = self.take("word")
        following = self.peek()[1]
        if following == "[":
            self.skip(-1)
            return Load(self._buffer(), self._place())
        if following != "(":
            if name not in self._variables:
                raise self.error(f"there is no variable {name!r}")
            return self._variables[name]
        if name == "index":
            self.expect("(")
            index = self._index()
            self.expect(")")
            return IndexValue(index)
        arguments = tuple(self.list(self._expression))
        name, _, suffix = name.partition(".")
        return Operation(name, arguments, self._result(name, suffix, arguments))

    def _result(self, name: str, suffix: str, arguments: Sequence[Expression]) -> np.dtype:
        """The dtype of an operation: the text says it of a cast, of others it follows from the arguments."""
        if name == "cast":
            if not suffix:
                raise self.error("a cast says what it casts to, as cast.f32")
            return dtype_of_short_name(suffix)
        name += suffix and f".{suffix}"
        if name == "fma" and arguments:
            return arguments[-1].dtype
        if name == "tf32" and arguments:
            return np.dtype(np.float32)
        op = find_op(name)
        if op is None:
            raise self.error(f"there is no op named {name!r}")
        return op.infer([TensorType(argument.dtype, ()) for argument in arguments], op.Attributes(), ())[0].dtype


def _number(text: str, dtype: np.dtype) -> np.generic:
    if dtype == np.bool_:
        return np.bool_({"True": True, "False": False}[text])
    return dtype.type(float(text) if is_float(dtype) else int(text))
