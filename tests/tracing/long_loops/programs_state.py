"""Objects, closures and globals outside of the function, which long loops change: they are as NumPy leaves them, call after call."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import method


@method("process", lambda a: (a.normal(a.n),))
class OnePole:
    def __init__(self):
        self.y = 0.0
        self.count = 0

    def process(self, x):
        out = np.zeros_like(x)
        for n in range(len(x)):
            self.y = 0.9 * self.y + 0.1 * x[n]
            out[n] = self.y
            self.count += 1
        return out


@method("process", lambda a: (a.normal(a.n),))
class Echo:
    """A ring that lives on between blocks."""

    def __init__(self):
        self.ring = np.zeros(10)
        self.at = 0

    def process(self, x):
        y = np.empty_like(x)
        for n, v in enumerate(x):
            y[n] = v + 0.5 * self.ring[self.at]
            self.ring[self.at] = y[n]
            self.at = (self.at + 1) % len(self.ring)
        return y


@method("forward", lambda a: (a.normal(a.n, 3),))
class Recurrent:
    """Caches of all steps on the object."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.W, self.U = 0.5 * random.standard_normal((3, 4)), 0.4 * random.standard_normal((4, 4))
        self.hs = []
        self.cache = {}
        self.calls = 0

    def forward(self, xs):
        h = np.zeros(4)
        self.hs = [h]
        for t, x in enumerate(xs):
            h = np.tanh(x @ self.W + h @ self.U)
            self.hs.append(h)
            self.cache[t] = (x, h)
        self.calls += 1
        return h


@method("train", lambda a: (a.normal(a.n, 3), a.normal(a.n)))
class Trainer:
    """Parameters and moments that are changed in place by each sample."""

    def __init__(self):
        self.params = {"w": np.zeros(3), "b": np.zeros(1)}
        self.moments = {k: np.zeros_like(v) for k, v in self.params.items()}
        self.losses = []

    def train(self, X, y):
        for x, target in zip(X, y):
            error = x @ self.params["w"] + self.params["b"][0] - target
            grads = {"w": error * x, "b": np.array([error])}
            for k in self.params:
                self.moments[k] = 0.9 * self.moments[k] + grads[k]
                self.params[k] -= 0.01 * self.moments[k]
            self.losses.append(error**2)
        return self.losses[-1]


@method("run", lambda a: (a.normal(a.n),))
class Voices:
    """A list of objects, each with its state, in each sample."""

    class Voice:
        def __init__(self, step):
            self.phase, self.step = 0.0, step

        def next(self, v):
            self.phase = (self.phase + self.step * (1 + 0.1 * v)) % 1.0
            return 2 * self.phase - 1

    def __init__(self):
        self.voices = [Voices.Voice(0.01 * (k + 1)) for k in range(3)]
        self.peak = 0.0

    def run(self, x):
        out = []
        for v in x:
            y = sum(voice.next(v) for voice in self.voices)
            self.peak = max(self.peak, abs(y))
            out.append(y)
        return np.array(out)


@method("feed", lambda a: (a.normal(a.n),))
class History:
    """What is kept grows from call to call; the first call starts from nothing."""

    def __init__(self):
        self.last = None
        self.kept = []

    def feed(self, x):
        for n, v in enumerate(x):
            if self.last is not None:
                v = v + 0.5 * self.last
            self.last = v
            if n % 7 == 0:
                self.kept.append(v)
        return self.last


@method("advance", lambda a: (a.normal(a.n),))
class Particles:
    """Stores into rows of an attribute, through views that are attributes too."""

    def __init__(self):
        self.state = np.zeros((2, 3))
        self.position, self.speed = self.state

    def advance(self, forces):
        trail = np.zeros((len(forces), 3))
        for n, f in enumerate(forces):
            self.speed += 0.1 * f - 0.01 * self.position
            self.position += 0.1 * self.speed
            trail[n] = self.position
        return trail


@method("fill", lambda a: (a.normal(a.n),))
class Buffer:
    """A buffer on the object that is filled by the counter."""

    def __init__(self):
        self.data = np.zeros(300)
        self.length = 0

    def fill(self, x):
        for n in range(len(x)):
            self.data[n] = 0.5 * self.data[n] + x[n]
        self.length = len(x)
        return self.data[: self.length].mean()
