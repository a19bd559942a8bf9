"""Filters, sample by sample."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program

B, A = (0.2, 0.4, 0.2), (1.0, -0.5, 0.3)


@program(lambda a: (a.normal(a.n), np.array(B), np.array(A)), gradient=(0, 1, 2), single=True)
def biquad_direct_form_1(x, b, a):
    y = np.zeros_like(x)
    x1 = x2 = y1 = y2 = 0.0
    for n in range(len(x)):
        y[n] = b[0] * x[n] + b[1] * x1 + b[2] * x2 - a[1] * y1 - a[2] * y2
        x2, x1 = x1, x[n]
        y2, y1 = y1, y[n]
    return y


@program(lambda a: (a.normal(a.n), np.array(B), np.array(A)), gradient=(0, 1, 2))
def biquad_direct_form_2(x, b, a):
    w = np.zeros(3)
    y = []
    for sample in x:
        w[0] = sample - a[1] * w[1] - a[2] * w[2]
        y.append(b[0] * w[0] + b[1] * w[1] + b[2] * w[2])
        w[2] = w[1]
        w[1] = w[0]
    return np.array(y)


@program(lambda a: (a.normal(a.n), B, A), gradient=(0, 1, 2), single=True)
def biquad_transposed(x, b, a):
    y = np.empty(x.shape[0], dtype=x.dtype)
    s1, s2 = 0, 0
    for n in range(x.shape[0]):
        y[n] = b[0] * x[n] + s1
        s1 = b[1] * x[n] - a[1] * y[n] + s2
        s2 = b[2] * x[n] - a[2] * y[n]
    return y


@program(lambda a: (a.normal(a.n), np.array([[*B, *A], [0.5, 0.1, 0.0, 1.0, 0.2, -0.1]])), gradient=(0, 1))
def second_order_sections(x, sos):
    """One section in each sample after the other."""
    z = np.zeros((len(sos), 2))
    y = np.zeros(len(x))
    for n in range(len(x)):
        v = x[n]
        for s in range(len(sos)):
            b0, b1, b2, _, a1, a2 = sos[s]
            out = b0 * v + z[s, 0]
            z[s, 0] = b1 * v - a1 * out + z[s, 1]
            z[s, 1] = b2 * v - a2 * out
            v = out
        y[n] = v
    return y


@program(lambda a: (a.normal(a.n), np.array(B), np.array(A)), gradient=(0, 1, 2))
def difference_equation(x, b, a):
    """As it stands in the book: where the past is missing it is left out."""
    y = np.zeros(len(x))
    for n in range(len(x)):
        acc = 0.0
        for k in range(len(b)):
            if n - k >= 0:
                acc += b[k] * x[n - k]
        for k in range(1, len(a)):
            if n - k >= 0:
                acc -= a[k] * y[n - k]
        y[n] = acc / a[0]
    return y


@program(lambda a: (a.normal(a.n), 0.9), gradient=(0, 1), single=True)
def one_pole_from_the_second_on(x, a):
    y = np.zeros_like(x)
    y[0] = x[0]
    for n in range(1, len(x)):
        y[n] = a * y[n - 1] + (1 - a) * x[n]
    return y


@program(lambda a: (a.normal(a.n), 0.3), gradient=(0, 1))
def one_pole_in_place(x, g):
    x = x.copy()
    for n in range(1, x.size):
        x[n] += g * x[n - 1]
    return x


@program(lambda a: (a.normal(a.n), 0.3), single=True)
def argument_filtered_in_place(x, g):
    for n in range(1, len(x)):
        x[n] -= g * x[n - 1]


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1))
def forward_and_backward(x, a):
    """Without phase: one way, and back."""
    y = np.zeros_like(x)
    s = x[0]
    for n in range(len(x)):
        s = a * s + (1 - a) * x[n]
        y[n] = s
    for n in range(len(x) - 1, -1, -1):
        s = a * s + (1 - a) * y[n]
        y[n] = s
    return y


@program(lambda a: (a.normal(a.n), 0.995), gradient=(0, 1))
def dc_blocker(x, r):
    y = np.zeros(len(x))
    for n in range(len(x)):
        if n == 0:
            y[n] = x[n]
        else:
            y[n] = x[n] - x[n - 1] + r * y[n - 1]
    return y


@program(lambda a: (a.normal(a.n), a.normal(3)), gradient=(0, 1))
def fir_by_slices_behind_the_start(x, w):
    y = np.zeros_like(x)
    k = len(w)
    for n in range(k - 1, len(x)):
        y[n] = x[n - k + 1 : n + 1] @ w[::-1]
    return y


@program(lambda a: (a.normal(a.n), a.normal(5)), gradient=(0, 1), single=True)
def fir_padded(x, h):
    padded = np.concatenate([np.zeros(len(h) - 1, x.dtype), x])
    y = np.zeros(len(x), x.dtype)
    for n in range(len(x)):
        y[n] = np.dot(padded[n : n + len(h)], h[::-1])
    return y


@program(lambda a: (a.normal(a.n), a.normal(4)), gradient=(0, 1))
def fir_with_a_rolled_line(x, h):
    line = np.zeros(len(h))
    out = []
    for v in x:
        line = np.roll(line, 1)
        line[0] = v
        out.append(h @ line)
    return np.stack(out)


@program(lambda a: (a.normal(a.n), a.normal(4)), gradient=(0, 1))
def fir_with_a_shifted_line(x, h):
    line = np.zeros(len(h))
    y = np.empty(len(x))
    for n, v in enumerate(x):
        line[1:] = line[:-1].copy()
        line[0] = v
        y[n] = np.sum(h * line)
    return y


@program(lambda a: (a.normal(a.n), a.normal(a.n + 2)), gradient=(0, 1))
def convolution_of_two(x, h):
    y = np.zeros(len(x) + len(h) - 1)
    for i in range(len(x)):
        y[i : i + len(h)] += x[i] * h
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def moving_average_by_differences(x):
    width = 4
    total = 0.0
    y = np.zeros(len(x))
    for n in range(len(x)):
        total += x[n]
        if n >= width:
            total -= x[n - width]
        y[n] = total / min(n + 1, width)
    return y


@program(lambda a: (a.normal(a.n),))
def median_of_three(x):
    y = x.copy()
    for n in range(1, len(x) - 1):
        y[n] = np.median(x[n - 1 : n + 2])
    return y


@program(lambda a: (a.normal(a.n),))
def median_of_three_by_comparing(x):
    y = np.array(x)
    for n in range(1, len(x) - 1):
        p, q, r = x[n - 1], x[n], x[n + 1]
        y[n] = max(min(p, q), min(max(p, q), r))
    return y


@program(lambda a: (a.normal(a.n), np.array([0.5, -0.3, 0.2])), gradient=(0, 1))
def lattice_filter(x, k):
    g = np.zeros(len(k) + 1)
    y = np.zeros_like(x)
    for n in range(len(x)):
        f = x[n]
        for m in reversed(range(len(k))):
            f = f - k[m] * g[m]
            g[m + 1] = k[m] * f + g[m]
        g[0] = f
        y[n] = f
    return y


@program(lambda a: (a.normal(a.n), 0.3, 0.7), gradient=(0, 1, 2), single=True)
def state_variable_filter(x, f, q):
    low, band = 0.0, 0.0
    lows, bands, highs = [], [], []
    for n in range(len(x)):
        low += f * band
        high = x[n] - low - q * band
        band += f * high
        lows.append(low)
        bands.append(band)
        highs.append(high)
    return np.array(lows), np.array(bands), np.array(highs)


@program(lambda a: (a.normal(a.n), 0.4, 1.2), gradient=(0, 1, 2))
def moog_ladder(x, g, resonance):
    stages = [0.0, 0.0, 0.0, 0.0]
    y = np.zeros(len(x))
    for n in range(len(x)):
        u = np.tanh(x[n] - resonance * stages[3])
        for i in range(4):
            stages[i] += g * (u - stages[i])
            u = stages[i]
        y[n] = u
    return y


@program(lambda a: (a.normal(2, a.n), 0.8), gradient=(0, 1), single=True)
def stereo_columns(x, a):
    y = np.zeros_like(x)
    s = np.zeros(2, dtype=x.dtype)
    for n in range(x.shape[1]):
        s = a * s + (1 - a) * x[:, n]
        y[:, n] = s
    return y


@program(lambda a: (a.normal(a.n), 0.3), gradient=(0, 1))
def one_channel_each(x, pan):
    """Two stores in each row."""
    y = np.zeros((len(x), 2))
    left = right = 0.0
    for n in range(len(x)):
        left = 0.5 * left + x[n] * (1 - pan)
        right = 0.7 * right + x[n] * pan
        y[n, 0] = left
        y[n, 1] = right
    return y


@program(lambda a: (a.normal(a.n, 3), 0.3))
def rows_in_place(frames, a):
    for n in range(1, len(frames)):
        frames[n] += a * frames[n - 1]
    return frames.sum(axis=0)


@program(lambda a: (a.complex(a.n), 0.9, 0.4), single=True)
def complex_resonator(x, r, angle):
    pole = r * np.exp(1j * angle)
    y = np.zeros_like(x)
    s = 0
    for n in range(len(x)):
        s = x[n] + pole * s
        y[n] = s
    return y


@program(lambda a: (a.normal(a.n), 0.37), tolerance=1e-8)
def goertzel(x, f):
    coefficient = 2 * np.cos(2 * np.pi * f)
    s1 = s2 = 0.0
    for v in x:
        s0 = v + coefficient * s1 - s2
        s2 = s1
        s1 = s0
    return s1**2 + s2**2 - coefficient * s1 * s2


@program(lambda a: (a.normal(2 * a.n),), gradient=(0,))
def haar_pairs(x):
    half = len(x) // 2
    y = np.zeros(len(x))
    for i in range(half):
        y[i] = (x[2 * i] + x[2 * i + 1]) / np.sqrt(2)
        y[half + i] = (x[2 * i] - x[2 * i + 1]) / np.sqrt(2)
    return y


@program(lambda a: (a.normal(a.n), a.weights(4, 4), a.normal(4), a.normal(4)), gradient=(0, 1, 2, 3), single=True)
def state_space(u, A, B, C):
    s = np.zeros(4, dtype=u.dtype)
    y = np.empty_like(u)
    for k in range(len(u)):
        y[k] = C @ s
        s = A @ s + B * u[k]
    return y, s
