"""The GPU as a backend. Its code is printed, and not launched yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from irdl.codegen.cuda.emit import operations
from irdl.codegen.cuda.pipeline import CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES, schedule
from irdl.errors import IrdlError
from irdl.loops.target import GPU, Target
from irdl.runtime.backend import Backend, Loaded

if TYPE_CHECKING:
    from irdl.runtime.build import Build


class Cuda(Backend):
    name = "cuda"
    graph_passes, program_passes = CUDA_GRAPH_PASSES, CUDA_PROGRAM_PASSES
    schedule = staticmethod(schedule)

    def operations(self) -> Collection[str]:
        return operations()

    def target(self) -> Target:
        return GPU

    def load(self, build: Build) -> Loaded:
        raise IrdlError("irdl does not launch CUDA yet: compiled.cuda_source shows the code")
