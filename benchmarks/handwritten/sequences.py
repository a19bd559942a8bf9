"""Sequence to sequence: an encoder, a decoder fed with its own past, and both backward passes."""

from __future__ import annotations

import numpy as np


def softmax(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def translate(source, target, params):
    """Token ids [N, T]; the loss and its gradients."""
    E, Wx, Wh, Vx, Vh, Wy = (params[name] for name in ("E", "Wx", "Wh", "Vx", "Vh", "Wy"))
    N, T = source.shape
    H = Wh.shape[0]
    hs, ss, probs = [np.zeros((N, H))], [], []
    for t in range(T):
        hs.append(np.tanh(E[source[:, t]].dot(Wx) + hs[-1].dot(Wh)))
    ss.append(hs[-1])
    loss = 0.0
    rows = np.arange(N)
    for t in range(T - 1):
        ss.append(np.tanh(E[target[:, t]].dot(Vx) + ss[-1].dot(Vh)))
        p = softmax(ss[-1].dot(Wy))
        probs.append(p)
        loss -= np.log(p[rows, target[:, t + 1]]).sum() / N
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    ds = np.zeros((N, H))
    for t in reversed(range(T - 1)):
        dy = probs[t].copy()
        dy[rows, target[:, t + 1]] -= 1
        dy /= N
        grads["Wy"] += ss[t + 1].T.dot(dy)
        dz = (dy.dot(Wy.T) + ds) * (1 - ss[t + 1] ** 2)
        grads["Vx"] += E[target[:, t]].T.dot(dz)
        grads["Vh"] += ss[t].T.dot(dz)
        np.add.at(grads["E"], target[:, t], dz.dot(Vx.T))
        ds = dz.dot(Vh.T)
    dh = ds
    for t in reversed(range(T)):
        dz = dh * (1 - hs[t + 1] ** 2)
        grads["Wx"] += E[source[:, t]].T.dot(dz)
        grads["Wh"] += hs[t].T.dot(dz)
        np.add.at(grads["E"], source[:, t], dz.dot(Wx.T))
        dh = dz.dot(Wh.T)
    return loss, grads


def encoder_decoder(sizes, random):
    N, T, D, H, V = sizes
    shapes = {"E": (V, D), "Wx": (D, H), "Wh": (H, H), "Vx": (D, H), "Vh": (H, H), "Wy": (H, V)}
    params = {name: 0.1 * random.standard_normal(shape) for name, shape in shapes.items()}
    return translate, (random.integers(0, V, (N, T)), random.integers(0, V, (N, T)), params)


PROGRAMS = {"encoder and decoder: loss and gradients": encoder_decoder}
