"""The functions of Python's `math` of traced numbers."""

from __future__ import annotations

import math
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.testing import check

_ONE = (
    "sqrt",
    "exp",
    "expm1",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "atanh",
)
X = np.array([0.3, 0.7, -0.2, 0.9])


@pytest.mark.parametrize("name", [*_ONE, "fabs", "degrees", "radians", "isnan", "isinf", "isfinite", "floor", "ceil", "log"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_functions_of_one_number(name: str, dtype: str) -> None:
    f = getattr(math, name)

    def g(x: Any) -> Any:
        return f(x[0]), f(x[1].item()), getattr(math, name)(x[3])

    x = X.astype(dtype)
    expected, found = g(x), irdl.jit(g)(x)
    assert [type(item) for item in found] == [type(item) for item in expected]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_functions_of_two_numbers() -> None:
    def f(x: Any) -> Any:
        return (
            math.pow(x[0], 2),
            math.atan2(x[2], x[1]),
            math.hypot(x[0], x[1]),
            math.log(x[0], 2),
            math.copysign(x[0], x[2]),
            math.fmod(x[1], 0.4),
        )

    found, expected = irdl.jit(f)(X), f(X)
    assert all(type(item) is float for item in found)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_integers_and_what_is_known() -> None:
    def f(n: Any) -> Any:
        return (
            math.sqrt(n[0]),
            exp(n[1]),
            sqrt(np.arange(5)[4]),
            math.trunc(n[0] / -2),
            math.floor(2.5),
            math.pi,
            math.gcd(4, 6),
            math.prod([2, 3]),
        )

    n = np.array([9, 2])
    assert irdl.jit(f)(n) == pytest.approx(f(n))
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        irdl.jit(lambda n: n * math.sqrt(-len(n)))(n)


def oscillating(x: Any) -> Any:
    """A filter as written sample by sample, with Python's floats."""
    y, phase, level = np.zeros_like(x), 0.0, 0.0
    for n in range(len(x)):
        phase += 0.1 + 0.05 * x[n]
        level = 0.9 * level + 0.1 * math.tanh(x[n])
        y[n] = level * math.sin(phase) * exp(-0.1 * n) + sqrt(abs(x[n]))
    return y


def test_loops_and_gradients() -> None:
    check(oscillating, X)
    assert len(irdl.trace(oscillating)(np.ones(40)).nodes) == len(irdl.trace(oscillating)(np.ones(80)).nodes)
    gradients = [g(X) for g in (irdl.grad(lambda x: oscillating(x).sum()), irdl.jit(irdl.grad(lambda x: oscillating(x).sum())))]
    np.testing.assert_allclose(*gradients)


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 7, 16, -1, -3])
def test_round_is_pythons(digits: int) -> None:
    """Of numbers halfway between two decimals, which are so in decimals alone, as 2.675."""
    random = np.random.default_rng(0)
    halves = (random.integers(-(10**6), 10**6, 400) * 2 + 1) / 2 / 10.0**digits
    x = np.concatenate([halves, random.standard_normal(100), 1e3 * random.standard_normal(100), [2.675, 0.5, 1.5, -0.0004, 0.0, -0.0]])
    x = np.concatenate([x, [1e300, -1e17, 5e15 + 1, np.inf, np.nan, 2.0**52 + 0.5, 45.0, 55.0, 5e-324]])

    def f(x: Any) -> Any:
        return [round(x[i].item(), digits) for i in range(len(x))]

    found, expected = irdl.jit(f)(x), f(x)
    assert all(type(item) is float for item in found)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_round_of_other_numbers() -> None:
    def f(x: Any, n: Any) -> Any:
        return round(float(x[1]), 2), round(x[1], 2), round(int(n[0]), 2), round(float(x[0])), round(bool(n[1]), 1)

    x, n = np.array([2.5, 2.675]), np.array([15, 0])
    found, expected = irdl.jit(f)(x, n), f(x, n)
    assert found == expected and [type(item) for item in found[:4]] == [type(item) for item in expected[:4]]
    with pytest.raises(irdl.errors.TraceError, match="divide and multiply"):
        irdl.jit(lambda x: round(x[0].item(), 30))(x)
