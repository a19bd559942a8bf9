"""Launches kernels on the CPU that g++ has built, one after the other.

usage: python launching.py FOLDER

FOLDER holds `cuda_on_cpu.so`, `kernels.so`, the calls in `calls.json` and their arrays in `arrays.npz`: a process that has nothing
else to do runs under the thread sanitizer in seconds.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Call(NamedTuple):
    """A launch; `arrays` are the places of what it takes."""

    name: str
    blocks: int
    threads: int
    shared_bytes: int
    cooperative: bool
    arrays: list[int]


class _Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("cooperative", ctypes.c_uint),
        ("order", ctypes.c_uint),
    )


def launch(library: ctypes.CDLL, call: Call, arrays: Sequence[np.ndarray], order: int) -> None:
    """
    Raises:
        RuntimeError: the kernel's threads were not in step.
    """
    packed = np.array([arrays[place].ctypes.data for place in call.arrays], np.uint64).tobytes()
    how = _Launch((call.blocks, 1, 1), (call.threads, 1, 1), call.shared_bytes, call.cooperative, order)
    run = getattr(library, f"{call.name}_launch")
    run.restype = ctypes.c_char_p
    error = run(ctypes.byref(how), packed)
    if error:
        raise RuntimeError(error.decode())


def main(folder: str) -> None:
    ctypes.CDLL(f"{folder}/cuda_on_cpu.so", mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(f"{folder}/kernels.so")
    arrays = list(np.load(f"{folder}/arrays.npz").values())
    for call in json.loads(Path(folder, "calls.json").read_text()):
        launch(library, Call(*call), arrays, 0)


if __name__ == "__main__":
    main(sys.argv[1])
