"""What branches change: attributes, items of lists and dicts, names of closures, fields of dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tests.tracing.branches.corpus import maker, method, program

_random = np.random.default_rng(8)


@method("add", (np.float64(1.0),), (np.float64(5.0),), (np.float64(-2.0),), (np.float64(9.0),))
class Statistics:
    def __init__(self):
        self.low, self.high = np.inf, -np.inf
        self.count = 0

    def add(self, x):
        self.count += 1
        if x < self.low:
            self.low = x
        if x > self.high:
            self.high = x
            return True
        return False


class Account:
    fee = 1.0

    def __init__(self, balance):
        self.balance = balance
        self.refusals = 0

    @property
    def overdrawn(self):
        return self.balance < 0

    @property
    def status(self):
        return 1 if self.balance > 100 else -1 if self.overdrawn else 0

    def withdraw(self, amount):
        if amount + self.fee > self.balance:
            self.refusals += 1
            return 0.0
        self.balance -= amount + self.fee
        return amount


@method("transfer", (30.0,), (500.0,), (30.0,), (70.0,), (-400.0,))
class Bank:
    """Methods that call methods and properties of other objects."""

    def __init__(self):
        self.source, self.target = Account(90.0), Account(50.0)

    def transfer(self, amount):
        moved = self.source.withdraw(amount)
        if moved != 0:
            self.target.balance += moved
        if self.target.status > 0 and not self.source.overdrawn:
            self.target.refusals = 0
        elif self.target.overdrawn:
            self.target.refusals -= 1
        return self.target.status


@method("push", (1.0,), (2.0,), (3.0,), (4.0,), (-1.0,), (5.0,))
class Ring:
    """A buffer that wraps around, and is emptied by a negative number."""

    def __init__(self):
        self.items = np.zeros(3)
        self.start = 0
        self.full = False

    def push(self, x):
        if x < 0:
            self.items[:] = 0
            self.start, self.full = 0, False
            return 0.0
        self.items[self.start] = x
        self.start += 1
        if self.start == 3:
            self.start = 0
            self.full = True
        return self.items.mean() if self.full else self.items.sum()


@method("step", (np.ones(2),), (-np.ones(2),), (np.ones(2),), (np.full(2, 9.0),))
class DictOfState:
    def __init__(self):
        self.state = {"h": np.zeros(2), "count": 0, "nested": {"last": np.zeros(2)}}
        self.rows = [np.zeros(2), np.ones(2)]

    def step(self, x):
        s = self.state
        if x.sum() > 0:
            s["h"] = s["h"] + x
            s["count"] += 1
            self.rows[0] = x.copy()
        else:
            s["nested"]["last"] = s["h"].copy()
            self.rows[1] *= 2
        if s["h"].max() > 5:
            s["h"] = np.zeros(2)
            self.rows[0], self.rows[1] = self.rows[1], self.rows[0]
        return s["h"] + self.rows[0]


@dataclass
class Body:
    x: np.ndarray
    v: np.ndarray
    alive: bool = True


@program(
    (Body(np.array([0.5]), np.array([1.0])), 0.1),
    (Body(np.array([0.5]), np.array([9.0])), 0.1),
    (Body(np.array([0.5]), np.array([-9.0])), 0.1),
)
def dataclass_replaced(body, dt):
    body = replace(body, x=body.x + dt * body.v)
    if body.x[0] > 1:
        body = replace(body, v=-body.v)
    elif body.x[0] < 0:
        return Body(np.zeros(1), np.zeros(1), False)
    return body


@dataclass
class Counters:
    hits: int = 0
    misses: int = 0
    history: list = field(default_factory=lambda: [0.0, 0.0])


@method("look", (1.0,), (-1.0,), (-2.0,), (3.0,))
class Cache:
    def __init__(self):
        self.counters = Counters()

    def look(self, x):
        c = self.counters
        if x > 0:
            c.hits += 1
            c.history[0] = x
        else:
            c.misses += 1
            c.history[1] = x
        return c.hits / (c.hits + c.misses)


class Point(NamedTuple):
    x: float
    y: float


@program((1.0, 2.0), (-1.0, 2.0))
def named_tuples(x, y):
    p = Point(x, y)
    if p.x > 0:
        p = p._replace(x=p.y * 2)
    else:
        p = Point(0.0, p.x)
    return p


@maker((1.0,), (-1.0,), (3.0,), (-2.0,))
def nonlocal_counter():
    total, negatives = 0.0, 0

    def add(x):
        nonlocal total, negatives
        if x < 0:
            negatives += 1
            return total, negatives
        total += x
        return total, negatives

    return add


@maker((1.0,), (-1.0,), (0.0,))
def list_of_a_closure():
    limits = [-0.5, 0.5]

    def widen(x):
        if x < limits[0]:
            limits[0] = x
        elif x > limits[1]:
            limits[1] = x
        return limits[1] - limits[0]

    return widen


@program(([np.zeros(2), np.ones(2)], 1), ([np.zeros(2), np.ones(2)], 0))
def list_argument(rows, flag):
    if flag:
        rows[0] += 1
    else:
        rows[1] = rows[0] - 5
    return rows[0] + rows[1]


@program(({"w": np.ones(2), "n": 0}, 1.0), ({"w": np.ones(2), "n": 4}, -1.0), ({"w": np.ones(2), "n": 7}, 1.0))
def dict_argument(state, x):
    if x > 0 and state["n"] < 5:
        state["w"] *= 2
        state["n"] += 1
    elif x < 0:
        state["w"] = state["w"] - 1
    return state["w"].sum()


@program((np.arange(4.0), 1.0), (np.arange(4.0), -1.0))
def views_are_stored_into(x, s):
    first, last = x[:2], x[2:]
    if s > 0:
        first[:] = last
    else:
        last += 10
        last[0] = first[1]
    return first.sum(), x


@program((np.arange(6.0), 1), (np.arange(6.0), 0))
def view_made_in_a_side(x, flag):
    if flag:
        half = x.reshape(2, 3)[0]
        half *= 3
    else:
        half = x[3:]
        half[1] = -1
    return half.sum(), x


@program((np.arange(3.0), np.ones(3), 1.0), (np.arange(3.0), np.ones(3), -1.0))
def one_of_two_is_read(a, b, s):
    """A name for one array or another; neither is changed."""
    c = a if s > 0 else b
    return c * 2 + a


@program((np.arange(3.0), 1.0), (np.arange(3.0), -1.0))
def copy_or_new(a, s):
    """Arrays of the function's own on both sides, changed behind the branch."""
    b = a.copy() if s > 0 else np.zeros(3)
    b[0] = 7
    return b, a


