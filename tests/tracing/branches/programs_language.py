"""The language: every form of a branch, and where values come from and go to."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches import helpers
from tests.tracing.branches.corpus import program
from tests.tracing.branches.helpers import safe_divide, sign

_random = np.random.default_rng(6)


def normal(*shape):
    return _random.standard_normal(shape)


@program((1.0, 2.0), (1.0, -2.0), (-1.0, 2.0), (-1.0, -2.0), gradient=(0, 1))
def nested(x, y):
    if x > 0:
        if y > 0:
            z = x * y
        else:
            z = x - y
    else:
        if y > 0:
            z = y * y
        else:
            z = x * x * y
    return z + 1


@program((95,), (85,), (75,), (10,))
def grades(score):
    if score >= 90:
        return 4
    elif score >= 80:
        return 3
    elif score >= 70:
        return 2
    else:
        return 0


@program((np.arange(3.0), 0), (np.arange(3.0), 2), (-np.arange(3.0), 5))
def guard_clauses(x, n):
    if n == 0:
        return np.zeros_like(x)
    if np.any(x < 0):
        return x / -n
    return x / n


@program((0.5,), (1.5,), (-0.5,), (0.0,), (1.0,))
def chained(x):
    if 0 < x < 1:
        inside = 1
    elif x == 0 or x == 1:
        inside = 0
    else:
        inside = -1
    return inside * x


@program((3.0, 4.0), (-3.0, 4.0), (3.0, -4.0), (-3.0, -4.0))
def and_or_not(x, y):
    both = x > 0 and y > 0
    either = x > 0 or y > 0
    neither = not either
    z = 0.0
    if both:
        z += 1
    if either:
        z += 10
    if neither:
        z += 100
    if not both and either:
        z += 1000
    return z, both, either, neither


@program((2.0, 5.0), (0.0, 5.0), (0.0, 0.0))
def or_gives_the_other(x, y):
    """Values, and not only truth."""
    return x or y or 7.0


@program((2.0, 5.0), (0.0, 5.0), (-2.0, 0.0), (2.0, 0.0))
def and_or_as_ternary(x, y):
    return x > 0 and y or x - 1


@program((np.array([0.5, -1.0, 2.0, 0.0]),), (np.array([-0.5, -1.0, -2.0, -3.0]),))
def ternaries_in_a_comprehension(x):
    return np.array([v if v > 0 else v * 0.1 for v in x])


@program((np.array([0.5, -1.0, 2.0]), 0.5), (np.array([-0.5, -1.0, -2.0]), -0.1), gradient=(0, 1))
def ternary_in_a_lambda(x, slope):
    leaky = lambda v: v if v > 0 else slope * v
    return leaky(x[0]) + leaky(x[1]) * leaky(x[2])


@program((2.5,), (0.5,), (-0.5,))
def ternaries_in_ternaries(x):
    return 10 * (2 if x > 1 else 1 if x > 0 else 0)


@program((np.array([2.0, -1.0, 0.3]),), (np.array([0.0, 0.0, 0.0]),), (np.array([0.5, 0.2, -0.3]),))
def helpers_of_a_module(x):
    a = helpers.clip(x[0])
    b = helpers.clip(x[1], low=-0.5)
    return a + sign(x[2]), safe_divide(a, b), safe_divide(b, x[1], default=np.nan), helpers.normalized(x)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    if n % 2 == 0:
        return False
    return True


@program((0,), (3,), (4,))
def helpers_that_call_each_other(n):
    if is_even(n) and not is_odd(n):
        return 10
    return 20


@program((2.0, 1), (2.0, 2), (3.0, 3), (5.0, 9))
def local_functions(x, kind):
    def square(v):
        return v * v

    def half(v):
        if v > 2:
            return v / 2
        return v

    if kind == 1:
        f = square(x)
    elif kind == 2:
        f = half(x)
    elif kind == 3:
        f = half(square(x))
    else:
        f = -x
    return f


@program((1.0,), (-1.0,), gradient=(0,))
def set_on_both_sides(x):
    if x > 0:
        a, b = np.sin(x), np.ones(2) * x
    else:
        b = np.full(2, x * x)
        a = np.cos(x)
    return a * b


@program((1.0,), (-1.0,))
def changed_on_one_side(x):
    y = x * 2
    count = 3
    if x > 0:
        y = y + 1
        count += 1
    return y * count


@program((1.0,), (-1.0,))
def only_used_where_it_is_set(x):
    y = x
    if x > 0:
        scale = x * 3
        y = y + scale
    else:
        offset = x - 1
        y = y * offset
    return y


@program((1.0,), (-1.0,))
def set_before_it_is_read_again(x):
    """`t` is set on one side only, and anew before anybody reads it."""
    y = 0.0
    if x > 0:
        t = x * 2
        y = t
    t = x + 5
    return y + t


@program((np.arange(4.0), 2), (np.arange(4.0), 0), (-np.arange(4.0), 3))
def augmented_in_place(x, k):
    """Stores into the caller's array, on one side only."""
    if x[k] > 0:
        x[k] += 1
        x[:2] *= 2
    else:
        x[-1] -= 5
    return x.sum()


