"""How long the first call takes: tracing, compiling and one run, each time in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANY = ("dict of 400", "adam 96", "adam 400", "sum of 2000", "unrolled 200", "unrolled 400")
#: an LSTM with its gradient whose time loop is Python's
LOOPS = ("Python loop 50", "Python loop 200", "Python loop 1000")
ROWS = ("35 steps", "1000 steps", *MANY, *LOOPS)
#: from disk: what an earlier process compiled; scan: the loop written with `irdl.scan`
PEERS = ("irdl", "irdl from disk", "irdl scan", "jax", "torch.compile")
#: seconds after which a peer is stopped
MOST = 300
_CODE = """
import sys, time
from benchmarks.lstm import MAKERS, Row, data
from benchmarks.measure import Task
row = Row({steps}, 32, 28, 256)
arguments = data(row)
if "{peer}" == "jax":
    import jax
    jax.numpy.zeros(3).block_until_ready()
start = time.perf_counter()
run, _ = MAKERS["{peer}"](row, Task("lstm", "", "train", "{peer}", 1), *arguments)
run()
first = time.perf_counter() - start
start = time.perf_counter()
run()
print(first - (time.perf_counter() - start))
"""
_CODE_OF_MANY = """
import sys, time
from benchmarks.compile_time import program
if "{peer}" == "jax":
    import jax
    from jax import jit
    import jax.numpy as np
    np.zeros(3).block_until_ready()
else:
    import numpy as np
    from irdl import jit
f, arguments = program("{row}", np)
run = jit(f)
start = time.perf_counter()
run(*arguments)
first = time.perf_counter() - start
start = time.perf_counter()
run(*arguments)
print(first - (time.perf_counter() - start))
"""


def program(row: str, np: Any) -> tuple[Callable[..., Any], tuple]:
    """Programs with many arrays, or many steps that are not a scan, in `np` (numpy or jax.numpy)."""
    kind, count = row.split()[0], int(row.split()[-1])
    if kind == "dict":
        return lambda d: {key: item * 2 for key, item in d.items()}, ({f"k{i}": np.ones(16) for i in range(count)},)
    if kind == "sum":
        return lambda xs: sum(xs[1:], xs[0]), ([np.ones(16) for _ in range(count)],)
    if kind == "adam":

        def step(parameters: Any, means: Any, squares: Any, gradients: Any) -> Any:
            results = []
            for p, m, v, g in zip(parameters, means, squares, gradients, strict=True):
                m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
                results.append((p - 0.001 * m / (np.sqrt(v) + 1e-8), m, v))
            return results

        return step, tuple([np.ones((8 + i % 7, 16)) for i in range(count)] for _ in range(4))

    def unrolled(h: Any, xs: Any, w: Any) -> Any:
        for t in range(count):
            h = np.tanh(h @ w + xs[t])
        return h

    return unrolled, (np.zeros((8, 64)), np.ones((count, 8, 64)), np.ones((64, 64)) / 64)


_CODE_OF_LOOPS = """
import time
from benchmarks.compile_time import loop_gradient
run = loop_gradient("{peer}", {steps})
start = time.perf_counter()
run()
first = time.perf_counter() - start
start = time.perf_counter()
run()
print(first - (time.perf_counter() - start))
"""


def loop_gradient(peer: str, steps: int) -> Callable[[], Any]:
    """Value and gradient of an LSTM over so many steps (batch 20, 128 inputs, 128 units, float32); what runs it once."""
    import numpy

    random = numpy.random.default_rng(0)
    shapes = (128, 512), (128, 512), (512,), (steps, 20, 128)
    arrays = [random.standard_normal(shape, numpy.float32) * numpy.float32(0.1) for shape in shapes]
    if peer == "torch.compile":
        import torch

        w, u, b, x = (torch.from_numpy(array) for array in arrays)
        for parameter in (w, u, b):
            parameter.requires_grad_()
        compiled = torch.compile(lambda: lstm_loss(torch, w, u, b, x, torch.zeros(20, 128), lambda z: torch.split(z, 128, dim=1)))

        def run() -> None:
            compiled().backward()

        return run
    if peer == "jax":
        import jax
        import jax.numpy as np
    else:
        import numpy as np

        import irdl as jax
    zeros = numpy.zeros((20, 128), numpy.float32)
    loss = lstm_scan if peer == "irdl scan" else lstm_loss
    f = jax.jit(jax.value_and_grad(lambda w, u, b, x: loss(np, w, u, b, x, np.asarray(zeros), lambda z: np.split(z, 4, axis=1)), (0, 1, 2)))
    given = [np.asarray(array) for array in arrays]
    return lambda: getattr(jax, "block_until_ready", lambda result: result)(f(*given))


def _cell(np: Any, w: Any, u: Any, b: Any, x: Any, h: Any, c: Any, split: Callable[[Any], Any]) -> tuple[Any, Any]:
    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    i, f, o, g = split(x @ w + h @ u + b)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_loss(np: Any, w: Any, u: Any, b: Any, x: Any, zeros: Any, split: Callable[[Any], Any]) -> Any:
    h = c = total = zeros
    for t in range(x.shape[0]):
        h, c = _cell(np, w, u, b, x[t], h, c, split)
        total = total + h * h
    return total.mean()


def lstm_scan(np: Any, w: Any, u: Any, b: Any, x: Any, zeros: Any, split: Callable[[Any], Any]) -> Any:
    import irdl

    def step(state: Any, row: Any) -> tuple[Any, None]:
        h, c, total = state
        h, c = _cell(np, w, u, b, row, h, c, split)
        return (h, c, total + h * h), None

    (_, _, total), _ = irdl.scan(step, (zeros, zeros, zeros), x)
    return total.mean()


def seconds(row: str, peer: str) -> float | None:
    """The first call less a later one: of steps, forward and backward of an LSTM (batch 32, hidden 256). None: not installed, or not
    within `MOST` seconds."""
    if row not in LOOPS and peer in ("irdl scan", "torch.compile"):
        return None
    text = _CODE_OF_MANY if row in MANY else _CODE_OF_LOOPS if row in LOOPS else _CODE
    steps = row.split()[-1] if row in LOOPS else row.split()[0]
    code = text.format(row=row, steps=steps, peer=peer.removesuffix(" from disk"))
    with tempfile.TemporaryDirectory() as folder:
        cached = "from disk" in peer
        environment = {**os.environ, "IRDL_CACHE": str(int(cached)), "IRDL_CACHE_DIR": folder, "IRDL_NUM_THREADS": "1"}
        for _ in range(2 if cached else 1):
            command = [sys.executable, "-c", code]
            folder_above = Path(__file__).parent.parent
            try:
                result = subprocess.run(
                    command, capture_output=True, text=True, cwd=folder_above, env=environment, check=False, timeout=MOST
                )
            except subprocess.TimeoutExpired:
                return None
    return float(result.stdout) if result.returncode == 0 else None
