"""One state for several lengths of a block: what a function keeps, found again where it is traced for other shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.exporting.interface import Member
from irdl.exporting.state import NUMBERS, Change, array_of, is_same_place
from irdl.tracing.capture.capture import Captured
from irdl.tracing.function import TracedFunction


@dataclass(frozen=True)
class State:
    """What an exported function keeps from call to call.

    Attributes:
        owner: its C name: the struct is `owner_state`.
        function: what was exported.
        kept: what is captured of it, in Python.
        members: of the struct, in its order; each holds the first contents of one of `kept`.
        contents: those, in the order of `kept`.
    """

    owner: str
    function: Callable[..., Any]
    kept: Sequence[Captured]
    members: Sequence[Member]
    contents: Sequence[np.ndarray]

    def check(self, function: Callable[..., Any], name: str) -> None:
        """
        Raises:
            ValueError: it is another function, which may set a number that it doesn't read, or has the same name in C.
        """
        if function != self.function:
            raise ValueError(
                f"state=: `{self.owner}` is another function; those that work on one state are one function, for several shapes"
            )
        if name == self.owner:
            raise ValueError(f"state=: `{name}` is the name of that function already: give this one another, name=...")

    def numbers_in(self, traced: TracedFunction) -> set[str]:
        """The names of its numbers among those that a trace has taken as they are."""
        return {name for read, _, name in traced.taken if any(is_same_place(read, item.read) for item in self.kept)}

    def found_in(self, traced: TracedFunction, changes: Sequence[Change], kept: Collection[int]) -> dict[int, int]:
        """What of the captured is kept here: its number -> its place in `kept`.

        Args:
            changes: all that is bound to something else, read or not.
            kept: of the captured, what this trace would keep.

        Raises:
            TraceError: it keeps something else, or binds a part of the state without reading it.
        """
        found = {
            number: place
            for number, item in enumerate(traced.captured)
            for place, own in enumerate(self.kept)
            if is_same_place(item.read, own.read)
        }
        function = traced.graph.name
        for number in kept:
            if number not in found:
                raise self._missing(traced.captured[number].name)
        for number, place in found.items():
            if traced.captured[number].value.type != self.kept[place].value.type:
                raise self._missing(traced.captured[number].name)
        for read, item in traced.guards:
            if isinstance(item, NUMBERS) and any(is_same_place(read, own.read) for own in self.kept):
                raise TraceError(
                    f"`{function}` takes a number that {self.owner}_state holds as it is now, {item!r}: make it an array of NumPy's"
                )
        reads = [traced.captured[number].read for number in found]
        for change in changes:
            if any(is_same_place(change.read, item.read) for item in self.kept) and not any(
                is_same_place(change.read, read) for read in reads
            ):
                raise TraceError(
                    f"`{function}` sets `{change.name}` for these shapes, and does not read it: read it for all of them, or for none"
                )
        self._check_apart(traced, found)
        return found

    def _missing(self, name: str) -> TraceError:
        return TraceError(
            f"`{name}` is kept from call to call for these shapes, and {self.owner}_state has no such member: export the function for these "
            "shapes first, and give that as the state of the others"
        )

    def _check_apart(self, traced: TracedFunction, found: Collection[int]) -> None:
        """What is constant here is no view of the state."""
        parts = [array_of(item) for item in self.kept]
        for number, item in enumerate(traced.captured):
            if number not in found and any(np.may_share_memory(array_of(item), part) for part in parts):
                raise TraceError(f"`{item.name}` shares its memory with a part of {self.owner}_state: make the view of it in the function")
