"""Loops over everything: convolutions, Viterbi's path, an edit distance."""

from __future__ import annotations

import numpy as np


def conv_forward(x, w, b):
    """[N, C, H, W] by [F, C, HH, WW], a stride of 1, no padding."""
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    out = np.zeros((N, F, H - HH + 1, W - WW + 1))
    for n in range(N):
        for f in range(F):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    out[n, f, i, j] = np.sum(x[n, :, i : i + HH, j : j + WW] * w[f]) + b[f]
    return out


def conv_backward(dout, x, w):
    F, _, HH, WW = w.shape
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(F)
    for n in range(x.shape[0]):
        for f in range(F):
            for i in range(dout.shape[2]):
                for j in range(dout.shape[3]):
                    dx[n, :, i : i + HH, j : j + WW] += w[f] * dout[n, f, i, j]
                    dw[f] += x[n, :, i : i + HH, j : j + WW] * dout[n, f, i, j]
                    db[f] += dout[n, f, i, j]
    return dx, dw, db


def _images(sizes, random):
    small = sizes.hidden < 10
    shape, filters = ((2, 2, 5, 6), (2, 2, 2, 3)) if small else ((2, 3, 12, 12), (4, 3, 3, 3))
    return random.standard_normal(shape), random.standard_normal(filters), random.standard_normal(filters[0])


def convolution(sizes, random):
    return conv_forward, _images(sizes, random)


def convolution_gradients(sizes, random):
    x, w, b = _images(sizes, random)
    return conv_backward, (random.standard_normal(conv_forward(x, w, b).shape), x, w)


def max_pool(x):
    N, C, H, W = x.shape
    out = np.zeros((N, C, H // 2, W // 2))
    for i in range(H // 2):
        for j in range(W // 2):
            out[:, :, i, j] = np.max(x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(2, 3))
    return out


def pooling(sizes, random):
    extent = 6 if sizes.hidden < 10 else 24
    return max_pool, (random.standard_normal((sizes.batch, 3, extent, extent)),)


def viterbi(log_initial, log_transition, log_emission):
    T, S = log_emission.shape
    score = np.zeros((T, S))
    back = np.zeros((T, S), dtype=np.int64)
    score[0] = log_initial + log_emission[0]
    for t in range(1, T):
        candidates = score[t - 1][:, None] + log_transition
        back[t] = np.argmax(candidates, axis=0)
        score[t] = np.max(candidates, axis=0) + log_emission[t]
    path = np.zeros(T, dtype=np.int64)
    path[T - 1] = np.argmax(score[T - 1])
    for t in range(T - 2, -1, -1):
        path[t] = back[t + 1, path[t + 1]]
    return path, np.max(score[T - 1])


def best_path(sizes, random):
    S = sizes.hidden
    return viterbi, (random.standard_normal(S), random.standard_normal((S, S)), random.standard_normal((sizes.steps, S)))


def edit_distance(a, b):
    m, n = len(a), len(b)
    d = np.zeros((m + 1, n + 1))
    for i in range(m + 1):
        d[i, 0] = i
    for j in range(n + 1):
        d[0, j] = j
    for i in range(1, m + 1):
        for j in range(1, n + 1):
            cost = np.where(a[i - 1] == b[j - 1], 0.0, 1.0)
            d[i, j] = np.minimum(np.minimum(d[i - 1, j] + 1, d[i, j - 1] + 1), d[i - 1, j - 1] + cost)
    return d[m, n]


def two_words(sizes, random):
    return edit_distance, (random.integers(0, 4, sizes.steps), random.integers(0, 4, sizes.steps + 3))


PROGRAMS = {
    "convolution: four loops": convolution,
    "convolution: four loops: gradients": convolution_gradients,
    "max pooling: two loops": pooling,
    "Viterbi": best_path,
    "edit distance": two_words,
}
