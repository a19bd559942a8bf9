"""Errors that traced code raises where a traced bool holds (`if x < 0: raise ..`, `assert`): the call raises them.

A trace keeps the code of the first of its checks that has failed, 0 of none, and the numbers that the errors show. Those are values
like any others, results of the bodies, branches and gradients that they are in, so nothing loses them or takes them for something
else; only the op `check`, at the end of the trace of a whole function, raises. What runs after a check that has failed is as
harmless as it was before: indices there are 0, and loops end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from irdl.errors import TraceError
from irdl.ir.builder import CONSTANT, ConstantAttributes, make_node
from irdl.ir.graph import Location, Value
from irdl.ir.op import NO_ATTRIBUTES, Op
from irdl.ir.printer import at_location
from irdl.ir.types import TensorType
from irdl.ops.checks import CHECK, CheckAttributes, harmless
from irdl.ops.dynamic import DYNAMIC_SLICE, DynamicSliceAttributes
from irdl.ops.elementwise import ADD, BITWISE_AND, BITWISE_OR, EQUAL, INVERT, MUL, NOT_EQUAL, SELECT
from irdl.ops.reduce import ARGMAX, ArgReduceAttributes
from irdl.ops.shape import BROADCAST, RESHAPE, REVERSE, BroadcastAttributes, ReshapeAttributes, ReverseAttributes
from irdl.tracing.box import is_box, wrap
from irdl.tracing.handlers import catches
from irdl.tracing.lines import user_line, user_location
from irdl.tracing.raised import Errors, Raised
from irdl.tracing.recorder import Trace, open_trace, trace_stack

#: from a code and the numbers that are kept to the error
Find = Callable[[int, Sequence[np.ndarray]], BaseException]

_INT = np.dtype(np.int64)
#: of the texts that stand in a dump, alone and joined
_MOST_TEXTS = 16
_MOST_JOINED = 4
#: elements of an array that is small
_FEW = 16


@dataclass(frozen=True)
class Checked:
    """What the checks of a trace have come to: values of it, the code and then the numbers; the codes are 1 to `count`. `text`: what the
    errors are in words."""

    values: Sequence[Value]
    count: int
    find: Find
    text: str
    location: Location


class _Entry(NamedTuple):
    """Of the codes behind `start`: how their errors are found, and where their numbers are among those of the trace."""

    start: int
    find: Find
    places: Sequence[int]


def check(fails: Any, error: BaseException | type[BaseException]) -> None:
    """From here on the trace holds where `fails` does not; where it does, the call raises `error`.

    Args:
        fails: one bool, traced or not, or a number that is not 0.
        error: an exception, or a class that is called without arguments. Traced numbers in its arguments, its attributes and their
            texts are those of the call.

    Raises:
        ValueError: `fails` is an array of more than one element, or of none.
        error: `fails` is known, and holds.
    """
    if not is_box(fails):
        if fails:
            raise error
        return
    if fails.size != 1:
        raise ValueError(f"The truth value of an array of shape {fails.shape} is ambiguous. Use a.any() or a.all(){user_line()}")
    if fails.known is None:
        _check_handlers(error)
        flag: Any = np.reshape(fails, ()) if fails.shape else fails
        _checks_of(open_trace()).add((flag if flag.dtype == np.bool_ else flag != 0).value, error)
    elif fails.known:
        raise _known(error)


def fail(error: BaseException | type[BaseException]) -> None:
    """Raise `error` where the call comes to what is being traced, which may be a side of a `cond` that it does not take; what is recorded
    behind it counts for nothing then. At the outermost, where every call comes to, and outside of a trace it is raised at once."""
    stack = trace_stack()
    if len(stack) < 2:
        raise _known(error) if stack else error
    _check_handlers(error)
    _checks_of(stack[-1]).add(stack[-1].constant(True), error)


def _check_handlers(error: BaseException | type[BaseException]) -> None:
    """
    Raises:
        TraceError: an `except` in the traced code would catch the error.
    """
    cls, stack = error if isinstance(error, type) else type(error), trace_stack()
    if handler := catches(cls, stack[0].depth if stack else 0):
        raise TraceError(
            f"a {cls.__name__} that depends on traced numbers comes to the `except` at {handler}, and compiled code cannot go on there: "
            f"choose by np.where or irdl.cond, or leave the error to the caller{user_line()}"
        )


def _known(error: BaseException | type[BaseException]) -> BaseException | type[BaseException]:
    """The error, with the numbers that its traced ones are known to be, as those of a gradient outside of a compiled function are."""
    trace = open_trace()
    raised = Raised(error, user_location())
    arrays = [trace.known_array(value) for value in raised.values]
    known = [array for array in arrays if array is not None]
    return raised.made(known) if known and len(known) == len(arrays) else error


def _checks_of(trace: Trace) -> _Checks:
    if trace.checks is None:
        trace.checks, trace.harmless = _Checks(trace), _harmless
    found: _Checks = trace.checks
    return found


class _Checks:
    """Those of one trace so far."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        # Of no step of a loop, in which the first check may be: it is as the others then.
        self.code = self._zero = unrecorded(TensorType(_INT, ()))
        self.numbers: list[Value] = []
        self.count = 0
        #: whether one has failed, as far as what follows depends on it: in a loop only of the step and of what was before the loop, so
        #: that a step does not wait for the one before
        self.failing: Value | None = None
        self._entries: list[_Entry] = []
        self._places: dict[Any, list[int]] = {}
        #: what the errors of each line are in words, and the lines in their order, each with its last code
        self._texts: dict[Location, str] = {}
        self._lines: list[tuple[int, Location]] = []
        #: of the loops of Python's that are under way, what `failing` and `code` were before them
        self._entered: dict[int, tuple[Value | None, Value | None]] = {}

    def _made(self, op: Op, *operands: Value, attributes: Any = NO_ATTRIBUTES) -> Value:
        return self._trace.apply(op, operands, attributes)[0]

    def add(self, fails: Value, error: BaseException | type[BaseException]) -> None:
        """The next check."""
        location = self._trace.location if self._trace.location is not None else user_location()
        raised = Raised(error, location)
        code = self._trace.constant(self.count + 1, _INT)
        numbers, raised.values = raised.values, []  # what is kept for the calls keeps nothing of the trace
        self._record(fails, code, numbers, 1, lambda _, arrays: raised.made(arrays), raised.text, location)

    def absorb(self, inner: Checked, values: Sequence[Value]) -> None:
        """The checks of an inner trace, whose `values` are these here."""
        code = values[0]
        fails = self._made(NOT_EQUAL, code, self._zero)
        behind = self._made(ADD, code, self._trace.constant(self.count, _INT))
        self._record(fails, behind, values[1:], inner.count, inner.find, inner.text, inner.location)

    def _record(self, fails: Value, code: Value, numbers: Sequence[Value], count: int, find: Find, text: str, location: Location) -> None:
        trace = self._trace
        previous, trace.location = trace.location, location
        is_first = self._made(EQUAL, self.code, self._zero)
        here = self._made(BITWISE_AND, fails, is_first)
        self.code = self._made(SELECT, here, code, self.code)
        # Of a line that is met again, as in a loop, the numbers take the same places.
        key = (location, tuple(value.type for value in numbers))
        if key not in self._places:
            self._places[key] = [*range(len(self.numbers), len(self.numbers) + len(numbers))]
            # A small one begins as zeros, so that the steps of a loop are alike; a large one as it is, so that nothing is copied.
            self.numbers += [value if value.type.size > _FEW else unrecorded(value.type) for value in numbers]
        places = self._places[key]
        for place, value in zip(places, numbers, strict=True):
            if value is not self.numbers[place]:
                self.numbers[place] = self._made(SELECT, here, value, self.numbers[place])
        self._entries.append(_Entry(self.count, find, places))
        self.count += count
        known = self._texts.setdefault(location, text)
        if known != text:  # one step of a loop says another thing than the others
            same = takewhile(lambda pair: pair[0] == pair[1], zip(known.removesuffix("..."), text, strict=False))
            self._texts[location] = "".join([letter for letter, _ in same]) + "..."
        if self._lines and self._lines[-1][1] == location:
            self._lines.pop()
        self._lines.append((self.count, location))
        self.failing = fails if self.failing is None else self._made(BITWISE_OR, self.failing, fails)
        trace.location = previous

    def checked(self) -> Checked:
        text, location = _joined(self._texts.values()), frozenset[Any]().union(*self._texts)
        entries = self._entries

        def find(code: int, arrays: Sequence[np.ndarray]) -> BaseException:
            entry = entries[bisect_right(entries, code - 1, key=lambda entry: entry.start) - 1]
            return entry.find(code - entry.start, [arrays[place] for place in entry.places])

        return Checked([self.code, *self.numbers], self.count, find, text, location)

    def in_words(self) -> list[tuple[int, str]]:
        """What the errors are in words, with their lines, in the order of their codes: those up to each of these."""
        if len(self._lines) > _MOST_TEXTS:
            return [(self.count, _joined(self._texts.values()))]
        return [(last, self._texts[location] + at_location(location)) for last, location in self._lines]

    def at_mark(self, loop: int, step: int) -> None:
        """A step of a loop of Python's begins, or, where that is -1, the loop ends."""
        if step == 0:
            self._entered[loop] = (self.failing, self.code)
            return
        before, code = self._entered.get(loop, (None, None))
        self.failing = before
        if step < 0 and code is not self.code and not self._trace.ended:
            failed = self._made(NOT_EQUAL, self.code, self._zero if code is None else code)
            self.failing = failed if before is None else self._made(BITWISE_OR, before, failed)


