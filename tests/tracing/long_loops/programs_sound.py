"""Sound made and shaped sample by sample: oscillators, dynamics, resampling, adaptive filters."""

from __future__ import annotations

import math

import numpy as np

from tests.tracing.long_loops.corpus import program

RATE = 48000


@program(lambda a: (a.normal(a.n), 0.4, 0.95), gradient=(0, 1, 2))
def envelope_follower(x, attack, release):
    env = 0.0
    out = np.zeros_like(x)
    for n in range(len(x)):
        level = abs(x[n])
        if level > env:
            env = attack * env + (1 - attack) * level
        else:
            env = release * env + (1 - release) * level
        out[n] = env
    return out


@program(lambda a: (a.normal(a.n), -12.0, 4.0), single=True)
def compressor(x, threshold, ratio):
    y = np.zeros_like(x)
    gain_db = 0.0
    for n, v in enumerate(x):
        level_db = 20 * np.log10(np.abs(v) + 1e-6)
        over = max(level_db - threshold, 0.0)
        wanted = -over * (1 - 1 / ratio)
        k = 0.3 if wanted < gain_db else 0.02
        gain_db += k * (wanted - gain_db)
        y[n] = v * 10 ** (gain_db / 20)
    return y


@program(lambda a: (a.normal(a.n), 0.8))
def noise_gate_with_hold(x, threshold):
    y = np.zeros_like(x)
    counter = 0
    opened = False
    for n in range(len(x)):
        if abs(x[n]) >= threshold:
            opened, counter = True, 4
        elif counter > 0:
            counter -= 1
        else:
            opened = False
        y[n] = x[n] if opened else 0.0
    return y, counter


@program(lambda a: (a.normal(a.n), 0.9), gradient=(0, 1))
def lookahead_limiter(x, ceiling):
    ahead = 4
    padded = np.pad(x, (0, ahead))
    gain = 1.0
    y = np.zeros_like(x)
    for n in range(len(x)):
        peak = np.max(np.abs(padded[n : n + ahead]))
        wanted = np.minimum(1.0, ceiling / (peak + 1e-9))
        gain = np.minimum(wanted, gain + 0.05 * (wanted - gain))
        y[n] = gain * x[n]
    return y


@program(lambda a: (a.uniform(a.n, low=100, high=900), 0.0), gradient=(0, 1))
def oscillator_with_an_accumulated_phase(f, phase):
    out = np.zeros(len(f))
    for n in range(len(f)):
        phase += 2 * np.pi * f[n] / RATE
        out[n] = np.sin(phase)
    return out


@program(lambda a: (a.n, 440.0), static=(0,), gradient=(1,))
def sine_by_the_counter(samples, f):
    out = np.zeros(samples)
    for n in range(samples):
        out[n] = np.sin(2 * np.pi * f * n / RATE)
    return out


@program(lambda a: (a.n, 0.5), static=(0,))
def chirp_with_math(samples, amplitude):
    """Python's own functions, of the counter alone."""
    out = []
    for n in range(samples):
        t = n / 100
        out.append(amplitude * math.sin(2 * math.pi * (3 * t + 0.5 * t * t)) * math.exp(-t))
    return np.array(out)


@program(lambda a: (a.uniform(a.n, low=0.01, high=0.2),))
def sawtooth_that_wraps(steps):
    phase = 0.0
    out = np.empty_like(steps)
    for n in range(len(steps)):
        out[n] = 2 * phase - 1
        phase += steps[n]
        if phase >= 1.0:
            phase -= 1.0
    return out


@program(lambda a: (a.normal(a.n), 1.0), gradient=(0, 1))
def frequency_modulation_with_feedback(x, index):
    last = 0.0
    y = []
    for n in range(len(x)):
        last = np.sin(0.1 * n + index * last + x[n])
        y.append(last)
    return np.array(y)


@program(lambda a: (a.normal(64), a.uniform(a.n, low=0.3, high=2.5)), gradient=(0,))
def wavetable(table, increments):
    position = 0.0
    out = np.zeros(len(increments))
    for n in range(len(increments)):
        i = int(position)
        frac = position - i
        out[n] = (1 - frac) * table[i] + frac * table[(i + 1) % 64]
        position = (position + increments[n]) % 64
    return out


@program(lambda a: (a.normal(2 * a.n + 2), a.n, 1.7), static=(1,), gradient=(0,))
def resampled_at_fractional_places(x, count, ratio):
    y = np.zeros(count)
    pos = 0.0
    for n in range(count):
        i = int(np.floor(pos))
        f = pos - i
        y[n] = x[i] * (1 - f) + x[i + 1] * f
        pos += ratio
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def upsampled_by_two(x):
    y = np.zeros(2 * len(x))
    for n in range(len(x)):
        y[2 * n] = x[n]
        y[2 * n + 1] = 0.5 * (x[n] + (x[n + 1] if n + 1 < len(x) else 0.0))
    return y


