"""Each elementwise op as LLVM instructions, with NumPy's total meaning: no input makes generated code undefined."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from irdl.codegen.cpu.llvm import integer_division
from irdl.codegen.cpu.llvm.halves import Halves
from irdl.codegen.cpu.llvm.ir_builder import IRBuilder, Kind
from irdl.codegen.cpu.llvm.library import LIBRARY, call_library
from irdl.codegen.cpu.llvm.vector_angle import AngleMath
from irdl.codegen.cpu.llvm.vector_inverse_hyperbolic import InverseHyperbolicMath
from irdl.codegen.cpu.llvm.vector_log import LogMath
from irdl.codegen.cpu.llvm.vector_math import VectorMath
from irdl.codegen.cpu.llvm.vector_power import PowerMath
from irdl.errors import GraphError
from irdl.ir.dtypes import is_float, is_half, is_signed, is_unsigned

_VECTOR_MATH = ("exp", "exp2", "expm1", "tanh", "sigmoid", "sinh", "cosh")
_MORE_MATH = {
    **dict.fromkeys(("log", "log2", "log10", "log1p"), LogMath),
    **dict.fromkeys(("arcsinh", "arccosh", "arctanh"), InverseHyperbolicMath),
    **dict.fromkeys(("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2"), AngleMath),
    **dict.fromkeys(("cbrt", "power"), PowerMath),
}
_INTRINSICS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "roundeven", "sqrt": "sqrt"}
_COMPARE = {
    "equal": ("oeq", "eq", "eq"),
    "not_equal": ("une", "ne", "ne"),
    "less": ("olt", "slt", "ult"),
    "less_equal": ("ole", "sle", "ule"),
}
_PLAIN = {"add": ("fadd", "add"), "sub": ("fsub", "sub"), "mul": ("fmul", "mul")}
_BITWISE = {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor"}


def emit_operation(builder: IRBuilder, name: str, kind: Kind, operands: Sequence[str]) -> str:
    """The name of `name(operands)`; `kind` is the operands' type (of a select, its branches')."""
    b = builder
    floating, signed = is_float(kind.dtype), is_signed(kind.dtype)
    if name in _PLAIN:
        return b.binary(kind, _PLAIN[name][0 if floating else 1], *operands)
    if name == "fma":
        return b.fma(kind, *operands)
    if name == "div":
        return b.binary(kind, "fdiv", *operands)
    if name in _COMPARE:
        return b.compare(kind, _COMPARE[name][0 if floating else 1 if signed else 2], *operands)
    if name in _BITWISE:
        return b.binary(kind, _BITWISE[name], *operands)
    if name == "select":
        return b.select(kind, *operands)
    if name == "invert":
        return b.binary(kind, "xor", operands[0], kind.constant(True if kind.dtype == np.bool_ else -1))
    if name == "neg":
        return b.emit(f"fneg {kind.text} {operands[0]}") if floating else b.binary(kind, "sub", kind.constant(0), operands[0])
    if name in _VECTOR_MATH or (name == "erf" and kind.dtype == np.float32):
        return getattr(VectorMath(b, kind), name)(operands[0])
    if name in _MORE_MATH and floating:
        return getattr(_MORE_MATH[name](b, kind), name)(*operands)
    if name in _INTRINSICS:
        return b.intrinsic(kind, _INTRINSICS[name], operands[0])
    rule = _RULES.get(name)
    if rule is not None:
        return rule(b, kind, *operands)
    if name in LIBRARY and floating:
        return call_library(b, LIBRARY[name], kind, operands)
    raise GraphError(f"the LLVM backend has no code for {name} of {kind.dtype}")


def operations() -> set[str]:
    """The ops that there is code for."""
    alone = {"fma", "div", "select", "invert", "neg", "cast", "stop_gradient"}
    return alone.union(_PLAIN, _COMPARE, _BITWISE, _VECTOR_MATH, _MORE_MATH, _INTRINSICS, _RULES, LIBRARY)


def _absolute(b: IRBuilder, kind: Kind, x: str) -> str:
    if is_float(kind.dtype):
        return b.intrinsic(kind, "fabs", x)
    if is_unsigned(kind.dtype):
        return x
    negative = b.compare(kind, "slt", x, kind.constant(0))
    return b.select(kind, negative, b.binary(kind, "sub", kind.constant(0), x), x)


def _sign(b: IRBuilder, kind: Kind, x: str) -> str:
    zero, one = kind.constant(0), kind.constant(1)
    if is_unsigned(kind.dtype):
        return b.select(kind, b.compare(kind, "ne", x, zero), one, zero)
    if is_signed(kind.dtype):
        up = b.select(kind, b.compare(kind, "sgt", x, zero), one, zero)
        return b.select(kind, b.compare(kind, "slt", x, zero), kind.constant(-1), up)
    up = b.select(kind, b.compare(kind, "ogt", x, zero), one, zero)
    signed = b.select(kind, b.compare(kind, "olt", x, zero), kind.constant(-1), up)
    return b.select(kind, b.compare(kind, "uno", x, zero), x, signed)


def _extremum(of_floats: str, of_integers: str) -> Callable[..., str]:
    def rule(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
        if is_float(kind.dtype):
            return b.select(kind, b.compare(kind, "ord", x, kind.constant(0.0)), _machine_extremum(b, kind, of_floats, x, y), x)
        letter = "s" if is_signed(kind.dtype) else "u"
        return b.select(kind, b.compare(kind, letter + of_integers, x, y), x, y)

    return rule


def _extremum_but_nan(predicate: str) -> Callable[..., str]:
    def rule(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
        return b.select(kind, b.compare(kind, "ord", y, kind.constant(0.0)), _machine_extremum(b, kind, predicate, x, y), x)

    return rule


def _machine_extremum(b: IRBuilder, kind: Kind, predicate: str, x: str, y: str) -> str:
    """What LLVM makes one instruction of: the second operand where both are equal, as in NumPy's vectors, or one is nan."""
    return b.select(kind, b.compare(kind, predicate, x, y), x, y)


