"""Delays, rings, blocks: what reaches back over many samples."""

from __future__ import annotations

from collections import deque

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n), 0.5), gradient=(0, 1), single=True)
def feedback_comb(x, g):
    D = 7
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = x[n]
        if n >= D:
            y[n] += g * y[n - D]
    return y


@program(lambda a: (a.normal(a.n), 0.5), gradient=(0, 1))
def feedforward_comb(x, g):
    D = 5
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = x[n] + (g * x[n - D] if n >= D else 0.0)
    return y


@program(lambda a: (a.normal(a.n), 0.5), gradient=(0, 1))
def schroeder_allpass(x, g):
    D = 6
    y = np.zeros(len(x))
    for n in range(len(x)):
        xd = x[n - D] if n >= D else 0
        yd = y[n - D] if n >= D else 0
        y[n] = -g * x[n] + xd + g * yd
    return y


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1), single=True)
def ring_in_an_array(x, g):
    D = 8
    buf = np.zeros(D, dtype=x.dtype)
    idx = 0
    y = np.zeros_like(x)
    for n in range(len(x)):
        delayed = buf[idx]
        y[n] = x[n] + g * delayed
        buf[idx] = y[n]
        idx = (idx + 1) % D
    return y, buf, idx


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1))
def ring_by_the_counter(x, g):
    D = 5
    buf = np.zeros(D)
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = buf[n % D]
        buf[n % D] = x[n] + g * y[n]
    return y, buf


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1))
def ring_in_a_list(x, g):
    D = 4
    buf = [0.0] * D
    idx = 0
    out = []
    for v in x:
        y = v + g * buf[idx]
        buf[idx] = y
        idx += 1
        if idx == D:
            idx = 0
        out.append(y)
    return np.array(out)


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1))
def ring_in_a_deque(x, g):
    line = deque([0.0] * 5, maxlen=5)
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = x[n] + g * line[0]
        line.append(y[n])
    return y


@program(lambda a: (a.normal(a.n), 0.6), gradient=(0, 1))
def line_with_pop_and_append(x, g):
    line = [np.float64(0)] * 3
    y = []
    for v in x:
        oldest = line.pop(0)
        line.append(v - g * oldest)
        y.append(oldest)
    return np.array(y)


@program(lambda a: (a.uniform(12, low=-1), np.zeros(a.n)))
def karplus_strong_shifted(burst, out):
    buf = burst.copy()
    N = len(buf)
    for n in range(len(out)):
        out[n] = buf[0]
        new = 0.996 * 0.5 * (buf[0] + buf[1])
        buf[:-1] = buf[1:].copy()
        buf[N - 1] = new
    return out


@program(lambda a: (a.uniform(9, low=-1), a.n), static=(1,), gradient=(0,))
def karplus_strong(burst, samples):
    ring = list(burst)
    out = np.empty(samples)
    for t in range(samples):
        p = t % len(ring)
        q = (t + 1) % len(ring)
        out[t] = ring[p]
        ring[p] = 0.498 * (ring[p] + ring[q])
    return out


@program(lambda a: (a.normal(a.n), 0.4), gradient=(0, 1))
def feedback_delay_network(x, g):
    lengths = [3, 5, 7]
    lines = [np.zeros(d) for d in lengths]
    places = [0, 0, 0]
    mix = np.eye(3) - 2 / 3
    y = np.zeros_like(x)
    for n in range(len(x)):
        outs = np.array([lines[i][places[i]] for i in range(3)])
        y[n] = x[n] + outs.sum()
        back = g * (mix @ outs) + x[n]
        for i in range(3):
            lines[i][places[i]] = back[i]
            places[i] = (places[i] + 1) % lengths[i]
    return y


