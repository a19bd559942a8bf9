"""Which op, or small composition of ops, each of NumPy's ufuncs is, of values of the dtypes that its loop works in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import family, is_complex, is_float, is_inexact
from irdl.ir.graph import Value
from irdl.ir.op import registered_ops
from irdl.ops.elementwise import CAST, SELECT, CastAttributes, Elementwise
from irdl.tracing.lines import user_line
from irdl.tracing.operations import apply
from irdl.tracing.recorder import current_trace

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


def _swapped(rule: Rule) -> Rule:
    return lambda x, y: rule(y, x)


def _logical(name: str) -> Rule:
    return lambda x, y: apply(name, [as_bool(x), as_bool(y)])


def _same(x: Value) -> Value:
    return x


def _reciprocal(x: Value) -> Value:
    if not is_inexact(x.dtype):
        raise TraceError(f"np.reciprocal of integers is not supported: divide 1 by x{user_line()}")
    found = apply("div", [scalar_like(x, 1), x])
    if not is_complex(x.dtype):
        return found
    # NumPy's is not what it divides by then: of 0 it is nan in both parts.
    return apply(SELECT, [apply("equal", [x, scalar_like(x, 0)]), scalar_like(x, complex(np.nan, np.nan)), found])


def _is_nan(x: Value) -> Value:
    return apply("not_equal", [x, x])


def _of_parts(rule: Rule, joined: str, x: Value) -> Value:
    return apply(joined, [rule(apply("real", [x])), rule(apply("imag", [x]))])


def _is_inf(x: Value) -> Value:
    if is_complex(x.dtype):
        return _of_parts(_is_inf, "bitwise_or", x)
    if not is_float(x.dtype):
        return apply("not_equal", [x, x])
    return apply("equal", [apply("abs", [x]), scalar_like(x, np.inf)])


def _is_finite(x: Value) -> Value:
    if is_complex(x.dtype):
        return _of_parts(_is_finite, "bitwise_and", x)
    if not is_float(x.dtype):
        return apply("equal", [x, x])
    return apply("less", [apply("abs", [x]), scalar_like(x, np.inf)])


def _absolute(x: Value) -> Value:
    return x if family(x.dtype) in "bu" else apply("abs", [x])


def _sign(x: Value) -> Value:
    if not is_complex(x.dtype):
        return apply("sign", [x])
    # x / |x|: where a part is infinite, the other does not count unless it is, too
    size = apply("abs", [x])
    nothing = apply("equal", [size, scalar_like(size, 0)])
    divisor = apply(SELECT, [nothing, scalar_like(size, 1), size])
    infinite = apply("equal", [size, scalar_like(size, np.inf)])
    parts = []
    for name, other in (("real", "imag"), ("imag", "real")):
        part, beside = apply(name, [x]), _is_inf(apply(other, [x]))
        one = apply("copysign", [apply(SELECT, [beside, scalar_like(size, 0), scalar_like(size, 1)]), part])
        one = apply(SELECT, [apply("bitwise_and", [beside, _is_inf(part)]), scalar_like(size, np.nan), one])
        parts.append(apply(SELECT, [infinite, one, apply("div", [part, divisor])]))
    return apply("complex", parts)


def _in_order(name: str) -> Rule:
    """`less` or `less_equal`: of complex numbers the imaginary parts decide where the real ones are equal."""

    def rule(x: Value, y: Value) -> Value:
        if not is_complex(x.dtype):
            return apply(name, [x, y])
        (a, b), (c, d) = ([apply(part, [value]) for part in ("real", "imag")] for value in (x, y))
        known = apply("invert", [apply("bitwise_or", [_is_nan(b), _is_nan(d)])])
        first = apply("bitwise_and", [apply("less", [a, c]), known])
        return apply("bitwise_or", [first, apply("bitwise_and", [apply("equal", [a, c]), apply(name, [b, d])])])

    return rule


def _extremum(name: str) -> Rule:
    """`maximum` or `minimum`: of complex numbers the first of what is equal, or has a nan."""
    of_real, less_equal = _op(name, "bitwise_or" if name == "maximum" else "bitwise_and"), _in_order("less_equal")

    def rule(x: Value, y: Value) -> Value:
        if not is_complex(x.dtype):
            return of_real(x, y)
        first = less_equal(y, x) if name == "maximum" else less_equal(x, y)
        return apply(SELECT, [apply("bitwise_or", [first, _is_nan(x)]), x, y])

    return rule


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
    if is_complex(x.dtype):
        return apply("power", [x, y])
    if is_float(x.dtype):
        # NumPy takes the square root for an exponent of 0.5 that is one number: it differs from pow at -0.0 and -inf.
        is_root = POWER_IS_ROOT and known is not None and known.ndim == 0 and known == 0.5
        return apply("sqrt", [x]) if is_root else apply("power", [x, y])
    base = trace.known_array(x)
    if known is not None and base is not None:
        return trace.constant(np.power(base, known))
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


def _logaddexp2(x: Value, y: Value) -> Value:
    first = apply("less_equal", [y, x])
    high, low = apply(SELECT, [first, x, y]), apply(SELECT, [first, y, x])
    same = apply("bitwise_and", [apply("equal", [x, y]), _is_inf(x)])
    gap = apply(SELECT, [same, scalar_like(x, 0), apply("sub", [low, high])])
    tail = apply("log1p", [apply("exp2", [gap])])
    return apply("add", [high, apply("mul", [tail, scalar_like(x, math.log2(math.e))])])


def _bitwise_count(x: Value) -> Value:
    """The bits of |x|, pairs of bits, of pairs and so on added to each other."""
    bits = 8 * x.dtype.itemsize
    unsigned = np.dtype(f"uint{bits}")
    found = apply(CAST, [_absolute(x)], CastAttributes(unsigned))
    width = 1
    while width < bits:
        mask = scalar_like(found, sum(((1 << width) - 1) << place for place in range(0, bits, 2 * width)))
        high = apply("bitwise_and", [apply("right_shift", [found, scalar_like(found, width)]), mask])
        found = apply("add", [apply("bitwise_and", [found, mask]), high])
        width *= 2
    return apply(CAST, [found], CastAttributes(np.dtype(np.uint8)))


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
    "less": _in_order("less"),
    "less_equal": _in_order("less_equal"),
    "maximum": _extremum("maximum"),
    "minimum": _extremum("minimum"),
    "fmax": _op("maximum", "bitwise_or", "fmax"),
    "fmin": _op("minimum", "bitwise_and", "fmin"),
    "hypot": _hypot,
    "logaddexp": _logaddexp,
    "logaddexp2": _logaddexp2,
    "bitwise_count": _bitwise_count,
    "heaviside": _heaviside,
    "greater": _swapped(_in_order("less")),
    "greater_equal": _swapped(_in_order("less_equal")),
    "logical_and": _logical("bitwise_and"),
    "logical_or": _logical("bitwise_or"),
    "logical_xor": _logical("bitwise_xor"),
    "logical_not": lambda x: apply("invert", [as_bool(x)]),
    "positive": _same,
    "absolute": _absolute,
    "fabs": _op("abs"),
    "sign": _sign,
    "signbit": _sign_bit,
    "conjugate": lambda x: apply("conj", [x]) if is_complex(x.dtype) else x,
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

#: what to write instead of those that have none
INSTEAD = {
    "ldexp": "multiply by 2.0 ** n",
    "frexp": "take np.floor(np.log2(np.abs(x))) as the exponent, and divide by 2.0 to its power",
    "nextafter": "add np.finfo(x.dtype).eps * np.abs(x)",
    "spacing": "use np.finfo(x.dtype).eps * np.abs(x)",
    "gcd": "write Euclid's steps as an irdl.while_loop",
    "lcm": "write Euclid's steps as an irdl.while_loop",
    "isnat": "dates are not compiled",
}
