"""Powers with known exponents: what they become, and that they are what NumPy's are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ops.elementwise import POWER
from irdl.testing import check
from irdl.transforms.api import grad

EXPONENTS = [0, 1, 2, 3, 4, 5, 8, -1, -2, -3, 0.0, 2.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, np.float32(2), np.float64(3), np.int8(2), True]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 1e30, 7.25, 1e-38, 3e38]


@pytest.mark.parametrize("exponent", EXPONENTS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_exponents(exponent: Any, dtype: Any) -> None:
    x = np.array(SPECIAL, dtype)
    with np.errstate(all="ignore"):
        check(lambda x: (x**exponent, np.power(x, exponent), np.float_power(x, exponent)), x, grad=False)
        signs = irdl.jit(lambda x: np.signbit(x**exponent))(x)
        np.testing.assert_array_equal(signs[~np.isnan(x**exponent)], np.signbit(x**exponent)[~np.isnan(x**exponent)])
    positive = np.abs(np.random.default_rng(0).standard_normal(33)).astype(dtype) + dtype(0.1)
    check(lambda x: x**exponent, positive)
    check(lambda x: grad(lambda x: (x**exponent).sum())(x), positive)


def test_no_power_is_left() -> None:
    for exponent in (0, 1, 2, 3, 4, -1, 0.5, -0.5, 1.5):
        for f in (lambda x, e=exponent: x**e, lambda x, e=exponent: grad(grad(lambda x: x**e))(x)):
            graph = dict(irdl.compile(f)(np.float64(0.7)).stages)["fuse"]
            assert not any(node.op is POWER for node in graph.all_nodes()), (exponent, str(graph))


def test_other_exponents_stay() -> None:
    x = np.linspace(0.5, 2.0, 64)
    check(lambda x: (x**3.5, x**np.pi, x**17, 2.0**x, x**x), x)
    check(lambda x: x ** np.full(64, 0.5), np.concatenate([x[:-2], [-0.0, -np.inf]]), grad=False)
    check(lambda x: x[:1] ** np.full(64, 2.0), x)


@pytest.mark.parametrize("exponent", [0.5, 1.5, -0.5, 2, 3, -1, 1, 2.5])
def test_gradients_at_the_edges(exponent: float) -> None:
    """Of x ** y, y * x ** (y - 1), at zero and infinity too."""
    x = np.array([0.0, 1.0, np.inf, 4.0])
    with np.errstate(all="ignore"):
        expected = exponent * x ** (exponent - 1)
        for f in (irdl.grad(lambda x: (x**exponent).sum()), irdl.jit(irdl.grad(lambda x: np.power(x, exponent).sum()))):
            np.testing.assert_allclose(f(x), expected, rtol=1e-12)


def test_integer_powers_of_known_arrays() -> None:
    def f(x):
        periods = np.repeat(2 ** np.arange(4), 2)
        return x * periods + (np.arange(3, dtype=np.int8) ** np.array([1, 2, 3], np.int8)).sum(), 2 ** np.arange(0)

    check(f, np.ones(8, np.float32), grad=False)
    with pytest.raises(ValueError, match="negative integer powers"):
        irdl.jit(lambda x: x + np.arange(2) ** np.array([-1, 2]))(np.ones(2))