def _floor_divide(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    return (_float_floor_divide if is_float(kind.dtype) else integer_division.floor_divide)(b, kind, x, y)


def _remainder(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    return _float_remainder(b, kind, x, y)[0] if is_float(kind.dtype) else integer_division.remainder(b, kind, x, y)


def _fmod(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    return VectorMath(b, kind).fmod(x, y) if is_float(kind.dtype) else integer_division.fmod(b, kind, x, y)


def _float_remainder(b: IRBuilder, kind: Kind, x: str, y: str) -> tuple[str, str, str]:
    """NumPy's remainder (the divisor's sign), C's fmod, and where the divisor was added to that."""
    flag, zero = kind.with_dtype(np.bool_), kind.constant(0.0)
    mod = _fmod(b, kind, x, y)
    nonzero = b.compare(kind, "une", mod, zero)
    differs = b.binary(flag, "xor", b.compare(kind, "olt", y, zero), b.compare(kind, "olt", mod, zero))
    moved = b.binary(flag, "and", nonzero, differs)
    moved = b.binary(flag, "and", moved, b.compare(kind, "une", y, zero))
    result = b.select(kind, moved, b.binary(kind, "fadd", mod, y), mod)
    return b.select(kind, nonzero, result, b.intrinsic(kind, "copysign", zero, y)), mod, moved


def _float_floor_divide(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
    """As CPython and NumPy: from fmod, so that it agrees with the remainder."""
    zero, one = kind.constant(0.0), kind.constant(1.0)
    _, mod, moved = _float_remainder(b, kind, x, y)
    quotient = b.binary(kind, "fdiv", b.binary(kind, "fsub", x, mod), y)
    quotient = b.select(kind, moved, b.binary(kind, "fsub", quotient, one), quotient)
    floor = b.intrinsic(kind, "floor", quotient)
    above = b.compare(kind, "ogt", b.binary(kind, "fsub", quotient, floor), kind.constant(0.5))
    rounded = b.select(kind, above, b.binary(kind, "fadd", floor, one), floor)
    plain = b.binary(kind, "fdiv", x, y)
    signed_zero = b.intrinsic(kind, "copysign", zero, plain)
    result = b.select(kind, b.compare(kind, "oeq", quotient, zero), signed_zero, rounded)
    return b.select(kind, b.compare(kind, "oeq", y, zero), plain, result)


def _shift(op: str) -> Callable[..., str]:
    def rule(b: IRBuilder, kind: Kind, x: str, y: str) -> str:
        width = kind.constant(kind.bits)
        inside = b.compare(kind, "ult", y, width)
        count = b.select(kind, inside, y, kind.constant(0))
        if op == "left":
            return b.select(kind, inside, b.binary(kind, "shl", x, count), kind.constant(0))
        if is_unsigned(kind.dtype):
            return b.select(kind, inside, b.binary(kind, "lshr", x, count), kind.constant(0))
        sign = b.binary(kind, "ashr", x, kind.constant(kind.bits - 1))
        return b.select(kind, inside, b.binary(kind, "ashr", x, count), sign)

    return rule


def _same_bits(b: IRBuilder, kind: Kind, other: str, x: str) -> str:
    return b.emit(f"bitcast {kind.text} {x} to {kind.with_dtype(f'{other}{kind.dtype.itemsize}').text}")


_RULES: dict[str, Callable[..., str]] = {
    "abs": _absolute,
    "sign": _sign,
    "maximum": _extremum("ogt", "ge"),
    "minimum": _extremum("olt", "le"),
    "fmax": _extremum_but_nan("ogt"),
    "fmin": _extremum_but_nan("olt"),
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "fmod": _fmod,
    "left_shift": _shift("left"),
    "right_shift": _shift("right"),
    "copysign": lambda b, kind, x, y: b.intrinsic(kind, "copysign", x, y),
    "float_to_bits": lambda b, kind, x: _same_bits(b, kind, "u", x),
    "bits_to_float": lambda b, kind, x: _same_bits(b, kind, "f", x),
}


def emit_cast(b: IRBuilder, source: Kind, target: Kind, x: str) -> str:
    """A conversion that is defined for every input; one to or from floats of 16 bits goes by float32."""
    old, new = source.dtype, target.dtype
    if old == new:
        return x
    if is_half(old):
        return emit_cast(b, source.with_dtype(np.float32), target, Halves(b, source).widen(x))
    if is_half(new):
        return Halves(b, target).narrow(emit_cast(b, source, target.with_dtype(np.float32), x))
    if new == np.bool_:
        return b.compare(source, "une" if old.kind == "f" else "ne", x, source.constant(0))
    if old == np.bool_:
        return b.select(target, x, target.constant(1), target.constant(0))  # LLVM converts vectors of flags in three steps
    if old.kind == "f" and new.kind == "f":
        op = "fpext" if new.itemsize > old.itemsize else "fptrunc"
        return b.emit(f"{op} {source.text} {x} to {target.text}")
    if new.kind == "f":
        return b.emit(f"{'sitofp' if old.kind == 'i' else 'uitofp'} {source.text} {x} to {target.text}")
    if old.kind == "f":
        return _float_to_integer(b, source, target, x)
    if new.itemsize < old.itemsize:
        return b.emit(f"trunc {source.text} {x} to {target.text}")
    if new.itemsize == old.itemsize:
        return x
    return b.emit(f"{'sext' if old.kind == 'i' else 'zext'} {source.text} {x} to {target.text}")


def _float_to_integer(b: IRBuilder, source: Kind, target: Kind, x: str) -> str:
    """Towards zero. What does not fit is what x86's conversion gives, which NumPy shows: the lowest number of the signed
    type worked in (32 bits for the small dtypes and int32, 64 for the others), cut to the target's width."""
    new = target.dtype
    if new == np.uint64:
        limit = source.constant(2.0**63)
        high = b.compare(source, "oge", x, limit)
        low_part = _checked(b, source, target.with_dtype(np.int64), x)
        high_part = _checked(b, source, target.with_dtype(np.int64), b.binary(source, "fsub", x, limit))
        wide = target.with_dtype(np.uint64)
        return b.select(wide, high, b.binary(wide, "xor", high_part, wide.constant(-(2**63))), low_part)
    worked = np.int64 if new in (np.int64, np.uint32) else np.int32
    wide = target.with_dtype(worked)
    return emit_cast(b, wide, target, _checked(b, source, wide, x))


def _checked(b: IRBuilder, source: Kind, wide: Kind, x: str) -> str:
    limit = 2.0 ** (wide.bits - 1)
    flag = source.with_dtype(np.bool_)
    # -limit - 1 is no float32 for 32 bits; truncation makes everything above it fit.
    if source.dtype == np.float64 and wide.bits == 32:
        low = b.compare(source, "ogt", x, source.constant(-limit - 1))
    else:
        low = b.compare(source, "oge", x, source.constant(-limit))
    fits = b.binary(flag, "and", low, b.compare(source, "olt", x, source.constant(limit)))
    safe = b.select(source, fits, x, source.constant(0.0))
    converted = b.emit(f"fptosi {source.text} {safe} to {wide.text}")
    return b.select(wide, fits, converted, wide.constant(-(2 ** (wide.bits - 1))))
