"""The recorder: what the code being traced does becomes nodes, in order, each with the user's line.

Traces nest (a scan body inside a function, a gradient inside a jit). A value of an outer trace that an inner one
reads becomes an explicit input of the inner graph, so every region is closed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from irdl import config
from irdl.errors import GraphError, LeakedTracerError, TraceError
from irdl.ir.builder import CONSTANT, ConstantAttributes, constant_of, make_node
from irdl.ir.graph import Graph, Location, Node, Value
from irdl.ir.op import NO_ATTRIBUTES, Op
from irdl.ir.types import TensorType
from irdl.tracing.handlers import depth
from irdl.tracing.lines import user_line, user_location
from irdl.tracing.rolling.cost import LIMITS
from irdl.tracing.rolling.record import Mark
from irdl.tracing.rolling.roll import roll


class _State(threading.local):
    """The traces that a thread is recording, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Trace] = []


_state = _State()


def trace_stack() -> list[Trace]:
    return _state.stack


def current_trace() -> Trace | None:
    stack = _state.stack
    return stack[-1] if stack else None


def open_trace() -> Trace:
    """The trace being recorded.

    Raises:
        LeakedTracerError: there is none, so the traced array at hand is left over from an earlier one.
    """
    trace = current_trace()
    if trace is None:
        raise LeakedTracerError(f"a traced array was used after its trace had ended: return it from the function instead{user_line()}")
    return trace


def _fail_traces(error: TraceError) -> None:
    for trace in trace_stack():
        if trace.failure is None:
            trace.failure = error


TraceError.witness = staticmethod(_fail_traces)


def _constant(array: Any, dtype: Any) -> ConstantAttributes:
    if type(array) in (int, float) and array:  # of zeros there are two
        return _number(float if type(array) is float else int, array, dtype)
    return ConstantAttributes(np.asarray(array, dtype))


@lru_cache(maxsize=4096)
def _number(kind: type, number: float, dtype: Any) -> ConstantAttributes:
    """The same few numbers are met over and over."""
    try:
        return ConstantAttributes(np.asarray(number, dtype))
    except OverflowError:
        remedy = ", as which traced Python ints are computed" if dtype == np.int64 else ""
        raise OverflowError(f"Python integer {number} out of bounds for {dtype}{remedy}{user_line()}") from None


class Cell:
    """Where a traced array lives: its trace and its present value. A store rebinds `value`. `aliases` are arrays that may be this one
    (see `aliases`)."""

    __slots__ = ("__weakref__", "aliases", "trace", "value")

    def __init__(self, trace: Trace, value: Value) -> None:
        self.trace = trace
        self.value = value
        self.aliases: tuple[Any, ...] = ()


