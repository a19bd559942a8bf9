"""A call of a user's function on the way through a transform: traced, then run over values of the enclosing trace or over arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irdl.errors import DifferentiationError, TraceError
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Value
from irdl.ops.prune import prune
from irdl.ops.rules import apply_rules
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, SCALAR, Box, is_box, to_value, wrap
from irdl.tracing.branches.merge import check_let_be
from irdl.tracing.capture.arguments import let_trace
from irdl.tracing.capture.capture import Capture
from irdl.tracing.capture.reads import Write
from irdl.tracing.checks import Checked, absorb, checked, raise_first, repeated
from irdl.tracing.lines import user_line
from irdl.tracing.printing import Printed, show_later, together
from irdl.tracing.recorder import Cell, Trace, current_trace, trace_stack
from irdl.tracing.region import read_outputs, splice
from irdl.tracing.sources import check_source


@dataclass
class TracedCall:
    """One traced call: its graph over (traced leaves, lifted values) and how to read its results."""

    graph: Graph
    arguments: list[Any]  # what stands for the graph's inputs: boxes or arrays
    structure: Any
    kinds: list[str]
    known: dict[Value, np.ndarray]
    #: what the function kept on captured objects: how to put its final form there, and its kind; outputs behind the results
    kept: list[tuple[Write, str]] = field(default_factory=list)
    #: what it printed; outputs behind those
    printed: Printed | None = None
    #: what its checks have come to; outputs behind those
    checked: Checked | None = None
    #: of a batch how many elements it has, each with checks of its own
    size: int | None = None

    def run(self, graph: Graph, extra: Sequence[Any]) -> list[Any]:
        """Results of a graph derived from this call's, over its arguments and `extra`, as values or arrays."""
        trace = current_trace()
        if trace is None:
            with np.errstate(all="ignore"):
                return evaluate(graph, [*self.arguments, *extra], self.known)
        return splice(graph, [to_value(item) for item in (*self.arguments, *extra)])

    def finish(self, outputs: Sequence[Any]) -> list[Any]:
        """The call's results, given the outputs of its graph. What it kept is put in its place; what it printed is shown, or is the
        enclosing trace's to show, as the errors of its checks are to raise."""
        count = len(self.kinds)
        end = len(outputs)
        if self.checked is not None:
            end -= len(self.checked.values)
            if current_trace() is None:
                raise_first(self.checked, outputs[end:])
            else:
                absorb(*((self.checked, outputs[end:]) if self.size is None else repeated(self.checked, outputs[end:], self.size)))
        found = as_results(outputs[:count], self.kinds)
        first_kept = count - len(self.kept)
        for (write, _), item in zip(self.kept, found[first_kept:], strict=True):
            write(item)
        if self.printed is not None:
            show_later(self.printed, outputs[count:end])
        return found[:first_kept]


def trace_call(
    function: Callable[..., Any],
    leaves: Sequence[Any],
    rebuild: Callable[[list[Any]], tuple[Sequence[Any], dict[str, Any]]],
    name: str,
    allow_aux: bool = False,
    keep: bool = False,
    changed: Callable[[], Iterable[tuple[Write, Any]]] = tuple,
) -> tuple[TracedCall, Any]:
    """Call `function` with what `rebuild` makes of boxes for `leaves`; the call, and the auxiliary result (second of a pair) if asked for.

    What it keeps on objects, as `self.last = x`, becomes numbers outside a trace; within one, with `keep`, further outputs; so does what
    `changed` then tells to have changed in its arguments.
    """
    trace, enclosing = Trace(name), current_trace()
    if enclosing is not None:
        for leaf in leaves:
            check_source(leaf)
    knowns = [leaf.known if is_box(leaf) else native(leaf) for leaf in leaves]
    with trace:
        boxes = []
        for place, (leaf, known) in enumerate(zip(leaves, knowns, strict=True)):
            type = tree.leaf_type(leaf, f"argument {place} of {name}")
            value = trace.input(type, None, known)
            boxes.append(Box(Cell(trace, value), type, tree.leaf_kind(leaf) or ARRAY))
        explicit = list(trace.inputs)
        capture = Capture(trace, functions_only=True) if enclosing is None else trace_stack()[0].capture
        if enclosing is None:
            # Outside any trace the function still has to make its buffers as traced arrays.
            function = capture.replace(function, lambda: function, name)
        given = rebuild(boxes)
        if capture is not None:
            let_trace(given, capture.classes)
        result = _called(function, *given)
        check_let_be(trace)
        aux: Any = None
        if allow_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise DifferentiationError(f"has_aux: {name} must return (result, aux){user_line()}")
            result, aux = result
        outputs, structure, kinds = read_outputs(result, name)
        aux_values, aux_structure, aux_kinds = read_outputs(aux, name) if allow_aux else ([], None, [])
        kept: list[tuple[Write, Any]] = []
        if capture is not None and enclosing is None:
            for write, box in (*((write, box) for _, write, box in capture.held(trace)), *changed()):
                write(as_results([box.known], [box.kind])[0])
        elif capture is not None and keep:
            kept = [*((write, box) for _, write, box in capture.held(trace)), *changed()]
        for box, value in zip(boxes, explicit, strict=True):
            if box.cell.value is not value:
                raise DifferentiationError(f"{name} stores into its argument: copy it first (x = x.copy()) and return the copy")
        kept_values = [box.value for _, box in kept]
        printed = together(trace.printed) if trace.printed else None
        found = checked(trace)
    lifted = list(trace.lifted.values())
    hidden = [*(printed.values if printed else ()), *(found.values if found else ())]
    graph = Graph([*explicit, *lifted], trace.rolled([*outputs, *aux_values, *kept_values, *hidden]), name)
    if not trace.followed:
        graph = apply_rules(apply_rules(graph))  # what is simpler now has a simpler gradient
        if trace.has_long_loops:  # which carry all variables of their bodies, read or not
            graph = prune(graph)
    outer = [wrap(value) for value in trace.lifted_operands()] if lifted else []
    arguments = [leaf if is_box(leaf) else known for leaf, known in zip(leaves, knowns, strict=True)]
    kinds = [*kinds, *aux_kinds, *(box.kind for _, box in kept)]
    writes = [(write, box.kind) for write, box in kept]
    call = TracedCall(graph, [*arguments, *outer], structure, kinds, trace.known, writes, printed, found)
    return call, (aux_structure, len(outputs))


def _called(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """What the function gives; where NumPy hides an error of irdl's behind one of its own, as a store into a real array, irdl's."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        if isinstance(error.__cause__, TraceError):
            raise error.__cause__ from None
        raise


def native(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_results(results: Sequence[Any], kinds: Sequence[str]) -> list[Any]:
    """Values of the current trace as boxes; arrays as arrays, NumPy scalars or Python scalars."""
    found = []
    for result, kind in zip(results, kinds, strict=True):
        if isinstance(result, Value):
            found.append(wrap(result, kind))
        elif kind == PYTHON:
            found.append(result.item())
        else:
            found.append(result[()] if kind == SCALAR else np.array(result))
    return found


def name_of(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)
