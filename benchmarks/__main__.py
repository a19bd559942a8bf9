"""`python -m benchmarks train-step | compile`: irdl beside eager NumPy, in one run, each on one thread.

Every result is checked against NumPy first. Times are medians over rounds in which the two take turns; only the ratio means
anything on a noisy machine.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time

import numpy as np

import irdl
from benchmarks import one_thread
from benchmarks.eager_lstm import adam, sigmoid, train_step

#: name -> (T, B, input, hidden)
SHAPES = {
    "stream-64": (100, 1, 64, 64),
    "d2l-256": (35, 32, 28, 256),
    "ptb-small": (20, 20, 200, 200),
    "batch-512": (20, 64, 256, 512),
}


def cell(params, carry, x):
    h, c = carry
    i, f, g, o = np.split(x @ params["W"] + h @ params["U"] + params["b"], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h, c), h


def loss(params, x, gy):
    zero = np.zeros((x.shape[1], params["U"].shape[0]), x.dtype)
    _, y = irdl.scan(lambda carry, x: cell(params, carry, x), (zero, zero), x)
    return (y * gy).sum()


def irdl_step(params, moments, step, x, gy):
    value, gradients = irdl.value_and_grad(loss)(params, x, gy)
    return value, *adam(params, moments, step, gradients)


def data(T, B, I, H):
    rng = np.random.default_rng(0)
    k = H**-0.5
    shapes = {"W": (I, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}
    params = {name: rng.uniform(-k, k, shape).astype(np.float32) for name, shape in shapes.items()}
    gy = rng.standard_normal((T, B, H)) * 0.01
    return params, rng.standard_normal((T, B, I)).astype(np.float32), gy.astype(np.float32)


def zeros(params):
    return {name: np.zeros_like(p) for name, p in params.items()}


def copy(tree):
    return {name: p.copy() for name, p in tree.items()}


def median(times):
    return sorted(times)[len(times) // 2]


def compare_train_step(name, rounds):
    """Milliseconds of one training step, compiled and eager, and the share of the machine's multiply-add rate."""
    T, B, I, H = SHAPES[name]
    params, x, gy = data(T, B, I, H)
    moments, number = (zeros(params), zeros(params)), np.float32(3)
    compiled = irdl.compile(irdl_step, donate_argnums=(0, 1))(params, moments, number, x, gy)
    ours = compiled(copy(params), (zeros(params), zeros(params)), number, x, gy)
    theirs = train_step(params, moments, number, x, gy)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-4)
    for key in params:
        np.testing.assert_allclose(ours[1][key], theirs[1][key], rtol=1e-3, atol=1e-4)
    own, own_moments = copy(params), (zeros(params), zeros(params))
    fast, slow = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        compiled(own, own_moments, number, x, gy)
        fast.append(time.perf_counter() - start)
        start = time.perf_counter()
        train_step(params, moments, number, x, gy)
        slow.append(time.perf_counter() - start)
    flops = 2 * T * B * 4 * H * (2 * I + 3 * H)  # x W, h U; dW, dU, dz U.T
    return median(fast), median(slow), flops


def peak():
    """Multiply-adds per second that NumPy's BLAS and irdl's own kernel reach on a square product, the larger."""
    a = np.ones((768, 768), np.float32)
    product = irdl.jit(lambda a, b: a @ b)
    best = np.inf
    for f in (lambda: a @ a, lambda: product(a, a)):
        f()
        for _ in range(10):
            start = time.perf_counter()
            f()
            best = min(best, time.perf_counter() - start)
    return 2 * 768**3 / best


def run_train_step(rounds):
    top = peak()
    print(f"{platform.machine()}, NumPy {np.__version__}, one thread; best square product {top / 1e9:.0f} GFLOP/s\n")
    print("LSTM training step: forward, backward through time, clipping, Adam (float32)\n")
    print("| shape (T, B, in, hidden) | irdl | eager NumPy, by hand | ratio | share of the best product's rate |")
    print("|---|---|---|---|---|")
    for name in SHAPES:
        ours, theirs, flops = compare_train_step(name, rounds)
        print(f"| {name} {SHAPES[name]} | {1e3 * ours:.2f} ms | {1e3 * theirs:.2f} ms | {theirs / ours:.2f} | {flops / ours / top:.0%} |")


def run_compile(rounds):
    print("Cold compile of that step, tracing included (batch 32, hidden 256)\n\n| steps | seconds |\n|---|---|")
    for T in (35, 1000):
        params, x, gy = data(T, 32, 28, 256)
        start = time.perf_counter()
        irdl.compile(irdl_step, donate_argnums=(0, 1))(params, (zeros(params), zeros(params)), np.float32(0), x, gy)
        print(f"| {T} | {time.perf_counter() - start:.2f} |")


def main():
    one_thread()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train-step", "compile"])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    {"train-step": run_train_step, "compile": run_compile}[options.what](options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
