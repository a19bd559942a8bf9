"""The box: what stands for an array while its code is traced.

A box holds a cell (the base array's present value) and the steps that view it, with the strides and the writeability
NumPy would give it. Stores rebind the cell; views read through. `kind` tells an array from a NumPy scalar and from a
Python scalar (which is weak in promotion).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import family, is_complex, is_inexact, is_supported
from irdl.ir.graph import Value
from irdl.ir.op import Op
from irdl.ir.types import TensorType
from irdl.tracing import layout, views
from irdl.tracing.aliases import store
from irdl.tracing.lines import user_frame, user_line
from irdl.tracing.long_loops import plans
from irdl.tracing.marks import marked
from irdl.tracing.operations import cast, viewed
from irdl.tracing.recorder import Cell, Trace, current_trace, open_trace, trace_stack
from irdl.tracing.sources import check_source, is_irdls

ARRAY, SCALAR, PYTHON = "array", "scalar", "python"
#: Python's numbers, which are weak in promotion
PYTHON_NUMBERS = (bool, int, float, complex)
#: by family
PYTHON_TYPES: dict[str, type] = {"b": bool, "i": int, "f": float, "c": complex}


class Refusal(str):
    """Why an array is read-only that NumPy would let be written to."""


class Box:
    """A traced array. `isinstance(box, np.ndarray)` holds; NumPy's functions, operators and methods record nodes."""

    __slots__ = ("__weakref__", "_cache", "_shadow", "_steps", "cell", "kind", "read_only", "type")

    def __init__(
        self,
        cell: Cell,
        type: TensorType,
        kind: str = ARRAY,
        steps: tuple[Any, ...] = (),
        shadow: np.ndarray | None = None,
        read_only: str = "",
    ) -> None:
        self.cell = cell
        self.type = type
        self.kind = kind
        self.read_only = read_only
        self._steps = steps
        self._shadow = shadow
        self._cache: tuple[Value, Value] | None = None

    # What it holds.

    @property
    def value(self) -> Value:
        """The present value, as one of the current trace."""
        cell = self.cell
        trace = current_trace() or cell.trace
        if not self._steps:
            return cell.value if cell.trace is trace else trace.read(cell)
        # An outer array is lifted whole and viewed here: a loop's x[t] are slices of one input.
        base = trace.read(self.cell)
        if self._cache is None or self._cache[0] is not base:
            self._cache = (base, self._chain(trace)[-1])
        return self._cache[1]

    def _chain(self, trace: Trace) -> list[Value]:
        """The base's value and the value behind each step."""
        chain = [trace.read(self.cell)]
        for step in self._steps:
            chain.append(step.read(trace, chain[-1]))
        return chain

    @property
    def known(self) -> np.ndarray | None:
        """The array this box is known to hold during the trace, or None."""
        trace = _innermost(self.cell)
        return trace.known_array(self.value)

    @property
    def shadow(self) -> np.ndarray:
        if self._shadow is None:
            self._shadow = layout.shadow_array(self.type.shape, self.type.dtype)
        return self._shadow

    def through(self, steps: Sequence[Any], shadow: np.ndarray, kind: str = ARRAY) -> Box:
        """A view of this box through further steps."""
        type = TensorType(shadow.dtype, shadow.shape)
        if kind != ARRAY:
            return wrap(viewed(self.value, steps), kind)
        if self.kind != ARRAY:  # an array made from a number is a new one
            return Box(wrap(self.value).cell, type, kind, tuple(steps), shadow)
        return Box(self.cell, type, kind, views.followed_by(self._steps, steps), shadow, self.read_only)

    @property
    def steps(self) -> tuple[Any, ...]:
        """The views that lead from its cell's array to what it shows."""
        return self._steps

    def is_same_view(self, other: Box) -> bool:
        """Both show the same elements of one array."""
        return self.cell is other.cell and self._steps == other._steps and self.kind == other.kind == ARRAY

    def store(self, new: Value) -> None:
        """Replace everything this box shows.

        Raises:
            ValueError: it is read-only, as NumPy's would be.
            TraceError: it belongs to an enclosing trace (a loop body may not change what is outside).
        """
        if self.kind != ARRAY:
            raise TypeError(f"'{self.type.dtype}' object does not support item assignment{user_line()}")
        if isinstance(self.read_only, Refusal):
            raise TraceError(f"{self.read_only}{user_line()}")
        if self.read_only:
            raise ValueError(f"assignment destination is read-only: {self.read_only}{user_line()}")
        trace = current_trace() or self.cell.trace
        if not trace.may_store(self.cell):
            raise TraceError(
                "an array from outside is changed inside a traced loop, branch or gradient, where a store would be "
                f"lost: make it part of the carry and return it{user_line()}"
            )
        chain = self._chain(trace)
        for step, base in zip(reversed(self._steps), reversed(chain[:-1]), strict=True):
            new = step.write(trace, base, new)
        store(trace, self.cell, new)

    # What NumPy code asks of it.

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        if self.kind == ARRAY:
            return np.ndarray
        if self.kind == SCALAR:
            return self.type.dtype.type
        return PYTHON_TYPES[family(self.type.dtype)]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @shape.setter
    def shape(self, _: Any) -> None:
        raise TraceError(f"x.shape = ... is not traced: write x = x.reshape(...){user_line()}")

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def size(self) -> int:
        return self.type.size

    @property
    def itemsize(self) -> int:
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.type.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self.shadow.strides

    @property
    def flags(self) -> Any:
        if self.read_only and self.shadow.flags.writeable:
            self._shadow = self.shadow.view()
            self._shadow.flags.writeable = False
        return self.shadow.flags

    @property
    def base(self) -> Any:
        return self if self._steps else None

    def __len__(self) -> int:
        if self.type.rank == 0:
            raise TypeError("len() of unsized object")
        return self.type.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if self.type.rank == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[position] for position in marked(range(self.type.shape[0])))  # type: ignore[index]

    def __reversed__(self) -> Iterator[Any]:
        return (self[position] for position in marked(range(len(self))[::-1]))  # type: ignore[index]

    def __hash__(self) -> int:
        if self.kind == ARRAY:
            raise TypeError(f"unhashable type: 'numpy.ndarray'{user_line()}")
        raise TraceError(
            f"a traced number is used as a key, or in a set, but its value is not known yet: use an array of flags{user_line()}"
        )

    def _array(self, function: str, remedy: str, exact: bool = False) -> np.ndarray:
        """The known numbers. A float that a derivative may pass through gives them only to `exact` questions (a truth value)."""
        known = self.known
        if known is None:
            raise views.not_an_array(function, remedy, self._of_whole_trace("argument_behind") or "")
        if not exact and self.is_followed:
            raise TraceError(f"{function} would cut a traced array off from its gradient: {remedy}{user_line()}")
        return known

    def _of_whole_trace(self, question: str) -> Any:
        """What the capture of the trace of a whole function answers about a value of that trace; None of other values."""
        trace, value = (current_trace() or self.cell.trace).latest(self.cell)
        if self._steps or trace.capture is None or trace is not trace_stack()[0]:
            return None
        return getattr(trace.capture, question)(value)

    @property
    def is_followed(self) -> bool:
        """Whether a derivative may pass through it."""
        return is_inexact(self.type.dtype) and self.value in _innermost(self.cell).followed

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        array = self._array(
            "turning it into a NumPy array",
            "use np.stack or np.concatenate to join traced arrays, x.copy() or x.astype for np.array and np.asarray, and "
            "np.zeros_like(x, shape=...) for a buffer that traced values are stored into",
        )
        return np.array(array, dtype=dtype, copy=True)

    def decided(self) -> bool | None:
        """Whether it is true in this call, where that follows from captured numbers alone; else None."""
        if self.known is None and self.type.size == 1:
            decided: bool | None = self._of_whole_trace("decided")
            return plans.decided(_innermost(self.cell), self.value) if decided is None else decided
        return None

    @property
    def is_open(self) -> bool:
        """One number, whose truth the trace does not know."""
        return self.type.size == 1 and self.known is None and self.decided() is None

    def __bool__(self) -> bool:
        if (decided := self.decided()) is not None:
            return decided
        if self.type.size > 1 and self.known is None:
            raise ValueError(f"The truth value of an array with more than one element is ambiguous. Use a.any() or a.all(){user_line()}")
        try:
            return bool(
                self._array(
                    "`if`, `while`, `and` or `or`",
                    "use np.where, np.logical_and, irdl.cond or irdl.while_loop, or make it a static argument that is no array",
                    exact=True,
                )
            )
        except TraceError as error:
            if self.type.size == 1 and (frame := user_frame()) is not None:
                error.branching = frame.f_code
            raise

    def __int__(self) -> int:
        if is_complex(self.type.dtype):
            raise TypeError(f"int() argument must be a real number, not 'complex'{user_line()}")
        return int(self._array("int()", "in a text f'{x}' does without it; make it a static argument that is no array"))

    def __float__(self) -> float:
        if is_complex(self.type.dtype):
            raise TypeError(f"float() argument must be a real number, not 'complex'{user_line()}")
        return float(self._array("float()", views.NO_FLOAT))

    def __complex__(self) -> complex:
        return complex(self._array("complex()", "leave the call out, or use x.astype(np.complex128)"))

    def __index__(self) -> int:
        return int(
            self._array("an index, a shape or range()", "index arrays with it directly, or make it a static argument that is no array")
        )

    def item(self, *place: Any) -> Any:
        """A traced Python number, which is weak where it meets arrays."""
        is_settled = self.known is not None and not self.is_followed
        if is_settled or self.type.dtype == np.uint64:  # no traced Python int is as large
            return self._array(".item()", "leave it out: an array of one element is as good").item(*place)
        if len(place) == 1 and not isinstance(place[0], tuple):
            return self.reshape(-1)[place[0]].item()  # type: ignore[attr-defined]
        if place:
            return self[place if len(place) > 1 else place[0]].item()  # type: ignore[index]
        if self.type.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        dtype = np.dtype({"b": np.bool_, "f": np.float64, "c": np.complex128}.get(family(self.type.dtype), np.int64))
        return wrap(cast(self.reshape(()).value, dtype), PYTHON)  # type: ignore[attr-defined]

    def tolist(self) -> Any:
        return [row.tolist() for row in self] if self.type.rank else self.item()

    def __reduce__(self) -> Any:
        raise TraceError(f"a traced array cannot be pickled: return it from the function{user_line()}")

    def __deepcopy__(self, memo: Any) -> Box:
        return self.copy()  # type: ignore[attr-defined]

    def __irdl_apply__(self, op: Op, operands: Sequence[Any], attributes: Any) -> list[Any]:
        return apply_op(op, [to_value(operand) for operand in operands], attributes)