@program((np.ones(3), np.arange(3.0), 0.5), (np.ones(3), -np.ones(3), 0.5))
def array_or_new_array(w, g, rate):
    """One side changes the array itself, the other makes a new one."""
    before = w
    if g.sum() > 0:
        w -= rate * g
    else:
        w = w - 2 * rate * g
    return w, before


@program((3.0,), (-3.0,))
def int_or_float(x):
    """An int on one side, a float on the other."""
    return 1 if x > 0 else 0.5


@program((1.0, 2.0), (-1.0, 2.0))
def several_results(x, y):
    if x > 0:
        return x, y, {"sum": x + y, "parts": [x, y]}
    return y, x, {"sum": x - y, "parts": [y, x]}


@program((np.array([3.0, -4.0]),), (np.array([-3.0, -4.0]),))
def a_dict_is_returned(x):
    out = {"x": x, "norm": np.sqrt(x @ x)}
    if x[0] > 0:
        out["x"] = x * 2
        out["norm"] += 1
    return out


@program((0.5,), (-0.5,), (2.0,))
def with_errstate(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        if x > 1:
            return np.log(x)
        y = np.sqrt(x) if x > 0 else 1 / x
    return y


@program((np.arange(3.0),), (-np.arange(3.0),))
def try_finally(x):
    calls = []
    try:
        if x.sum() > 0:
            return x * 2
        y = x - 1
    finally:
        calls.append(1)
    return y * len(calls)


@program((1.0,), (-1.0,), (200.0,), (50.0,))
def a_side_that_does_nothing(x):
    if x > 0:
        pass
    else:
        x = -x
    if x > 100:
        x = x
    elif x < 2:
        ...
    return x


@program((1.0, 200.0), (2.0, -1.0), (1.0, 5.0))
def walrus(x, y):
    if (z := x * y) > 100:
        return z
    elif (w := z + 10) < 10:
        return w * 2
    return z + w


@program((2.0,), (-2.0,), (0.5,))
def unpacking(x):
    low, high = (x, 1.0) if x < 1 else (1.0, x)
    *rest, last = (low, high, low) if low < 0 else (high, low, high)
    return low, high, rest[0] + last


@program((2.0,), (-2.0,))
def index_by_truth(x):
    """Arrays that a bool chooses from."""
    table = np.array([10.0, 20.0])
    place = 1 if x > 0 else 0
    table[place] += x
    return table[place], table


@program((np.arange(5.0), 3.0), (np.arange(5.0), -1.0))
def call_with_keywords(x, y):
    def scaled(v, *, by=1.0, then=0.0):
        if v.sum() > by:
            v = v / by
        return v + then

    return scaled(x, by=y if y > 0 else 100.0, then=1.0 if y > 0 else y)


@program((4.0, 2.0), (2.0, 4.0))
def swap(a, b):
    if a > b:
        a, b = b, a
    return a, b


@program((np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])), (np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])), gradient=(0, 1))
def angle_between(a, b):
    """Rodrigues' formula with a small angle of its own."""
    c = a @ b
    axis = np.cross(a, b)
    if c > 0.99:
        return axis + 0.5 * c * a
    return axis * np.exp(c) + (1 - c) * b


@program((1.5, 0.3), (0.2, 0.3), (-0.7, 1.1), gradient=(0, 1))
def piecewise_with_helpers(x, k):
    def smoothstep(t):
        if t <= 0:
            return 0.0 * t
        if t >= 1:
            return 0.0 * t + 1
        return t * t * (3 - 2 * t)

    return smoothstep(x) * k + smoothstep(k) * x
