"""NumPy's functions of sequences: convolutions, differences, integrals and polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check
from tests.covering import covering

DTYPES = ["float32", "float64", "int16", "uint8", "bool"]


def numbers(shape: Any, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-3, 3, shape)
    return x > 0 if dtype == "bool" else np.abs(x).astype(dtype) if dtype == "uint8" else x.astype(dtype)


@pytest.mark.parametrize("dtypes", [*zip(DTYPES, DTYPES, strict=True), ("float32", "int16"), ("bool", "float32"), ("uint8", "int16")])
@pytest.mark.parametrize("extents", [(1, 1), (1, 6), (9, 4), (8, 8), (300, 17)], ids=str)
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
def test_convolutions(function: Any, extents: tuple[int, int], dtypes: tuple[str, str]) -> None:
    x, y = (numbers(n, dtype, n) for n, dtype in zip(extents, dtypes, strict=True))
    check(lambda x, y: [function(x, y, mode) for mode in ("valid", "same", "full", 0, 1, 2)], x, y, grad=dtypes == ("float64",) * 2)


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (7,), (0,), (2, 5), (3, 0, 4), (3, 4, 2)], DTYPES))
def test_differences(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    for axis in {0, -1}:
        check(lambda x: (np.diff(x, axis=axis), np.diff(x, 2, axis), np.diff(x, axis=axis, prepend=x, append=x)), x)
        check(lambda x: (np.diff(x, axis=axis, prepend=x.dtype.type(0)), np.diff(x, 3, axis, append=2.5)), x)
    if dtype != "bool":
        check(lambda x: (np.ediff1d(x), np.ediff1d(x, x[:1], x[1:3]), np.ediff1d(x, to_begin=x.dtype.type(3))), x)


@pytest.mark.parametrize(("shape", "dtype"), covering([(3,), (2,), (17,), (3, 4), (5, 3, 8)], ["float32", "float64", "int16", "uint8"]))
def test_gradients_of_samples(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    places = [np.cumsum(numbers(n, "float64", n) ** 2 + 0.5) for n in shape]
    check(lambda x: (np.gradient(x), np.gradient(x, 0.5, axis=-1), np.gradient(x, *range(2, 2 + x.ndim))), x)
    check(lambda x, p: (np.gradient(x, *p), np.gradient(x, p[-1], axis=-1), np.gradient(x, p[0][0], axis=())), x, places)
    check(lambda x: np.gradient(x, np.arange(x.shape[0]), axis=0), x)
    if min(shape) > 2:
        check(lambda x, p: (np.gradient(x, edge_order=2), np.gradient(x, *p, edge_order=2)), x, places)
        check(lambda x: np.gradient(x, np.arange(x.shape[0]), axis=(0,), edge_order=2), x)


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (9,), (0,), (2, 5), (3, 4, 2)], DTYPES))
def test_integrals(shape: tuple[int, ...], dtype: str) -> None:
    x, places = numbers(shape, dtype), numbers(shape, "float64", 1)
    for axis in {0, -1}:
        check(lambda x, p: (np.trapezoid(x, axis=axis), np.trapezoid(x, dx=0.25, axis=axis), np.trapezoid(x, p, axis=axis)), x, places)
        check(lambda x, p: np.trapezoid(x, p, axis=axis), x, np.sort(numbers(shape[axis], "float64", 2)))


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (40,), (0,), (2, 30), (20, 2)], ["float32", "float64", "int16", "int64"]))
def test_unwrap(shape: tuple[int, ...], dtype: str) -> None:
    x = (numbers(shape) * 5).astype(dtype)
    for axis in {0, -1}:
        check(lambda x: (np.unwrap(x, axis=axis), np.unwrap(x, 4.0, axis, period=5.0), np.unwrap(x, axis=axis, period=6.5)), x)
        check(lambda x: (np.unwrap(x, axis=axis, period=6), np.unwrap(x, axis=axis, period=7)), x)
    halves = np.array([0, 3, 0, -3, 0, 6, 12, 9]).astype(dtype)
    check(lambda x: (np.unwrap(x, period=6), np.unwrap(x, period=3)), halves, grad=False)


@pytest.mark.parametrize(("shape", "dtype"), covering([(), (1,), (9,), (0, 3), (2, 5)], DTYPES))
def test_polynomials(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    x.reshape(-1)[:1] = 0
    check(lambda x, p: (np.polyval(p, x), np.polyval([1, 2.5, -3], x), np.polyval([2, 1], x), np.sinc(x)), x, numbers(4))
    check(lambda x: (np.polyval(x, 2.0), np.polyval(x, x[:1, ...])), np.atleast_1d(x))
    if len(shape) == 1:
        check(lambda x: (np.vander(x), np.vander(x, 4), np.vander(x, 1), np.vander(x, 0), np.vander(x, 5, True)), x)
        check(lambda x: np.vander(x, 3, increasing=True)[:, ::-1].ravel(), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_numbers(dtype: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5, 3.0, 1e-30, 1e30], dtype)
    check(lambda x: (*np.modf(x), np.sinc(x), np.polyval([1.0, 2.0], x), np.diff(x), np.trapezoid(x)), x, grad=False)
    check(lambda x: [np.signbit(part) for part in np.modf(x)], x, grad=False)
    check(lambda x: np.modf(x)[0] * 2 + np.modf(x)[1], x[5:7])
    check(np.modf, np.arange(3))


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.convolve(x, x[:0]), ValueError),
        (lambda x: np.convolve(x[None], x), ValueError),
        (lambda x: np.correlate(x, x[0]), ValueError),
        (lambda x: np.correlate(x, x, "other"), ValueError),
        (lambda x: np.diff(x, -1), ValueError),
        (lambda x: np.diff(x[0]), ValueError),
        (lambda x: np.diff(x, axis=1), np.exceptions.AxisError),
        (lambda x: np.ediff1d(x > 0), TypeError),
        (lambda x: np.ediff1d(x.astype(int), to_end=0.5), TypeError),
        (lambda x: np.gradient(x, x, x), TypeError),
        (lambda x: np.gradient(x, x[:2]), ValueError),
        (lambda x: np.gradient(x, edge_order=3), ValueError),
        (lambda x: np.gradient(x[:1]), ValueError),
        (lambda x: np.vander(x[None]), ValueError),
        (lambda x: np.trapezoid(x, axis=1), IndexError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    for run in (f, irdl.jit(f)):
        with pytest.raises(error):
            run(np.arange(6.0))


def test_what_cannot_be_traced() -> None:
    with pytest.raises(TraceError, match="test_signals"):
        irdl.jit(lambda x: np.polyval(x, np.poly1d([1, 2])))(np.arange(3.0))
