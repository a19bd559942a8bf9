"""The backends there are, by name."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from irdl.loading import load

if TYPE_CHECKING:
    from irdl.runtime.backend import Backend

#: where the classes are
BACKENDS = {"cpu": "irdl.runtime.cpu.Cpu", "interpret": "irdl.runtime.interpreted.Interpret", "cuda": "irdl.runtime.cuda.Cuda"}


def check_backend(name: str) -> None:
    """
    Raises:
        ValueError: there is none of that name.
    """
    if name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; irdl has {', '.join(map(repr, BACKENDS))}")


@lru_cache(maxsize=len(BACKENDS))
def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        ValueError: there is none.
    """
    check_backend(name)
    module, _, class_name = BACKENDS[name].rpartition(".")
    return getattr(load(module), class_name)()
