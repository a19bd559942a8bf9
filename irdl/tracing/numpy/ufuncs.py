"""NumPy's ufuncs on boxes: which op (or small composition) each one is, with NumPy's own choice of dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import family, is_float, is_integer, is_signed, is_supported
from irdl.ir.graph import Value
from irdl.ir.op import registered_ops
from irdl.ops.elementwise import SELECT, Elementwise
from irdl.ops.shape import BROADCAST, BroadcastAttributes
from irdl.tracing.box import ARRAY, PYTHON, Box, apply, cast, is_box, open_trace, to_value, wrap, wrap_result
from irdl.tracing.recorder import current_trace, user_line

Rule = Callable[..., Any]


def scalar_like(value: Value, number: Any) -> Value:
    trace = current_trace()
    assert trace is not None
    return trace.constant(number, value.dtype)


def as_bool(value: Value) -> Value:
    return value if value.dtype == np.bool_ else apply("not_equal", [value, scalar_like(value, 0)])


def _op(name: str, on_bool: str = "", on_float: str = "") -> Rule:
    def rule(*values: Value) -> Value:
        of_kind = {"b": on_bool, "f": on_float}.get(family(values[0].dtype), "")
        return apply(of_kind or name, values)

    return rule


def _swapped(name: str) -> Rule:
    return lambda x, y: apply(name, [y, x])


def _logical(name: str) -> Rule:
    return lambda x, y: apply(name, [as_bool(x), as_bool(y)])


def _same(x: Value) -> Value:
    return x


def _reciprocal(x: Value) -> Value:
    if not is_float(x.dtype):
        raise TraceError(f"np.reciprocal of integers is not supported: divide 1 by x{user_line()}")
    return apply("div", [scalar_like(x, 1), x])


def _is_nan(x: Value) -> Value:
    return apply("not_equal", [x, x])


def _is_inf(x: Value) -> Value:
    if not is_float(x.dtype):
        return apply("not_equal", [x, x])
    return apply("equal", [apply("abs", [x]), scalar_like(x, np.inf)])


def _is_finite(x: Value) -> Value:
    if not is_float(x.dtype):
        return apply("equal", [x, x])
    return apply("less", [apply("abs", [x]), scalar_like(x, np.inf)])


def _absolute(x: Value) -> Value:
    return x if family(x.dtype) in "bu" else apply("abs", [x])


def _sign(x: Value) -> Value:
    return apply("sign", [x])


def _divide_floor(x: Value, y: Value) -> Value:
    return apply("floor_divide", [x, y])


def _divmod(x: Value, y: Value) -> tuple[Value, Value]:
    return apply("floor_divide", [x, y]), apply("remainder", [x, y])


with np.errstate(all="ignore"):
    #: whether np.power itself takes the square root for 0.5, and not `**` alone, as in older versions of NumPy
    POWER_IS_ROOT = bool(np.isnan(np.power(np.array([-np.inf]), 0.5))[0])


def _integer_power(x: Value, y: Value) -> Value:
    """Integer powers by repeated squaring of a known exponent."""
    trace = current_trace()
    assert trace is not None
    known = trace.known_array(y)
    if is_float(x.dtype):
        # NumPy takes the square root for an exponent of 0.5 that is one number: it differs from pow at -0.0 and -inf.
        is_root = POWER_IS_ROOT and known is not None and known.ndim == 0 and known == 0.5
        return apply("sqrt", [x]) if is_root else apply("power", [x, y])
    if known is None or known.size == 0 or (known != known.flat[0]).any():
        raise TraceError(f"an integer power with an exponent that is not one known number is not supported: use floats{user_line()}")
    exponent = int(known.flat[0])
    if exponent < 0:
        raise ValueError("Integers to negative integer powers are not allowed.")
    result, square = None, x
    while exponent:
        if exponent & 1:
            result = square if result is None else apply("mul", [result, square])
        exponent >>= 1
        if exponent:
            square = apply("mul", [square, square])
    ones = apply("add", [apply("mul", [x, scalar_like(x, 0)]), scalar_like(x, 1)]) if result is None else result
    if ones.shape != np.broadcast_shapes(x.shape, y.shape):
        ones = apply("add", [ones, apply("mul", [y, scalar_like(y, 0)])])
    return ones


def _hypot(x: Value, y: Value) -> Value:
    a, b = apply("abs", [x]), apply("abs", [y])
    # One of two equal ones is the larger: halves of each, as the gradient of a maximum has them, would lose the second derivative.
    first = apply("less_equal", [b, a])
    large, small = apply(SELECT, [first, a, b]), apply(SELECT, [first, b, a])
    nothing = apply("equal", [large, scalar_like(large, 0)])
    ratio = apply("div", [small, apply(SELECT, [nothing, scalar_like(large, 1), large])])
    root = apply("sqrt", [apply("add", [apply("mul", [ratio, ratio]), scalar_like(ratio, 1)])])
    result = apply("mul", [large, root])
    result = apply(SELECT, [apply("bitwise_or", [_is_nan(x), _is_nan(y)]), apply("add", [a, b]), result])
    infinite = apply("bitwise_or", [_is_inf(x), _is_inf(y)])
    return apply(SELECT, [infinite, scalar_like(large, np.inf), result])


def _logaddexp(x: Value, y: Value) -> Value:
    first = apply("less_equal", [y, x])  # for which of two equal ones it is, see _hypot
    high, low = apply(SELECT, [first, x, y]), apply(SELECT, [first, y, x])
    same = apply("bitwise_and", [apply("equal", [x, y]), _is_inf(x)])  # inf - inf would be nan
    gap = apply(SELECT, [same, scalar_like(x, 0), apply("sub", [low, high])])
    return apply("add", [high, apply("log1p", [apply("exp", [gap])])])


def _heaviside(x: Value, y: Value) -> Value:
    zero, one = scalar_like(x, 0), scalar_like(x, 1)
    step = apply(SELECT, [apply("less", [x, zero]), zero, one])
    result = apply(SELECT, [apply("equal", [x, zero]), y, step])
    return apply(SELECT, [_is_nan(x), x, result])


def _modf(x: Value) -> tuple[Value, Value]:
    # Of whole numbers the rest is a zero with their sign, and changes as they do.
    rest = apply(SELECT, [_is_inf(x), apply("copysign", [scalar_like(x, 0), x]), apply("fmod", [x, scalar_like(x, 1)])])
    return rest, apply("trunc", [x])


def _sign_bit(x: Value) -> Value:
    return apply("less", [apply("copysign", [scalar_like(x, 1), x]), scalar_like(x, 0)])


def _scaled(factor: float) -> Rule:
    return lambda x: apply("mul", [x, scalar_like(x, factor)])


def _logit(x: Value) -> Value:
    return apply("log", [apply("div", [x, apply("sub", [scalar_like(x, 1), x])])])


def _log_expit(x: Value) -> Value:
    # min(x, 0) - log1p(exp(-|x|)): exact for large |x|.
    zero = scalar_like(x, 0)
    tail = apply("log1p", [apply("exp", [apply("neg", [apply("abs", [x])])])])
    return apply("sub", [apply("minimum", [x, zero]), tail])


#: What takes more than one op, or another one of bools and integers.
RULES: dict[str, Rule] = {
    "add": _op("add", "bitwise_or"),
    "multiply": _op("mul", "bitwise_and"),
    "true_divide": _op("div"),
    "floor_divide": _divide_floor,
    "mod": _op("remainder"),
    "divmod": _divmod,
    "modf": _modf,
    "power": _integer_power,
    "float_power": _op("power"),
    "maximum": _op("maximum", "bitwise_or"),
    "minimum": _op("minimum", "bitwise_and"),
    "fmax": _op("maximum", "bitwise_or", "fmax"),
    "fmin": _op("minimum", "bitwise_and", "fmin"),
    "hypot": _hypot,
    "logaddexp": _logaddexp,
    "heaviside": _heaviside,
    "greater": _swapped("less"),
    "greater_equal": _swapped("less_equal"),
    "logical_and": _logical("bitwise_and"),
    "logical_or": _logical("bitwise_or"),
    "logical_xor": _logical("bitwise_xor"),
    "logical_not": lambda x: apply("invert", [as_bool(x)]),
    "positive": _same,
    "absolute": _absolute,
    "fabs": _op("abs"),
    "sign": _sign,
    "signbit": _sign_bit,
    "conjugate": _same,
    "square": lambda x: apply("bitwise_and" if x.dtype == np.bool_ else "mul", [x, x]),
    "reciprocal": _reciprocal,
    "isnan": _is_nan,
    "isinf": _is_inf,
    "isfinite": _is_finite,
    "deg2rad": _scaled(math.pi / 180),
    "radians": _scaled(math.pi / 180),
    "rad2deg": _scaled(180 / math.pi),
    "degrees": _scaled(180 / math.pi),
    "logit": _logit,
    "log_expit": _log_expit,
}
for _name in ("floor", "ceil", "trunc"):
    RULES[_name] = lambda x, _name=_name: x if not is_float(x.dtype) else apply(_name, [x])
# The others are what an op says that it is.
for _declared in registered_ops():
    if isinstance(_declared, Elementwise) and _declared.ufunc:
        RULES.setdefault(_declared.ufunc, _op(_declared.name))


def loop_dtypes(ufunc: np.ufunc, inputs: Sequence[Any], dtype: Any = None) -> tuple[np.dtype, ...]:
    """The dtypes NumPy's loop for these inputs works in: one per input, then one per output.

    Raises:
        TypeError: NumPy has no loop for them.
        TraceError: it is one irdl does not compile (float16, complex, dates).
    """
    given: list[Any] = []
    for x in inputs:
        if is_box(x):
            given.append(_PYTHON_TYPES[family(x.type.dtype)] if x.kind == PYTHON else x.type.dtype)
        elif type(x) in (bool, int, float):  # their subclasses are not weak, to NumPy
            given.append(type(x) if type(x) is not bool else np.dtype(bool))
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


_PYTHON_TYPES: dict[str, Any] = {"b": np.dtype(bool), "i": int, "f": float}


@cache
def _rule_of(ufunc: np.ufunc) -> tuple[str, Rule | None]:
    return ufunc.__name__, RULES.get(ufunc.__name__)


def record_ufunc(ufunc: np.ufunc, inputs: Sequence[Any], dtype: Any = None) -> tuple[Value, ...]:
    """The outputs of a ufunc call, as values of the current trace."""
    name, rule = _rule_of(ufunc)
    if rule is None:
        raise TraceError(f"{_full_name(ufunc)} has no rule in irdl: write it with ufuncs that have one{user_line()}")
    if name in _EXACT_COMPARISONS:
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
    values = [to_value(item) if not isinstance(item, (bool, int, float)) else None for item in inputs]
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


def _loop_operand(x: Any, dtype: np.dtype) -> Value:
    if type(x) is Box:
        if x.kind != PYTHON:
            return cast(x.value, dtype)
    elif isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return open_trace().constant(x, dtype)  # raises OverflowError as NumPy does
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
    boxes = [wrap_result(value, (x, y)) for value in results]
    return boxes[0] if len(boxes) == 1 else tuple(boxes)


def is_operand(x: Any) -> bool:
    return is_box(x) or isinstance(x, (np.ndarray, np.generic, bool, int, float, list, tuple))


def _is_python(x: Any) -> bool:
    return x.kind == PYTHON if is_box(x) else isinstance(x, (bool, int, float)) and not isinstance(x, np.generic)


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
