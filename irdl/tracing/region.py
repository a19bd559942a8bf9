"""Tracing a function or a region of one into a closed graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Location, Value
from irdl.ir.types import TensorType
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, Box, to_value
from irdl.tracing.checks import Checked, checked
from irdl.tracing.lines import user_line
from irdl.tracing.printing import Printed, together
from irdl.tracing.recorder import Cell, Trace, current_trace, trace_stack
from irdl.tracing.sources import check_source


@dataclass(frozen=True)
class Region:
    """A traced body: its graph takes the explicit inputs, then what it reads from outside (`operands`: the values of
    the enclosing trace that stand for those), and gives its results, then what it printed, then what its checks have come to."""

    graph: Graph
    operands: tuple[Value, ...]
    structure: Any
    kinds: tuple[str, ...]
    printed: Printed | None
    checked: Checked | None

    def hidden(self, results: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        """Of values for the outputs of the graph those of what is printed, and of the checks."""
        end = len(self.kinds) + (len(self.printed.values) if self.printed is not None else 0)
        return results[len(self.kinds) : end], results[end:]


def trace_region(
    function: Callable[..., Any],
    types: Sequence[TensorType],
    structure: Any,
    kinds: Sequence[str],
    name: str = "",
    names: Sequence[str | None] | None = None,
    prints: bool = False,
    raises: bool = False,
) -> Region:
    """Trace `function(*arguments)`, `structure` being that of the argument tuple. `prints`, `raises`: whether it may print, and raise
    errors that depend on traced numbers.

    Raises:
        TraceError: the function stores into an argument, or returns something that is not an array, or does what it may not.
    """
    trace = Trace(name or getattr(function, "__name__", ""))
    outer = current_trace()
    trace.location = None if outer is None else outer.location  # a rule's loops have no line either
    with trace:
        boxes = []
        for place, (type, kind) in enumerate(zip(types, kinds, strict=True)):
            value = trace.input(type, names[place] if names else None)
            boxes.append(Box(Cell(trace, value), type, kind))
        explicit = list(trace.inputs)
        result = function(*tree.unflatten(structure, boxes))
        outputs, out_structure, out_kinds = read_outputs(result, name)
        if trace.printed and not prints:
            raise TraceError(f"print inside a {name}: what it takes is not kept; print what comes out of it, or use irdl.scan")
        found = checked(trace, "" if raises else name or trace.name)
        check_kept(trace, f"a {name or trace.name}")
        printed = together(trace.printed) if trace.printed else None
        for box, value in zip(boxes, explicit, strict=True):
            if box.cell.value is not value:
                raise TraceError(
                    f"`{name or 'the traced function'}` stores into its argument: a loop, branch or gradient works on "
                    "values, so copy first (x = x.copy()) and return the copy"
                )
    hidden = [*(printed.values if printed else ()), *(found.values if found else ())]
    graph = Graph([*explicit, *trace.lifted.values()], trace.rolled([*outputs, *hidden]), name)
    return Region(graph, tuple(trace.lifted_operands()), out_structure, tuple(out_kinds), printed, found)


def check_kept(trace: Trace, what: str) -> None:
    """Nothing from outside holds an array of an inner trace, which is of no use when that has ended.

    Raises:
        TraceError: something does; it names what.
    """
    outermost = trace_stack()[0]
    held = [] if outermost is trace or outermost.capture is None else outermost.capture.held(trace)
    if held:
        names = ", ".join(dict.fromkeys(f"`{name}`" for name, _, _ in held))
        raise TraceError(f"{names} is bound to an array of the inside of {what}: return the array, and keep what comes out{user_line()}")


def read_outputs(result: Any, name: str) -> tuple[list[Value], Any, list[str]]:
    """The leaves of a traced function's result as values of the current trace."""
    leaves, structure = tree.flatten(result)
    values, kinds = [], []
    for leaf, path in zip(leaves, tree.paths(result), strict=True):
        tree.leaf_type(leaf, f"the result{path} of `{name or 'the traced function'}`")
        check_source(leaf)
        values.append(to_value(leaf))
        kinds.append(tree.leaf_kind(leaf) or ARRAY)
    return values, structure, kinds


def trace_rule(rule: Callable[[list[Any]], Sequence[Any]], types: Sequence[TensorType]) -> tuple[Graph, list[int | None]]:
    """Trace a gradient rule written in NumPy over plain arrays; None among its results is kept as None.

    Returns the graph of the results that are there, and for each result its place among the graph's outputs.
    """
    trace = Trace("rule")
    trace.location = frozenset()
    with trace:
        boxes = [Box(Cell(trace, value), value.type) for value in [trace.input(type) for type in types]]
        results = rule(boxes)
        outputs: list[Value] = []
        places: list[int | None] = []
        for result in results:
            if result is None:
                places.append(None)
            else:
                places.append(len(outputs))
                outputs.append(to_value(result))
    return Graph(trace.inputs, outputs, "rule"), places


def splice(graph: Graph, operands: Sequence[Value], location: Location | None = None) -> list[Value]:
    """Record a copy of `graph` into the current trace."""
    trace = current_trace()
    assert trace is not None
    mapping = dict(zip(graph.inputs, operands, strict=True))
    previous = trace.location
    try:
        for node in graph.nodes:
            trace.location = location or node.location or previous
            made = trace.apply(node.op, [mapping[v] for v in node.operands], node.attributes, node.regions)
            mapping.update(zip(node.outputs, made, strict=True))
    finally:
        trace.location = previous
    return [mapping[value] for value in graph.outputs]
