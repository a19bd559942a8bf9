"""Whether two things are alike: in types, numbers and form, whatever they hold."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np


def same(a: Any, b: Any, rtol: float = 1e-5, seen: set[int] | None = None) -> bool:
    """Equal in types, numbers and form, objects by their attributes."""
    seen = set() if seen is None else seen
    if id(a) in seen:
        return True
    seen.add(id(a))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.allclose(a, b, rtol=rtol, equal_nan=True)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key], rtol, seen) for key in a)
    if isinstance(a, (list, tuple, deque)):
        return len(a) == len(b) and all(same(p, q, rtol, seen) for p, q in zip(a, b, strict=True))
    if hasattr(a, "__dict__") and not callable(a):
        return same(vars(a), vars(b), rtol, seen)
    return bool(a == b) or (callable(a) and a.__qualname__ == b.__qualname__) or bool(np.isclose(a, b, rtol=rtol))
