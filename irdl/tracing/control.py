"""`scan`, `cond` and `while_loop`: called with arrays they are plain Python over NumPy; traced, they are one op each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph, Value
from irdl.ir.types import TensorType
from irdl.ops.control import SCAN, ScanAttributes
from irdl.tracing import checks, tree
from irdl.tracing.box import ARRAY, PYTHON, SCALAR, as_kind, is_box, result_kind, to_value, wrap
from irdl.tracing.capture.capture import Capture
from irdl.tracing.lines import user_line
from irdl.tracing.of_regions import joined_dtype, joined_kind, record_cond, record_while
from irdl.tracing.operations import cast
from irdl.tracing.printing import repeated
from irdl.tracing.recorder import Trace, current_trace
from irdl.tracing.region import Region, trace_region


def scan(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, length: int | None = None, reverse: bool = False) -> tuple[Any, Any]:
    """A loop: `carry, y = f(carry, x)` for every x along the leading axis of `xs`.

    Args:
        f: the body. Its new carry has the structure and the shapes of the old one.
        init: the first carry, a tree of arrays. Its dtypes are promoted to what the body returns.
        xs: a tree of arrays with one leading extent, or None.
        length: the number of steps; needed only where xs is None.
        reverse: visit the elements from the last to the first; ys keep the order of xs.

    Returns:
        The last carry, and the ys stacked along a new leading axis.

    Raises:
        ValueError: the leading extents differ, or no length is known.
        TraceError: the carry changes its structure or its shapes; the message names the leaf.
    """
    leaves, structure = tree.flatten(xs)
    extents: set[Any] = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in leaves}
    if None in extents:
        raise ValueError("scan: every array of xs needs a leading axis to loop over; one is a scalar")
    if length is not None:
        extents.add(length)
    if len(extents) != 1:
        raise ValueError(
            f"scan: the leading extents of xs{' and length' if length is not None else ''} differ: {sorted(extents)}"
            if extents
            else "scan: without xs, give length="
        )
    (steps,) = extents
    trace = current_trace()
    if trace is None or (_all_known((init, xs)) and not _inside_unknown(trace)):
        return _scan_eagerly(f, init, leaves, structure, int(steps), reverse)
    return _scan_traced(f, init, leaves, structure, int(steps), reverse)


def _inside_unknown(trace: Trace) -> bool:
    """True in a trace whose inputs are not all known: its loops stay loops."""
    return any(value not in trace.known for value in trace.inputs) or not trace.inputs


def _all_known(items: Any) -> bool:
    return all(not is_box(leaf) or leaf.known is not None for leaf in tree.flatten(items)[0])


def _scan_eagerly(f: Any, carry: Any, leaves: list[Any], structure: Any, steps: int, reverse: bool) -> tuple[Any, Any]:
    if steps == 0:
        return _empty_scan(f, carry, leaves, structure)
    results: list[Any] = [None] * steps
    first, carry_structure = tree.flatten(carry)
    for step in reversed(range(steps)) if reverse else range(steps):
        found = f(carry, tree.unflatten(structure, [leaf[step] for leaf in leaves]))
        _check_body(found, carry_structure)
        carry, results[step] = found
        for place, (old, new) in enumerate(zip(first, tree.flatten(carry)[0], strict=True)):
            if np.shape(old) != np.shape(new):
                raise _another_shape(tree.paths(carry)[place], np.shape(old), np.shape(new))
    flat = [tree.flatten(y) for y in results]
    ys = [np.stack([leaves[place] for leaves, _ in flat]) for place in range(len(flat[0][0]))]
    return carry, tree.unflatten(flat[0][1], ys)


def _empty_scan(f: Any, init: Any, leaves: list[Any], structure: Any) -> tuple[Any, Any]:
    """Of no steps the ys are empty; their types come from tracing the body."""
    trace = Trace("scan")
    with trace:
        body = Capture(trace, functions_only=True).replace(f, lambda: f, "scan") if trace.parent is None else f
        values, region, kinds = _trace_body(body, init, leaves, structure)
    init_leaves, init_structure = tree.flatten(init)
    carry = [as_kind(np.array(leaf, value.dtype), kind) for leaf, value, kind in zip(init_leaves, values, kinds, strict=True)]
    ys = [np.empty((0, *type.shape), type.dtype) for type in region.graph.output_types[len(values) : len(region.kinds)]]
    return tree.unflatten(init_structure, carry), tree.unflatten(_ys_structure(region), ys)


def _check_body(result: Any, structure: Any) -> None:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TraceError(f"the body of a scan returns (carry, y), not {type(result).__name__}{user_line()}")
    if tree.flatten(result[0])[1] != structure:
        raise TraceError(
            f"the body of a scan returned a carry of another structure: {tree.flatten(result[0])[1]}, not {structure}{user_line()}"
        )


def _another_shape(name: str, old: Any, new: Any) -> TraceError:
    return TraceError(f"the carry{name} of a scan starts as {old} and comes back from its body as {new}: give it one shape{user_line()}")


def _trace_body(f: Any, init: Any, leaves: list[Any], structure: Any) -> tuple[list[Value], Region, list[str]]:
    """Trace the body until the carry's dtypes stand: the promoted init, the region and the carry's kinds."""
    init_leaves, init_structure = tree.flatten(init)
    names = tree.paths(init)
    values = [to_value(leaf) for leaf in init_leaves]
    kinds = [tree.leaf_kind(leaf) or ARRAY for leaf in init_leaves]
    x_types = [TensorType(tree.leaf_type(leaf, "xs").dtype, np.shape(leaf)[1:]) for leaf in leaves]
    both = tree.flatten((tree.unflatten(init_structure, [0] * len(values)), tree.unflatten(structure, [0] * len(leaves))))[1]

    def body(carry: Any, x: Any) -> Any:
        result = f(carry, x)
        _check_body(result, init_structure)
        return result

    for _ in range(3):
        types = [value.type for value in values]
        region = trace_region(
            body, [*types, *x_types], both, [*kinds, *(result_kind(type) for type in x_types)], "scan body", prints=True, raises=True
        )
        returned = region.graph.output_types[: len(types)]
        settled = _settle_kinds(kinds, region.kinds)
        if tuple(types) == returned and settled == kinds:
            return values, region, kinds
        for place, (old, new) in enumerate(zip(types, returned, strict=True)):
            if old.shape != new.shape:
                raise _another_shape(names[place], old, new)
            dtype = new.dtype if kinds[place] == PYTHON else np.result_type(old.dtype, new.dtype)
            values[place] = cast(values[place], dtype)
        kinds = settled
    raise TraceError(f"the dtypes of the carry of a scan do not settle: they start as {types}{user_line()}")


def _settle_kinds(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """A carry that starts as a Python scalar (weak) stays one only if the body returns one."""
    return [SCALAR if old == PYTHON and new != PYTHON else old for old, new in zip(before, after, strict=False)]


def _scan_traced(f: Any, init: Any, leaves: list[Any], structure: Any, steps: int, reverse: bool) -> tuple[Any, Any]:
    trace = current_trace()
    assert trace is not None
    values, region, kinds = _trace_body(f, init, leaves, structure)
    count, consts = len(values), len(region.operands)
    graph = region.graph
    explicit = len(values) + len(leaves)
    # The op wants the constants first.
    body = Graph([*graph.inputs[explicit:], *graph.inputs[:explicit]], graph.outputs, graph.name)
    operands = [*region.operands, *values, *(to_value(leaf) for leaf in leaves)]
    results = trace.apply(SCAN, operands, ScanAttributes(consts, count, steps, reverse), [body])
    carry = [wrap(value, kind) for value, kind in zip(results[:count], kinds, strict=True)]
    ys = [wrap(value) for value in results[count : len(region.kinds)]]
    shown, codes = region.hidden(results)
    if region.printed is not None:
        trace.printed.append(repeated(region.printed, shown, steps, reverse))
    checks.absorb(*checks.repeated(region.checked, codes, steps, reverse))
    init_structure = tree.flatten(init)[1]
    return tree.unflatten(init_structure, carry), tree.unflatten(_ys_structure(region), ys)


def _ys_structure(region: Region) -> Any:
    whole = tree.unflatten(region.structure, list(range(region.structure.num_leaves)))
    return tree.flatten(whole[1])[1]


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands) if pred else false_fun(*operands)`, `pred` being one bool that may be traced.

    Raises:
        TraceError: the branches return different structures or types.
    """
    trace = current_trace()
    if trace is None or not is_box(pred) or pred.known is not None:
        if trace is None or not is_box(pred):
            return true_fun(*operands) if pred else false_fun(*operands)
        return true_fun(*operands) if bool(pred.known) else false_fun(*operands)
    if pred.size != 1:
        raise TraceError(f"the predicate of a cond is one bool, not {pred.type}{user_line()}")
    predicate = to_value(np.reshape(pred, ()) != 0 if pred.dtype != np.bool_ else np.reshape(pred, ()))
    leaves, structure = tree.flatten(operands)
    values = [to_value(leaf) for leaf in leaves]
    kinds = [tree.leaf_kind(leaf) or ARRAY for leaf in leaves]
    types = [value.type for value in values]
    regions = [_branch(fun, types, structure, kinds) for fun in (true_fun, false_fun)]
    if regions[0].structure != regions[1].structure:
        raise TraceError(f"the branches of a cond return different structures: {regions[0].structure} and {regions[1].structure}")
    count = len(regions[0].kinds)
    first, second = (region.graph.output_types[:count] for region in regions)
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape:
            raise TraceError(f"the branches of a cond return {a} and {b}: give them one shape{user_line()}")
    if first != second:
        kinds_of = zip(regions[0].kinds, regions[1].kinds, strict=True)
        dtypes = [joined_dtype(a.dtype, b.dtype, *pair) for a, b, pair in zip(first, second, kinds_of, strict=True)]
        functions = [_cast_results(fun, dtypes) for fun in (true_fun, false_fun)]
        regions = [_branch(fun, types, structure, kinds) for fun in functions]
    results = record_cond(predicate, values, regions, count)
    kinds = [joined_kind(value, *pair) for value, pair in zip(results, zip(regions[0].kinds, regions[1].kinds, strict=True), strict=True)]
    return tree.unflatten(regions[0].structure, [wrap(value, kind) for value, kind in zip(results, kinds, strict=True)])