@program(lambda a: (a.normal(3 * a.n),), gradient=(0,))
def decimated_by_three(x):
    y = []
    s = 0.0
    for n in range(0, len(x), 3):
        s = 0.5 * s + x[n : n + 3].mean()
        y.append(s)
    return np.array(y)


@program(lambda a: (a.normal(2 * a.n + 1),), gradient=(0,))
def every_second_sample(x):
    y = np.zeros_like(x)
    for n in range(1, len(x), 2):
        y[n] = 0.5 * y[n - 1] + x[n] * x[n - 1]
    return y


@program(lambda a: (a.normal(a.n), 16.0))
def noise_shaping(x, levels):
    error = 0.0
    y = np.zeros_like(x)
    for n in range(len(x)):
        v = x[n] - error
        q = np.round(v * levels) / levels
        error = q - v
        y[n] = q
    return y


@program(lambda a: (a.uniform(a.n, low=-0.9, high=0.9),), single=True)
def sigma_delta(x):
    integrator = 0.0
    bits = np.zeros(len(x), dtype=np.int8)
    for n in range(len(x)):
        bit = np.sign(integrator) if n > 0 else 1.0
        integrator += x[n] - bit
        bits[n] = bit
    return bits, integrator


@program(lambda a: (a.normal(a.n),))
def zero_crossings(x):
    count = 0
    for n in range(1, len(x)):
        if x[n - 1] < 0 <= x[n] or x[n - 1] >= 0 > x[n]:
            count += 1
    return count


@program(lambda a: (a.normal(a.n), a.uniform(a.n)))
def sample_and_hold(x, clock):
    held = x[0]
    y = np.zeros_like(x)
    for n in range(len(x)):
        if n > 0 and clock[n - 1] < 0.5 <= clock[n]:
            held = x[n]
        y[n] = held
    return y


@program(lambda a: (a.normal(16), a.integers(16, a.n)), gradient=(0,))
def table_by_index(table, idx):
    y = np.zeros(len(idx))
    for n in range(len(idx)):
        y[n] = table[idx[n]] * table[n % 16]
    return y


@program(lambda a: (a.n, 0.2, 0.7), static=(0,))
def adsr(samples, attack, sustain):
    level, stage = 0.0, 0
    out = np.zeros(samples)
    for n in range(samples):
        if stage == 0:
            level += attack
            if level >= 1.0:
                level, stage = 1.0, 1
        elif stage == 1:
            level -= 0.05
            if level <= sustain:
                level, stage = sustain, 2
        if n == samples - samples // 4:
            stage = 3
        if stage == 3:
            level *= 0.9
        out[n] = level
    return out


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1), single=True)
def lms(x, d):
    w = np.zeros(4, dtype=x.dtype)
    e = np.zeros(len(x), dtype=x.dtype)
    for n in range(3, len(x)):
        window = x[n - 3 : n + 1][::-1]
        e[n] = d[n] - w @ window
        w = w + 0.05 * e[n] * window
    return w, e


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1))
def nlms_in_place(x, d):
    w = np.zeros(3)
    padded = np.r_[np.zeros(2), x]
    errors = []
    for n in range(len(x)):
        u = padded[n : n + 3]
        e = d[n] - u.dot(w)
        w += 0.2 * e * u / (1e-3 + u.dot(u))
        errors.append(e)
    return w, np.array(errors)


@program(lambda a: (a.normal(a.n, 3), a.normal(a.n)), gradient=(0, 1), tolerance=1e-7)
def rls(U, d):
    P = 10.0 * np.eye(3)
    w = np.zeros(3)
    for u, v in zip(U, d):
        k = P @ u / (0.98 + u @ P @ u)
        w = w + k * (v - w @ u)
        P = (P - np.outer(k, u @ P)) / 0.98
    return w, P


@program(lambda a: (a.normal(a.n), 0.1, 0.5), gradient=(0, 1, 2), single=True)
def kalman_of_one_number(z, q, r):
    x, p = 0.0, 1.0
    estimates = []
    for k in range(len(z)):
        p = p + q
        gain = p / (p + r)
        x = x + gain * (z[k] - x)
        p = (1 - gain) * p
        estimates.append(x)
    return np.array(estimates), p


@program(lambda a: (a.normal(a.n, 1),), gradient=(0,))
def kalman_of_a_moving_body(z):
    F = np.array([[1.0, 0.1], [0.0, 1.0]])
    H = np.array([[1.0, 0.0]])
    Q, R = 0.01 * np.eye(2), np.array([[0.3]])
    x, P = np.zeros(2), np.eye(2)
    xs = np.zeros((len(z), 2))
    for k in range(len(z)):
        x = F @ x
        P = F @ P @ F.T + Q
        S = H @ P @ H.T + R
        K = P @ H.T @ np.linalg.inv(S)
        x = x + K @ (z[k] - H @ x)
        P = (np.eye(2) - K @ H) @ P
        xs[k] = x
    return xs, P
