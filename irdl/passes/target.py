"""What the scheduler knows of a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Target:
    """CPU cores: the width of their vectors in bytes, how many vector registers each has, and how many work together."""

    vector_bytes: int = 64
    registers: int = 32
    #: x86 with the 512-bit foundation instructions
    avx512: bool = False
    threads: int = 1

    def lanes(self, dtype: np.dtype) -> int:
        return max(1, self.vector_bytes // dtype.itemsize)
