"""Windows of neighbours: NumPy's `sliding_window_view` and `as_strided`, what is computed of them, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import irdl
from irdl.errors import TraceError
from irdl.testing import check, check_gradient

WINDOWS: list[tuple[tuple[int, ...], Any, Any]] = [
    ((7,), 3, None),
    ((7,), 1, 0),
    ((7,), 7, -1),
    ((4, 6), (2, 3), None),
    ((4, 6), 5, 1),
    ((4, 6), (2, 4), (1, 0)),
    ((3, 9, 8, 2), (3, 2), (1, 2)),
    ((6,), (2, 3), (0, 0)),
    ((5, 4), 0, 0),
    ((0, 4), 2, 1),
    ((2, 40), (17,), (1,)),
]


def array(shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(shape) * 4).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
@pytest.mark.parametrize(("shape", "window", "axis"), WINDOWS)
def test_sliding_windows(shape: tuple[int, ...], window: Any, axis: Any, dtype: str) -> None:
    x = array(shape, dtype)
    check(lambda x: sliding_window_view(x, window, axis), x)
    check(lambda x: sliding_window_view(x, window, axis)[::2] * x.dtype.type(1), x)
    check(lambda x: sliding_window_view(x, window, axis)[..., ::-1, :1].sum(axis=0) if x.ndim > 1 else x, x)


def im2col(x: np.ndarray) -> np.ndarray:
    """As courses write it: (n, h, w, c) to rows of 3 x 2 patches, two apart."""
    n, h, w, c = x.shape
    rows, columns = (h - 3) // 2 + 1, (w - 2) // 2 + 1
    s = x.strides
    patches = as_strided(x, (n, rows, columns, 3, 2, c), (s[0], s[1] * 2, s[2] * 2, s[1], s[2], s[3]))
    return patches.reshape(n * rows * columns, 3 * 2 * c)


def convolution(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NHWC by (kh, kw, c, o), padded, strides of 2."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(padded, w.shape[:2], axis=(1, 2))[:, ::2, ::2]
    return np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, w) + b, 0)


def dilated(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(n, t, c) by (k, c, o): a causal convolution whose taps are three apart."""
    taps = w.shape[0]
    padded = np.pad(x, ((0, 0), (3 * (taps - 1), 0), (0, 0)))
    windows = sliding_window_view(padded, 3 * (taps - 1) + 1, axis=1)[..., ::3]
    return np.tanh(np.einsum("ntck,kco->nto", windows, w))


