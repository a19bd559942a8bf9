"""Training: clipping, schedules, early stopping, what is skipped, and layers that know how often they ran."""

from __future__ import annotations

import numpy as np

import irdl
from tests.tracing.branches.corpus import method, program

_random = np.random.default_rng(3)


def normal(*shape):
    return _random.standard_normal(shape)


X, Y = normal(6, 3), np.sign(normal(6))


def mse(w, x, y):
    return np.mean((x @ w - y) ** 2)


def mse_gradient(w, x, y):
    return 2 * x.T @ (x @ w - y) / len(y)


@program((10 * normal(4), 1.0), (0.1 * normal(4), 1.0), gradient=(0,))
def clip_by_norm(g, most):
    norm = np.sqrt(np.sum(g * g))
    if norm > most:
        g = g * (most / norm)
    return g


@program(([10 * normal(2, 3), normal(3)], 1.0), ([0.01 * normal(2, 3), np.zeros(3)], 1.0))
def clip_in_place(grads, most):
    """As cs231n's solver: the list's own arrays are scaled."""
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    if norm > most:
        for g in grads:
            g *= most / norm
    return norm


@program((np.zeros(3), X, X @ np.ones(3), 0.1), (np.zeros(3), X, Y, 1.5), (np.ones(3), X, X @ np.ones(3), 0.1))
def early_stopping(w, x, y, rate):
    best, best_w, waited = np.inf, w, 0
    epoch = 0
    for epoch in range(12):
        loss = mse(w, x, y)
        if loss < best - 1e-9:
            best, best_w, waited = loss, w.copy(), 0
        else:
            waited += 1
            if waited >= 3:
                break
        w = w - rate * mse_gradient(w, x, y)
    return best_w, best, epoch


@program((X, Y, 0.05), (X, Y, 2.0))
def best_of_course(x, y, rate):
    """The best parameters begin as None."""
    w = np.zeros(3)
    best, best_w = None, None
    for _ in range(6):
        loss = mse(w, x, y)
        if best is None or loss < best:
            best, best_w = loss, w.copy()
        w -= rate * mse_gradient(w, x, y)
    return best_w, best


@program((np.array([1.0, 0.9, 0.95, 0.96, 0.97, 0.5, 0.6, 0.7]),), (np.linspace(1, 0, 8),))
def reduce_on_plateau(losses):
    rate, best, bad = 0.1, np.inf, 0
    rates = []
    for loss in losses:
        if loss < best:
            best = loss
            bad = 0
        else:
            bad += 1
        if bad > 1:
            rate *= 0.5
            bad = 0
        rates.append(rate)
    return rates


@method("step", (normal(3),), (np.array([np.nan, 1.0, 1.0]),), (np.array([np.inf, 1.0, 1.0]),), (normal(3),))
class SkippingOptimizer:
    def __init__(self):
        self.w = np.ones(3)
        self.taken = 0
        self.skipped = 0

    def step(self, g):
        if not np.isfinite(g).all():
            self.skipped += 1
            return False
        self.w -= 0.1 * g
        self.taken += 1
        return True


@method("step", (normal(3),), (np.full(3, np.inf),), (normal(3),), (normal(3),), (np.full(3, np.nan),), (normal(3),))
class LossScaler:
    """Half the scale after an overflow, twice after some steps without."""

    def __init__(self):
        self.scale = 8.0
        self.good = 0
        self.w = np.zeros(3)

    def step(self, scaled):
        g = scaled / self.scale
        if np.any(~np.isfinite(g)):
            self.scale = max(self.scale / 2, 1.0)
            self.good = 0
        else:
            self.w = self.w - 0.1 * g
            self.good += 1
            if self.good == 2:
                self.scale *= 2
                self.good = 0
        return self.scale


@program((X, Y), (X, np.sign(X[:, 0])))
def perceptron(x, y):
    w, b, mistakes = np.zeros(3), 0.0, 0
    for _ in range(2):
        for i in range(len(x)):
            if y[i] * (x[i] @ w + b) <= 0:
                w += y[i] * x[i]
                b += y[i]
                mistakes += 1
    return w, b, mistakes


