"""Loops whose steps branch on what they compute: an effect sample by sample, neurons that fire, solvers that stop when it is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.handwritten import Maker, Sizes

#: of the compressor, where there are many steps
_SAMPLES = 1000


def compressed(x: np.ndarray, threshold: float, ratio: float, attack: float, release: float) -> np.ndarray:
    """A compressor: the envelope rises quickly, falls slowly, and what is louder than the threshold is turned down."""
    y = np.zeros_like(x)
    envelope = 0.0
    for n in range(len(x)):
        level = abs(x[n])
        if level > envelope:
            envelope = attack * envelope + (1 - attack) * level
        else:
            envelope = release * envelope + (1 - release) * level
        if envelope > threshold:
            y[n] = x[n] * (threshold / envelope) ** (1 - 1 / ratio)
        else:
            y[n] = x[n]
    return y


def fired(weights: np.ndarray, currents: np.ndarray) -> tuple[np.ndarray, int]:
    """Neurons that leak and integrate; one that fires is reset, and all learn from a step in which most have."""
    v = np.zeros(weights.shape[1])
    busy = 0
    spikes = []
    for current in currents:
        v = 0.9 * v + current @ weights
        spiking = v > 1.0
        if spiking.any():
            v = np.where(spiking, 0.0, v)
            if spiking.sum() > len(v) / 2:
                busy += 1
        spikes.append(spiking)
    return np.array(spikes), busy


def conjugate_gradients(A: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Until the residual is small."""
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    for k in range(100):  # noqa: B007 # it is returned
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x = x + alpha * p
        r = r - alpha * Ap
        new = r @ r
        if np.sqrt(new) < tolerance:
            break
        p = r + (new / rs) * p
        rs = new
    return x, k


def stopped_early(w: np.ndarray, x: np.ndarray, y: np.ndarray, patience: int = 3) -> tuple[np.ndarray, float, int]:
    """Gradient descent that clips what is too large, keeps the best weights, and stops when they get no better."""
    best, best_w, bad = np.inf, w, 0
    for epoch in range(50):  # noqa: B007 # it is returned
        error = x @ w - y
        loss = (error**2).mean()
        if loss < best - 1e-6:
            best, best_w, bad = loss, w.copy(), 0
        else:
            bad += 1
            if bad >= patience:
                break
        gradient = x.T @ error / len(y)
        norm = np.sqrt((gradient**2).sum())
        if norm > 1.0:
            gradient = gradient / norm
        w = w - 0.1 * gradient
    return best_w, best, epoch


def newton(a: np.ndarray) -> tuple[np.ndarray, int]:
    """Square roots, until none of them changes."""
    x = a + 1.0
    steps = 0
    while np.abs(x * x - a).max() > 1e-12 * a.max():
        x = 0.5 * (x + a / x)
        steps += 1
    return x, steps


def _sound(sizes: Sizes, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    samples = _SAMPLES if sizes.steps > 10 else 40
    return compressed, (rng.standard_normal(samples) * np.linspace(0.1, 2, samples), 0.5, 4.0, 0.9, 0.999)


def _neurons(sizes: Sizes, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return fired, (rng.random((sizes.inputs, sizes.hidden)) / sizes.inputs, rng.random((sizes.steps, sizes.inputs)) ** 2)


def _system(sizes: Sizes, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    factor = rng.standard_normal((sizes.hidden, sizes.hidden))
    return conjugate_gradients, (factor @ factor.T + sizes.hidden * np.eye(sizes.hidden), rng.standard_normal(sizes.hidden), 1e-8)


def _regression(sizes: Sizes, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    x = rng.standard_normal((5 * sizes.batch, sizes.inputs))
    return stopped_early, (np.zeros(sizes.inputs), x, x @ rng.standard_normal(sizes.inputs))


def _roots(sizes: Sizes, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return newton, (rng.random(sizes.hidden) * 100,)


PROGRAMS: dict[str, Maker] = {
    "compressor": _sound,
    "neurons that fire": _neurons,
    "conjugate gradients": _system,
    "early stopping": _regression,
    "Newton's roots": _roots,
}
