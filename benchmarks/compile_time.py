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
ROWS = ("35 steps", "1000 steps", *MANY)
#: from disk: what an earlier process compiled
PEERS = ("irdl", "irdl from disk", "jax")
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


def seconds(row: str, peer: str) -> float | None:
    """The first call less a later one: of steps, forward and backward of an LSTM (batch 32, hidden 256). None: not installed."""
    text = _CODE_OF_MANY if row in MANY else _CODE
    code = text.format(row=row, steps=row.split()[0], peer=peer.split()[0])
    with tempfile.TemporaryDirectory() as folder:
        cached = "from disk" in peer
        environment = {**os.environ, "IRDL_CACHE": str(int(cached)), "IRDL_CACHE_DIR": folder, "IRDL_NUM_THREADS": "1"}
        for _ in range(2 if cached else 1):
            command = [sys.executable, "-c", code]
            result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, env=environment, check=False)
    return float(result.stdout) if result.returncode == 0 else None
