"""Types, literals and operations of the loop language as CUDA C."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from irdl.ir.dtypes import is_bool, is_float, is_half, is_unsigned
from irdl.loops.expressions import Operation
from irdl.loops.index import Index

_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned",
    "uint64": "unsigned long long",
    "float16": "irdl::float16",
    "bfloat16": "irdl::bfloat16",
    "float32": "float",
    "float64": "double",
}
_INFIX = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
_INFIX_OF_FLOATS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


@lru_cache(maxsize=1)
def operations() -> set[str]:
    """The ops that the prelude, or C itself, has code for."""
    return {
        *re.findall(r"\b(\w+)\(", prelude()),
        *re.findall(r"IRDL_\w+\((\w+)", prelude()),
        *_INFIX,
        *_INFIX_OF_FLOATS,
        "select",
        "stop_gradient",
    }


def prelude() -> str:
    """What the source is put behind: NumPy's arithmetic."""
    return (Path(__file__).parent / "prelude.h").read_text()


def tensor_cores() -> str:
    """What the source of a program with products of matrices by warps is put behind as well."""
    return (Path(__file__).parent / "tensor_cores.h").read_text()


def copies() -> str:
    """What the source of a program that begins to copy is put behind as well."""
    return (Path(__file__).parent / "copies.h").read_text()


def format_index(index: Index) -> str:
    return str(index).replace(" ", "").replace("+-", "-")


def c_type(dtype: np.dtype) -> str:
    return _TYPES[dtype.name]


def format_literal(value: np.generic) -> str:
    dtype = value.dtype
    if is_bool(dtype):
        return "true" if value else "false"
    if is_half(dtype):
        return f"{c_type(dtype)}{{{np.asarray(value).view(np.uint16)!s}}}"
    if is_float(dtype):
        number = float(value)
        if math.isnan(number):
            return f"{c_type(dtype)}(NAN)"
        if math.isinf(number):
            return f"{c_type(dtype)}({'-' if number < 0 else ''}INFINITY)"
        return repr(number) + ("" if dtype == np.float64 else "f")
    if dtype.itemsize < 8:
        return f"({c_type(dtype)}){value!s}" if int(value) != -(2**31) else "(-2147483647 - 1)"
    if is_unsigned(dtype):
        return f"{value!s}ull"
    return f"{value!s}ll" if int(value) != -(2**63) else "(-9223372036854775807ll - 1)"


def format_operation(operation: Operation, arguments: Sequence[str]) -> str:
    name = operation.name
    operand = operation.arguments[-1].dtype
    infix = _INFIX.get(name) or (_INFIX_OF_FLOATS.get(name) if operand.kind == "f" else None)
    if infix is not None:
        return f"({arguments[0]} {infix} {arguments[1]})"
    if name == "select":
        return f"({arguments[0]} ? {arguments[1]} : {arguments[2]})"
    # C works out small integers as int: each argument is made what it is again.
    function = f"cast<{c_type(operation.dtype)}>" if name == "cast" else name
    if operand.kind in "biu":
        arguments = [f"({c_type(operand)})({argument})" for argument in arguments]
    return f"irdl::{function}({', '.join(arguments)})"
