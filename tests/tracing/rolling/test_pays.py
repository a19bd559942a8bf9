"""What is rolled is what pays: the same code as a scan's; and what must stay unrolled does."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import irdl
from benchmarks.compile_time import lstm_loss, lstm_scan

from .rolled import limits, rolled, runs, scans

_random = np.random.default_rng(0)


def lstm_arguments(steps: int, batch: int = 5, size: int = 16) -> tuple[np.ndarray, ...]:
    shapes = (size, 4 * size), (size, 4 * size), (4 * size,), (steps, batch, size)
    return tuple(0.3 * _random.standard_normal(shape, np.float32) for shape in shapes)


def gradient(loss: Any, batch: int = 5, size: int = 16) -> Any:
    def f(w: Any, u: Any, b: Any, x: Any) -> Any:
        return loss(np, w, u, b, x, np.zeros((batch, size), np.float32), lambda z: np.split(z, 4, axis=1))

    return irdl.value_and_grad(f, (0, 1, 2, 3))


@pytest.mark.parametrize("steps", [20, 200])
def test_the_code_is_that_of_a_scan(steps: int) -> None:
    arguments = lstm_arguments(steps)
    loop, scan = (irdl.trace(gradient(loss))(*arguments) for loss in (lstm_loss, lstm_scan))
    texts = [irdl.compile(graph)().llvm_ir for graph in (loop, scan)]
    assert texts[0] == texts[1]


def test_compile_time() -> None:
    """A gradient over 200 steps compiles in the time of one over 20 but for the recording, some 30 us a node."""
    times = []
    for steps in (20, 200):
        arguments = lstm_arguments(steps)
        start = time.process_time()
        irdl.compile(gradient(lstm_loss))(*arguments)
        times.append(time.process_time() - start)
    assert times[1] < times[0] + 180 * 40 * 150e-6


WEIGHTS = [_random.standard_normal((16, 16)) for _ in range(12)]


def deep(layers: list[np.ndarray], h: np.ndarray) -> np.ndarray:
    for w in layers:
        h = np.maximum(h @ w, 0)
    return h


def adagrad(parameters: Any, gradients: Any, memory: Any) -> Any:
    for p, g, m in zip(parameters, gradients, memory, strict=True):
        m += g * g
        p -= 0.1 * g / np.sqrt(m + 1e-8)
    return sum((p * p).sum() for p in parameters)


def clipped(gradients: Any) -> Any:
    total = np.sqrt(sum((g * g).sum() for g in gradients))
    return [g * np.minimum(1.0, 5.0 / (total + 1e-6)) for g in gradients]


def growing(x: np.ndarray) -> Any:
    total = 0.0
    for t in range(1, len(x)):
        total = total + np.tanh(x[:t]).sum()
    return total


def triangle(x: np.ndarray) -> np.ndarray:
    out = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(i):
            out[i, j] = np.tanh(x[i] @ x[j])
    return out


def horner(x: np.ndarray) -> np.ndarray:
    y = x * 0
    for c in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        y = y * x + c
    return y


def moves(x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for t in range(len(x)):
        out[len(x) - 1 - t] = x[t]
    return out


def three(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    h = x[0]
    for t in range(3):
        h = np.tanh(x[t] @ w + h) @ w + np.exp(h)
    return h


@pytest.mark.parametrize(
    ("f", "arguments"),
    [
        (deep, (WEIGHTS, np.ones((2, 16)))),
        (adagrad, tuple([w.copy() for w in WEIGHTS] for _ in range(3))),
        (clipped, (WEIGHTS,)),
        (growing, (_random.standard_normal((12, 40)),)),
        (horner, (_random.standard_normal(100_000),)),
        (moves, (_random.standard_normal((9, 5)),)),
        (three, (_random.standard_normal((3, 4, 4)), np.ones((4, 4)))),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_what_stays_unrolled(f: Any, arguments: Any) -> None:
    assert scans(rolled(f, *arguments)) == 0
    runs(f, *arguments)


def test_small_loops_over_small_arrays_are_rolled_only_if_long() -> None:
    def f(x: np.ndarray, steps: int) -> np.ndarray:
        for _ in range(steps):
            x = np.sin(x) * 1.01
        return x

    x = np.ones(4)
    assert scans(rolled(lambda x: f(x, 5), x)) == 0
    assert scans(rolled(lambda x: f(x, 40), x)) == 1


def test_triangles_roll_from_within() -> None:
    x = _random.standard_normal((8, 3))
    runs(triangle, x)
    with limits():
        rolled(triangle, x)
