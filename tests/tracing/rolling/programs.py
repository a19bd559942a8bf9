"""Programs with loops, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import irdl
from benchmarks.handwritten.courses import rnn_backward, rnn_forward

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
N, T, D, H, V = 2, 9, 3, 4, 5
_random = np.random.default_rng(0)


def f(*shape):
    return _random.standard_normal(shape)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def program(*arguments):
    def record(function):
        PROGRAMS[function.__name__] = (function, arguments)
        return function

    return record


def cell(W, U, b, h, c, x):
    i, g, o, q = np.split(x @ W + h @ U + b, 4, axis=-1)
    c = sigmoid(g) * c + sigmoid(i) * np.tanh(q)
    return sigmoid(o) * np.tanh(c), c


@program(f(D, 4 * H), f(H, 4 * H), f(4 * H), f(T, N, D))
def lstm_forward(W, U, b, x):
    h = c = np.zeros((N, H))
    for t in range(T):
        h, c = cell(W, U, b, h, c, x[t])
    return (h * h).sum()


@program(f(D, 4 * H), f(H, 4 * H), f(4 * H), f(T, N, D))
def lstm_gradient(W, U, b, x):
    return irdl.value_and_grad(lstm_forward, (0, 1, 2, 3))(W, U, b, x)


@program(f(N, T, D), f(N, H), f(D, H), f(H, H), f(H))
def cs231n_forward(x, h0, Wx, Wh, b):
    return rnn_forward(x, h0, Wx, Wh, b)[0]


@program(f(N, T, D), f(N, H), f(D, H), f(H, H), f(H), f(N, T, H))
def cs231n_both(x, h0, Wx, Wh, b, dh):
    h, cache = rnn_forward(x, h0, Wx, Wh, b)
    return h, rnn_backward(dh, cache)


@program(f(N, T, D), f(N, H), f(D, H), f(H, H), f(H))
def store_and_read_back(x, h0, Wx, Wh, b):
    """The state is read from the buffer; h[:, -1] is the zero row at first."""
    h = np.zeros((N, T, H))
    for t in range(T):
        h[:, t, :] = np.tanh(x[:, t, :] @ Wx + h[:, t - 1, :] @ Wh + b)
    return h


@program(f(H, N, T), f(H, N), f(H, H), f(H, H))
def course_style(x, a0, Wx, Wa):
    """a[:, :, t] = a_next, the time last; caches in a list of tuples, walked backwards"""
    a = np.zeros((H, N, T))
    a_next, caches = a0, []
    for t in range(T):
        a_prev = a_next
        a_next = np.tanh(np.dot(Wa, a_prev) + np.dot(Wx, x[:, :, t]))
        a[:, :, t] = a_next
        caches.append((a_next, a_prev, x[:, :, t]))
    da_prev, dWa = np.zeros((H, N)), np.zeros((H, H))
    gradients = {"dx": np.zeros((H, N, T))}
    for t in reversed(range(T)):
        a_next, a_prev, xt = caches[t]
        dz = (1 - a_next**2) * (a[:, :, t] + da_prev)
        da_prev = Wa.T @ dz
        dWa += dz @ a_prev.T
        gradients["dx"][:, :, t] = Wx.T @ dz
    return a, da_prev, dWa, gradients["dx"]


# min-char-rnn

inputs, targets = _random.integers(0, V, T).tolist(), _random.integers(0, V, T).tolist()


def loss_fun(inputs, targets, hprev, Wxh, Whh, Why, bh, by):
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((V, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t], 0] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    for dparam in [dWxh, dWhh, dWhy, dbh, dby]:
        np.clip(dparam, -5, 5, out=dparam)
    return loss, dWxh, dWhh, dWhy, dbh, dby, hs[len(inputs) - 1]


weights = f(H, 1), f(H, V), f(H, H), f(V, H), f(H, 1), f(V, 1)


@program(*weights)
def min_char_rnn(hprev, Wxh, Whh, Why, bh, by):
    """the characters are Python ints: constants of the trace"""
    return loss_fun(inputs, targets, hprev, Wxh, Whh, Why, bh, by)


@program(np.array(inputs), np.array(targets), *weights)
def min_char_rnn_arrays(inputs, targets, hprev, Wxh, Whh, Why, bh, by):
    """the characters are arrays: gathers and scatters by traced indices"""
    return loss_fun(inputs, targets, hprev, Wxh, Whh, Why, bh, by)


# Layers and time

layers = [(f(H, 4 * H), f(H, 4 * H), f(4 * H)) for _ in range(2)]


@program(layers, f(T, N, H))
def layers_then_time(layers, x):
    for W, U, b in layers:
        h = c = np.zeros((N, H))
        out = []
        for t in range(T):
            h, c = cell(W, U, b, h, c, x[t])
            out.append(h)
        x = np.stack(out)
    return x


@program(layers, f(T, N, H))
def time_then_layers(layers, x):
    h = [np.zeros((N, H)) for _ in layers]
    c = [np.zeros((N, H)) for _ in layers]
    out = []
    for t in range(T):
        inp = x[t]
        for l, (W, U, b) in enumerate(layers):
            h[l], c[l] = cell(W, U, b, h[l], c[l], inp)
            inp = h[l]
        out.append(inp)
    return np.array(out)


@program(layers, f(T, N, H))
def time_then_range_of_layers(layers, x):
    """all is recorded in the inner loop; states are rows of one buffer"""
    h, c = np.zeros((2, T + 1, N, H)), np.zeros((2, T + 1, N, H))
    for t in range(T):
        for l in range(2):
            W, U, b = layers[l]
            inp = x[t] if l == 0 else h[l - 1, t]
            h[l, t], c[l, t] = cell(W, U, b, h[l, t - 1], c[l, t - 1], inp)
    return h, c


# Steps that differ


@program(f(T, N, D), f(D, H), f(H, H))
def first_step_differs(x, W, U):
    for t in range(T):
        h = np.tanh(x[t] @ W) if t == 0 else np.tanh(x[t] @ W + h @ U)
    return h


@program(f(T, N, D), f(D, H), f(H, H), f(H, H))
def first_and_last_differ(x, W, U, P):
    h = np.zeros((N, H))
    for t in range(T):
        if t > 0:
            h = h @ U
        h = np.tanh(x[t] @ W + h)
        if t == T - 1:
            h = h @ P
    return h


@program(f(T, N, D), f(D, H), f(H, H))
def middle_differs(x, W, U):
    h = np.zeros((N, H))
    for t in range(T):
        h = np.tanh(x[t] @ W + h @ U)
        if t == 4:
            h = h * 2
    return h


@program(f(2 * T, N, D), f(D, H), f(H, H))
def every_other(x, W, U):
    h = np.zeros((N, H))
    for t in range(2 * T):
        h = np.tanh(x[t] @ W + h @ U) if t % 2 else np.maximum(h @ U + x[t] @ W, 0)
    return h


@program(f(T, N, D), f(D, H), f(H, H))
def strided(x, W, U):
    h, out = np.zeros((N, H)), []
    for t in range(T - 1, -1, -2):
        h = np.tanh(x[t] @ W + h @ U)
        out.append(h)
    return np.stack(out, axis=1)


@program(f(T, N, D), f(D, H), f(H, H))
def two_steps_before(x, W, U):
    h = [np.zeros((N, H)), np.ones((N, H))]
    for t in range(T):
        h.append(np.tanh(x[t] @ W + h[-2] @ U - h[-1]))
    return np.concatenate(h[2:], axis=-1)


@program(f(T * 3, N, D), f(3 * N, H), f(H, H))
def blocks(x, W, U):
    """three rows a step"""
    h = np.zeros((D, H))
    for t in range(T):
        h = np.tanh(x[3 * t : 3 * t + 3].reshape(3 * N, D).T @ W + h @ U)
    return h


@program(f(T, N, D), f(D, H), f(H, H))
def depends_on_t(x, W, U):
    h = np.zeros((N, H))
    for t in range(T):
        h = np.tanh(x[t] @ W + h @ U * 0.9**t) / (t + 1)
    return h


@program(f(T, N, D), f(D, H), f(H, H))
def while_and_list(x, W, U):
    h, t, all_h = np.zeros((N, H)), 0, []
    while t < T:
        h = np.tanh(x[t] @ W + h @ U)
        all_h.append(h)
        t += 1
    total = 0
    for a in all_h:
        total = total + (a @ U).sum()
    return total


@program(f(T, N, D), f(D, H), f(H, H))
def rows_and_zip(x, W, U):
    h, out = np.zeros((N, H)), np.zeros((T, N, H))
    for t, (row, again) in enumerate(zip(x, x[::-1])):
        h = np.tanh(row @ W + h @ U + again @ W)
        out[t] += h
    return out


@program(f(T, N, D), f(D, H), f(H, H))
def comprehension(x, W, U):
    return np.array([np.tanh(x[t] @ W) @ U for t in range(T)])


@program(f(T, N, D), f(D, H), f(H, H), f(H))
def attention(x, W, U, v):
    """for each step of the decoder a loop over the encoder's states"""
    hs, h = [], np.zeros((N, H))
    for t in range(T):
        h = np.tanh(x[t] @ W + h @ U)
        hs.append(h)
    s, out = h, []
    for t in range(T):
        e = [np.tanh(hs[j] @ U + s) @ v for j in range(T)]
        e = np.exp(np.stack(e))
        a = e / e.sum(axis=0)
        context = 0
        for j in range(T):
            context = context + a[j][:, None] * hs[j]
        s = np.tanh(s @ U + context)
        out.append(s)
    return np.stack(out)


