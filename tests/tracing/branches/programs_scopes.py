"""When things are evaluated, and which name is which: closures, order, what runs once and what does not run."""

from __future__ import annotations

import functools

import numpy as np

from tests.tracing.branches.corpus import maker, method, program


@program((2.0, 1.0), (2.0, -1.0))
def late_binding(x, s):
    """A lambda sees what a branch has made of a name since."""
    scale = 1.0
    f = lambda v: v * scale
    before = f(x)
    if s > 0:
        scale = 3.0
    return before, f(x)


@program((2.0, 1.0), (2.0, -1.0), (-2.0, -1.0))
def nonlocal_in_a_branch(x, s):
    calls = 0
    largest = 0.0

    def see(v):
        nonlocal calls, largest
        calls += 1
        if v > largest:
            largest = v
        return v

    if s > 0:
        see(x)
        see(x * 2)
    else:
        see(-x)
    return calls, largest


SEEN = 0


@maker((1.0,), (-1.0,), (2.0,))
def global_in_a_branch():
    global SEEN
    SEEN = 0
    return count_positive


def count_positive(x):
    global SEEN
    if x > 0:
        SEEN += 1
    return SEEN


@method("run", (1.0,), (-1.0,), (9.0,))
class Once:
    """Conditions that change something are evaluated as often as in Python, and not where the answer is known before."""

    def __init__(self):
        self.asked = 0

    def ask(self, x):
        self.asked += 1
        return x > 0

    def run(self, x):
        y = 0.0
        if self.ask(x):
            y += 1
        if x > 5 and self.ask(x - 20):
            y += 10
        if x > 5 or self.ask(x):
            y += 100
        if 0 < self.bumped(x) < 5:
            y += 1000
        z = 1 if self.ask(x) else 2
        while self.ask(x):
            x -= 2
        return y, z, x

    def bumped(self, x):
        self.asked += 100
        return x + 1


@program((1.0, 2.0), (-1.0, 2.0), (1.0, -2.0))
def operands_in_order(x, y):
    """What is evaluated when, by what is printed."""

    def show(name, value):
        print(name)
        return value

    if show("first", x) > 0 and show("second", y) > 0:
        print("both")
    return show("third", x) if show("test", y) > x + 1 else show("fourth", y)


@program((np.arange(4.0), 2), (np.arange(4.0), 9), (np.arange(4.0), -1), (np.arange(4.0), 0))
def guarded_index(x, i):
    """`and` keeps the index from being used where it does not fit."""
    if i >= 0 and i < len(x) and x[i] > 1:
        return x[i]
    return -1.0


@program((np.arange(4.0), 3), (np.arange(4.0), 9))
def guarded_store(x, i):
    if i < len(x):
        x[i] = 100
    return x.sum()


@program((4.0, 2.0), (4.0, 0.0))
def guarded_division(a, b):
    return a / b if b != 0 else np.inf


@program((4,), (0,), (-3,))
def walrus_in_a_while(n):
    total = 0
    while (n := n - 1) > 0:
        total += n
    return total, n


def scaled(factor):
    """A decorator with an argument."""

    def decorate(f):
        @functools.wraps(f)
        def call(*args, **kwargs):
            result = f(*args, **kwargs)
            return result * factor if result > 0 else result

        return call

    return decorate


@scaled(10.0)
def shifted(x, *, by=1.0):
    return x + by if x > 0 else x - by


@program((1.0,), (-1.0,))
def decorated(x):
    return shifted(x) + shifted(x, by=0.5)


@program((1.0, 2.0, 3.0), (-1.0, 2.0, 3.0), (1.0, -2.0, -3.0))
def star_arguments(*numbers):
    def largest(first, *rest, floor=0.0, **options):
        for r in rest:
            if r > first:
                first = r
        if first < floor:
            return floor
        return first * options.get("scale", 1.0)

    return largest(*numbers), largest(*numbers[1:], scale=2.0), largest(*numbers[2:], floor=1.0)


@program((1.0,), (-1.0,))
def lambdas_on_one_line(x):
    f, g = (lambda v: v * 2 if v > 0 else v * 3), (lambda v: v * 5 if v > 0 else v * 7)
    return f(x), g(x), (lambda v: f(v) if v > 0 else g(v))(x)


