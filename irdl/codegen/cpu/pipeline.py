"""The course of a graph, from groups of nodes on, and of its program to what is printed, for a CPU."""

from __future__ import annotations

from irdl.codegen.cpu.alternate import walk_there_and_back
from irdl.codegen.cpu.carries import keep_carries
from irdl.codegen.cpu.edges import leave_padding_unmade
from irdl.codegen.cpu.merge import merge_kernels
from irdl.codegen.cpu.order import order_contractions
from irdl.codegen.cpu.pack import pack
from irdl.codegen.cpu.parts import cut_contractions
from irdl.codegen.cpu.streams import widen_streams
from irdl.codegen.cpu.taps import leave_out_padding
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.loops.passes.barriers import insert_barriers
from irdl.loops.passes.memory import plan_memory
from irdl.loops.passes.parallel import parallelise
from irdl.ops.invariants import hoist_invariants
from irdl.ops.prune import prune
from irdl.passes.expand import expand
from irdl.passes.fuse import fuse
from irdl.passes.manager import Pass
from irdl.passes.pipeline import GRAPH_PASSES

CPU_GRAPH_PASSES: tuple[Pass[Graph], ...] = (
    *GRAPH_PASSES,
    Pass("expand", expand, required=True),
    Pass("taps", leave_out_padding),
    Pass("edges", leave_padding_unmade),
    Pass("order", order_contractions),
    Pass("parts", cut_contractions, needs=("static_inputs",)),
    Pass("fuse", fuse, required=True),
    Pass("pack", pack, needs=("target", "static_inputs")),
    Pass("hoist", hoist_invariants),
    Pass("prune", prune),
)
CPU_PROGRAM_PASSES: tuple[Pass[Program], ...] = (
    Pass("merge", merge_kernels, needs=("target",)),
    Pass("carries", keep_carries, needs=("target",)),
    Pass("memory", plan_memory, required=True),
    Pass("alternate", walk_there_and_back),
    Pass("streams", widen_streams),
    Pass("parallel", parallelise, needs=("target",)),
    Pass("barriers", insert_barriers, required=True),
)
