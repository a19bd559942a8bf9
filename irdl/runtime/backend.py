"""What a backend is: the facts of its machine, the passes and the schedule for it, the ops that it has code for, and what runs that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.codegen.lowering.schedule import Schedule
from irdl.errors import GraphError
from irdl.ir.graph import Graph
from irdl.ir.op import registered_ops
from irdl.loops.language import Program
from irdl.loops.target import Gpu, Target
from irdl.passes.manager import Pass

if TYPE_CHECKING:
    from irdl.runtime.build import Build


class Loaded(ABC):
    """A program that runs.

    Attributes:
        in_place: output -> the input it is computed in, which is donated or stored into.
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

    def run_on_device(self, inputs: Sequence[Any], types: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[Any]:
        """As `run`, of a backend that has arrays of its own: some inputs are such, and so are the results, of those shapes and dtypes."""
        raise NotImplementedError

    def entry(self, prepare: Callable[..., Any], finish: Callable[..., Any]) -> Any:
        """A builtin function for the signature that the program was made for, if the backend has such."""
        return None


class Backend(ABC):
    """Makes what runs of graphs.

    Attributes:
        name: as users say it: `irdl.jit(f, backend=name)`.
        graph_passes, program_passes: in order; between them the graph is lowered.
        has_entry: whether calls may come straight from the interpreter (see `Loaded.entry`).
        stores_in_place: whether what a function stores into is an array in this machine's memory, and may be computed there.
    """

    name: str
    graph_passes: tuple[Pass[Graph], ...]
    program_passes: tuple[Pass[Program], ...]
    has_entry: bool = False
    stores_in_place: bool = False

    def __init__(self) -> None:
        """
        Raises:
            GraphError: it lacks code for an op.
        """
        missing = [op.name for op in registered_ops() if op.is_elementwise and op.has_code and op.name not in self.operations()]
        if missing:
            raise GraphError(f"the backend {self.name!r} has no code for {', '.join(missing)}")

    @abstractmethod
    def operations(self) -> Collection[str]:
        """The elementwise ops that it has code for, by name."""

    @abstractmethod
    def target(self) -> Target | Gpu:
        """The machine as it is now."""

    @abstractmethod
    def schedule(self, target: Any, precision: str | None = None) -> Schedule:
        """How its groups become loops for such a machine. `precision`: of contractions; see `jit`."""

    @abstractmethod
    def load(self, build: Build) -> Loaded:
        """What runs a graph that is on its way down."""