def depthwise(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.einsum("nhwcij,ijc->nhwc", sliding_window_view(x, w.shape[:2], axis=(1, 2)), w)


def locally_connected(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weights of their own for each place: (n, t, c) by (t, k, c, o)."""
    return np.einsum("ntck,tkco->nto", sliding_window_view(x, w.shape[1], axis=1), w)


def max_pool(x: np.ndarray) -> np.ndarray:
    return sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1))


def average_pool(x: np.ndarray) -> np.ndarray:
    return sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2].mean(axis=(-2, -1))


def moving(x: np.ndarray) -> tuple[np.ndarray, ...]:
    windows = sliding_window_view(x, 4, axis=1)
    return windows.mean(axis=-1), windows.std(axis=-1), np.exp(-windows).max(axis=-1)


def in_a_loop(x: np.ndarray) -> np.ndarray:
    """The windows of a carried array, anew in each step."""
    for _ in range(4):
        x = np.tanh(sliding_window_view(np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0))), 3, axis=1).sum(axis=-1))
    return x


IMAGE = (2, 9, 8, 3)
PROGRAMS: list[tuple[Callable[..., Any], list[tuple[int, ...]]]] = [
    (im2col, [IMAGE]),
    (lambda x, w: im2col(x) @ w.reshape(18, 4), [IMAGE, (3, 2, 3, 4)]),
    (convolution, [IMAGE, (3, 3, 3, 5), (5,)]),
    (convolution, [(1, 5, 5, 1), (1, 5, 1, 33), (33,)]),
    (convolution, [(0, 5, 5, 1), (3, 3, 1, 2), (2,)]),
    (dilated, [(2, 11, 3), (3, 3, 4)]),
    (depthwise, [IMAGE, (2, 3, 3)]),
    (locally_connected, [(2, 9, 3), (6, 4, 3, 2)]),
    (max_pool, [IMAGE]),
    (average_pool, [IMAGE]),
    (moving, [(3, 19)]),
    (in_a_loop, [IMAGE]),
    (lambda x: np.diagonal(sliding_window_view(x, 3, axis=0), 0, 1, 2), [(6, 3)]),
    (lambda x: sliding_window_view(x, 7)[::2, ::2][1:, 1:3] * 1, [(19,)]),
    (lambda x: sliding_window_view(x, (2, 3))[1::2, 1:, 1], [(6, 5)]),
    (lambda x: sliding_window_view(x.T[::-1], (2, 3)), [(6, 5)]),
    (lambda x: as_strided(x, (3, 4), (x.itemsize, x.itemsize)) * 2, [(6,)]),
    (lambda x: as_strided(x, (2, 2, 3), (2 * x.itemsize, x.itemsize, x.itemsize)), [(7,)]),
    (lambda x: as_strided(x, (3, 5), (0, x.itemsize)), [(6,)]),
    (lambda x: as_strided(x, (4, 1), (5 * x.itemsize, 8)), [(4, 4)]),  # across rows
    (lambda x: as_strided(x[1:, ::2], (2, 2, 2), (x.strides[0], x.strides[1] * 2, x.strides[0])), [(5, 4)]),
    (lambda x: as_strided(x.T, (3, 2), (x.T.strides[0] * 2, x.T.strides[1])), [(4, 6)]),
    (lambda x: as_strided(x, (3, 0), (8, 8)), [(5,)]),
    (lambda x: as_strided(np.exp(x)), [(5, 2)]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", range(len(PROGRAMS)), ids=lambda place: f"{place}-{PROGRAMS[place][0].__name__}")
def test_programs(place: int, dtype: str) -> None:
    function, shapes = PROGRAMS[place]
    check(function, *(array(shape, dtype) / 4 for shape in shapes))


def test_second_derivatives_and_batches() -> None:
    x, w, b = array((9, 8, 3)), array((3, 3, 3, 2)), array((2,))

    def loss(x: np.ndarray) -> Any:
        return np.sum(np.tanh(convolution(x[None], w, b)) ** 2)

    def directional(x: np.ndarray) -> Any:
        return np.sum(irdl.grad(loss)(x) * np.cos(x))

    np.testing.assert_allclose(irdl.jit(directional)(x / 4), directional(x / 4), rtol=1e-10)
    check_gradient(directional, x / 4)
    batch = array((3, 9, 8, 3))
    each = irdl.jit(irdl.vmap(irdl.grad(loss)))(batch)
    np.testing.assert_allclose(each, np.stack([irdl.grad(loss)(x) for x in batch]), rtol=1e-9, atol=1e-9)
    _, tangent = irdl.jit(lambda x: irdl.jvp(loss, (x,), (np.ones_like(x),)))(x)
    gradient = irdl.grad(loss)(x)
    np.testing.assert_allclose(tangent, np.sum(gradient), atol=1e-12 * np.abs(gradient).sum())  # most of it cancels


def test_a_view_follows_its_array() -> None:
    def late(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        windows = sliding_window_view(x, 3)
        strided = as_strided(x, (2, 2), (16, 8))
        x[2] = 7.0
        return windows + strided.sum()

    check(late, array((8,)))


def bytes_between(function: Callable[..., Any], *shapes: tuple[int, ...]) -> int:
    """The memory that a compiled program has for what is neither an argument nor a result."""
    return int(irdl.compile(function)(*(array(shape) for shape in shapes)).program.arena_bytes)


def test_windows_are_not_copied() -> None:
    """A contraction of windows reads them where they are, and so do its gradients: the padded array, and the padded one of the output."""
    shapes = [(2, 9, 9, 8), (3, 3, 8, 5), (5,)]

    def loss(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> Any:
        return np.sum(convolution(x, w, b))

    padded = 2 * 11 * 11 * 8 * 8
    assert bytes_between(convolution, *shapes) <= 1.3 * padded
    assert bytes_between(irdl.grad(loss, argnums=(0, 1)), *shapes) <= 3 * padded


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: sliding_window_view(x, 9), "window_shape cannot be larger than input array shape"),
        (lambda x: sliding_window_view(x, (2, 2)), "[Mm]ust provide window_shape for all dimensions|Since axis is None"),
        (lambda x: as_strided(x, (9,), (8,)), "reads what is not in the array"),
        (lambda x: as_strided(x, (2,), (-8,)), "reads what is not in the array"),
        (lambda x: as_strided(x, (2,), (8, 8)), "1 extents and 2 strides"),
    ],
)
def test_errors(function: Callable[..., Any], message: str) -> None:
    with pytest.raises((ValueError, TraceError), match=message) as caught:
        irdl.jit(function)(array((5,)))
    assert "test_windows.py" in str(caught.value)


def test_strided_views_without_overlaps_are_stored_into() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        as_strided(x, (3, 2), (40, 16))[1:] += 7.0
        return x

    check(f, array((4, 5)))


@pytest.mark.parametrize("made", [lambda x: sliding_window_view(x, 2, writeable=True), lambda x: as_strided(x, (2, 2), (8, 8))])
def test_windows_are_not_stored_into(made: Callable[..., Any]) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        made(x)[0] = 1
        return x

    with pytest.raises(ValueError, match="read-only: it is a view whose elements may overlap"):
        irdl.jit(f)(array((5,)))
