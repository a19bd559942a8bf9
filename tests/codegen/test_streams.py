"""Loops that only stream take several vectors at a time; the numbers are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.loops.language import For
from irdl.loops.walk import walk
from tests.teams import team_of, wide_vectors

RNG = np.random.default_rng(0)


def together(f: Callable[..., Any], *arguments: Any) -> list[int]:
    """How many vectors at a time each of the program's loops takes."""
    with wide_vectors():
        program = irdl.compile(f)(*arguments).program
    return [s.stop for s in walk(program.body) if isinstance(s, For) and s.kind == "abreast"]


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def test_what_is_widened() -> None:
    large, small = normal(65_536), normal(1_024)
    assert together(lambda x, y: x * 2 + y, large, large) == [8]
    assert together(lambda x: -x, normal(16 * 2_500)) == [4]
    assert together(lambda x: -x, normal(16 * 2_501)) == []
    assert together(lambda x: x.astype(np.float64), large) == [8]
    assert together(lambda x, y: x + y, small, small) == []  # the cache holds them
    assert together(lambda x: np.exp(x), large) == []  # it computes
    assert together(lambda x: x.sum(), large) == []  # it keeps sums in registers


@pytest.mark.parametrize("size", [16_384, 40_000, 65_537])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_as_numpy(size: int, threads: int) -> None:
    x, y, n = normal(size), normal(size), RNG.integers(-9, 9, size).astype(np.int16)
    functions: list[Callable[..., Any]] = [
        lambda x, y, n: x - y,
        lambda x, y, n: (x < y, np.where(x < y, x, y)),
        lambda x, y, n: (n + n, n * x),
        lambda x, y, n: x.astype(np.float64) + y,
        lambda x, y, n: (x + 1).reshape(-1, 1) * np.ones(3, np.float32),
        lambda x, y, n: (x + y)[::-1],
        lambda x, y, n: x[: size // 31 * 31].reshape(-1, 31).T + 1,
        lambda x, y, n: np.pad(x[: size // 31 * 31].reshape(-1, 31), ((0, 0), (0, 46))),
        lambda x, y, n: x[: size // 2] + x[size // 2 : size // 2 * 2],
    ]
    with team_of(threads):
        for f in functions:
            found, expected = irdl.jit(f)(x, y, n), f(x, y, n)
            for a, b in zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]:
                np.testing.assert_array_equal(a, b, strict=True)
