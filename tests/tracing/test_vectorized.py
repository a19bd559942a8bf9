"""`np.vectorize`: as NumPy's, which calls the function with Python's numbers, in a loop over the elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import assert_close, check_gradient


@np.vectorize
def soft(x: Any, y: Any = 2.0) -> Any:
    return math.exp(-abs(x)) * y + x**2


@np.vectorize(otypes=[np.float32, np.int64], excluded={"weights"})
def polynomial(x: Any, weights: Any) -> Any:
    total = 0.0
    for weight in weights:
        total = total * x + weight
    return total, np.where(total > 1, 1, 0)


def everything(x: Any, weights: Any) -> Any:
    scale = 3 * x.size
    inside = np.vectorize(lambda a, b: np.maximum(a, b) * scale)
    one = np.vectorize(lambda a: a, otypes="d")
    return soft(x), soft(x, y=x[..., :1]), polynomial(x, weights=weights), inside(x, 0.5), one(x[:0]), np.vectorize(lambda a: (a, 1))(x)


@pytest.mark.parametrize(("shape", "dtype"), [((3, 4), "float64"), ((2, 1, 5), "float32"), ((6,), "int32"), ((1,), "uint8")])
def test_as_numpy(shape: tuple[int, ...], dtype: str) -> None:
    x, weights = (np.random.default_rng(0).normal(size=shape) * 2).astype(dtype), np.array([0.5, -1.0, 2.0])
    found, expected = irdl.jit(everything)(x, weights), everything(x, weights)
    assert_close(found, expected, ulps=16)
    assert [np.asarray(a).dtype for a in found[0:2]] == [np.asarray(a).dtype for a in expected[0:2]]


def test_numbers_and_gradients() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3))
    assert_close(irdl.jit(lambda x: soft(x[0, 0]))(x), soft(x[0, 0]), ulps=16)
    check_gradient(lambda x: (soft(x, x[0]), np.vectorize(lambda a: np.sin(a) * a)(x)), x)


def test_errors() -> None:
    x = np.ones((3, 4))
    with pytest.raises(TraceError, match=r"irdl.vmap.*test_vectorized"):
        irdl.jit(lambda x: np.vectorize(np.sum, signature="(n)->()")(x))(x)
    with pytest.raises(ValueError, match=r"size 0 inputs.*test_vectorized"):
        irdl.jit(lambda x: np.vectorize(lambda a: a)(x[:0]))(x)
    with pytest.raises(TraceError, match=r"np.where.*test_vectorized"):
        irdl.jit(lambda x: np.vectorize(lambda a: sorted([a, 0.0])[0])(x))(x)
