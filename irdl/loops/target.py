"""What the scheduler knows of a machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Worth:
    """What is worth dividing among threads: cycles of a kernel, which pays a barrier, and of a program, which wakes the team; and the
    share of the threads' time that a division uses."""

    kernel: float = 1_500
    program: float = 40_000
    share: float = 0.6


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
    worth: Worth = Worth()
    #: lanes of a vector of whatever dtype, as those of a warp; 0: as many as its bytes hold
    fixed_lanes: int = 0

    def lanes(self, dtype: np.dtype) -> int:
        return self.fixed_lanes or max(1, self.vector_bytes // dtype.itemsize)


#: A GPU of 132 multiprocessors with eight warps each, which are at work anyway.
GPU = Target(registers=64, threads=1056, worth=Worth(0, 0, 0), fixed_lanes=32)
