"""`np.nditer` of traced arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError

X = np.random.default_rng(0).standard_normal((3, 4))


def numeric_gradient(x: Any) -> Any:
    """As textbooks have it."""
    gradient = np.zeros_like(x)
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        place = it.multi_index
        before = x[place]
        x[place] = float(before) + 1e-4
        up = np.sum(np.tanh(x) ** 2)
        x[place] = before - 1e-4
        down = np.sum(np.tanh(x) ** 2)
        x[place] = before
        gradient[place] = (up - down) / 2e-4
        it.iternext()
    return gradient


def doubled(x: Any) -> Any:
    y = x.copy()
    with np.nditer(y, op_flags=["readwrite"]) as it:
        for v in it:
            v[...] = 2 * v
    return y


def in_memory_order(x: Any) -> Any:
    """The order of a transpose is that of the array."""
    found = 0.0
    for v in np.nditer(x.T):
        found = 0.5 * found + v
    return found, np.array([v * 1 for v in np.nditer(x, order="F")])


def together(x: Any) -> Any:
    products, squares = [], np.zeros_like(x)
    for a, b in np.nditer([x, x[0]]):
        products.append(a * b)
    with np.nditer([x, squares], op_flags=[["readonly"], ["writeonly"]]) as it:
        for a, b in it:
            b[...] = a * a
    return np.array(products), squares


def with_places(x: Any) -> Any:
    found = np.zeros_like(x)
    it = np.nditer(x, flags=["c_index", "multi_index"])
    for v in it:
        found[it.multi_index] = v * it.index
    it.reset()
    return found, it[0] * 1, len(it), it.itersize, [int(v) for v in np.nditer(np.arange(3))]


@pytest.mark.parametrize("f", [numeric_gradient, doubled, in_memory_order, together, with_places])
def test_same_as_numpy(f: Any) -> None:
    for x in (X, X[:1], X[:, :1].copy()):
        expected, found = irdl.tree.leaves(f(x.copy())), irdl.tree.leaves(irdl.jit(f)(x.copy()))
        assert [type(item) for item in found] == [type(item) for item in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-11)


@pytest.mark.parametrize("f", [doubled, in_memory_order, together])
def test_gradients(f: Any) -> None:
    irdl.testing.check(f, X)


def test_what_numpy_refuses() -> None:
    def stores(x: Any) -> None:
        for v in np.nditer(x):
            v[...] = 1

    for f in (stores, lambda x: np.nditer(x).multi_index, lambda x: [*np.nditer(x[:0])]):
        for g in (f, irdl.jit(f)):
            with pytest.raises(ValueError, match=r"read-only|multi-index|zero-sized"):
                g(X)
    assert irdl.jit(lambda x: [*np.nditer(x[:0], flags=["zerosize_ok"])])(X) == []


@pytest.mark.parametrize("options", [{"flags": ["external_loop"]}, {"flags": ["buffered"]}, {"op_dtypes": ["f4"]}])
def test_what_is_not_traced_says_so(options: Any) -> None:
    with pytest.raises(TraceError, match=r"np\.nditer with .* cannot be traced.*test_iteration\.py"):
        irdl.jit(lambda x: [*np.nditer(x, **options)])(X)
