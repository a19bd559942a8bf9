"""Decisions by counters and rates: one version for each outcome, and not for each number."""

from __future__ import annotations

import colorsys
import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.runtime import compiled as versions


class Counter:
    def __init__(self, decide: Callable[[Any], Any]) -> None:
        self.decide = decide
        self.weight = np.ones(3)
        self.rate = 1.0
        self.t = 0
        self.seen = np.float32(0)

    def step(self, x: np.ndarray) -> Any:
        self.t += 1
        self.seen += np.float32(1)
        if self.decide(self):
            self.rate *= 0.5
        self.weight -= self.rate * x
        return self.weight.sum()


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every compilation."""
    compiled, original = [], versions.compile_call

    def counting(*arguments: Any, **options: Any) -> Any:
        compiled.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(versions, "compile_call", counting)
    return compiled


def compare(decide: Callable[[Any], Any], calls: int = 14) -> None:
    eager, traced = Counter(decide), Counter(decide)
    step = irdl.jit(traced.step)
    x = np.array([0.5, -1.0, 2.0])
    for _ in range(calls):
        assert step(x) == eager.step(x)
        assert (traced.t, traced.rate, traced.seen) == (eager.t, eager.rate, eager.seen)
        assert (type(traced.t), type(traced.rate), type(traced.seen)) == (int, float, np.float32)
        np.testing.assert_array_equal(traced.weight, eager.weight)


@pytest.mark.parametrize(
    "decide",
    [
        lambda m: m.t % 3 == 0,
        lambda m: not m.t % 2,
        lambda m: 3 < m.t <= 7 or m.t // 2 == 5,
        lambda m: m.rate > 0.1 and m.t > 2,
        lambda m: (m.t > 4) & (m.t / 2 != 4.5),
        lambda m: abs(m.t - 6) < 2,
        lambda m: math.sqrt(m.t) > 2.5,
        lambda m: m.seen % 4 == 1,
        lambda m: max(m.t, 5) - m.rate > 6,
    ],
)
def test_as_python(decide: Callable[[Any], Any], count: list[int]) -> None:
    compare(decide)
    assert len(count) <= 7


def test_no_way_through_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a version find it, and run it, within the native entry."""
    counter = Counter(lambda m: m.t % 3 == 0)
    step = irdl.jit(counter.step)
    x = np.ones(3)
    for _ in range(9):
        step(x)

    def dispatch(*_: Any) -> None:
        raise AssertionError("the entries have missed")

    monkeypatch.setattr(type(step), "_dispatch", dispatch)
    for _ in range(9):
        step(x)
    assert counter.t == 18


def test_a_number_of_another_type_is_another_version() -> None:
    counter = Counter(lambda m: m.t % 3 == 0)
    step = irdl.jit(counter.step)
    for _ in range(5):
        step(np.ones(3))
    counter.t = 1.5
    step(np.ones(3))
    assert type(counter.t) is float and counter.t == 2.5
    del counter.t
    with pytest.raises(AttributeError):
        step(np.ones(3))


def test_every_size() -> None:
    """Python's integers have no end; neither has what is decided by them one in another's place."""
    for start in (2**62, -(2**63) + 5, 10**15):
        eager, traced = Counter(lambda m: (m.t % 3) * (m.t % 5) == 2), Counter(lambda m: (m.t % 3) * (m.t % 5) == 2)
        eager.t = traced.t = start
        step = irdl.jit(traced.step)
        for _ in range(8):
            assert step(np.ones(3)) == eager.step(np.ones(3))


def test_many_decisions_are_as_before() -> None:
    """More than are compared: each number has a version."""
    compare(lambda m: sum(bool((m.t + i) % 7 == 0) for i in range(100)) > 14, calls=4)


def test_a_decision_in_a_loop_and_in_a_gradient() -> None:
    class Model:
        def __init__(self) -> None:
            self.w, self.t = np.full(3, 0.5), 0

        def loss(self, w: np.ndarray, xs: np.ndarray) -> Any:
            h = np.zeros(3)
            for x in xs:
                h = np.tanh(w * h + x) if self.t % 2 else w * h + x
            return irdl.scan(lambda c, x: (c * x if self.t > 3 else c + x, None), h, xs)[0].sum()

        def step(self, xs: np.ndarray) -> Any:
            value, gradient = irdl.value_and_grad(self.loss)(self.w, xs)
            self.t += 1
            self.w -= 0.1 * gradient
            return value

    eager, traced = Model(), Model()
    step = irdl.jit(traced.step)
    xs = np.random.default_rng(0).standard_normal((6, 3))
    for _ in range(7):
        np.testing.assert_allclose(step(xs), eager.step(xs), rtol=1e-12)
        np.testing.assert_allclose(traced.w, eager.w, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "arguments", "name", "whole"),
    [
        (lambda x, n: np.zeros((n, 3)) + x, (np.ones(3), 4), "n", "n"),
        (lambda x, n: sum(x[i] for i in range(n + 1)), (np.ones(3), 1), "n", "n"),
        (lambda x, last: [x, -x][last], (np.ones(3), True), "last", "last"),
        (lambda x, p: np.pad(x, ((p["pad"], p["pad"]),)), (np.ones(3), {"pad": 1, "stride": 1}), "p.pad", "p"),
        (lambda x, axis: x.sum(axis=axis), (np.ones(3), 0), "axis", "axis"),
    ],
)
def test_an_argument_that_has_to_be_known(f: Callable[..., Any], arguments: Any, name: str, whole: str) -> None:
    with pytest.raises(TraceError, match=rf"`{name}` is an argument, which irdl.jit\(..., static_argnames='{whole}'\).*test_decisions"):
        irdl.jit(f)(*arguments)
    np.testing.assert_array_equal(irdl.jit(f, static_argnames=whole)(*arguments), f(*arguments))


