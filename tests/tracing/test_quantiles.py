"""Medians, percentiles and quantiles by every method, with nan and without, of floats, integers and bools."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check
from tests.covering import covering

METHODS = [
    "inverted_cdf",
    "averaged_inverted_cdf",
    "closest_observation",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "linear",
    "median_unbiased",
    "normal_unbiased",
    "lower",
    "higher",
    "midpoint",
    "nearest",
]
TAKING = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """NumPy warns of lines that are nan alone, or empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def numbers(shape: Any, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.5 if dtype == "bool" else (rng.uniform(0, 9, shape) - 3 * (dtype[0] == "f")).astype(dtype)


def with_nan(shape: Any, dtype: str = "float64") -> np.ndarray:
    """A line with one nan, one of nothing else, and others without."""
    x = numbers(shape, dtype)
    x.reshape(-1)[x.size // 2] = np.nan
    x[-1] = np.nan  # of the first, NumPy takes the dtype of all
    return x


@pytest.mark.parametrize(
    ("shape", "dtype"),
    covering(
        [(), (1,), (2,), (7,), (130,), (4, 5), (2, 3, 6), (3, 1), (0, 3), (3, 0)], ["float32", "float64", "int32", "uint8", "bool"], every=2
    ),
)
def test_medians(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    axes = [axis for axis in (0, -1, (0, -1), tuple(range(x.ndim))) if x.ndim > (1 if axis == (0, -1) else 0)]
    for median in (np.median, np.nanmedian):
        check(lambda x, median=median: (median(x), median(x, keepdims=True)), x, grad=dtype == "float64" and x.size < 100)
        check(lambda x, median=median: [(median(x, axis), median(x, axis=axis, keepdims=True)) for axis in axes], x, grad=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_medians_of_nan(dtype: str) -> None:
    x = with_nan((4, 6), dtype)
    for axis in (None, 0, 1):
        check(lambda x, axis=axis: (np.median(x, axis), np.nanmedian(x, axis), np.nanmedian(x, axis, keepdims=True)), x, grad=False)
    few = np.array([[1.0, np.nan, 3.0, 7.0], [np.nan, 2.0, np.nan, 5.0]])
    gradient = irdl.jit(irdl.grad(lambda x: np.sum(np.nanmedian(x, 1))))(few)
    np.testing.assert_array_equal(gradient, [[0, 0, 1, 0], [0, 0.5, 0, 0.5]])
    huge = np.array([1.5e308, 1.6e308, 1.7e308])
    check(lambda x: (np.nanmedian(x), np.median(x), np.median(np.array([np.inf, -np.inf, 1.0]) * x[0])), huge, grad=False)


@pytest.mark.parametrize(("method", "dtype"), covering(METHODS, ["float32", "float64", "int32"]))
def test_methods(method: str, dtype: str) -> None:
    wanted = (0.3, 0.0, 1.0, 1, [0, 0.25, 0.5, 1.0], (0, 1), np.float32(0.7), np.array([[0.1, 0.2], [0.3, 0.9]]), [])
    percents = (30, 99.5, [0, 100, 7], np.array([12.5, 50], np.float32))

    def found(x: Any) -> Any:
        of_lines = [np.percentile(x, q, 1, method=method, keepdims=True) for q in percents]
        return [np.quantile(x, q, method=method) for q in wanted], of_lines, [np.nanpercentile(x, q, method=method) for q in percents]

    check(found, numbers((4, 7), dtype), grad=False)
    check(found, numbers((5, 1), dtype), grad=False)


@pytest.mark.parametrize(("method", "dtype"), covering(METHODS, ["float32", "float64"]))
def test_methods_with_nan(method: str, dtype: str) -> None:
    wanted = (0.3, 1.0, [0, 0.25, 0.5, 1.0], np.float32(0.7), np.array([[0.1, 0.2], [0.3, 0.9]]))
    x = with_nan((4, 7), dtype)
    check(lambda x: [np.nanquantile(x, q, 1, method=method, keepdims=True) for q in wanted], x, grad=False)
    check(lambda x: [(np.quantile(x, q, 1, method=method), np.nanquantile(x, q, (0, 1), method=method)) for q in wanted[:3]], x, grad=False)


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_that_are_arguments(method: str) -> None:
    x = numbers((3, 6))
    check(
        lambda x, q: (np.quantile(x, q, 1, method=method), np.nanquantile(x, q, method=method)), x, np.array([0.1, 0.5, 0.75]), grad=False
    )
    check(lambda x, q: (np.quantile(x, q, method=method), np.percentile(x, q * 100, 0, method=method)), x, 0.35, grad=False)
    check(lambda x, q: np.quantile(x.astype(np.float32), q, method=method), x, 0.35, grad=False)


def test_gradients() -> None:
    x = numbers((5, 6))
    for method in METHODS:
        check(lambda x, method=method: (np.quantile(x, [0.15, 0.6], 1, method=method), np.nanquantile(x, 0.4, 0, method=method)), x)
    check(lambda x: np.percentile(x, np.array([11.0, 52.0, 93.0])) * np.cos(np.arange(3.0)), x)


@pytest.mark.parametrize("method", TAKING)
def test_bools_and_small_integers(method: str) -> None:
    for dtype in ("bool", "uint8", "int8"):
        check(lambda x: np.quantile(x, [0.1, 0.5, 0.9], 0, method=method), numbers((6, 3), dtype), grad=False)
    check(lambda x: (np.percentile(x, 40, 1), np.quantile(x, 0.9)), numbers((6, 3), "uint8"), grad=False)


def test_empty_lines_between() -> None:
    check(lambda x: (np.quantile(x, 0.5, 0), np.quantile(x, [0.5, 0.1], 0), np.nanquantile(x, [0.5, 0.1], 0)), np.zeros((3, 0)), grad=False)
    check(lambda x: (np.nanquantile(x, 0.5, 1), np.nanmedian(x, 1), np.median(x, 1)), np.zeros((3, 0)), grad=False)


def test_into_what_there_is() -> None:
    def stored(x: np.ndarray) -> Any:
        out, row = np.zeros_like(x, shape=()), np.zeros_like(x, shape=6)
        np.median(x, out=out)
        result = np.median(x, 0, row)
        np.quantile(x, 0.3, 0, out=row[:])
        return out, result, np.percentile(x.copy(), 20, 1, overwrite_input=True)

    check(stored, numbers((5, 6)), grad=False)


def test_vmap_and_forward_mode() -> None:
    x = numbers((4, 9))
    np.testing.assert_allclose(irdl.jit(irdl.vmap(lambda row: np.quantile(row, [0.2, 0.8])))(x), np.quantile(x, [0.2, 0.8], 1).T)
    _, tangent = irdl.jvp(np.median, (x[0],), (np.arange(9.0),))
    assert tangent == np.argsort(x[0])[4]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.quantile(x, 1.5),
        lambda x: np.quantile(x, [0.5, -0.1]),
        lambda x: np.quantile(x, np.nan),
        lambda x: np.percentile(x, 101),
        lambda x: np.nanpercentile(x, -1),
        lambda x: np.quantile(x, [[[0.5]]]),
        lambda x: np.quantile(x, 0.5, method="bogo"),
        lambda x: np.quantile(x, 0.5, axis=2),
        lambda x: np.median(x, (0, 0)),
        lambda x: np.median(x, 3),
        lambda x: np.quantile(x[:0], 0.5, 0),
        lambda x: np.quantile(x > 0, 0.5),
    ],
)
def test_errors_are_numpys(f: Any) -> None:
    x = numbers((2, 3))
    with pytest.raises(Exception) as expected:
        f(x)
    with pytest.raises(expected.type, match="test_quantiles"):
        irdl.jit(f)(x)


def test_what_is_refused() -> None:
    with pytest.raises(TraceError, match=r"weights= cannot be traced.*test_quantiles"):
        irdl.jit(lambda x: np.quantile(x, 0.5, weights=x, method="inverted_cdf"))(np.arange(3.0))
    for f in (np.quantile, np.nanquantile):
        with pytest.raises(IndexError, match="test_quantiles"):
            irdl.jit(lambda x, q, f=f: f(x, q))(np.arange(3.0), np.array([0.5, 1.25]))
        with pytest.raises(IndexError):
            irdl.jit(lambda x, q, f=f: f(x, q, method="lower"))(np.arange(3.0), -0.25)