@program(f(6, 7), f(3, 3))
def convolution(x, w):
    out = np.zeros((4, 5))
    for i in range(4):
        for j in range(5):
            out[i, j] = np.sum(x[i : i + 3, j : j + 3] * w)
    return out


@program(f(8), f(9))
def edit_distance(a, b):
    d = np.zeros((9, 10))
    for i in range(1, 9):
        for j in range(1, 10):
            d[i, j] = np.minimum(np.minimum(d[i - 1, j], d[i, j - 1]) + 1.0, d[i - 1, j - 1] + np.abs(a[i - 1] - b[j - 1]))
    return d


@program(f(T, N, D), f(D, H), f(H, H))
def gradient_steps(x, W, U):
    """a training loop around a time loop"""

    def loss(W):
        h = np.zeros((N, H))
        for t in range(T):
            h = np.tanh(x[t] @ W + h @ U)
        return (h * h).mean()

    for _ in range(6):
        W = W - 0.1 * irdl.grad(loss)(W)
    return W


# What is read long after it was made


@program(f(60))
def comb(x):
    y = np.zeros(60)
    for t in range(60):
        y[t] = x[t] + (0.5 * y[t - 12] if t >= 12 else 0)
    return y


@program(f(130), f(20))
def plucked(x, string):
    """A ring of what was played, of which two neighbours are read."""
    ring, y = string.copy(), np.zeros(130)
    for t in range(130):
        s = 0.5 * (ring[t % 20] + ring[(t + 1) % 20])
        ring[t % 20] = s + 0.01 * x[t]
        y[t] = s
    return y, ring


