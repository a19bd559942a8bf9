"""Python's `max` and `min` of traced numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check

NUMBERS = np.random.default_rng(0).standard_normal(6)
SPECIAL = np.array([1.0, np.nan, 2.0, np.inf, -np.inf, 0.0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("x", [NUMBERS, -NUMBERS, SPECIAL, SPECIAL[::-1], np.zeros(6)])
def test_extrema_of_traced_numbers(x: np.ndarray, dtype: str) -> None:
    def f(x: Any) -> Any:
        listed, drawn = max([x[0], x[1]]), max(x[i] * i for i in range(6))
        return max(x[0], x[1]), min(x[0], x[1], x[2]), min(x), max(x), listed, drawn, max(x[0], np.float32(0.5)), max(x[2].item(), 0.5)

    x = x.astype(dtype)
    with np.errstate(all="ignore"):
        expected, found = f(x), irdl.jit(f)(x)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [type(item) for item in found[:6]] == [x.dtype.type] * 6 and type(found[7]) is float


def test_what_is_known_is_compared_by_python() -> None:
    def f(x: Any) -> Any:
        n = max(2, len(x) // 2)
        return x[:n], max("a", "b"), max([3, 1], key=lambda v: -v), max([], default=4), min(np.array([2, 1])), max(n, 2.5)

    assert repr(irdl.jit(f)(NUMBERS)) == repr(f(NUMBERS))
    check(lambda n: (max(n[0], 0), min(n[0], n[1]), max(n[0], -1)), np.array([3, 4], np.uint8))


@pytest.mark.parametrize("f", [lambda n: max(n, key=lambda v: -v), lambda n: sorted(n)])
def test_what_is_open_says_so(f: Any) -> None:
    with pytest.raises(TraceError, match=r"np\.where"):
        irdl.jit(f)(np.array([3, 4], np.uint8))


def test_an_array_is_no_number() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        irdl.jit(lambda n: max(n, n))(NUMBERS)


def warped(x: Any, y: Any) -> Any:
    """The distance of two signals, one of which is stretched."""
    cost = np.full((len(x) + 1, len(y) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            cost[i, j] = abs(x[i - 1] - y[j - 1]) + min(cost[i - 1, j], cost[i, j - 1], cost[i - 1, j - 1])
    return cost[-1, -1]


def compressed(x: Any) -> Any:
    """Louder parts of a signal made softer, after a level that falls slowly."""
    level, y = 0.0, np.zeros_like(x)
    for n in range(len(x)):
        level = max(abs(x[n]), level * 0.9)
        y[n] = x[n] * min(1.0, 0.5 / max(level, 1e-6))
    return y


def test_recurrences() -> None:
    check(warped, NUMBERS, NUMBERS[::-1][:5] + 0.1)
    check(compressed, NUMBERS)
    assert len(irdl.trace(compressed)(np.ones(40)).nodes) == len(irdl.trace(compressed)(np.ones(80)).nodes)


def test_in_transforms() -> None:
    rows = np.stack([NUMBERS, -NUMBERS])
    expected = [max(row[0], row[1]) for row in rows]
    for f in (irdl.vmap(lambda v: max(v[0], v[1])), irdl.jit(irdl.vmap(lambda v: max(v[0], v[1])))):
        np.testing.assert_array_equal(f(rows), expected)
    np.testing.assert_array_equal(irdl.grad(lambda v: 2 * max(v[0], v[1]))(NUMBERS), [2, 0, 0, 0, 0, 0])
