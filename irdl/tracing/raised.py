"""Exceptions that a call raises at run time: kept as they are while tracing, and made anew, with the call's numbers, at each call that fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import CODE, out_of_bounds
from irdl.ir.dtypes import is_complex
from irdl.ir.graph import Location, Value
from irdl.ir.op import NO_ATTRIBUTES
from irdl.ir.printer import format_location
from irdl.ops.elementwise import IMAG, REAL
from irdl.tracing.box import as_kind, is_box
from irdl.tracing.printing import Slot, parts_of
from irdl.tracing.recorder import open_trace

#: of the texts that stand in dumps
_LONGEST = 200
_MARK = re.compile(r"<traced [^<>]*>")


@dataclass(frozen=True)
class _Number:
    """Where an argument of the exception, or a part of a text, is a traced number: `place` among the numbers that are kept."""

    place: int
    convert: Callable[[np.ndarray], Any]
    is_complex: bool

    def of(self, arrays: Sequence[np.ndarray]) -> Any:
        array = np.array(arrays[self.place])  # the next call writes there
        return self.convert(array + 1j * arrays[self.place + 1] if self.is_complex else array)


@dataclass(frozen=True)
class _Text:
    """A text with numbers in it."""

    parts: Sequence[str | _Number]

    def of(self, arrays: Sequence[np.ndarray]) -> str:
        return "".join([part if isinstance(part, str) else part.of(arrays) for part in self.parts])


class Raised:
    """An exception as the trace has met it.

    Attributes:
        values: the traced numbers that it holds, as values of the open trace.
        text: what it is, for dumps: "ValueError: diverged".
    """

    def __init__(self, error: BaseException | type[BaseException], location: Location) -> None:
        if isinstance(error, type):
            error = error()
        self.values: list[Value] = []
        self._class, self._cause, self._is_alone = type(error), error.__cause__, error.__suppress_context__
        self._where = format_location(location)
        # What C keeps of a builtin exception is in its arguments.
        parts: tuple[Any, ...] = _builtin(type(error)).__reduce__(error)  # type: ignore[assignment]
        self._arguments: Any = self._kept(parts[1])
        self._state: Any = self._kept(parts[2] if len(parts) > 2 and parts[2] else {})
        #: the exception itself is only kept where no other can be made: it may hold traced arrays, and they the whole trace
        self._only = error if _new(self._class, parts[1]) is None else None
        self.text = _described(error)

    def _kept(self, item: Any) -> Any:
        """The item, with recipes in the place of what holds traced numbers."""
        if is_box(item):
            kind = item.kind
            return self._number(item.value, lambda array: as_kind(array, kind))
        if type(item) is str:
            parts = parts_of(item)
            if not any(isinstance(part, Slot) for part in parts):
                return item
            return _Text([part if isinstance(part, str) else self._of_slot(part) for part in parts])
        if type(item) in (list, tuple):
            return type(item)(map(self._kept, item))
        return {key: self._kept(part) for key, part in item.items()} if type(item) is dict else item

    def _of_slot(self, slot: Slot) -> _Number:
        kind, convert = slot.kind, slot.convert
        return self._number(open_trace().lift(slot.trace, slot.value), lambda array: convert(as_kind(array, kind)))

    def _number(self, value: Value, convert: Callable[[np.ndarray], Any]) -> _Number:
        place, apply = len(self.values), open_trace().apply
        if is_complex(value.dtype):
            self.values += [apply(part, [value], NO_ATTRIBUTES)[0] for part in (REAL, IMAG)]
        else:
            self.values.append(value)
        return _Number(place, convert, is_complex(value.dtype))

    def made(self, arrays: Sequence[np.ndarray]) -> BaseException:
        """The exception of a call. `arrays`: what the `values` were. Its class is not called again: what that takes need not be what
        an exception holds."""
        found = self._only or _new(self._class, _filled(self._arguments, arrays))
        assert found is not None
        found = found.with_traceback(None)
        BaseException.__setstate__(found, _filled(self._state, arrays))
        found.__cause__, found.__suppress_context__ = self._cause, self._is_alone
        if self._where and found is not self._only:
            found.add_note(f"raised at {self._where}")
        return found


def _new(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException | None:
    """An exception that has these arguments; None of a class whose `__new__` takes something else."""
    try:
        found: BaseException = cls.__new__(cls, *arguments)
        _builtin(cls).__init__(found, *arguments)
    except TypeError:
        return None
    return found


def _builtin(cls: type[BaseException]) -> type[BaseException]:
    """Python's own class that an exception's is made of."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _filled(item: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(item, (_Number, _Text)):
        return item.of(arrays)
    if type(item) in (list, tuple):
        return type(item)([_filled(part, arrays) for part in item])
    return {key: _filled(part, arrays) for key, part in item.items()} if type(item) is dict else item


def _described(error: BaseException) -> str:
    """The class and the message, as far as a dump can hold them; "..." stands for numbers."""
    try:
        message = _MARK.sub("...", str(error))
    except Exception:
        message = ""
    message = " ".join(message.replace('"', "'").split())
    name = type(error).__name__
    return f"{name}: {message}"[:_LONGEST] if message else name


class Errors:
    """The errors that a compiled call may raise by the code of a check, and how many hidden outputs it has for those: the code, and
    numbers that they show."""

    def __init__(self, hidden: int, find: Callable[[int, Sequence[np.ndarray]], BaseException]) -> None:
        self.hidden = hidden
        self._find = find

    def error(self, code: int, hidden: Sequence[np.ndarray]) -> BaseException:
        """The error of a code that is not 0. `hidden`: those outputs."""
        return self._find(code, hidden[1:])


def failure(errors: Errors | None, hidden: Sequence[np.ndarray], value: int, check: Any) -> BaseException:
    """What a call raises whose check has found `value`."""
    if check.axis == CODE and errors is not None:
        return errors.error(value, hidden)
    return out_of_bounds(value, *check)