# Python's own errors name it: "unsupported operand type(s) for +: 'ndarray' and 'NoneType'".
Box.__name__ = Box.__qualname__ = "ndarray"


def as_kind(result: np.ndarray, kind: str) -> Any:
    """An array result as NumPy code would have returned it."""
    if kind == ARRAY:
        return result
    return result[()] if kind == SCALAR else result.item()


def _innermost(cell: Cell) -> Trace:
    return current_trace() or cell.trace


def is_box(x: Any) -> bool:
    return type(x) is Box


def wrap(value: Value, kind: str = ARRAY, read_only: str = "") -> Any:
    """A new box that owns `value`, a value of the current trace."""
    return Box(Cell(open_trace(), value), value.type, kind, (), None, read_only)


def result_kind(type: TensorType) -> str:
    """NumPy gives scalars for zero-dimensional results."""
    return SCALAR if type.rank == 0 else ARRAY


def wrap_result(value: Value, inputs: Sequence[Any] = ()) -> Any:
    """A result box, of kind scalar if zero-dimensional. With `inputs`, laid out as NumPy lays out a ufunc's result."""
    type = value.type
    made = Box(Cell(open_trace(), value), type, ARRAY if type.shape else SCALAR)
    if len(type.shape) > 1 and any(is_box(x) and x._shadow is not None and not x._shadow.flags.c_contiguous for x in inputs):
        made._shadow = layout.result_shadow([x.shadow if is_box(x) else np.asarray(x) for x in inputs], value.shape, value.dtype)
    return made