@program((np.arange(3.0), 2.0), (np.arange(3.0), -2.0))
def local_object(x, s):
    """Made in the function, changed in a side by a method."""
    account = Account(x.sum())
    if s > 0:
        account.withdraw(1.0)
        account.refusals += 10
    else:
        account.balance = account.balance + account.withdraw(50.0)
    return account.balance, account.refusals


class Shape:
    def area(self):
        return 0.0


class Circle(Shape):
    def __init__(self, r):
        self.r = r

    def area(self):
        if self.r <= 0:
            return super().area()
        return np.pi * self.r**2


class Square(Shape):
    def __init__(self, a):
        self.a = a

    def area(self):
        return self.a**2 if self.a > 0 else 0.0


@program((1.0, 2.0), (-1.0, 2.0), (1.0, -2.0))
def overridden_methods(r, a):
    shapes = [Circle(r), Square(a)]
    return sum(shape.area() for shape in shapes)


class Smooth:
    def __init__(self):
        self.value = 0.0

    def __call__(self, x):
        if abs(x - self.value) > 1:
            self.value = x
        else:
            self.value = 0.5 * (self.value + x)
        return self.value


@method("__call__", (0.5,), (5.0,), (5.5,), (0.0,))
class Chain:
    """Callable objects, one after the other, each with its state."""

    def __init__(self):
        self.stages = [Smooth(), Smooth()]

    def __call__(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


@method("observe", (np.array([1.0, 2.0]),), (np.array([9.0, 2.0]),), (np.array([-1.0, 2.0]),))
class Reservoir:
    """Keeps what was largest as an array that the caller gave."""

    def __init__(self):
        self.best = np.zeros(2)
        self.score = 0.0
        self.seen = []

    def observe(self, x):
        self.seen.append(x.sum())
        if x.sum() > self.score:
            self.best, self.score = x.copy(), x.sum()
        return self.best


@method("step", (1.0,), (1.0,), (-1.0,), (1.0,), (1.0,), (1.0,), (1.0,))
class Scheduled:
    """A counter of calls decides, and a number of the caller's."""

    def __init__(self):
        self.t = 0
        self.w = np.zeros(2)

    def step(self, x):
        self.t += 1
        if self.t % 3 == 0 and x > 0:
            self.w += x
        elif x < 0:
            self.t = 0
        return self.w


@method("walk", (1.0,), (-1.0,), (4.0,))
class Deleted:
    """An attribute that is made and taken away again within the call."""

    def __init__(self):
        self.position = 0.0

    def walk(self, x):
        self.scratch = x * 2
        if self.scratch > 0:
            self.position += self.scratch
        else:
            self.position -= 1
        del self.scratch
        return self.position


@program((np.arange(3.0), 1.0), (np.arange(3.0), -1.0))
def dict_of_functions(x, s):
    table = {"up": lambda v: v + 1, "down": lambda v: v - 1}
    y = table["up"](x) if s > 0 else table["down"](x)
    for name in ("up", "down"):
        if s > 0:
            y = table[name](y) * 2
    return y


@program((np.arange(3.0), 1.0), (np.arange(3.0), -1.0))
def default_that_is_an_array(x, s):
    def f(v, offset=np.ones(3), scale=2.0):
        if s > 0:
            offset = v
        return v * scale + offset

    return f(x), f(x, scale=s)
