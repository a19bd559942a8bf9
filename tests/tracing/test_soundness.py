"""What NumPy does, or an error: code that a trace could follow in another way than NumPy without a word."""

from __future__ import annotations

import contextlib
import copy
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import linalg, special, stats

import irdl
from irdl.errors import TraceError
from irdl.testing import assert_close, check

X = np.arange(12.0).reshape(3, 4) / 4 - 0.75
BYTES = np.array([1, 7, 255], np.uint8)
SINGLES = np.array([0.5, -1.25], np.float32)


# Errors that the user's code catches.


def decides(x: Any) -> Any:
    try:
        if sorted([x.sum(), 0])[0] == 0:
            return x + 1
    except Exception:
        return x * 10
    return x


def suppresses(x: Any) -> Any:
    scale = 1.0
    with contextlib.suppress(TraceError, TypeError):
        scale = len(range(int(x[0, 0])))
    return x * scale


def looks_for_a_method(x: Any) -> Any:
    return x.sort() if hasattr(x, "sort") and getattr(x, "partition", None) is None else x * 2


def asks_for_what_boxes_lack(x: Any) -> Any:
    return x * 3 if getattr(x, "ctypes", None) is None else x


def hashes_a_number(x: Any) -> Any:
    try:
        return x * {1.0: 2.0}[x[0, 0]]
    except TypeError:
        return x
    except KeyError:
        return x * 5


def in_a_loop(x: Any) -> Any:
    def body(c: Any, row: Any) -> Any:
        try:
            return c + len(range(int(row[0]))), row
        except TraceError:
            return c, row

    return irdl.scan(body, 0.0, x)


def in_a_gradient(x: Any) -> Any:
    def loss(x: Any) -> Any:
        try:
            return x.sum() * len(range(int(x[0, 0])))
        except TraceError:
            return x.sum()

    return irdl.grad(loss)(x)


def stores_through_a_row(x: Any, i: Any) -> Any:
    y = x.copy()
    try:
        y[i] += 0  # a store that is traced
        row = y[i]
        row[0] = 7
    except ValueError:
        return y * 2
    return y


@pytest.mark.parametrize("f", [decides, suppresses, asks_for_what_boxes_lack, hashes_a_number, in_a_loop, in_a_gradient])
def test_a_caught_error_still_fails_the_trace(f: Any) -> None:
    with pytest.raises(TraceError):
        irdl.jit(f)(X)
    with pytest.raises(TraceError):
        irdl.trace(f)(X)


def test_a_store_through_a_row_is_not_lost() -> None:
    np.testing.assert_array_equal(irdl.jit(stores_through_a_row)(X, 1), stores_through_a_row(X, 1))


def test_errors_that_numpy_raises_too_may_be_caught() -> None:
    def f(x: Any) -> Any:
        try:
            return x.reshape(5, 5)
        except ValueError:
            pass
        try:
            return x[17]
        except IndexError:
            return x + 1

    check(f, X)


# Dtypes and values.


