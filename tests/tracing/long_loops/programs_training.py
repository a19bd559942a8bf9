"""Losses summed over time, backpropagation by hand, attention, decoding, training step by step."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program

D, H, V = 3, 4, 5


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


@program(
    lambda a: (a.integers(V, a.n), a.integers(V, a.n), np.zeros((H, 1)), a.weights(H, V), a.weights(H, H), a.weights(V, H)), gradient=(2, 3)
)
def min_char_rnn(inputs, targets, hprev, Wxh, Whh, Why):
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((V, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]))
        ys[t] = np.dot(Why, hs[t])
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dhraw = (1 - hs[t] * hs[t]) * (np.dot(Why.T, dy) + dhnext)
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    for dparam in [dWxh, dWhh, dWhy]:
        np.clip(dparam, -5, 5, out=dparam)
    return loss, dWxh, dWhh, dWhy, hs[len(inputs) - 1]


@program(lambda a: (a.normal(a.n, D), a.normal(a.n, H), a.weights(D, H), a.weights(H, H)), gradient=(0, 1), single=True)
def backpropagation_over_lists(xs, targets, W, U):
    hs = [np.zeros(H, xs.dtype)]
    loss = 0.0
    for x, target in zip(xs, targets):
        hs.append(np.tanh(x @ W + hs[-1] @ U))
        loss += 0.5 * np.sum((hs[-1] - target) ** 2)
    dW, dU, dh = np.zeros_like(W), np.zeros_like(U), np.zeros(H, xs.dtype)
    for t in range(len(xs) - 1, -1, -1):
        dh = dh + hs[t + 1] - targets[t]
        dz = dh * (1 - hs[t + 1] ** 2)
        dW += np.outer(xs[t], dz)
        dU += np.outer(hs[t], dz)
        dh = U @ dz
    return loss, dW, dU, dh


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)))
def backpropagation_by_popping(xs, W, U):
    """The caches are taken off the end of their list."""
    h = np.zeros(H)
    tape = []
    for x in xs:
        previous = h
        h = np.tanh(x @ W + h @ U)
        tape.append((x, previous, h))
    dW, dU, dh = 0, 0, np.ones(H)
    while tape:
        x, previous, h = tape.pop()
        dz = dh * (1 - h * h)
        dW = dW + np.outer(x, dz)
        dU = dU + np.outer(previous, dz)
        dh = dz @ U.T
    return dW, dU, dh


class Rnn:
    """A layer of a course: forward keeps its cache, backward goes through it the other way."""

    def __init__(self, W, U, b):
        self.params = {"W": W, "U": U, "b": b}
        self.grads = {}

    def forward(self, x):
        self.x = x
        self.h = np.zeros((x.shape[0] + 1, H))
        for t in range(x.shape[0]):
            a = x[t] @ self.params["W"] + self.h[t] @ self.params["U"] + self.params["b"]
            self.h[t + 1] = np.tanh(a)
        return self.h[1:]

    def backward(self, dout):
        for key, value in self.params.items():
            self.grads[key] = np.zeros_like(value)
        dx = np.zeros_like(self.x)
        dnext = np.zeros(H)
        for t in reversed(range(self.x.shape[0])):
            da = (dout[t] + dnext) * (1 - self.h[t + 1] ** 2)
            self.grads["W"] += np.outer(self.x[t], da)
            self.grads["U"] += np.outer(self.h[t], da)
            self.grads["b"] += da
            dx[t] = self.params["W"] @ da
            dnext = self.params["U"] @ da
        return dx


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H), a.normal(H)), gradient=(0, 1, 2, 3))
def layer_with_forward_and_backward(x, W, U, b):
    layer = Rnn(W, U, b)
    out = layer.forward(x)
    return out, layer.backward(out), layer.grads


@program(lambda a: (a.normal(a.n, D), a.integers(V, a.n), a.weights(D, H), a.weights(H, H), a.weights(H, V)), gradient=(0, 2, 3, 4))
def cross_entropy_summed_up(xs, targets, W, U, P):
    h = np.zeros(H)
    loss = 0
    correct = 0
    for x, y in zip(xs, targets):
        h = np.tanh(x @ W + h @ U)
        p = softmax(h @ P)
        loss -= np.log(p[y])
        correct += np.argmax(p) == y
    return loss / len(xs), correct


@program(lambda a: (a.normal(a.n, D), a.integers(2, a.n).astype(bool), a.weights(D, D), a.weights(D, D)), gradient=(0, 2, 3))
def teacher_forcing(targets, forced, W, U):
    """The next input is the target, or what was put out."""
    out = np.zeros(D)
    h = np.zeros(D)
    outputs = []
    for t in range(len(targets)):
        h = np.tanh(out @ W + h @ U)
        outputs.append(h)
        out = targets[t] if forced[t] else h
    return np.array(outputs)


@program(lambda a: (a.normal(V, D), a.weights(D, H), a.weights(H, H), a.weights(H, V), a.n), static=(4,))
def greedy_decoding(E, W, U, P, steps):
    h = np.zeros(H)
    token = 0
    tokens = []
    for _ in range(steps):
        h = np.tanh(E[token] @ W + h @ U)
        token = np.argmax(h @ P + 0.1 * np.sin(np.arange(V) * len(tokens)))
        tokens.append(token)
    return np.array(tokens), h


@program(lambda a: (a.uniform(a.n), a.weights(V, H), a.weights(H, H), a.weights(H, V)))
def sampled_from_given_noise(noise, W, U, P):
    h = np.zeros(H)
    i = 2
    drawn = np.zeros(len(noise), dtype=np.int64)
    for t in range(len(noise)):
        h = np.tanh(W[i] + h @ U)
        i = int(np.searchsorted(np.cumsum(softmax(h @ P)), noise[t] * 0.999))
        drawn[t] = i
    return drawn


@program(lambda a: (a.normal(a.n, D), a.normal(7, H), a.weights(D, H), a.weights(2 * H, H)), gradient=(0, 1, 2, 3))
def attention_over_a_memory(xs, memory, W, U):
    h = np.zeros(H)
    weights = []
    for x in xs:
        a = softmax(memory @ h)
        h = np.tanh(x @ W + np.concatenate([a @ memory, h]) @ U)
        weights.append(a)
    return h, np.stack(weights)


@program(lambda a: (a.normal(a.n, H), a.weights(H, H)), gradient=(0, 1), sizes=(3, 20, 60))
def attention_over_all_states(xs, W):
    """Over everything, in each step."""
    out = np.zeros_like(xs)
    for t in range(len(xs)):
        scores = softmax(xs @ (W @ xs[t]))
        out[t] = scores @ xs
    return out


@program(lambda a: (a.normal(a.n, H), a.weights(H, H)), gradient=(0, 1), sizes=(3, 20, 60))
def attention_to_the_past_by_a_mask(xs, W):
    T = len(xs)
    out = []
    for t in range(T):
        scores = np.where(np.arange(T) <= t, xs @ W @ xs[t], -1e9)
        out.append(softmax(scores) @ xs)
    return np.array(out)


@program(lambda a: (a.normal(a.n, H),), gradient=(0,), sizes=(3, 12, 30))
def attention_to_a_list_that_grows(xs):
    """Shapes grow from step to step."""
    keys = []
    out = []
    for x in xs:
        keys.append(x)
        K = np.stack(keys)
        out.append(softmax(K @ x) @ K)
    return np.array(out)


@program(lambda a: (a.normal(a.n, H), a.normal(a.n, H), a.normal(a.n, H)), gradient=(0, 1, 2), single=True)
def linear_attention(q, k, v):
    S = np.zeros((H, H), q.dtype)
    z = np.zeros(H, q.dtype)
    out = np.zeros_like(v)
    for t in range(len(q)):
        phi_k, phi_q = np.exp(k[t]), np.exp(q[t])
        S += np.outer(phi_k, v[t])
        z += phi_k
        out[t] = phi_q @ S / (phi_q @ z)
    return out


@program(lambda a: (a.normal(a.n, D), a.normal(a.n), np.zeros(D)), gradient=(0, 1, 2), single=True)
def stochastic_gradient_descent(X, y, w):
    for x, target in zip(X, y):
        error = w @ x - target
        w = w - 0.05 * error * x
    return w


@program(lambda a: (a.normal(a.n, D), a.normal(a.n), a.n), static=(2,), gradient=(0, 1))
def descent_with_momentum_and_a_falling_rate(X, y, steps):
    w, v = np.zeros(D), np.zeros(D)
    losses = []
    for t in range(steps):
        g = X.T @ (X @ w - y) / len(y)
        v = 0.9 * v - 0.1 / (1 + t) * g
        w = w + v
        losses.append(((X @ w - y) ** 2).mean())
    return w, losses


@program(lambda a: (a.normal(6, D), a.normal(6), a.n), static=(2,), gradient=(0, 1))
def adam(X, y, steps):
    w = np.zeros(D)
    m, v = np.zeros(D), np.zeros(D)
    for t in range(1, steps + 1):
        g = 2 * X.T @ (X @ w - y)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        mhat = m / (1 - 0.9**t)
        vhat = v / (1 - 0.999**t)
        w -= 0.01 * mhat / (np.sqrt(vhat) + 1e-8)
    return w


@program(lambda a: (a.normal(6, D), a.normal(6), a.n), static=(2,))
def history_at_every_tenth_step(X, y, steps):
    w = np.zeros(D)
    lr = 0.1
    history = []
    for step in range(steps):
        error = X @ w - y
        w -= lr * X.T @ error / 6
        if step % 10 == 0:
            history.append(float((error**2).mean()))
        if step == 20:
            lr *= 0.5
    return w, history, lr


@program(lambda a: ({"W": a.weights(D, H), "b": np.zeros(H)}, a.normal(a.n, D), a.normal(a.n, H)), gradient=(0, 1, 2))
def parameters_in_a_dict(params, X, Y):
    for x, y in zip(X, Y):
        out = np.tanh(x @ params["W"] + params["b"])
        delta = (out - y) * (1 - out**2)
        grads = {"W": np.outer(x, delta), "b": delta}
        params = {k: params[k] - 0.1 * grads[k] for k in params}
    return params


@program(lambda a: ({"W": a.weights(D, H), "b": np.zeros(H)}, a.normal(a.n, D)))
def parameters_changed_in_a_dict(params, X):
    memory = {k: np.zeros_like(v) for k, v in params.items()}
    for x in X:
        out = np.tanh(np.dot(x, params["W"]) + params["b"])
        for k, g in {"W": np.outer(x, out), "b": out}.items():
            memory[k] += g * g
            params[k] += -0.1 * g / np.sqrt(memory[k] + 1e-8)
    return memory


@program(lambda a: (a.normal(a.n, D), np.where(a.normal(a.n) > 0, 1, -1)))
def perceptron(X, y):
    w, b, mistakes = np.zeros(D), 0.0, 0
    for i in range(len(X)):
        if y[i] * (X[i] @ w + b) <= 0:
            w = w + y[i] * X[i]
            b += y[i]
            mistakes += 1
    return w, b, mistakes


@program(lambda a: (a.normal(4 * a.n, D), a.normal(4 * a.n)), gradient=(0, 1))
def minibatches_by_start(X, y):
    w = np.zeros(D)
    for start in range(0, len(X), 4):
        xb, yb = X[start : start + 4], y[start : start + 4]
        w -= 0.1 * xb.T @ (xb @ w - yb) / len(xb)
    return w


@program(lambda a: (a.normal(8, D), a.normal(8), a.n), static=(2,))
def stops_early_by_a_flag(X, y, steps):
    w = np.zeros(D)
    best, wait, stopped = np.inf, 0, False
    for step in range(steps):
        error = X @ w - y
        loss = (error**2).mean()
        if loss < best - 1e-4:
            best, wait = loss, 0
        else:
            wait += 1
        if wait > 5:
            stopped = True
            break
        w = w - 0.2 * X.T @ error / 8
    return w, best, step, stopped
