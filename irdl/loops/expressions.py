"""The loop language's buffers, and what is computed of their elements: the statements are in `language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from irdl.loops.index import Index


@dataclass(eq=False)
class Buffer:
    """`size` elements of one dtype.

    Of the arena's buffers, `depth` is how many loops around it (outside of kernels) a buffer belongs to: no step of the innermost of
    those sees what another left there. `offset` (bytes, in the arena or in a block's shared memory) is set by the memory pass.
    Of registers, `copies` is how many threads', and of shared memory how many blocks', parts lie one after the other in it.
    """

    name: str
    dtype: np.dtype
    size: int
    space: str
    offset: int = 0
    depth: int = 0
    copies: int = 1

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Literal:
    value: np.generic

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype


@dataclass(frozen=True)
class Variable:
    """A value bound by a `Let`."""

    name: str
    dtype: np.dtype


@dataclass(frozen=True)
class IndexValue:
    """An index as an int64 number."""

    index: Index

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.int64)


@dataclass(frozen=True)
class Load:
    buffer: Buffer
    index: Index

    @property
    def dtype(self) -> np.dtype:
        return self.buffer.dtype


@dataclass(frozen=True)
class Operation:
    """An elementwise op of the registry on expressions. There are two more: `fma(a, b, c)`, and `tf32(x)`, the nearest float32 with ten
    bits of fraction."""

    name: str
    arguments: tuple[Expression, ...]
    dtype: np.dtype


Expression: TypeAlias = Literal | Variable | IndexValue | Load | Operation
