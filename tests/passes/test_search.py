"""argmax and argmin by reductions and by blocks: the first extremum, or the first nan, wherever it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.passes import search

EDGE = search._BLOCK * search._BLOCKS


@pytest.mark.parametrize("function", [np.argmax, np.argmin])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(EDGE - 1,), (EDGE,), (EDGE + 1,), (3, EDGE + 77), (2, 2, 3 * search._BLOCK)])
def test_the_first_of_equals(function: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    compiled = irdl.jit(lambda x: function(x, axis=-1))
    for few in (2, 3, 1000):
        x = rng.integers(0, few, shape).astype(dtype)
        np.testing.assert_array_equal(compiled(x), function(x, axis=-1))
        x[..., rng.integers(0, shape[-1], 2)] = function is np.argmax
        np.testing.assert_array_equal(compiled(x), function(x, axis=-1))


@pytest.mark.parametrize("function", [np.argmax, np.argmin])
@pytest.mark.parametrize("length", [EDGE, EDGE + 5])
def test_a_nan_and_infinities_at_every_edge(function: Any, length: int) -> None:
    compiled = irdl.jit(lambda x: function(x))
    edges = [0, 1, search._BLOCK - 1, search._BLOCK, search._BLOCK + 1, length - 6, length - 1]
    for value in (np.nan, np.inf, -np.inf):
        for first in edges:
            for second in edges:
                x = np.zeros(length)
                x[first], x[second] = value, np.nan
                assert compiled(x) == function(x)
                x[first], x[second] = -0.0, value
                assert compiled(x) == function(x)


def test_of_what_is_computed_and_of_other_axes() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EDGE, 5))
    for function in (lambda x: np.argmax(np.sin(x).T * 2, axis=1), lambda x: np.argmin(x, axis=0), lambda x: np.argmax(x)):
        np.testing.assert_array_equal(irdl.jit(function)(x), function(x))
        np.testing.assert_array_equal(irdl.jit(irdl.vmap(function))(x[None]), [function(x)])
