"""The functions that irdl has code of its own for, in units of the last place: a sample of all float32 here, every one with --slow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

import irdl


def reference_sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "exp": (np.exp, np.exp),
    "log": (np.log, np.log),
    "tanh": (np.tanh, np.tanh),
    "sigmoid": (special.expit, reference_sigmoid),
    "erf": (special.erf, special.erf),
    **{f.__name__: (f, f) for f in (np.sin, np.cos, np.exp2, np.expm1, np.log2, np.log10, np.log1p)},
    **{f.__name__: (f, f) for f in (np.sinh, np.cosh, np.arctan, np.arcsin, np.arccos, np.cbrt)},
}
INVERSE_HYPERBOLIC = {f.__name__: (f, f) for f in (np.arcsinh, np.arccosh, np.arctanh)}
SINGLE, DOUBLE = 3.0, 4.0
CHUNK = 1 << 20


def ulps(actual: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in units of the last place of the rounded exact value; inf where one is nan or infinite and the other not."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(actual.dtype)
        largest = np.finfo(actual.dtype).max
        unit = np.spacing(np.minimum(np.abs(rounded), largest)).astype(exact.dtype)
        error = np.abs(actual.astype(exact.dtype) - exact) / unit
    same = (actual == rounded) | (np.isnan(actual) & np.isnan(exact))
    error = np.where(same, np.where(np.isfinite(error), error, 0), error)
    # A result on either side of the overflow threshold is within one unit of it.
    return np.where(np.isnan(error), np.inf, error)


def worst(name: str, stride: int) -> float:
    function, reference = {**FUNCTIONS, **INVERSE_HYPERBOLIC}[name]
    compiled = irdl.jit(lambda x: function(x))
    most = 0.0
    for start in range(0, 1 << 32, CHUNK * stride):
        bits = np.arange(CHUNK, dtype=np.uint64) * stride + start
        x = bits[bits < 1 << 32].astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
        most = max(most, float(ulps(compiled(x), exact).max()))
    return most


@pytest.mark.parametrize("name", [*FUNCTIONS, *INVERSE_HYPERBOLIC])
def test_float32_sample(name: str) -> None:
    assert worst(name, 1021) <= SINGLE


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FUNCTIONS, *INVERSE_HYPERBOLIC])
def test_float32_all(name: str) -> None:
    error = worst(name, 1)
    print(f"{name}: {error:.2f} ULP over all float32")
    assert error <= SINGLE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64(name: str) -> None:
    function, _ = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.uniform(-40, 40, 100_000),
            rng.uniform(-800, 800, 20_000),
            rng.standard_normal(20_000) * 10.0 ** rng.uniform(-300, 300, 20_000),
            rng.uniform(0.5, 2, 100_000),
            *(edge * (1 + rng.uniform(-1e-3, 1e-3, 50_000)) for edge in (0.75, 1.5, 0.5**0.5, 2**0.5, 1.0)),
            np.arange(-200, 200) * np.pi / 2,
            [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7e308, -1.7e308, 709.78, 710.0, -745.2],
        ]
    )
    wide = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            exact = reference_sigmoid(wide)
        elif name == "erf":
            exact = np.array([math.erf(v) for v in x]).astype(np.longdouble)
        else:
            exact = FUNCTIONS[name][1](wide)
    assert ulps(irdl.jit(lambda x: function(x))(x), exact).max() <= DOUBLE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_reach_one_and_never_pass_it(dtype):
    x = np.concatenate([np.linspace(0, 50, 500_001), [700, 1e30, np.inf]]).astype(dtype)
    tanh, sigmoid = irdl.jit(lambda x: np.tanh(x))(x), irdl.jit(lambda x: special.expit(x))(x)
    for y, from_here in ((tanh, 20), (sigmoid, 40)):
        assert y.max() == 1 and (y[x > from_here] == 1).all()
    back = irdl.jit(lambda x: np.tanh(x))(-x)
    np.testing.assert_array_equal(back, -tanh)
    assert np.signbit(back).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalars_and_tails_agree_with_vectors(name: str) -> None:
    x = np.linspace(-5, 5, 64).astype(np.float32)
    function, _ = FUNCTIONS[name]
    f = irdl.jit(lambda x: function(x))
    with np.errstate(all="ignore"):
        whole = f(x)
        for n in (1, 3, 7, 8, 15, 16, 17, 33):
            np.testing.assert_array_max_ulp(f(x[:n]), whole[:n], 1)
            one = f(x[n])
            assert np.isnan(one) or abs(one - whole[n]) <= 2 * np.spacing(abs(whole[n]))


def test_powers_of_two_have_exact_logarithms():
    for dtype in (np.float32, np.float64):
        x = (2.0 ** np.arange(-126, 128)).astype(dtype)
        np.testing.assert_array_equal(irdl.jit(lambda x: np.log2(x))(x), np.log2(x))


def assert_close(found, f, *arguments, most):
    """Within `most` units of the last place, with NumPy's nans, infinities and signs of zeros."""
    with np.errstate(all="ignore"):
        exact, numpys = f(*(x.astype(np.longdouble) for x in arguments)), f(*arguments)
    wrong = np.signbit(found) != np.signbit(numpys)
    assert not (wrong & ~np.isnan(numpys)).any()
    error = ulps(found, exact)
    assert error.max() <= most, [x[error.argmax()] for x in (*arguments, found, numpys)]


