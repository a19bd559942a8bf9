"""`custom_vjp`: a function whose gradient the user writes, and `stop_gradient`. (`custom_jvp` is in `derivatives`.)"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irdl.errors import DifferentiationError, GraphError
from irdl.ir.dtypes import is_inexact
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph, Value
from irdl.ir.op import Op, register
from irdl.ir.types import TensorType
from irdl.ops.elementwise import STOP_GRADIENT
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, is_box, to_value, wrap
from irdl.tracing.operations import apply
from irdl.tracing.recorder import current_trace
from irdl.tracing.region import Region, trace_region
from irdl.tracing.sources import check_source


@dataclass(frozen=True)
class CustomVjpAttributes:
    """Of the operands the first `arguments` are the function's; the others are what its parts read from outside.

    `derived`: the backward function computes the function's own derivative, so forward mode may go through the function.
    """

    arguments: int
    derived: bool = False


class CustomVjp(Op):
    """A function, with a forward function that also returns residuals, and a backward one from
    (operands, residuals, cotangents) to the arguments' cotangents; and, where there is one, a pushforward from (operands, tangents of
    the float arguments) to the tangents of the float results."""

    name = "custom_vjp"
    Attributes = CustomVjpAttributes

    def infer(self, types: Sequence[TensorType], attributes: Any, regions: Sequence[Graph]) -> tuple[TensorType, ...]:
        function, forward, backward, *more = regions
        if function.input_types != tuple(types) or forward.input_types != tuple(types):
            raise GraphError("the regions of a custom_vjp take its operands")
        count = len(function.outputs)
        if forward.output_types[:count] != function.output_types:
            raise GraphError("the forward function of a custom_vjp returns other types than the function itself")
        cts = tuple(type for type in function.output_types if is_inexact(type.dtype))
        if backward.input_types != (*types, *forward.output_types[count:], *cts):
            raise GraphError("the backward function of a custom_vjp takes the operands, the residuals and the cotangents")
        if more:
            tangents = tuple(type for type in types[: attributes.arguments] if is_inexact(type.dtype))
            if more[0].input_types != (*types, *tangents) or more[0].output_types != cts:
                raise GraphError("the pushforward of a custom_vjp takes the operands and tangents, and gives tangents")
        return function.output_types

    def evaluate(self, operands: Sequence[np.ndarray], attributes: Any, regions: Sequence[Graph]) -> Sequence[np.ndarray]:
        return evaluate(regions[0], operands)


CUSTOM_VJP = register(CustomVjp())
#: A rule may call the function it belongs to, for its value or a further derivative: so deep its own rule holds there too.
_DEEPEST = 2


class custom_vjp:
    """Give `f` a gradient of your own.

    Define `forward(*args) -> (result, residuals)` and `backward(residuals, cotangent) -> tuple of cotangents, one per
    argument`, then `f.defvjp(forward, backward)`. Arguments and results are trees of arrays; called without a gradient,
    `f` itself runs. The rules may call `f`, whose gradient within them is again the rules', to the second derivative; beyond it
    is that of the code of `f`.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        functools.update_wrapper(self, f)
        self._function = f
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        #: of each thread, how many of its own rules are being traced now, one within the other
        self._tracing: dict[int, int] = {}
        #: (primals, tangents) -> (result, tangent); see `derivatives.custom_jvp`
        self._pushforward: Callable[..., Any] | None = None

    def __irdl_replace__(self, replace: Callable[[Any, Callable[[Any], Any] | None], Any]) -> custom_vjp:
        """A copy around replaced functions (see `irdl.tracing.capture.capture`)."""
        made = custom_vjp(replace(self._function, lambda owner: owner._function))
        made._forward = replace(self._forward, lambda owner: owner._forward)
        made._backward = replace(self._backward, lambda owner: owner._backward)
        made._pushforward = replace(self._pushforward, lambda owner: owner._pushforward)
        return made

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set the forward and the backward function."""
        self._forward, self._backward = forward, backward

    def __call__(self, *arguments: Any) -> Any:
        leaves, structure = tree.flatten(arguments)
        if current_trace() is None or not any(is_box(leaf) for leaf in leaves):
            return self._function(*arguments)
        if self._forward is None or self._backward is None:
            raise DifferentiationError(f"{getattr(self, '__name__', 'the function')} is a custom_vjp without defvjp(forward, backward)")
        thread = threading.get_ident()
        depth = self._tracing.get(thread, 0)
        if depth >= _DEEPEST:
            return self._function(*arguments)
        self._tracing[thread] = depth + 1
        try:
            return self._record(leaves, structure)
        finally:
            self._tracing[thread] = depth

    def _record(self, leaves: list[Any], structure: Any) -> Any:
        for leaf in leaves:
            check_source(leaf)
        values = [to_value(leaf) for leaf in leaves]
        types = [value.type for value in values]
        kinds = [tree.leaf_kind(leaf) or ARRAY for leaf in leaves]
        forward_function, backward_function = self._forward, self._backward
        assert forward_function is not None and backward_function is not None
        function = trace_region(self._function, types, structure, kinds, "custom_vjp")
        forward = trace_region(forward_function, types, structure, kinds, "custom_vjp forward")
        count = len(function.graph.outputs)
        pair = tree.unflatten(forward.structure, list(range(forward.structure.num_leaves)))
        if not isinstance(pair, tuple) or len(pair) != 2 or len(tree.flatten(pair[0])[0]) != count:
            raise DifferentiationError("the forward function of a custom_vjp returns (result, residuals)")
        residual_structure = tree.flatten(pair[1])[1]
        result_leaves = function.graph.outputs
        floats = [place for place, value in enumerate(result_leaves) if is_inexact(value.dtype)]

        def backward_flat(*flat: Any) -> Any:
            residuals = tree.unflatten(residual_structure, flat[: residual_structure.num_leaves])
            cts: list[Any] = [None] * count
            for place, ct in zip(floats, flat[residual_structure.num_leaves :], strict=True):
                cts[place] = ct
            found = backward_function(residuals, tree.unflatten(function.structure, cts))
            return _cotangents(found, structure, types)

        graph_types = [*(v.type for v in forward.graph.outputs[count:]), *(result_leaves[place].type for place in floats)]
        flat_structure = tree.flatten(tuple([0] * len(graph_types)))[1]
        backward = trace_region(backward_flat, graph_types, flat_structure, [ARRAY] * len(graph_types), "custom_vjp backward")
        rule = self._pushforward
        push = None if rule is None else _pushed(rule, structure, types, kinds)
        shared = list(dict.fromkeys([*function.operands, *forward.operands, *backward.operands, *(push.operands if push else ())]))
        regions = [
            _with_operands(function, types, shared, 0),
            _with_operands(forward, types, shared, 0),
            _with_operands(backward, types, shared, len(types)),
        ]
        if push is not None:
            whole = _with_operands(push, types, shared, 0)
            count_all, tangents = len(types), len(whole.inputs) - len(types) - len(shared)
            order = [*whole.inputs[:count_all], *whole.inputs[count_all + tangents :], *whole.inputs[count_all : count_all + tangents]]
            regions.append(Graph(order, whole.outputs, whole.name))
        trace = current_trace()
        assert trace is not None
        results = trace.apply(CUSTOM_VJP, [*values, *shared], CustomVjpAttributes(len(values)), regions)
        boxes = [wrap(value, kind) for value, kind in zip(results, function.kinds, strict=True)]
        return tree.unflatten(function.structure, boxes)


def checked_rule(rule: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """`rule(primals, tangents)` of a custom_jvp.

    Raises:
        DifferentiationError: that is no pair of a result and a tangent like it.
    """
    found = rule(primals, tangents)
    if not isinstance(found, tuple) or len(found) != 2:
        raise DifferentiationError("the rule of a custom_jvp returns (result, tangent)")
    if tree.flatten(found[0])[1] != tree.flatten(found[1])[1]:
        raise DifferentiationError("the tangent that the rule of a custom_jvp returns has another structure than the result")
    return found


def _pushed(rule: Callable[..., Any], structure: Any, types: list[Any], kinds: list[str]) -> Region:
    """A pushforward over (arguments, tangents of those that are floats); it gives the tangents of the float results."""
    floats = [place for place, type in enumerate(types) if is_inexact(type.dtype)]

    def flat(*items: Any) -> Any:
        tangents: list[Any] = [np.zeros(type.shape, type.dtype) for type in types]
        for place, tangent in zip(floats, items[len(types) :], strict=True):
            tangents[place] = tangent
        found = checked_rule(rule, tree.unflatten(structure, items[: len(types)]), tree.unflatten(structure, tangents))
        result, tangent = (tree.flatten(part)[0] for part in found)
        chosen = [(r, t) for r, t in zip(result, tangent, strict=True) if is_inexact(to_value(r).dtype)]
        return [wrap(to_value(t if is_box(t) else np.asarray(t, to_value(r).dtype), to_value(r).dtype)) for r, t in chosen]

    given = [*types, *(types[place] for place in floats)]
    flat_structure = tree.flatten(tuple([0] * len(given)))[1]
    return trace_region(flat, given, flat_structure, [*kinds, *([ARRAY] * len(floats))], "custom_jvp rule")


def _cotangents(found: Any, structure: Any, types: list[Any]) -> list[Any]:
    """The float arguments' cotangents from what a backward function returned; None stands for zero.

    Raises:
        DifferentiationError: it is not one entry per argument, of the argument's shape.
    """
    arguments = tree.unflatten(structure, list(range(len(types))))
    if not isinstance(found, tuple) or len(found) != len(arguments):
        raise DifferentiationError(
            f"the backward function of a custom_vjp returns a tuple of {len(arguments)} cotangents, one per argument (None for zero)"
        )
    results: list[Any] = []
    for place, (argument, cotangent) in enumerate(zip(arguments, found, strict=True)):
        leaves = tree.flatten(argument)[0]
        given = [None] * len(leaves) if cotangent is None else tree.flatten(cotangent)[0]
        if len(given) != len(leaves):
            raise DifferentiationError(f"the cotangent of argument {place} of a custom_vjp has another structure than the argument")
        for leaf, ct in zip(leaves, given, strict=True):
            type = types[leaf]
            if not is_inexact(type.dtype):
                continue
            value = to_value(np.zeros(type.shape, type.dtype) if ct is None else ct, type.dtype)
            if value.type != type:
                raise DifferentiationError(f"the cotangent of argument {place} of a custom_vjp is {value.type}, the argument {type}")
            results.append(wrap(value))
    return results


def _with_operands(region: Region, types: list[Any], shared: list[Value], before: int) -> Graph:
    """The region's graph over (arguments, shared operands, its own further inputs)."""
    graph = region.graph
    explicit = len(graph.inputs) - len(region.operands)
    inner = dict(zip(region.operands, graph.inputs[explicit:], strict=True))
    extra = [inner.get(value) or Value(value.type) for value in shared]
    if before:
        return Graph([*(Value(type) for type in types), *extra, *graph.inputs[:explicit]], graph.outputs, graph.name)
    return Graph([*graph.inputs[:explicit], *extra], graph.outputs, graph.name)


def stop_gradient(x: Any) -> Any:
    """`x` itself (a tree of arrays), with a gradient of zero."""

    def stop(leaf: Any) -> Any:
        return wrap(apply(STOP_GRADIENT, [to_value(leaf)]), leaf.kind) if is_box(leaf) else leaf

    return tree.map_leaves(stop, x)
