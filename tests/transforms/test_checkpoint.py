"""`checkpoint` and the byte budget of `grad`: the same gradients from less memory."""

from __future__ import annotations

import numpy as np
import optree
import pytest

import irdl
from irdl.errors import DifferentiationError
from irdl.testing import check_gradient
from tests.models import lstm, lstm_cell, lstm_data, lstm_loss

RNG = np.random.default_rng(0)


def assert_same(result, expected, tolerance=1e-9):
    for a, b in zip(optree.tree_leaves(result), optree.tree_leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("length", [2, 7, 24, 50])
@pytest.mark.parametrize("reverse", [False, True])
def test_segments(length, reverse):
    """All lengths of segments the budgets ask for, steps left over included."""
    arguments = (RNG.standard_normal((4, 4)), RNG.standard_normal((length, 3, 4)), np.arange(length))

    def loss(w, x, n):
        def step(carry, item):
            h, count = carry
            row, number = item
            h = np.tanh(h @ w + row) * (1 + 0.01 * number)
            return (h, count + 1), (h * 2, count)

        (h, count), (ys, counts) = irdl.scan(step, (np.zeros((3, 4)), 0), (x, n), reverse=reverse)
        return (ys * np.cos(ys)).sum() + (h * h).sum() + (counts * ys.sum((1, 2))).sum() + count

    expected = irdl.value_and_grad(loss, (0, 1))(*arguments)
    programs = set()
    for budget in np.geomspace(1_000, 100_000, 12):
        try:
            step = irdl.value_and_grad(loss, (0, 1), max_bytes=int(budget))
            program = str(irdl.trace(step)(*arguments))
        except DifferentiationError as error:
            assert "max_bytes" in str(error)
            continue
        if program not in programs:
            assert_same(irdl.compile(step)(*arguments)(*arguments), expected)
        programs.add(program)
    assert len(programs) > (1 if length > 2 else 0)
    assert_same(irdl.value_and_grad(loss, (0, 1), max_bytes=10**9)(*arguments), expected)


def test_a_long_lstm_trains_within_its_budget():
    arguments = lstm_data(1000, 4, 16, 32)
    plain = irdl.compile(irdl.value_and_grad(lstm_loss))(*arguments)
    value, gradients = plain(*arguments)
    arenas = [plain.memory.arena]
    for budget in (4_000_000, 2_000_000, 1_200_000):
        compiled = irdl.compile(irdl.value_and_grad(lstm_loss, max_bytes=budget))(*arguments)
        assert compiled.memory.arena <= budget < plain.memory.arena
        arenas.append(compiled.memory.arena)
        again, found = compiled(*arguments)
        np.testing.assert_allclose(again, value, rtol=1e-5)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())
    assert sorted(arenas, reverse=True) == arenas
    with pytest.raises(DifferentiationError, match="max_bytes=10,000"):
        irdl.jit(irdl.grad(lstm_loss, max_bytes=10_000))(*arguments)


def test_two_layers_share_the_budget():
    first, x, _ = lstm_data(60, 2, 5, 8, np.float64)
    second = lstm_data(60, 2, 8, 8, np.float64, seed=1)[0]

    def loss(params, x):
        return (lstm(params[1], lstm(params[0], x)) ** 2).sum()

    expected = irdl.value_and_grad(loss)((first, second), x)
    compiled = irdl.compile(irdl.value_and_grad(loss, max_bytes=60_000))((first, second), x)
    assert "segments=True" in str(compiled.graph)
    assert_same(compiled((first, second), x), expected)


def test_checkpoint_as_the_body_of_a_scan():
    params, x, _ = lstm_data(12, 3, 4, 6, np.float64)

    def loss(params, x, wrap):
        zero = np.zeros((3, 6))
        cell = wrap(lambda carry, row: lstm_cell(params, carry, row))
        return (irdl.scan(cell, (zero, zero), x)[1] ** 2).sum()

    expected = irdl.value_and_grad(loss)(params, x, lambda f: f)
    assert_same(irdl.value_and_grad(loss)(params, x, irdl.checkpoint), expected)
    compiled = irdl.compile(irdl.value_and_grad(lambda p, x: loss(p, x, irdl.checkpoint)))(params, x)
    plain = irdl.compile(irdl.value_and_grad(lambda p, x: loss(p, x, lambda f: f)))(params, x)
    assert_same(compiled(params, x), expected)
    assert compiled.memory.arena < plain.memory.arena


def test_checkpoint_goes_through_every_transformation():
    w = RNG.standard_normal((3, 3))

    @irdl.checkpoint
    def f(x, *, scale):
        return {"y": np.tanh(x @ w) * scale, "n": x.shape[0]}

    def loss(x):
        return (f(x, scale=2.0)["y"] ** 2).sum()

    def plain(x):
        return ((np.tanh(x @ w) * 2.0) ** 2).sum()

    x = RNG.standard_normal((4, 3))
    assert f(x, scale=2.0)["n"] == 4
    check_gradient(loss, x)
    assert_same(irdl.grad(loss)(x), irdl.grad(plain)(x))
    assert_same(irdl.jit(irdl.grad(loss))(x), irdl.grad(plain)(x))
    assert_same(irdl.jvp(loss, (x,), (x + 1,)), irdl.jvp(plain, (x,), (x + 1,)))

    def second(g):
        return irdl.grad(lambda x: (irdl.grad(g)(x) ** 2).sum())

    assert_same(irdl.jit(second(loss))(x), second(plain)(x))
    xs = RNG.standard_normal((5, 4, 3))
    assert_same(irdl.jit(irdl.vmap(irdl.grad(loss)))(xs), irdl.vmap(irdl.grad(plain))(xs))
    assert_same(irdl.grad(lambda w: (irdl.checkpoint(lambda x: np.tanh(x @ w))(x)).sum())(w), irdl.grad(lambda w: np.tanh(x @ w).sum())(w))
