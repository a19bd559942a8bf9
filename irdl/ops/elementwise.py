"""Elementwise ops. Operands broadcast as in NumPy and share one dtype (casts are ops of their own)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import complex_dtype, family, is_bool, is_complex, is_inexact, real_dtype, short_name
from irdl.ir.op import NO_ATTRIBUTES, NoAttributes, Op, Sample, register
from irdl.ir.types import TensorType
from irdl.ops.broadcasting import broadcast_shapes, sum_to_shape
from irdl.ops.shape import RESHAPE, ReshapeAttributes

if TYPE_CHECKING:
    from irdl.ir.builder import Builder
    from irdl.ir.graph import Graph, Value

Vjp = Callable[..., Sequence[Any]]

FLOAT = "f"
INEXACT = "fc"
NUMBER = "fiu"
FIELD = "fiuc"
INTEGER = "iu"
BITS = "biu"
ORDERED = "bfiu"
ANY = "bfiuc"


class Elementwise(Op):
    """One output element from one element of each operand.

    Args:
        name: the op's name.
        function: its meaning, a NumPy function of the operands.
        arity: how many operands it takes.
        kinds: the dtype kinds it accepts.
        vjp: `(cotangent, output, *operands) -> cotangents`, in NumPy; None for a piecewise constant op.
        boolean: the output is bool whatever the operands are.
        typed: from the operands' dtype to that of the output, where it is neither bool nor the same.
        low, high: where the tests draw operands from.
        smooth: False where finite differences are of no use over that range.
        cycles: what a vector costs, roughly.
        ufunc: NumPy's or SciPy's name for it, by which it is traced; by default that of `function` if it is a ufunc, else `name`.
    """

    is_elementwise = True

    def __init__(
        self,
        name: str,
        function: Callable[..., np.ndarray],
        arity: int,
        kinds: str,
        vjp: Vjp | None = None,
        *,
        boolean: bool = False,
        typed: Callable[[np.dtype], np.dtype] | None = None,
        low: float = -2.0,
        high: float = 2.0,
        smooth: bool = True,
        cycles: float = 1.0,
        ufunc: str | None = None,
    ) -> None:
        self.name = name
        self.cycles = cycles
        self.ufunc = ufunc if ufunc is not None else function.__name__ if isinstance(function, np.ufunc) else name
        self.arity = arity
        self.kinds = kinds
        self._function = function
        self._vjp = vjp
        self._typed = (lambda dtype: np.dtype(bool)) if boolean else typed
        self._range = (low, high, smooth)

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if len(types) != self.arity:
            raise GraphError(f"{self.name} takes {self.arity} operands, not {len(types)}")
        dtype = types[0].dtype
        if any(type.dtype != dtype for type in types):
            raise GraphError(f"{self.name} takes operands of one dtype, not {', '.join(map(str, types))}")
        if family(dtype) not in self.kinds:
            raise GraphError(f"{self.name} is not defined for {short_name(dtype)}")
        return (TensorType(self._result(dtype), broadcast_shapes(types)),)

    def _result(self, dtype: np.dtype) -> np.dtype:
        return dtype if self._typed is None else self._typed(dtype)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        result = self._function(*operands)
        dtype = self._result(operands[0].dtype)
        return (np.asarray(result).astype(dtype, copy=False),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        if self._vjp is None:
            return [None] * len(operands)
        raw = self._vjp(cotangents[0], outputs[0], *operands)
        return [sum_to_shape(ct, operand.shape) for ct, operand in zip(raw, operands, strict=True)]

    def batch(self, builder: Builder, operands: Sequence[Value], batched: Sequence[bool], size: int, attributes: Any) -> Sequence[Value]:
        rank = max((len(v.shape) - mark for v, mark in zip(operands, batched, strict=True)), default=0)
        aligned = [_align(builder, value, rank) if mark else value for value, mark in zip(operands, batched, strict=True)]
        return builder.node(self, aligned, attributes).outputs

    def samples(self) -> Iterable[Sample]:
        low, high, smooth = self._range
        shapes: list[tuple[tuple[int, ...], ...]] = [((3, 4),) * self.arity, ((0, 5),) * self.arity, ((17,),) * self.arity]
        shapes.append(((),) * self.arity)
        if self.arity == 2:
            shapes += [((3, 1), (1, 37)), ((5,), ()), ((2, 3, 4), (3, 1))]
        names = {"b": ["bool"], "f": ["float32", "float64"], "i": ["int8", "int32", "int64"], "u": ["uint8", "uint32"]}
        for kind in self.kinds.replace("c", ""):
            for name in names[kind]:
                dtype = np.dtype(name)
                for group in shapes:
                    types = tuple(TensorType(dtype, shape) for shape in group)
                    yield Sample(types, NoAttributes(), low, high, smooth and kind == "f" and self._vjp is not None)
        if "c" in self.kinds:  # what stands for them is made of the others: a few will do
            for name, groups in (("complex64", shapes[2:3]), ("complex128", [shapes[0], *shapes[4:5]])):
                for group in groups:
                    types = tuple(TensorType(np.dtype(name), shape) for shape in group)
                    yield Sample(types, NoAttributes(), low, high, smooth and self._vjp is not None)


def _align(builder: Builder, value: Value, rank: int) -> Value:
    """Insert axes of 1 behind the leading batch axis, so that the others broadcast as they did without it."""
    missing = rank - (len(value.shape) - 1)
    if missing == 0:
        return value
    shape = (value.shape[0], *([1] * missing), *value.shape[1:])
    return builder.value(RESHAPE, [value], ReshapeAttributes(shape))


def _divide_vjp(ct: Any, out: Any, x: Any, y: Any) -> Sequence[Any]:
    return ct / y, -ct * out / y


def _power(x: Any, y: Any) -> Any:
    return np.power(x, y)


def _power_vjp(ct: Any, out: Any, x: Any, y: Any) -> Sequence[Any]:
    in_domain = x != 0 if is_complex(x.dtype) else x > 0
    # 0 ** 0 and 0 ** y have derivatives that the plain formulas turn into nan.
    safe = np.where(y == 0, np.ones_like(y), y)
    to_x = np.where(y == 0, np.zeros_like(out), y * np.power(x, safe - 1))
    log = np.log(np.where(in_domain, x, np.ones_like(x)))
    return ct * to_x, ct * np.where(x == 0, np.zeros_like(out), out * log)


def _pick_vjp(ct: Any, out: Any, x: Any, y: Any) -> Sequence[Any]:
    # Where both are the result, each gets one half, as the limit from both sides.
    left, right = x == out, y == out
    share = ct / np.where(left & right, 2.0, 1.0).astype(ct.dtype)
    zero = np.zeros_like(ct)
    return np.where(left, share, zero), np.where(right, share, zero)


def _remainder_vjp(ct: Any, out: Any, x: Any, y: Any) -> Sequence[Any]:
    return ct, -ct * np.floor_divide(x, y)


def _complex(re: Any, im: Any) -> Any:
    result = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), complex_dtype(re.dtype))
    result.real, result.imag = re, im
    return result


def _joined(re: Any, im: Any) -> Any:
    """`complex` as a NumPy-level call."""
    return COMPLEX.apply([re, im], NO_ATTRIBUTES)


def _abs_vjp(ct: Any, out: Any, x: Any) -> Sequence[Any]:
    if not is_complex(x.dtype):
        return (ct * np.sign(x),)
    along = ct / np.where(out == 0, np.ones_like(out), out)  # no direction at 0: no gradient there
    return (_joined(along * x.real, -along * x.imag),)


def _sigmoid(x: Any) -> Any:
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + z), z / (1 + z)).astype(x.dtype)


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x.astype(np.float64)).astype(x.dtype)


def _one(name: str, function: Callable[..., Any], kinds: str, vjp: Vjp | None = None, **more: Any) -> Op:
    return register(Elementwise(name, function, 1, kinds, vjp, **more))


def _two(name: str, function: Callable[..., Any], kinds: str, vjp: Vjp | None = None, **more: Any) -> Op:
    return register(Elementwise(name, function, 2, kinds, vjp, **more))


ADD = _two("add", np.add, FIELD, lambda ct, out, x, y: (ct, ct))
SUB = _two("sub", np.subtract, FIELD, lambda ct, out, x, y: (ct, -ct))
MUL = _two("mul", np.multiply, FIELD, lambda ct, out, x, y: (ct * y, ct * x))
DIV = _two("div", np.divide, INEXACT, _divide_vjp, low=0.5, cycles=8)
FLOOR_DIVIDE = _two("floor_divide", np.floor_divide, NUMBER, cycles=40)
REMAINDER = _two("remainder", np.remainder, NUMBER, _remainder_vjp, low=0.7, high=0.95, cycles=35)
FMOD = _two("fmod", np.fmod, NUMBER, lambda ct, out, x, y: (ct, -ct * np.trunc(x / y)), low=0.7, high=0.95, cycles=25)
POWER = _two("power", _power, INEXACT, _power_vjp, low=0.5, cycles=80)
MAXIMUM = _two("maximum", np.maximum, NUMBER, _pick_vjp)
MINIMUM = _two("minimum", np.minimum, NUMBER, _pick_vjp)
FMAX = _two("fmax", np.fmax, FLOAT, _pick_vjp)
FMIN = _two("fmin", np.fmin, FLOAT, _pick_vjp)
ARCTAN2 = _two(
    "arctan2",
    np.arctan2,
    FLOAT,
    lambda ct, out, y, x: (ct * x / (x * x + y * y), -ct * y / (x * x + y * y)),
    low=0.5,
    cycles=70,
)
COPYSIGN = _two("copysign", np.copysign, FLOAT, lambda ct, out, x, y: (ct * np.sign(x) * np.sign(out), None), low=0.2)

EQUAL = _two("equal", np.equal, ANY, boolean=True)
NOT_EQUAL = _two("not_equal", np.not_equal, ANY, boolean=True)
LESS = _two("less", np.less, ORDERED, boolean=True)
LESS_EQUAL = _two("less_equal", np.less_equal, ORDERED, boolean=True)

BITWISE_AND = _two("bitwise_and", np.bitwise_and, BITS)
BITWISE_OR = _two("bitwise_or", np.bitwise_or, BITS)
BITWISE_XOR = _two("bitwise_xor", np.bitwise_xor, BITS)
LEFT_SHIFT = _two("left_shift", np.left_shift, INTEGER, low=0.0, high=70.0)
RIGHT_SHIFT = _two("right_shift", np.right_shift, INTEGER, low=0.0, high=70.0)
INVERT = _one("invert", np.invert, BITS)

NEG = _one("neg", np.negative, FIELD, lambda ct, out, x: (-ct,))
ABS = _one("abs", np.abs, FIELD, _abs_vjp, typed=real_dtype, low=0.2)
SIGN = _one("sign", np.sign, NUMBER)
FLOOR = _one("floor", np.floor, FLOAT)
CEIL = _one("ceil", np.ceil, FLOAT)
TRUNC = _one("trunc", np.trunc, FLOAT)
RINT = _one("rint", np.rint, FLOAT)
SQRT = _one("sqrt", np.sqrt, INEXACT, lambda ct, out, x: (ct * 0.5 / out,), low=0.3, cycles=10)
CBRT = _one("cbrt", np.cbrt, FLOAT, lambda ct, out, x: (ct / (3 * out * out),), low=0.3, cycles=30)
EXP = _one("exp", np.exp, INEXACT, lambda ct, out, x: (ct * out,), cycles=16)
EXP2 = _one("exp2", np.exp2, INEXACT, lambda ct, out, x: (ct * out * math.log(2.0),), cycles=16)
EXPM1 = _one("expm1", np.expm1, INEXACT, lambda ct, out, x: (ct * (out + 1),), cycles=20)
LOG = _one("log", np.log, INEXACT, lambda ct, out, x: (ct / x,), low=0.3, cycles=20)
LOG2 = _one("log2", np.log2, INEXACT, lambda ct, out, x: (ct / (x * math.log(2.0)),), low=0.3, cycles=25)
LOG10 = _one("log10", np.log10, INEXACT, lambda ct, out, x: (ct / (x * math.log(10.0)),), low=0.3, cycles=25)
LOG1P = _one("log1p", np.log1p, INEXACT, lambda ct, out, x: (ct / (1 + x),), low=-0.5, cycles=25)
SIN = _one("sin", np.sin, INEXACT, lambda ct, out, x: (ct * np.cos(x),), cycles=30)
COS = _one("cos", np.cos, INEXACT, lambda ct, out, x: (-ct * np.sin(x),), cycles=30)
TAN = _one("tan", np.tan, INEXACT, lambda ct, out, x: (ct * (1 + out * out),), low=-1.0, high=1.0, cycles=35)
ARCSIN = _one("arcsin", np.arcsin, FLOAT, lambda ct, out, x: (ct / np.sqrt(1 - x * x),), low=-0.8, high=0.8, cycles=30)
ARCCOS = _one("arccos", np.arccos, FLOAT, lambda ct, out, x: (-ct / np.sqrt(1 - x * x),), low=-0.8, high=0.8, cycles=30)
ARCTAN = _one("arctan", np.arctan, FLOAT, lambda ct, out, x: (ct / (1 + x * x),), cycles=30)
SINH = _one("sinh", np.sinh, INEXACT, lambda ct, out, x: (ct * np.cosh(x),), cycles=30)
COSH = _one("cosh", np.cosh, INEXACT, lambda ct, out, x: (ct * np.sinh(x),), cycles=25)
ARCSINH = _one("arcsinh", np.arcsinh, FLOAT, lambda ct, out, x: (ct / np.sqrt(x * x + 1),), cycles=60)
ARCCOSH = _one("arccosh", np.arccosh, FLOAT, lambda ct, out, x: (ct / np.sqrt(x * x - 1),), low=1.2, high=3.0, cycles=60)
ARCTANH = _one("arctanh", np.arctanh, FLOAT, lambda ct, out, x: (ct / (1 - x * x),), low=-0.8, high=0.8, cycles=40)
TANH = _one("tanh", np.tanh, INEXACT, lambda ct, out, x: (ct * (1 - out * out),), cycles=26)
SIGMOID = _one("sigmoid", _sigmoid, FLOAT, lambda ct, out, x: (ct * out * (1 - out),), cycles=20, ufunc="expit")
ERF = _one("erf", _erf, FLOAT, lambda ct, out, x: (ct * (2 / math.sqrt(math.pi)) * np.exp(-x * x),), cycles=30)
STOP_GRADIENT = _one("stop_gradient", lambda x: x, ANY, ufunc="")

# Of complex numbers. The pairing of cotangents and tangents is Re(sum(ct * t)), as in JAX: a rule of a holomorphic function holds as it
# is for real numbers, and the gradient of a real loss is dL/dre - i dL/dim.
REAL = _one("real", np.real, "c", lambda ct, out, z: (_joined(ct, np.zeros_like(ct)),), typed=real_dtype, ufunc="")
IMAG = _one("imag", np.imag, "c", lambda ct, out, z: (_joined(np.zeros_like(ct), -ct),), typed=real_dtype, ufunc="")
CONJ = _one("conj", np.conjugate, "c", lambda ct, out, z: (np.conjugate(ct),))
COMPLEX: Op = _two("complex", _complex, FLOAT, lambda ct, out, re, im: (ct.real, -ct.imag), typed=complex_dtype, ufunc="")
for _op in (REAL, IMAG, CONJ, COMPLEX):
    _op.has_code = False


class Reinterpreted(Elementwise):
    """The same bits as numbers of another kind, `f` or `u`, and of the same size."""

    def __init__(self, name: str, kinds: str, kind: str) -> None:
        super().__init__(name, np.asarray, 1, kinds, ufunc="", smooth=False)
        self._kind = kind

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = super().infer(types, attributes, regions)
        if type.dtype.itemsize < 4:
            raise GraphError(f"{self.name} is not defined for {short_name(type.dtype)}")
        return (TensorType(self._seen_as(type.dtype), type.shape),)

    def _seen_as(self, dtype: np.dtype) -> np.dtype:
        return np.dtype(f"{self._kind}{dtype.itemsize}")

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        return (np.ascontiguousarray(x).view(self._seen_as(x.dtype)).reshape(x.shape),)

    def samples(self) -> Iterable[Sample]:
        return (sample for sample in super().samples() if sample.types[0].dtype.itemsize >= 4)


FLOAT_TO_BITS = register(Reinterpreted("float_to_bits", FLOAT, "u"))
BITS_TO_FLOAT = register(Reinterpreted("bits_to_float", "u", "f"))


class Select(Op):
    """`select(condition, x, y)`: x where the bool condition holds, y elsewhere."""

    name = "select"
    only_moves = True
    is_elementwise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        if len(types) != 3 or types[0].dtype != np.bool_ or types[1].dtype != types[2].dtype:
            raise GraphError(f"select takes a bool and two arrays of one dtype, not {', '.join(map(str, types))}")
        return (TensorType(types[1].dtype, broadcast_shapes(types)),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return (np.where(*operands),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        condition, x, y = operands
        (ct,) = cotangents
        zero = np.zeros_like(ct)
        return [
            None,
            sum_to_shape(np.where(condition, ct, zero), x.shape),
            sum_to_shape(np.where(condition, zero, ct), y.shape),
        ]

    batch = Elementwise.batch

    def samples(self) -> Iterable[Sample]:
        for dtype in ("float32", "float64", "int32", "bool", "complex64"):
            for shapes in (((3, 4),) * 3, ((4,), (3, 1), ()), ((0,),) * 3, ((), (35,), (35,)))[: 2 if dtype == "complex64" else 4]:
                kinds = ("bool", dtype, dtype)
                yield Sample(tuple(TensorType(np.dtype(k), s) for k, s in zip(kinds, shapes, strict=True)))


SELECT = register(Select())


@dataclass(frozen=True)
class CastAttributes:
    dtype: np.dtype


class Cast(Op):
    """Conversion to another dtype, as C does it where C defines it; see `cast_array` for the rest. Of a complex number to a real dtype:
    that of its real part, and to bool whether it is not 0."""

    name = "cast"
    Attributes = CastAttributes
    is_elementwise = True

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        (type,) = types
        return (TensorType(attributes.dtype, type.shape),)

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        (x,) = operands
        if is_complex(x.dtype) and not is_complex(attributes.dtype) and not is_bool(attributes.dtype):
            x = x.real
        return (x.astype(attributes.dtype),)

    def vjp(self, operands: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any], attributes: Any) -> Sequence[Any]:
        (x,), (ct,) = operands, cotangents
        if not is_inexact(attributes.dtype) or not is_inexact(x.dtype):
            return [None]
        return [(ct if is_complex(x.dtype) else ct.real).astype(x.dtype)]

    batch = Elementwise.batch

    def samples(self) -> Iterable[Sample]:
        names = ("bool", "int8", "uint8", "int32", "int64", "uint32", "float32", "float64")
        for source in names:
            for target in names:
                low = 0.0 if target[0] == "u" else -2.0  # a negative float to unsigned depends on the machine
                yield Sample((TensorType(np.dtype(source), (19,)),), CastAttributes(np.dtype(target)), low=low, high=100.0)
        for source in ("float32", "float64"):  # also those that no signed integer holds
            yield Sample((TensorType(np.dtype(source), (19,)),), CastAttributes(np.dtype(np.uint64)), low=0.0, high=1.8e19)
        pairs = ("float32", "complex64"), ("int64", "complex128"), ("bool", "complex64"), ("complex64", "complex128")
        for source, target in (*pairs, ("complex128", "complex64"), ("complex128", "float64"), ("complex64", "bool")):
            yield Sample((TensorType(np.dtype(source), (19,)),), CastAttributes(np.dtype(target)))


CAST = register(Cast())
