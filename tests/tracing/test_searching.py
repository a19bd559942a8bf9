"""NumPy's functions that look numbers up, in few and in many, with ties, ends and nan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check
from tests.covering import covering

EXTENTS = [0, 1, 2, 5, 63, 64, 65, 128, 300]
DTYPES = ["float32", "float64", pytest.param("int16", marks=pytest.mark.slow), "uint8", "bool"]


def sorted_numbers(n: int, dtype: str) -> np.ndarray:
    """With ties."""
    x = np.sort(np.random.default_rng(n).integers(-20, 40, n) / 2)
    return np.sort(np.abs(x).astype(dtype) if dtype in ("uint8", "bool") else x.astype(dtype))


def wanted(table: np.ndarray, dtype: str) -> np.ndarray:
    """The table's numbers, their neighbours, and what lies beyond."""
    around = table.astype(np.float64)
    numbers = np.concatenate([around, around + 0.25, around - 0.25, [-1000, 1000, 0.5, 0, 1, 7]])
    if np.dtype(dtype).kind == "f":
        return np.concatenate([numbers, [np.nan, np.inf, -np.inf, -0.0]]).astype(dtype)
    return np.clip(numbers, 0 if dtype in ("uint8", "bool") else None, 200).astype(dtype)


@pytest.mark.parametrize(("n", "dtype"), covering(EXTENTS, DTYPES))
def test_searchsorted(n: int, dtype: str) -> None:
    a, v = sorted_numbers(n, dtype), wanted(sorted_numbers(n, dtype), dtype)

    def found(a: Any, v: Any) -> Any:
        few = np.searchsorted(a, v[:6].reshape(2, 3)), np.searchsorted(a, 2.5), np.searchsorted(a, v[0]), a.searchsorted(v)
        return *few, *(np.searchsorted(a, v, side) for side in ("left", "right"))

    check(found, a, v)
    order = np.random.default_rng(n).permutation(n)
    check(lambda a, v, s: (np.searchsorted(a, v, sorter=s), np.searchsorted(a, v[:0])), a[order], v, np.argsort(order))


@pytest.mark.parametrize("n", [3, 100])
def test_searchsorted_behind_nan_and_of_mixed_dtypes(n: int) -> None:
    a = np.concatenate([sorted_numbers(n, "float64"), [np.inf, np.nan, np.nan]])
    check(lambda a, v: [np.searchsorted(a, v, side) for side in ("left", "right")], a, wanted(a, "float64"))
    check(lambda a, v: [np.searchsorted(a, v, side) for side in ("left", "right")], a.astype(np.float32), wanted(a[:n], "float64"))
    check(lambda a, v: [np.searchsorted(a, v, side) for side in ("left", "right")], a[:n].astype(np.int32), wanted(a, "float32"))


@pytest.mark.parametrize(("n", "dtype"), covering(EXTENTS, DTYPES))
def test_digitize(n: int, dtype: str) -> None:
    bins, x = sorted_numbers(n, dtype), wanted(sorted_numbers(n, dtype), dtype)
    check(
        lambda x, b: (np.digitize(x, b), np.digitize(x, b, True), np.digitize(x, b[::-1]), np.digitize(x, b[::-1], right=True)),
        x,
        bins,
        grad=False,
    )
    check(lambda x: (np.digitize(x, [1, 2, 2, 5]), np.digitize(x[:6].reshape(3, 2), (3.0, 1.5)), np.digitize(x[0], [1.0])), x)


@pytest.mark.parametrize(("n", "dtype"), covering(EXTENTS[1:], DTYPES))
def test_interp(n: int, dtype: str) -> None:
    xp = np.cumsum(np.random.default_rng(n).uniform(0.1, 1, n)) - 3
    fp = np.random.default_rng(n).standard_normal(n).astype(np.float32)

    def found(x: Any, xp: Any, fp: Any, ties: Any) -> Any:
        all_of_them = np.interp(x, xp, fp), np.interp(x, xp, fp, -1.0, 2), np.interp(x, xp, fp, right=np.nan)
        some = np.interp(x[:6].reshape(2, 3), xp, fp), np.interp(x[0], xp, fp), np.interp(0.5, xp, fp)
        return all_of_them, some, np.interp(x, ties, fp, left=fp[0] * 2)

    check(found, wanted(xp, dtype), xp, fp, sorted_numbers(n, "float64"), grad=False)


@pytest.mark.parametrize("n", EXTENTS[1:])
def test_gradients_of_interp(n: int) -> None:
    xp = np.cumsum(np.random.default_rng(n).uniform(0.1, 1, n)) - 3
    fp = np.random.default_rng(n).standard_normal(n)
    check(np.interp, np.random.default_rng(1).uniform(-4, 1, (3, 7)), xp, fp)


def test_interp_of_what_is_infinite() -> None:
    xp, fp = np.array([-np.inf, 0.0, 1.0, np.inf]), np.array([1.0, 1.0, np.inf, np.inf])
    check(np.interp, np.array([-np.inf, -5, 0, 0.5, 1, 1.5, np.inf, np.nan]), xp, fp, grad=False)
    check(np.interp, np.array([0.0, 0.5, 1.0, 1.5, 2.0]), np.array([0.0, 1.0, 2.0]), np.array([1.0, -np.inf, np.inf]), grad=False)
    check(lambda x: np.interp(x, [0, 1, 2], [3, 1, 2]), np.array([0.25, 1.5]))


