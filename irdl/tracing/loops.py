"""`fori_loop` and `associative_scan`, made of `scan` and `while_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.tracing import tree
from irdl.tracing.box import is_box
from irdl.tracing.control import scan, while_loop


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`for i in range(lower, upper): val = body_fun(i, val)`; the last value.

    Args:
        lower, upper: integers. Where both are Python's, the loop is a `scan`, which has a gradient; else a `while_loop`.
        body_fun: from the step's number (int64) and a tree of arrays to a tree of the same structure and shapes.
        init_val: the first value.
    """
    if not (is_box(lower) or is_box(upper)):
        start, count = int(lower), max(0, int(upper) - int(lower))

        def step(carry: Any, _: Any) -> Any:
            number, value = carry
            return (number + 1, body_fun(number, value)), None

        return scan(step, (np.int64(start), init_val), None, length=count)[0][1]
    return while_loop(lambda c: c[0] < upper, lambda c: (c[0] + 1, body_fun(c[0], c[1])), (lower, init_val))[1]


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """What `fn` makes of the first elements, the first two, the first three and so on, along an axis.

    Args:
        fn: associative, from two trees of elements to one. It is called on slices without the axis, one after the other: a loop
            that keeps its carry near is what a processor with a few cores is quick at.
        elems: a tree of arrays with the same extent along `axis`.
        reverse: from the last element to the first.
        axis: the axis to scan.

    Returns:
        A tree of arrays like `elems`.

    Raises:
        ValueError: the extents differ, or an array has no such axis.
    """
    leaves, structure = tree.flatten(elems)
    for leaf in leaves:
        if not -np.ndim(leaf) <= axis < np.ndim(leaf):
            raise ValueError(f"associative_scan: an array of shape {np.shape(leaf)} has no axis {axis}")
    extents = {np.shape(leaf)[axis] for leaf in leaves}
    if len(extents) > 1:
        raise ValueError(f"associative_scan: the extents along axis {axis} differ: {sorted(extents)}")
    if extents <= {0, 1}:
        return elems
    moved = [np.moveaxis(leaf, axis, 0) for leaf in leaves]
    first = [leaf[-1] if reverse else leaf[0] for leaf in moved]
    rest = [leaf[:-1] if reverse else leaf[1:] for leaf in moved]

    def step(carry: Any, item: Any) -> Any:
        made = fn(carry, item)
        return made, made

    _, found = scan(step, tree.unflatten(structure, first), tree.unflatten(structure, rest), reverse=reverse)
    results = []
    for start, following in zip(first, tree.flatten(found)[0], strict=True):
        parts = [following, start[None]] if reverse else [start[None], following]
        results.append(np.moveaxis(np.concatenate(parts, axis=0), 0, axis))
    return tree.unflatten(structure, results)
