"""What is called in each step, where names live, what else a body has in it."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tests.tracing.long_loops.corpus import program


def smooth(state, v, rate=0.3):
    return state + rate * (v - state)


@program(lambda a: (a.normal(a.n),), gradient=(0,), single=True)
def function_of_the_module(x):
    s = 0.0
    for v in x:
        s = smooth(s, v)
        s = smooth(state=s, v=-v, rate=0.1)
    return s


@program(lambda a: (a.normal(a.n), 0.3), gradient=(0, 1))
def lambda_and_partial(x, rate):
    soft = lambda v: np.sign(v) * np.log1p(abs(v))
    step = functools.partial(smooth, rate=rate)
    s = 0.0
    for v in x:
        s = step(s, soft(v))
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def closure_with_nonlocal(x):
    phase, calls = 0.0, 0

    def advance(v):
        nonlocal phase, calls
        phase += v
        calls += 1
        return np.sin(phase)

    out = np.zeros(len(x))
    for n in range(len(x)):
        out[n] = advance(x[n])
    return out, phase, calls


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def closure_over_what_the_loop_changes(x):
    s = 0.0

    def scaled(v):
        return v * (1 + 0.1 * s)

    for v in x:
        s = 0.5 * s + np.tanh(scaled(v))
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def function_made_in_each_step(x):
    s = 1.0
    for v in x:

        def f(u):
            return u * v

        s = np.tanh(f(s) + 1)
    return s, f(2.0)


def tree(v, depth):
    return np.sin(v) if depth == 0 else tree(v * 0.5, depth - 1) + tree(v + 1, depth - 1)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def recursion_of_depth_two(x):
    return np.array([tree(v, 2) for v in x])


def windows(x, size):
    for start in range(0, len(x) - size + 1):
        yield start, x[start : start + size]


@program(lambda a: (a.normal(a.n + 2),), gradient=(0,))
def generator_that_yields_windows(x):
    s = 0.0
    for start, w in windows(x, 3):
        s = 0.5 * s + w.sum() / (start + 1)
    return s


def smoothed(x):
    s = 0.0
    for v in x:
        s = 0.8 * s + v
        yield s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def generator_with_state(x):
    return np.array(list(smoothed(x))), sum(smoothed(smoothed(x)))


@program(lambda a: (a.normal(a.n), 0.5), gradient=(0, 1))
def generator_that_is_sent_nothing(x, a):
    filtered = smoothed(x)
    out = []
    for n in range(len(x)):
        out.append(a * next(filtered) + n)
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def try_and_finally(x):
    s, n = 0.0, 0
    for v in x:
        try:
            s = 0.5 * s + v
        finally:
            n += 1
    return s, n


@program(lambda a: (a.normal(a.n + 1),), gradient=(0,))
def try_and_except_an_index(x):
    """Past the end there is nothing."""
    s = 0.0
    missed = 0
    for n in range(len(x)):
        try:
            s = 0.5 * s + x[n] * x[n + 1]
        except IndexError:
            missed += 1
    return s, missed


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def try_and_except_a_key(x):
    memory = {0: 1.0, 2: 3.0}
    s = 0.0
    for n, v in enumerate(x):
        try:
            w = memory[n % 4]
        except KeyError:
            w = 0.5
        s = 0.5 * s + w * v
    return s


@program(lambda a: (a.normal(a.n),))
def with_errstate(x):
    out = np.zeros_like(x)
    for n in range(len(x)):
        with np.errstate(divide="ignore", invalid="ignore"):
            out[n] = np.log(np.maximum(x[n], 0)) + x[n] / x[n]
    return out


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def with_a_context_of_ones_own(x):
    depth = [0]

    @contextmanager
    def deeper():
        depth[0] += 1
        yield depth[0]
        depth[0] -= 1

    s = 0.0
    for v in x:
        with deeper() as d:
            s = 0.5 * s + d * v
    return s, depth


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def swaps_and_chained_assignments(x):
    a, b, c = 1.0, 2.0, 3.0
    for v in x:
        a, b, c = c, a * 0.5, b
        c = d = c * 0.5 + v
        a, (b, c) = b, (d, a)
    return a, b, c, d


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def walrus_and_ternary(x):
    s = 0.0
    for n in range(len(x)):
        if (u := 0.5 * s + x[n]) > 0:
            s = u
        else:
            s = -0.3 * u
    return s, u


@program(lambda a: (a.normal(a.n),), sizes=(3, 40, 100))
def prints_now_and_then(x):
    s = 0.0
    for n, v in enumerate(x):
        s = 0.5 * s + v
        if n % 10 == 0:
            print(f"step {n}: {s:.4f}")
    print("done", n)
    return s


@program(lambda a: (a.normal(a.n),), sizes=(3, 40, 100))
def prints_in_each_step(x):
    s = 0.0
    for v in x:
        s = 0.5 * s + v
        print(f"{s:.3f}", end=" ")
    return s


@program(lambda a: (a.normal(a.n), 2))
def prints_before_a_loop_that_is_left(x, k):
    s = 0.0
    if k > 0:
        print("at", k)
        for v in x:
            if v > 1:
                break
            s = s + v
        print("left at", s)
    return s


class Filter:
    count = 0

    def __init__(self, a, order=1):
        self.a = a
        self.z = [0.0] * order
        self.seen = 0

    @property
    def gain(self):
        return 1 - self.a

    def _one(self, v, k):
        self.z[k] = self.a * self.z[k] + self.gain * v
        return self.z[k]

    def process(self, v):
        self.seen += 1
        for k in range(len(self.z)):
            v = self._one(v, k)
        return v


@program(lambda a: (a.normal(a.n), 0.7), gradient=(0, 1))
def method_called_in_each_step(x, a):
    f = Filter(a, order=2)
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = f.process(x[n])
    return y, f.z, f.seen


@program(lambda a: (a.normal(a.n), 0.7), gradient=(0, 1))
def objects_that_call_each_other(x, a):
    filters = [Filter(a), Filter(a * 0.5), Filter(0.1)]
    total = 0.0
    for v in x:
        for f in filters:
            v = f.process(v)
        total += v
    return total, [f.z[0] for f in filters]


@dataclass
class State:
    position: float
    speed: float
    steps: int = 0

    def kicked(self, v):
        return replace(self, position=self.position + 0.1 * self.speed, speed=0.9 * self.speed + v, steps=self.steps + 1)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def dataclass_replaced(x):
    state = State(0.0, 1.0)
    for v in x:
        state = state.kicked(v)
    return state.position, state.speed, state.steps


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def dataclass_changed(x):
    state = State(0.0, 1.0)
    path = []
    for v in x:
        state.position += 0.1 * state.speed
        state.speed -= 0.1 * state.position + 0.01 * v
        state.steps += 1
        path.append(state.position)
    return np.array(path), state.steps


class Pair(NamedTuple):
    real: float
    imag: float

    def __mul__(self, other):
        return Pair(self.real * other.real - self.imag * other.imag, self.real * other.imag + self.imag * other.real)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def named_tuple_with_an_operator(x):
    z = Pair(1.0, 0.0)
    for v in x:
        z = z * Pair(np.cos(v), np.sin(v))
    return z


class Base:
    def step(self, s, v):
        return self.mix(s, v) + 0.1

    def mix(self, s, v):
        raise NotImplementedError


class Derived(Base):
    def step(self, s, v):
        return 0.5 * super().step(s, v)

    def mix(self, s, v):
        return np.tanh(s + v)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def methods_overridden(x):
    model, s = Derived(), 0.0
    for v in x:
        s = model.step(s, v)
    return s


class Trapezoid:
    """Steps as an iterator of its own."""

    def __init__(self, x):
        self.x, self.n, self.area = x, 0, 0.0

    def __iter__(self):
        return self

    def __next__(self):
        if self.n + 1 >= len(self.x):
            raise StopIteration
        self.area = self.area + 0.5 * (self.x[self.n] + self.x[self.n + 1])
        self.n += 1
        return self.area


@program(lambda a: (a.normal(a.n + 1),), gradient=(0,))
def iterator_of_ones_own(x):
    return np.array([area for area in Trapezoid(x)])


GAIN = 0.25
table = np.linspace(0, 1, 16)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def globals_read(x):
    s = 0.0
    for n in range(len(x)):
        s = GAIN * s + x[n] * table[n % 16]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def functions_chosen_by_the_step(x):
    functions = [np.sin, np.cos, lambda v: v * v]
    s = 0.0
    for n, v in enumerate(x):
        s = 0.5 * s + functions[n % 3](v)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def match_on_the_step(x):
    s = 0.0
    for n, v in enumerate(x):
        match n % 4:
            case 0:
                s = s + v
            case 1 | 2:
                s = 0.5 * s
            case _:
                s = s - v
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def reduce_of_the_module(x):
    return functools.reduce(lambda s, v: 0.5 * s + np.sin(v), x, 0.0)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def map_and_filter(x):
    s = 0.0
    for v in map(lambda u: u * 2, x):
        s = 0.5 * s + v
    for n in filter(lambda n: n % 3 == 0, range(len(x))):
        s = 0.5 * s + x[n]
    return s


@program(lambda a: (a.normal(a.n),))
def asserts_that_hold(x):
    s = 0.0
    for n, v in enumerate(x):
        assert n < len(x), "beyond the end"
        s = 0.5 * s + v
        assert abs(s) < 1e6, f"step {n}: {s}"
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def deleted_at_the_end_of_each_step(x):
    s = 0.0
    for v in x:
        u = v * 2
        s = 0.5 * s + u
        del u
    return s


@program(lambda a: (a.normal(a.n),))
def same_name_for_item_and_array(x):
    for x in x:
        y = x * 2
    return x, y


@program(lambda a: (a.normal(a.n),))
def counter_changed_in_the_body(x):
    out = np.zeros(2 * len(x))
    for n in range(len(x)):
        n = n * 2
        out[n] = x[n // 2]
        n += 1
        out[n] = n
    return out, n


@program(lambda a: (a.normal(a.n),))
def attributes_of_a_function(x):
    def step(v):
        step.s = 0.5 * step.s + v
        return step.s

    step.s = 0.0
    for v in x:
        last = step(v)
    return last
