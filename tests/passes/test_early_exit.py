"""Loops that a step may end, compiled, end there: what comes out is what the loop over all steps gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl

STEPS = 40


def found(x: Any, limit: float) -> Any:
    for n in range(STEPS):
        if x[n] > limit:
            return n
    return -1


def converged(x: Any, limit: float) -> Any:
    h, g, n = np.zeros(3), x[:3], 0
    for v in x:
        n += 1
        g = np.tanh(h + v)
        if g.sum() > limit:
            break
        h = 0.9 * h + g
    else:
        n = -n
    return h, g, n


def backwards(x: Any, limit: float) -> Any:
    total, last = 0.0, 0.0
    for v in x[::-1]:
        if v > limit:
            total = -total
            break
        last, total = v, total + v * last
    return total, last


def stored(x: Any, limit: float) -> Any:
    y = np.zeros(STEPS)
    for n in range(STEPS):
        y[n] = x[n] + (y[n - 1] if n else 0 * x[n])
        if y[n] > limit:
            break
    return y


def left_in_two_ways(x: Any, limit: float) -> Any:
    s = 1.0
    for n in range(STEPS):
        s = s * 0.5 + x[n]
        if s < -limit:
            return s, x[n]
        if s > limit:
            s = 0.25
            break
    return s, s + 1


@pytest.mark.parametrize("f", [found, converged, backwards, stored, left_in_two_ways])
@pytest.mark.parametrize("where", [0, 1, 7, STEPS - 2, STEPS - 1, None])
def test_it_ends_where_python_does(f: Callable[..., Any], where: int | None) -> None:
    x = np.linspace(-0.02, 0.02, STEPS)
    if where is not None:
        x[where] = 5.0
    expected = f(x, 2.0)
    for options in ({}, {"disable_passes": ["early-exit"]}, {"disable_passes": ["if-convert"]}):
        got = irdl.jit(f, **options)(x, 2.0)
        for a, b in zip(irdl.tree.leaves(got), irdl.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("f", [found, converged, backwards, stored, left_in_two_ways])
def test_no_step_is_run_behind_it(f: Callable[..., Any]) -> None:
    stages = dict(irdl.compile(f)(np.zeros(STEPS), 2.0).stages)
    ops = [node.op.name for node in stages["early-exit"].all_nodes()]
    assert "while" in ops
    assert "scan" not in ops


@pytest.mark.parametrize("where", [0, 3, STEPS - 2, STEPS - 1, None])
def test_numbers_of_steps_that_are_left(where: int | None) -> None:
    def f(x: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            left, h = carry
            return irdl.cond(left == 0, lambda left, h, v: (np.where(v > 1.0, 3, 0), h + v), lambda left, h, v: (7, h), left, h, v), ()

        return irdl.scan(step, (0, np.float64(0.5)), x)[0]

    x = np.linspace(-0.5, 0.5, STEPS)
    if where is not None:
        x[where] = 2.0
    expected = (0 if where is None else 3 if where == STEPS - 1 else 7, 0.5 + x[: STEPS if where is None else where + 1].sum())
    np.testing.assert_allclose(irdl.jit(f)(x), expected, rtol=1e-12)
    stages = dict(irdl.compile(f)(x).stages)
    assert "while" in [node.op.name for node in stages["early-exit"].all_nodes()]


def test_steps_that_are_left_out_are_no_end() -> None:
    def masked(x: Any, mask: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            v, m = row
            return irdl.cond(m, lambda h, v: 0.5 * h + v, lambda h, v: h, h, v), ()

        return irdl.scan(step, np.zeros(3), (x, mask))[0]

    def known(x: Any, mask: Any) -> Any:
        def step(h: Any, v: Any) -> Any:
            return irdl.cond(mask[0], lambda h, v: 0.5 * h + v, lambda h, v: h, h, v), ()

        return irdl.scan(step, np.zeros(3), x)[0]

    x, mask = np.random.default_rng(0).normal(size=(STEPS, 3)), np.arange(STEPS) % 3 == 1
    for given in (mask, ~mask, mask | True, mask & False):
        for f in (masked, known):
            h = np.zeros(3)
            for v, m in zip(x, given, strict=True):
                h = 0.5 * h + v if (m if f is masked else given[0]) else h
            np.testing.assert_allclose(irdl.jit(f)(x, given), h, rtol=1e-12)


def test_gradients_go_through_all_steps() -> None:
    def loss(x: Any) -> Any:
        h, g, _ = converged(x, 2.0)
        return h.sum() + g[0]

    x, direction = np.random.default_rng(0).normal(size=(2, STEPS))
    slope = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(irdl.jit(irdl.grad(loss))(x) @ direction, slope, rtol=1e-6)
