"""Quotients and remainders of integers by numbers that are known, and by ones that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl

DIVISORS = [1, 2, 3, 5, 6, 7, 10, 60, 64, 100, 641, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 10**18, 2**62, 2**62 + 1, 2**63 - 1]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("divisor", [*DIVISORS, -1, -7, 0, 2**63, 2**64 - 1])
def test_of_64_bits(dtype: Any, divisor: int) -> None:
    """Numbers next to multiples, where a factor of too few digits would be wrong first."""
    limits = np.iinfo(dtype)
    if not limits.min <= divisor <= limits.max:
        pytest.skip("no number of that dtype")
    rng = np.random.default_rng(0)
    quotients = rng.integers(0, max(2, int(limits.max) // max(1, abs(divisor))), 200, dtype=dtype, endpoint=True)
    multiples = quotients * dtype(divisor)
    edges = np.array([limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max], dtype)
    x = np.concatenate(
        [multiples, multiples - dtype(1), multiples + dtype(1), edges, rng.integers(limits.min, limits.max, 201, dtype=dtype)]
    )
    x = np.concatenate([x, dtype(0) - x])
    compiled = irdl.jit(lambda x: (x // dtype(divisor), x % dtype(divisor), np.fmod(x, dtype(divisor))))
    with np.errstate(all="ignore"):
        expected = x // dtype(divisor), x % dtype(divisor), np.fmod(x, dtype(divisor))
    for actual, wanted in zip(compiled(x), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
