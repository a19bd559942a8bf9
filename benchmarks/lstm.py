"""LSTM layers: forward, forward with weights that were known when the function was compiled (as in ONNX Runtime), and value and
gradient of `(y * gy).sum()` with respect to the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import irdl
from benchmarks.measure import Job, Task, Unavailable
from benchmarks.onnx_session import session


@dataclass(frozen=True)
class Row:
    """Steps, batch, inputs, hidden units, layers."""

    T: int
    B: int
    I: int
    H: int
    layers: int = 1
    dtype: str = "float32"

    @property
    def flops(self) -> int:
        """Necessary floating-point operations of the products, forward."""
        inputs = [self.I, *[self.H] * (self.layers - 1)]
        return sum(2 * self.T * self.B * 4 * self.H * (i + self.H) for i in inputs)

    @property
    def training_flops(self) -> int:
        """Forward, both weight gradients, and the gradients that go back through time and between layers (not to x)."""
        inputs = [self.I, *[self.H] * (self.layers - 1)]
        back = [0, *[self.H] * (self.layers - 1)]
        one = 2 * self.T * self.B * 4 * self.H
        return sum(one * (2 * (i + self.H) + self.H + b) for i, b in zip(inputs, back, strict=True))


ROWS = {
    "rt": Row(1, 1, 8, 32),
    "stream-64": Row(100, 1, 64, 64),
    "stream-256": Row(100, 1, 256, 256),
    "d2l": Row(35, 32, 28, 256),
    "ptb-small": Row(20, 20, 200, 200, 2),
    "ptb-medium": Row(35, 20, 650, 650, 2),
    "batch": Row(50, 64, 512, 512),
    "stream-64-f64": Row(100, 1, 64, 64, dtype="float64"),
    "stream-256-f64": Row(100, 1, 256, 256, dtype="float64"),
    "d2l-f64": Row(35, 32, 28, 256, dtype="float64"),
    "ptb-small-f64": Row(20, 20, 200, 200, 2, dtype="float64"),
}
MODES = ("infer", "static", "train")
PEERS = ("irdl", "numpy", "torch", "jax", "onnxruntime")


def work(row: str, mode: str) -> tuple[float, str]:
    """The row's necessary operations, and their unit."""
    found = ROWS[row]
    return float(found.training_flops if mode == "train" else found.flops), found.dtype


def data(row: Row):
    """Weights as a nested list [(W [I, 4H], U [H, 4H], b [4H]), ...] with gates i, f, g, o; x [T, B, I]; gy [T, B, H]."""
    rng = np.random.default_rng(0)
    k = row.H**-0.5

    def uniform(*shape):
        return rng.uniform(-k, k, shape).astype(row.dtype)

    weights = [[uniform(n, 4 * row.H), uniform(row.H, 4 * row.H), uniform(4 * row.H)] for n in (row.I, *[row.H] * (row.layers - 1))]
    x = rng.standard_normal((row.T, row.B, row.I)).astype(row.dtype)
    return weights, x, rng.standard_normal((row.T, row.B, row.H)).astype(row.dtype)


# As a user of irdl writes it.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(weights, carry, x):
    W, U, b = weights
    h, c = carry
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return (h, c), h


def lstm(weights, x):
    for layer in weights:
        zero = np.zeros((x.shape[1], layer[1].shape[0]), x.dtype)
        _, x = irdl.scan(lambda carry, x, layer=layer: cell(layer, carry, x), (zero, zero), x)
    return x


def loss(weights, x, gy):
    return (lstm(weights, x) * gy).sum()


# By hand, in NumPy.


def numpy_forward(weights, x):
    """y and what the way back needs, per layer."""
    saved = []
    for W, U, b in weights:
        T, B, _ = x.shape
        H = U.shape[0]
        a = (x.reshape(T * B, -1) @ W + b).reshape(T, B, 4 * H)
        h, c = np.zeros((B, H), x.dtype), np.zeros((B, H), x.dtype)
        hs, steps = [h], []
        for t in range(T):
            i, f, g, o = np.split(a[t] + h @ U, 4, axis=1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            before, c = c, f * c + i * g
            tanh_c = np.tanh(c)
            h = o * tanh_c
            hs.append(h)
            steps.append((i, f, g, o, before, tanh_c))
        saved.append((x, hs, steps))
        x = np.stack(hs[1:])
    return x, saved


def numpy_gradient(weights, x, gy):
    """The loss and its gradient, shaped like the weights."""
    y, saved = numpy_forward(weights, x)
    gradients, dy = [], gy
    for place in reversed(range(len(weights))):
        W, U, _ = weights[place]
        x, hs, steps = saved[place]
        T, B, _ = x.shape
        H = U.shape[0]
        dh, dc = np.zeros_like(hs[0]), np.zeros_like(hs[0])
        dz = np.empty((T, B, 4 * H), x.dtype)
        for t in reversed(range(T)):
            i, f, g, o, before, tanh_c = steps[t]
            dh = dh + dy[t]
            dc = dc + dh * o * (1 - tanh_c**2)
            parts = [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o)]
            dz[t] = np.concatenate(parts, axis=1)
            dc = dc * f
            dh = dz[t] @ U.T
        flat = dz.reshape(T * B, 4 * H)
        hidden = np.stack(hs[:-1]).reshape(T * B, H)
        gradients.insert(0, [x.reshape(T * B, -1).T @ flat, hidden.T @ flat, flat.sum(0)])
        if place:
            dy = (flat @ W.T).reshape(x.shape)
    return (y * gy).sum(), gradients


