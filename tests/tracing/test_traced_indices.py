"""`x[i]` of an i that is only known at run time is a view, as in NumPy; an i out of range is an error at the user's line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
import irdl.testing
from irdl.errors import TraceError

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


X = np.arange(40.0).reshape(10, 4)


def slices(x: np.ndarray, i: Any, j: Any) -> Any:
    x = x.copy()
    v = x[i : i + 3, None, j]
    v += 1
    x[i : i + 2] *= 2
    x[i + 1 : i + 2] = 7
    x[1:, j : j + 1] -= 1
    x[..., j : 1 + j][i : i + 2] = [[5], [6]]
    w = x[2 * i : (i + 1) * 2, ::-1]
    x[i - 1 + 1 : 4 + i - 1, j : j + 2] += w[0, :2] + np.ones((3, 2))
    y = x[np.array([3, 1]), j : j + 2]
    return x, v, w, y, x[i : 2 + i][::-1], x[i:i].shape, x[-(1 - i) + 1 : i + 3]


@pytest.mark.parametrize("places", [(0, 0), (3, 1), (np.int64(4), np.int8(2)), (np.uint8(1), np.int32(0))])
def test_slices_of_known_length(places: tuple[Any, ...]) -> None:
    for a, b in zip(irdl.jit(slices)(X, *places), slices(X, *places), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.shape(a) == np.shape(b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_minibatches(dtype: str) -> None:
    def step(data: np.ndarray, w: np.ndarray, number: Any) -> Any:
        batch = data[number * 2 : (number + 1) * 2]
        return irdl.value_and_grad(lambda w: np.sum(np.tanh(batch @ w) ** 2))(w)

    data, w = X.astype(dtype) / 40, np.ones((4, 3), dtype)
    compiled = irdl.jit(step)
    for number in range(5):
        irdl.testing.assert_close(compiled(data, w, number), step(data, w, number), ulps=1e3)
    irdl.testing.check_gradient(lambda x, i: x[i[0] : i[0] + 3] ** 2, X, np.array([4]))


def test_slices_in_loops_and_batches() -> None:
    def loop(x: np.ndarray) -> np.ndarray:
        return irdl.fori_loop(0, 7, lambda i, total: total + x[i : i + 4], np.zeros((4, 4)))

    np.testing.assert_array_equal(irdl.jit(loop)(X), loop(X))
    starts = np.array([0, 6, 3])
    found = irdl.jit(irdl.vmap(lambda x, i: x[i : i + 4] * 2, in_axes=(None, 0)))(X, starts)
    np.testing.assert_array_equal(found, np.stack([X[i : i + 4] * 2 for i in starts]))


def test_a_slice_that_is_kept_is_a_view() -> None:
    class Ring:
        def __init__(self) -> None:
            self.buffer = np.zeros(10)

        def put(self, x: np.ndarray, i: Any) -> Any:
            self.buffer[i : i + 2] = x
            self.last = self.buffer[i : i + 2]
            return self.buffer.sum()

    eager, compiled = Ring(), Ring()
    put = irdl.jit(compiled.put)
    for i in (3, 5, 8):
        x = np.full(2, i + 0.5)
        assert put(x, i) == eager.put(x, i)
        np.testing.assert_array_equal(compiled.buffer, eager.buffer)
        np.testing.assert_array_equal(compiled.last, eager.last)
        assert compiled.last.base is compiled.buffer


def test_slices_that_do_not_fit_are_errors() -> None:
    """NumPy would give fewer elements, or count from the end."""
    f = irdl.jit(lambda x, i: x[i : i + 3])
    for i in (8, -1, -3, 100):
        with pytest.raises(IndexError, match=r"test_traced_indices.py"):
            f(X, i)
    with pytest.raises(IndexError, match="a slice of 30 elements does not fit an axis of 10"):
        irdl.jit(lambda x, i: x[i : i + 30])(X, 0)
    narrow = irdl.jit(lambda x, i: x[i : i + 3])
    with pytest.raises(TraceError, match="use int64"):
        narrow(np.zeros(200), np.int8(3))


@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: x[i:],
        lambda x, i: x[:i],
        lambda x, i: x[i : i * 2],
        lambda x, i: x[i : i + 3 : 2],
        lambda x, i: x[::i],
        lambda x, i: x[i : np.maximum(i, 3)],
    ],
)
def test_slices_of_unknown_length_are_refused(f: Any) -> None:
    with pytest.raises(TraceError, match=r"the length of x\[a:b\] is not known while tracing.*test_traced_indices.py"):
        irdl.jit(f)(X, 3)
