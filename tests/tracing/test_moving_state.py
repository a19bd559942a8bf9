"""What moves on or is kept where irdl does not look: iterators from outside, and attributes of functions."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError

X = np.arange(3.0)


def numbers() -> Iterator[int]:
    yield from range(5)


ITERATORS: dict[str, Callable[[], Iterator[Any]]] = {
    "count": itertools.count,
    "list_iterator": lambda: iter([1, 2, 3]),
    "generator": numbers,
    "zip": lambda: zip([1, 2], [3, 4], strict=True),
    "enumerate": lambda: enumerate("ab"),
    "map": lambda: map(abs, [1, 2]),
    "cycle": lambda: itertools.cycle([1, 2]),
    "flatiter": lambda: X.flat,
}


@pytest.mark.parametrize("kind", ITERATORS)
def test_iterators_from_outside_are_not_moved_on(kind: str) -> None:
    items = ITERATORS[kind]()
    kept = {"items": items}

    def first(x: Any) -> Any:
        return x, next(items)

    def all_of_it(x: Any) -> Any:
        for _ in kept["items"]:
            x = x + 1
        return x

    def within_a_call(x: Any) -> Any:
        return x, list(zip(x, items, strict=False))

    def of_each(x: Any) -> Any:
        return irdl.scan(lambda carry, part: (carry, (part, next(items))), 0.0, x)[1]

    for function in (first, all_of_it, within_a_call, of_each):
        with pytest.raises(TraceError, match=rf"a {kind}, is an iterator from outside.*test_moving_state\.py"):
            irdl.jit(function)(X)
    np.testing.assert_equal(next(items), next(ITERATORS[kind]()))


def test_iterators_that_are_handed_around_stay_themselves() -> None:
    class Source:
        def __init__(self) -> None:
            self.items, self.calls = iter([5, 6]), 0

        def step(self, x: Any) -> Any:
            self.calls += 1
            self.other = self.items
            return x * self.calls

    source = Source()
    step = irdl.jit(source.step)
    for call in (1, 2, 3):
        np.testing.assert_array_equal(step(X), X * call)
    assert source.other is source.items and next(source.items) == 5


def test_iterators_made_in_the_function() -> None:
    def function(x: Any) -> Any:
        counter = itertools.count(2)
        return [x * next(counter), x * next(counter), *(part + n for part, n in zip(x, numbers(), strict=False))]

    np.testing.assert_equal(irdl.jit(function)(X), function(X))


def counted() -> Any:
    def f(x: Any) -> Any:
        f.calls += 1
        return x * f.calls

    f.calls = 0
    return f


def remembering() -> Any:
    def f(x: Any) -> Any:
        f.seen["last"] = 1
        return x

    f.seen = {}
    return f


def naming() -> Any:
    def f(x: Any) -> Any:
        f.new = 3
        return x

    return f


def forgetting() -> Any:
    def f(x: Any) -> Any:
        del f.old
        return x

    f.old = 3
    return f


def decorated() -> Any:
    def inner(x: Any) -> Any:
        return x * 2

    @functools.wraps(inner)
    def f(x: Any) -> Any:
        f.calls += 1
        return inner(x)

    f.calls = 0
    return f


@pytest.mark.parametrize(
    ("made", "name"), [(counted, "calls"), (remembering, "seen"), (naming, "new"), (forgetting, "old"), (decorated, "calls")]
)
def test_attributes_of_functions_are_not_set(made: Any, name: str) -> None:
    function = made()
    before = {key: item.copy() if isinstance(item, dict) else item for key, item in vars(function).items()}
    for called in (function, lambda x: function(x)):
        with pytest.raises(TraceError, match=rf"\.{name}\b.* during the trace: that would happen once, not at each call; .*on an object"):
            irdl.jit(called)(X)
        assert vars(function) == before


def test_attributes_of_functions_are_set_where_they_run_at_each_call() -> None:
    def f(x: Any) -> Any:
        f.calls += 1
        return (x * x * f.calls).sum()

    f.calls = 0
    for call in (1, 2, 3):
        np.testing.assert_array_equal(irdl.grad(f)(X), 2 * X * call)
        assert f.calls == call

    def keeping(x: Any) -> Any:
        keeping.last = x * 2
        return x.sum()

    keeping.last = None
    with pytest.raises(TraceError, match=r"keeps an array in keeping\.last inside vmap"):
        irdl.vmap(keeping)(np.ones((2, 3)))
    assert keeping.last is None
    irdl.grad(keeping)(X)
    np.testing.assert_array_equal(keeping.last, 2 * X)


def test_attributes_of_functions_are_read() -> None:
    def f(x: Any) -> Any:
        return x * f.scale + len(f.names)

    f.scale, f.names = 2.0, ["a"]
    np.testing.assert_array_equal(irdl.jit(f)(X), X * 2 + 1)


def test_a_shape_is_not_set() -> None:
    def f(x: Any) -> Any:
        x.shape = (3, 1)
        return x

    with pytest.raises(TraceError, match=r"x = x\.reshape.*test_moving_state\.py"):
        irdl.jit(f)(X.copy())


def alike(made: Callable[[], tuple[Any, Callable[[], Any]]], calls: int = 4) -> None:
    """What a function gives and keeps, call by call, in NumPy and compiled."""
    (function, kept), (twin, kept_compiled) = made(), made()
    compiled = irdl.jit(twin)
    for _ in range(calls):
        np.testing.assert_equal(compiled(X), function(X))
        np.testing.assert_equal(kept_compiled(), kept())


def with_a_scope() -> tuple[Any, Callable[[], Any]]:
    depth, seen = [1], {"mean": np.zeros(3)}

    @contextlib.contextmanager
    def scope(x: Any) -> Iterator[Any]:
        depth[0] += 1
        seen["mean"] = seen["mean"] + x
        yield 2.0 * depth[0]
        depth[0] += 1

    def f(x: Any) -> Any:
        with scope(x) as factor:
            return x * factor + seen["mean"]

    return f, lambda: (depth, seen)


def with_a_decorator() -> tuple[Any, Callable[[], Any]]:
    calls = {"n": 0}

    @contextlib.contextmanager
    def counting() -> Iterator[None]:
        calls["n"] += 1
        yield

    @counting()
    def f(x: Any) -> Any:
        return x * calls["n"]

    return f, lambda: calls


def with_a_chain() -> tuple[Any, Callable[[], Any]]:
    options: Any = collections.ChainMap({}, {"n": 5, "w": np.ones(3)})

    def f(x: Any) -> Any:
        options["n"] += 1
        options["w"] = options["w"] + x
        return options["w"] * options["n"]

    return f, lambda: options.maps


def with_a_namespace() -> tuple[Any, Callable[[], Any]]:
    state = types.SimpleNamespace(best=np.inf, wait=0, calls=0)

    def f(x: Any) -> Any:
        state.calls += 1
        loss = (x.sum() - state.calls) ** 2
        if loss < state.best:
            state.best, state.wait = loss, 0
        else:
            state.wait += 1
        return state.wait

    return f, lambda: vars(state)


@pytest.mark.parametrize("made", [with_a_scope, with_a_decorator, with_a_chain, with_a_namespace])
def test_state_behind_the_standard_library(made: Any) -> None:
    alike(made)
