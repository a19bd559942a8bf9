"""Matrix products `a @ b`, square and as recurrent models have them."""

from __future__ import annotations

import numpy as np

import irdl
from benchmarks.measure import Job, Task

#: M, K, N
ROWS = {
    **{f"{n}": (n, n, n) for n in (100, 256, 512, 1024, 2048)},
    "1x256x1024": (1, 256, 1024),
    "4x256x1024": (4, 256, 1024),
    "20x650x2600": (20, 650, 2600),
    "32x256x1024": (32, 256, 1024),
    "256x4096x256": (256, 4096, 256),
}
MODES = ("float32", "float64")
#: openblas: NumPy's own BLAS, told to use its AVX-512 kernels, which it does not choose on every processor that has them
PEERS = ("irdl", "numpy", "openblas", "torch", "jax")
ENVIRONMENT = {"openblas": {"OPENBLAS_CORETYPE": "SkylakeX"}}


def work(row: str, mode: str) -> tuple[float, str]:
    M, K, N = ROWS[row]
    return 2.0 * M * K * N, mode


def make(task: Task) -> Job:
    M, K, N = ROWS[task.row]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(task.mode) for shape in ((M, K), (K, N)))
    expected = [a.astype(np.float64) @ b.astype(np.float64)]
    tolerance = 1e-3 if task.mode == "float32" else 1e-11
    if task.peer == "irdl":
        product = irdl.jit(lambda a, b: a @ b)
        return Job(lambda: product(a, b), lambda c: [c], expected, tolerance)
    if task.peer in ("numpy", "openblas"):
        return Job(lambda: a @ b, lambda c: [c], expected, tolerance)
    if task.peer == "torch":
        import torch

        torch.set_num_threads(task.threads)
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        return Job(lambda: ta @ tb, lambda c: [c.numpy()], expected, tolerance)
    import jax

    jax.config.update("jax_enable_x64", True)
    ja, jb, f = jax.numpy.asarray(a), jax.numpy.asarray(b), jax.jit(lambda a, b: a @ b)
    return Job(lambda: f(ja, jb).block_until_ready(), lambda c: [np.asarray(c)], expected, tolerance)
