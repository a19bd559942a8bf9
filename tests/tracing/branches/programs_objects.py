"""Objects that answer by branches: operators, items, setters, and what is reached through several of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.tracing.branches.corpus import method, program


class Interval:
    """Arithmetic of intervals, where signs decide."""

    def __init__(self, low, high):
        self.low, self.high = low, high

    def __add__(self, other):
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, factor):
        if factor < 0:
            return Interval(self.high * factor, self.low * factor)
        return Interval(self.low * factor, self.high * factor)

    def __contains__(self, x):
        return self.low <= x <= self.high

    def __lt__(self, other):
        return self.high < other.low

    def __abs__(self):
        if self.low >= 0:
            return Interval(self.low, self.high)
        if self.high <= 0:
            return Interval(-self.high, -self.low)
        return Interval(0.0, max(-self.low, self.high))


@program((1.0, 2.0, 3.0), (1.0, 2.0, -3.0), (-5.0, -4.0, 1.0), (-1.0, 2.0, 1.0))
def interval_arithmetic(low, high, factor):
    a = Interval(low, high) * factor + Interval(0.0, 1.0)
    b = abs(a)
    if a < Interval(5.0, 6.0):
        return b.low, b.high
    return b.high, b.low


class Knob:
    """A setter that keeps its value within limits."""

    def __init__(self):
        self._value = 0.5
        self.changes = 0

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, x):
        if x > 1:
            x = 1.0
        elif x < 0:
            x = 0.0
        if x != self._value:
            self.changes += 1
        self._value = x


@method("turn", (0.3,), (0.9,), (-5.0,), (0.0,))
class Panel:
    def __init__(self):
        self.knobs = [Knob(), Knob()]

    def turn(self, by):
        first, second = self.knobs
        first.value += by
        if first.value > 0.9:
            second.value = first.value / 2
        return second.value


class Grid:
    """Items with periodic borders in one direction and walls in the other."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, place):
        i, j = place
        if j < 0 or j >= self.values.shape[1]:
            return 0.0
        if i < 0:
            i += self.values.shape[0]
        return self.values[i, j]

    def __setitem__(self, place, value):
        i, j = place
        if value > 10:
            value = 10.0
        self.values[i, j] = value


@program(
    (np.arange(6.0).reshape(2, 3), 0, 1),
    (np.arange(6.0).reshape(2, 3), -1, 2),
    (np.arange(6.0).reshape(2, 3), 0, 5),
    (4 * np.ones((2, 3)), 1, -1),
)
def items_of_an_object(values, i, j):
    grid = Grid(values)
    x = grid[i, j]
    grid[0, 1] = x * 3
    return grid[0, 1], grid.values


@dataclass
class Vector:
    x: float
    y: float

    def length(self):
        return np.sqrt(self.x**2 + self.y**2)

    def limited(self, most):
        n = self.length()
        if n > most:
            return Vector(self.x * most / n, self.y * most / n)
        return self


@method("step", (Vector(1.0, 0.0), 0.1), (Vector(30.0, 40.0), 0.1), (Vector(-300.0, -10.0), 1.0), (Vector(40.0, 0.0), 9.0))
class Boid:
    def __init__(self):
        self.position, self.velocity = Vector(0.5, 0.5), Vector(0.0, 0.0)
        self.bounces = 0

    def step(self, force, dt):
        f = force.limited(5.0)
        self.velocity = Vector(self.velocity.x + dt * f.x, self.velocity.y + dt * f.y)
        self.position.x += dt * self.velocity.x
        self.position.y += dt * self.velocity.y
        if not 0 <= self.position.x <= 1:
            self.velocity.x = -self.velocity.x
            self.position.x = 0.0 if self.position.x < 0 else 1.0
            self.bounces += 1
        return self.position.length()


@method("step", (np.ones(2), 1), (np.ones(2), 0), (-np.ones(2), 1), (9 * np.ones(2), 1))
class Network:
    """Parameters in a dict of dicts, reached through attributes and items in branches."""

    def __init__(self):
        self.params = {"a": {"w": np.ones(2), "b": 0.0}, "b": {"w": np.zeros(2), "b": 1.0}}
        self.grads = {name: {"w": np.zeros(2), "b": 0.0} for name in self.params}
        self.steps = {"a": 0, "b": 0}

    def step(self, x, update):
        y = 0.0
        for name, p in self.params.items():
            z = p["w"] @ x + p["b"]
            if z > 0:
                self.grads[name]["w"] += x
                self.grads[name]["b"] = self.grads[name]["b"] + 1
                y += z
            if update and self.grads[name]["b"] > 1:
                p["w"] -= 0.1 * self.grads[name]["w"]
                p["b"] -= 0.1 * self.grads[name]["b"]
                self.grads[name] = {"w": np.zeros(2), "b": 0.0}
                self.steps[name] += 1
        return y


class Node:
    def __init__(self, value, below=None):
        self.value, self.below = value, below


@method("insert", (3.0,), (0.5,), (2.5,), (1.0,))
class SortedChain:
    """A linked list of a fixed length; its greatest values stay."""

    def __init__(self):
        self.top = Node(2.0, Node(1.0, Node(0.0)))

    def insert(self, x):
        node = self.top
        while node is not None:
            if x > node.value:
                node.value, x = x, node.value
            node = node.below
        return x


@method("feed", (np.array([1.0, 5.0]),), (np.array([9.0, -5.0]),), (np.array([-1.0, -2.0]),))
class Pipeline:
    """Stages that are of one class, of which a branch changes some."""

    class Stage:
        def __init__(self, limit):
            self.limit, self.hits = limit, 0

        def __call__(self, x):
            if np.abs(x).max() > self.limit:
                self.hits += 1
                return np.clip(x, -self.limit, self.limit)
            return x

    def __init__(self):
        self.stages = [self.Stage(limit) for limit in (8.0, 4.0)]
        self.enabled = np.array([True, True])

    def feed(self, x):
        for k, stage in enumerate(self.stages):
            if not self.enabled[k]:
                continue
            x = stage(x)
            if stage.hits > 1:
                self.enabled[k] = False
        return x


@method("read", (2,), (5,), (2,), (-1,))
class Memory:
    """An array as a table of what has been computed."""

    def __init__(self):
        self.known = np.zeros(6, dtype=bool)
        self.squares = np.zeros(6)
        self.misses = 0

    def read(self, n):
        if n < 0:
            self.known[:] = False
            return 0.0
        if not self.known[n]:
            self.squares[n] = n * n
            self.known[n] = True
            self.misses += 1
        return self.squares[n]


class Dual:
    """Forward derivatives by hand, with a kink."""

    def __init__(self, value, slope=0.0):
        self.value, self.slope = value, slope

    def __mul__(self, other):
        if not isinstance(other, Dual):
            other = Dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __abs__(self):
        return Dual(-self.value, -self.slope) if self.value < 0 else self

    def __gt__(self, other):
        return self.value > other

    __rmul__ = __mul__


@program((2.0,), (-2.0,), (0.1,))
def dual_numbers(x):
    y = abs(2.0 * Dual(x, 1.0))
    if y > 1.0:
        y = y * y
    return y.value, y.slope
