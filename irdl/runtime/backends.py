"""The backends there are, by name."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from irdl.loading import load

if TYPE_CHECKING:
    from irdl.runtime.backend import Backend

#: where the classes are
BACKENDS = {"cpu": "irdl.runtime.cpu.Cpu", "interpret": "irdl.runtime.interpreted.Interpret", "cuda": "irdl.runtime.cuda.Cuda"}
#: how contractions may round what they multiply: not at all, as NumPy, or to what is named
PRECISIONS = (None, "tf32")


def check_backend(name: str) -> None:
    """
    Raises:
        ValueError: there is none of that name.
    """
    if name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; irdl has {', '.join(map(repr, BACKENDS))}")


def check_precision(name: str | None) -> None:
    """
    Raises:
        ValueError: there is none of that name.
    """
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; irdl has 'tf32', and None for NumPy's")


@lru_cache(maxsize=len(BACKENDS))
def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        ValueError: there is none.
    """
    check_backend(name)
    module, _, class_name = BACKENDS[name].rpartition(".")
    return getattr(load(module), class_name)()
