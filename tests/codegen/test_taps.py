"""Convolutions that leave out what meets padding alone: forms, edges and numbers that are not finite are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from irdl.codegen.cpu import taps
from irdl.codegen.cpu.taps import leave_out_padding
from irdl.ops.contract import DOT
from tests.teams import team_of

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "_PRODUCTS_SAVED", 0)


def convolution(size: int, kernel: int, padding: int, step: int = 1) -> Callable[..., Any]:
    """Of (N, H, W, C) and (O, C, K, K)."""

    def f(x: Any, w: Any) -> Any:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        windows = sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::step, ::step]
        return np.einsum("nxycij,ocij->nxyo", windows, w)

    return f


def dots(f: Callable[..., Any], *arguments: Any) -> int:
    stages = dict(irdl.compile(f)(*arguments).stages)
    graph = stages["taps"]
    assert isinstance(graph, irdl.Graph)
    return sum(node.op is DOT for node in graph.all_nodes())


def normal(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


CASES = {
    "three of three places": (3, 3, 1, 1, 9),
    "one place, one tap": (1, 3, 1, 1, 1),
    "taps that meet nothing anywhere": (2, 5, 2, 1, 4),
    "steps of two": (4, 3, 1, 2, 4),
    "steps of two, odd": (5, 3, 1, 2, 9),
    "more padding than kernel": (3, 2, 3, 1, 1),
    "seven by seven": (6, 7, 3, 4, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_forward_and_gradients(case: str) -> None:
    size, kernel, padding, step, count = CASES[case]
    dtype, threads = ("float64", 2) if step > 1 else ("float32", 1)
    f = convolution(size, kernel, padding, step)
    x, w = normal(40, size, size, 9, dtype=dtype), normal(17, 9, kernel, kernel, dtype=dtype)
    if case != "more padding than kernel":  # places without any tap are too many parts there
        assert dots(f, x, w) == count
    gy = normal(*f(x, w).shape, dtype=dtype)
    for g in (
        lambda x, w, gy: np.maximum(f(x, w) * 2 + 1, gy),
        lambda x, w, gy: irdl.vjp(lambda x: f(x, w), x)[1](gy)[0],
        lambda x, w, gy: irdl.vjp(lambda w: f(x, w), w)[1](gy)[0],
    ):
        expected = g(*(a.astype(np.float64) for a in (x, w, gy)))
        tolerance = 50 * np.finfo(dtype).eps * np.abs(expected).max()
        with team_of(threads):
            np.testing.assert_allclose(irdl.jit(g)(x, w, gy), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("tap", [(0, 0), (1, 1)])
def test_weights_that_are_not_finite(bad: float, tap: tuple[int, int]) -> None:
    """A zero of the padding times infinity is nan, where that tap meets padding and nowhere else."""
    f = convolution(3, 3, 1)
    x, w = np.abs(normal(40, 3, 3, 8)) + 0.1, np.abs(normal(17, 8, 3, 3))
    w[5, 2][tap] = bad
    gy = np.abs(normal(40, 3, 3, 17)) + 0.1
    gy[3, tap[0], tap[1], 4] = bad
    assert dots(f, x, w) == 9
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)
        to_weights = lambda x, w, gy: np.einsum("nxyo,nxycij->ocij", gy, windows(x))  # noqa: E731
        np.testing.assert_allclose(irdl.jit(to_weights)(x, w, gy), to_weights(x, w, gy), rtol=1e-12, atol=1e-13)


def windows(x: Any) -> Any:
    return sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))


def test_along_one_axis_and_in_groups() -> None:
    def f(x: Any, w: Any) -> Any:
        return np.einsum("ngcxi,goci->nxgo", sliding_window_view(np.pad(x, ((0, 0), (0, 0), (0, 0), (2, 2))), 3, 3), w)

    x, w = normal(40, 2, 9, 6), normal(2, 17, 9, 3)
    assert dots(f, x, w) == 5
    np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_what_follows_is_done_part_by_part() -> None:
    f = convolution(3, 3, 1)
    x, w, b, other = normal(40, 3, 3, 8), normal(17, 8, 3, 3), normal(17), normal(40, 3, 3, 17)
    g = lambda x, w, b, other: np.maximum(f(x, w) + b, 0) + other  # noqa: E731
    before = dict(irdl.compile(g)(x, w, b, other).stages)["expand"]
    assert isinstance(before, irdl.Graph)
    graph = leave_out_padding(before)
    assert sum(node.op.name == "maximum" for node in graph.nodes) == 9
    assert graph.nodes[-1].op.name == "concat"
    np.testing.assert_allclose(irdl.jit(g)(x, w, b, other), g(x, w, b, other), rtol=1e-12, atol=1e-13)


def test_two_that_are_added() -> None:
    f = convolution(3, 3, 1)
    x, v, w = normal(40, 3, 3, 8), normal(17, 8, 3, 3), normal(17, 8, 3, 3)
    g = lambda x, v, w: np.tanh(f(x, v) * 2 + f(np.sin(x), w)) + f(x, w)  # noqa: E731
    assert dots(g, x, v, w) == 27
    np.testing.assert_allclose(irdl.jit(g)(x, v, w), g(x, v, w), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("batch", "size", "channels", "why"),
    [(2, 3, 8, "few rows"), (40, 100, 2, "hardly any padding"), (40, 3, 2, "little else than taps")],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_stays_whole(batch: int, size: int, channels: int, why: str) -> None:
    assert dots(convolution(size, 3, 1), normal(batch, size, size, channels), normal(3, channels, 3, 3)) == 1


def test_each_part_is_worth_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "_PRODUCTS_SAVED", 100_000)
    assert dots(convolution(3, 3, 1), normal(40, 3, 3, 8), normal(17, 8, 3, 3)) == 1
    assert dots(convolution(3, 3, 1), normal(400, 3, 3, 8), normal(170, 8, 3, 3)) == 9


def test_weights_that_are_one_number() -> None:
    def f(x: Any, s: Any) -> Any:
        return np.einsum("nxycij,ocij->nxyo", windows(x), np.full((17, 8, 3, 3), s))

    x = normal(40, 3, 3, 8)
    assert dots(f, x, np.float64(2)) == 9
    for s in (np.float64(2), np.float64(np.inf)):
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(irdl.jit(f)(x, s), f(x, s), rtol=1e-12, atol=1e-13)


def test_windows_along_no_axis() -> None:
    f = lambda x, w: sliding_window_view(np.pad(x, ((0, 0), (0, 0))), (), axis=()) @ w  # noqa: E731
    x, w = normal(40, 5), normal(5, 6)
    np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12)


def test_empty_ones() -> None:
    f = convolution(3, 3, 1)
    for x, w in (
        (normal(0, 3, 3, 8), normal(17, 8, 3, 3)),
        (normal(40, 3, 3, 0), normal(17, 0, 3, 3)),
        (normal(40, 3, 3, 8), normal(0, 8, 3, 3)),
    ):
        np.testing.assert_array_equal(irdl.jit(f)(x, w), f(x, w), strict=True)
