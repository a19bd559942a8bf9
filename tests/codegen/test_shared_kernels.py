"""Kernels of one form are one function; kernels that differ in anything else are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl
from irdl.testing import check

W = np.random.default_rng(0).standard_normal((8, 8)) / 4


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's loops give many kernels of one form only where they are not rolled."""
    monkeypatch.setenv("IRDL_ROLL", "0")


def functions_of(f: Any, *arguments: Any) -> int:
    text = irdl.compile(f)(*arguments).llvm_ir
    return text.count("define internal void @") - text.count("define internal void @irdl_")


def unrolled(h: Any, xs: Any) -> Any:
    for t in range(xs.shape[0]):
        h = np.tanh(h @ W + xs[t])
    return h


def test_the_steps_of_an_unrolled_loop_are_one_function() -> None:
    h, xs = np.zeros((3, 8)), np.random.default_rng(1).standard_normal((12, 3, 8))
    check(unrolled, h, xs)
    assert functions_of(unrolled, h, xs) <= 4
    assert functions_of(irdl.grad(lambda h, xs: unrolled(h, xs).sum()), h, xs) <= 8


@pytest.mark.parametrize(
    "step",
    [
        lambda h, x, t: np.tanh(h @ W + x) * (1 + t),
        lambda h, x, t: np.tanh(h @ W + x) if t % 2 else np.exp(-np.abs(h @ W + x)),
        lambda h, x, t: h @ W + x[:: -1 if t % 2 else 1],
        lambda h, x, t: h @ (W.T if t % 3 else W) + x,
        lambda h, x, t: (h @ W).astype(np.float32 if t % 2 else np.float64) + x,
        lambda h, x, t: h @ W + (x if t % 2 else h),
        lambda h, x, t: h @ W + x[t % 3] * x[(t * t) % 3],
        lambda h, x, t: h @ W + x[np.array([0, t % 3, 2])],
        lambda h, x, t: np.where(h @ W > t / 8, x, h),
        lambda h, x, t: h @ W + np.cumsum(x, axis=t % 2),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_that_differ(step: Any, threads: int) -> None:
    def f(h: Any, xs: Any) -> Any:
        results = []
        for t in range(xs.shape[0]):
            h = step(h, xs[t], t)
            results.append(h * 1)
        return results

    before = irdl.num_threads()
    irdl.set_num_threads(threads)
    try:
        check(f, np.ones((3, 8)), np.random.default_rng(2).standard_normal((7, 3, 8)), grad=False)
    finally:
        irdl.set_num_threads(before)


def test_donated_buffers() -> None:
    f = irdl.jit(lambda a, b: [x + y for x, y in zip(a, b, strict=True)], donate_argnums=0)
    a, b = [np.full(5, float(k)) for k in range(6)], [np.full(5, 1.0) for _ in range(6)]
    b[3] = b[2]
    results = f([item.copy() for item in a], b)
    np.testing.assert_allclose(np.stack(results), np.stack(a) + np.stack(b))