def test_what_follows_from_arrays_is_no_argument() -> None:
    for f, number in ((lambda x, n: x * len(range(int(x.sum() * n))), 2), (lambda x, rate: x * len(range(int(rate))), 0.7)):
        with pytest.raises(TraceError) as caught:
            irdl.jit(f)(np.ones(3), number)
        assert "is an argument" not in str(caught.value)


def test_what_was_drawn() -> None:
    generator = np.random.default_rng(0)
    for f, name in (
        (lambda x: x * np.random.rand(3), "NumPy's or Python's random generator"),
        (lambda x: x * generator.random(3), "the captured generator `generator`"),
    ):
        with pytest.raises(TraceError, match=rf"{name}.*use irdl.random.*test_decisions"):
            irdl.jit(f)(np.ones(3))


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: heapq.nsmallest(2, x), "heapq.nsmallest"),
        (lambda x: colorsys.rgb_to_hls(*x), "colorsys.rgb_to_hls"),
    ],
)
def test_a_function_of_another_library(f: Callable[..., Any], name: str) -> None:
    with pytest.raises(TraceError, match=rf"`{name}` has no rule.*NumPy's functions.*test_decisions"):
        irdl.jit(f)(np.ones(3))


def test_a_library_that_calls_back() -> None:
    with pytest.raises(TraceError) as caught:
        irdl.jit(lambda x: heapq.nsmallest(2, [1, 2, 3], key=lambda i: len(range(x[i - 1].astype(int)))))(np.ones(3))
    assert "has no rule" not in str(caught.value)


class Weight:
    def __init__(self, data: float) -> None:
        self.data, self.grad = data, 0.0


class Neurons:
    """Weights, each on an object of its own; `sizes` says how far sums go."""

    def __init__(self) -> None:
        self.weights = [[Weight(np.float64(0.1 * i * j + 0.01)) for i in range(3)] for j in range(2)]
        self.sizes = [2, 0]

    def step(self, x: Any) -> Any:
        out = [sum(w.data * x[i] for i, w in enumerate(row[: self.sizes[0]])) for row in self.weights]
        for o, row in zip(out, self.weights, strict=True):
            for i, w in enumerate(row[: self.sizes[0]]):
                w.grad = max(o, 0.0) * x[i]
        for row in self.weights:
            for w in row:
                w.data -= 0.1 * w.grad
        return sum(out)

    def count(self, x: Any) -> Any:
        self.sizes[1] += 1
        return x[: self.sizes[0]] * self.sizes[1]


def test_numbers_in_lists_change_together() -> None:
    """Those that a step leaves as they are, as with an output below zero, may change in the next."""
    eager, compiled = Neurons(), Neurons()
    counted, f = Neurons(), irdl.jit(compiled.step)
    count = irdl.jit(counted.count)
    for x in (np.array([1.0, 0.0, 0.0]), np.array([-1.0, 0.0, 0.0]), np.array([1.0, 2.0, 0.0]), np.array([0.5, 1.0, 0.0])):
        assert f(x) == pytest.approx(eager.step(x))
        np.testing.assert_allclose(*([w.data for row in made.weights for w in row] for made in (compiled, eager)))
        assert type(compiled.weights[1][0].data) is type(eager.weights[1][0].data)
        np.testing.assert_array_equal(count(x), x[:2] * counted.sizes[1])  # the other size is the length of a slice
    assert [len(versions) for versions in f._cache.values()] == [2]
    assert [len(versions) for versions in count._cache.values()] == [2]


def test_numbers_that_become_numpys_change() -> None:
    class Filter:
        def __init__(self) -> None:
            self.level = 0.0

        def run(self, x: Any) -> Any:
            for n in range(len(x)):
                self.level = 0.9 * self.level + x[n]
            return self.level

    eager, compiled = Filter(), Filter()
    f = irdl.jit(compiled.run)
    for _ in range(4):
        assert f(np.ones(5)) == pytest.approx(eager.run(np.ones(5))) and type(compiled.level) is np.float64
    assert [len(versions) for versions in f._cache.values()] == [2]