def _joined(texts: Iterable[str]) -> str:
    different = list(dict.fromkeys(texts))
    return " or ".join(different[:_MOST_JOINED]) + (" or others" if len(different) > _MOST_JOINED else "")


def unrecorded(type: TensorType) -> Value:
    """Zeros, which stand beside the record of a trace."""
    zero = make_node(CONSTANT, (), ConstantAttributes(np.zeros((), type.dtype))).output
    return make_node(BROADCAST, [zero], BroadcastAttributes(type.shape)).output if type.shape else zero


def failing(trace: Trace) -> Value | None:
    """Whether a check before this point of the trace has failed, of this one or of one around it; None where there is none."""
    own = None if trace.checks is None else trace.checks.failing
    outer = None if trace.parent is None else failing(trace.parent)
    if outer is None or trace.parent is None:
        return own
    lifted = trace.lift(trace.parent, outer)
    return lifted if own is None else _once(trace, BITWISE_OR, [own, lifted])


def _once(trace: Trace, op: Op, operands: Sequence[Value], attributes: Any = NO_ATTRIBUTES) -> Value:
    """A value made of these, the same each time: a place that is read and stored into stays one place."""
    key = (op, attributes, *operands)
    if key not in trace.made_harmless:
        trace.made_harmless[key] = trace.apply(op, operands, attributes)[0]
    return trace.made_harmless[key]


