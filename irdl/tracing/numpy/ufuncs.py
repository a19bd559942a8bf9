"""NumPy's ufuncs on boxes: their rules, with NumPy's own choice of dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, family, is_integer, is_signed, is_supported
from irdl.ir.graph import Value
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, PYTHON_TYPES, SCALAR, Box, is_box, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.ufunc_rules import INSTEAD, RULES, Rule, scalar_like
from irdl.tracing.operations import apply, cast
from irdl.tracing.recorder import open_trace


def loop_dtypes(ufunc: np.ufunc, inputs: Sequence[Any], dtype: Any = None) -> tuple[np.dtype, ...]:
    """The dtypes NumPy's loop for these inputs works in: one per input, then one per output.

    Raises:
        TypeError: NumPy has no loop for them.
        TraceError: it is one irdl does not compile (float16, dates).
    """
    given: list[Any] = []
    for x in inputs:
        if is_box(x):
            given.append(_weak(PYTHON_TYPES[family(x.type.dtype)]) if x.kind == PYTHON else x.type.dtype)
        elif type(x) in PYTHON_NUMBERS:  # their subclasses are not weak, to NumPy
            given.append(_weak(type(x)))
        elif isinstance(x, (list, tuple)):
            given.append(to_value(x).dtype)
        else:
            given.append(np.asarray(x).dtype)
    resolved = _resolved(ufunc, tuple(given), None if dtype is None else np.dtype(dtype))
    for found in resolved:
        if not is_supported(found):
            raise TraceError(f"np.{ufunc.__name__} would work in {found} here, which is not supported{user_line()}")
    return resolved


@lru_cache(maxsize=4096)
def _resolved(ufunc: np.ufunc, given: tuple[Any, ...], dtype: np.dtype | None) -> tuple[np.dtype, ...]:
    options: dict[str, Any] = {}
    if dtype is not None:
        options["signature"] = (None,) * ufunc.nin + (dtype,) * ufunc.nout
    if all(isinstance(g, type) for g in given):
        given = tuple(np.dtype(g) for g in given)
    return ufunc.resolve_dtypes((*given, *([None] * ufunc.nout)), **options)


def _weak(number: type) -> Any:
    """What promotion sees of a Python number: bools are as strong as NumPy's."""
    return np.dtype(bool) if number is bool else number


@cache
def _rule_of(ufunc: np.ufunc) -> tuple[str, Rule | None]:
    return ufunc.__name__, RULES.get(ufunc.__name__)


def record_ufunc(ufunc: np.ufunc, inputs: Sequence[Any], dtype: Any = None) -> tuple[Value, ...]:
    """The outputs of a ufunc call, as values of the current trace."""
    name, rule = _rule_of(ufunc)
    if rule is None:
        instead = INSTEAD.get(name, "write it with ufuncs that have one")
        raise TraceError(f"{_full_name(ufunc)} has no rule in irdl: {instead}{user_line()}")
    if name in _EXACT_COMPARISONS:
        # NumPy's scalars compare themselves as arrays.
        inputs = [x[()] if type(x) is np.ndarray and x.ndim == 0 else x for x in inputs]
        exact = _compare_exactly(name, inputs)
        if exact is not None:
            return (exact,)
    dtypes = loop_dtypes(ufunc, inputs, dtype)
    count = len(inputs)
    values = [_loop_operand(x, d) for x, d in zip(inputs, dtypes[:count], strict=True)]
    results = rule(*values)
    if type(results) is not tuple:
        return (cast(results, dtypes[count]),)
    return tuple([cast(value, d) for value, d in zip(results, dtypes[count:], strict=True)])


_EXACT_COMPARISONS = {
    "less": (True, False),
    "less_equal": (True, False),
    "greater": (False, True),
    "greater_equal": (False, True),
    "equal": (False, False),
    "not_equal": (True, True),
}


def _compare_exactly(name: str, inputs: Sequence[Any]) -> Value | None:
    """Comparisons whose integers no common dtype holds: a Python int out of the array's range, uint64 with int64."""
    x, y = inputs
    for first, second, flipped in ((x, y, False), (y, x, True)):
        if is_box(first) and is_integer(first.dtype) and first.kind != PYTHON and type(second) is int:
            limits = np.iinfo(first.dtype)
            if not limits.min <= second <= limits.max:
                below, above = _EXACT_COMPARISONS[name]
                answer = below if (second > 0) != flipped else above
                return apply(BROADCAST, [to_value(np.bool_(answer))], BroadcastAttributes(first.shape))
    values = [to_value(item) if not isinstance(item, PYTHON_NUMBERS) else None for item in inputs]
    kinds = [value.dtype if value is not None else None for value in values]
    left, right = values
    if left is None or right is None or {"i", "u"} != {family(left.dtype), family(right.dtype)} or np.dtype(np.uint64) not in kinds:
        return None
    left, right = (cast(value, np.dtype(np.int64)) if is_signed(value.dtype) else value for value in (left, right))
    # Negative is less than any unsigned number; the others compare as unsigned.
    signed = left if left.dtype == np.int64 else right
    negative = apply("less", [signed, scalar_like(signed, 0)])
    plain = RULES[name](cast(left, np.dtype(np.uint64)), cast(right, np.dtype(np.uint64)))
    below, above = _EXACT_COMPARISONS[name]
    answer = below if signed is left else above
    return apply(SELECT, [negative, to_value(np.bool_(answer)), plain])


