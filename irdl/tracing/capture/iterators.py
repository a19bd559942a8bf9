"""Iterators from outside: a trace that moved one on would do so once, and what it gives would be the same at each call."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NoReturn

from irdl.errors import TraceError
from irdl.tracing.lines import user_line


class Resting:
    """Stands for an iterator, which may be handed around and not be moved on."""

    def __init__(self, kind: str, name: str) -> None:
        self._kind, self._name = kind, name

    def __iter__(self) -> Resting:
        return self

    def __next__(self) -> NoReturn:
        raise TraceError(
            f"`{self._name}`, a {self._kind}, is an iterator from outside: it would move on once, while the function is traced, and not at each "
            f"call; take from it outside and pass what it gives, or keep a number that counts{user_line()}"
        )

    def send(self, _: Any) -> NoReturn:
        """As of a generator."""
        self.__next__()


def is_iterator(item: Any) -> bool:
    """Files are none here: who writes to one does not read it on."""
    return isinstance(item, Iterator) and not isinstance(item, io.IOBase)
