"""Masks whose numbers the trace does not know: what is taken under one is stored or reduced under the same one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
import irdl.testing
from irdl.errors import TraceError

_random = np.random.default_rng(0)
X, Y = _random.standard_normal((4, 5)), _random.standard_normal((4, 5))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """As courses write it, so that no exponential overflows."""
    pos, neg = x >= 0, x < 0
    z = np.zeros_like(x)
    z[pos] = np.exp(-x[pos])
    z[neg] = np.exp(x[neg])
    top = np.ones_like(x)
    top[neg] = z[neg]
    return top / (1 + z)


def scaled(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[x < 0] *= 0.1
    x[x > 1] += x[x > 1] ** 2
    return x


def from_another(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    m = x < Y
    x[m] = Y[m] * 2
    x[~m] = -Y[~m]
    return x


def rows(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    m = x[:, 0] > 0
    x[m, :] = 0
    x[~m, 1:3] = x[~m, 1:3] * 2 + np.ones(2)
    x[m, 4] = 7
    x[..., x[0] > 0] -= 1
    return x


def columns(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    m = x.sum(axis=0) > 0
    x[:, m] = np.tanh(x[:, m])
    x[1, ~m] = 3.0
    return x


def reduced(x: np.ndarray) -> Any:
    m = x > 0
    taken = x[m]
    by_row = x[x[:, 0] > 0]
    return (
        [taken.sum(), np.sum(taken**2), taken.mean(), np.mean(x[~m]), taken.max(), np.min(taken), np.prod(taken), (taken > 1).any()],
        [(taken > 0).all(), taken.size, by_row.sum(axis=0), by_row.mean(axis=0), by_row.sum(), by_row.size, np.ndim(by_row), taken.ndim],
    )


def in_place(x: np.ndarray) -> np.ndarray:
    m = x > 0
    z = x[m]
    w = z
    z *= 2
    z += 1
    x = x.copy()
    x[m] = w
    x[m] = np.clip(x[m], -1, 1.5)
    x[~m] = np.where(x[~m] < -1, -1.0, x[~m])
    x[m] = x[0, 0] * x[m] - np.maximum(x[0, 1], x[m])
    x[m] = np.where(x[m] > 0, x[1, 1], x[m])
    return x


def integers(x: np.ndarray) -> np.ndarray:
    i = (x * 3).astype(np.int32)
    i[i > 2] //= i[i > 2] - 1
    i[i < 0] = 9
    i[i == 1] = i[i == 1].astype(np.int8) + 4
    return i


def of_a_snapshot(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    m = x > 0
    before = x[m]
    x[m] = 0
    x[m] = before + x[m]
    return x


def bools(x: np.ndarray) -> np.ndarray:
    b = x > 0
    b[x > 1] = False
    b[x < -1] = ~b[x < -1]
    return b


FUNCTIONS = (sigmoid, scaled, from_another, rows, columns, reduced, in_place, integers, of_a_snapshot, bools)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_same_as_numpy(f: Callable[..., Any], dtype: Any) -> None:
    x = X.astype(dtype)
    compiled = irdl.jit(f)
    for given in (x, -x, x * 3):
        expected, got = irdl.tree.leaves(f(given)), irdl.tree.leaves(compiled(given))
        assert len(expected) == len(got)
        for a, b in zip(expected, got, strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(b, a, rtol=2e-6)


@pytest.mark.parametrize("f", [sigmoid, scaled, from_another, rows, columns, in_place])
def test_gradients(f: Callable[..., Any]) -> None:
    irdl.testing.check(lambda x: (f(x) * Y).sum(), X)


def test_gradients_where_the_mask_does_not_hold_are_zero() -> None:
    def f(x: np.ndarray) -> Any:
        z = np.zeros_like(x)
        z[x > 0] = np.sqrt(x[x > 0]) + np.log(x[x > 0])
        return z.sum()

    gradient = irdl.grad(f)(np.array([-1.0, 0.0, 4.0]))
    np.testing.assert_allclose(gradient, [0, 0, 0.5])

    def scaled(w: Any) -> Any:
        x = np.array([-1.0, 0.0, 4.0])
        z = np.zeros_like(x)
        z[x > 0] = w * np.log(x[x > 0])
        return z.sum()

    np.testing.assert_allclose(irdl.jit(irdl.grad(scaled))(2.0), np.log(4.0))

    def unknown(w: Any, x: np.ndarray) -> Any:
        z = np.zeros_like(x)
        z[x > 0] = w * np.log(x[x > 0])
        return z.sum()

    np.testing.assert_allclose(irdl.jit(irdl.grad(unknown))(2.0, np.array([-1.0, 0.0, 4.0])), np.log(4.0))


def test_in_a_loop_it_is_rolled() -> None:
    def run(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = np.zeros((4, 5))
        for t in range(8):
            h = sigmoid(x[t] + h @ w)
        return h

    x, w = _random.standard_normal((8, 4, 5)), _random.standard_normal((5, 5))
    assert len(irdl.trace(run)(x, w).nodes) < 10
    np.testing.assert_allclose(irdl.jit(run)(x, w), run(x, w))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x[x > 0], "np.where"),
        (lambda x: len(x[x > 0]), r"len\(x\[mask\]\) asks how many"),
        (lambda x: np.zeros(x[x > 0].shape), "an index, a shape"),
        (lambda x: np.zeros((2, x[x > 0].shape[0])), "an index, a shape"),
        (lambda x: x[x[:, 0] > 0][::-1], r"x\[mask\]\[index\] asks"),
        (lambda x: x[x[:, 0] > 0][:, x[0] > 0], "other mask"),
        (lambda x: x[x[:, 0] > 0].T @ x[x[:, 1] > 0], "np.matmul of arrays under masks"),
        (lambda x: x[x[:, 0] > 0].T @ x, "np.matmul along the mask"),
        (lambda x: x[x > 0][0], "asks how many"),
        (lambda x: np.sort(x[x > 0]), r"np\.sort asks"),
        (lambda x: x[x > 0] @ np.ones(3), "np.matmul asks"),
        (lambda x: x[x > 0] + x[x > 1], "other mask"),
        (lambda x: x.__setitem__(x > 0, x[x > 1]), "other mask"),
        (lambda x: x.__setitem__(x > 0, np.ones(3)), "one v per True"),
        (lambda x: x[x > 0, x[:, 0] > 0], "two masks"),
        (lambda x: x[x[:, 0] > 0, [0, 1, 2, 3]], "beside other arrays"),
        (lambda x: [*x[x > 0]], "iteration over"),
        (lambda x: x if x[x > 0] else -x, "the truth of"),
        (lambda x: np.asarray(x[x > 0]), r"asks how many|np\.asarray"),
        (lambda x: x[x > 0].cumsum(), "cumsum asks"),
    ],
)
def test_what_is_open_says_so(f: Callable[..., Any], message: str) -> None:
    with pytest.raises(TraceError, match=message) as found:
        irdl.jit(f)(X)
    assert "test_masks.py" in str(found.value)


def test_a_mask_of_another_shape() -> None:
    with pytest.raises(IndexError, match="boolean index of shape"):
        irdl.jit(lambda x: x[x[0] > 0].sum())(X)


def test_gradients_of_what_stands_beside() -> None:
    """Where the mask does not hold, roots and quotients of the other operand are not taken."""
    x = np.array([0.2, 1.5, 3.0, 0.1])

    def root(x: np.ndarray, b: Any) -> Any:
        k = x > 1
        y = np.zeros_like(x)
        y[k] = np.sqrt(x[k] - b)
        return y.sum()

    def quotient(x: np.ndarray, b: Any) -> Any:
        k = x > 1
        y = x.copy()
        y[k] /= y[k] - b
        return y.sum() + (1 / (x[k] - b)).mean() + np.arccos(b / x[k]).sum()

    for f, b in ((root, 0.8), (quotient, 0.5)):
        compiled = irdl.jit(irdl.grad(f, (0, 1)))(x, np.array(b))
        step = 1e-6
        np.testing.assert_allclose(compiled[1], (f(x, b + step) - f(x, b - step)) / (2 * step), rtol=1e-5)
        assert np.isfinite(compiled[0]).all()


def test_reductions_keep_axes_as_numpy_does() -> None:
    def f(x: np.ndarray) -> Any:
        m = x[0] > 0
        taken = x[:, m]
        return [
            taken.sum(axis=1, keepdims=True),
            taken.mean(axis=(0, 1), keepdims=True),
            taken.sum(keepdims=True),
            taken.max(axis=-1),
            x[x > 0].sum(axis=-1, keepdims=True),
        ]

    x = _random.standard_normal((2, 3, 4))
    for a, b in zip(f(x), irdl.jit(f)(x), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b)
    for axis in (1, 5, -3):
        with pytest.raises(np.exceptions.AxisError):
            irdl.jit(lambda x, axis=axis: x[x > 0].sum(axis=axis))(x)


def test_taken_outside_used_within() -> None:
    def f(x: np.ndarray) -> Any:
        m = x > 0
        y = x[m]
        gradient = irdl.grad(lambda v: (y * v).sum())(x[0])

        def body(c: Any, row: Any) -> Any:
            c = c.copy()
            c[m] = y * row
            return c, c.sum()

        return gradient, irdl.scan(body, x * 0, x)

    x = np.array([-1.0, 1.0, 2.0])
    for a, b in zip(irdl.tree.leaves(irdl.jit(f)(x)), irdl.tree.leaves(f(x)), strict=True):
        np.testing.assert_allclose(a, b)


def test_filled_at_once() -> None:
    def f(x: np.ndarray) -> Any:
        y = x[x > 0]
        y[:] = 3
        y[...] = y * x[0, 0]
        x = x.copy()
        x[x > 0] = y
        return x

    np.testing.assert_allclose(irdl.jit(f)(X), f(X))


LABELS = _random.integers(0, 3, len(X))


def naive_bayes(x: Any, y: Any) -> Any:
    """Means and variances of each class, and how many there are of it."""
    found = [(x[y == c].mean(axis=0), x[y == c].var(axis=0), x[y == c].std(0, ddof=1), x[y == c].shape[0] / len(x)) for c in range(3)]
    return found, x[y == 1].std(), x[y == 1].astype(int).var(0), x[y == 1].astype(np.float32).var(), (x[y == 1] + 1j).var(0)


def discriminants(x: Any, y: Any) -> Any:
    """Scatter within and between classes."""
    n = x.shape[1]
    within, between, mean = np.zeros((n, n)), np.zeros((n, n)), x.mean(0)
    for c in range(3):
        of_class = x[y == c]
        own = np.mean(of_class, axis=0)
        within += (of_class - own).T.dot(of_class - own)
        apart = (own - mean).reshape(-1, 1)
        between += of_class.shape[0] * apart @ apart.T
    return within, between


def experts(x: Any, y: Any) -> Any:
    """Each row through the matrix that its label chooses."""
    out = np.zeros((len(x), 3))
    for e in range(3):
        m = y == e
        out[m] += np.abs(x[m, e])[:, None] * (x[m] @ np.cos(np.arange(3.0 * x.shape[1]) * (e + 1)).reshape(-1, 3))
    return out


def columns_of_rows(x: Any, y: Any) -> Any:
    m = y > 0
    rows = x[m]
    some, few, many, across = np.zeros_like(x), np.zeros((len(x), 2)), np.zeros_like(x), np.zeros_like(x.T)
    some[m] = rows[:, ::-1] * rows[:, 1][:, None]
    few[m] = rows[..., [2, 0]] + np.dot(rows, x[:2].T)
    many[m] = rows[:, np.arange(x.shape[1]) % 2] - rows.mean(0, keepdims=True)
    across[:, m] = x.T[:, m] * 2
    flat = x[x > 0]
    return some, few, many, across, rows[None].sum((0, 1)), rows[:, 2].T @ rows[:, 1], (flat - flat.mean(keepdims=True)).sum(), flat.sum()


@pytest.mark.parametrize("f", [naive_bayes, discriminants, experts, columns_of_rows])
def test_rows_of_a_class(f: Callable[..., Any]) -> None:
    for y in (LABELS, np.arange(len(X)) % 3):
        with np.errstate(all="ignore"):
            expected, got = irdl.tree.leaves(f(X, y)), irdl.tree.leaves(irdl.jit(f)(X, y))
        for a, b in zip(expected, got, strict=True):
            assert type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-14)


@pytest.mark.parametrize("f", [discriminants, experts, lambda x, y: [x[y == c].var(axis=0) for c in range(3)]])
def test_gradients_of_rows_of_a_class(f: Callable[..., Any]) -> None:
    irdl.testing.check(lambda x: f(x, np.arange(len(X)) % 3), X)


def test_what_is_left_out_spoils_no_product() -> None:
    """What a function gives where the mask does not hold may be infinite."""

    def f(x: Any) -> Any:
        rows = np.log(x[x[:, 0] > 0][:, 0] - 0.5)
        return rows @ rows

    x = np.array([[1.5, 0.0], [-1.0, 0.0], [2.5, 1.0]])
    irdl.testing.check(f, x)
