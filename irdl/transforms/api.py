"""`grad`, `value_and_grad`, `vjp`, `jvp` and `vmap`: functions of functions, at the level of the user's trees.

Outside a trace they run with known values (so `if x > 0` works) and the resulting graph is interpreted; inside one the
transformed graph is spliced into it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from irdl.errors import DifferentiationError, TraceError
from irdl.ir.dtypes import is_complex, is_float, is_inexact
from irdl.ir.graph import Graph
from irdl.ir.types import TensorType
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, SCALAR, Box, is_box, result_kind, wrap
from irdl.tracing.capture.arguments import changes
from irdl.tracing.capture.capture import Capture
from irdl.tracing.capture.changes import leaked
from irdl.tracing.checks import checked
from irdl.tracing.printing import repeated, together
from irdl.tracing.recorder import Cell, Trace, current_trace
from irdl.tracing.region import check_kept, read_outputs
from irdl.tracing.sources import check_source
from irdl.transforms.batch import batch_graph
from irdl.transforms.checkpoint import within
from irdl.transforms.forward import jvp_graph
from irdl.transforms.reverse import vjp_graph
from irdl.transforms.traced_call import TracedCall, as_results, name_of, native, trace_call

#: a place or name of an argument, or several
ArgNums: TypeAlias = int | str | Sequence[int | str]


def value_and_grad(f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, max_bytes: int | None = None) -> Callable[..., Any]:
    """A function returning `(f(*args), gradient)`.

    Args:
        f: returns one float (with `has_aux`, a pair of it and any tree of arrays). With respect to complex numbers z = x + iy its
            gradient is df/dx - i df/dy, as in JAX: f falls fastest along minus the conjugate of it.
        argnums: the positional arguments to differentiate, by place or by name; for several, the gradients are a tuple.
        has_aux: the value is then `(result, aux)`.
        max_bytes: what the scans in `f` and their gradient may keep, in bytes; beyond it, the carry is kept every so many steps
            and the steps between are computed again. It counts in compiled code; `Compiled.memory` tells the exact figure.

    Raises:
        DifferentiationError: the result is no float scalar, a differentiated argument holds other than floats and complex numbers,
            or `max_bytes` is too little.
    """

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        places, one, arguments, options = chosen_places(f, argnums, arguments, options)
        chosen = [arguments[place] for place in places]
        leaves, structure = tree.flatten(chosen)
        types = [tree.leaf_type(leaf, f"a differentiated argument of {name_of(f)}") for leaf in leaves]
        marks = tree.trainable(chosen)
        for leaf, type_, mark, path in zip(leaves, types, marks, tree.paths(chosen), strict=True):
            if mark and not is_inexact(type_.dtype):
                raise DifferentiationError(
                    f"grad of {name_of(f)} with respect to argnums {path} of dtype {np.asarray(leaf).dtype if not is_box(leaf) else leaf.dtype}: "
                    "only floats have a derivative; convert with .astype, or choose other argnums"
                )

        rebuilt: list[Any] = []

        def rebuild(boxes: list[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
            replaced = list(arguments)
            rebuilt[:] = [tree.unflatten(structure, boxes), {id(box) for box in boxes}]
            for place, item in zip(places, rebuilt[0], strict=True):
                replaced[place] = item
            return replaced, options

        call, (aux_structure, count) = trace_call(
            f, leaves, rebuild, name_of(f), has_aux, keep=True, changed=lambda: changes(chosen, *rebuilt)
        )
        if count != 1 or not is_float(call.graph.outputs[0].dtype) or call.graph.outputs[0].type.size != 1:
            got = ", ".join(str(v.type) for v in call.graph.outputs[:count])
            way = "take np.abs, .real or .imag of it" if count == 1 and is_complex(call.graph.outputs[0].dtype) else "sum it"
            raise DifferentiationError(f"grad needs one float as the result of {name_of(f)}, not {got}: {way}, or use irdl.vjp")
        if max_bytes is not None:
            call.graph = within(call.graph, max_bytes)
        graph = vjp_graph(call.graph, [place for place, mark in enumerate(marks) if mark])
        total = len(call.graph.outputs)
        loss = call.graph.outputs[0].type
        seeds = [np.ones(loss.shape, loss.dtype)]
        seeds += [np.zeros(v.shape, v.dtype) for v in call.graph.outputs[1:] if is_inexact(v.dtype)]
        results = call.run(graph, seeds)
        outputs = call.finish(results[:total])
        kinds = [SCALAR if tree.leaf_kind(leaf) == PYTHON else tree.leaf_kind(leaf) or ARRAY for leaf in leaves]
        found = iter(as_results(results[total:], [kind for kind, mark in zip(kinds, marks, strict=True) if mark]))
        gradients = tree.unflatten(structure, [next(found) if mark else None for mark in marks])
        gradient = gradients[0] if one else tuple(gradients)
        value = tree.unflatten(call.structure, outputs[:1])
        if has_aux:
            return (value, tree.unflatten(aux_structure, outputs[1:])), gradient
        return value, gradient

    return wrapped


def chosen_places(
    f: Callable[..., Any], argnums: ArgNums, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[int, ...], bool, tuple[Any, ...], dict[str, Any]]:
    """The places of the arguments that `argnums` names, whether that is one, and the call with those in their places.

    Raises:
        DifferentiationError: there is no such argument.
    """
    one = isinstance(argnums, (int, np.integer, str))
    named: list[Any] = [argnums] if one else list(argnums)  # type: ignore[arg-type]
    if any(isinstance(place, str) for place in named):
        signature = inspect.signature(f)
        bound = signature.bind(*arguments, **options)
        arguments, options = bound.args, bound.kwargs
        names = list(signature.parameters)
        for number, name in enumerate(named):
            if isinstance(name, str):
                if name not in names or names.index(name) >= len(arguments):
                    raise DifferentiationError(f"argnums names {name!r}, but {name_of(f)} was given no positional argument of that name")
                named[number] = names.index(name)
    return tuple(_place(int(place), len(arguments), f) for place in named), one, arguments, options


def _place(place: int, count: int, f: Any) -> int:
    if not -count <= place < count:
        raise DifferentiationError(f"argnums names argument {place}, but {name_of(f)} was called with {count} positional arguments")
    return place % count


def grad(f: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, max_bytes: int | None = None) -> Callable[..., Any]:
    """A function returning the gradient of `f`'s one float result; with `has_aux`, `(gradient, aux)`.

    Arguments and errors are those of `value_and_grad`.
    """
    both = value_and_grad(f, argnums, has_aux, max_bytes)

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        value, gradient = both(*arguments, **options)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """`f(*primals)`, and a function from a cotangent of it (same structure) to the primals' cotangents."""
    leaves, structure = tree.flatten(primals)
    call, (_, count) = trace_call(f, leaves, lambda boxes: (tree.unflatten(structure, boxes), {}), name_of(f))
    floats = [place for place, leaf in enumerate(leaves) if is_inexact(tree.leaf_type(leaf, "a primal").dtype)]
    graph = vjp_graph(call.graph, floats)
    outputs, total = call.graph.outputs[:count], len(call.graph.outputs)
    value = tree.unflatten(call.structure, call.finish(call.run(call.graph, [])))

    def pull(cotangent: Any) -> tuple[Any, ...]:
        given, given_structure = tree.flatten(cotangent)
        if given_structure != call.structure:
            raise DifferentiationError(
                f"a cotangent of {name_of(f)} has the structure of its result, {call.structure}, not {given_structure}"
            )
        cts = []
        for ct, v in zip(given, outputs, strict=True):
            if is_inexact(v.dtype):
                if np.shape(ct) != v.shape:
                    raise DifferentiationError(f"a cotangent for {v.type} has shape {np.shape(ct)}")
                cts.append(ct.astype(v.dtype) if is_box(ct) else np.asarray(ct, v.dtype))
        cts += [np.zeros(v.shape, v.dtype) for v in call.graph.outputs[count:] if is_inexact(v.dtype)]
        found = iter(call.run(graph, cts)[total:])
        results = []
        for place, leaf in enumerate(leaves):
            kind = tree.leaf_kind(leaf) or ARRAY
            results.append(as_results([next(found)], [SCALAR if kind == PYTHON else kind])[0] if place in floats else None)
        return tuple(tree.unflatten(structure, results))

    return value, pull


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`f(*primals)` and its derivative along `tangents`, which have the structure and the shapes of `primals`.

    Raises:
        DifferentiationError: tangents and primals differ in structure or shape.
    """
    leaves, structure = tree.flatten(tuple(primals))
    given, given_structure = tree.flatten(tuple(tangents))
    if structure != given_structure:
        raise DifferentiationError(f"tangents have the structure {given_structure}, primals {structure}")
    call, (_, count) = trace_call(f, leaves, lambda boxes: (tree.unflatten(structure, boxes), {}), name_of(f))
    floats = [place for place, leaf in enumerate(leaves) if is_inexact(tree.leaf_type(leaf, "a primal").dtype)]
    extra = []
    for place in floats:
        type, tangent = call.graph.inputs[place].type, given[place]
        if np.shape(tangent) != type.shape:
            raise DifferentiationError(f"the tangent of a primal {type} has shape {np.shape(tangent)}")
        extra.append(tangent.astype(type.dtype) if is_box(tangent) else np.asarray(tangent, type.dtype))
    results = call.run(jvp_graph(call.graph, floats), extra)
    total = len(call.graph.outputs)
    value = tree.unflatten(call.structure, call.finish(results[:total]))
    found = iter(results[total:])
    outputs = call.graph.outputs[:count]
    out_tangents = []
    for v, kind in zip(outputs, call.kinds, strict=True):
        if is_inexact(v.dtype):
            out_tangents.append(as_results([next(found)], [kind])[0])
        else:
            out_tangents.append(as_results([np.zeros(v.shape, np.float64)], [kind])[0])
    return value, tree.unflatten(call.structure, out_tangents)


def _called(f: Callable[..., Any], call: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    return f(*call[0], **call[1])


def _axes_of(prefix: Any, argument: Any) -> list[int | None]:
    """The axis of each leaf of an argument, from a tree of axes like it or its upper part."""
    if prefix is None or isinstance(prefix, (int, np.integer)):
        return [None if prefix is None else int(prefix)] * len(tree.flatten(argument)[0])
    if isinstance(prefix, dict) and isinstance(argument, dict) and prefix.keys() == argument.keys():
        parts = [(prefix[key], argument[key], key) for key in argument]
        # The leaves of a dict come in an order of their own.
        order = tree.flatten({key: place for place, (_, _, key) in enumerate(parts)})[0]
        return [axis for place in order for axis in _axes_of(*parts[place][:2])]
    if isinstance(prefix, (list, tuple)) and isinstance(argument, (list, tuple)) and len(prefix) == len(argument):
        return [axis for part, item in zip(prefix, argument, strict=True) for axis in _axes_of(part, item)]
    raise ValueError(f"vmap: in_axes holds for each argument an int, None, or a tree like the argument, not {prefix!r}")


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """`f` over a further axis of its arguments, as one batched computation.

    Args:
        f: takes arrays without the axis.
        in_axes: for each positional argument the axis to map over, or None, or a tree of such like the argument or its upper part;
            one value serves all. Keyword arguments are mapped over their first axis.
        out_axes: where the axis goes in each result; one value serves all.

    Raises:
        ValueError: the mapped axes differ in extent, or nothing is mapped.
    """

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        axes = list(in_axes) if isinstance(in_axes, (tuple, list)) else [in_axes] * len(arguments)
        if len(axes) != len(arguments):
            raise ValueError(f"vmap: in_axes has {len(axes)} entries for {len(arguments)} arguments")
        leaves, structure = tree.flatten((arguments, options))
        leaf_axes = [axis for prefix, argument in zip(axes, arguments, strict=True) for axis in _axes_of(prefix, argument)]
        leaf_axes += [0] * (len(leaves) - len(leaf_axes))
        for leaf, axis in zip(leaves, leaf_axes, strict=True):
            if axis is not None and not -np.ndim(leaf) <= axis < np.ndim(leaf):
                raise ValueError(f"vmap: an argument of shape {np.shape(leaf)} has no axis {axis} to map over")
        for leaf in leaves:
            check_source(leaf)
        extents = {np.shape(leaf)[axis] for leaf, axis in zip(leaves, leaf_axes, strict=True) if axis is not None}
        if len(extents) != 1:
            raise ValueError(f"vmap: the mapped axes have extents {sorted(extents)}" if extents else "vmap: no argument is mapped")
        (size,) = extents
        front = [leaf if axis is None else np.moveaxis(leaf, axis, 0) for leaf, axis in zip(leaves, leaf_axes, strict=True)]
        batched = [axis is not None for axis in leaf_axes]
        # The body is traced over unknown values: one element's numbers must not steer it.
        trace, enclosing = Trace(name_of(f)), current_trace()
        with trace:
            boxes = []
            for leaf, mark in zip(front, batched, strict=True):
                type = tree.leaf_type(leaf, f"an argument of {name_of(f)}")
                kind = tree.leaf_kind(leaf) or ARRAY
                if mark:
                    type = TensorType(type.dtype, type.shape[1:])
                    kind = result_kind(type)
                boxes.append(Box(Cell(trace, trace.input(type)), type, kind))
            explicit = list(trace.inputs)
            capture = Capture(trace, functions_only=True, arrays=True) if enclosing is None else None
            body = f if capture is None else capture.replace(f, lambda: f, name_of(f))
            outputs, out_structure, _ = read_outputs(_called(body, tree.unflatten(structure, boxes)), name_of(f))
            if capture is not None and (names := leaked(capture, trace)):
                raise TraceError(f"{name_of(f)} keeps an array in {', '.join(names)} inside vmap: return it")
            check_kept(trace, "vmap")
            if any(box.cell.value is not value for box, value in zip(boxes, explicit, strict=True)):
                raise TraceError(f"{name_of(f)} stores into its argument inside vmap: copy it first")
            printed, found = together(trace.printed), checked(trace)
        hidden = [*printed.values, *(found.values if found else ())]
        graph = Graph([*explicit, *trace.lifted.values()], trace.rolled([*outputs, *hidden]), name_of(f))
        outer = [wrap(value) for value in trace.lifted_operands()] if trace.lifted else []
        marks = batched + [False] * len(outer)
        new, _ = batch_graph(graph, marks, int(size), [True] * len(graph.outputs))
        each = repeated(printed, (), int(size)) if trace.printed else None
        given = [*(leaf if is_box(leaf) else native(leaf) for leaf in front), *outer]
        call = TracedCall(new, given, out_structure, [ARRAY] * len(outputs), {}, printed=each, checked=found, size=int(size))
        results = call.finish(call.run(new, []))
        result_axes = out_axes if isinstance(out_axes, (tuple, list)) else [out_axes] * len(results)
        if not all(isinstance(axis, (int, np.integer)) for axis in result_axes) or len(result_axes) != len(results):
            raise ValueError(f"vmap: out_axes {out_axes!r} is not one int, nor one for each of {len(results)} results")
        moved = [r if axis == 0 else np.moveaxis(r, 0, axis) for r, axis in zip(results, result_axes, strict=True)]
        return tree.unflatten(out_structure, moved)

    return wrapped