@program((1.0,), (-1.0,))
def partials(x):
    def f(a, b, c=1.0):
        if a > b:
            return a - b
        return c

    g = functools.partial(f, b=0.0)
    h = functools.partial(f, x, c=9.0)
    return g(x), h(0.5)


@program((np.array([1.0, -2.0, 3.0]),), (np.array([-1.0, -2.0, 3.0]),))
def functions_of_a_loop(x):
    """Closures in a list, all of which see the last step's name."""
    offset = 0.0
    functions = []
    for v in x:
        functions.append(lambda w: w + offset)
        if v > 0:
            offset = v
    return [f(1.0) for f in functions]


@program((3.0,), (-3.0,))
def comprehension_of_the_same_name(x):
    v = 10.0
    rows = [v * 2 if v > 0 else 0.0 for v in (x, -x, x + 1)]
    if x > 0:
        v = v + 1
    return rows, v


class Base:
    def __init__(self):
        self.__secret = 1.0
        self.log = np.zeros(2)

    def adjust(self, x):
        if x > 0:
            self.__secret += x
        return self.__secret


@method("adjust", (1.0,), (-1.0,), (5.0,))
class Derived(Base):
    """Private names, and super() within branches."""

    def __init__(self):
        super().__init__()
        self.__secret = 100.0

    def adjust(self, x):
        if x > 2:
            self.log[0] += 1
            self.__secret -= 1
        else:
            self.log[1] = super().adjust(x)
        return self.__secret + super().adjust(-x)

    @staticmethod
    def half(x):
        return x / 2 if x > 0 else x


@program((1.0,), (-1.0,))
def static_and_class_methods(x):
    class Unit:
        factor = 2.0

        @classmethod
        def scale(cls, v):
            if v > 0:
                return v * cls.factor
            return v

        @staticmethod
        def flip(v):
            return -v if v > 0 else v

    return Unit.scale(x), Unit.flip(x), Derived.half(x)


@program((np.arange(3.0), 1.0), (np.arange(3.0), -1.0))
def finally_runs_on_both_ways_out(x, s):
    count = np.zeros(2)
    for _ in range(2):
        try:
            if s > 0:
                continue
            x = x + 1
        finally:
            count[0] += 1
    try:
        if s > 0:
            return x * 2, count
    finally:
        count[1] += 5
    return x, count


class Timer:
    def __init__(self):
        self.entered = self.left = 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *_):
        self.left += 1


@method("run", (1.0,), (-1.0,))
class WithItsOwnContext:
    def __init__(self):
        self.timer = Timer()

    def run(self, x):
        with self.timer as timer:
            if x > 0:
                return x * timer.entered
            x = x - 1
        return x


@program(
    (np.arange(6.0).reshape(2, 3), None), (np.arange(6.0).reshape(2, 3), 2.0), (-np.arange(6.0).reshape(2, 3), 2.0), (np.arange(3.0), None)
)
def known_and_unknown(x, y):
    """Conditions of shapes and of None beside those of numbers."""
    if x.ndim == 2 and x[0, 1] > 0:
        x = np.abs(x - x.sum(axis=1, keepdims=True))
    if y is not None and x.max() > 0:
        x = x * y
    elif y is None and len(x) > 2:
        x = x[::-1]
    return x


@program((0.0,), (-0.0,), (np.nan,), (1.0,), (-np.inf,))
def truth_of_floats(x):
    return 1 if x else 2, not x, x == x, bool(x) if x < 0 else False


@program((np.array(3.0), 0j), (np.array(-3.0), 1j), (np.array(0.0), 0j))
def truth_of_other_numbers(x, z):
    """Arrays without axes, and complex numbers."""
    if x:
        x += 1
    if z:
        x = x * 2
    return x


@program((1,), (2,), (3,), (7,))
def is_one_of(kind):
    if kind == 1 or kind == 2:
        return 10 if kind not in (1, 3) else 15
    elif kind in (3, 4):
        return 20
    return 30


@program((1.0, 2.0), (-1.0, 2.0), (1.0, -2.0))
def branch_within_a_call(x, y):
    """Ternaries among arguments, in subscripts, texts, slices and keywords."""
    table = np.arange(4.0)
    a = np.maximum(x if x > 0 else -x, y if y > 0 else 0.0)
    b = table[2 if x > 0 else 3]
    c = table[1:].sum(**({"axis": 0}))
    d = np.full(2, fill_value=y if y > 0 else x)
    print(f"{x if x > 0 else y:.1f}")
    return a, b, c, d
