"""Elementwise functions, softmax and layer norm, on arrays that fit the second-level cache and on ones that do not."""

from __future__ import annotations

import numpy as np

import irdl
from benchmarks.measure import Job, Task


def softmax(np, x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(np, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5)


#: of a module `np` (numpy or jax.numpy) and an array
FUNCTIONS = {
    "add": lambda np, x: x + x,
    "exp": lambda np, x: np.exp(x),
    "log": lambda np, x: np.log(x * x + 1),
    "tanh": lambda np, x: np.tanh(x),
    "sigmoid": lambda np, x: 1 / (1 + np.exp(-x)),
    "gelu": lambda np, x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
    "softmax": softmax,
    "layer-norm": layer_norm,
}
SHAPES = {"64K": (256, 256), "4M": (4096, 1024)}
ROWS = {f"{name} {size}": (name, size) for name in FUNCTIONS for size in SHAPES}
MODES = ("float32",)
PEERS = ("irdl", "numpy", "torch", "jax")


def work(row: str, mode: str) -> tuple[float, str]:
    """Bytes read and written once."""
    return 2.0 * 4 * int(np.prod(SHAPES[ROWS[row][1]])), "bytes"


def make(task: Task) -> Job:
    name, size = ROWS[task.row]
    f = FUNCTIONS[name]
    x = np.random.default_rng(0).standard_normal(SHAPES[size]).astype(np.float32)
    expected = [f(np, x.astype(np.float64))]
    if task.peer == "irdl":
        compiled = irdl.jit(lambda x: f(np, x))
        return Job(lambda: compiled(x), lambda y: [y], expected, 1e-5)
    if task.peer == "numpy":
        return Job(lambda: f(np, x), lambda y: [y], expected, 1e-5)
    if task.peer == "torch":
        import torch

        torch.set_num_threads(task.threads)
        own = {
            "add": lambda x: x + x,
            "exp": torch.exp,
            "log": lambda x: torch.log(x * x + 1),
            "tanh": torch.tanh,
            "sigmoid": torch.sigmoid,
            "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
            "softmax": lambda x: torch.softmax(x, -1),
            "layer-norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
        }[name]
        tx = torch.from_numpy(x)
        return Job(lambda: own(tx), lambda y: [y.numpy()], expected, 1e-5)
    import jax

    jx, jf = jax.numpy.asarray(x), jax.jit(lambda x: f(jax.numpy, x))
    return Job(lambda: jf(jx).block_until_ready(), lambda y: [np.asarray(y)], expected, 1e-5)