@program((X, Y), (X, np.sign(X[:, 1])))
def perceptron_until_done(x, y):
    w = np.zeros(3)
    for epoch in range(5):
        wrong = False
        for i in range(len(x)):
            if y[i] * (x[i] @ w) <= 0:
                w = w + y[i] * x[i]
                wrong = True
        if not wrong:
            break
    return w, epoch


@method("learn", (X[0], 1.0), (X[0], 1.0), (X[1], -1.0), (X[0], 1.0), (10 * X[0], 1.0))
class PassiveAggressive:
    def __init__(self):
        self.w = np.zeros(3)
        self.updates = 0

    def learn(self, x, y):
        margin = y * (self.w @ x)
        loss = 1 - margin
        if loss <= 1e-5:
            return 0.0
        step = loss / (x @ x)
        if step > 0.5:
            step = 0.5
        self.w += step * y * x
        self.updates += 1
        return loss


@program((np.array([0.1, 0.2, 0.3, 0.8, 0.9, 0.95, 0.99]),), (np.full(7, 0.2),))
def curriculum(accuracies):
    """Longer sequences when it goes well, shorter ones when it does not; never out of bounds."""
    length = 2
    lengths = []
    for accuracy in accuracies:
        lengths.append(length)
        if accuracy > 0.7 and length < 4:
            length += 1
        elif accuracy < 0.25 and length > 1:
            length -= 1
    return np.array(lengths)


def rate_at(step, warmup, total):
    if step < warmup:
        return (step + 1) / warmup
    if step >= total:
        return 0.0
    return 0.5 * (1 + np.cos(np.pi * (step - warmup) / (total - warmup)))


@program((np.ones(3), np.zeros(3), np.zeros(3), 0), (np.ones(3), normal(3), normal(3) ** 2, 7), (normal(3), normal(3), normal(3) ** 2, 30))
def adam_with_warmup(w, m, v, step):
    g = 2 * w
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g * g
    rate = 0.1 * rate_at(step, 5, 20)
    if step < 10:
        m_hat, v_hat = m / (1 - 0.9 ** (step + 1.0)), v / (1 - 0.99 ** (step + 1.0))
    else:
        m_hat, v_hat = m, v
    return w - rate * m_hat / (np.sqrt(v_hat) + 1e-8), m, v, step + 1


@method("__call__", (normal(5, 2),), (normal(5, 2) + 3,), (normal(5, 2),))
class RunningNorm:
    """Statistics of the first batch are taken over, later ones mixed in."""

    def __init__(self):
        self.count = 0
        self.mean = np.zeros(2)
        self.var = np.ones(2)

    def __call__(self, x):
        if self.count == 0:
            self.mean, self.var = x.mean(axis=0), x.var(axis=0)
        else:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
            self.var = 0.9 * self.var + 0.1 * x.var(axis=0)
        self.count += 1
        return (x - self.mean) / np.sqrt(self.var + 1e-5)


@program((normal(4, 3), np.zeros(3), np.ones(3), True), (normal(4, 3), normal(3), np.ones(3), False))
def batch_norm(x, mean, var, training):
    if training:
        m, v = x.mean(axis=0), x.var(axis=0)
        mean[:] = 0.9 * mean + 0.1 * m
        var[:] = 0.9 * var + 0.1 * v
    else:
        m, v = mean, var
    return (x - m) / np.sqrt(v + 1e-5)


@program((normal(4, 3), normal(4, 3) > 0, True), (normal(4, 3), normal(4, 3) > 0, False), gradient=(0,))
def dropout(x, mask, training):
    return x * mask / 0.5 if training else x


