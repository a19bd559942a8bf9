"""Audio, sample by sample: dynamics, meters, gates, oscillators and envelopes."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import method, program

_random = np.random.default_rng(1)


def noise(*shape):
    return _random.standard_normal(shape)


def burst(n=16):
    """Silence, a loud part, silence."""
    x = 0.01 * noise(n)
    x[n // 4 : n // 2] += 1.0
    return x


@program((noise(14), 0.4, 0.9), (burst(14), 0.2, 0.8), gradient=(0, 1, 2))
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


@program((burst(), -20.0, 4.0), (3 * noise(16), -6.0, 2.0))
def compressor(x, threshold, ratio):
    y = np.empty_like(x)
    gain_db = 0.0
    for n in range(len(x)):
        level_db = 20 * np.log10(abs(x[n]) + 1e-6)
        over = level_db - threshold
        target = -over * (1 - 1 / ratio) if over > 0 else 0.0
        if target < gain_db:
            gain_db = 0.5 * gain_db + 0.5 * target
        else:
            gain_db = 0.9 * gain_db + 0.1 * target
        y[n] = x[n] * 10 ** (gain_db / 20)
    return y, gain_db


@program((noise(9), 0.5, 0.2), (0.3 * noise(9), 0.4, 0.3), gradient=(0, 1))
def soft_knee(levels, threshold, knee):
    """Gain reduction with a quadratic knee, one level at a time."""
    out = []
    for level in levels:
        over = level - threshold
        if 2 * over < -knee:
            out.append(level)
        elif 2 * abs(over) <= knee:
            out.append(level - 0.5 * (over + knee / 2) ** 2 / (2 * knee))
        else:
            out.append(threshold + over / 4)
    return np.array(out)


@program((burst(20), 0.5, 3), (noise(20), 1.0, 1))
def noise_gate(x, threshold, hold):
    y = np.zeros_like(x)
    counter = 0
    opened = False
    for n in range(len(x)):
        if abs(x[n]) >= threshold:
            opened = True
            counter = hold
        elif counter > 0:
            counter -= 1
        else:
            opened = False
        if opened:
            y[n] = x[n]
    return y, opened, counter


@program((np.sin(np.arange(24) * 0.7), 0.5, -0.5), (0.3 * noise(24), 0.2, -0.2))
def schmitt_trigger(x, high, low):
    state = 0
    edges = 0
    y = np.zeros(len(x), dtype=np.int64)
    for n, value in enumerate(x):
        if state == 0 and value > high:
            state = 1
            edges += 1
        elif state == 1 and value < low:
            state = 0
        y[n] = state
    return y, edges


@method("process", (burst(12),), (noise(12),), (0.001 * noise(12),), made=(0.9, 2))
class PeakMeter:
    """Holds peaks for a while, then falls; counts samples that clip."""

    def __init__(self, decay, hold):
        self.decay, self.hold = decay, hold
        self.peak = 0.0
        self.held = 0
        self.clips = 0

    def process(self, x):
        for sample in x:
            a = np.abs(sample)
            if a > 1.0:
                self.clips += 1
            if a >= self.peak:
                self.peak = a
                self.held = self.hold
            elif self.held > 0:
                self.held -= 1
            else:
                self.peak *= self.decay
        return self.peak


@program((noise(15), 0.8), (2 * noise(15), 0.3), (0.1 * noise(15), 0.8))
def lookahead_limiter(x, ceiling):
    ahead = 3
    y = np.zeros_like(x)
    gain = 1.0
    padded = np.concatenate([x, np.zeros(ahead)])
    for n in range(len(x)):
        peak = np.max(np.abs(padded[n : n + ahead + 1]))
        wanted = ceiling / peak if peak > ceiling else 1.0
        if wanted < gain:
            gain = wanted
        else:
            gain += 0.1 * (wanted - gain)
        y[n] = x[n] * gain
    return y


@program((noise(20),), (np.sin(np.arange(20.0)),))
def zero_crossings(x):
    count = 0
    last = x[0]
    for n in range(1, len(x)):
        if (last < 0 and x[n] >= 0) or (last >= 0 and x[n] < 0):
            count += 1
        last = x[n]
    return count


@program((np.array([0.1, 0.3, 0.35, 0.2] * 4), 0.9), (np.full(16, 0.05), 0.1))
def sawtooth(increments, phase):
    y = np.empty(len(increments))
    for n in range(len(increments)):
        y[n] = 2 * phase - 1
        phase += increments[n]
        if phase >= 1.0:
            phase -= 1.0
    return y, phase


@program((0.13, 0.31, 0.0), (0.41, 0.17, 0.5))
def hard_sync(master_step, slave_step, start):
    """The slave starts anew whenever the master does."""
    master, slave = start, 0.0
    out = []
    for _ in range(16):
        master += master_step
        slave += slave_step
        if master >= 1:
            master -= 1
            slave = master * slave_step / master_step
        elif slave >= 1:
            slave -= 1
        out.append(2 * slave - 1)
    return np.array(out)


@program((noise(12), 0.995), (np.full(12, 1e-12), 0.5), (noise(12) * 1e-7, 0.9))
def dc_blocker(x, r):
    x1 = y1 = 0.0
    y = np.zeros_like(x)
    for n in range(len(x)):
        y1 = x[n] - x1 + r * y1
        if abs(y1) < 1e-10:
            y1 = 0.0
        x1 = x[n]
        y[n] = y1
    return y


@program((noise(12), np.array([1, 0, 0] * 4)), (noise(12), np.array([0, 0, 1, 1] * 3)))
def sample_and_hold(x, clock):
    held = 0.0
    y = np.zeros_like(x)
    for n in range(len(x)):
        if clock[n]:
            held = x[n]
        y[n] = held
    return y


IDLE, ATTACK, DECAY, SUSTAIN, RELEASE = range(5)


@method("render", (np.array([True] * 12),), (np.array([True] * 3 + [False] * 2 + [True] + [False] * 6),), (np.array([False] * 12),))
class ADSR:
    def __init__(self):
        self.state = IDLE
        self.level = 0.0

    def tick(self, gate):
        if gate and (self.state == IDLE or self.state == RELEASE):
            self.state = ATTACK
        elif not gate and self.state != IDLE:
            self.state = RELEASE

        if self.state == ATTACK:
            self.level += 0.25
            if self.level >= 1.0:
                self.level = 1.0
                self.state = DECAY
        elif self.state == DECAY:
            self.level -= 0.125
            if self.level <= 0.5:
                self.level = 0.5
                self.state = SUSTAIN
        elif self.state == RELEASE:
            self.level -= 0.2
            if self.level <= 0.0:
                self.level = 0.0
                self.state = IDLE
        return self.level

    def render(self, gates):
        return np.array([self.tick(gate) for gate in gates])


@method("process", (noise(5),), (noise(5),), (noise(5),), made=(7,))
class DelayLine:
    def __init__(self, length):
        self.buffer = np.zeros(length)
        self.position = 0
        self.feedback = 0.5

    def process(self, x):
        out = np.empty_like(x)
        for n in range(len(x)):
            delayed = self.buffer[self.position]
            self.buffer[self.position] = x[n] + self.feedback * delayed
            self.position += 1
            if self.position >= len(self.buffer):
                self.position = 0
            out[n] = x[n] + delayed
        return out


@program((noise(6), np.zeros(4), 3), (noise(6), noise(4), 0))
def echo(x, ring, write):
    """A ring buffer of the caller's, written from a given place."""
    y = np.zeros_like(x)
    for n in range(len(x)):
        read = write + 1
        if read == len(ring):
            read = 0
        y[n] = x[n] + 0.6 * ring[read]
        ring[write] = x[n]
        write = read
    return y, write


