"""The dtypes that values have, their names in dumps, and their families: asked of here, since not all are NumPy's own."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

_SHORT = {
    "bool": "bool",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "complex64": "c64",
    "complex128": "c128",
}

#: The first 8 bits of fraction of a float32, with all of its exponents. To NumPy it is a dtype of kind "V".
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

#: Whether what is wider than float32 is rounded to bfloat16 once: ml_dtypes before 0.7 makes it float32 first.
ROUNDS_ONCE = bool(np.array(1 + 2.0**-8 + 2.0**-40).astype(BFLOAT16) > 1)

_LONG = {short: BFLOAT16 if short == "bf16" else np.dtype(long) for long, short in _SHORT.items()}

#: By NumPy's type number (two numbers may be one type, as long and long long are): names are slow to ask for.
_CANONICAL = {np.dtype(char).num: np.dtype(np.dtype(char).name) for char in "?bBhHiIlLqQefdFD"} | {BFLOAT16.num: BFLOAT16}
_SHORT_BY_NUMBER = {number: _SHORT[dtype.name] for number, dtype in _CANONICAL.items()}

#: Every dtype a value may have, in NumPy's promotion order within a kind.
DTYPES: tuple[np.dtype, ...] = tuple(_LONG.values())


def finfo(dtype: np.dtype) -> Any:
    """`np.finfo`, of bfloat16 too."""
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]


def short_name(dtype: np.dtype) -> str:
    """`float32` -> `f32`, the way a dump writes it."""
    return _SHORT_BY_NUMBER[np.dtype(dtype).num]


#: A regular expression of the short names.
SHORT_NAME = f"(?:{'|'.join(_LONG)})"


def dtype_of_short_name(name: str) -> np.dtype:
    return _LONG[name]


def is_short_name(name: str) -> bool:
    return name in _LONG


def is_supported(dtype: np.dtype) -> bool:
    return np.dtype(dtype).num in _CANONICAL


def canonical(dtype: np.dtype) -> np.dtype | None:
    """The one of `DTYPES` that it is; None of others, and of those in foreign byte order."""
    if not isinstance(dtype, np.dtype):
        dtype = np.dtype(dtype)
    return _CANONICAL.get(dtype.num) if dtype.isnative else None


def family(dtype: np.dtype) -> str:
    """`b`, `i`, `u`, `f` or `c`: bool, signed, unsigned, floating or complex."""
    return "f" if dtype is BFLOAT16 else dtype.kind


def is_float(dtype: np.dtype) -> bool:
    """A real floating dtype: what a loss may be."""
    return dtype.kind == "f" or dtype is BFLOAT16


def is_half(dtype: np.dtype) -> bool:
    """A float of 16 bits: kept in memory as such, computed with as float32 (`passes/widen.py`)."""
    return dtype.char in "eE"


def is_complex(dtype: np.dtype) -> bool:
    return dtype.kind == "c"


def is_inexact(dtype: np.dtype) -> bool:
    """Floating or complex: what has derivatives, nans and infinities."""
    return dtype.kind in "fc" or dtype is BFLOAT16


def real_dtype(dtype: np.dtype) -> np.dtype:
    """That of the parts of a complex dtype; others themselves."""
    return _REAL.get(dtype, dtype)


def complex_dtype(dtype: np.dtype) -> np.dtype:
    """The complex dtype whose parts are of a floating one."""
    return _COMPLEX[dtype]


_COMPLEX = {np.dtype(real): np.dtype(both) for real, both in (("float32", "complex64"), ("float64", "complex128"))}
_REAL = {both: real for real, both in _COMPLEX.items()}


def is_bool(dtype: np.dtype) -> bool:
    return dtype.kind == "b"


def is_integer(dtype: np.dtype) -> bool:
    return dtype.kind in "iu"


def is_signed(dtype: np.dtype) -> bool:
    """A signed integer."""
    return dtype.kind == "i"


def is_unsigned(dtype: np.dtype) -> bool:
    return dtype.kind == "u"
