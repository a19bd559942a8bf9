"""`python -m benchmarks train-step | compile`: irdl beside eager NumPy, in one run, each on one thread.

Every result is checked against NumPy first. Each peer trains in a process of its own, its caches as they are in training; the
two take turns, and the medians over the rounds are compared. Only ratios mean anything on a noisy machine.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time

import numpy as np

import irdl
from benchmarks import one_thread
from benchmarks.eager_lstm import adam, sigmoid, train_step, tuned_train_step

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


PEERS = ("irdl", "numpy", "tuned")


def data(T, B, I, H):
    rng = np.random.default_rng(0)
    k = H**-0.5
    shapes = {"W": (I, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}
    params = {name: rng.uniform(-k, k, shape).astype(np.float32) for name, shape in shapes.items()}
    gy = rng.standard_normal((T, B, H)) * 0.01
    return params, rng.standard_normal((T, B, I)).astype(np.float32), gy.astype(np.float32)


def zeros(params):
    return {name: np.zeros_like(p) for name, p in params.items()}


def median(times):
    return sorted(times)[len(times) // 2]


def check_train_step(shape):
    """The compiled step and the one by hand agree on loss and updated parameters."""
    params, x, gy = data(*shape)
    moments, number = (zeros(params), zeros(params)), np.float32(3)
    ours = irdl.jit(irdl_step)(params, moments, number, x, gy)
    for by_hand in (train_step, tuned_train_step):
        theirs = by_hand(params, moments, number, x, gy)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-4)
        for key in params:
            np.testing.assert_allclose(ours[1][key], theirs[1][key], rtol=1e-3, atol=1e-4)


def worker(peer, name):
    """A peer in a process of its own: for every line on standard input, trains a while and prints its median step."""
    params, x, gy = data(*SHAPES[name])
    moments, number = (zeros(params), zeros(params)), np.float32(3)
    step = {"numpy": train_step, "tuned": tuned_train_step}.get(peer)
    if step is None:
        step = irdl.compile(irdl_step, donate_argnums=(0, 1))(params, moments, number, x, gy)
    for _ in sys.stdin:
        times = []
        while len(times) < 5 or sum(times) < 0.3:
            start = time.perf_counter()
            _, params, moments = step(params, moments, number, x, gy)
            times.append(time.perf_counter() - start)
        print(median(times), flush=True)


def compare_train_step(name, rounds):
    """Seconds of one training step for each peer, medians over rounds in which they take turns; and its necessary operations."""
    check_train_step(SHAPES[name])
    command = [sys.executable, "-m", "benchmarks", "worker", name, "--peer"]
    peers = [subprocess.Popen([*command, peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for peer in PEERS]
    times = [[] for _ in PEERS]
    for _ in range(rounds + 1):
        for peer, found in zip(peers, times, strict=True):
            peer.stdin.write("go\n")
            peer.stdin.flush()
            found.append(float(peer.stdout.readline()))
    for peer in peers:
        peer.stdin.close()
        peer.wait()
    T, B, I, H = SHAPES[name]
    flops = 2 * T * B * 4 * H * (2 * I + 3 * H)  # x W, h U; dW, dU, dz U.T
    return [median(found[1:]) for found in times], flops


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
    print("| shape (T, B, in, hidden) | irdl | NumPy | ratio | NumPy, tuned | ratio | share of the best product's rate |")
    print("|---|---|---|---|---|---|---|")
    for name in SHAPES:
        (ours, plain, tuned), flops = compare_train_step(name, rounds)
        row = [f"{name} {SHAPES[name]}", f"{1e3 * ours:.2f} ms", f"{1e3 * plain:.2f} ms", f"{plain / ours:.2f}"]
        row += [f"{1e3 * tuned:.2f} ms", f"{tuned / ours:.2f}", f"{flops / ours / top:.0%}"]
        print(f"| {' | '.join(row)} |")


def run_compile(rounds):
    print("Cold compile of that step, tracing included (batch 32, hidden 256)\n\n| steps | seconds |\n|---|---|")
    for T in (35, 1000):
        params, x, gy = data(T, 32, 28, 256)
        start = time.perf_counter()
        irdl.compile(irdl_step, donate_argnums=(0, 1))(params, (zeros(params), zeros(params)), np.float32(0), x, gy)
        print(f"| {T} | {time.perf_counter() - start:.2f} |")


def main():
    if sys.argv[1:2] == ["worker"] and sys.argv[2].startswith("{"):
        import json

        from benchmarks import lstm
        from benchmarks.measure import Task, serve

        task = Task(**json.loads(sys.argv[2]))
        serve({"lstm": lstm.make}[task.suite], task)
        return 0
    one_thread()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train-step", "compile", "worker"])
    parser.add_argument("shape", nargs="?", choices=list(SHAPES))
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.what == "worker":
        worker(options.peer, options.shape)
    else:
        {"train-step": run_train_step, "compile": run_compile}[options.what](options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
