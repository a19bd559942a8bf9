"""Random convolutions in NumPy (padding, steps, dilation, groups, layouts, numbers that are not finite) and their gradients, compiled and
run by NumPy; every one is cut into parts, once as they leave out its padding and once as they leave it unmade, however little that
saves. `--slow` tries many more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from irdl.codegen.cpu import edges, taps

SEEDS = [*range(8), 96, 218]


class Convolution:
    """A form and its data, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def draw(low: int, high: int, count: int) -> list[int]:
            return [int(n) for n in rng.integers(low, high, count)]

        self.rank = draw(1, 3, 1)[0]
        batch, inputs, outputs = (draw(1, high, 1)[0] for high in (6, 20, 40))
        self.groups = draw(1, 3, 1) if draw(0, 3, 1)[0] == 0 else []
        self.kernel, self.steps, self.dilations = (draw(1, high, self.rank) for high in (5, 4, 3))
        self.before, self.behind = draw(0, 4, self.rank), draw(0, 4, self.rank)
        reach = [(k - 1) * d + 1 - a - b for k, d, a, b in zip(self.kernel, self.dilations, self.before, self.behind, strict=True)]
        size = [max(n, r, 1) for n, r in zip(draw(1, 8, self.rank), reach, strict=True)]
        self.channels_last = bool(draw(0, 2, 1)[0])
        self.dtype = np.dtype(["float32", "float64"][draw(0, 2, 1)[0]])
        shape = [batch, *size, *self.groups, inputs] if self.channels_last else [batch, *self.groups, inputs, *size]
        self.x = rng.standard_normal(shape).astype(self.dtype)
        self.w = rng.standard_normal([*self.groups, outputs, inputs, *self.kernel]).astype(self.dtype)
        self.gy = rng.standard_normal(self(self.x, self.w).shape).astype(self.dtype)
        self.bad = draw(0, 4, 1)[0] == 0
        if self.bad:
            self.w.flat[draw(0, self.w.size, 1)[0]] = [np.inf, np.nan, -np.inf][draw(0, 3, 1)[0]]

    def __call__(self, x: Any, w: Any) -> Any:
        channels: list[tuple[int, int]] = [(0, 0)] * (1 + len(self.groups))
        pads = list(zip(self.before, self.behind, strict=True))
        x = np.pad(x, [(0, 0), *pads, *channels] if self.channels_last else [(0, 0), *channels, *pads])
        axes = tuple(range(1, 1 + self.rank)) if self.channels_last else tuple(range(x.ndim - self.rank, x.ndim))
        wide = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        windows = sliding_window_view(x, wide, axes)
        places: list[slice] = [slice(None)] * x.ndim
        for axis, step in zip(axes, self.steps, strict=True):
            places[axis] = slice(None, None, step)
        windows = windows[(*places, *(slice(None, None, d) for d in self.dilations))]
        g, xy, ij = "g" if self.groups else "", "xy"[: self.rank], "ij"[: self.rank]
        left, right = (f"n{xy}{g}c{ij}", f"n{xy}{g}o") if self.channels_last else (f"n{g}c{xy}{ij}", f"n{g}o{xy}")
        return np.einsum(f"{left},{g}oc{ij}->{right}", windows, w)

    def functions(self) -> list[Callable[..., Any]]:
        forward = [lambda x, w, gy: self(x, w), lambda x, w, gy: np.maximum(self(x, w) * 2 + gy, 0) + w.ravel()[0]]
        gradients = [
            lambda x, w, gy: irdl.vjp(lambda x: self(x, w), x)[1](gy)[0],
            lambda x, w, gy: irdl.vjp(lambda w: self(x, w), w)[1](gy)[0],
        ]
        return forward if self.bad else forward + gradients


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    seeds = range(400) if metafunc.config.getoption("--slow") else SEEDS
    metafunc.parametrize("seed", seeds)


@pytest.mark.parametrize("cut", ["taps", "edges"])
def test_same_as_numpy(cut: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PRODUCTS_SAVED", "_ROWS_SAVED", "_ALONE", "_SAVED", "_SAVED_ALONG"):
        monkeypatch.setattr(taps, name, 0)
    monkeypatch.setattr(taps, "_MOST", 16)
    monkeypatch.setattr(edges, "_BYTES", -(10**9))
    monkeypatch.setattr(edges, "_PRODUCTS", 10**9)
    without = ["edges"] if cut == "taps" else ["taps"]
    convolution = Convolution(seed)
    arguments = convolution.x, convolution.w, convolution.gy
    for f in convolution.functions():
        with np.errstate(invalid="ignore"):
            expected, found = f(*arguments), irdl.jit(f, disable_passes=without)(*arguments)
        size = np.abs(expected[np.isfinite(expected)]).max(initial=1)
        tolerance = 100 * np.finfo(convolution.dtype).eps * size
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        assert found.dtype == expected.dtype
