"""The course of a graph, from groups of nodes on, and of its program to what is printed, for a GPU."""

from __future__ import annotations

from functools import partial

from irdl.codegen.cuda.barriers import insert_barriers
from irdl.codegen.cuda.block_memory import plan_block_memory
from irdl.codegen.cuda.launches import make_launches
from irdl.codegen.cuda.resident import keep_resident
from irdl.codegen.cuda.rows import merge_rows
from irdl.codegen.cuda.vectors import make_vectors
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.loops.passes.memory import plan_shared_memory
from irdl.ops.invariants import hoist_invariants
from irdl.ops.prune import prune
from irdl.passes.expand import expand
from irdl.passes.fuse import fuse
from irdl.passes.manager import Pass
from irdl.passes.pipeline import GRAPH_PASSES
from irdl.passes.round_early import round_early
from irdl.passes.running import run_in_pieces
from irdl.passes.widen import sink_casts

CUDA_GRAPH_PASSES: tuple[Pass[Graph], ...] = (
    *GRAPH_PASSES,
    Pass("running", run_in_pieces, needs=("target",)),
    Pass("expand", expand, required=True),
    Pass("sink-casts", sink_casts),
    Pass("round-early", round_early),
    Pass("fuse", partial(fuse, widening=True), required=True),
    Pass("hoist", hoist_invariants),
    Pass("prune", prune),
)
CUDA_PROGRAM_PASSES: tuple[Pass[Program], ...] = (
    Pass("rows", merge_rows),
    Pass("memory", plan_shared_memory, required=True),
    Pass("resident", keep_resident, needs=("target",)),
    Pass("vectors", make_vectors, needs=("target",)),
    Pass("block-memory", plan_block_memory, required=True),
    Pass("barriers", insert_barriers, required=True),
    Pass("launches", make_launches, required=True, needs=("target",)),
)