@pytest.mark.parametrize(
    "f",
    [
        lambda b, s: np.array([b[0], -1]),
        lambda b, s: np.array([s[0], 0.1]),
        lambda b, s: np.array([[s[0], 1], [2, b[0]]]),
        lambda b, s: np.array([b[0] > 0, True]),
        lambda b, s: (s == None, s != None, b == "x", s != "x", s[0] == None),  # noqa: E711
        lambda b, s: (b > 3) ** 2,
        lambda b, s: (np.average(b), np.average(s, weights=[1, 2]), np.average(s, weights=s + 2), np.average(b, 0, np.arange(3))),
        lambda b, s: (np.std(s[0]), np.var(s.sum()), np.mean(s[0]), np.std(b), np.sum(s[0], axis=0), np.max(s[0], axis=-1)),
        lambda b, s: (np.logical_and.reduce(b, initial=False), np.logical_or.reduce(b, initial=True), np.add.reduce(b, initial=5)),
        lambda b, s: (np.maximum.reduce(s, initial=9), np.multiply.reduce(s, initial=2.0), np.sum(b, initial=3)),
        lambda b, s: (np.max(s > 0, 0, initial=False), np.min(b > 3, initial=True, where=s[0] < b), (b > 3)[b > 2].max(initial=False)),
        lambda b, s: (np.maximum.accumulate(b > 3), np.minimum.accumulate(b > 3), np.maximum.reduce(s > 0, 0, initial=True)),
        lambda b, s: [np.sum(np.tile(b > 3, 100)[:n], dtype=bool) for n in (0, 1, 256)],
        lambda b, s: (np.cumsum(np.ones_like(b, shape=600), dtype=bool), np.cumprod(b > 3, dtype=bool), np.prod(b > 3, dtype=bool)),
        lambda b, s: (np.maximum.accumulate(b, dtype=float), np.minimum.accumulate(s, 0, np.float32), np.maximum.reduce(b, 0, np.int16)),
        lambda b, s: np.clip(s, 0, 1, dtype=np.float64),
        lambda b, s: (np.clip(b, 3, None), np.clip(s, None, np.float64(0.25)), np.clip(b, 2, 1)),
        lambda b, s: (
            b.astype(np.int8) < b.astype(np.uint64),
            b.astype(np.int32) == b.astype(np.uint64),
            b.astype(np.int16) >= np.uint64(1),
        ),
        lambda b, s: (np.repeat(s[0], 2, axis=0), np.repeat(np.tensordot(s, s, 1), 3, axis=-1)),
        lambda b, s: (np.tril(s), np.triu(s), np.tril(s, 1), np.triu(b, -1)),
        lambda b, s: (np.squeeze(s[0]), np.sum(np.float32(2) * s[0], axis=()), np.cumsum(s[0]), np.any(s[0], axis=0)),
        lambda b, s: (np.power(b, 2), b**2, s**2, np.float_power(s, 2), np.power(s, np.float64(2)), np.square(b > 1), s ** np.float32(3)),
    ],
)
def test_dtypes_and_values(f: Any) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(f, BYTES, SINGLES, grad=False)


@pytest.mark.parametrize("view", [lambda m: m[None], lambda m: m.reshape(1, 1), np.atleast_1d, np.ravel, lambda m: np.expand_dims(m, 0)])
def test_an_array_made_from_a_number_is_new(view: Any) -> None:
    def f(x: Any) -> Any:
        m = x.mean()
        r = view(m)
        r += 1
        return m, r

    check(f, X)


def test_add_at_takes_python_numbers() -> None:
    def f(b: Any) -> Any:
        b = b.copy()
        np.add.at(b, np.array([0, 0, 1]), 1)
        np.subtract.at(b, [1], 2)
        return b

    check(f, BYTES)


@pytest.mark.parametrize("function", ["logaddexp", "hypot"])
def test_second_derivatives_at_ties(function: str) -> None:
    f = getattr(np, function)
    x = np.array([0.7, 1.3])

    def slope(x: Any) -> Any:
        return irdl.grad(lambda x: f(x, np.array([0.7, 1.3])).sum())(x).sum()

    step = 1e-5
    expected = (
        irdl.grad(lambda x: f(x, np.array([0.7, 1.3])).sum())(x + step) - irdl.grad(lambda x: f(x, np.array([0.7, 1.3])).sum())(x - step)
    ) / (2 * step)
    np.testing.assert_allclose(irdl.grad(slope)(x), expected, rtol=1e-4)
    np.testing.assert_allclose(irdl.jit(irdl.grad(slope))(x), expected, rtol=1e-4)


