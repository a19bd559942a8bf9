"""Results are computed where they are wanted: before reshapes, between padding; and NumPy's all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.loops.language import Kernel
from irdl.loops.walk import walk
from irdl.testing import check

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def kernels(f: Callable[..., Any], *arguments: Any) -> list[str]:
    """What the kernels of a program are named after."""
    statements = walk(irdl.compile(f)(*arguments).program.body)
    return [item.name.rstrip("0123456789").rstrip("_") for item in statements if isinstance(item, Kernel)]


def padded(x: np.ndarray, widths: Any, **options: Any) -> np.ndarray:
    return np.pad(np.tanh(x), widths, **options) * 2


@pytest.mark.parametrize("shape", [(6, 20), (6, 1, 20), (120,), (0, 3)])
def test_a_reshape_at_the_end_is_no_copy(shape: tuple[int, ...]) -> None:
    x, w = normal(shape[0], int(np.prod(shape[1:]))), normal(int(np.prod(shape[1:])), int(np.prod(shape[1:])))
    f = lambda x, w: np.tanh(x @ w).reshape(shape)  # noqa: E731
    assert "copy" not in kernels(f, x, w)
    check(f, x, w)
    both = lambda x, w: (np.tanh(x @ w).reshape(shape), np.tanh(x @ w), (x @ w).T.reshape(-1))  # noqa: E731
    check(both, x, w)


def test_reshaped_carries() -> None:
    def f(h: np.ndarray, xs: np.ndarray) -> Any:
        def step(h: np.ndarray, x: np.ndarray) -> Any:
            new = np.tanh(h.reshape(2, 6) + x)
            return new.reshape(3, 4), (new.reshape(12), h.reshape(12))

        return irdl.scan(step, h, xs)

    check(f, normal(3, 4), normal(5, 2, 6))


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((3, 4), 1),
        ((40, 50, 8), ((1, 2), (0, 0), (0, 0))),
        ((40, 50, 8), ((0, 0), (3, 0), (0, 1))),
        ((7, 31, 33), ((1, 0), (2, 5), (0, 3))),
        ((5000,), (1, 0)),
        ((0, 300), ((20, 1), (0, 2))),
        ((1, 300, 40), ((0, 0), (0, 0), (0, 0))),
    ],
)
def test_padding(shape: tuple[int, ...], widths: Any) -> None:
    """Both written whole and at the edges alone; of an array from outside and of one that is made there."""
    x = normal(*shape)
    for options in ({}, {"constant_values": -np.inf}):
        check(lambda x, options=options: np.pad(x, widths, **options), x)
        check(lambda x, options=options: padded(x, widths, **options), x)
        check(lambda x, options=options: (padded(x, widths, **options), np.tanh(x)), x)


def test_what_is_padded_is_made_between_the_padding() -> None:
    x = normal(60, 70)
    assert "  arena " not in str(irdl.compile(lambda x: np.pad(np.cumsum(x, axis=1), 1))(x).program)


@pytest.mark.parametrize(("groups", "multiple"), [(16, 1), (16, 2), (4, 1), (24, 1)])
@pytest.mark.parametrize("size", [(1, 5, 7), (5, 5, 7), (2, 12, 9)])
def test_convolutions_in_groups(groups: int, multiple: int, size: tuple[int, int, int]) -> None:
    """A weight's channels lie apart where the input's lie side by side, and the gradient's windows are those of a reshape."""
    channels = 48 if groups == 24 else 16
    x, w = normal(size[0], *size[1:], channels), normal(channels * multiple, channels // groups, 3, 3)

    def forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        module = irdl.nn.Conv2d(channels, channels * multiple, 3, 1, 1, groups=groups, bias=False, key=irdl.random.key(0))
        module.weight = w
        return module(np.moveaxis(x, -1, 1))

    def gradients(x: np.ndarray, w: np.ndarray) -> Any:
        return irdl.grad(lambda x, w: (forward(x, w) ** 2).sum(), argnums=(0, 1))(x, w)

    check(forward, x, w)
    check(gradients, x, w, grad=False)


def test_the_gradient_of_a_depthwise_convolution_is_one() -> None:
    x, w, gy = normal(2, 12, 9, 64), normal(64, 1, 3, 3), normal(2, 12, 9, 64)

    def forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        module = irdl.nn.Conv2d(64, 64, 3, 1, 1, groups=64, bias=False, key=irdl.random.key(0))
        module.weight = w
        return np.moveaxis(module(np.moveaxis(x, -1, 1)), 1, -1)

    assert sorted(kernels(forward, x, w)) == ["dot", "pack", "pad"]
    assert sorted(kernels(lambda x, w, gy: irdl.vjp(lambda x: forward(x, w), x)[1](gy)[0], x, w, gy)) == ["dot", "pack", "pad"]


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("power", [2, 3])
def test_results_of_one_group_have_a_place_each(stages: int, power: int) -> None:
    """Steps of several stages, each of which goes into the carry: in the gradient's loop, a stage adds its part to the carry where that
    lies and makes what the stage before is given, and both could take the place of the sum so far."""

    def step(y: np.ndarray, weights: np.ndarray, dt: Any) -> np.ndarray:
        slope, total = 0, y
        for stage in range(stages):
            slope = np.tanh((y + dt * slope * 0.5) ** power @ weights)
            total = total + dt * slope * (stage + 1)
        return total

    def run(weights: np.ndarray, y: np.ndarray, times: np.ndarray) -> Any:
        ys = [y]
        for width in times[1:] - times[:-1]:
            ys.append(step(ys[-1], weights, width))
        return np.stack(ys)

    for rows in (1, 4):
        arguments = normal(3, 3) / 3, normal(rows, 3) / 2, np.linspace(0, 1, 8, dtype=np.float32)
        check(run, *(x.astype(np.float64) for x in arguments))
