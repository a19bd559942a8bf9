"""Loops with effects: stores into arguments and captured arrays, state on objects, no steps, one step, early exits, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import irdl
import irdl.testing

from .rolled import limits, rolled, runs, scans

_random = np.random.default_rng(0)
X, W = _random.standard_normal((9, 2, 3)), _random.standard_normal((3, 3))


@pytest.fixture(autouse=True)
def _everything_rolls() -> Any:
    with limits():
        yield


def store_into_argument(buffer: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    for t in range(len(x)):
        buffer[t] = np.tanh(x[t] @ w + buffer[t - 1])
    return buffer[3]


def test_stores_into_an_argument() -> None:
    runs(store_into_argument, np.zeros((9, 2, 3)), X, W)
    assert scans(rolled(store_into_argument, np.zeros((9, 2, 3)), X, W)) == 1


weights = _random.standard_normal((3, 3))
log = np.zeros((9, 2, 3))


def test_stores_into_captured_arrays() -> None:
    def step(x: np.ndarray) -> np.ndarray:
        h = np.zeros((2, 3))
        for t in range(9):
            h = np.tanh(x[t] @ weights + h)
            log[t] += h
        weights[0] += h.sum(axis=0)
        return h

    start = weights.copy(), log.copy()
    expected = [(step(X), weights.copy(), log.copy()) for _ in range(2)]
    weights[...], log[...] = start
    compiled = irdl.jit(step)
    for result, *state in expected:
        np.testing.assert_allclose(compiled(X), result)
        np.testing.assert_allclose(weights, state[0])
        np.testing.assert_allclose(log, state[1])


class Model:
    def __init__(self) -> None:
        self.W, self.h, self.steps = W.copy(), np.zeros((2, 3)), np.zeros(1)

    def step(self, x: np.ndarray) -> np.ndarray:
        self.h = np.tanh(x @ self.W + self.h)
        self.steps += 1
        return self.h

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.stack([self.step(row) for row in x])


def test_state_on_objects() -> None:
    model, other = Model(), Model()
    compiled = irdl.jit(model.run)
    for _ in range(3):
        np.testing.assert_allclose(compiled(X), other.run(X))
        np.testing.assert_allclose(model.h, other.h)
        np.testing.assert_allclose(model.steps, other.steps)


def any_length(x: np.ndarray, w: np.ndarray) -> Any:
    h, out = np.zeros((2, 3)), [np.zeros((2, 3))]
    for t in range(x.shape[0]):
        h = np.tanh(x[t] @ w + h)
        out.append(h)
    return h, np.stack(out)


@pytest.mark.parametrize("steps", range(7))
def test_few_steps(steps: int) -> None:
    runs(any_length, X[:steps], W)
    assert scans(rolled(any_length, X[:steps], W)) == (steps >= 4)


def test_loops_that_end_early() -> None:
    def leaves(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = np.zeros((2, 3))
        for t in range(100):
            if t == len(x):
                break
            h = np.tanh(x[t] @ w + h)
        for _ in range(3):
            for s in range(9):
                if s > 5:
                    break
                h = h @ w + x[s]
        return h

    runs(leaves, X, W)
    assert scans(rolled(leaves, X, W)) == 4  # the outer loop's three steps are too few


def test_an_exception_ends_a_loop() -> None:
    def leaves(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = np.zeros((2, 3))
        try:
            for t in range(20):
                h = np.tanh(x[t] @ w + h)
        except IndexError:
            h = h + 1
        for row in x:
            h = h @ w + row
        return h

    runs(leaves, X, W)
    assert scans(rolled(leaves, X, W)) == 2


def test_range_is_range() -> None:
    def uses(x: np.ndarray, w: np.ndarray) -> Any:
        def rows() -> Any:
            for t in range(len(x)):
                yield x[t]

        h = np.zeros((2, 3))
        for row in rows():
            h = np.tanh(row @ w + h)
        steps = range(1, 9, 2)
        checks = [
            isinstance(steps, range),
            type(steps) is range,
            [*steps] == [1, 3, 5, 7],
            steps[1:3] == range(3, 7, 2),
            hash(range(3)) == hash(range(0, 3)),
            range(3) == range(0, 3, 1),
            {range(2): 1}[range(2)] == 1,
            5 in steps,
            len(steps) == 4,
            (steps.start, steps.stop, steps.step) == (1, 9, 2),
            steps.index(5) == 2,
            repr(steps) == "range(1, 9, 2)",
            list(reversed(steps)) == [7, 5, 3, 1],
            sum(range(4)) == 6,
            np.array(range(3)).tolist() == [0, 1, 2],
            np.arange(4)[range(2)].tolist() == [0, 1],
            sorted(range(3), reverse=True) == [2, 1, 0],
            copy.copy(steps) == steps,
        ]
        return h, checks

    runs(uses, X, W)


def test_index_errors_name_the_line() -> None:
    def reads(x: np.ndarray, i: np.ndarray) -> np.ndarray:
        h = np.zeros((2, 3))
        for t in range(9):
            h = np.tanh(x[i[t]] + h)
        return h

    i = np.arange(9)
    assert scans(rolled(reads, X, i)) == 1
    compiled = irdl.jit(reads)
    np.testing.assert_allclose(compiled(X, i), reads(X, i))
    i[4] = 77
    with pytest.raises(IndexError, match=r"index 77 is out of bounds for axis 0 with size 9.*test_effects.py"):
        compiled(X, i)


def test_gradients_of_loops() -> None:
    def loss(w: np.ndarray) -> Any:
        return (any_length(X, w)[1] ** 2).sum()

    eager, compiled = irdl.grad(loss)(W), irdl.jit(irdl.grad(loss))(W)
    np.testing.assert_allclose(compiled, eager, rtol=1e-9)
    irdl.testing.check(lambda x, w: (any_length(x, w)[1] ** 2).sum(), X, W)


def test_vmap_of_a_loop() -> None:
    x = _random.standard_normal((9, 5, 2, 3))
    f = irdl.vmap(lambda x: any_length(x, W)[0], in_axes=1)
    assert scans(irdl.trace(f)(x)) == 1 and len(irdl.trace(f)(x).nodes) < 10  # rolled, then batched
    found = irdl.jit(f)(x)
    np.testing.assert_allclose(found, np.stack([any_length(x[:, k], W)[0] for k in range(5)]))


def test_outer_arrays_are_read_whole() -> None:
    """Each `x[t]` of an array from outside the gradient was an input of its own: nothing rolled."""

    def loss(w: np.ndarray, x: np.ndarray) -> Any:
        h = np.zeros((2, 3))
        for t in range(9):
            h = np.tanh(x[t] @ w + h)
        return h.sum()

    graph = irdl.trace(lambda w, x: irdl.grad(lambda w: loss(w, x))(w))(W, X)
    assert len(list(graph.all_nodes())) < 40


def test_a_failure_leaves_the_loop_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: Any) -> Any:
        raise AssertionError("on purpose")

    monkeypatch.setattr("irdl.tracing.recorder.roll", fails)
    monkeypatch.setenv("IRDL_LOG", "roll")
    runs(any_length, X, W)
    assert "rolling failed: AssertionError: on purpose" in capsys.readouterr().err


def test_the_log_tells_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IRDL_LOG", "roll")

    def mixed(x: np.ndarray, w: np.ndarray) -> Any:
        h, total = np.zeros((2, 3)), 0.0
        for t in range(9):
            h = np.tanh(x[t] @ w + h)
        for t in range(1, 9):
            total = total + x[:t].sum()
        return h, total

    irdl.trace(mixed)(X, W)
    text = capsys.readouterr().err
    assert "irdl: mixed: rolled 9 steps of 3 nodes: 1 consts, 1 carries, 1 xs" in text


def test_unrolled_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scans(irdl.trace(any_length)(X, W)) == 1
    assert scans(irdl.trace(any_length, roll=False)(X, W)) == 0
    assert scans(irdl.trace(irdl.grad(lambda w: any_length(X, w)[0].sum()), roll=False)(W)) == 0
    monkeypatch.setenv("IRDL_ROLL", "0")
    assert scans(irdl.trace(any_length)(X, W)) == 0
