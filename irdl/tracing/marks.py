"""Loops of traced code report their steps: `range` as traced code sees it, and iteration over traced arrays.

Marks only propose where steps begin; nothing depends on their being right.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

from irdl.tracing.long_loops import plans
from irdl.tracing.recorder import current_trace


def marked(items: Sequence[Any], is_known: bool = False) -> Iterator[Any]:
    """The items; the trace that is being recorded hears where each step begins, and where the loop ends, however it does. `is_known`:
    that it goes step by step is settled.

    Raises:
        LongLoop: there are many.
    """
    trace = current_trace()
    if trace is None:
        yield from items
        return
    if not is_known and len(items) >= plans.MANY_STEPS:
        plans.ask(len(items))
    loop = trace.begin_loop()
    try:
        for step, item in enumerate(items):
            trace.mark(loop, step)
            yield item
    finally:
        trace.mark(loop, -1)


class _RangeType(type):
    def __instancecheck__(cls, item: Any) -> bool:
        return isinstance(item, builtins.range) or type.__instancecheck__(cls, item)


class MarkedRange(metaclass=_RangeType):
    """`range`, whose iteration leaves marks."""

    __slots__ = ("_range",)

    def __init__(self, *limits: Any) -> None:
        self._range = builtins.range(*limits)

    @property
    def plain(self) -> builtins.range:
        return self._range

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return builtins.range

    def __iter__(self) -> Iterator[int]:
        return marked(self._range)

    def __reversed__(self) -> Iterator[int]:
        return marked(self._range[::-1])

    def __getitem__(self, index: Any) -> Any:
        found = self._range[index]
        if isinstance(found, int):
            return found
        made = MarkedRange.__new__(MarkedRange)
        made._range = found
        return made

    def __len__(self) -> int:
        return len(self._range)

    def __contains__(self, item: Any) -> bool:
        return item in self._range

    def __eq__(self, other: Any) -> bool:
        return bool(self._range == (other._range if type(other) is MarkedRange else other))

    def __hash__(self) -> int:
        return hash(self._range)

    def __repr__(self) -> str:
        return repr(self._range)

    def __reduce__(self) -> Any:
        return builtins.range, (self._range.start, self._range.stop, self._range.step)

    def __getattr__(self, name: str) -> Any:  # start, stop, step, index, count
        return getattr(self._range, name)