def shape_sample(v):
    if v > 1:
        return 2 / 3
    elif v < -1:
        return -2 / 3
    return v - v**3 / 3


@program((2 * noise(10),), (0.3 * noise(10) - 2.0,), (0.1 * noise(10),), gradient=(0,))
def waveshaper(x):
    return np.array([shape_sample(v) for v in x])


@program((noise(12), 0.3, 0.1), (burst(12), 0.05, 0.5), gradient=(0, 1, 2))
def slew_limiter(x, rise, fall):
    y = np.zeros_like(x)
    last = x[0] * 0
    for n in range(len(x)):
        step = x[n] - last
        if step > rise:
            step = rise
        elif step < -fall:
            step = -fall
        last = last + step
        y[n] = last
    return y


@program((np.array([0.0, 0.1, 5.0, 0.2, 0.3, -4.0, -5.0, 0.1]),), (0.1 * noise(8),))
def declick(x):
    """What stands out from its neighbours is replaced by their mean."""
    y = x.copy()
    repaired = 0
    for n in range(1, len(x) - 1):
        around = (y[n - 1] + x[n + 1]) / 2
        if abs(x[n] - around) < 1.0:
            continue
        y[n] = around
        repaired += 1
    return y, repaired


@program((burst(20), 0.5, 4), (np.abs(noise(20)), 1.0, 2))
def onsets(energy, threshold, wait):
    """Flags of onsets; none for a while after one."""
    flags = np.zeros(len(energy), dtype=bool)
    since = wait
    for n in range(1, len(energy)):
        if energy[n] > threshold and energy[n] > energy[n - 1] and since >= wait:
            flags[n] = True
            since = 0
        else:
            since += 1
    return flags


