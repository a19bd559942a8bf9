"""`x.flat`: read, stored into and walked through, of arrays that lie in one piece and of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import assert_close, check_gradient

ARRAYS = {
    "plain": lambda dtype: np.arange(12).reshape(3, 4).astype(dtype),
    "transposed": lambda dtype: np.arange(12).reshape(4, 3).astype(dtype).T,
    "with gaps": lambda dtype: np.arange(48).reshape(6, 8).astype(dtype)[::2, ::2],
    "a line": lambda dtype: np.arange(12).astype(dtype)[::-1],
}


def read(x: Any, i: Any) -> Any:
    parts = x.flat[5], x.flat[-1], x.flat[2:7:2], x.flat[[1, 2]], x.flat[np.arange(12) % 5 == 0], x.flat[i], x.flat[i[0]], x.flat[...]
    whole = np.array(x.flat), np.sum(x.flat), np.sqrt(x.flat), x.flat.copy(), np.array(list(x.flat)), sum(x.flat), len(x.flat)
    return parts, whole


def stored(x: Any, i: Any) -> Any:
    results = []
    for place, values in ((3, 1.5), (slice(None, None, 2), [1, 2]), (i, [7, 8, 9]), (slice(2, 4), np.arange(9)), ([5, 6], x.flat[:2])):
        x.flat[place] = values
        results.append(x.copy())
    x[1:].flat[:2] = 0
    results.append(x.copy())
    x.flat = [1, 2, 3, 4, 5]
    results.append(x.copy())
    x.flat = 7
    return results, x


@pytest.mark.parametrize(
    ("name", "dtype"), [("plain", "float32"), ("transposed", "float64"), ("with gaps", "int64"), ("a line", "complex128")]
)
def test_as_numpy(name: str, dtype: str) -> None:
    i = np.array([3, -2, 0])
    for f in (read, stored):
        assert_close(irdl.jit(lambda x, i, f=f: f(x.copy("K"), i))(ARRAYS[name](dtype), i), f(ARRAYS[name](dtype), i))


def test_what_is_read_is_no_view() -> None:
    def f(x: Any) -> Any:
        part = x.flat[1:3]
        part[:] = 0
        return part, x

    assert_close(irdl.jit(f)(np.ones((2, 2))), f(np.ones((2, 2))))


def test_loops_and_numbers_of_places() -> None:
    def f(x: Any) -> Any:
        total = weighted = np.zeros((), x.dtype)[()]
        for item in x.flat:
            total = np.tanh(total + item)
        for (i, j), item in np.ndenumerate(x):
            weighted = weighted + item * (i - 2 * j)
        return total, weighted, [place for place, _ in np.ndenumerate(x[0, 0])], len(list(np.ndenumerate(x[:0])))

    x = np.random.default_rng(0).uniform(0.1, 1, size=(7, 5))
    assert_close(irdl.jit(f)(x), f(x))
    check_gradient(lambda x: f(x)[:2], x[:3, :2])
    assert any(node.op.name == "scan" for node in irdl.trace(f)(x).nodes)


def test_views_of_the_same_numbers() -> None:
    def f(x: Any) -> Any:
        x.view()[0] = 5
        x.view(np.float64)[1] += 1
        return x.view(np.ndarray), x.T.view(x.dtype)

    assert_close(irdl.jit(f)(np.ones((3, 2))), f(np.ones((3, 2))))
    with pytest.raises(TraceError, match=r"x.astype.*test_flat"):
        irdl.jit(lambda x: x.view(np.int64))(np.ones(3))


def test_errors() -> None:
    for f in (lambda x: x.flat[0, 1], lambda x: x.flat[12]):
        with pytest.raises(IndexError, match="test_flat"):
            irdl.jit(f)(np.ones((3, 4)))
    with pytest.raises(TraceError, match=r"walk through x.flat with for.*test_flat"):
        irdl.jit(lambda x: next(x.flat))(np.ones(3))