def flat(result):
    """(value, gradients) as a list of arrays."""
    value, gradients = result
    return [np.asarray(value), *(np.asarray(g) for layer in gradients for g in layer)]


def make(task: Task) -> Job:
    row = ROWS[task.row]
    weights, x, gy = data(row)
    wide = [[w.astype(np.float64) for w in layer] for layer in weights]
    if task.mode != "train":
        expected = [numpy_forward(wide, x.astype(np.float64))[0]]
    else:
        expected = flat(numpy_gradient(wide, x.astype(np.float64), gy.astype(np.float64)))
    run, arrays = MAKERS[task.peer](row, task, weights, x, gy)
    return Job(run, arrays, expected, 2e-3 if row.dtype == "float32" else 1e-9)


def _irdl(row, task, weights, x, gy):
    if task.mode != "train":
        static = task.mode == "static"
        for array in (array for layer in weights for array in layer):
            array.flags.writeable = not static
        forward = irdl.jit(lstm, static_argnums=0 if static else ())
        return lambda: forward(weights, x), lambda y: [y]
    step = irdl.jit(irdl.value_and_grad(loss))
    return lambda: step(weights, x, gy), flat


def _numpy(row, task, weights, x, gy):
    if task.mode != "train":
        return lambda: numpy_forward(weights, x)[0], lambda y: [y]
    return lambda: numpy_gradient(weights, x, gy), flat


def _torch(row, task, weights, x, gy):
    import torch

    torch.set_num_threads(task.threads)
    return torch_runs(torch, row, task, weights, x, gy, "cpu")


def torch_runs(torch, row, task, weights, x, gy, device):
    """The layer of PyTorch on a device, or its training step, and the arrays of what that gives."""
    torch.set_grad_enabled(task.mode == "train")
    layer = torch.nn.LSTM(row.I, row.H, row.layers).to(device, getattr(torch, row.dtype))
    with torch.no_grad():
        for place, (W, U, b) in enumerate(weights):
            getattr(layer, f"weight_ih_l{place}").copy_(torch.from_numpy(np.ascontiguousarray(W.T)))
            getattr(layer, f"weight_hh_l{place}").copy_(torch.from_numpy(np.ascontiguousarray(U.T)))
            getattr(layer, f"bias_ih_l{place}").copy_(torch.from_numpy(b))
            getattr(layer, f"bias_hh_l{place}").zero_()
    tx, tgy = torch.from_numpy(x).to(device), torch.from_numpy(gy).to(device)
    if task.mode != "train":
        return lambda: layer(tx)[0], lambda y: [y.cpu().numpy()]

    def step():
        for p in layer.parameters():
            p.grad = None
        value = (layer(tx)[0] * tgy).sum()
        value.backward()
        return value

    def arrays(value):
        result = [value.detach().cpu().numpy()]
        for place in range(row.layers):
            gradient = {n: getattr(layer, f"{n}_l{place}").grad.cpu().numpy() for n in ("weight_ih", "weight_hh", "bias_ih")}
            result += [gradient["weight_ih"].T, gradient["weight_hh"].T, gradient["bias_ih"]]
        return result

    return step, arrays


def _jax(row, task, weights, x, gy):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", row.dtype == "float64")

    def forward(weights, x):
        for W, U, b in weights:

            def step(carry, a, U=U):
                h, c = carry
                i, f, g, o = jnp.split(a + h @ U, 4, axis=1)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            zero = jnp.zeros((row.B, row.H), row.dtype)
            _, x = jax.lax.scan(step, (zero, zero), x @ W + b)
        return x

    jw, jx, jgy = jax.tree.map(jnp.asarray, (weights, x, gy))
    if task.mode == "static":
        f = jax.jit(lambda x: forward(jw, x))
        return lambda: f(jx).block_until_ready(), lambda y: [np.asarray(y)]
    if task.mode == "infer":
        f = jax.jit(forward)
        return lambda: f(jw, jx).block_until_ready(), lambda y: [np.asarray(y)]
    step = jax.jit(jax.value_and_grad(lambda w, x, gy: (forward(w, x) * gy).sum()))
    return lambda: jax.block_until_ready(step(jw, jx, jgy)), flat


def _onnxruntime(row, task, weights, x, gy):
    if task.mode == "train" or row.dtype != "float32":
        raise Unavailable("inference in float32 only")
    import onnx.helper as helper
    from onnx import numpy_helper

    def gates(array):
        i, f, g, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, g], axis=-1)

    nodes, constants, name = [], [], "x"
    for place, (W, U, b) in enumerate(weights):
        arrays = {"W": gates(W).T, "R": gates(U).T, "B": np.concatenate([gates(b), np.zeros_like(b)])}
        constants += [numpy_helper.from_array(np.ascontiguousarray(a)[None], f"{n}{place}") for n, a in arrays.items()]
        nodes.append(helper.make_node("LSTM", [name, f"W{place}", f"R{place}", f"B{place}"], [f"y{place}"], hidden_size=row.H))
        name = f"y{place}"
        if place + 1 < row.layers:
            constants.append(numpy_helper.from_array(np.array([1], np.int64), f"axes{place}"))
            nodes.append(helper.make_node("Squeeze", [name, f"axes{place}"], [f"x{place + 1}"]))
            name = f"x{place + 1}"
    return session(nodes, constants, name, (row.T, 1, row.B, row.H), x, task.threads), lambda y: [y[:, 0]]


MAKERS = {"irdl": _irdl, "numpy": _numpy, "torch": _torch, "jax": _jax, "onnxruntime": _onnxruntime}
