"""Convolutions of little work that make no padded array: forms, edges and numbers that are not finite are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from irdl import nn
from irdl.codegen.cpu import edges
from irdl.ops.contract import DOT
from irdl.ops.joining import PAD
from tests.teams import team_of

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "_BYTES", 1)


def depthwise(kernel: int, padding: int, step: int = 1, fill: float = 0.0) -> Callable[..., Any]:
    """Of (N, H, W, C) and (C, K, K)."""

    def f(x: Any, w: Any) -> Any:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=fill)
        return np.einsum("nxycij,cij->nxyc", sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::step, ::step], w)

    return f


def normal(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def count(f: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """Contractions, and elements of padded arrays."""
    graph = dict(irdl.compile(f)(*arguments).stages)["edges"]
    assert isinstance(graph, irdl.Graph)
    nodes = list(graph.all_nodes())
    return sum(node.op is DOT for node in nodes), sum(node.output.type.size for node in nodes if node.op is PAD)


CASES = {
    "three": (20, 3, 1, 1, 5),
    "seven": (60, 7, 3, 1, 5),
    "steps of two": (31, 3, 1, 2, 5),
    "steps of two, even: nothing behind": (30, 3, 1, 2, 3),
    "more padding than kernel": (30, 2, 3, 1, 5),
    "places that meet nothing but padding": (40, 2, 4, 3, 5),
}


@pytest.mark.parametrize("case", CASES)
def test_forward_and_gradients(case: str) -> None:
    size, kernel, padding, step, dots = CASES[case]
    dtype, threads = ("float64", 2) if step > 1 else ("float32", 1)
    f = depthwise(kernel, padding, step)
    x, w = normal(3, size, size, 21, dtype=dtype), normal(21, kernel, kernel, dtype=dtype)
    gy = normal(*f(x, w).shape, dtype=dtype)
    made, padded = count(f, x, w)
    assert made == dots
    assert padded < x.size
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
def test_weights_that_are_not_finite(bad: float) -> None:
    f = depthwise(3, 1)
    x, w = np.abs(normal(2, 20, 20, 8)) + 0.1, np.abs(normal(8, 3, 3))
    w[5, 0, 0] = bad
    assert count(f, x, w)[0] == 5
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_any_filling() -> None:
    f = depthwise(3, 2, fill=-np.inf)
    x, w = normal(2, 30, 30, 8), normal(8, 3, 3)
    assert count(f, x, w)[0] == 5
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_both_readers_of_a_padded_array_or_none() -> None:
    f, x, w, v = depthwise(3, 1), normal(2, 40, 40, 8), normal(8, 3, 3), normal(8, 5, 5)
    two = lambda x, w, v: (f(x, w), depthwise(3, 1)(x, v[:, 1:4, 1:4]))  # noqa: E731
    assert count(two, x, w, v)[0] == 10
    padded = lambda x, w: (np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), f(x, w))  # noqa: E731
    assert count(padded, x, w)[0] == 1
    for g, arguments in ((two, (x, w, v)), (padded, (x, w))):
        for found, expected in zip(irdl.jit(g)(*arguments), g(*arguments), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_what_is_made_between_its_padding_stays_there() -> None:
    f = lambda x, w: depthwise(3, 1)(np.tanh(x), w)  # noqa: E731
    x, w = normal(2, 20, 20, 8), normal(8, 3, 3)
    assert count(f, x, w)[0] == 1
    np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_what_follows_a_layer_is_done_part_by_part() -> None:
    """Behind the reshape that the layer's groups end in, too."""
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=16, key=irdl.random.key(0))

    def f(x: Any, scale: Any) -> Any:
        y = np.moveaxis(layer(np.moveaxis(x, -1, 1)), 1, -1)
        return np.maximum(y * scale + x, 0)

    x, scale = normal(2, 30, 30, 16, dtype=np.float32), normal(30, 16, dtype=np.float32)
    graph = dict(irdl.compile(f)(x, scale).stages)["edges"]
    assert isinstance(graph, irdl.Graph)
    assert sum(node.op.name == "maximum" for node in graph.nodes) == 5
    np.testing.assert_allclose(irdl.jit(f)(x, scale), f(x, scale), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels", "why"),
    [(5, 8, "little but edges"), (30, 300, "much work")],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_stays_whole(size: int, channels: int, why: str) -> None:
    x = normal(2, size, size, channels)
    if why == "much work":
        f = lambda x, w: np.einsum("nxycij,ocij->nxyo", windows(x), w)  # noqa: E731
        assert count(f, x, normal(40, channels, 3, 3))[0] == 1
    else:
        assert count(depthwise(3, 1), x, normal(channels, 3, 3))[0] == 1


def windows(x: Any) -> Any:
    return sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))


def test_each_kernel_is_worth_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "_BYTES", 64 * 1024)
    w = normal(8, 3, 3)
    assert count(depthwise(3, 1), normal(2, 30, 30, 8), w)[0] == 1
    assert count(depthwise(3, 1), normal(8, 30, 30, 8), w)[0] == 5


def test_layers_in_training() -> None:
    """Padded arrays that a layer and the gradient of its weights share, and gradients that are padded, inside a loop."""
    f = depthwise(3, 1)

    def loss(x: Any, w: Any, v: Any) -> Any:
        return (np.tanh(f(np.maximum(f(x, w), 0), v)) ** 2).mean()

    def steps(x: Any, w: Any, v: Any) -> Any:
        def step(weights: Any, _: Any) -> Any:
            value, (dx, dw, dv) = irdl.value_and_grad(loss, argnums=(0, 1, 2))(x, *weights)
            return (weights[0] - dw, weights[1] - dv), (value, dx)

        return irdl.scan(step, (w, v), None, length=3)

    arguments = normal(2, 40, 40, 8), normal(8, 3, 3), normal(8, 3, 3)
    assert count(loss, *arguments)[0] > 2
    flat = lambda result: [*result[0], *result[1]]  # noqa: E731
    whole = irdl.jit(steps, disable_passes=["edges", "taps"])(*arguments)
    for found, expected in zip(flat(irdl.jit(steps)(*arguments)), flat(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