@program(f(70, 2), f(40, 2))
def echo(x, line):
    line, y, w = line.copy(), [], 0
    for t in range(70):
        r = (w - 11) % 40
        s = 0.3 * line[r] + 0.7 * line[(w - 10) % 40]
        line[w] = x[t] + 0.5 * s
        y.append(s)
        w = (w + 1) % 40
    return np.stack(y), line


@program(f(60, 3), f(3, 3))
def backwards(x, W):
    h = np.zeros((60, 3))
    for t in reversed(range(60)):
        h[t] = np.tanh(x[t] + (h[t + 10] @ W if t < 50 else 0) + (h[t + 1] if t < 59 else 0))
    return h


@program(f(60))
def gradient_of_comb(x):
    return irdl.grad(lambda x: (comb(x) ** 2).sum())(x)


# What must stay as it is


@program([f(3, 3) for _ in range(6)], [f(3, 3) for _ in range(6)], [f(3, 3) for _ in range(6)])
def adagrad(params, grads, mems):
    for p, g, m in zip(params, grads, mems):
        m = m + g * g
        p = p - 0.1 * g / np.sqrt(m * m + 1e-8)
        m2 = np.clip(p, -5, 5)
        p += m2
    return [p + 1 for p in params]


@program([f(H, H) for _ in range(8)], f(N, H))
def deep(layers, h):
    for W in layers:
        h = np.maximum(h @ W, 0)
    return h


@program(f(40), f(8))
def horner(x, c):
    y = x * 0
    for i in range(8):
        y = y * x + c[i]
    return y


@program(f(T, N, D))
def growing(x):
    total = 0
    for t in range(1, T):
        total = total + x[:t].sum()
    return total


@program(f(30), f(4))
def overlap_add(y, w):
    y = y.copy()
    for t in range(8):
        y[3 * t : 3 * t + 4] += w
    return y


@program(f(6, 6))
def elimination(a):
    a = a.copy()
    for k in range(5):
        a = a - np.outer(a[:, k], a[k, :]) / a[k, k]
    return a
