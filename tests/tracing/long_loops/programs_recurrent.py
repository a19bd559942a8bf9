"""Recurrent models, forward, in many handwritings."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program

D, H, V, N = 3, 4, 5, 2


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H), a.normal(H)), gradient=(0, 1, 2, 3), single=True)
def elman_stacked(xs, W, U, b):
    h = np.zeros(H, dtype=xs.dtype)
    hs = []
    for x in xs:
        h = np.tanh(x @ W + h @ U + b)
        hs.append(h)
    return np.stack(hs)


@program(lambda a: (a.normal(a.n, N, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def elman_concatenated(xs, W, U):
    hs = [np.zeros((N, H))]
    for t in range(len(xs)):
        hs.append(np.tanh(xs[t].dot(W) + hs[-1].dot(U)))
    return np.concatenate(hs[1:], axis=0), hs[-1]


@program(lambda a: (a.normal(N, a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def elman_with_a_row_for_the_start(x, W, U):
    """The state is read from where it was stored."""
    T = x.shape[1]
    h = np.zeros((N, T + 1, H))
    for t in range(T):
        h[:, t + 1] = np.tanh(x[:, t] @ W + h[:, t] @ U)
    return h[:, 1:]


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def elman_with_the_last_row_for_the_start(x, W, U):
    """h[t - 1] is at first h[-1], which is zero."""
    h = np.zeros((len(x), H))
    for t in range(len(x)):
        h[t] = np.tanh(x[t] @ W + h[t - 1] @ U)
    return h


@program(lambda a: (a.normal(a.n, D, 1), a.weights(H, D), a.weights(H, H), a.weights(V, H)), gradient=(0, 1, 2, 3))
def elman_of_columns_in_dicts(inputs, Wxh, Whh, Why):
    hs, ys = {}, {}
    hs[-1] = np.zeros((H, 1))
    for t in range(len(inputs)):
        hs[t] = np.tanh(np.dot(Wxh, inputs[t]) + np.dot(Whh, hs[t - 1]))
        ys[t] = np.dot(Why, hs[t])
    return np.hstack([ys[t] for t in range(len(inputs))]), hs[len(inputs) - 1]


@program(lambda a: (a.normal(a.n, N, D), a.weights(D, 4 * H), a.weights(H, 4 * H), a.normal(4 * H)), gradient=(0, 1, 2, 3), single=True)
def lstm_split(xs, W, U, b):
    h = c = np.zeros((xs.shape[1], H), xs.dtype)
    out = np.zeros((len(xs), xs.shape[1], H), xs.dtype)
    for t in range(len(xs)):
        i, f, g, o = np.split(xs[t] @ W + h @ U + b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out[t] = h
    return out, (h, c)


@program(lambda a: (a.normal(a.n, D), {k: a.weights(D + H, H) for k in "fico"}, {k: a.normal(H) for k in "fico"}), gradient=(0, 1, 2))
def lstm_of_concatenated_inputs(xs, W, b):
    """A matrix for each gate, in dicts; everything of each step is kept."""
    h, c = np.zeros(H), np.zeros(H)
    cache = []
    for t, x in enumerate(xs):
        z = np.concatenate((h, x))
        f = sigmoid(z @ W["f"] + b["f"])
        i = sigmoid(z @ W["i"] + b["i"])
        g = np.tanh(z @ W["c"] + b["c"])
        o = sigmoid(z @ W["o"] + b["o"])
        c = f * c + i * g
        h = o * np.tanh(c)
        cache.append({"t": t, "h": h, "c": c, "gates": (f, i, o)})
    return np.array([step["h"] for step in cache]), cache[-1]


@program(lambda a: (a.normal(a.n, D), a.weights(D, 3 * H), a.weights(H, 3 * H)), gradient=(0, 1, 2), single=True)
def gru_by_slices(xs, W, U):
    h = np.zeros(H, xs.dtype)
    hs = np.empty((len(xs), H), xs.dtype)
    for t in range(len(xs)):
        a, b = xs[t] @ W, h @ U
        r = sigmoid(a[:H] + b[:H])
        z = sigmoid(a[H : 2 * H] + b[H : 2 * H])
        n = np.tanh(a[2 * H :] + r * b[2 * H :])
        h = (1 - z) * n + z * h
        hs[t] = h
    return hs


class Gru:
    def __init__(self, Wz, Wr, Wh):
        self.Wz, self.Wr, self.Wh = Wz, Wr, Wh
        self.h = np.zeros(H)

    def __call__(self, x):
        v = np.append(self.h, x)
        z, r = sigmoid(self.Wz @ v), sigmoid(self.Wr @ v)
        self.h = (1 - z) * self.h + z * np.tanh(self.Wh @ np.append(r * self.h, x))
        return self.h


@program(lambda a: (a.normal(a.n, D), a.weights(H, H + D), a.weights(H, H + D), a.weights(H, H + D)), gradient=(0, 1, 2, 3))
def gru_object_called(xs, Wz, Wr, Wh):
    cell = Gru(Wz, Wr, Wh)
    return np.vstack([cell(x) for x in xs]), cell.h


class Lstm:
    """Keeps its state, and what it has put out, on itself."""

    def __init__(self, W):
        self.W = W
        self.reset()

    def reset(self):
        self.h, self.c = np.zeros(H), np.zeros(H)
        self.outputs = []

    def step(self, x):
        a = np.hstack([x, self.h, 1.0]) @ self.W
        i, f, o = (sigmoid(a[k * H : (k + 1) * H]) for k in range(3))
        self.c = f * self.c + i * np.tanh(a[3 * H :])
        self.h = o * np.tanh(self.c)
        self.outputs.append(self.h)

    def forward(self, xs):
        for x in xs:
            self.step(x)
        return np.array(self.outputs)


@program(lambda a: (a.normal(a.n, D), a.weights(D + H + 1, 4 * H)), gradient=(0, 1))
def lstm_object(xs, W):
    model = Lstm(W)
    first = model.forward(xs)
    model.reset()
    return first, model.forward(xs[::-1])


@program(lambda a: (a.normal(a.n, H), [(a.weights(H, H), a.weights(H, H)) for _ in range(3)]), gradient=(0, 1))
def layers_in_each_step(xs, layers):
    states = [np.zeros(H) for _ in layers]
    out = []
    for x in xs:
        for k, (W, U) in enumerate(layers):
            states[k] = x = np.tanh(x @ W + states[k] @ U)
        out.append(x)
    return np.array(out), states


@program(lambda a: (a.normal(a.n, H), [(a.weights(H, H), a.weights(H, H)) for _ in range(3)]), gradient=(0, 1))
def layer_after_layer(xs, layers):
    """The list of one layer is gone through by the next."""
    seq = xs
    for W, U in layers:
        h = np.zeros(H)
        new = []
        for x in seq:
            h = np.tanh(x @ W + h @ U)
            new.append(h)
        seq = new
    return np.array(seq)


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2, 3, 4))
def bidirectional(xs, Wf, Uf, Wb, Ub):
    T = len(xs)
    forward, backward = [None] * T, [None] * T
    h = np.zeros(H)
    for t in range(T):
        h = np.tanh(xs[t] @ Wf + h @ Uf)
        forward[t] = h
    h = np.zeros(H)
    for t in reversed(range(T)):
        h = np.tanh(xs[t] @ Wb + h @ Ub)
        backward[t] = h
    return np.array([np.concatenate([f, b]) for f, b in zip(forward, backward)])


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def backward_list_turned_around(xs, W, U):
    h = np.zeros(H)
    out = []
    for x in xs[::-1]:
        h = np.tanh(x @ W + h @ U)
        out.append(h)
    return np.stack(out[::-1])


@program(lambda a: (a.integers(V, a.n), a.normal(V, D), a.weights(D, H), a.weights(H, H)), gradient=(1, 2, 3))
def embedding_looked_up(ids, E, W, U):
    h = np.zeros(H)
    hs = []
    for t in range(len(ids)):
        h = np.tanh(E[ids[t]] @ W + h @ U)
        hs.append(h)
    return np.array(hs)


@program(lambda a: (a.integers(V, a.n), a.weights(V, H), a.weights(H, H)), gradient=(1, 2))
def one_hot_made_in_the_loop(ids, W, U):
    h = np.zeros(H)
    total = np.zeros(H)
    for i in ids:
        x = np.zeros(V)
        x[i] = 1
        h = np.tanh(x @ W + h @ U)
        total += h
    return total


@program(lambda a: (a.integers(V, a.n).tolist(), a.weights(V, H), a.weights(H, H)), gradient=(1, 2))
def ids_in_a_list(ids, W, U):
    h = np.zeros(H)
    for i in ids:
        h = np.tanh(W[i] + h @ U)
    return h


@program(lambda a: (a.normal(a.n, N, D), a.integers(2, a.n, N).astype(float), a.weights(D, H), a.weights(H, H)), gradient=(0, 2, 3))
def masked_steps(xs, mask, W, U):
    h = np.zeros((N, H))
    for t in range(len(xs)):
        new = np.tanh(xs[t] @ W + h @ U)
        m = mask[t][:, None]
        h = m * new + (1 - m) * h
    return h


@program(lambda a: (a.normal(a.n, N, D), a.integers(a.n, N, low=1), a.weights(D, H), a.weights(H, H)), gradient=(0, 2, 3))
def lengths_of_sequences(xs, lengths, W, U):
    """Each sequence of a batch stops at its own end."""
    h = np.zeros((N, H))
    for t in range(len(xs)):
        alive = t < lengths
        h = np.where(alive[:, None], np.tanh(xs[t] @ W + h @ U), h)
    return h


@program(lambda a: (a.normal(a.n, D), a.integers(2, a.n, H).astype(bool), a.weights(D, H), a.weights(H, H)), gradient=(0, 2, 3))
def dropout_by_rows(xs, keep, W, U):
    h = np.zeros(H)
    for x, k in zip(xs, keep):
        h = np.tanh(x @ W + (h * k / 0.5) @ U)
    return h


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H), a.normal(H), a.normal(H)), gradient=(0, 1, 2, 3, 4), single=True)
def layer_normalised(xs, W, U, gain, bias):
    def norm(v):
        return gain * (v - v.mean()) / np.sqrt(v.var() + 1e-5) + bias

    h = np.zeros(H, xs.dtype)
    out = []
    for t in range(xs.shape[0]):
        h = np.tanh(norm(xs[t] @ W + h @ U))
        out.append(h)
    return np.asarray(out)


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def state_in_a_tuple(xs, W, U):
    def cell(state, x):
        fast, slow = state
        fast = np.tanh(x @ W + slow @ U)
        return (fast, 0.9 * slow + 0.1 * fast), fast - slow

    state = (np.zeros(H), np.zeros(H))
    outputs = []
    for x in xs:
        state, out = cell(state, x)
        outputs.append(out)
    return state, np.array(outputs)


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def clockwork(xs, W, U):
    """Parts of the state move at every second, and every fourth, step."""
    h = np.zeros(H)
    hs = []
    for t in range(len(xs)):
        new = np.tanh(xs[t] @ W + h @ U)
        h = h.copy()
        h[:2] = new[:2]
        if t % 2 == 0:
            h[2] = new[2]
        if t % 4 == 0:
            h[3] = new[3]
        hs.append(h)
    return np.array(hs)


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(0, 1, 2))
def skips_over_steps(xs, W, U):
    """A state that reads the one of three steps before, out of a list."""
    hs = []
    for t in range(len(xs)):
        back = hs[t - 3] if t >= 3 else np.zeros(H)
        hs.append(np.tanh(xs[t] @ W + back @ U))
    return np.array(hs)


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.complex(H), a.complex(H, H) * 0.2))
def complex_state(xs, W, decay, mix):
    h = np.zeros(H, dtype=complex)
    ys = np.zeros((len(xs), H))
    for t in range(len(xs)):
        h = np.exp(-np.abs(decay) + 1j * decay.imag) * h + mix @ (xs[t] @ W)
        ys[t] = h.real
    return ys, h


@program(lambda a: (a.normal(a.n, D), a.weights(D, H), a.weights(H, H)), gradient=(1,))
def echo_state(xs, Win, W):
    """The reservoir's states as columns, and the least squares behind it."""
    X = np.zeros((H, len(xs)))
    x = np.zeros((H, 1))
    for t in range(len(xs)):
        u = xs[t]
        x = 0.7 * x + 0.3 * np.tanh(np.dot(Win.T, u[:, np.newaxis]) + np.dot(W, x))
        X[:, t] = x[:, 0]
    return np.linalg.solve(X @ X.T + np.eye(H), X @ xs)
