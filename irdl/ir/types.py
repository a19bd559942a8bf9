"""What a value is: a dtype and a static shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from irdl.errors import GraphError
from irdl.ir.dtypes import DTYPES, canonical, short_name
from irdl.lazy import cached_property


@dataclass(frozen=True)
class TensorType:
    """A dtype and a static shape; a scalar has shape ()."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        dtype = canonical(self.dtype)
        if dtype is None:
            known = ", ".join(known.name for known in DTYPES)
            raise GraphError(f"dtype {self.dtype} is not supported; irdl knows {known} in native byte order: convert with .astype")
        shape = tuple([int(extent) for extent in self.shape])
        # Types are made for every node: past the slow way that a frozen class has for its fields.
        self.__dict__.update(dtype=dtype, shape=shape, _hash=hash((dtype.char, shape)))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, TensorType) and self.shape == other.shape and self.dtype == other.dtype

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

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """The same dtype under another shape: quicker than from the start, as types are asked for by every view."""
        return _type_of(self.dtype, shape)

    @staticmethod
    def of(array: np.ndarray | np.generic) -> TensorType:
        return TensorType(array.dtype, array.shape)


@lru_cache(maxsize=4096)
def _type_of(dtype: np.dtype, shape: tuple[int, ...]) -> TensorType:
    """One type for all the steps of a loop, which then compare by identity."""
    made = object.__new__(TensorType)
    made.__dict__.update(dtype=dtype, shape=shape, _hash=hash((dtype.char, shape)))
    return made
