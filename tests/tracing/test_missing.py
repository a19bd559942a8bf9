"""NumPy's functions that leave nan out, and means and variances of what `where` picks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.testing import check
from tests.covering import covering

SHAPES = [(1,), (7,), (5, 3), (2, 3, 17), (4, 130)]
REDUCTIONS = [np.nansum, np.nanprod, np.nanmax, np.nanmin, np.nanmean, np.nanvar, np.nanstd]


def numbers(shape: tuple[int, ...], dtype: str, part: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    x = rng.uniform(-2, 2, shape)
    if np.dtype(dtype).kind == "f":
        x[rng.random(shape) < part] = np.nan
    return (x > 0) if dtype == "bool" else x.astype(dtype)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, ["float32", "float64", "int16", "uint8", "bool"]))
def test_reductions(shape: tuple[int, ...], dtype: str) -> None:
    axes = tuple(range(len(shape)))
    x = numbers(shape, dtype)
    check(lambda x: [(function(x), function(x, 0, keepdims=True)) for function in REDUCTIONS], x, grad=False)
    check(lambda x: [(function(x, axis=-1), function(x, axis=axes, keepdims=True)) for function in REDUCTIONS], x, grad=False)


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, ["float32", "float64", "int16", "uint8", "bool"]))
def test_places(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    first = numbers(shape, dtype, 0.0)
    x[..., 0], x[0] = first[..., 0], first[0]  # no slice is nan alone
    check(lambda x: [(f(x), f(x, 0), f(x, -1, keepdims=True), f(x, keepdims=True)) for f in (np.nanargmax, np.nanargmin)], x)


def test_with_options() -> None:
    x, mask = numbers((5, 6), "float64"), np.arange(30).reshape(5, 6) % 3 > 0
    x[0] = np.nan
    with pytest.warns(RuntimeWarning), np.errstate(all="ignore"):
        check(lambda x, m: (np.nansum(x, 1, where=m, initial=2.0), np.nanprod(x, 0, np.float64), np.nanmean(x, 1, where=m)), x, mask)
        check(
            lambda x, m: (np.nanvar(x, 1, ddof=2), np.nanstd(x, 0, where=m, correction=1), np.nanvar(x, 0, mean=x[1])), x, mask, grad=False
        )
        check(lambda x, m: (np.nanmax(x, 1), np.nanmin(x, 1, initial=-1.0, where=m), np.nanmax(x, 1, initial=np.nan)), x, mask)
        check(lambda x, m: (np.nanmax(x[:0], 0, initial=1.0), np.nanmax(x, where=m, initial=-9.0, keepdims=True)), x, mask)
        check(lambda x: (np.nancumsum(x), np.nancumsum(x, 1), np.nancumprod(x, 0)), x)
        check(lambda x: (np.nanprod(x, 0, np.float32), np.nancumprod(x, 0, np.float32)), x, grad=False)


def into(x: Any) -> Any:
    out, places = np.zeros(5), np.zeros(5, int)
    np.nanmean(x, axis=1, out=out)
    out[:] += np.nansum(x, 1) + np.nanmax(x, 1, out=np.zeros(5)) + np.nanvar(x, 1, out=np.zeros(5)) + np.nanstd(x, 1, out=np.zeros(5))
    np.nanargmin(x, axis=1, out=places)
    return out, places, np.nancumsum(x, 1, out=np.zeros((5, 4)))


def into_wider(x: Any) -> Any:
    """What is summed is summed in the type of out."""
    results = [np.zeros(5) for _ in range(5)]
    np.sum(x, 1, out=results[0])
    np.mean(x, 1, out=results[1])
    np.cumsum(x[:, 0], out=results[2])
    np.nansum(x, 1, out=results[3])
    np.add.reduce(x, 1, out=results[4])
    return results


def test_out() -> None:
    check(into_wider, numbers((5, 40), "float32", 0.0), grad=False)
    x = numbers((5, 4), "float64", 0.0)
    x[::2, 1] = np.nan
    check(into, x)


@pytest.mark.parametrize("function", [np.nansum, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanprod, np.nancumsum])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_gradients_pass_nan_by(function: Any, axis: Any) -> None:
    x = numbers((9, 8), "float64", 0.2)
    check(lambda x: function(x, axis=axis), x, grad=False)
    gradient = irdl.jit(irdl.grad(lambda x: np.sum(function(x, axis=axis) * 1.5)))(x)
    step = np.zeros_like(x)
    for place in ((0, 0), (3, 2), (8, 7)):
        step[...] = 0
        step[place] = 1e-6
        differences = np.sum(function(x + step, axis=axis) * 1.5) - np.sum(function(x - step, axis=axis) * 1.5)
        np.testing.assert_allclose(gradient[place], differences / 2e-6, rtol=1e-5, atol=1e-7)
    assert not gradient[np.isnan(x)].any()


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, ["float32", "float64", "int32", "bool"]))
def test_means_of_what_where_picks(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype, 0.0)
    mask = np.random.default_rng(0).random(shape) < 0.7
    mask[..., :1] = True
    for axis in (None, -1):
        check(lambda x, m: (x.mean(axis, where=m), np.mean(x, axis, where=m, keepdims=True)), x, mask, grad=False)
        check(lambda x, m: (x.var(axis, where=m), np.std(x, axis, where=m, keepdims=True)), x, mask, grad=False)
        check(lambda x, m: np.var(x, axis, mean=x.mean(axis, keepdims=True), where=m), x, mask, grad=False)
    check(lambda x: np.mean(x, where=x > 0), numbers((30,), "float64", 0.0))
    check(lambda x: np.var(x, where=x > 0, correction=1), numbers((30,), "float64", 0.0))


@pytest.mark.parametrize(
    ("f", "error"),
    [
        (lambda x: np.nanmean(x, dtype=int), TypeError),
        (lambda x: np.nansum(x, axis=2), np.exceptions.AxisError),
        (lambda x: np.nanmax(x[:0]), ValueError),
        (lambda x: np.nanmax(x, where=x > 0), ValueError),
        (lambda x: np.nanargmax(x[:0]), ValueError),
        (lambda x: np.nanvar(x, ddof=1, correction=1), ValueError),
        (lambda x: np.var(x, ddof=1, correction=1), ValueError),
        (lambda x: np.nanmean(x, foo=1), TypeError),
    ],
)
def test_refused_as_numpy_refuses(f: Any, error: type) -> None:
    for run in (f, irdl.jit(f)):
        with pytest.raises(error):
            run(np.arange(6.0).reshape(2, 3))
