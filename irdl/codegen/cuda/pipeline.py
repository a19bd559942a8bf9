"""The course of a program for a GPU. Its groups are scheduled as a CPU's are, a warp's lanes being the vector, until they have a
schedule of their own."""

from __future__ import annotations

from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES as CUDA_GRAPH_PASSES
from irdl.codegen.cpu.schedule import schedule
from irdl.loops.language import Program
from irdl.loops.passes.barriers import insert_barriers
from irdl.loops.passes.memory import plan_memory
from irdl.loops.passes.parallel import parallelise
from irdl.passes.manager import Pass

__all__ = ["CUDA_GRAPH_PASSES", "CUDA_PROGRAM_PASSES", "schedule"]

CUDA_PROGRAM_PASSES: tuple[Pass[Program], ...] = (
    Pass("memory", plan_memory, required=True),
    Pass("parallel", parallelise, needs=("target",)),
    Pass("barriers", insert_barriers, required=True),
)