SPECIAL = [0, 1, 2, 3, 7, 0.5, 1.5, np.inf, np.nan, 1e5, 2**24 + 1, 2**53 + 1, 1e-38, 1e-45, 1e38, 1e300, 5e-324, 1e-300]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["arctan2", "power"])
def test_two_operands(name: str, dtype: Any) -> None:
    f = getattr(np, name)
    compiled = irdl.jit(lambda x, y: f(x, y))
    rng = np.random.default_rng(0)
    reach, count = (36 if dtype == np.float32 else 300), 50_000
    with np.errstate(over="ignore"):
        ends = np.array([*SPECIAL, *(-v for v in SPECIAL)]).astype(dtype)
    wide = np.abs(rng.standard_normal(count)) * 10.0 ** rng.uniform(-reach, reach, count)
    near_one = 1 + rng.uniform(-1, 1, count) * 10.0 ** rng.uniform(-7 if dtype == np.float32 else -15, -1, count)
    near_one = near_one.astype(dtype).astype(np.float64)
    near_one[near_one == 1] = 2
    pairs = [
        [v.ravel() for v in np.meshgrid(ends, ends)],
        [rng.standard_normal(count), rng.standard_normal(count)],
        [rng.uniform(0, 3, count), rng.uniform(-30, 30, count)],
        [rng.uniform(-3, 3, count), rng.integers(-20, 20, count)],
        [wide, rng.uniform(-1, 1, count) * reach / np.maximum(np.abs(np.log10(wide)), 1e-3)],
        [near_one, rng.uniform(-1, 1, count) * reach * 2.3 / np.abs(np.log(near_one))],
        [wide, rng.permutation(wide) * rng.choice([-1, 1], count)],
    ]
    for x, y in pairs:
        x, y = x.astype(dtype), y.astype(dtype)
        assert_close(compiled(x, y), f, x, y, most=2)
        assert_close(compiled(x[:3], y[:3]), f, x[:3], y[:3], most=2)


def test_whole_powers_are_whole():
    base, exponent = (v.ravel().astype(np.float64) for v in np.meshgrid(np.arange(-9, 10), np.arange(0, 15)))
    found = irdl.jit(lambda x, y: x**y)(base, exponent)
    np.testing.assert_array_equal(found, np.array([float(int(b) ** int(e)) for b, e in zip(base, exponent, strict=True)]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_logarithms_are_whole(dtype: Any) -> None:
    x = 10.0 ** np.arange(11 if dtype == np.float32 else 23)
    np.testing.assert_array_equal(irdl.jit(lambda x: np.log10(x))(x.astype(dtype)), np.arange(len(x)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_roots_are_whole(dtype: Any) -> None:
    x = np.arange(-200, 201).astype(dtype)
    np.testing.assert_array_equal(irdl.jit(lambda x: np.cbrt(x))(x**3), x)


@pytest.mark.parametrize("name", ["arcsinh", "arccosh", "arctanh", "tan"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hyperbolic_functions_and_tan(name: str, dtype: Any) -> None:
    """Within 4 units in the last place, and NumPy's nans, infinities and signs of zeros."""
    f = getattr(np, name)
    rng = np.random.default_rng(0)
    special = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1,
        -1,
        1.0000002,
        0.9999999,
        2,
        -2,
        88.9,
        89.3,
        -89.3,
        709.9,
        710.3,
        1e30,
        -1e30,
        1e-30,
        -5579.0,
    ]
    x = np.concatenate([*(rng.standard_normal(20_000) * scale for scale in (1e-6, 0.1, 0.5, 1, 10, 100, 1e4)), special]).astype(dtype)
    with np.errstate(all="ignore"):
        exact, numpys, found = f(x.astype(np.longdouble)), f(x), irdl.jit(lambda x: f(x))(x)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(numpys))
        np.testing.assert_array_equal(np.isinf(found), np.isinf(numpys))
        np.testing.assert_array_equal(np.signbit(found[numpys == 0]), np.signbit(numpys[numpys == 0]))
        normal = np.isfinite(numpys) & (np.abs(numpys) > np.finfo(dtype).tiny)
        error = np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(numpys)).astype(np.longdouble)
    assert error[normal].max() < 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["fmod", "remainder", "floor_divide"])
def test_remainders_are_exact(name: str, dtype: Any) -> None:
    """Bit for bit NumPy's: whole multiples, just below and above them, huge quotients, and the ends."""
    f = getattr(np, name)
    compiled = irdl.jit(lambda x, y: f(x, y))
    rng, count = np.random.default_rng(0), 50_000
    y = (rng.standard_normal(count) * 10.0 ** rng.uniform(-6, 6, count)).astype(dtype)
    whole = (y * rng.integers(-1000, 1000, count).astype(dtype)).astype(dtype)
    with np.errstate(over="ignore"):
        ends = np.array([*SPECIAL, *(-v for v in SPECIAL)]).astype(dtype)
    pairs = [
        [v.ravel() for v in np.meshgrid(ends, ends)],
        [whole, y],
        [np.nextafter(whole, dtype(0)), y],
        [np.nextafter(whole, dtype(np.inf)), y],
        [(rng.standard_normal(count) * 10.0 ** rng.uniform(-30, 30, count)).astype(dtype), y],
        [rng.standard_normal(count).astype(dtype), rng.standard_normal(count).astype(dtype)],
    ]
    for a, b in pairs:
        with np.errstate(all="ignore"):
            expected = f(a, b)
        found = compiled(a, b)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[expected == 0]), np.signbit(expected[expected == 0]))