@program((noise(64),), (np.zeros(64),), (0.2 * noise(64),))
def normalize_block(block):
    peak = np.abs(block).max()
    if peak < 1e-4:
        return np.zeros_like(block), 0.0
    if peak > 1.0:
        block = block / peak
    return block, 20 * np.log10(peak)


@program((np.float32(noise(10)), np.float32(0.5)), (np.float32(0.1 * noise(10)), np.float32(5)))
def automatic_gain(x, target):
    """In single precision, as a plug-in would."""
    gain = np.float32(1.0)
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = gain * x[n]
        if abs(y[n]) > target:
            gain *= np.float32(0.9)
        elif gain < 1.3:
            gain *= np.float32(1.05)
    return y, gain


@program((0.3, 10), (0.05, 12), (1.2, 3))
def triangle_lfo(rate, skip):
    value, direction = 0.0, 1
    y = np.zeros(15)
    for n in range(15):
        if n >= skip:
            direction = -direction
            skip = 100
        value += direction * rate
        if value > 1:
            value, direction = 2 - value, -1
        elif value < -1:
            value, direction = -2 - value, 1
        y[n] = value
    return y


@program((np.sin(np.arange(40) * 2 * np.pi / 8), 0.1), (noise(40), 0.1), (np.sin(np.arange(40) * 2 * np.pi / 11), 0.2))
def yin_period(x, threshold):
    """The first lag whose normalised difference falls below a threshold, or else none: 0."""
    running = 0.0
    period = 0
    for lag in range(1, 16):
        d = np.sum((x[:24] - x[lag : lag + 24]) ** 2)
        running += d
        if d * lag / running < threshold:
            period = lag
            break
    return period


@program((noise(12), 3, 4), (noise(12), 1, 2))
def bit_crusher(x, hold, levels):
    held, count = 0.0, 0
    y = np.zeros_like(x)
    for n in range(len(x)):
        if count == 0:
            held = np.round(x[n] * levels) / levels
            count = hold
        count -= 1
        y[n] = held
    return y


@program((0, 0.2, 0.7), (1, 0.2, 0.7), (2, 0.2, 1.5), (3, 0.3, 0.5), gradient=(1, 2))
def biquad_coefficients(kind, frequency, q):
    """Low pass, high pass, band pass, or nothing, as in the cookbook."""
    w = 2 * np.pi * frequency
    alpha = np.sin(w) / (2 * q)
    c = np.cos(w)
    if kind == 0:
        b = np.array([(1 - c) / 2, 1 - c, (1 - c) / 2])
    elif kind == 1:
        b = np.array([(1 + c) / 2, -(1 + c), (1 + c) / 2])
    elif kind == 2:
        b = np.array([alpha, 0.0, -alpha])
    else:
        b = np.array([1 + alpha, -2 * c, 1 - alpha])
    return b / (1 + alpha), np.array([1.0, -2 * c, 1 - alpha]) / (1 + alpha)


@program((noise(10), burst(10), 0.5), (noise(10), np.zeros(10), 0.5))
def ducking(music, voice, depth):
    gain = 1.0
    for n in range(len(voice)):
        gain = max(gain - 0.2, depth) if abs(voice[n]) > 0.1 else min(gain + 0.05, 1.0)
        music[n] *= gain
    return gain


@program((noise(2, 10), 4), (noise(2, 10), 0), (noise(2, 10), 20))
def crossfade(x, start):
    y = np.empty(x.shape[1])
    for n in range(x.shape[1]):
        if n < start:
            y[n] = x[0, n]
        elif n < start + 4:
            mix = (n - start) / 4
            y[n] = (1 - mix) * x[0, n] + mix * x[1, n]
        else:
            y[n] = x[1, n]
    return y
