"""Loops that read what they made many steps before: filters, echoes, rings. Their graphs do not grow with the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl


def comb(lag: int) -> Callable[..., Any]:
    def f(x):
        y = np.zeros(len(x))
        for t in range(len(x)):
            y[t] = x[t] + (0.5 * y[t - lag] if t >= lag else 0)
        return y

    return f


def ring(lag: int) -> Callable[..., Any]:
    def f(x):
        line, y, w = np.zeros(lag + 3), np.zeros(len(x)), 0
        for t in range(len(x)):
            r = (w - lag) % len(line)
            y[t] = 0.3 * line[r] + 0.7 * line[(r + 1) % len(line)]
            line[w] = x[t] + 0.5 * y[t]
            w = (w + 1) % len(line)
        return y, line

    return f


@pytest.mark.parametrize("lag", [1, 7, 8, 9, 10, 33, 100])
@pytest.mark.parametrize("make", [comb, ring])
def test_same_as_numpy(make: Callable[[int], Callable[..., Any]], lag: int) -> None:
    f = make(lag)
    for steps in (lag + 1, 3 * lag + 2, 8 * lag):
        x = np.random.default_rng(0).standard_normal(steps)
        for got, expected in zip(irdl.jit(f)(x), f(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [comb, ring])
@pytest.mark.parametrize("lag", [9, 50, 300])
def test_graphs_do_not_grow_with_the_steps(make: Callable[[int], Callable[..., Any]], lag: int) -> None:
    x = np.zeros(700)
    assert len(list(irdl.trace(make(lag))(x).all_nodes())) < 400


def test_a_buffer_of_many_stores_is_compiled() -> None:
    """Whatever does not roll may take long, but ends."""

    def f(x):
        y = np.zeros(1100)
        for t in range(1100):
            y[t] = x[(t * t) % 7] * (t % 3) + (y[t // 3] if t % 5 else 1)
        return y

    x = np.arange(7.0)
    np.testing.assert_allclose(irdl.jit(f)(x), f(x))
