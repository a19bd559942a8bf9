"""Loops that a step may end: what is behind such a step is traced once too, however few steps there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.tracing.long_loops import plans
from tests.tracing.long_loops.test_traced_once import check, recorded, scans_of, signal

__all__ = ["recorded"]  # a fixture


def newton(a: Any, steps: int) -> Any:
    x, count = 1.0 + 0 * a, 0
    for step in range(steps):
        new = 0.5 * (x + a / x)
        count += step
        if abs(new - x) < 1e-12:
            break
        x = new
    return x, count


def jacobi(a: Any, steps: int) -> Any:
    matrix = np.full((3, 3), 0.3) + 2.0 * np.eye(3)
    x, diagonal = np.zeros(3), np.diag(matrix)
    for step in range(steps):
        new = (a - (matrix @ x - diagonal * x)) / diagonal
        if np.abs(new - x).max() < 1e-9:
            return new, step
        x = new
    return x, -1


def escape(a: Any, steps: int) -> Any:
    z = 0j
    for step in range(steps):
        if abs(z) > 2.0:
            return step
        z = z * z + a * 0.3
    return steps


def patience(a: Any, steps: int) -> Any:
    best, wait, seen = np.inf, 0, np.zeros(steps)
    for step in range(steps):
        loss = np.cos(a * 0.1 * step) + 0.01 * step
        seen[step] = loss
        if loss < best:
            best, wait = loss, 0
            continue
        wait += 1
        if wait > 5:
            break
    else:
        wait = -wait
    return best, wait, step, seen


def either_way(a: Any, steps: int) -> Any:
    total, count = 0.0 * a, 0
    for step in range(steps):
        for turn in range(3):
            if a * turn + step > 30:
                break
            count += 1
        total = total + a
        if total > 20:
            total = -total
            break
        if total < -20:
            return count, turn, total * 2
    return count, turn, total


def at_a_known_step(a: Any, steps: int) -> Any:
    total = 0.0 * a
    for step in range(steps):
        total = 0.5 * total + a * step
        if step == 70:
            return total, step
        if total > 1e300:
            break
    return -total, step


def at_a_known_step_alone(a: Any, steps: int) -> Any:
    total = 0.0 * a
    for step in range(steps):
        total = 0.5 * total + a * step
        if step == 70:
            break
    else:
        total = -total
    return total, step


@pytest.mark.parametrize("steps", [1, 15, 40, 1200])
@pytest.mark.parametrize("f", [newton, jacobi, escape, patience, either_way, at_a_known_step, at_a_known_step_alone])
def test_results(f: Callable[..., Any], steps: int) -> None:
    compiled = irdl.jit(f, static_argnums=1)
    for number in (2.0, 0.7, 1.3, 11.0, *((-2.0,) if f is either_way else ())):
        argument = np.full(3, number) if f is jacobi else np.float64(number)
        got, expected = irdl.tree.leaves(compiled(argument, steps)), irdl.tree.leaves(f(argument, steps))
        for a, b in zip(got, expected, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("f", [newton, patience, either_way])
def test_it_takes_no_longer_with_more_steps(f: Callable[..., Any], recorded: list[str]) -> None:
    counts = []
    irdl.trace(lambda a: f(a, 100))(2.0)  # finds out that steps may end it
    for steps in (100, 3000):
        recorded.clear()
        irdl.trace(lambda a, steps=steps: f(a, steps))(2.0)
        counts.append(len(recorded))
    assert max(counts) < 400


def test_the_first_step_is_not_apart() -> None:
    """Long loops are traced once from their beginning."""
    (scan,) = scans_of(irdl.trace(lambda a: newton(a, plans.MANY_STEPS))(2.0))
    assert scan.attributes.length == plans.MANY_STEPS


@pytest.mark.parametrize("steps", [60, 1500])
def test_gradients(steps: int) -> None:
    gradient = irdl.jit(irdl.grad(lambda a: newton(a, steps)[0]))
    np.testing.assert_allclose(gradient(2.0), 0.5 / np.sqrt(2.0), rtol=1e-10)

    def loss(a: Any) -> Any:
        best, _, _, seen = patience(a, steps)
        return best + (seen[1:9] ** 2).sum()

    slope = (loss(1.3 + 1e-6) - loss(1.3 - 1e-6)) / 2e-6
    np.testing.assert_allclose(irdl.jit(irdl.grad(loss))(1.3), slope, rtol=1e-6)


def test_variables_of_one_way_only() -> None:
    def f(x):
        for n in range(len(x)):
            if x[n] > 1.0:
                where = n
                break
        else:
            where = -1
        return where

    def converged(x):
        total = 0.0
        for value in x:
            total = total + value
            if total > 3.0:
                ok = True
                break
            if total < -3.0:
                ok, low = False, total
                return ok, low
        else:
            ok = False
        return ok, total * 2

    for x in (signal(50), np.zeros(50), signal(1500), np.zeros(1500), signal(1500) + 1, signal(1500) - 1):
        assert irdl.jit(f)(x) == f(x)
        assert irdl.jit(converged)(x) == pytest.approx(converged(x))

    def unset(x):
        for n in range(len(x)):
            if x[n] > 1.0:
                where = n
                break
        return where

    with pytest.raises(TraceError, match=r"`where` is set.*test_ends"):
        irdl.jit(unset)(signal(50))


def test_an_array_and_a_copy_of_it_on_one_side() -> None:
    """Both are one value of the step's, and two of what the side reads."""

    def f(x, z):
        s, a, b = z, np.ones(3), np.zeros(3)
        for n in range(len(x)):
            b = a.copy()
            if x[n] > 1.0:
                s += 1.0
                return s, a, b
        return s, a, b

    check(f, signal(60), np.float64(0.5))


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("view", [False, True])
def test_arrays_that_change_places_are_themselves_behind_it(steps: int, view: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 2)

    def two(a, b, c, x):
        for n in range(steps):
            a, b = b, a
            c = c + x[n] * a[0]
        return a, b, c

    def three(a, b, c, x):
        for n in range(steps):
            a, b, c = b, c, a
            x = x + x[n] * a[0]
        return a, b, c

    def to_one(a, b, c, x):
        for n in range(steps):
            a, b, c = b, c, b
            x = x + x[n] * a[0]
        return a, b, c

    def a_chain(a, b, c, x):
        for n in range(steps):
            a, b, c = b, c, c * x[n]
        return a, b, c

    for rotate in (two, three, to_one, a_chain):

        def f(p, q, r, x, rotate=rotate):
            a, b, c = rotate(p[:] if view else p, q, r, x)
            a[0] = 5.0
            p[1] += 2.0
            b += 1.0
            q[2] = 7.0
            c[1] = -1.0
            return a, b, c

        arguments = [[*np.arange(9.0).reshape(3, 3) + 1, np.linspace(0.5, 1.5, 9)] for _ in range(2)]
        expected, got = f(*arguments[0]), irdl.jit(f)(*arguments[1])
        for a, b in zip([*got, *arguments[1]], [*expected, *arguments[0]], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
