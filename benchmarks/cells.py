"""Recurrent cells other than the LSTM: those that have a kernel somewhere, and those that have none anywhere.

A cell is written once, over a handful of functions that NumPy (and so irdl), jax.numpy and torch each provide.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

import irdl
from benchmarks.measure import Job, Task, Unavailable
from benchmarks.onnx_session import session

SHAPES = {"1x64": (100, 1, 64, 64), "32x256": (35, 32, 28, 256)}


# ops: tanh, sigmoid, relu, sin, split(x, n), normal(x): to mean 0 and variance 1 along the last axis.


def rnn(ops, p, carry, x):
    (h,) = carry
    h = ops.relu(x @ p["W"] + h @ p["U"] + p["b"])
    return (h,), h


def gru(ops, p, carry, x):
    """As PyTorch's: the reset gate acts on the product, gates r, z, n."""
    (h,) = carry
    xr, xz, xn = ops.split(x @ p["W"] + p["b"], 3)
    hr, hz, hn = ops.split(h @ p["U"] + p["c"], 3)
    z = ops.sigmoid(xz + hz)
    h = (1 - z) * ops.tanh(xn + ops.sigmoid(xr + hr) * hn) + z * h
    return (h,), h


def peephole_lstm(ops, p, carry, x):
    h, c = carry
    i, f, g, o = ops.split(x @ p["W"] + h @ p["U"] + p["b"], 4)
    pi, pf, po = ops.split(p["P"], 3)
    new = ops.sigmoid(f + pf * c) * c + ops.sigmoid(i + pi * c) * ops.tanh(g)
    h = ops.sigmoid(o + po * new) * ops.tanh(new)
    return (h, new), h


def coupled_lstm(ops, p, carry, x):
    h, c = carry
    f, g, o = ops.split(x @ p["W"] + h @ p["U"] + p["b"], 3)
    f = ops.sigmoid(f)
    c = f * c + (1 - f) * ops.tanh(g)
    h = ops.sigmoid(o) * ops.tanh(c)
    return (h, c), h


def layer_norm_lstm(ops, p, carry, x):
    h, c = carry
    i, f, g, o = ops.split(ops.normal(x @ p["W"]) + ops.normal(h @ p["U"]) + p["b"], 4)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    h = ops.sigmoid(o) * ops.tanh(ops.normal(c))
    return (h, c), h


def zoneout_lstm(ops, p, carry, x):
    h, c = carry
    i, f, g, o = ops.split(x @ p["W"] + h @ p["U"] + p["b"], 4)
    c = 0.1 * c + 0.9 * (ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g))
    h = 0.1 * h + 0.9 * (ops.sigmoid(o) * ops.tanh(c))
    return (h, c), h


def fast_weights(ops, p, carry, x):
    """The delta rule: a matrix that each step reads and writes by vectors of its own."""
    h, memory = carry
    query, key, value = ops.split(x @ p["W"] + h @ p["U"] + p["b"], 3)
    key = ops.tanh(key) * key.shape[-1] ** -0.5
    change = value - (memory * key[:, None, :]).sum(-1)
    memory = 0.95 * memory + change[:, :, None] * key[:, None, :]
    h = ops.tanh((memory * query[:, None, :]).sum(-1))
    return (h, memory), h


def random_cell(seed: int, gates: int):
    """`gates` gates wired by chance."""

    def cell(ops, p, carry, x):
        rng = np.random.default_rng(seed)
        h, c = carry
        parts = ops.split(x @ p["W"] + h @ p["U"] + p["b"], gates)
        values = [(ops.tanh, ops.sigmoid, ops.sin)[rng.integers(3)](part) for part in parts]
        total = c
        for _ in range(2 * gates):
            a, b = (values[k] for k in rng.integers(gates, size=2))
            total = (total * a + b, total * 0.5 + a * b, ops.tanh(total - a) * b)[rng.integers(3)]
        for value in values:
            total = total + 0.1 * value
        c = ops.tanh(total)
        h = c * ops.sigmoid(parts[0])
        return (h, c), h

    return cell


#: cell, gates, and of each carry how many axes of the hidden size it has
CELLS = {
    "rnn": (rnn, 1, (1,)),
    "gru": (gru, 3, (1,)),
    "peephole": (peephole_lstm, 4, (1, 1)),
    "coupled": (coupled_lstm, 3, (1, 1)),
    "layer-norm": (layer_norm_lstm, 4, (1, 1)),
    "zoneout": (zoneout_lstm, 4, (1, 1)),
    "fast-weights": (fast_weights, 3, (1, 2)),
    "random-a": (random_cell(1, 3), 3, (1, 1)),
    "random-b": (random_cell(2, 5), 5, (1, 1)),
}