def _harmless(trace: Trace, op: Op, operands: Sequence[Value]) -> Sequence[Value]:
    """Operands of an op that can raise, with which it does not where a check before it has failed: NumPy would not have come there."""
    has_failed = failing(trace)
    if has_failed is None:
        return operands

    def make(op: Op, operands: Sequence[Value], attributes: Any) -> Value:
        return _once(trace, op, operands, attributes)

    def constant(array: Any, dtype: Any) -> Value:
        key = (np.asarray(array).tobytes(), np.shape(array), dtype)
        if key not in trace.made_harmless:
            trace.made_harmless[key] = trace.constant(array, dtype)
        return trace.made_harmless[key]

    return harmless(make, constant, op, operands, make(INVERT, [has_failed], NO_ATTRIBUTES))


def going(verdict: Any) -> Any:
    """Whether a loop goes on that would do so where `verdict`, a traced bool of the open trace, holds: not once a check has failed."""
    has_failed = failing(open_trace())
    return verdict if has_failed is None else np.logical_and(verdict, np.logical_not(wrap(has_failed)))


def checked(trace: Trace, what: str = "") -> Checked | None:
    """What the checks of a trace that is about to end come to; None of none. `what`: the trace is of something that keeps none.

    Raises:
        TraceError: it has some all the same.
    """
    if trace.checks is None or not trace.checks.count:
        return None
    if what:
        raise TraceError(
            f"an error that depends on traced numbers is raised inside a {what}, of which only the results are kept: check what goes into "
            f"it or what comes out of it{user_line()}"
        )
    found: Checked = trace.checks.checked()
    return found


