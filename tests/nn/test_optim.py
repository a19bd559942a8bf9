"""Optimisers: their formulas, step by step; trees of parameters and modules; clipping and schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn, optim

RNG = np.random.default_rng(0)


def run(optimizer: optim.Optimizer, p: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """Compiled; eager gives the same."""
    results = []
    for update in (optimizer.update, irdl.jit(optimizer.update)):
        params: Any = {"p": p}
        state = optimizer.init(params)
        for g in gradients:
            updates, state = update({"p": g}, state, params)
            params = optim.apply_updates(params, updates)
        results.append(params["p"])
    np.testing.assert_allclose(*results, rtol=1e-12)
    return results[0]


P, GRADIENTS = RNG.standard_normal(4), [RNG.standard_normal(4) for _ in range(6)]


def test_sgd() -> None:
    p = P.copy()
    for g in GRADIENTS:
        p = p - 0.1 * (g + 0.01 * p)
    np.testing.assert_allclose(run(optim.SGD(0.1, weight_decay=0.01), P, GRADIENTS), p, rtol=1e-12)
    p, b = P.copy(), None
    for g in GRADIENTS:
        b = g if b is None else 0.9 * b + 0.8 * g
        p = p - 0.1 * b
    np.testing.assert_allclose(run(optim.SGD(0.1, momentum=0.9, dampening=0.2), P, GRADIENTS), p, rtol=1e-12)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        optim.SGD(0.1, nesterov=True)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled: bool) -> None:
    p, m, v = P.copy(), 0.0, 0.0
    for t, g in enumerate(GRADIENTS, 1):
        if decoupled:
            p = p - 0.01 * 0.1 * p
        else:
            g = g + 0.1 * p
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    optimizer = (optim.AdamW if decoupled else optim.Adam)(0.01, weight_decay=0.1)
    np.testing.assert_allclose(run(optimizer, P, GRADIENTS), p, rtol=1e-10)


def test_rmsprop_and_adagrad() -> None:
    p, s, a, b = P.copy(), 0.0, 0.0, 0.0
    for g in GRADIENTS:
        s, a = 0.9 * s + 0.1 * g**2, 0.9 * a + 0.1 * g
        b = 0.5 * b + g / (np.sqrt(s - a**2) + 1e-8)
        p = p - 0.01 * b
    np.testing.assert_allclose(run(optim.RMSprop(0.01, 0.9, momentum=0.5, centered=True), P, GRADIENTS), p, rtol=1e-8)
    p, s = P.copy(), 0.5
    for t, g in enumerate(GRADIENTS):
        s = s + g**2
        p = p - 0.1 / (1 + 0.01 * t) * g / (np.sqrt(s) + 1e-10)
    np.testing.assert_allclose(run(optim.Adagrad(0.1, 0.01, initial_accumulator_value=0.5), P, GRADIENTS), p, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1, momentum=0.9), optim.Adam(), optim.AdamW(), optim.RMSprop(), optim.Adagrad()])
def test_dtypes_stay(optimizer: optim.Optimizer) -> None:
    params = [np.ones(3, np.float32), (np.ones((2, 2), np.float64),)]
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = irdl.jit(optimizer.update)(params, state, params)
        params = optim.apply_updates(params, updates)
    assert (params[0].dtype, params[1][0].dtype) == (np.float32, np.float64)


def test_clipping_and_chains() -> None:
    gradients = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert optim.global_norm(gradients) == 5
    clipped, _ = optim.clip_by_global_norm(1.0).update(gradients, ())
    np.testing.assert_allclose(clipped["a"], [3 / (5 + 1e-6), 0], rtol=1e-12)
    same, _ = optim.clip_by_global_norm(10.0).update(gradients, ())
    np.testing.assert_array_equal(same["b"], gradients["b"])
    bounded, _ = optim.clip_by_value(2.0).update(gradients, ())
    np.testing.assert_array_equal(bounded["b"], [[2.0]])
    both = optim.chain(optim.clip_by_value(1.0), optim.SGD(0.5))
    state = both.init(gradients)
    updates, state = irdl.jit(both.update)(gradients, state, gradients)
    np.testing.assert_array_equal(updates["a"], [-0.5, 0])
    assert state[1]["step"] == 1


def test_schedules() -> None:
    steps = np.arange(10)
    np.testing.assert_allclose(optim.exponential_decay(0.1, 0.5, 2)(steps), 0.1 * 0.5 ** (steps / 2))
    np.testing.assert_allclose(optim.step_decay(0.1, [3, 6])(steps), [0.1] * 3 + [0.01] * 3 + [0.001] * 4)
    cosine = optim.cosine_decay(1.0, 8, 0.2)(steps)
    assert (cosine[0], cosine[4], cosine[8], cosine[9]) == pytest.approx((1.0, 0.6, 0.2, 0.2))
    np.testing.assert_allclose(optim.warmup(4, 2.0)(steps), [0.5, 1, 1.5, 2, 2, 2, 2, 2, 2, 2])
    p = run(optim.SGD(optim.step_decay(0.1, [3])), P, GRADIENTS)
    np.testing.assert_allclose(p, P - 0.1 * sum(GRADIENTS[:3]) - 0.01 * sum(GRADIENTS[3:]), rtol=1e-12)


def test_modules_keep_their_buffers() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.1))
    x = RNG.standard_normal((8, 3)).astype(np.float32)
    optimizer = optim.Adam(0.01)
    state = optimizer.init(model)
    gradient = irdl.grad(lambda m: (m(x) ** 2).sum() + (m[0].weight ** 2).sum())(model)
    updates, state = optimizer.update(gradient, state, model)
    assert updates[1].running_mean is None
    after = optim.apply_updates(model, updates)
    np.testing.assert_array_equal(after[1].running_mean, model[1].running_mean)
    assert (after[0].weight != model[0].weight).all()
    with pytest.raises(ValueError, match="there are 1 gradients for 4 parameters"):
        optimizer.update([x], state, model)
