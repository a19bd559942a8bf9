"""The GPU as a backend. Its code is printed, and not launched yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from irdl.codegen.pipeline import CUDA_PASSES
from irdl.errors import IrdlError
from irdl.loops.target import GPU, Target
from irdl.runtime.backend import Backend, Loaded

if TYPE_CHECKING:
    from irdl.runtime.build import Build


class Cuda(Backend):
    name = "cuda"
    passes = CUDA_PASSES

    def target(self) -> Target:
        return GPU

    def load(self, build: Build) -> Loaded:
        raise IrdlError("irdl does not launch CUDA yet: compiled.cuda_source shows the code")
