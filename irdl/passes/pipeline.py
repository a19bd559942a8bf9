"""The course of a graph from trace on, as far as it is the same for every machine. What follows is a backend's."""

from __future__ import annotations

from irdl.ir.graph import Graph
from irdl.ops.prune import prune
from irdl.passes.complex_parts import split_complex
from irdl.passes.distribute import distribute
from irdl.passes.early_exit import exit_early
from irdl.passes.factorize import factorize
from irdl.passes.if_convert import convert_branches
from irdl.passes.inline import forget_order, inline_calls
from irdl.passes.manager import Pass
from irdl.passes.remat import remat
from irdl.passes.simplify import simplify
from irdl.passes.widen import widen

GRAPH_PASSES: tuple[Pass[Graph], ...] = (
    Pass("inline", inline_calls, required=True),
    Pass("complex", split_complex, required=True),
    Pass("factorize", factorize, required=True),
    Pass("widen", widen, required=True),
    Pass("simplify", simplify),
    Pass("prune", prune),
    Pass("early-exit", exit_early),
    Pass("if-convert", convert_branches),
    Pass("remat", remat),
    Pass("distribute", distribute, needs=("target",)),
    Pass("prune", prune),
    Pass("simplify", simplify),
    Pass("forget-order", forget_order, required=True),
)
