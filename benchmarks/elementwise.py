"""Elementwise functions, softmax and layer norm, on arrays that fit the second-level cache and on ones that do not; and each of
NumPy's elementwise functions by itself."""

from __future__ import annotations

import numpy as np

import irdl
from benchmarks.measure import Job, Task, Unavailable


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
SHAPES = {"64K": (256, 256), "4M": (4096, 1024), "256K": (256, 1024)}
#: each with the lowest and highest number it is given
UFUNCS = {
    **dict.fromkeys(
        ["exp", "expm1", "exp2", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "arcsinh", "cbrt", "square", "reciprocal"], (-3, 3)
    ),
    **dict.fromkeys(["negative", "absolute", "sign", "floor", "ceil", "trunc", "rint", "isnan", "isinf", "isfinite", "signbit"], (-3, 3)),
    **dict.fromkeys(["log", "log2", "log10", "log1p", "arccosh", "sqrt"], (1.1, 5)),
    **dict.fromkeys(["arcsin", "arccos", "arctanh"], (-0.9, 0.9)),
    **dict.fromkeys(["add", "subtract", "multiply", "divide", "maximum", "minimum", "fmax", "fmin"], (-3, 3)),
    **dict.fromkeys(["less", "equal", "logical_and", "copysign", "hypot", "arctan2", "logaddexp"], (-3, 3)),
    **dict.fromkeys(["power", "floor_divide", "remainder", "fmod"], (0.5, 5)),
}
ROWS = {
    **{f"{name} {size}": (name, size) for name in FUNCTIONS for size in ("64K", "4M")},
    **{f"np.{name}": (name, "256K") for name in UFUNCS},
}
MODES = ("float32", "float64")
PEERS = ("irdl", "numpy", "torch", "jax")


def work(row: str, mode: str) -> tuple[float, str]:
    """Bytes read and written once."""
    name, size = ROWS[row]
    arrays = 1 + (getattr(np, name).nin if row.startswith("np.") else 1)
    return float(arrays * np.dtype(mode).itemsize * int(np.prod(SHAPES[size]))), "bytes"


def make(task: Task) -> Job:
    name, size = ROWS[task.row]
    rng, dtype = np.random.default_rng(0), np.dtype(task.mode)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    if task.row.startswith("np."):
        x, y = (rng.uniform(*UFUNCS[name], SHAPES[size]).astype(dtype) for _ in range(2))
        arguments = (x, y)[: getattr(np, name).nin]
        expected = [getattr(np, name)(*arguments).astype(np.float64)]
        f = _ufunc(name, task.peer)
    else:
        arguments = (rng.standard_normal(SHAPES[size]).astype(dtype),)
        expected = [FUNCTIONS[name](np, arguments[0].astype(np.float64))]
        f = _function(name, task.peer)
    if task.peer == "irdl":
        compiled = irdl.jit(f)
        return Job(lambda: compiled(*arguments), lambda y: [y], expected, tolerance)
    if task.peer == "numpy":
        return Job(lambda: f(*arguments), lambda y: [y], expected, tolerance)
    if task.peer == "torch":
        import torch

        torch.set_num_threads(task.threads)
        tensors = [torch.from_numpy(x) for x in arguments]
        return Job(lambda: f(*tensors), lambda y: [y.numpy()], expected, tolerance)
    import jax

    jax.config.update("jax_enable_x64", True)
    device, jitted = [jax.numpy.asarray(x) for x in arguments], jax.jit(f)
    return Job(lambda: jitted(*device).block_until_ready(), lambda y: [np.asarray(y)], expected, tolerance)


def _ufunc(name: str, peer: str):
    if peer in ("irdl", "numpy"):
        ufunc = getattr(np, name)
        # NumPy's own functions are no Python functions, which `jit` wants.
        return (lambda *x: ufunc(*x)) if peer == "irdl" else ufunc
    if peer == "jax":
        import jax

        return getattr(jax.numpy, name)
    import torch

    if not hasattr(torch, name):
        raise Unavailable(f"torch has no {name}")
    return getattr(torch, name)


def _function(name: str, peer: str):
    if peer in ("irdl", "numpy"):
        return lambda x: FUNCTIONS[name](np, x)
    if peer == "jax":
        import jax

        return lambda x: FUNCTIONS[name](jax.numpy, x)
    import torch

    return {
        "add": lambda x: x + x,
        "exp": torch.exp,
        "log": lambda x: torch.log(x * x + 1),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "softmax": lambda x: torch.softmax(x, -1),
        "layer-norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    }[name]
