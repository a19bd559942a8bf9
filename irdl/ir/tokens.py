"""Text as tokens, with the line in every error: what the parsers of graphs and of programs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from irdl.errors import IrdlError, ParseError

Item = TypeVar("Item")

_MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, TypeError, ValueError)


class Tokens:
    """The tokens of a text and a place among them.

    Args:
        text: what to read.
        pattern: whose named groups are the kinds of tokens; `space` and `newline` are left out.

    Raises:
        ParseError: a part of the text is no token.
    """

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        position, line = 0, 1
        while position < len(text):
            match = pattern.match(text, position)
            if match is None:
                raise ParseError(f"line {line}: cannot read {text[position : position + 20]!r}")
            kind = match.lastgroup or ""
            if kind not in ("space", "newline"):
                self._tokens.append((kind, match.group(), line))
            line += kind == "newline"
            position = match.end()
        self._tokens.append(("end", "", line))

    def peek(self, ahead: int = 0) -> tuple[str, str, int]:
        """Kind, text and line of a token further on."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def skip(self, count: int = 1) -> None:
        self._at = min(self._at + count, len(self._tokens) - 1)

    def take(self, kind: str) -> str:
        found, text, _ = self.peek()
        if found != kind:
            raise self.error(f"expected a {kind}, found {text or 'the end'!r}")
        self._at += 1
        return text

    def expect(self, text: str) -> None:
        if self.peek()[1] != text or self.peek()[0] == "end":
            raise self.error(f"expected {text!r}, found {self.peek()[1] or 'the end'!r}")
        self._at += 1

    def accept(self, text: str) -> bool:
        """Take the next token if it is this one."""
        found = self.peek()[1] == text and self.peek()[0] != "end"
        self._at += found
        return found

    def list(self, item: Callable[[], Item], open: str = "(", close: str = ")") -> list[Item]:
        self.expect(open)
        items = []
        while self.peek()[1] != close:
            items.append(item())
            if self.peek()[1] == ",":
                self.expect(",")
        self.expect(close)
        return items

    def whole(self, read: Callable[[], Item], verify: Callable[[Item], None]) -> Item:
        """What `read` makes of the tokens, verified; whatever else than a ParseError that raises is one, at the line where it came to."""
        try:
            found = read()
            verify(found)
            return found
        except ParseError:
            raise
        except IrdlError as error:
            raise self.error(str(error)) from error
        except RecursionError:
            raise self.error("the text is nested too deeply") from None
        except _MISFITS as error:  # an op was given operands, attributes or regions of a kind that it never has
            raise self.error(f"{type(error).__name__}: {error}") from error

    def error(self, message: str) -> ParseError:
        return ParseError(f"line {self.peek()[2]}: {message}")