@program((np.array([0.5, 0.2, -3.0]), 1.0), (np.array([3.0, 0.1, 0.0]), 0.5), gradient=(0,))
def huber(errors, delta):
    total = 0.0
    for e in errors:
        if abs(e) <= delta:
            total += 0.5 * e**2
        else:
            total += delta * (abs(e) - 0.5 * delta)
    return total


@program((normal(3), X, Y), (np.zeros(3), X, Y), (3 * normal(3), X, Y), gradient=(0,))
def hinge_with_penalty(w, x, y):
    margins = 1 - y * (x @ w)
    loss = np.mean(np.where(margins > 0, margins, 0.0))
    size = w @ w
    if size > 4:
        loss = loss + 0.1 * (size - 4) ** 2
    return loss


@program((np.ones(3), 1.0), (4 * np.ones(3), 0.5))
def sgd_with_restarts(w, momentum):
    """Momentum is thrown away when it goes uphill."""
    velocity = np.zeros_like(w)
    restarts = 0
    f = lambda w: np.sum(w**2 * np.array([1.0, 4.0, 0.1]))
    for _ in range(8):
        g = irdl.grad(f)(w)
        if g @ velocity > 0:
            velocity[:] = 0
            restarts += 1
        velocity = momentum * velocity - 0.12 * g
        w = w + velocity
    return w, restarts


@program((normal(5, 3), np.array([0, 1, 2, 1, 0])), (10 * np.eye(5, 3), np.array([0, 1, 2, 1, 0])))
def accuracy_by_hand(scores, labels):
    hits, confident = 0, 0
    for row, label in zip(scores, labels):
        p = np.exp(row - row.max())
        p /= p.sum()
        if np.argmax(p) == label:
            hits += 1
            if p[label] > 0.9:
                confident += 1
    return hits / len(labels), confident


@program((X, np.array([0.0, 0.0, 0.0])), (X, 100 * normal(3)))
def rprop(x, w):
    """A step size for each weight, by the signs of its gradients."""
    steps = np.full(3, 0.1)
    last = np.zeros(3)
    for _ in range(5):
        g = mse_gradient(w, x, Y)
        for i in range(3):
            if g[i] * last[i] > 0:
                steps[i] = min(steps[i] * 1.2, 1.0)
            elif g[i] * last[i] < 0:
                steps[i] *= 0.5
                g[i] = 0
            if g[i] > 0:
                w[i] -= steps[i]
            elif g[i] < 0:
                w[i] += steps[i]
        last = g
    return w, steps


class Dense:
    def __init__(self, rows, columns):
        self.W, self.b = np.sin(np.arange(rows * columns) + 1.0).reshape(rows, columns), np.zeros(columns)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW, self.db = self.x.T @ d, d.sum(axis=0)
        return d @ self.W.T


@method("train", (normal(4, 3), normal(4, 2)), (50 * normal(4, 3), normal(4, 2)), (0.1 * normal(4, 3), np.zeros((4, 2))))
class Trainer:
    """Two layers; gradients are clipped, the rate falls when the loss rises."""

    def __init__(self):
        self.layers = [Dense(3, 4), Dense(4, 2)]
        self.rate = 0.05
        self.last = np.float64(1e9)
        self.clipped = 0
        self.log = {"worse": 0, "better": 0}

    def train(self, x, y):
        h = self.layers[0].forward(x)
        a = np.tanh(h)
        out = self.layers[1].forward(a)
        d = 2 * (out - y) / out.size
        loss = np.mean((out - y) ** 2)
        self.layers[0].backward(self.layers[1].backward(d) * (1 - a * a))
        norm = np.sqrt(sum(np.sum(layer.dW**2) for layer in self.layers))
        scale = 1.0
        if norm > 0.5:
            scale = 0.5 / norm
            self.clipped += 1
        for layer in self.layers:
            layer.W -= self.rate * scale * layer.dW
            layer.b -= self.rate * scale * layer.db
        if loss > self.last:
            self.rate *= 0.5
            self.log["worse"] += 1
        else:
            self.log["better"] += 1
        self.last = loss
        return loss
