"""Trees of arrays: nested dicts, lists, tuples, named tuples, dataclasses, and classes that were registered.

The leaves of a dict come in the order of its sorted keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from irdl.tracing.capture.arguments import let_trace
from irdl.tracing.recorder import trace_stack
from irdl.tracing.tree import NAMESPACE, _meet, flatten, registered_by_hand
from irdl.tracing.tree import unflatten as _unflatten

__all__ = ["flatten", "leaves", "map", "paths", "reduce", "register_class", "structure", "unflatten"]


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """A tree of this structure with these leaves; in traced code, with objects whose methods are traced."""
    made = _unflatten(structure, leaves)
    stack = trace_stack()
    if stack and stack[0].capture is not None:
        let_trace(([made], {}), stack[0].capture.classes)
    return made


def leaves(tree: Any) -> list[Any]:
    """The leaves."""
    return flatten(tree)[0]


def paths(tree: Any) -> list[str]:
    """A name for each leaf, of the keys, places and attributes that lead there: `model.layers.0.weight`."""
    found, _, _ = optree.tree_flatten_with_path(tree, is_leaf=_meet, namespace=NAMESPACE)
    return [".".join(map(str, path)) for path in found]


def structure(tree: Any) -> Any:
    """What a tree is but for its leaves; equal for trees of one form."""
    return flatten(tree)[1]


def map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """A tree like the first, of what `function` makes of its leaves and those of the others.

    Raises:
        ValueError: the trees differ in structure.
    """
    first, form = flatten(tree)
    others = [flatten(other) for other in rest]
    for _, own in others:
        if own != form:
            raise ValueError(f"irdl.tree.map: the trees differ in structure: {form} and {own}")
    return unflatten(form, [function(*parts) for parts in zip(first, *(found for found, _ in others), strict=True)])


def reduce(function: Callable[[Any, Any], Any], tree: Any, *initial: Any) -> Any:
    """`functools.reduce` over the leaves."""
    import functools

    return functools.reduce(function, leaves(tree), *initial)


def register_class(cls: type, flatten: Callable[[Any], tuple[Sequence[Any], Any]], unflatten: Callable[[Any, Any], Any]) -> type:
    """Let objects of a class be trees, as arguments and results of compiled functions.

    Args:
        cls: the class.
        flatten: from an object to its parts, and to what else it is: hashable, and compared at every call.
        unflatten: from what else it is and its parts to an object.

    Returns:
        The class.

    Raises:
        ValueError: it is registered already.
    """
    optree.register_pytree_node(cls, flatten, unflatten, namespace=NAMESPACE)
    registered_by_hand.add(cls)
    return cls
