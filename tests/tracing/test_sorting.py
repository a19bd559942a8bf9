"""NumPy's functions that sort, over shapes, dtypes, axes, ties, nan, infinities and both zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.testing import check
from tests.covering import covering

DTYPES = ["float32", "float64", "int32", "uint8", "bool", *(pytest.param(name, marks=pytest.mark.slow) for name in ("int16", "uint64"))]
SHAPES = [(1,), (2,), (7,), (130,), (4, 5), (5, 1), (2, 3, 6), (0, 3), (3, 0), (3, 100)]


def numbers(shape: Any, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """With ties, and of floats nan, infinities and both zeros."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 9, shape).astype(dtype)
    return np.where(rng.random(shape) < 0.4, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], shape), rng.normal(size=shape)).astype(
        dtype
    )


def distinct(shape: Any, seed: int = 0) -> np.ndarray:
    """Far enough apart for differences."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size) / 3.0 - 2).reshape(shape)


@pytest.mark.parametrize(("shape", "dtype"), covering(SHAPES, DTYPES))
def test_sort_and_argsort(shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    check(lambda x: (np.sort(x), np.sort(x, None), np.sort(x, 0, kind="stable"), np.sort(x, axis=-1, stable=True)), x, grad=False)
    check(lambda x: [np.argsort(x, axis, kind="stable") for axis in (None, *range(-x.ndim, x.ndim))], x, grad=False)
    check(lambda x: (x.argsort(kind="mergesort"), x.argsort(0, stable=True), np.argsort(x[..., ::-1], kind="stable")), x, grad=False)


@pytest.mark.parametrize("shape", [(1,), (7,), (120,), (4, 5), (2, 3, 6), (5, 110)], ids=str)
def test_gradients(shape: tuple[int, ...]) -> None:
    x = distinct(shape)
    check(lambda x: (np.sort(x), np.sort(x, 0) * np.cos(x), np.sort(x, None)), x)
    check(lambda x: np.take_along_axis(x, np.argsort(-x, -1), -1) ** 2, x)
    check(lambda x: (np.partition(x, 0)[..., :1] * x, np.sort(np.sin(x))[..., ::-1]), x)  # NumPy leaves the order of the rest open


def test_kinds_that_are_not_stable_are_here() -> None:
    x = np.tile(np.array([2, 1, 2, 1, 0], np.int8), 40)
    for kind in ("quicksort", "heapsort", "q", None):
        np.testing.assert_array_equal(irdl.jit(lambda x, kind=kind: np.argsort(x, kind=kind))(x), np.argsort(x, kind="stable"))


@pytest.mark.parametrize("order", ["C", "F", "strided", "reversed", "transposed"])
@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_memory_orders(order: str, axis: int | None) -> None:
    x = distinct((6, 8))
    if order == "F":
        check(lambda x: np.sort(x, axis).reshape(-1), np.asfortranarray(x))
        check(lambda x: np.argsort(x, axis).reshape(-1), np.asfortranarray(x))
    view = {"strided": lambda x: x[::2, 1::3], "reversed": lambda x: x[::-1, ::-1], "transposed": lambda x: x.T}.get(order, lambda x: x)
    check(lambda x: (np.sort(view(x), axis), np.argsort(view(x), axis), np.sort(view(x), axis).reshape(-1)), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place(dtype: str) -> None:
    def sorted_where_it_lies(x: np.ndarray) -> np.ndarray:
        rows = x[1:, ::2]
        rows.sort(axis=0, kind="stable")
        x[0].sort()
        before = x.sum()
        x.sort()
        x[:, 0].partition(list(range(5)))
        return before

    check(sorted_where_it_lies, numbers((5, 6), dtype) if dtype[0] != "f" else distinct((5, 6)).astype(dtype), grad=False)


@pytest.mark.parametrize(("shape", "dtype"), covering([(1,), (9,), (4, 6), (70, 3)], DTYPES))
def test_partitions(shape: tuple[int, ...], dtype: str) -> None:
    """What NumPy promises of a partition: the elements at these places, less ones before them, and no less ones behind."""
    x, size = numbers(shape, dtype), shape[-1]
    for kth in (0, -1, size // 2, [0, size // 2], np.int64(size - 1), (size // 2, -1)):
        ordered, places = irdl.jit(lambda x, kth=kth: (np.partition(x, kth), x.argpartition(kth, axis=-1)))(x)
        exact = np.partition(x, kth)
        np.testing.assert_array_equal(ordered[..., kth], exact[..., kth])
        np.testing.assert_array_equal(np.take_along_axis(x, places, -1), ordered)
        np.testing.assert_array_equal(ordered, np.sort(x))
    check(lambda x: np.partition(x, x.size // 2, None)[x.size // 2], x, grad=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lexsort(dtype: str) -> None:
    x, y = numbers((4, 30), dtype), numbers((30,), "uint8", 1)
    check(lambda x, y: (np.lexsort(x), np.lexsort((x[1], y, x[0] > 0)), np.lexsort((y,)), np.lexsort((y, x[2]), axis=0)), x, y, grad=False)
    check(lambda x: (np.lexsort((x, x[::-1]), 0), np.lexsort((x, x[:, ::-1])), np.lexsort(x[..., None], 0)), x, grad=False)
    check(lambda x: (np.lexsort((x[0, 0], x[0, 1])), np.lexsort(x[0]), np.lexsort(x[:, :0])), x, grad=False)


def test_of_numbers_and_of_what_is_known() -> None:
    check(lambda x: (np.argsort(x[0]), np.argsort(x[1], None), np.sort(x[0], None)), distinct((3,)), grad=False)

    def known(x: np.ndarray) -> Any:
        order = np.argsort(np.array([3, 1, 2]))
        return x[: int(order[0])], x[order], np.zeros(np.unique(np.array([1, 1, 2])).size), np.sort([2, 1])

    check(known, np.arange(3.0))


def test_vmap_jvp_and_scan() -> None:
    x = distinct((5, 7))
    np.testing.assert_array_equal(irdl.jit(irdl.vmap(np.sort))(x), np.sort(x))
    np.testing.assert_array_equal(irdl.vmap(lambda row: np.argsort(row), in_axes=1)(x), np.argsort(x.T))
    direction = np.random.default_rng(0).normal(size=x.shape)
    value, tangent = irdl.jvp(lambda x: np.sort(x, 0), (x,), (direction,))
    np.testing.assert_array_equal(value, np.sort(x, 0))
    np.testing.assert_allclose(tangent, np.take_along_axis(direction, np.argsort(x, 0), 0))

    def step(carry: Any, row: Any) -> Any:
        carry = np.sort(carry + row * np.arange(7.0))
        return carry, np.argsort(np.cos(carry))

    check(lambda start, rows: irdl.scan(step, start, rows), x[0], x)
    check(lambda x: [x := np.sort(x * 0.9 + np.cos(x)[::-1]) for _ in range(12)][-1], x[0])


def test_of_what_is_masked() -> None:
    with pytest.raises(TraceError, match="how many elements the mask has"):
        irdl.jit(lambda x: np.sort(x[x > 0]))(np.arange(3.0))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sort(x, 2),
        lambda x: np.sort(x[0, 0]),
        lambda x: np.argsort(x, -3),
        lambda x: np.sort(x, kind="bogo"),
        lambda x: np.argsort(x, kind=3),
        lambda x: np.sort(x, kind="stable", stable=True),
        lambda x: np.sort(x, order="a"),
        lambda x: x.sort(None),
        lambda x: x.sort(5),
        lambda x: np.partition(x, 3),
        lambda x: np.partition(x, [0, -5]),
        lambda x: np.partition(x, 1.0),
        lambda x: np.partition(x, True),
        lambda x: np.partition(x, [[0]]),
        lambda x: np.partition(x, 0, kind="bogo"),
        lambda x: np.partition(x, 0, order="a"),
        lambda x: x.argpartition(9, 0),
        lambda x: x.partition(0, None),
        lambda x: np.lexsort((x, x[0])),
        lambda x: np.lexsort((x, x), 2),
        lambda x: np.lexsort(x[0, 0]),
    ],
)
def test_errors_are_numpys(f: Any) -> None:
    x = distinct((2, 3))
    with pytest.raises(Exception) as expected:
        f(x.copy())
    with pytest.raises(expected.type, match="test_sorting"):
        irdl.jit(f)(x)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.partition(x, x.astype(int)[0]), r"np\.sort"),
        (lambda x: np.unique(x), "as many elements as there are different numbers.*np.sort"),
        (lambda x: np.unique_counts(x), "as many elements"),
        (lambda x: np.setdiff1d(x, x[1:]), "np.isin gives a mask"),
        (lambda x: np.intersect1d(x, x), "as many elements"),
        (lambda x: np.sort_complex(x), "complex"),
    ],
)
def test_what_cannot_be_traced(f: Any, message: str) -> None:
    with pytest.raises(TraceError, match=rf"(?s){message}.*test_sorting"):
        irdl.jit(f)(np.arange(4.0))
