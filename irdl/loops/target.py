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
    """Cores that work together, each with vectors of so many bytes and so many vector registers."""

    vector_bytes: int = 64
    registers: int = 32
    #: x86 with the 512-bit foundation instructions
    avx512: bool = False
    #: multiplies and adds in one instruction, rounding once
    fma: bool = True
    #: rounds to whole numbers in one instruction
    rounds: bool = True
    #: has instructions between float16 and float32
    halves: bool = True
    threads: int = 1
    worth: Worth = Worth()

    def lanes(self, dtype: np.dtype) -> int:
        return max(1, self.vector_bytes // dtype.itemsize)


@dataclass(frozen=True)
class Gpu:
    """A GPU of NVIDIA's: its compute capability (90 is 9.0), its multiprocessors, the shared memory that a block can have, and its name
    if it is known."""

    capability: int = 90
    multiprocessors: int = 132
    shared_bytes: int = 227 * 1024
    name: str = ""
