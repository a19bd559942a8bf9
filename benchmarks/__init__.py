"""Benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import os

# Before NumPy loads its BLAS, which reads these once.
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
for _name in _VARIABLES:
    os.environ.setdefault(_name, "1")


def one_thread() -> None:
    """Refuse to measure with more than one thread in NumPy's BLAS."""
    wrong = [f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ[name] != "1"]
    if wrong:
        raise SystemExit(f"these benchmarks compare one thread with one thread; unset {', '.join(wrong)}")
