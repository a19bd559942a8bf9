"""The course of a program from the lowered graph to what a backend prints."""

from __future__ import annotations

from irdl.codegen.alternate import walk_there_and_back
from irdl.codegen.carries import keep_carries
from irdl.codegen.merge import merge_kernels
from irdl.loops.language import Program
from irdl.loops.passes.barriers import insert_barriers
from irdl.loops.passes.memory import plan_memory
from irdl.loops.passes.parallel import parallelise
from irdl.passes.manager import Pass

_MEMORY = Pass("memory", plan_memory, required=True)
_TEAM = (Pass("parallel", parallelise, needs=("target",)), Pass("barriers", insert_barriers, required=True))

CPU_PASSES: tuple[Pass[Program], ...] = (
    Pass("merge", merge_kernels, needs=("target",)),
    Pass("carries", keep_carries, needs=("target",)),
    _MEMORY,
    Pass("alternate", walk_there_and_back),
    *_TEAM,
)
CUDA_PASSES: tuple[Pass[Program], ...] = (_MEMORY, *_TEAM)
