"""What the scheduler knows of a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Target:
    """Cores that work together, each with vectors of so many bytes and so many vector registers.

    On a GPU a warp counts as a core whose vectors are its lanes, one for each thread.
    """

    vector_bytes: int = 64
    registers: int = 32
    #: x86 with the 512-bit foundation instructions
    avx512: bool = False
    #: multiplies and adds in one instruction, rounding once
    fma: bool = True
    threads: int = 1
    #: lanes of a warp, of whatever dtype; 0: a CPU
    warp: int = 0

    def lanes(self, dtype: np.dtype) -> int:
        return self.warp or max(1, self.vector_bytes // dtype.itemsize)


#: A GPU of 132 multiprocessors with eight warps each at work.
GPU = Target(registers=64, threads=1056, warp=32)