class Trace:
    """One graph being recorded. A context manager: values used after it has ended are leaks."""

    def __init__(self, name: str = "", roll: bool = True) -> None:
        self.name = name
        self.rolls = roll
        self.inputs: list[Value] = []
        self.known: dict[Value, np.ndarray] = {}
        #: of the known values those that depend on inputs: their numbers are there, but a derivative may pass through them
        self.followed: set[Value] = set()
        #: value of the trace around -> the input that stands for it here, in order of first use
        self.lifted: dict[Value, Value] = {}
        self.lifted_cells: dict[Value, tuple[Trace, Value]] = {}
        self.parent: Trace | None = None
        #: of the outermost trace, how many frames are around it
        self.depth = 0
        self.location: Location | None = None
        self.ended = False
        #: everything recorded, in order, and where the steps of loops begin
        self.nodes: list[Node] = []
        self.marks: list[Mark] = []
        self._loops = 0
        #: the first error made during this trace; code that caught it took a way that NumPy would not have taken
        self.failure: TraceError | None = None
        #: what the function's code reads from outside (a `Capture`), where this is the trace of a whole function
        self.capture: Any = None
        #: what was printed, in order, and the numbers within texts (see `printing`)
        self.printed: list[Any] = []
        self.texts: dict[int, Any] = {}
        #: whether, where it fails, another may be made (see `branches.source.traced`)
        self.is_attempt = False
        #: whether it is one side of a branch in the user's code, or the body of a loop there: it may store into arrays from outside
        self.is_block = False
        #: what it has stored into those
        self.stored: dict[Cell, Value] = {}
        #: lists, dicts and objects that may not change any more, what they hold, and why (see `branches.merge`)
        self.let_be: list[tuple[Any, Any, str]] = []
        #: numbers that are of one type or another since a branch, and these types
        self.types: dict[Cell, tuple[type, type]] = {}
        #: whether a loop in it was traced once
        self.has_long_loops = False
        #: inputs that it has stored into
        self.changed: set[Cell] = set()
        #: values that count the steps of a loop, and which steps those are
        self.counters: dict[Value, range] = {}
        #: whether arrays of it may be one (see `aliases`)
        self.has_aliases = False
        #: the errors that are raised where a traced bool holds (see `checks`), if there are any; and once there are, here or around,
        #: what makes operands of an op that can raise such that it does not where one has been raised
        self.checks: Any = None
        self.harmless: Callable[[Trace, Op, Sequence[Value]], Sequence[Value]] | None = None
        self.made_harmless: dict[Any, Value] = {}

    def __enter__(self) -> Trace:
        stack = trace_stack()
        self.parent = stack[-1] if stack else None
        self.harmless = self.harmless if self.parent is None else self.parent.harmless
        self.depth = depth() if self.parent is None else 0
        self.rolls = self.rolls and (self.parent is None or self.parent.rolls)
        stack.append(self)
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        stack = trace_stack()
        assert stack[-1] is self
        stack.pop()
        self.ended = True
        error = exception[0] if exception else None
        if kind is not None:
            self._tell_printed(error)
        elif self.failure is not None:
            self._tell_printed(self.failure)
            raise self.failure

    def _tell_printed(self, error: object) -> None:
        """Of a trace that fails, what was printed on the way there; where it may be traced again, the error keeps it."""
        text = "".join([item.text for item in self.printed])
        if self.parent is not None:
            self.parent.printed += self.printed
        elif self.is_attempt and isinstance(error, Exception):
            error.printed = getattr(error, "printed", "") + text  # type: ignore[attr-defined]
        else:
            print(text, end="")

    def input(self, type: TensorType, name: str | None = None, known: np.ndarray | None = None) -> Value:
        value = Value(type, name=name)
        self.inputs.append(value)
        if known is not None:
            self.known[value] = known
            self.followed.add(value)
        return value

    def constant(self, array: Any, dtype: Any = None) -> Value:
        return self.apply(CONSTANT, (), _constant(array, dtype))[0]

    def known_array(self, value: Value) -> np.ndarray | None:
        """The array that `value` is known to hold during this trace, or None."""
        array = constant_of(value)
        return self.known.get(value) if array is None else array

    def apply(self, op: Op, operands: Sequence[Value], attributes: Any = NO_ATTRIBUTES, regions: Sequence[Graph] = ()) -> tuple[Value, ...]:
        """Record one node at the user's line; where every operand is known, so are the outputs."""
        if self.ended:
            raise LeakedTracerError(f"a traced array was used after its trace had ended{user_line()}")
        location = self.location if self.location is not None else user_location()
        if op.can_raise and self.harmless is not None:
            operands = self.harmless(self, op, operands)
        try:
            node = make_node(op, operands, attributes, regions, location)
        except GraphError as error:
            raise TraceError(f"{error}{user_line()}") from None
        self.nodes.append(node)
        if op is not CONSTANT and operands:
            arrays = []
            for operand in operands:
                array = self.known_array(operand)
                if array is None:
                    return node.outputs
                arrays.append(array)
            with np.errstate(all="ignore"):
                results = op.evaluate(arrays, attributes, regions)
            for value, result in zip(node.outputs, results, strict=True):
                self.known[value] = np.asarray(result)
            if any(operand in self.followed for operand in operands):
                self.followed.update(node.outputs)
        return node.outputs

    def begin_loop(self) -> int:
        """A number for a loop whose steps are going to be marked."""
        self._loops += 1
        return self._loops

    def mark(self, loop: int, step: int) -> None:
        """A step of a loop begins here; -1 is its end."""
        self.marks.append(Mark(len(self.nodes), loop, step))
        if self.checks is not None:
            self.checks.at_mark(loop, step)

    def rolled(self, outputs: Sequence[Value]) -> list[Value]:
        """The outputs of a finished trace, its loops rolled into scans where they can be.

        A gradient of known numbers is left as it is: its graph runs once. So is a record that rolling fails on, which is a bug of
        irdl's that the log tells of.
        """
        if not self.rolls or config.ROLL.value == "0" or self.followed or len(self.nodes) < LIMITS.nodes:
            return list(outputs)
        shown = "roll" in config.LOG.value
        try:
            found, lines = roll(self.nodes, self.marks, outputs)
        except Exception as error:
            if config.VERIFY.value == "1":
                raise
            found, lines = list(outputs), [f"rolling failed: {type(error).__name__}: {error}"]
            shown = shown or bool(config.LOG.value)
        if shown:
            for line in lines:
                print(f"irdl: {self.name}: {line}", file=sys.stderr)
        return found

    def read(self, cell: Cell) -> Value:
        """`cell`'s value as a value of this trace; one of an enclosing trace becomes an input.

        Raises:
            LeakedTracerError: the cell's trace has ended or does not enclose this one.
        """
        if cell.trace is self:
            return cell.value
        return self.lift(*self.latest(cell))

    def latest(self, cell: Cell) -> tuple[Trace, Value]:
        """The present value of a cell, and the trace that it is one of."""
        trace: Trace | None = self
        while trace is not None and trace is not cell.trace:
            if cell in trace.stored:
                return trace, trace.stored[cell]
            trace = trace.parent
        return cell.trace, cell.value

    def may_store(self, cell: Cell) -> bool:
        """Whether a store here changes the cell: it is one of this trace, or of one around the blocks of code that are being traced."""
        trace: Trace | None = self
        while trace is not None and trace is not cell.trace and trace.is_block:
            trace = trace.parent
        return trace is cell.trace

    def put(self, cell: Cell, value: Value) -> None:
        """Let a cell hold another value, one of this trace."""
        if cell.trace is self:
            if cell.value.node is None:
                self.changed.add(cell)
            cell.value = value
        else:
            self.stored[cell] = value

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Go on with a trace that has ended, within the one around it."""
        stack = trace_stack()
        assert stack and stack[-1] is self.parent
        stack.append(self)
        self.ended = False
        try:
            yield
        finally:
            stack.pop()
            self.ended = True

    def lift(self, owner: Trace, value: Value) -> Value:
        if owner is self:
            return value
        if owner.ended or self.parent is None:
            raise LeakedTracerError(
                f"a traced array of `{owner.name or 'an earlier trace'}` was used after its trace had ended: it was "
                f"probably kept in a global, an attribute or a list; return it from the function instead{user_line()}"
            )
        array = constant_of(value)
        if array is not None:
            return self.constant(array)
        outer = self.parent.lift(owner, value)
        if outer not in self.lifted:
            inner = self.lifted[outer] = self.input(value.type, value.name, self.parent.known_array(outer))
            self.lifted_cells[inner] = (self.parent, outer)
        return self.lifted[outer]

    def lifted_operands(self) -> list[Value]:
        """The parent's values that the lifted inputs stand for, in order."""
        return list(self.lifted)
