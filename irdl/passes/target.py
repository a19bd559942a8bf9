"""What the scheduler knows of a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Target:
    """A CPU core: the width of its vectors in bytes and how many vector registers it has."""

    vector_bytes: int = 64
    registers: int = 32
    #: x86 with the 512-bit foundation instructions
    avx512: bool = False

    def lanes(self, dtype: np.dtype) -> int:
        return max(1, self.vector_bytes // dtype.itemsize)