# What NumPy refuses, and what it does not.


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.diff(x, axis=5), ValueError),
        (lambda x: np.diff(x, axis=-3), ValueError),
        (lambda x: np.sum(x, axis=[0]), TypeError),
        (lambda x: np.max(x, axis=[0]), TypeError),
        (lambda x: np.pad(x, 1.5), TypeError),
        (lambda x: np.pad(x, -1), ValueError),
        (lambda x: np.add(x, 1, out=np.zeros((3, 4)), where=np.ones((3, 4), int)), TypeError),
        (lambda x: np.sum(x, where=np.ones((3, 4), int)), TypeError),
        (lambda x: np.add(x, 1, out=np.zeros((3, 4), int), where=x > 0), TypeError),
        (lambda x: np.add(x, 0.5, casting="no", dtype=np.float32), TypeError),
        (lambda x: x.astype(np.int32, casting="safe"), TypeError),
        (lambda x: np.concatenate([x, x], dtype=np.int32), TypeError),
        (lambda x: np.concatenate([x, x], dtype=np.float32, casting="safe"), TypeError),
        (lambda x: np.copyto(np.zeros((3, 4), int), x), TypeError),
        (lambda x: np.split(x, 2, axis=4), IndexError),
        (lambda x: np.roll(x, 1, axis=2), ValueError),
        (lambda x: np.diagonal(x, axis1=0, axis2=2), ValueError),
        (lambda x: np.diagonal(x, axis1=1, axis2=1), ValueError),
        (lambda x: np.take_along_axis(x, np.zeros((1, 1), int), axis=2), ValueError),
        (lambda x: np.repeat(x, 2, axis=2), ValueError),
        (lambda x: np.swapaxes(x, 0, 2), ValueError),
        (lambda x: np.size(x, 3), IndexError),
        (lambda x: np.tensordot(x, x, ((0,), (4,))), IndexError),
        (lambda x: np.cumsum(x, axis=2), ValueError),
        (lambda x: np.stack([x, x], axis=4), ValueError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    with pytest.raises(error):
        f(X.copy())
    with pytest.raises((error, TraceError)):
        irdl.jit(f)(X)


def test_warnings_in_traced_code() -> None:
    def f(x: Any) -> Any:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(DeprecationWarning):
            check(f, X)


def test_an_argument_that_overlaps_itself() -> None:
    base = np.arange(5.0)
    windows = np.lib.stride_tricks.as_strided(base, (3, 3), (8, 8))
    check(lambda x: x * 2, windows)
    with pytest.raises(TraceError, match="overlap"):
        irdl.jit(lambda x: x.__iadd__(1))(windows)


def test_vmap_with_buffers() -> None:
    def f(row: Any) -> Any:
        out = np.zeros(2)
        out[0] = row.sum()
        return out

    np.testing.assert_allclose(irdl.vmap(f)(X), np.stack([f(row) for row in X]))
    np.testing.assert_allclose(irdl.jit(irdl.vmap(f))(X), np.stack([f(row) for row in X]))


# Loops, eager and traced.


@pytest.mark.parametrize(
    "body",
    [
        lambda c, x: np.stack([c, c]),
        lambda c, x: [c, x],
        lambda c, x: (np.concatenate([c, c]), x),
        lambda c, x: ((c, c), x),
        lambda c, x: c,
    ],
)
def test_eager_loops_refuse_what_traced_ones_refuse(body: Any) -> None:
    start = np.zeros(2)
    for run in (lambda: irdl.scan(body, start, X), lambda: irdl.jit(lambda x: irdl.scan(body, start, x))(X)):
        with pytest.raises(TraceError, match="scan"):
            run()


def test_loops_of_no_steps() -> None:
    def f(x: Any) -> Any:
        return irdl.scan(lambda c, row: (c + row, {"sum": row.sum()}), np.zeros(4, np.float32), x)

    check(f, X[:0], grad=False)
    check(f, X, grad=False)


# Objects.


class Layer:
    def __init__(self, w: Any) -> None:
        self.w = w
        self.last: Any = None
        self.history: list[Any] = []
        self.step = irdl.jit(self.f)

    def f(self, x: Any) -> Any:
        return x * self.w

    def loss(self, x: Any) -> Any:
        self.last = np.tanh(x * self.w)
        return self.last.sum()


def test_a_copied_objects_jitted_method_is_its_own() -> None:
    first = Layer(np.ones(4))
    assert_close(first.step(X), X)
    second = copy.deepcopy(first)
    second.w = second.w * 3
    assert_close(second.step(X), X * 3)
    assert_close(first.step(X), X)
    assert copy.deepcopy(irdl.jit(np.tanh)) is not None


def test_a_gradient_keeps_an_activation() -> None:
    layer = Layer(np.full(4, 0.5))
    gradient = irdl.grad(layer.loss)(X)
    np.testing.assert_allclose(gradient, 0.5 * (1 - np.tanh(X * 0.5) ** 2))
    assert type(layer.last) is np.ndarray
    np.testing.assert_allclose(layer.last, np.tanh(X * 0.5))
    layer.last = X
    compiled = irdl.jit(lambda x: irdl.grad(layer.loss)(x))
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(compiled(X * scale), 0.5 * (1 - np.tanh(X * scale * 0.5) ** 2))
        assert type(layer.last) is np.ndarray
        np.testing.assert_allclose(layer.last, np.tanh(X * scale * 0.5))


def imports_inside(x):
    import numpy as other
    from numpy import tanh, zeros

    return other.ones(3) + tanh(x) + zeros(3)


def of_known_arrays(x):
    """What has no rule is computed while tracing where nothing traced goes into it."""
    order = np.argsort(np.array([3, 1, 2]))
    kept = np.flatnonzero(np.arange(3) % 2 == 0)
    rows, columns = np.nonzero(np.eye(3))
    return x[order].sum() + x[kept] * 2 + np.linalg.inv(np.eye(2) * 2)[0, 0] + rows.sum() + columns[1]


def of_scipy(x):
    return stats.norm.pdf(0.3) * x + linalg.hilbert(3)[0] + special.roots_legendre(3)[0] + linalg.expm(np.zeros((3, 3)))[0]


@pytest.mark.parametrize("f", [imports_inside, of_known_arrays, of_scipy])
def test_known_values_are_computed_while_tracing(f):
    x = np.arange(3.0)
    np.testing.assert_allclose(irdl.jit(f)(x), f(x), rtol=1e-12)


def test_of_known_arrays_nothing_is_lost():
    """No gradient, and no store."""
    with pytest.raises(TraceError, match="cut a traced array off from its gradient"):
        irdl.grad(lambda x: np.i0(x)[0, 0])(np.eye(2))

    def stores(x):
        a, square = np.zeros(3), np.zeros((3, 3))
        np.put(a, [0], 1.0)
        np.putmask(a, np.array([False, True, False]), 2.0)
        np.place(a, np.array([False, False, True]), 3.0)
        np.fill_diagonal(square, 4.0)
        np.put_along_axis(square, np.array([[0], [0], [1]]), 5.0, 1)
        np.copyto(square[0], 6.0)
        return a + x + square

    check(stores, np.arange(3.0))
    with pytest.raises(ValueError, match="order must be"):
        irdl.jit(lambda x: np.zeros(3, order="Q") + x)(np.zeros(3))


TABLE = np.arange(6.0).reshape(3, 2)


def test_vmap_over_a_captured_table():
    np.testing.assert_array_equal(irdl.vmap(lambda i: TABLE[i])(np.array([2, 0])), TABLE[[2, 0]])
    closed = TABLE * 2

    def stores(i):
        closed[i] = 0.0
        return i

    with pytest.raises((TraceError, ValueError), match="read-only"):
        irdl.vmap(stores)(np.array([2, 0]))
    assert closed.sum() == TABLE.sum() * 2


def test_checkpoint_around_a_loop_of_unknown_length():
    f = irdl.checkpoint(lambda x: irdl.while_loop(lambda c: c.sum() < 10, lambda c: c + 1, x))
    np.testing.assert_array_equal(irdl.jit(f)(np.zeros(2)), f(np.zeros(2)))
    with pytest.raises(irdl.errors.DifferentiationError, match="while_loop"):
        irdl.jit(irdl.grad(lambda x: f(x).sum()))(np.zeros(2))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: np.rollaxis(a, 1),
        lambda a: np.array_split(a, 2)[0],
        lambda a: np.lib.stride_tricks.as_strided(a, (2,), (8,)),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, axis=0, writeable=True),
        lambda a: np.nan_to_num(a, copy=False),
    ],
)
def test_a_view_of_a_known_array_stays_one(view):
    """It is followed or refused; a store into it is never lost."""

    def f(x):
        a = np.zeros((3, 3))
        view(a)[...] = 7.0
        return a + x

    try:
        found = irdl.jit(f)(np.zeros((3, 3)))
    except (TraceError, ValueError):
        return
    np.testing.assert_array_equal(found, f(np.zeros((3, 3))))