def rounded(x: Any, dtype: np.dtype) -> Any:
    """What ufuncs and copies make of a Python number where they work in `dtype`: bfloat16 by way of float32, even where arrays of
    float64 are rounded once; others as they are."""
    return np.full((), x, dtype)[()] if dtype == BFLOAT16 and type(x) is float else x


def _loop_operand(x: Any, dtype: np.dtype) -> Value:
    if type(x) is Box:
        if x.kind != PYTHON:
            return cast(x.value, dtype)
    elif isinstance(x, PYTHON_NUMBERS) and not isinstance(x, np.generic):
        return open_trace().constant(rounded(x, dtype), dtype)  # raises OverflowError as NumPy does
    else:
        return to_value(x, dtype)
    if is_signed(x.dtype) and is_integer(dtype) and dtype.itemsize < 8 and x.known is None:
        raise TraceError(
            f"a traced Python int meets an array of dtype {dtype}, where NumPy would check its range: pass it as "
            f"np.{dtype}(...), or make it a static argument{user_line()}"
        )
    return cast(x.value, dtype)


def _full_name(ufunc: np.ufunc) -> str:
    module = "np" if getattr(np, ufunc.__name__, None) is ufunc else "scipy.special"
    return f"{module}.{ufunc.__name__}"


def store_out(name: str, target: Any, value: Value) -> Any:
    """Store a result into `out=`; the target.

    Raises:
        TraceError: the target is a real array, where the result would be lost.
    """
    if target is None:
        return wrap_result(value)
    if not is_box(target):
        raise TraceError(
            f"np.{name} was asked to store a traced result into a real array: leave out= away, or make the buffer with "
            f"np.zeros_like(x, shape=...){user_line()}"
        )
    if not np.can_cast(value.dtype, target.dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc '{name}' output from {value.dtype!r} to {target.dtype!r} with casting rule 'same_kind'")
    if np.broadcast_shapes(value.shape, target.shape) != target.shape:
        raise ValueError(f"non-broadcastable output operand with shape {target.shape} doesn't match {value.shape}{user_line()}")
    store(target, cast(value, target.dtype))
    return target


def store(target: Box, value: Value) -> None:
    """Broadcast `value` to the target's shape and store it there."""
    if value.shape != target.shape:
        value = apply(BROADCAST, [value], BroadcastAttributes(target.shape))
    target.store(value)


def binary(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    """An operator: as the ufunc, but two Python scalars stay one, and other types get their chance."""
    if not is_operand(y) or not is_operand(x):
        return NotImplemented
    if _is_python(x) and _is_python(y):
        return _python_binary(ufunc, x, y)
    if type(x) is not Box and isinstance(x, (list, tuple)):
        x = wrap(to_value(x))
    if type(y) is not Box and isinstance(y, (list, tuple)):
        y = wrap(to_value(y))
    results = record_ufunc(ufunc, (x, y))
    if type(x) is complex and type(y) is Box and y.kind == SCALAR and y.dtype == np.float64:
        return wrap(results[0], PYTHON)  # such a number is a Python float, which Python's complex works with itself
    boxes = [wrap_result(value, (x, y)) for value in results]
    return boxes[0] if len(boxes) == 1 else tuple(boxes)


def is_operand(x: Any) -> bool:
    return is_box(x) or isinstance(x, (np.ndarray, np.generic, *PYTHON_NUMBERS, list, tuple))


def _is_python(x: Any) -> bool:
    return x.kind == PYTHON if is_box(x) else isinstance(x, PYTHON_NUMBERS) and not isinstance(x, np.generic)


def _python_binary(ufunc: np.ufunc, x: Any, y: Any) -> Any:
    # bool behaves as int in Python arithmetic.
    if ufunc not in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
        x, y = (_int_of_bool(a) for a in (x, y))
    return tuple_or_one([wrap(value, PYTHON) for value in record_ufunc(ufunc, (x, y))])


def _int_of_bool(x: Any) -> Any:
    if is_box(x):
        return wrap(cast(x.value, np.dtype(np.int64)), PYTHON) if x.dtype == np.bool_ else x
    return int(x) if isinstance(x, bool) else x


def tuple_or_one(items: list[Any]) -> Any:
    return items[0] if len(items) == 1 else tuple(items)


def in_place(ufunc: np.ufunc, x: Box, y: Any) -> Any:
    """`x += y`: a store for arrays, a new object for scalars."""
    if x.kind != ARRAY:
        return binary(ufunc, x, y)
    if not is_operand(y):
        return NotImplemented
    (value,) = record_ufunc(ufunc, (x, y))
    return store_out(ufunc.__name__, x, value)