@dataclass(frozen=True)
class Row:
    cell: str
    shape: tuple[int, int, int, int]


ROWS = {f"{name} {size}": Row(name, shape) for name in CELLS for size, shape in SHAPES.items()}
MODES = ("infer", "train")
PEERS = ("irdl", "numpy", "torch", "jax", "onnxruntime")


def work(row: str, mode: str) -> tuple[float, str]:
    T, B, I, H = ROWS[row].shape
    _, gates, carries = CELLS[ROWS[row].cell]
    one = 2.0 * T * B * gates * H
    matrices = 2.0 * T * B * H * H * 3 * carries.count(2)  # read twice, and written
    return one * (I + H if mode == "infer" else 2 * (I + H) + H) + matrices * (1 if mode == "infer" else 3), "float32"


def data(row: Row, dtype):
    T, B, I, H = row.shape
    gates = CELLS[row.cell][1]
    rng = np.random.default_rng(0)
    k = H**-0.5
    shapes = {"W": (I, gates * H), "U": (H, gates * H), "b": (gates * H,)}
    shapes |= {"c": (gates * H,)} if row.cell == "gru" else {"P": (3 * H,)} if row.cell == "peephole" else {}
    p = {name: rng.uniform(-k, k, shape).astype(np.float32).astype(dtype) for name, shape in shapes.items()}
    x, gy = (rng.standard_normal(shape).astype(np.float32).astype(dtype) for shape in ((T, B, I), (T, B, H)))
    return p, x, gy


NUMPY = SimpleNamespace(
    tanh=np.tanh,
    sin=np.sin,
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    relu=lambda x: np.maximum(x, 0),
    split=lambda x, n: np.split(x, n, axis=-1),
    normal=lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
)


def numpy_forward(row: Row, p, x):
    cell, _, carries = CELLS[row.cell]
    carry = tuple(np.zeros((x.shape[1], *[len(p["U"])] * axes), x.dtype) for axes in carries)
    ys = []
    for step in x:
        carry, y = cell(NUMPY, p, carry, step)
        ys.append(y)
    return np.stack(ys)


def make(task: Task) -> Job:
    row = ROWS[task.row]
    return checked(row, task.mode, *MAKERS[task.peer](row, task, *data(row, np.float32)))


def checked(row: Row, mode: str, run, arrays) -> Job:
    """A job whose results are compared with NumPy's in float64."""
    wide = data(row, np.float64)
    if mode == "infer":
        return Job(run, arrays, [numpy_forward(row, *wide[:2])], 5e-3)
    # Gradients are checked along one direction, by differences in float64, short ones for the sake of kinks.
    p, x, gy = wide
    rng = np.random.default_rng(1)
    direction = {name: rng.standard_normal(w.shape) for name, w in p.items()}
    value = (numpy_forward(row, p, x) * gy).sum()
    moved = [(numpy_forward(row, {n: w + e * direction[n] for n, w in p.items()}, x) * gy).sum() for e in (1e-8, -1e-8)]
    expected = [value, (moved[0] - moved[1]) / 2e-8]
    size = sum(np.abs(w).sum() for w in p.values())

    def along(result):
        value, gradient = arrays(result)
        total = sum((np.asarray(gradient[name], np.float64) * direction[name]).sum() for name in p)
        return [np.asarray(value) / size, total / size]

    return Job(run, along, [np.asarray(e) / size for e in expected], 2e-2)


def forward_of(row: Row):
    """The layer, as a user of irdl writes it: of parameters and inputs."""
    cell, _, carries = CELLS[row.cell]

    def forward(p, x):
        zeros = tuple(np.zeros((x.shape[1], *[len(p["U"])] * axes), x.dtype) for axes in carries)
        return irdl.scan(lambda carry, x: cell(NUMPY, p, carry, x), zeros, x)[1]

    return forward


def loss_of(row: Row):
    forward = forward_of(row)
    return lambda p, x, gy: (forward(p, x) * gy).sum()


def _irdl(row, task, p, x, gy):
    if task.mode == "infer":
        f = irdl.jit(forward_of(row))
        return lambda: f(p, x), lambda y: [y]
    step = irdl.jit(irdl.value_and_grad(loss_of(row)))
    return lambda: step(p, x, gy), lambda result: result


def _numpy(row, task, p, x, gy):
    if task.mode == "train":
        raise Unavailable("no gradient by hand")
    return lambda: numpy_forward(row, p, x), lambda y: [y]


