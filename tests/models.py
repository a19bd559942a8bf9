"""Models in plain NumPy that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

import irdl


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm_cell(params: dict, carry: tuple, x: Any) -> tuple:
    h, c = carry
    i, f, g, o = np.split(x @ params["W"] + h @ params["U"] + params["b"], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h, c), h


def lstm(params: dict, x: Any) -> Any:
    """x: [T, B, I] -> [T, B, H]."""
    zero = np.zeros((x.shape[1], params["U"].shape[0]), x.dtype)
    _, ys = irdl.scan(lambda carry, x: lstm_cell(params, carry, x), (zero, zero), x)
    return ys


def lstm_loss(params: dict, x: Any, gy: Any) -> Any:
    return (lstm(params, x) * gy).sum()


def lstm_data(T: int, B: int, I: int, H: int, dtype: Any = np.float32, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    k = H**-0.5
    shapes = {"W": (I, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}
    params = {name: rng.uniform(-k, k, shape).astype(dtype) for name, shape in shapes.items()}
    return params, rng.standard_normal((T, B, I)).astype(dtype), rng.standard_normal((T, B, H)).astype(dtype)


def random_cell(seed: int) -> tuple[Any, int]:
    """A cell of 2 to 6 gates wired at random: `cell(params, carry, x) -> carry, y`, and the number of gates."""
    rng = np.random.default_rng(seed)
    gates = int(rng.integers(2, 7))
    squash = [(np.tanh, sigmoid, np.sin, np.arctan)[rng.integers(4)] for _ in range(gates)]
    steps = [(int(rng.integers(3)), int(rng.integers(gates)), int(rng.integers(gates))) for _ in range(int(rng.integers(2, 6)))]

    def cell(params: dict, carry: tuple, x: Any) -> tuple:
        h, c = carry
        parts = np.split(x @ params["W"] + h @ params["U"] + params["b"], gates, axis=1)
        values = [f(p) for f, p in zip(squash, parts, strict=True)]
        total = c
        for kind, a, b in steps:
            total = (total * values[a] + values[b], total + values[a] * values[b], np.tanh(total - values[a]) * values[b])[kind]
        # Every gate is used, so that none is dead.
        for value in values:
            total = total + 0.1 * value
        c = np.tanh(total)
        return (c * values[0], c), c * values[-1]

    return cell, gates


def random_cell_loss(seed: int) -> Any:
    cell, gates = random_cell(seed)

    def loss(params: dict, x: Any) -> Any:
        zero = np.zeros((x.shape[1], params["U"].shape[0]), x.dtype)
        _, ys = irdl.scan(lambda carry, x: cell(params, carry, x), (zero, zero), x)
        return (ys * ys).sum()

    def data(T: int, B: int, I: int, H: int, dtype: Any = np.float32) -> tuple[dict, np.ndarray]:
        rng = np.random.default_rng(seed)
        shapes = {"W": (I, gates * H), "U": (H, gates * H), "b": (gates * H,)}
        params = {name: (rng.standard_normal(shape) * 0.3).astype(dtype) for name, shape in shapes.items()}
        return params, rng.standard_normal((T, B, I)).astype(dtype)

    return loss, data, gates
