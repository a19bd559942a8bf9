"""`print` in traced code, and texts that hold traced numbers.

What is printed is a result of the call like any other, and is shown when the call has ended: loops that print stay loops, and nothing
waits for the terminal. In a text, a number that is not known yet is a mark; `print` finds it again, and so does what keeps the text.
"""

from __future__ import annotations

import builtins
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.ir.graph import Value
from irdl.tracing.box import ARRAY, PYTHON, Box, as_kind
from irdl.tracing.recorder import Trace, trace_stack

_MARK = re.compile(r"<traced [^#<>]+ #(\d+)>")
_numbers = itertools.count()


@dataclass(frozen=True)
class Slot:
    """Where a text holds what a value will be: `convert` makes text of it."""

    trace: Trace
    value: Value
    kind: str
    convert: Callable[[Any], str]

    def text(self, array: np.ndarray) -> str:
        return self.convert(as_kind(np.asarray(array), self.kind))


def text_of(box: Box, convert: Callable[[Any], str]) -> str:
    """A traced array as a text: of its numbers where they are known, else with a mark.

    Raises:
        TypeError, ValueError: NumPy's own, of a format that does not fit.
    """
    stack = trace_stack()
    plain = f"<traced {'Python ' if box.kind == PYTHON else ''}{'array' if box.kind == ARRAY else 'scalar'} {box.type}"
    if box.cell.trace not in stack:
        return plain + ">"
    known = box.known
    if known is not None:
        return convert(as_kind(known, box.kind))
    convert(as_kind(np.ones((1,) * box.type.rank, box.type.dtype), box.kind))
    number = next(_numbers)
    stack[0].texts[number] = Slot(stack[-1], box.value, box.kind, convert)
    return f"{plain} #{number}>"


def parts_of(text: str) -> list[str | Slot]:
    """The text between the marks of the trace that is open, and what they stand for."""
    stack = trace_stack()
    if not stack or not stack[0].texts:
        return [text]
    parts: list[str | Slot] = []
    end = 0
    for mark in _MARK.finditer(text):
        slot = stack[0].texts.get(int(mark[1]))
        if slot is not None:
            parts += [text[end : mark.start()], slot]
            end = mark.end()
    return [part for part in (*parts, text[end:]) if part]


def joined(parts: Sequence[str | Slot], arrays: Sequence[np.ndarray]) -> str:
    """The text, `arrays` being what its slots turned out to be."""
    rest = iter(arrays)
    return "".join([part if isinstance(part, str) else part.text(next(rest)) for part in parts])


@dataclass
class Printed:
    """Something printed: the values that it takes, how it is shown, given those, and what is seen of it if the trace fails."""

    values: list[Value]
    show: Callable[[Sequence[np.ndarray]], None]
    text: str


def traced_print(*items: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
    """`print` as traced code sees it."""
    stack = trace_stack()
    text = (" " if sep is None else sep).join(map(str, items))
    parts = parts_of(text)
    slots = [part for part in parts if isinstance(part, Slot)]
    if not slots and (not stack or stack[0].capture is None):  # nothing compiled will run it again
        builtins.print(*items, sep=sep, end=end, file=file, flush=flush)
        return
    values = [stack[-1].lift(slot.trace, slot.value) for slot in slots]
    stream = next((name for name in ("stdout", "stderr") if file is getattr(sys, name)), None)

    def show(arrays: Sequence[np.ndarray]) -> None:
        builtins.print(joined(parts, arrays), end=end, file=getattr(sys, stream) if stream else file, flush=flush)

    stack[-1].printed.append(Printed(values, show, text + ("\n" if end is None else end)))


def together(printed: Sequence[Printed]) -> Printed:
    """One after the other."""
    ends = list(itertools.accumulate(len(item.values) for item in printed))

    def show(arrays: Sequence[np.ndarray]) -> None:
        for item, end in zip(printed, ends, strict=True):
            item.show(arrays[end - len(item.values) : end])

    return Printed([value for item in printed for value in item.values], show, "".join([item.text for item in printed]))


def repeated(printed: Printed, values: Sequence[Value], steps: int, reverse: bool = False) -> Printed:
    """For each step of a loop; `values` are stacks of those of the steps."""

    def show(arrays: Sequence[np.ndarray]) -> None:
        for step in range(steps)[::-1] if reverse else range(steps):
            printed.show([array[step] for array in arrays])

    return Printed(list(values), show, printed.text)


def chosen(predicate: Value, branches: Sequence[Printed], values: Sequence[Value]) -> Printed:
    """The first branch where the predicate holds, the second where it does not; `values` are the first's, then the second's."""
    first, second = branches
    count = len(first.values)

    def show(arrays: Sequence[np.ndarray]) -> None:
        flag, *rest = arrays
        (first if flag else second).show(rest[:count] if flag else rest[count:])

    return Printed([predicate, *values], show, first.text + second.text)


def show_later(printed: Printed, found: Sequence[Any]) -> None:
    """Show what was printed in an inner trace, now that its values are found: arrays, or values of the enclosing trace, which shows it
    when it ends."""
    stack = trace_stack()
    if stack:
        stack[-1].printed.append(Printed(list(found), printed.show, printed.text))
    else:
        printed.show(found)
