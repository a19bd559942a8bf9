"""`jacrev`, `jacfwd`, `hessian` and `custom_jvp`: made of `vjp`, `jvp`, `vmap` and `custom_vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from irdl.errors import DifferentiationError
from irdl.ir.dtypes import is_float
from irdl.ops.shape import IOTA, IotaAttributes
from irdl.tracing import tree
from irdl.tracing.box import is_box, to_value, wrap
from irdl.tracing.operations import apply
from irdl.tracing.recorder import current_trace
from irdl.transforms.api import ArgNums, chosen_places, jvp, vjp, vmap
from irdl.transforms.custom import checked_rule, custom_vjp


def jacrev(f: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function returning the Jacobian of `f`, a row of it from each element of the result: for few results of many arguments.

    Args:
        f: from arrays to a tree of float arrays.
        argnums: the positional arguments to differentiate, by place or by name; for several, each leaf is a tuple.

    Returns:
        A tree like the result of `f`, of trees like the argument; a leaf has the result's shape, then the argument's.
    """

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        chosen, one, function = _chosen(f, argnums, arguments, options)
        value, pull = vjp(function, *chosen)
        leaves, structure = tree.flatten(value)
        _check_floats(leaves, "result", f)
        rows = []
        for place, leaf in enumerate(leaves):

            def row(element: Any, place: int = place, leaf: Any = leaf) -> Any:
                cts = [_zeros(other) for other in leaves]
                cts[place] = np.reshape(element, np.shape(leaf))
                return pull(tree.unflatten(structure, cts))

            found = vmap(row)(_identity(int(np.size(leaf)), _dtype(leaf)))
            shaped = tree.map_leaves(functools.partial(_first, shape=np.shape(leaf)), found)
            rows.append(shaped[0] if one else shaped)
        return tree.unflatten(structure, rows)

    return wrapped


def jacfwd(f: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function returning the Jacobian of `f`, a column of it from each element of the arguments: for many results of few arguments.

    Arguments and result are those of `jacrev`.
    """

    @functools.wraps(f)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        chosen, one, function = _chosen(f, argnums, arguments, options)
        leaves, structure = tree.flatten(tuple(chosen))
        columns: list[list[Any]] = []
        result: Any = None
        for place, leaf in enumerate(leaves):

            def column(element: Any, place: int = place, leaf: Any = leaf) -> Any:
                tangents = [_zeros(other) for other in leaves]
                tangents[place] = np.reshape(element, np.shape(leaf))
                return jvp(function, chosen, tree.unflatten(structure, tangents))[1]

            found, result = tree.flatten(vmap(column)(_identity(int(np.size(leaf)), _dtype(leaf))))
            columns.append([_last(item, np.shape(leaf)) for item in found])
        trees = [tree.unflatten(structure, [column[out] for column in columns]) for out in range(len(columns[0]))]
        return tree.unflatten(result, [item[0] if one else item for item in trees])

    return wrapped


def hessian(f: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function returning the second derivatives of `f`: forward mode over reverse mode.

    Arguments are those of `jacrev`; a leaf has the result's shape, then twice the argument's.
    """
    return jacfwd(jacrev(f, argnums), argnums)


def _chosen(f: Callable[..., Any], argnums: ArgNums, arguments: Any, options: Any) -> tuple[list[Any], bool, Callable[..., Any]]:
    """The differentiated arguments, whether that is one, and `f` as a function of them alone."""
    places, one, arguments, options = chosen_places(f, argnums, arguments, options)
    chosen = [arguments[place] for place in places]
    _check_floats(tree.flatten(chosen)[0], "differentiated argument", f)

    def function(*given: Any) -> Any:
        whole = list(arguments)
        for place, item in zip(places, given, strict=True):
            whole[place] = item
        return f(*whole, **options)

    return chosen, one, functools.update_wrapper(function, f)


def _check_floats(leaves: list[Any], what: str, f: Any) -> None:
    for leaf in leaves:
        if not is_float(_dtype(leaf)):
            raise DifferentiationError(
                f"a {what} of {getattr(f, '__name__', 'the function')} is {_dtype(leaf)}: only floats have a derivative of this kind"
            )


def _identity(size: int, dtype: np.dtype) -> Any:
    if current_trace() is None:
        return np.eye(size, dtype=dtype)
    places = wrap(apply(IOTA, [], IotaAttributes(np.dtype(np.int64), (size,), 0)))
    return (places[:, None] == places[None, :]).astype(dtype)


def _zeros(leaf: Any) -> Any:
    zeros = np.zeros(np.shape(leaf), _dtype(leaf))
    return zeros if current_trace() is None else wrap(to_value(zeros))


def _dtype(leaf: Any) -> np.dtype:
    return leaf.dtype if is_box(leaf) else np.asarray(leaf).dtype


def _first(item: Any, shape: tuple[int, ...]) -> Any:
    return np.reshape(item, (*shape, *np.shape(item)[1:]))


def _last(item: Any, shape: tuple[int, ...]) -> Any:
    moved = np.moveaxis(item, 0, -1)
    return np.reshape(moved, (*np.shape(moved)[:-1], *shape))


class custom_jvp:
    """Give `f` a derivative of your own, for forward and reverse mode.

    Define `rule(primals, tangents) -> (result, tangent)`, linear in the tangents (tuples with one entry per argument), then
    `f.defjvp(rule)`. Reverse mode transposes the rule. Called without a derivative, `f` itself runs. For a rule that calls `f` see
    `custom_vjp`.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        functools.update_wrapper(self, f)
        self._function = custom_vjp(f)

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """Set the rule."""
        f = self._function._function

        def forward(*arguments: Any) -> Any:
            return f(*arguments), arguments

        def backward(arguments: Any, cotangent: Any) -> Any:
            zeros = tree.map_leaves(_zeros, arguments)
            return vjp(lambda *tangents: checked_rule(rule, arguments, tangents)[1], *zeros)[1](cotangent)

        self._function.defvjp(forward, backward)
        self._function._pushforward = rule

    def __irdl_replace__(self, replace: Callable[[Any, Callable[[Any], Any] | None], Any]) -> Any:
        return replace(self._function, lambda owner: owner._function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)