def _branch(function: Callable[..., Any], types: Sequence[TensorType], structure: Any, kinds: Sequence[str]) -> Region:
    return trace_region(function, types, structure, kinds, "cond branch", prints=True, raises=True)


def _cast_results(function: Callable[..., Any], dtypes: Sequence[np.dtype]) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        leaves, structure = tree.flatten(function(*arguments))
        boxes = [wrap(cast(to_value(leaf), dtype)) for leaf, dtype in zip(leaves, dtypes, strict=True)]
        return tree.unflatten(structure, boxes)

    return wrapped


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any) -> Any:
    """`while cond_fun(carry): carry = body_fun(carry)`; the last carry.

    Raises:
        TraceError: the carry changes its structure or its types, or the condition is not one bool.
    """
    trace = current_trace()
    if trace is None or (_all_known(init) and not _inside_unknown(trace)):
        carry = init
        while cond_fun(carry):
            carry = body_fun(carry)
        return carry
    leaves, structure = tree.flatten(init)
    values = [to_value(leaf) for leaf in leaves]
    kinds = [tree.leaf_kind(leaf) or ARRAY for leaf in leaves]
    wrapped = tree.flatten((init,))[1]
    for _ in range(3):
        types = [value.type for value in values]
        body = trace_region(body_fun, types, wrapped, kinds, "while body", raises=True)
        returned = body.graph.output_types[: len(types)]
        if body.structure != structure:
            raise TraceError(f"the body of a while_loop returned another structure: {body.structure}, not {structure}")
        settled = _settle_kinds(kinds, body.kinds)
        if returned == tuple(types) and settled == kinds:
            break
        for place, (old, new) in enumerate(zip(types, returned, strict=True)):
            if old.shape != new.shape:
                raise TraceError(f"the carry{tree.paths(init)[place]} of a while_loop changes from {old} to {new}{user_line()}")
            weak = kinds[place] == PYTHON
            values[place] = cast(values[place], new.dtype if weak else np.result_type(old.dtype, new.dtype))
        kinds = settled
    else:
        raise TraceError(f"the dtypes of the carry of a while_loop do not settle{user_line()}")
    condition = trace_region(_one_bool(cond_fun), types, wrapped, kinds, "while condition")
    results = record_while(condition, body, values)
    return tree.unflatten(structure, [wrap(value, kind) for value, kind in zip(results, kinds, strict=True)])


def _one_bool(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrapped(carry: Any) -> Any:
        result = function(carry)
        if np.size(result) != 1:
            raise TraceError(f"the condition of a while_loop is one bool, not an array of shape {np.shape(result)}{user_line()}")
        verdict = wrap(cast(to_value(np.reshape(result, ()) if is_box(result) else np.asarray(result).item()), np.dtype(bool)))
        return checks.going(verdict)

    return wrapped
