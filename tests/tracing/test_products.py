"""Products of truth values, rolls by traced shifts, and numbers that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl

_random = np.random.default_rng(0)
A, B, V = _random.random((5, 7)) > 0.6, _random.random((7, 4)) > 0.6, _random.random(7) > 0.5


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b, v: a @ b,
        lambda a, b, v: a @ v,
        lambda a, b, v: v @ v,
        lambda a, b, v: a.dot(b),
        lambda a, b, v: np.inner(a, a),
        lambda a, b, v: np.inner(v[0], v),
        lambda a, b, v: np.outer(v, v),
        lambda a, b, v: np.tensordot(a, b, 1),
        lambda a, b, v: np.vecdot(a, v),
        lambda a, b, v: np.einsum("ij->i", a),
        lambda a, b, v: np.einsum("ii", a[:, :5]),
        lambda a, b, v: np.einsum("ij,jk,k->i", a, b, b[0]),
        lambda a, b, v: np.linalg.matrix_power(a[:, :5], 3),
        lambda a, b, v: a @ b.astype(int),
    ],
)
def test_products_of_truth_values(f: Any) -> None:
    """They hold where any of what is added up does, however many those are."""
    for a in (A, np.ones_like(A), np.zeros_like(A)):
        expected, found = f(a, B, V), irdl.jit(f)(a, B, V)
        assert type(found) is type(expected) and found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    many = np.ones((1, 512), bool)
    assert irdl.jit(lambda a: a @ a.T)(many).all()


@pytest.mark.parametrize("shift", [0, 1, -5, 7, np.int8(-3), np.uint8(2)])
def test_rolls_by_traced_shifts(shift: Any) -> None:
    def f(x: Any, s: Any) -> Any:
        both, listed = np.roll(x, (s, 2), (0, 1)), np.roll(x, [s, s], 1)
        return np.roll(x, s), np.roll(x, s, 0), both, listed, np.roll(x, s, axis=(0, 1)), np.roll(x, np.array([1, 2]), (0, 1)), x[:0]

    x = np.arange(12.0).reshape(3, 4)
    irdl.testing.check(f, x, shift)
    irdl.testing.check(lambda x, s: np.roll(x[:, :0], s, 1), x, shift)


def streamed(f: Any, steps: Any) -> Any:
    """Lattice Boltzmann: each part moves its own way."""
    for i, step in enumerate(steps):
        f[:, i] = np.roll(f[:, i], step)
    return f


def test_rolls_by_an_array_of_shifts() -> None:
    irdl.testing.check(streamed, np.arange(15.0).reshape(5, 3), np.array([0, 1, -1]))
    with pytest.raises(TypeError, match="integers as its shift"):
        irdl.jit(np.roll)(np.ones(3), np.float64(1.0))


@pytest.mark.parametrize("k", [np.uint8(1), np.uint8(2), np.int8(-1), np.int64(1), np.int16(0), np.uint64(2)])
def test_places_and_counts_of_narrow_integers(k: Any) -> None:
    """What is computed of them does not overflow, and has no traced number in it."""
    x, v = np.arange(16.0).reshape(4, 4), np.arange(3.0)
    place = np.int8(2) if k.dtype == np.uint64 else k  # which NumPy refuses
    for f in (
        lambda x, v: np.diagonal(x, place),
        lambda x, v: np.trace(x, place),
        lambda x, v: np.diag(v, place).sum(0),
        lambda x, v: np.diagflat(v, place).sum(1),
        lambda x, v: np.tile(v, abs(int(k)) * np.ones(1, np.int16)),
        lambda x, v: np.tile(v, k) if k > 0 else v,
        lambda x, v: np.tile(x, np.array([2, 1])),
        lambda x, v: np.roll(x, k, 1),
    ):
        irdl.testing.check(f, x, v)


def test_python_ints_that_do_not_fit() -> None:
    with pytest.raises(OverflowError, match=r"18446744073709551615 out of bounds for int64, as which.*test_products\.py"):
        irdl.jit(lambda s: s & ((1 << 64) - 1))(3)
    with pytest.raises(OverflowError, match="300 out of bounds for uint8"):
        irdl.jit(lambda s: s + 300)(np.ones(2, np.uint8))


ARRAYS = [np.array([1.5, 2.5, 3.0]).astype(dtype) for dtype in ("float64", "float32", "float16", "int32", "uint8", "complex64")]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.dot(x, 200),
        lambda x: x.dot(2.0),
        lambda x: np.dot(x, x[0].item()) if x.dtype.kind != "u" else x,
        lambda x: np.inner(x, 2.0),
        lambda x: np.outer(x, 2.0),
        lambda x: np.tensordot(x, 200, 0),
        lambda x: np.einsum("i,->i", x, 2.0),
        lambda x: np.dot(x, [100, 200, 300]),
        lambda x: np.average(x, weights=[1, 2, 3]),
        lambda x: np.average(x[None], 1, (1, 2, 3)),
        lambda x: np.fft.fft(x),
        lambda x: np.fft.rfft(np.abs(x)),
        lambda x: np.angle(x > 2),
    ],
)
@pytest.mark.parametrize("x", ARRAYS, ids=lambda x: x.dtype.name)
def test_dtypes_beside_numbers_and_lists(f: Any, x: np.ndarray) -> None:
    """Products make arrays of Python's numbers, which are no weaker than others then."""
    expected, found = f(x), irdl.jit(f)(x)
    assert type(found) is type(expected) and found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("function", [np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack])
def test_rows_that_are_lists(function: Any) -> None:
    for x in ARRAYS:
        for rows in (lambda x: [[x[0], 1], [2, x[1]]], lambda x: ([x[0], x[2]], (x[1], 2.5)), lambda x: [[x[0], x[1]], [1, 2]]):
            expected, found = function(rows(x)), irdl.jit(lambda x, rows=rows: function(rows(x)))(x)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


ONE = {
    "reshape": lambda s: s.reshape(()),
    "np.reshape": lambda s: np.reshape(s, ()),
    "reshape(1)": lambda s: s.reshape(1),
    "transpose": lambda s: s.transpose(),
    "np.transpose": lambda s: np.transpose(s),
    "T": lambda s: s.T,
    "view": lambda s: s.view(),
    "flip": lambda s: np.flip(s),
    "moveaxis": lambda s: np.moveaxis(s, [], []),
    "einsum": lambda s: np.einsum("->", s),
    "isclose": lambda s: np.isclose(s, 1.0),
    "nan_to_num": lambda s: np.nan_to_num(s),
    "copy": lambda s: s.copy(),
    "asarray": lambda s: np.asarray(s),
    "ravel": lambda s: s.ravel(),
    "squeeze": lambda s: s.squeeze(),
    "where": lambda s: np.where(s > 0, s, 0),
    "clip": lambda s: s.clip(0, 1),
    "index": lambda s: s[()],
    "ellipsis": lambda s: s[...],
    "zeros": lambda s: np.zeros_like(s),
}


@pytest.mark.parametrize("name", ONE)
def test_numbers_and_arrays_of_no_axes(name: str) -> None:
    """Which of them NumPy gives, of one and of the other."""
    f = ONE[name]
    for x in (*ARRAYS[:4], np.array([True, False])):
        for one in (lambda x: x[0], lambda x: x[:1].reshape(())):
            expected, found = f(one(x)), irdl.jit(lambda x, one=one: f(one(x)))(x)
            assert type(found) is type(expected) and found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
