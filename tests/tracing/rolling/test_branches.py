"""Loops whose steps branch: conds that hold `x[t]`, numbers and stores of their step become one scan all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl

from .rolled import limits, rolled, runs, scans

_random = np.random.default_rng(0)
T = 9
X, H, W = _random.standard_normal(T), _random.standard_normal((T, 3)), _random.standard_normal((3, 3)) / 2

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {}


def program(scans: int, *arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS[function.__name__] = (function, arguments, scans)
        return function

    return record


def stored(x, place, value):
    x = x.copy()
    x[place] = value
    return x


@program(1, X, 0.9, 0.99)
def follower(x, attack, release):
    out, env = np.zeros(len(x)), 0.0
    for t in range(len(x)):
        v = np.abs(x[t])
        env = irdl.cond(v > env, lambda e, v: attack * e + (1 - attack) * v, lambda e, v: release * e + (1 - release) * v, env, v)
        out[t] = env
    return out


@program(1, X, 0.9, 0.99)
def follower_of_closures(x, attack, release):
    """Both sides read the array at their step themselves."""
    out, env = np.zeros(len(x)), 0.0
    for t in range(len(x)):
        env = irdl.cond(
            np.abs(x[t]) > env,
            lambda env=env, t=t: attack * env + (1 - attack) * np.abs(x[t]),
            lambda env=env, t=t: release * env + (1 - release) * np.abs(x[t]),
        )
        out[t] = env
    return out


@program(1, X, 0.5)
def gate(x, threshold):
    """A counter that one side sets to a number."""
    out, hold = [], 0
    for t in range(len(x)):
        hold = irdl.cond(np.abs(x[t]) > threshold, lambda: 3, lambda hold=hold: hold - 1)
        out.append(irdl.cond(hold > 0, lambda t=t: x[t], lambda: 0.0))
    return np.stack(out), hold


@program(1, X)
def step_as_number(x):
    """The step's number is an operand of one side."""
    best, where = -np.inf, 0
    for t in range(len(x)):
        best, where = irdl.cond(x[t] > best, lambda t=t: (x[t], t), lambda best=best, where=where: (best, where))
    return best, where


@program(1, H, W)
def done_flag(h, w):
    """`for .. if .. break`"""
    going, state, count = np.array(True), h[0], 0
    for t in range(T):
        going, state, count = irdl.cond(
            going,
            lambda s, c, t=t: (np.abs(s).max() > 0.2, np.tanh(s @ w) * 0.5 + 0.01 * h[t], c + 1),
            lambda s, c: (np.array(False), s, c),
            state,
            count,
        )
    return state, count


@program(1, X, np.zeros(T))
def one_side_stores(x, out):
    for t in range(T):
        out = irdl.cond(x[t] > 0, lambda out, t=t: stored(out, t, 2 * x[t]), lambda out: out, out)
    return out


@program(2, X, np.zeros(T))
def both_sides_store(x, out):
    """In the middle both are one place."""
    for t in range(T):
        out = irdl.cond(x[t] > 0, lambda out, t=t: stored(out, t, 2 * x[t]), lambda out, t=t: stored(out, T - 1 - t, x[t]), out)
    return out


@program(1, X, np.zeros((T, 2)))
def stores_of_two_places(x, out):
    for t in range(T):

        def side(out, t=t):
            return stored(stored(stored(out, (t, 0), x[t]), (t, 1), -x[t]), (t, 0), 2 * x[t])

        out = irdl.cond(x[t] > 0, side, lambda out, t=t: stored(out, (t, 1), 1.0), out)
    return out


@program(1, X, np.zeros((4, 2)), _random.integers(0, 4, T))
def stores_at_indices(x, ring, places):
    """A ring that one side stores into at a place known when it runs, and the other at another, or at none."""
    out = []
    for t in range(T):
        i = places[t]
        ring = irdl.cond(x[t] > 0, lambda r, t=t, i=i: stored(r, i, x[t]), lambda r: r, ring)
        ring = irdl.cond(x[t] < 1, lambda r, i=i: stored(r, (i, 0), 0.5), lambda r, t=t: stored(r, (3 - places[t], 0), x[t]), ring)
        out.append(ring[i].sum())
    return np.stack(out), ring


@program(0, X, np.zeros(T + 1))
def stores_that_overlap(x, out):
    """Of two places that share an element neither is read where the other is stored."""
    for t in range(T):
        out = irdl.cond(
            x[t] > 0, lambda out, t=t: stored(out, slice(t, t + 2), x[t]), lambda out, t=t: stored(out, slice(t + 1, t + 2), -1.0), out
        )
    return out


@program(0, X, np.zeros(T), np.ones(T))
def another_buffer(x, a, b):
    """Each side stores into a buffer of its own."""
    for t in range(T):
        a, b = irdl.cond(x[t] > 0, lambda a, b, t=t: (stored(a, t, x[t]), b), lambda a, b, t=t: (stored(b, t, 2 * x[t]), a), a, b)
    return a, b


