"""The LSTM training step in plain NumPy, twice: as one writes it well, and tuned further. Both hoist the input product, compute
the gates in one matmul, and take the weight gradients in one matmul behind the loop. `train-step` measures irdl against them."""

from __future__ import annotations

import numpy as np

from benchmarks.lstm import numpy_gradient, sigmoid


def train_step(params: dict, moments: tuple[dict, dict], step: float, x: np.ndarray, gy: np.ndarray) -> tuple[float, dict, tuple]:
    """Loss `(y * gy).sum()`, its gradient through time, clipping of the global norm to 1, and Adam.

    Args:
        params: W [I, 4H], U [H, 4H], b [4H] with the gates in the order i, f, g, o.
        moments: Adam's first and second moments, shaped like params.
        step: how many updates came before.
        x: [T, B, I].
        gy: [T, B, H].
    """
    loss, [gradient] = numpy_gradient([[params["W"], params["U"], params["b"]]], x, gy)
    return loss, *adam(params, moments, step, dict(zip(("W", "U", "b"), gradient, strict=True)))


def tuned_train_step(params: dict, moments: tuple[dict, dict], step: float, x: np.ndarray, gy: np.ndarray) -> tuple[float, dict, tuple]:
    """As `train_step`, with buffers for the whole sequence and arithmetic in place wherever NumPy allows it."""
    W, U, b = params["W"], params["U"], params["b"]
    T, B, _ = x.shape
    H = U.shape[0]
    a = x.reshape(T * B, -1) @ W
    a += b
    a = a.reshape(T, B, 4 * H)
    h = np.zeros((T + 1, B, H), x.dtype)
    c = np.zeros((T + 1, B, H), x.dtype)
    tanh_c = np.empty((T, B, H), x.dtype)
    for t in range(T):
        z = a[t]
        z += h[t] @ U
        z[:, : 2 * H] = sigmoid(z[:, : 2 * H])
        z[:, 2 * H : 3 * H] = np.tanh(z[:, 2 * H : 3 * H])
        z[:, 3 * H :] = sigmoid(z[:, 3 * H :])
        c[t + 1] = z[:, H : 2 * H] * c[t] + z[:, :H] * z[:, 2 * H : 3 * H]
        tanh_c[t] = np.tanh(c[t + 1])
        h[t + 1] = z[:, 3 * H :] * tanh_c[t]
    loss = (h[1:] * gy).sum()
    dz = np.empty_like(a)
    dh = np.zeros((B, H), x.dtype)
    dc = np.zeros((B, H), x.dtype)
    UT = np.ascontiguousarray(U.T)
    for t in reversed(range(T)):
        i, f, g, o = (a[t][:, k * H : (k + 1) * H] for k in range(4))
        dh += gy[t]
        dc += dh * o * (1 - tanh_c[t] ** 2)
        d = dz[t]
        d[:, :H] = dc * g * i * (1 - i)
        d[:, H : 2 * H] = dc * c[t] * f * (1 - f)
        d[:, 2 * H : 3 * H] = dc * i * (1 - g**2)
        d[:, 3 * H :] = dh * tanh_c[t] * o * (1 - o)
        dc *= f
        dh = d @ UT
    flat = dz.reshape(T * B, 4 * H)
    grads = {"W": x.reshape(T * B, -1).T @ flat, "U": h[:-1].reshape(T * B, H).T @ flat, "b": flat.sum(0)}
    return loss, *adam(params, moments, step, grads)


def adam(params: dict, moments: tuple[dict, dict], step: float, grads: dict, rate: float = 1e-3) -> tuple[dict, tuple[dict, dict]]:
    """Clip the global norm to 1, then one Adam update; new parameters and moments."""
    norm = np.sqrt(sum((g * g).sum() for g in grads.values()))
    scale = np.minimum(np.float32(1), 1 / (norm + np.float32(1e-6)))
    first, second = moments
    new_params, new_first, new_second = {}, {}, {}
    fix1, fix2 = 1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)
    for name, p in params.items():
        g = grads[name] * scale
        m = 0.9 * first[name] + 0.1 * g
        v = 0.999 * second[name] + 0.001 * (g * g)
        new_params[name] = p - rate * (m / fix1) / (np.sqrt(v / fix2) + 1e-8)
        new_first[name], new_second[name] = m, v
    return new_params, (new_first, new_second)
