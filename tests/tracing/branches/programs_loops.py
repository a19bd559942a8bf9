"""Loops whose end, or whose steps, are decided by numbers."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import program

_random = np.random.default_rng(7)


def normal(*shape):
    return _random.standard_normal(shape)


@program((np.array([1.0, 5.0, 2.0]), 3.0), (np.array([1.0, 1.5, 2.0]), 3.0))
def for_else(x, limit):
    for i in range(len(x)):
        if x[i] > limit:
            found = i
            break
    else:
        found = -1
    return found


@program((10.0,), (200.0,), (0.5,))
def while_else(x):
    n = 0
    while x > 1:
        x = x / 2
        n += 1
        if n == 5:
            break
    else:
        n = -n
    return x, n


@program((7,), (1,), (12,))
def while_true(n):
    steps = 0
    while True:
        if n <= 1:
            break
        if n % 3 == 0:
            n //= 3
            continue
        n -= 1
        steps += 1
    return steps


@program((np.array([1.0, -2.0, 3.0, np.nan]),), (np.array([np.nan, np.nan, -1.0, -1.0]),))
def continue_twice(x):
    total = 0.0
    seen = 0
    for value in x:
        if np.isnan(value):
            continue
        seen += 1
        if value < 0:
            continue
        total += np.sqrt(value)
    return total, seen


@program((np.array([3.0, -1.0, 2.0]),), (np.array([3.0, 1.0, 2.0]),))
def return_out_of_a_loop(x):
    for i, v in enumerate(x):
        if v < 0:
            return i, v
    return -1, 0.0


@program((np.array([[1, 2], [3, 4]]), 3), (np.array([[1, 2], [3, 4]]), 9))
def return_out_of_two_loops(table, wanted):
    for i in range(2):
        for j in range(2):
            if table[i, j] == wanted:
                return i, j
    return -1, -1


@program((normal(3, 4), 0.5), (normal(3, 4), 50.0), (np.zeros((3, 4)), 0.5))
def break_of_the_inner_loop(x, limit):
    sums = np.zeros(3)
    stopped = 0
    for i in range(3):
        for j in range(4):
            sums[i] += abs(x[i, j])
            if sums[i] > limit:
                stopped += 1
                break
    return sums, stopped


@program((np.ones(3), 5.0), (np.ones(3), 0.5))
def store_then_break(x, limit):
    """What was stored before the break stays."""
    out = np.zeros(6)
    total = 0.0
    for i in range(6):
        total += x.sum()
        out[i] = total
        if total > limit:
            out[i] = -1
            break
        x *= 2
    return out


@program((2, 3), (0, 1), (5, 5))
def count_down_two(a, b):
    """A while loop in a while loop."""
    steps = 0
    while a > 0:
        inner = b
        while inner > a:
            inner -= 1
            steps += 10
        a -= 1
        steps += 1
    return steps


@program((1.0, 10), (1.0, 0), (3.0, 2))
def until_or_at_most(x, most):
    i = 0
    while i < most and x < 100:
        x = x * 2 + 1
        i += 1
    return x, i


@program((np.array([1.0, 2.0, 3.0]),), (np.array([-1.0, 2.0, -3.0]),))
def last_value_after_the_loop(x):
    """The loop's own names are read when it has ended."""
    for i in range(len(x)):
        y = x[i] * 2
        if y < 0:
            y = 0.0
    return i, y


@program((np.array([1, 0, 2, 0]),), (np.array([1, 1, 1, 1]),))
def loop_over_zip(x):
    total = 0
    for a, b in zip(x[:-1], x[1:]):
        if a == 0:
            continue
        if b == 0:
            total -= 1
        else:
            total += a * b
    return total


@program((np.array([4.0, 1.0, 9.0]),), (np.array([1.0, 1.0, 1.0]),), (np.array([5.0, 1.0, 1.0]),))
def comprehension_and_any(x):
    roots = [np.sqrt(v) if v > 2 else v for v in x]
    if any(r > 2.5 for r in roots):
        return sum(roots)
    return 2 * sum(roots) if all(r <= 1 for r in roots) else 0.0


@program((np.array([0.2, 0.9, 1.4]), 0.5), (np.array([-0.2, -0.9, 2.4]), 1.5), gradient=(0, 1))
def smooth_recurrence(x, k):
    h = 0.0
    for t in range(3):
        if x[t] > h:
            h = h + k * (x[t] - h) ** 2
        elif x[t] > -0.5:
            h = h * np.exp(-k)
        else:
            h = np.sin(h + x[t])
    return h


@program((0.7,), (3.0,), gradient=(0,))
def gradient_through_a_break(x):
    total = 0.0
    for _ in range(8):
        total = total + x * x
        x = x * 1.3
        if total > 10:
            break
    return total


@program((1.0,), (-1.0,))
def printing(x):
    print("start")
    if x > 0:
        print("positive", x)
    else:
        print(f"negative {x:.2f}")
    for i in range(3):
        x = x - 0.5
        if x < 0:
            print(f"step {i}: {x:.3f}")
            break
    return x


@program((np.arange(4.0), 1.0), (np.arange(4.0), 10.0))
def appended_in_every_step(x, limit):
    """A list that is as long whichever side is taken."""
    out, total = [], 0.0
    for v in x:
        total += v
        if total > limit:
            out.append(limit)
        else:
            out.append(total)
    return out


@program((np.array([1.0, 2.0, 4.0]),), (np.array([4.0, 2.0, 1.0]),))
def is_monotone(x):
    rising = falling = True
    for i in range(len(x) - 1):
        if x[i] > x[i + 1]:
            rising = False
        if x[i] < x[i + 1]:
            falling = False
    return rising or falling, rising


@program((normal(4, 3), normal(3, 2), 0.1), (0.01 * normal(4, 3), normal(3, 2), 0.1), (normal(4, 3), normal(3, 2), 0.0))
def matrices_until_small(x, w, limit):
    """A matrix product on the way, as long as it is large."""
    h = x @ w
    steps = 0
    while np.abs(h).max() > limit and steps < 10:
        h = np.tanh(h) @ (0.3 * w.T @ w)
        steps += 1
    return h, steps


@program((np.array([0, 1, 2, 3, 4, 5]), 2), (np.array([0, 0, 0, 0, 0, 0]), 2), (np.arange(6), 100))
def take_until(x, wanted):
    """Filled places of a buffer, and how many there are."""
    buffer = np.full(6, -1)
    n = 0
    for value in x:
        if n >= wanted:
            break
        if value % 2 == 0:
            buffer[n] = value
            n += 1
    return buffer, n


@program((1.0,), (30.0,), (-5.0,))
def early_return_in_while(x):
    while x > 0:
        x = x - 2
        if x > 10:
            return x * 100
    return x
