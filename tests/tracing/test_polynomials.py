"""Polynomials of traced coefficients, `np.polyfit` with all that it returns, and other functions that are compositions in NumPy, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import assert_close, check_gradient


def of_coefficients(p: Any, q: Any) -> Any:
    derived = [np.polyder(p), np.polyder(p, 2), np.polyder(q, 0), np.polyder(q[:1]), np.polyder(p, 9)]
    integrals = [np.polyint(p), np.polyint(p, 2), np.polyint(q, 2, 3), np.polyint(q, 2, [1, 2]), np.polyint(p, 0)]
    return derived, integrals, np.polyadd(p, q), np.polysub(p, q), np.polyadd(q, 1.0), np.polysub([1, 2, 3, 4, 5, 6, 7], p), np.poly(q)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_of_coefficients(dtype: str) -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.normal(size=5) * 4).astype(dtype), (rng.normal(size=3) * 4).astype(dtype)
    assert_close(irdl.jit(of_coefficients)(p, q), of_coefficients(p, q), ulps=16)
    if dtype == "float64":
        check_gradient(lambda p, q: of_coefficients(p, q)[1:], p, q)


def fits(x: Any, y: Any, w: Any) -> Any:
    plain = np.polyfit(x, y, 2), np.polyfit(x, y[:, 0], 3, w=w), np.polyfit(x, y, 0, rcond=1e-10)
    spread = np.polyfit(x, y, 2, cov=True), np.polyfit(x, y[:, 0], 2, cov=True), np.polyfit(x, y[:, 0], 1, w=w, cov="unscaled")
    return plain, spread, np.polyfit(x, y, 2, full=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fits(dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, y, w = np.linspace(-1, 2, 9).astype(dtype), rng.normal(size=(9, 2)).astype(dtype), rng.uniform(0.5, 2, 9).astype(dtype)
    found, expected = irdl.jit(fits)(x, y, w), fits(x, y, w)
    for one, other in zip(irdl.tree.flatten(found)[0], irdl.tree.flatten(expected)[0], strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_allclose(one, other, rtol=1e-10 if dtype == "float64" else 2e-4, atol=1e-10 if dtype == "float64" else 1e-4)
    if dtype == "float64":
        check_gradient(lambda x, y, w: (np.polyfit(x, y, 2), np.polyfit(x, y[:, 0], 1, w=w)), x, y, w)


def test_compositions() -> None:
    x = np.random.default_rng(2).uniform(0.1, 3, size=(3, 4))
    y = np.array([-(2**40), -1, 0, 1, 255, 2**62 + 5])

    def f(x: Any, y: Any) -> Any:
        spaced = np.geomspace(x[0, 0], x[1, 1], 5), np.geomspace(-x[0], -x[1], 4, endpoint=False, axis=1), np.geomspace(x[0, 0], 8, 1)
        over = np.apply_over_axes(np.sum, x, [0, -1]), np.apply_over_axes(np.max, x, 1), np.apply_over_axes(np.cumsum, x, (0,))
        logs = np.logaddexp2(x, x.T[:3, :1]), np.logaddexp2(x * 0 - np.inf, -np.inf)
        bits = [np.bitwise_count(y.astype(dtype)) for dtype in ("int64", "int32", "int8", "uint64", "uint16", "uint8")]
        return spaced, over, logs, bits

    assert_close(irdl.jit(f)(x, y), f(x, y), ulps=64)
    check_gradient(lambda x: f(x, y)[:2], x)
    check_gradient(lambda x: np.logaddexp2(x, x[:1]), x)


def test_lowest_power_first() -> None:
    polyval = np.polynomial.polynomial.polyval
    x, c = np.random.default_rng(4).normal(size=(2, 3, 4))

    def f(x: Any, c: Any) -> Any:
        columns = polyval(x, c), polyval(x[0], c[:, 0]), polyval(x[0], c, tensor=False), polyval(2.0, c[0])
        return (
            columns,
            polyval(x.astype(np.float32), [1, 2, 3]),
            np.fromfunction(lambda i, j: i * x + j, (3, 4)),
            np.fromfunction(np.add, (2, 2)),
        )

    assert_close(irdl.jit(f)(x, c), f(x, c), ulps=64)


def test_index_lists() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 3, 3))

    def f(x: Any, y: Any) -> Any:
        products = np.einsum(x, [0, 1], y, [1, 2], [0, 2]), np.einsum(x, [5, 1], y, [1, 30]), np.einsum(x, [2, 0]), np.einsum(x, [0, 0])
        return products, np.einsum(x, [..., 1], y, [1, 2], [..., 2]), np.einsum(x, [0, 0], [0]), np.einsum(x, [0, 1], [])

    assert_close(irdl.jit(f)(x, y), f(x, y), ulps=64)
    with pytest.raises(ValueError, match=r"valid range \[0, 52\).*test_polynomials"):
        irdl.jit(lambda x: np.einsum(x, [0, 99]))(x)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda p: np.roots(p), "find them outside"),
        (lambda p: np.polymul(p, p), "np.convolve"),
        (lambda p: np.polydiv(p, p), "as a loop"),
        (lambda p: np.trim_zeros(p), "how many zeros"),
        (lambda p: np.flatnonzero(p), "np.where"),
        (lambda p: np.argwhere(p), "np.where"),
        (lambda p: np.histogram2d(p, p), "np.bincount"),
        (lambda p: np.ldexp(p, 2), r"2\.0 \*\* n"),
        (lambda p: np.nextafter(p, 2.0), "eps"),
        (lambda p: np.gcd(p.astype(int), 2), "Euclid"),
        (lambda p: np.poly(p[:, None] * p), "eigenvalues"),
    ],
)
def test_what_to_write_instead(f: Any, message: str) -> None:
    with pytest.raises(TraceError, match=rf"{message}.*test_polynomials"):
        irdl.trace(f)(np.ones(3))


def test_errors() -> None:
    p = np.arange(4.0)
    for f in (
        lambda p: np.polyder(p, -1),
        lambda p: np.polyint(p, -1),
        lambda p: np.polyint(p, 3, [1, 2]),
        lambda p: np.polyfit(p, p, -1),
        lambda p: np.polyfit(p, p[:2], 1),
        lambda p: np.polyfit(p[:, None], p, 1),
        lambda p: np.polyfit(p, p, 1, w=p[:2]),
        lambda p: np.polyfit(p, p, 3, cov=True),
        lambda p: np.apply_over_axes(lambda a, axis: a[0, 0, ...], p[:, None, None], 0),
    ):
        with pytest.raises(Exception) as expected:
            f(p)
        with pytest.raises(expected.type, match="test_polynomials"):
            irdl.trace(f)(p)
