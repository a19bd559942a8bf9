"""`x[i]` of an i that is only known at run time is a view, as in NumPy; an i out of range is an error at the user's line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
import irdl.testing

Y = np.arange(20.0).reshape(4, 5)
PLACES = [(0, 1, 2), (np.int32(3), 2, np.int8(1)), (-1, -2, -3), (np.int64(2), np.uint8(2), 2)]


def stores(y: np.ndarray, i: Any, j: Any, k: Any) -> Any:
    y = y.copy()
    y[i] += 1
    y[i][j] = 7
    row = y[j]
    row[0] = 9
    row *= 2
    y[i, j] -= 3
    y[:, k] = y[:, i] * 2
    y[-1, k] += 1
    late = y[i, :, None]
    early = y[i] + 0.0
    y[i] = 0
    y[i, 1:3] = [5, 6]
    y[i][1:][::-1][0] = 4
    y[:, i][j] -= 2
    return y, late, early, y[i].T.shape, y[i, j]


@pytest.mark.parametrize("places", PLACES)
def test_stores_through_rows(places: tuple[Any, ...]) -> None:
    for a, b in zip(irdl.jit(stores)(Y, *places), stores(Y, *places), strict=True):
        np.testing.assert_array_equal(a, b)


def test_softmax_gradient_of_a_target() -> None:
    def step(p: np.ndarray, targets: np.ndarray) -> np.ndarray:
        dy = p.copy()
        for t in range(len(targets)):
            dy[t][targets[t]] -= 1
        return dy

    targets = np.array([1, 0, 4, 2])
    np.testing.assert_array_equal(irdl.jit(step)(Y, targets), step(Y, targets))


def test_embedding_rows_add_up() -> None:
    def grad(tokens: np.ndarray, d: np.ndarray) -> np.ndarray:
        table = np.zeros((6, 5))
        for t in range(len(tokens)):
            table[tokens[t]] += d[t]
        return table

    tokens, d = np.array([1, 3, 1, 5, 1, 0, 3, 2, 2]), np.random.default_rng(0).standard_normal((9, 5))
    np.testing.assert_allclose(irdl.jit(grad)(tokens, d), grad(tokens, d))
    assert len(irdl.trace(grad)(tokens, d).nodes) < 10


def test_gradients() -> None:
    def f(y: np.ndarray, i: Any) -> Any:
        y = y.copy()
        y[i] *= y[1]
        y[i][2] = y[0, i] ** 2
        return (y * Y).sum()

    irdl.testing.check(lambda y: f(y, np.int64(1) if y is None else np.argmax(y[:, 0] * 0 + np.array([0, 3, 1, 2.0]))), Y)


def test_out_of_range() -> None:
    def f(y: np.ndarray, i: Any) -> Any:
        y = y.copy()
        y[i] += 1
        return y

    with pytest.raises(IndexError, match=r"index 9 is out of bounds for axis 0 with size 4.*test_traced_indices.py"):
        irdl.jit(f)(Y, 9)
    with pytest.raises(IndexError):
        irdl.jit(f)(np.zeros((0, 5)), 0)


def test_a_row_kept_on_an_object() -> None:
    class Keeps:
        def run(self, y: np.ndarray, i: Any) -> None:
            self.row = y[i]

    made = Keeps()
    irdl.jit(made.run)(Y, 2)
    np.testing.assert_array_equal(made.row, Y[2])