def _torch(row, task, p, x, gy):
    import torch

    torch.set_num_threads(task.threads)
    torch.set_grad_enabled(task.mode == "train")
    _, B, I, H = row.shape
    own = {"rnn": lambda: torch.nn.RNN(I, H, nonlinearity="relu"), "gru": lambda: torch.nn.GRU(I, H)}.get(row.cell)
    tx, tgy = torch.from_numpy(x), torch.from_numpy(gy)
    if own is not None:
        layer = own()
        with torch.no_grad():
            layer.weight_ih_l0.copy_(torch.from_numpy(p["W"].T.copy()))
            layer.weight_hh_l0.copy_(torch.from_numpy(p["U"].T.copy()))
            layer.bias_ih_l0.copy_(torch.from_numpy(p["b"]))
            layer.bias_hh_l0.copy_(torch.from_numpy(p.get("c", np.zeros_like(p["b"]))))
        named = {"W": layer.weight_ih_l0, "U": layer.weight_hh_l0, "b": layer.bias_ih_l0, "c": layer.bias_hh_l0}

        def forward():
            return layer(tx)[0]
    else:
        cell, _, carries = CELLS[row.cell]
        named = {name: torch.from_numpy(w).requires_grad_(task.mode == "train") for name, w in p.items()}
        ops = SimpleNamespace(
            tanh=torch.tanh,
            sin=torch.sin,
            sigmoid=torch.sigmoid,
            relu=torch.relu,
            split=lambda x, n: torch.chunk(x, n, -1),
            normal=lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
        )

        def forward():
            carry, ys = tuple(torch.zeros(B, *[H] * axes) for axes in carries), []
            for step in tx:
                carry, y = cell(ops, named, carry, step)
                ys.append(y)
            return torch.stack(ys)

    if task.mode == "infer":
        return forward, lambda y: [y.numpy()]

    def step():
        for w in named.values():
            w.grad = None
        value = (forward() * tgy).sum()
        value.backward()
        return value

    def arrays(value):
        found = {name: w.grad.numpy() for name, w in named.items() if w.grad is not None}
        if own is not None:
            found |= {"W": found["W"].T, "U": found["U"].T}
        return value.detach().numpy(), found

    return step, arrays


def _jax(row, task, p, x, gy):
    import jax
    import jax.numpy as jnp

    cell, _, carries = CELLS[row.cell]
    ops = SimpleNamespace(
        tanh=jnp.tanh,
        sin=jnp.sin,
        sigmoid=jax.nn.sigmoid,
        relu=jax.nn.relu,
        split=lambda x, n: jnp.split(x, n, axis=-1),
        normal=lambda x: (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5),
    )

    def forward(p, x):
        zeros = tuple(jnp.zeros((x.shape[1], *[len(p["U"])] * axes), x.dtype) for axes in carries)
        return jax.lax.scan(lambda carry, x: cell(ops, p, carry, x), zeros, x)[1]

    jp, jx, jgy = jax.tree.map(jnp.asarray, (p, x, gy))
    if task.mode == "infer":
        f = jax.jit(forward)
        return lambda: f(jp, jx).block_until_ready(), lambda y: [np.asarray(y)]
    step = jax.jit(jax.value_and_grad(lambda p, x, gy: (forward(p, x) * gy).sum()))
    return lambda: jax.block_until_ready(step(jp, jx, jgy)), lambda result: result


def _onnxruntime(row, task, p, x, gy):
    if task.mode == "train" or row.cell not in ("rnn", "gru", "peephole"):
        raise Unavailable("no such operator")
    import onnx.helper as helper
    from onnx import numpy_helper

    order = {"rnn": [0], "gru": [1, 0, 2], "peephole": [0, 3, 1, 2]}[row.cell]
    gates = len(order)

    def arrange(array):
        parts = np.split(array, gates, axis=-1)
        return np.concatenate([parts[k] for k in order], axis=-1)

    zero = np.zeros_like(p["b"])
    arrays = {"W": arrange(p["W"]).T, "R": arrange(p["U"]).T, "B": np.concatenate([arrange(p["b"]), arrange(p.get("c", zero))])}
    names, more = ["x", "W", "R", "B"], {}
    if row.cell == "gru":
        more = {"linear_before_reset": 1}
    elif row.cell == "rnn":
        more = {"activations": ["Relu"]}
    else:
        i, f, o = np.split(p["P"], 3)
        arrays["P"] = np.concatenate([i, o, f])
        names += ["", "", "", "P"]
    constants = [numpy_helper.from_array(np.ascontiguousarray(a)[None], name) for name, a in arrays.items()]
    T, B, _, H = row.shape
    operator = {"rnn": "RNN", "gru": "GRU", "peephole": "LSTM"}[row.cell]
    nodes = [helper.make_node(operator, names, ["y"], hidden_size=H, **more)]
    return session(nodes, constants, "y", (T, 1, B, H), x, task.threads), lambda y: [y[:, 0]]


MAKERS = {"irdl": _irdl, "numpy": _numpy, "torch": _torch, "jax": _jax, "onnxruntime": _onnxruntime}