@pytest.mark.parametrize(("shape", "dtype"), covering([(), (1,), (40,), (0,), (3, 4)], DTYPES))
def test_isin(shape: tuple[int, ...], dtype: str) -> None:
    x = np.asarray(np.random.default_rng(0).integers(0, 8, shape)).astype(dtype)
    check(lambda x: (np.isin(x, [1, 3]), np.isin(x, 2), np.isin(x, x.dtype.type(1), invert=True), np.isin(x, [])), x, grad=False)
    check(lambda x, t: (np.isin(x, t), np.isin(t, x, assume_unique=False, invert=True)), x, np.arange(4).astype(dtype).reshape(2, 2))
    check(lambda x, t: (np.isin(x, t), np.isin(t, t[:70]), np.isin(x, t * 0.5)), x, np.arange(100).astype(dtype), grad=False)


def test_isin_many_with_nan() -> None:
    x, many = np.array([1, np.nan, 0, -0.0, 3.5, np.inf, -1]), np.concatenate([np.arange(90.0), [np.nan, -0.0, np.inf]])
    check(lambda x, t: (np.isin(x, t), np.isin(t, t, invert=True), np.isin(x.astype(np.float32), t)), x, many, grad=False)


def test_interp_with_a_period() -> None:
    rng = np.random.default_rng(0)
    x, xp, fp = rng.uniform(-20, 20, (3, 4)), rng.uniform(-9, 9, 12), rng.standard_normal(12)
    check(lambda x, xp, fp, p: (np.interp(x, xp, fp, period=5.0), np.interp(x, xp, fp, period=-p)), x, xp, fp, 5.5, grad=False)
    check(lambda x, xp, fp: np.interp(x, xp, fp, left=3, period=7), x, xp[:1], fp[:1], grad=False)
    check(lambda x, xp, fp: np.interp(x, xp, fp, period=50.0), x, xp, fp)
    with pytest.raises(ValueError, match=r"period.*test_searching"):
        irdl.jit(lambda x: np.interp(x, x, x, period=0))(xp)


@pytest.mark.parametrize(("bins", "dtype"), covering([1, 7, 63, 64, 200], ["float32", "float64", "int16", "uint8"]))
def test_histogram(bins: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(500) * 20).astype(dtype)
    w = rng.uniform(0, 1, 500)
    check(lambda x: (np.histogram(x, bins, (-10, 30)), np.histogram(x, bins, (0.0, 7.0), True)), x, grad=False)
    check(
        lambda x, w: (np.histogram(x.reshape(25, 20), bins, (-9, 30), weights=w.reshape(25, 20)), np.histogram(x[:0], bins, (0, 1))), x, w
    )
    check(lambda x, w: np.histogram(x, np.linspace(-8, 25, bins + 1), density=True, weights=w), x, w, grad=bins > 1)
    check(lambda x, b: np.histogram(x, b), x, np.sort(rng.integers(-8, 25, bins + 1)))


@pytest.mark.parametrize("dtype", ["int64", "int16", "uint8", "bool"])
def test_bincount(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, 50).astype(dtype)
    check(
        lambda x, w: (np.bincount(x, minlength=9), np.bincount(x, w, 20), np.bincount(x[:0]), np.bincount(x[:0], w[:0], 3)),
        x,
        np.cos(np.arange(50)),
    )
    for bad in (-1, 9):
        with pytest.raises((IndexError, ValueError)):
            irdl.jit(lambda x: np.bincount(x, minlength=9))(np.array([1, bad]))


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.searchsorted(x, x, "middle"), ValueError),
        (lambda x: np.searchsorted(x[None], x), ValueError),
        (lambda x: np.searchsorted(x[0], x), ValueError),
        (lambda x: np.digitize(x, [1, 3, 2]), ValueError),
        (lambda x: np.digitize(x, x[None]), ValueError),
        (lambda x: np.interp(x, x[:0], x[:0]), ValueError),
        (lambda x: np.interp(x, x[1:], x), ValueError),
        (lambda x: np.interp(x, x[None], x), ValueError),
        (lambda x: np.isin(x, x, kind="hash"), ValueError),
        (lambda x: np.histogram(x, [3, 1, 2]), ValueError),
        (lambda x: np.histogram(x, 3, (0, 1), weights=x[1:]), ValueError),
        (lambda x: np.histogram(x, 0, (0, 1)), ValueError),
        (lambda x: np.bincount(x), TypeError),
        (lambda x: np.bincount(x.astype(int)[None], minlength=9), ValueError),
        (lambda x: np.bincount(x.astype(int), minlength=-1), ValueError),
        (lambda x: np.bincount(x.astype(int), x[1:], 9), ValueError),
        (lambda x: np.histogram(x, 3, (1, 0)), ValueError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    for run in (f, irdl.jit(f)):
        with pytest.raises(error):
            run(np.arange(6.0))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.histogram(x, 4), "range"),
        (lambda x: np.bincount(x.astype(int)), "minlength"),
        (lambda x: np.histogram(x, "auto"), "number"),
    ],
)
def test_what_cannot_be_traced(f: Any, message: str) -> None:
    with pytest.raises(TraceError, match=rf"{message}.*test_searching"):
        irdl.jit(f)(np.arange(6.0))
