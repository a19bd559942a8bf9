"""Running sums, products and extrema, along rows and across them: the numbers are NumPy's to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from tests.same import same
from tests.teams import team_of

RNG = np.random.default_rng(0)
SHAPES = [(1,), (5,), (1000,), (3, 1), (1, 7), (5, 9), (64, 40), (9, 2, 33), (0, 3), (3, 0), (2, 3, 4, 5)]


def every(x: Any) -> list[Any]:
    axes = range(x.ndim)
    ways = [x, x.T, x[..., ::-1], x[::2]]
    running = [f(v, axis) for axis in axes for v in ways for f in (np.cumsum, np.maximum.accumulate)]
    return running + [np.cumprod(x, axis) for axis in axes] + [np.flip(np.cumsum(np.flip(x, axis), axis), axis) for axis in axes]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint16"])
def test_same_as_numpy(shape: tuple[int, ...], dtype: str) -> None:
    x = (RNG.standard_normal(shape) * 3).astype(dtype) if dtype[0] != "u" else RNG.integers(0, 9, shape).astype(dtype)
    if dtype[0] == "f" and x.size > 3:
        x.flat[3] = np.nan
    assert same(irdl.jit(every)(x), every(x), 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_shared_by_threads(threads: int) -> None:
    x = RNG.standard_normal((133, 1_001)).astype(np.float32)
    with team_of(threads):
        assert same(irdl.jit(lambda x: np.cumsum(x, 1))(x), np.cumsum(x, 1), 0)
