"""The course of a graph from trace to loops: the passes in order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from irdl import config
from irdl.errors import GraphError
from irdl.ir.graph import Graph
from irdl.ir.verify import verify
from irdl.passes.distribute import distribute, hoist_invariants
from irdl.passes.expand import expand
from irdl.passes.fuse import fuse
from irdl.passes.inline import forget_order, inline_calls
from irdl.passes.pack import pack
from irdl.passes.prune import prune
from irdl.passes.remat import remat
from irdl.passes.simplify import simplify
from irdl.passes.target import Target


@dataclass(frozen=True)
class Pass:
    """`run(graph, target, known)`, where the last `known` inputs are the same at every call. `required` passes prepare what the code
    generator needs; the others only make the code better."""

    name: str
    run: Callable[[Graph, Target, int], Graph]
    required: bool = False


PIPELINE: tuple[Pass, ...] = (
    Pass("inline", lambda graph, target, known: inline_calls(graph), required=True),
    Pass("simplify", lambda graph, target, known: simplify(graph)),
    Pass("prune", lambda graph, target, known: prune(graph)),
    Pass("remat", lambda graph, target, known: remat(graph)),
    Pass("distribute", lambda graph, target, known: simplify(prune(distribute(graph)))),
    Pass("fuse", lambda graph, target, known: fuse(expand(forget_order(graph))), required=True),
    Pass("pack", lambda graph, target, known: prune(hoist_invariants(pack(graph, target, known)))),
)


def optimise(graph: Graph, target: Target, disable: Collection[str] = (), known: int = 0) -> list[tuple[str, Graph]]:
    """Run the pipeline; the graph after each pass, by name. The last `known` inputs are the same at every call.

    Raises:
        GraphError: `disable` names a pass that does not exist or is required.
    """
    disabled = {*disable, *(name for name in config.DISABLE_PASSES.value.split(",") if name)}
    optional = {item.name for item in PIPELINE if not item.required}
    if disabled - optional:
        raise GraphError(f"cannot disable {', '.join(sorted(disabled - optional))}: the optional passes are {', '.join(sorted(optional))}")
    stages: list[tuple[str, Graph]] = []
    for item in PIPELINE:
        if item.name in disabled:
            continue
        graph = item.run(graph, target, known)
        if config.VERIFY.value == "1":
            verify(graph)
        stages.append((item.name, graph))
    return stages
