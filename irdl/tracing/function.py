"""Tracing a whole user function: arguments and captured state in, results and changed state out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Value, reachable_nodes
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, Box
from irdl.tracing.branches.apart import check_apart
from irdl.tracing.branches.merge import check_let_be
from irdl.tracing.branches.source import traced
from irdl.tracing.capture import changes
from irdl.tracing.capture.arguments import argument_effects, containers_of, let_trace
from irdl.tracing.capture.capture import Capture, Captured
from irdl.tracing.capture.outcome import Recipes, Results, results_of
from irdl.tracing.capture.reads import Always, Read
from irdl.tracing.capture.recipes import Effect, Recipe
from irdl.tracing.checks import concluded
from irdl.tracing.layout import shadow_array
from irdl.tracing.raised import Errors
from irdl.tracing.recorder import Cell, Trace


@dataclass
class TracedFunction:
    """A traced call.

    The graph's inputs are the argument leaves, then the captured arrays, then the `static_arrays`, those of static arguments; its outputs
    are the result's leaves or what its recipe needs, then the new contents of the inputs listed in `stored`, then those hidden ones.

    Attributes:
        structure, kinds: of the result's leaves. Where the result is a recipe, it needs as many arrays as there are kinds.
        guards: what has to be as it was, how to read it and what it was.
        taken: of these what may well change from call to call, with its name.
        effects: what the call leaves behind.
        result: how to make the result, where it takes more than a tree of new arrays: it holds texts or objects, or what it holds is
            left behind elsewhere too.
        cells: where the captured arrays were during a trace that does not share.
        errors: those that it raises where a traced bool holds, for which the graph has further, hidden outputs.
    """

    graph: Graph
    structure: Any
    kinds: list[str]
    captured: list[Captured]
    guards: list[tuple[Read, Any]]
    taken: list[tuple[Read, Any, str]]
    stored: list[int]
    effects: list[Effect]
    result: Recipe | None
    static_arrays: list[np.ndarray]
    cells: Sequence[Cell] = ()
    errors: Errors | None = None


def bind(function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> list[str]:
    """Names for the leaves of a call, from the function's signature."""
    try:
        bound = inspect.signature(function).bind(*arguments, **options)
        parts = {**bound.arguments}
    except (TypeError, ValueError):
        parts = {f"arg{i}": a for i, a in enumerate(arguments)} | dict(options)
    names: list[str] = []
    for name, item in parts.items():
        names += [_identifier(name + path) for path in tree.paths(item)]
    return names


def _identifier(text: str) -> str:
    return "".join(c if c.isalnum() or c == "_" else "." if c == "[" else "" for c in text).strip(".").replace("..", ".")


def trace_function(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    name: str = "",
    static: Mapping[int | str, Any] | None = None,
    roll: bool = True,
    changing: Collection[str] = (),
    share: bool = True,
    decides: bool = True,
) -> TracedFunction:
    """Trace `function(*arguments, **options)`.

    `static` arguments are used as they are, in the places of `arguments` (which hold None there) and beside the `options`;
    arrays in them are inputs of the graph all the same, so that code does not depend on their contents. Without `roll`, Python's
    loops stay as they ran, step after step. `changing`: names of captured numbers and lists that are known to change between calls.
    Without `share`, each array of a result is an output of its own, even where many are rows of one. Without `decides`, nothing may be
    decided by those numbers.

    Raises:
        TraceError: the code does something that cannot be traced; nothing outside is changed.
    """
    name = name or getattr(function, "__name__", type(function).__name__)
    return traced(lambda: _traced(function, arguments, options, name, static or {}, roll, changing, share, decides))


def _traced(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    name: str,
    static: Mapping[int | str, Any],
    roll: bool,
    changing: Collection[str],
    share: bool,
    decides: bool,
) -> TracedFunction:
    trace = Trace(name, roll)
    trace.is_attempt = True
    leaves, structure = tree.flatten((tuple(arguments), dict(options)))
    names = bind(function, arguments, {**options, **{key: None for key in static if isinstance(key, str)}})
    aliases = dict(tree.aliases(leaves))
    with trace:
        boxes = _boxes(trace, leaves, names if len(names) == len(leaves) else [f"in{place}" for place in range(len(leaves))], aliases)
        explicit = list(trace.inputs)
        capture = trace.capture = Capture(trace, changing=frozenset(changing), decides=decides)
        given = tree.unflatten(structure, boxes)
        let_trace(given, capture.classes)
        structure = tree.flatten(given)[1]
        containers = list(containers_of(given))
        result = _called(function, capture, given, static, name)
        check_let_be(trace)
        if trace.has_aliases:
            check_apart(capture, containers)
        recipes = Recipes(capture, share)
        effects = [*recipes.printed(trace.printed), *argument_effects(containers, recipes), *changes.effects(capture, recipes)]
        if not effects:
            _check_containers(given, boxes, structure, name)
        results = results_of(result, bool(effects), recipes, share, name)
        cells = [*(box.cell for box in boxes), *capture.cells]
        inputs = [*explicit, *(item.value for item in capture.captured)]
        changed = [cell.value is not value for cell, value in zip(cells, inputs, strict=True)]
        stored = [place for place, is_changed in enumerate(changed) if is_changed and place not in aliases]
        new_contents = [cells[place].value for place in stored]
        errors, hidden = concluded(trace)
        if generator := capture.drawn_from():
            raise TraceError(
                f"`{name}` drew from {generator} while it was traced: the same numbers would come "
                "back at every call; use irdl.random with a key"
            )
    outputs = trace.rolled([*results.values, *new_contents, *hidden])
    count = len(results.values)
    results = results.settled(outputs[:count])
    return replace(_finished(capture, explicit, stored, results, outputs[count:], effects, share), errors=errors)