@program(lambda a: (a.normal(a.n), 0.5), gradient=(0, 1))
def ping_pong_delay(x, feedback):
    D = 6
    left, right = np.zeros(D), np.zeros(D)
    out = np.zeros((2, len(x)))
    w = 0
    for n in range(len(x)):
        l, r = left[w], right[w]
        left[w] = x[n] + feedback * r
        right[w] = feedback * l
        out[0, n] = x[n] + l
        out[1, n] = x[n] + r
        w = w + 1 if w < D - 1 else 0
    return out


@program(lambda a: (a.normal(a.n),))
def flanger(x):
    """Reads between samples, at places that follow from a slow sine."""
    size = 16
    buf = np.zeros(size)
    y = np.zeros(len(x))
    for n in range(len(x)):
        buf[n % size] = x[n]
        d = 4.0 + 3.0 * np.sin(2 * np.pi * n / 50)
        whole = int(np.floor(d))
        frac = d - whole
        a = buf[(n - whole) % size]
        b = buf[(n - whole - 1) % size]
        y[n] = x[n] + 0.7 * ((1 - frac) * a + frac * b)
    return y


@program(lambda a: (a.normal(4 * a.n + 4), a.normal(8)), gradient=(0, 1), single=True)
def overlap_add(x, window):
    hop, win = 4, 8
    frames = (len(x) - win) // hop + 1
    y = np.zeros_like(x)
    for k in range(frames):
        frame = x[k * hop : k * hop + win] * window
        y[k * hop : k * hop + win] += frame * window
    return y


@program(lambda a: (a.normal(4 * a.n + 4),), gradient=(0,))
def frames_analysed(x):
    """A short-time spectrum, frame by frame, in a list."""
    window = np.hanning(8)
    spectra = []
    for start in range(0, len(x) - 7, 4):
        spectra.append(np.abs(np.fft.rfft(window * x[start : start + 8])) ** 2)
    return np.stack(spectra, axis=1)


@program(lambda a: (a.normal(8 * a.n),), gradient=(0,))
def blocks_of_eight(x):
    y = np.zeros_like(x)
    carry = 0.0
    for b in range(len(x) // 8):
        block = x[8 * b : 8 * (b + 1)]
        level = np.sqrt(np.mean(block**2))
        carry = 0.9 * carry + 0.1 * level
        y[8 * b : 8 * (b + 1)] = block / (carry + 0.1)
    return y


@program(lambda a: (a.normal(a.n), a.normal(4), a.normal(4)), gradient=(0,))
def waveguide(x, right, left):
    """Two travelling waves in lines that are shifted."""
    right, left = right.copy(), left.copy()
    out = []
    for v in x:
        end, start = right[-1], left[0]
        right[1:] = right[:-1].copy()
        left[:-1] = left[1:].copy()
        right[0] = -0.95 * start + v
        left[-1] = -0.9 * end
        out.append(right[2] + left[2])
    return np.asarray(out)


@program(lambda a: (a.normal(a.n), 0.5))
def multitap_echo(x, g):
    taps = [(3, 0.5), (7, 0.3), (11, 0.2)]
    y = np.zeros(len(x) + 11)
    for n in range(len(x)):
        y[n] += x[n]
        for d, w in taps:
            y[n + d] += g * w * x[n]
    return y


@program(lambda a: (a.normal(a.n),))
def class_with_a_delay_line(x):
    class Delay:
        def __init__(self, size):
            self.buffer = np.zeros(size)
            self.position = 0

        def process(self, v):
            out = self.buffer[self.position]
            self.buffer[self.position] = v
            self.position = (self.position + 1) % len(self.buffer)
            return out

    first, second = Delay(3), Delay(4)
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = second.process(0.5 * first.process(x[n]) + x[n])
    return y


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1))
def fir_with_a_history_of_rows(x, e):
    history = np.zeros((4, 2))
    y = np.zeros((len(x), 2))
    w = np.array([0.4, 0.3, 0.2, 0.1])
    for n in range(len(x)):
        history = np.vstack([[x[n], e[n]], history[:-1]])
        y[n] = w @ history
    return y