def apply_op(op: Op, operands: Sequence[Value], attributes: Any, regions: Sequence[Any] = ()) -> list[Any]:
    """As `apply`, all outputs, boxed."""
    trace = open_trace()
    return [wrap(value) for value in trace.apply(op, operands, attributes, regions)]


def to_value(x: Any, dtype: Any = None) -> Value:
    """Anything array-like as a value of the current trace, cast to `dtype` if given.

    Raises:
        TraceError: x is of a dtype irdl does not know.
    """
    if type(x) is Box:
        value = x.value
    else:
        trace = open_trace()
        if isinstance(x, (list, tuple)) and any(is_box(item) for item in _leaves(x)):
            value = _stack_nested(x)
        else:
            if isinstance(x, np.ndarray) and trace_stack()[0].capture is not None and not is_irdls(sys._getframe(1)):
                check_source(x)
            array = np.asarray(x) if dtype is None or isinstance(x, np.ndarray) else np.asarray(x, dtype)
            if not is_supported(array.dtype):
                raise TraceError(f"dtype {array.dtype} is not supported in traced code{user_line()}")
            if not array.dtype.isnative:
                array = array.astype(array.dtype.newbyteorder("="))
            value = trace.constant(array)
    return value if dtype is None else cast(value, np.dtype(dtype))


def literal(array: np.ndarray) -> Any:
    """An array that irdl's own code has made of numbers, as a box whose value is known."""
    return wrap(open_trace().constant(array))


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        for item in x:
            yield from _leaves(item)
    else:
        yield x


def _stack_nested(items: Sequence[Any]) -> Value:
    """`[a, b]` of traced arrays, as np.array would stack them."""
    boxes = [item if is_box(item) else wrap_result(to_value(item)) for item in items]
    return np.stack(boxes).value  # type: ignore[attr-defined]