def _finished(
    capture: Capture,
    explicit: Sequence[Value],
    stored: Sequence[int],
    results: Results,
    rest: Sequence[Value],
    effects: list[Effect],
    share: bool,
) -> TracedFunction:
    """The traced call, without the captured arrays that no output needs.

    Args:
        explicit: the inputs of arguments.
        stored: places of arguments and captured arrays that have new contents.
        rest: those, and the hidden outputs.
    """
    inputs = [*explicit, *(item.value for item in capture.captured)]
    outputs = [*results.values, *rest]
    used = _used([*inputs, *(value for value, _ in capture.static_arrays)], outputs) | {inputs[place] for place in stored}
    statics = [item for item in capture.static_arrays if item[0] in used]
    keep = [place for place in range(len(inputs)) if place < len(explicit) or inputs[place] in used]
    position = {old: new for new, old in enumerate(keep)}
    return TracedFunction(
        Graph([*(inputs[place] for place in keep), *(value for value, _ in statics)], outputs, capture.trace.name),
        results.structure,
        results.kinds,
        [item for item in capture.captured if item.value in used],
        capture.guards,
        capture.taken,
        [position[place] for place in stored],
        effects,
        results.recipe,
        [np.asarray(array, value.dtype) for value, array in statics],
        [] if share else [cell for cell, item in zip(capture.cells, capture.captured, strict=True) if item.value in used],
    )


def _boxes(trace: Trace, leaves: Sequence[Any], names: Sequence[str], aliases: Mapping[int, int]) -> list[Any]:
    """What stands for the leaves of the arguments: one box for all that are one array."""
    boxes: list[Any] = []
    for place, (leaf, name) in enumerate(zip(leaves, names, strict=True)):
        box = _argument(trace, leaf, name)
        boxes.append(boxes[aliases[place]] if place in aliases else box)
    return boxes


def _called(function: Callable[..., Any], capture: Capture, given: Any, static: Mapping[int | str, Any], name: str) -> Any:
    """What the function gives for traced arguments, with objects of the user's own classes."""
    for key, item in static.items():
        capture.know(item, _static_name(function, key))
    copy = capture.replace(function, Always(function), name)
    if not callable(copy):
        raise TypeError(f"{name} is not callable: irdl.compile, irdl.trace and irdl.export take a function, as in irdl.trace(f)(x)")
    fixed = {key: capture.static(item, _static_name(function, key)) for key, item in static.items()}
    arguments, options = given
    arguments = [fixed.get(place, argument) for place, argument in enumerate(arguments)]
    result = copy(*arguments, **options, **{key: item for key, item in fixed.items() if isinstance(key, str)})
    return capture.classes.plain(result)


def _static_name(function: Callable[..., Any], key: int | str) -> str:
    """What the parameter is called that a static argument is passed for."""
    if isinstance(key, str):
        return key
    try:
        return list(inspect.signature(function).parameters)[key]
    except (TypeError, ValueError, IndexError):
        return f"arg{key}"


def _check_containers(arguments: Any, boxes: Sequence[Any], structure: Any, name: str) -> None:
    """The dicts and lists passed in hold what they held before."""
    leaves, after = tree.flatten(arguments)
    if after != structure or any(a is not b for a, b in zip(leaves, boxes, strict=True)):
        raise TraceError(
            f"`{name}` changed a dict, list or object among its arguments, which would happen once and not at each call: "
            "copy it, change the copy and return it"
        )


def _used(inputs: Sequence[Any], outputs: Sequence[Any]) -> set[Any]:
    read = {operand for node in reachable_nodes(outputs) for operand in node.operands}
    return (read | set(outputs)) & set(inputs)


def _argument(trace: Trace, leaf: Any, name: str) -> Any:
    kind = tree.leaf_kind(leaf)
    if kind is None:
        raise TraceError(f"argument `{name}` is a {type(leaf).__name__}, not an array or a number: {tree.INSTEAD}")
    type_ = tree.leaf_type(leaf, f"argument `{name}`")
    value = trace.input(type_, name)
    shadow = None
    read_only = ""
    if kind == ARRAY and isinstance(leaf, np.ndarray):
        if not leaf.flags.c_contiguous:
            shadow = shadow_array(leaf.shape, type_.dtype, leaf.strides)
        if not leaf.flags.writeable:
            read_only = f"argument `{name}` is"
    return Box(Cell(trace, value), type_, kind, (), shadow, read_only)
