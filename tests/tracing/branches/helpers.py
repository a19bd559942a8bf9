"""Functions that programs of the corpus share, as a user's module of helpers."""

from __future__ import annotations

import numpy as np


def clip(x, low=0.0, high=1.0):
    """Guard clauses instead of np.clip."""
    if x < low:
        return low
    if x > high:
        return high
    return x


def sign(x):
    return 1 if x > 0 else -1 if x < 0 else 0


def safe_divide(a, b, default=0.0):
    if abs(b) < 1e-12:
        return default
    return a / b


def normalized(v):
    norm = np.sqrt((v * v).sum())
    return v if norm == 0 else v / norm
