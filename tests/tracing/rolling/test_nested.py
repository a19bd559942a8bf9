"""Loops in loops, as recurrences over states, taps and channels are written: the outer one is rolled, however many steps the inner has."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ir.builder import make_node
from irdl.ir.graph import Value
from irdl.ir.types import TensorType
from irdl.ops.joining import UPDATE_SLICE, UpdateSliceAttributes
from irdl.tracing.rolling.hidden import _hidden

from .rolled import limits, rolled, runs, scans

_random = np.random.default_rng(0)


def normalised(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """Rows that are divided once all their elements are there: stores hidden by later ones."""
    alpha = np.zeros((len(observed), len(a)))
    alpha[0] = b[:, observed[0]]
    for t in range(1, len(observed)):
        for j in range(len(a)):
            alpha[t, j] = np.sum(alpha[t - 1] * a[:, j]) * b[j, observed[t]]
        alpha[t] /= alpha[t].sum()
    return alpha


def summed(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """The same, its sums element by element: three levels, and many stores into one place."""
    alpha = np.zeros((len(observed), len(a)))
    alpha[0] = b[:, observed[0]]
    for t in range(1, len(observed)):
        for j in range(len(a)):
            for i in range(len(a)):
                alpha[t, j] += alpha[t - 1, i] * a[i, j]
            alpha[t, j] *= b[j, observed[t]]
        alpha[t] /= alpha[t].sum()
    return alpha


def logarithmic(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """Inner steps that share what the first of them makes."""
    a, b = np.log(a), np.log(b)
    alpha = np.zeros((len(observed), len(a)))
    alpha[0] = b[:, observed[0]]
    for t in range(1, len(observed)):
        for j in range(len(a)):
            z = alpha[t - 1] + a[:, j]
            m = np.max(z)
            alpha[t, j] = m + np.log(np.sum(np.exp(z - m))) + b[j, observed[t]]
    return alpha


def aligned(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """Inner steps that read what the one before, and the row before, have made, behind a column that nothing stores."""
    x, y = b[0, observed], a[0]
    d = np.full((len(x) + 1, len(y) + 1), np.inf)
    d[0, 0] = 0
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            d[i, j] = np.abs(x[i - 1] - y[j - 1]) + min(d[i - 1, j], d[i, j - 1], d[i - 1, j - 1])
    return d


def filtered(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """Inner loops that are shorter at the start, and add to one place."""
    x, h = b[0, observed], a[0]
    y = np.zeros(len(x))
    for n in range(len(x)):
        for k in range(len(h)):
            if n - k >= 0:
                y[n] += h[k] * x[n - k]
    return y


def labelled(a: np.ndarray, b: np.ndarray, observed: np.ndarray) -> Any:
    """Inner steps of two kinds."""
    p, states = b.T[observed], len(a)
    alpha = np.zeros((len(p), states))
    alpha[0, 0] = p[0, 0]
    for t in range(1, len(p)):
        for s in range(states):
            total = alpha[t - 1, s]
            if s > 0:
                total = total + alpha[t - 1, s - 1]
            if s > 1 and s % 2 == 1:
                total = total + alpha[t - 1, s - 2]
            alpha[t, s] = total * p[t, s % len(b)]
        alpha[t] /= alpha[t].sum()
    return alpha


def arguments(steps: int, size: int) -> tuple[np.ndarray, ...]:
    return _random.random((size, size)), _random.random((size, 5)), _random.integers(0, 5, steps)


def nodes(f: Callable[..., Any], steps: int, size: int) -> int:
    return sum(1 for _ in irdl.trace(f)(*arguments(steps, size)).all_nodes())


@pytest.mark.parametrize(
    ("f", "size"),
    [
        *itertools.product([normalised, summed, logarithmic, aligned, filtered, labelled], [2, 3, 4]),
        (normalised, 9),
        (filtered, 7),
        (aligned, 6),
    ],
)
def test_more_steps_are_no_more_nodes(f: Callable[..., Any], size: int) -> None:
    assert nodes(f, size + 11, size) == nodes(f, size + 9, size)


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("f", [normalised, summed, logarithmic, aligned, filtered, labelled])
def test_nested_loops_are_what_was_traced(f: Callable[..., Any], size: int) -> None:
    rolled(f, *arguments(9, size))
    runs(f, *arguments(9, size))


def test_a_first_step_that_makes_what_the_others_share() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        h = np.zeros((3, 2))
        for _ in range(4):
            h = np.tanh(h @ w + x.reshape(3, 2))
        return h

    with limits():
        assert scans(rolled(f, _random.random(6), _random.random((2, 2)))) == 1


def stores(shape: tuple[int, ...], *pieces: tuple[tuple[int, ...], tuple[int, ...], int]) -> list[Any]:
    """A chain of stores: of each piece its start, its shape and the stride."""
    value = Value(TensorType(np.dtype(float), shape))
    made = []
    for start, extents, step in pieces:
        piece = Value(TensorType(np.dtype(float), extents))
        made.append(make_node(UPDATE_SLICE, [value, piece], UpdateSliceAttributes(start, (step,) * len(start))))
        value = made[-1].output
    return made


@pytest.mark.parametrize("seed", range(60))
def test_hidden_stores_leave_no_trace(seed: int) -> None:
    """Whatever is left out, the buffer ends as it was, and what no element shows of is mostly found."""
    random = np.random.default_rng(seed)
    shape = (6, 8)
    pieces = []
    for _ in range(random.integers(2, 14)):
        extents = tuple(int(random.choice([1, 1, 2, 3, n])) for n in shape)
        step = int(random.choice([1, 1, 1, 2]))
        if any((e - 1) * step >= n for e, n in zip(extents, shape, strict=True)):
            continue
        start = tuple(int(random.integers(0, n - (e - 1) * step)) for e, n in zip(extents, shape, strict=True))
        pieces.append((start, extents, step))
    chain = stores(shape, *pieces)
    hidden = _hidden(chain)

    def last(nodes: list[Any]) -> np.ndarray:
        buffer = np.full(shape, -1)
        for number, node in enumerate(chain):
            if node in nodes:
                a, extents = node.attributes, node.operands[1].shape
                buffer[tuple(slice(s, s + e * d, d) for s, e, d in zip(a.start, extents, a.stride, strict=True))] = number
        return buffer

    np.testing.assert_array_equal(last([node for node in chain if node not in hidden]), last(chain))


def test_what_hides_a_store() -> None:
    row, left, right, gaps = ((2, 0), (1, 8), 1), ((2, 0), (1, 4), 1), ((2, 4), (1, 4), 1), ((2, 0), (1, 4), 2)

    def seen(*pieces: Any) -> list[int]:
        chain = stores((6, 8), *pieces)
        hidden = _hidden(chain)
        return [place for place, node in enumerate(chain) if node not in hidden]

    assert seen(left, right, row) == [2]
    assert seen(row, left, right) == [1, 2]  # both together
    assert seen(row, left) == [0, 1]
    assert seen(row, gaps) == [0, 1]
    assert seen(left, left, right) == [1, 2]
    assert seen(gaps, row) == [0, 1]  # right all the same
