"""What a value is: a dtype and a static shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from irdl.errors import GraphError

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
    "float32": "f32",
    "float64": "f64",
}
_LONG = {short: np.dtype(long) for long, short in _SHORT.items()}

#: By NumPy's type number (two numbers may be one type, as long and long long are): names are slow to ask for.
_CANONICAL = {np.dtype(char).num: np.dtype(np.dtype(char).name) for char in "?bBhHiIlLqQfd"}
_SHORT_BY_NUMBER = {number: _SHORT[dtype.name] for number, dtype in _CANONICAL.items()}

#: Every dtype a value may have, in NumPy's promotion order within a kind.
DTYPES: tuple[np.dtype, ...] = tuple(np.dtype(name) for name in _SHORT)


def short_name(dtype: np.dtype) -> str:
    """`float32` -> `f32`, the way a dump writes it."""
    return _SHORT_BY_NUMBER[np.dtype(dtype).num]


def dtype_of_short_name(name: str) -> np.dtype:
    return _LONG[name]


def is_short_name(name: str) -> bool:
    return name in _LONG


def is_supported(dtype: np.dtype) -> bool:
    return np.dtype(dtype).num in _CANONICAL


@dataclass(frozen=True)
class TensorType:
    """A dtype and a static shape; a scalar has shape ()."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        dtype = np.dtype(self.dtype)
        canonical = _CANONICAL.get(dtype.num)
        if canonical is None or not dtype.isnative:
            raise GraphError(f"dtype {dtype} is not supported; irdl knows {', '.join(_SHORT)} in native byte order: convert with .astype")
        object.__setattr__(self, "dtype", canonical)
        object.__setattr__(self, "shape", tuple(int(extent) for extent in self.shape))
        object.__setattr__(self, "_hash", hash((dtype.char, self.shape)))

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @cached_property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    @staticmethod
    def of(array: np.ndarray | np.generic) -> TensorType:
        return TensorType(array.dtype, array.shape)


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f"