@program(1, X, np.zeros(T))
def unread_stores(x, out):
    """The last step's stores are read by nothing."""
    found, y = [], 0.5
    for t in range(T):
        found.append(out[t - 1] + x[t])
        out, y = irdl.cond(x[t] > 0, lambda out, y, t=t: (stored(out, t, x[t]), y + 1), lambda out, y: (out, y * 0.5), out, y)
    return np.stack(found), y


@program(1, X, np.zeros(T + 1))
def reads_what_it_stores(x, out):
    for t in range(T):
        out = irdl.cond(
            out[t] < 1, lambda out, t=t: stored(out, t + 1, out[t] + np.abs(x[t])), lambda out, t=t: stored(out, t + 1, 0.0), out
        )
    return out


@program(1, X, 0.3)
def nested(x, k):
    state = np.zeros(2)
    out = np.zeros((T, 2))
    for t in range(T):
        state = irdl.cond(
            x[t] > 0,
            lambda s, t=t: irdl.cond(x[t] > k, lambda s: s + x[t], lambda s: s - t * x[t], s),
            lambda s, t=t: irdl.cond(s[0] > x[t], lambda s: s * 0.5 + t, lambda s: -s, s),
            state,
        )
        out[t] = state
    return out


@program(1, H, W)
def loops_in_loops(h, w):
    out = np.zeros((T, 3))
    for t in range(T):
        total = 0.0
        for j in range(3):
            total = irdl.cond(h[t, j] > total, lambda total, t=t, j=j: total + h[t, j] * w[j, j], lambda total, j=j: total * w[j, 0], total)
            out[t, j] = total
    return out


@program(1, H, W)
def product_on_one_side(h, w):
    s, out = np.zeros(3), []
    for t in range(T):
        s = irdl.cond(s.sum() < h[t, 0], lambda s, t=t: np.tanh(h[t] @ w + s), lambda s: s, s)
        out.append(s)
    return np.stack(out)


@program(1, X)
def while_within(x):
    """A loop of unknown length that reads its step's element."""
    out = []
    for t in range(T):
        out.append(irdl.while_loop(lambda v, t=t: v < x[t] + 3, lambda v, t=t: v + np.abs(x[t]) + 0.25 * t, 0.0))
    return np.stack(out)


@program(1, H, X)
def scan_within(h, x):
    out = []
    for t in range(T):
        out.append(irdl.scan(lambda c, v, t=t: (c * x[t] + v * t, None), 0.0, h[t])[0])
    return np.stack(out)


@program(1, X)
def first_step_differs(x):
    y, out = 0, []
    for t in range(T):
        y = irdl.cond(x[t] > 0, lambda y, t=t: y + x[t], lambda y, t=t: y * x[t], y) if t else x[0]
        out.append(y)
    return np.stack(out)


@program(1, X)
def unread_results(x):
    """The last step's state is read by nothing."""
    a, b, out = 0.0, 1.0, []
    for t in range(T):
        out.append(a + b)
        a, b = irdl.cond(x[t] > a, lambda a, b, t=t: (b, a + x[t]), lambda a, b: (a, b), a, b)
    return np.stack(out)


@pytest.mark.parametrize("name", PROGRAMS)
def test_rolled_is_what_was_traced(name: str) -> None:
    f, arguments, expected = PROGRAMS[name]
    with limits():
        assert scans(rolled(f, *arguments)) == expected
        assert scans(rolled(f, *arguments, marked=False)) >= min(expected, 1)


@pytest.mark.parametrize("name", ["follower", "follower_of_closures", "one_side_stores", "nested", "unread_stores"])
def test_every_step_is_rolled(name: str) -> None:
    """The first one too, which starts from numbers, and the last, whose results are not read."""
    f, arguments, _ = PROGRAMS[name]
    with limits():
        lengths = [node.attributes.length for node in rolled(f, *arguments).nodes if node.op.name == "scan"]
    assert lengths == [T]


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs_as_numpy(name: str) -> None:
    f, arguments, _ = PROGRAMS[name]
    with limits():
        runs(f, *arguments)
        runs(f, *[-x if isinstance(x, np.ndarray) else x for x in arguments])


@pytest.mark.parametrize("name", ["follower", "follower_of_closures", "one_side_stores", "nested", "product_on_one_side", "loops_in_loops"])
def test_gradients(name: str) -> None:
    f, arguments, _ = PROGRAMS[name]

    def loss(*arguments: Any) -> Any:
        return np.sum(f(*arguments) ** 2)

    with limits():
        got = irdl.jit(irdl.grad(loss))(*arguments)
        x = arguments[0]
        for place in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[place] = 1e-6
            difference = (loss(x + step, *arguments[1:]) - loss(x - step, *arguments[1:])) / 2e-6
            np.testing.assert_allclose(got[place], difference, rtol=1e-4, atol=1e-6)
