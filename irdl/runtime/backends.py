"""The backends there are, by name."""

from __future__ import annotations

from irdl.runtime.backend import Backend
from irdl.runtime.cpu import Cpu
from irdl.runtime.interpreted import Interpret

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Cpu(), Interpret())}


def find_backend(name: str) -> Backend:
    """
    Raises:
        ValueError: there is none of that name.
    """
    if name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; irdl has {', '.join(map(repr, BACKENDS))}")
    return BACKENDS[name]