def absorb(found: Checked | None, values: Sequence[Value]) -> None:
    """Take the checks of an inner trace into the open one, in which these are its values."""
    if found is not None:
        _checks_of(open_trace()).absorb(found, values)


def raise_first(found: Checked | None, arrays: Sequence[np.ndarray]) -> None:
    """Raise the error of the first check of a trace that failed. `arrays`: what its values have come to, or stacks of those of several
    elements."""
    if found is None:
        return
    failed = np.argwhere(arrays[0])
    if len(failed):
        code, *numbers = (array[tuple(failed[0])] for array in arrays)
        raise found.find(int(code), numbers)


def repeated(found: Checked | None, stacks: Sequence[Value], steps: int, reverse: bool = False) -> tuple[Checked | None, list[Value]]:
    """For each step of a loop; `stacks` are of the values of the steps. The first step that has failed counts."""
    if found is None or steps == 0:
        return None, []
    trace = open_trace()

    def made(op: Op, *operands: Value, attributes: Any = NO_ATTRIBUTES) -> Value:
        return trace.apply(op, operands, attributes)[0]

    if reverse:
        stacks = [made(REVERSE, stack, attributes=ReverseAttributes((0,))) for stack in stacks]
    failed = made(NOT_EQUAL, stacks[0], trace.constant(0, _INT))
    step = made(ARGMAX, failed, attributes=ArgReduceAttributes(0))
    start = made(RESHAPE, step, attributes=ReshapeAttributes((1,)))
    rows = [made(DYNAMIC_SLICE, stack, start, attributes=DynamicSliceAttributes((0,), (1,))) for stack in stacks]
    code, *numbers = (made(RESHAPE, row, attributes=ReshapeAttributes(row.shape[1:])) for row in rows)
    behind = made(ADD, code, made(MUL, step, trace.constant(found.count, _INT)))
    code = made(SELECT, made(NOT_EQUAL, code, trace.constant(0, _INT)), behind, trace.constant(0, _INT))

    find, count = found.find, found.count

    def each(code: int, arrays: Sequence[np.ndarray]) -> BaseException:
        return find((code - 1) % count + 1, arrays)

    return Checked((), steps * count, each, found.text, found.location), [code, *numbers]


def concluded(trace: Trace) -> tuple[Errors | None, list[Value]]:
    """Of the trace of a whole function, about to end: the errors that it raises, and the hidden outputs that it takes."""
    found = checked(trace)
    if found is None:
        return None, []
    codes, texts = zip(*trace.checks.in_words(), strict=True)
    previous, trace.location = trace.location, found.location
    outputs = trace.apply(CHECK, found.values, CheckAttributes(texts, codes))
    trace.location = previous
    return Errors(len(outputs), found.find), list(outputs)
