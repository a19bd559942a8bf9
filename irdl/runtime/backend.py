"""What a backend is: the facts of its machine, the passes over its programs, and what runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.loops.language import Program
from irdl.loops.target import Target
from irdl.passes.manager import Pass

if TYPE_CHECKING:
    from irdl.runtime.build import Build


class Loaded(ABC):
    """A program that runs.

    Attributes:
        in_place: output -> the donated input it is computed in.
        arena_bytes: scratch memory of a call.
        constant_bytes: of the program's constants.
    """

    in_place: dict[int, int]
    arena_bytes: int = 0
    constant_bytes: int = 0

    @abstractmethod
    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Fill the outputs. Inputs and outputs are contiguous and of the program's dtypes, in its order.

        Raises:
            IndexError: an index was out of range.
        """

    def entry(self, prepare: Callable[..., Any], finish: Callable[..., Any]) -> Any:
        """A builtin function for the signature that the program was made for, if the backend has such."""
        return None


class Backend(ABC):
    """Makes what runs of lowered graphs.

    Attributes:
        name: as users say it: `irdl.jit(f, backend=name)`.
        passes: over its programs, in order.
        has_entry: whether calls may come straight from the interpreter (see `Loaded.entry`).
    """

    name: str
    passes: tuple[Pass[Program], ...]
    has_entry: bool = False

    @abstractmethod
    def target(self) -> Target:
        """The machine as it is now."""

    @abstractmethod
    def load(self, build: Build) -> Loaded:
        """What runs a graph that is on its way down."""
