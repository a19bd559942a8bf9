"""NumPy's functions that arrange, turn, pad, insert and leave out, pick and store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check
from tests.covering import covering

DTYPES = ["float32", "float64", pytest.param("int16", marks=pytest.mark.slow), "uint8", "bool"]


def numbers(shape: Any, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    x = np.asarray(np.random.default_rng(seed).uniform(-3, 3, shape))
    return x > 0 if dtype == "bool" else np.abs(x).astype(dtype) if dtype == "uint8" else x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks(dtype: str) -> None:
    x, y = numbers((2, 3), dtype), numbers((2, 1), "float64")
    check(lambda x, y: (np.block([x, y]), np.block([[x, y], [y, x]]), np.block([[[x], [x]]]), np.block(x)), x, y)
    check(lambda x, y: (np.block([x[0], 1, y[0]]), np.block([[x[0]], [x[1]]]), np.block([x[None], x[None]]), np.block([1, x[0, 0]])), x, y)
    check(lambda x, y: (np.append(x, y), np.append(x, y, 1), np.append(x, [[1, 2, 3]], axis=0), np.append(x, 1.5)), x, y)
    check(lambda x: (np.dsplit(np.stack([x, x, x], 2), 3), np.dsplit(x[None], [1])), x)


def stored_through_a_turn(x: Any) -> Any:
    for k in range(-1, 4):
        np.rot90(x, k)[0] += k
    np.rot90(x, 2).reshape(-1)[1] = 7  # a copy
    return x, np.rot90(x, 5).ravel()


@pytest.mark.parametrize(("shape", "dtype"), covering([(3, 2), (4, 1, 3), (0, 2), (5, 7)], DTYPES))
def test_turns(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    check(lambda x: [(np.rot90(x, k), np.rot90(x, k, (1, 0)), np.rot90(x, k, axes=(-1, 0))) for k in range(-2, 5)], x)
    check(lambda x: (np.fft.fftshift(x), np.fft.fftshift(x, 0), np.fft.ifftshift(x), np.fft.ifftshift(x, axes=(1,))), x)
    check(lambda x: (np.resize(x, 5), np.resize(x, (2, 7)), np.resize(x, (0, 2)), np.diagflat(x[:2]), np.diagflat(x[:1], -1)), x)


def test_a_store_through_a_turn() -> None:
    check(stored_through_a_turn, numbers((3, 3)))


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (6,), (3, 4), (2, 1, 5)], DTYPES))
def test_padding(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    for mode in ("edge", "reflect", "symmetric", "wrap"):
        check(lambda x: (np.pad(x, (1, 3), mode=mode), np.pad(x, ((4, 0),) * x.ndim, mode), np.pad(x, 0, mode)), x, grad=dtype == "float64")
    check(lambda x: (np.pad(x, (2, 1)), np.pad(x, 2, constant_values=3), np.pad(x, (1, 2), constant_values=(1, 2))), x)
    check(lambda x: np.pad(x, ((2, 1),) * x.ndim, constant_values=[(i, 5) for i in range(x.ndim)]), x)
    check(lambda x: np.pad(x, (1, 1), constant_values=x.reshape(-1)[0]), x)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.2.0", reason="a dict of widths is of NumPy 2.2")
def test_padding_by_axis() -> None:
    check(lambda x: (np.pad(x, {0: 2, -1: (1, 0)}), np.pad(x, {1: (2, 1)}, "reflect")), numbers((3, 4)))


@pytest.mark.parametrize(("shape", "dtype"), covering([(6,), (5, 4), (5, 1, 5)], DTYPES))
def test_left_out_and_put_in(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    for axis in (0, -1):
        check(lambda x: (np.delete(x, 1, axis), np.delete(x, [0, -1], axis), np.delete(x, slice(1, 3), axis), np.delete(x, [], axis)), x)
        check(lambda x: (np.insert(x, 1, 7, axis), np.insert(x, [1], 0, axis), np.insert(x, -1, x[..., 0] if axis else x[0], axis)), x)
        check(lambda x: (np.insert(x, [3, 1, 1], 1, axis), np.insert(x, slice(0, 3), 2.0, axis), np.insert(x, [], 2, axis)), x)
    check(
        lambda x: (
            np.delete(x, np.arange(x.shape[0]) % 2 == 0, 0),
            np.delete(x, -2),
            np.insert(x, 2, [1, 0, 1]),
            np.insert(x, [0, 2], [0, 1]),
        ),
        x,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_picked(dtype: str) -> None:
    x, i = numbers((3, 4), dtype), np.array([[0, 2, 1, 0]] * 3)
    check(
        lambda x: (
            np.compress([1, 0, 1], x, 0),
            np.compress([True, False], x, axis=1),
            np.compress([0, 1, 1], x),
            x.compress([1, 0, 0], 0),
        ),
        x,
    )
    check(lambda x: (np.extract(np.arange(12).reshape(3, 4) % 3 == 0, x), np.extract([0, 1], x)), x)
    check(lambda x, i: (np.choose(i, [x, x[:1] * 2, 1]), np.choose(i[0, 1], [x[0, 0], x[0, 1], x[1, 0]])), x, i)
    check(
        lambda x, i: (np.choose(i - 1, x[:, 0], mode="wrap"), np.choose(i * 3 - 2, [x, 2, x], mode="clip"), np.choose(i > 0, [x, -1])), x, i
    )
    check(lambda x, i: i.choose([x, x, x]), x, i, grad=False)
    check(lambda x, i: np.choose(i, [x, x, x], out=np.zeros((3, 4), x.dtype)), x, i)


def test_piecewise() -> None:
    x = numbers((4, 5))
    check(lambda x: np.piecewise(x, [x < 0, x >= 1], [lambda x: -x, lambda x: x**2]), x)
    check(lambda x: np.piecewise(x, [x < 0, x >= 1], [lambda x, k: k * np.exp(x), 2, lambda x, k: x + k], 3.0), x)
    check(lambda x: (np.piecewise(x, [x > 0], [lambda x: x * 2, -1]), np.piecewise(x[0], x[0] > 0, [np.sin, np.cos])), x)
    check(lambda x: (np.piecewise(x[0, 0], x[0, 0] > 0, [lambda x: x * 2, -1.0]), np.piecewise(x[0, 0], [x[0, 0] > 9], [1, np.cos])), x)
    check(lambda x: np.piecewise(x, [x < 2], [5.7, lambda x: x]), np.arange(5), grad=False)


def stores(x: Any, m: Any, i: Any) -> Any:
    y = np.zeros_like(x)
    np.putmask(x, m, -x)
    np.putmask(x[:, 1], m[:, 0], 3)
    np.putmask(y, m, [1, 2, 3, 4, 5])
    np.place(y, ~m, 9)
    np.put(x, [0, -1, 3], y[0])
    np.put(y, i, [4, 5], mode="wrap")
    y.put(i[:2] % 3, x[0, 0])
    np.put(y[1], i, 2.5, "clip")
    return x, y


def diagonals(x: Any) -> Any:
    np.fill_diagonal(x, 5)
    np.fill_diagonal(x[:, ::-1], [1, 2])
    tall, cube = np.zeros((7, 3)), np.zeros((3, 3, 3))
    np.fill_diagonal(tall, x[0], wrap=True)
    np.fill_diagonal(cube, x[1, 0])
    np.fill_diagonal(cube[0, :2], x[1])
    wide = np.zeros((2, 5))
    np.fill_diagonal(wide, x[1, 1])
    return x, tall, cube, wide


def test_stores() -> None:
    x = numbers((3, 4))
    check(stores, x, x > 0.5, np.array([1, -2, 30, 7]))
    check(diagonals, x)
    check(lambda x: diagonals(x.T), x)


def test_places() -> None:
    i = np.array([[0, 5], [11, 7]])
    check(lambda i: (np.unravel_index(i, (3, 4)), np.unravel_index(i[1, 1], (2, 2, 3), "F"), np.unravel_index(i, 12)), i)
    check(lambda x: np.unravel_index(np.argmax(x), x.shape), numbers((3, 4, 5)))
    check(
        lambda i: (
            np.ravel_multi_index((i % 3, i // 3), (3, 4)),
            np.ravel_multi_index([i % 3, i], (3, 4), mode=("raise", "wrap"), order="F"),
        ),
        i,
    )
    check(lambda i: np.ravel_multi_index((i, i), (3, 4), mode="clip"), i)
    check(lambda x: (x[np.tril_indices_from(x)], x[np.triu_indices_from(x, 1)], x[np.diag_indices_from(x)]), numbers((4, 4)))
    for bad in (-1, 12):
        with pytest.raises((IndexError, ValueError)):
            irdl.jit(lambda i: np.unravel_index(i, (3, 4))[1])(np.array(bad))
        with pytest.raises((IndexError, ValueError)):
            irdl.jit(lambda i: np.choose(i, [1, 2, 3]))(np.array([bad]))
        with pytest.raises((IndexError, ValueError)):
            irdl.jit(lambda i: np.ravel_multi_index((i,), (5,)))(np.array([bad]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_others(dtype: str) -> None:
    x = numbers((3, 4), dtype)
    check(lambda x: (np.fix(x), np.isposinf(x), np.isneginf(x), np.isreal(x), np.iscomplex(x)), x)
    check(lambda x: (np.cumulative_sum(x, axis=0), np.cumulative_sum(x[0], include_initial=True), np.cumulative_sum(x[0, 0])), x)
    check(lambda x: (np.cumulative_prod(x, axis=-1, include_initial=True), np.cumulative_sum(x, axis=1, dtype=np.float64)), x)
    check(lambda x: (np.array_equiv(x, x[:1]), np.array_equiv(x, x[:2]), np.array_equiv(x[:1] * 0, 0)), x, grad=False)
    check(lambda x: (np.linspace(x, 5, 7), np.linspace(x[0, 0], x[0, 1], 4), np.linspace(0, x[0], 3, endpoint=False, axis=-1)), x[:2])
    check(
        lambda x: (np.linspace(x, x, 3), np.linspace(x[0], 2, 1), np.linspace(x[0], 2, 0), np.linspace(x[0, 0], 9, 5, dtype=int)),
        x,
        grad=False,
    )
    check(lambda x: (np.linspace(x[0], 2, 5, retstep=True), np.logspace(0, x[0] / 2, 4), np.logspace(x[0, 0], 1, 3, base=2.0)), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_along_an_axis(dtype: str) -> None:
    x = numbers((3, 4), dtype)
    check(lambda x: [np.apply_along_axis(lambda row, k: row * k - row[0], axis, x, 2) for axis in (0, 1, -1)], x)
    check(lambda x: [np.apply_along_axis(np.sum, axis, np.stack([x, x], 1)) for axis in range(3)], x)
    check(lambda x: [np.apply_along_axis(lambda row: row[:, None] * row, axis, x) for axis in range(2)], x)


def test_grids_of_indices() -> None:
    x, i = numbers((4, 5)), np.array([2, 0])
    check(lambda x, i: (x[np.ix_(i, [0, 3, 4])], np.ix_(i), x[np.ix_([True, False, True, True], i)]), x, i)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
def test_reduceat(dtype: str) -> None:
    x = numbers((6, 5), dtype)
    for ufunc in (np.add, np.maximum, np.multiply, np.logical_or):
        check(lambda x: (ufunc.reduceat(x, [0, 2, 3]), ufunc.reduceat(x, [4, 0, 2, 2], 1), ufunc.reduceat(x[0], [1])), x)
    check(lambda x: (np.add.reduceat(x, np.arange(3), axis=-1, dtype=np.float64), np.add.reduceat(x, [0, 3], out=np.zeros((2, 5)))), x)
    check(lambda x: np.add.reduceat(x, np.zeros(0, int)), x)


def in_place(x: Any) -> Any:
    row = np.nan_to_num(x[1], copy=False, nan=3.0)
    row[0] = 7
    return x


def test_nan_to_num_in_place() -> None:
    check(in_place, np.array([[1.0, np.nan], [np.nan, np.inf]]), grad=False)
    check(in_place, np.array([[1, 2], [3, 4]]))


def test_infinities() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, 1.5, -1.5])
    check(lambda x: (np.isposinf(x), np.isneginf(x), np.fix(x), np.isposinf(x, np.zeros(6, bool)), np.fix(x, np.zeros(6))), x, grad=False)


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.block([x, [x]]), ValueError),
        (lambda x: np.block([x, []]), ValueError),
        (lambda x: np.block((x, x)), TypeError),
        (lambda x: np.dsplit(x, 2), ValueError),
        (lambda x: np.rot90(x, 1, (0, 0)), ValueError),
        (lambda x: np.rot90(x, 1, (0, 1, 0)), ValueError),
        (lambda x: np.resize(x, -1), ValueError),
        (lambda x: np.pad(x, 1, "edge", constant_values=3), ValueError),
        (lambda x: np.pad(x, -1, "reflect"), ValueError),
        (lambda x: np.pad(x, 1.5), TypeError),
        (lambda x: np.delete(x, 7), IndexError),
        (lambda x: np.delete(x, 1, 2), np.exceptions.AxisError),
        (lambda x: np.insert(x, 7, 1), IndexError),
        (lambda x: np.insert(x, [[1]], 1), ValueError),
        (lambda x: np.compress([[1, 0]], x, 0), ValueError),
        (lambda x: np.compress([1, 0, 1], x, 0), IndexError),
        (lambda x: np.choose(x, [x, x]), TypeError),
        (lambda x: np.piecewise(x, [x > 0], [1, 2, 3]), ValueError),
        (lambda x: np.putmask(x, x[0] > 0, 1), ValueError),
        (lambda x: np.place(x, x[0] > 0, 1), ValueError),
        (lambda x: np.put(x, [9], 1), IndexError),
        (lambda x: np.fill_diagonal(x[0], 1), ValueError),
        (lambda x: np.fill_diagonal(np.stack([x, x, x]), 1), ValueError),
        (lambda x: np.unravel_index(x, (2, 3)), TypeError),
        (lambda x: np.ravel_multi_index((x.astype(int),), (2, 3)), ValueError),
        (lambda x: np.cumulative_sum(x), ValueError),
        (lambda x: np.linspace(x, 1, -1), ValueError),
        (lambda x: np.ix_(x), ValueError),
        (lambda x: np.apply_along_axis(np.sum, 2, x), np.exceptions.AxisError),
        (lambda x: np.apply_along_axis(np.sum, 1, x[:0]), ValueError),
        (lambda x: np.add.reduceat(x, [3]), IndexError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    for run in (f, irdl.jit(f)):
        with pytest.raises(error):
            run(np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.pad(x, 1, "mean"), "np.concatenate"),
        (lambda x: np.pad(x, 1, "reflect", reflect_type="odd"), "reflect_type"),
        (lambda x: np.delete(x, x[0].astype(int)), "static"),
        (lambda x: np.insert(x, x[0, 0].astype(int), 1), "static"),
        (lambda x: np.compress(x[0] > 0, x, 1), "np.where"),
        (lambda x: np.extract(x > 0, x), "np.where"),
        (lambda x: np.place(x, x > 0, [1, 2]), "one number"),
        (lambda x: np.put(x.T, [1], 2), "one piece"),
        (lambda x: np.logspace(1, 2, 3, base=x[0]), "np.linspace"),
        (lambda x: np.ix_(x[0] > 0), "static"),
        (lambda x: np.add.reduceat(x, x[0].astype(int)), "np.add.at"),
    ],
)
def test_what_cannot_be_traced(f: Any, message: str) -> None:
    with pytest.raises(TraceError, match=rf"{message}.*test_rearranging"):
        irdl.jit(f)(np.arange(6.0).reshape(2, 3))
