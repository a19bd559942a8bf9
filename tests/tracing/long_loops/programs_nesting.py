"""Loops in functions that are called again and again, in branches, in other loops, under transforms."""

from __future__ import annotations

import numpy as np

import irdl
from tests.tracing.long_loops.corpus import program


def filtered(x, a=0.5):
    y = np.zeros_like(x)
    s = 0.0
    for n in range(len(x)):
        s = a * s + x[n]
        y[n] = s
    return y


@program(lambda a: (a.normal(a.n), a.normal(2 * a.n), a.normal(2)), gradient=(0, 1, 2))
def one_loop_of_many_lengths(x, y, z):
    return filtered(x).sum() + filtered(y, 0.3)[-1], filtered(z), filtered(filtered(x)[::-1])


@program(lambda a: (a.normal(a.n), a.integers(9, a.n), a.normal(a.n).astype(np.float32)))
def one_loop_of_many_dtypes(x, k, single):
    def total(v, start):
        s = start
        for u in v:
            s = s + u
        return s

    return total(x, 0), total(k, 0), total(single, 0), total(x > 0, 0), total(single, 0.5), total(x, k[0])


def power_sum(x, order):
    if order == 0:
        return float(len(x))
    total = 0.0
    for v in x:
        total = total + v**order
    return total + power_sum(x, order - 1)


@program(lambda a: (a.normal(a.n) * 0.5,), gradient=(0,))
def loop_in_a_recursion(x):
    return power_sum(x, 3)


@program(lambda a: (a.normal(a.n), 1.0), gradient=(0,))
def loop_in_a_branch(x, switch):
    if switch > 0:
        s = 0.0
        for v in x:
            s = 0.5 * s + v
    else:
        s = x.sum()
        for v in x:
            s = s * 0.9 - v
    return s


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0,), sizes=(3, 12, 40))
def loop_in_a_branch_of_a_loop(x, y):
    total = 0.0
    for v in y:
        if v > 0:
            s = 0.0
            for u in x:
                s = 0.5 * s + u * v
            total += s
        else:
            total -= v
    return total


@program(lambda a: (a.normal(a.n), 100.0))
def loop_in_a_while(x, limit):
    total, rounds = 1.0, 0
    while total < limit:
        for v in x:
            total = total * 1.02 + abs(v)
        rounds += 1
    return total, rounds


@program(lambda a: (a.normal(a.n, 3), a.weights(3, 3)), gradient=(0, 1))
def while_in_a_loop(m, W):
    s = np.zeros(3)
    counts = np.zeros(len(m), dtype=int)
    for n in range(len(m)):
        h = m[n]
        k = 0
        while k < 3:
            h = np.tanh(h @ W)
            k += 1
        s = 0.5 * s + h
        counts[n] = k
    return s, counts


@program(lambda a: (a.uniform(a.n, low=0.1, high=50.0),))
def while_on_numbers_in_a_loop(x):
    steps = np.zeros(len(x), dtype=np.int64)
    for n in range(len(x)):
        v = x[n]
        while v > 1:
            v /= 2
            steps[n] += 1
    return steps


@program(lambda a: (a.normal(4, a.n, 2), a.weights(2, 2)), gradient=(0, 1))
def vmap_over_a_loop(batch, W):
    def last(xs):
        h = np.zeros(2)
        for x in xs:
            h = np.tanh(x + h @ W)
        return h

    return irdl.vmap(last)(batch)


@program(lambda a: (a.normal(a.n, 2), a.weights(2, 2)))
def gradient_within(xs, W):
    def loss(W):
        h = np.zeros(2)
        total = 0.0
        for t, x in enumerate(xs):
            h = np.tanh(x + h @ W)
            total = total + (h**2).sum() / (t + 1)
        return total

    return irdl.value_and_grad(loss)(W)


@program(lambda a: (a.normal(a.n, 2), a.weights(2, 2), np.ones((2, 2))))
def forward_derivative_within(xs, W, direction):
    def states(W):
        h = np.zeros(2)
        hs = []
        for x in xs:
            h = np.tanh(x + h @ W)
            hs.append(h)
        return np.stack(hs)

    return irdl.jvp(states, (W,), (direction,))


@program(lambda a: (a.normal(3, a.n), 0.5), gradient=(0, 1))
def scan_over_a_loop(rows, a):
    def body(carry, row):
        s = carry
        for v in row:
            s = a * s + v
        return s, s

    return irdl.scan(body, rows[0, 0], rows)


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def loop_over_scans(m):
    s = m[0, 0]
    for row in m:
        s, _ = irdl.scan(lambda carry, v: (np.tanh(carry + v), carry), s, row)
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def loop_under_a_checkpoint(x):
    return irdl.checkpoint(filtered)(x)


@program(lambda a: (a.normal(a.n),))
def gradient_that_is_stopped(x):
    def last(x, through):
        s = 0.0
        for v in x:
            s = np.tanh(through(s) * 0.5 + v * s + v)
        return s

    return irdl.grad(lambda x: last(x, irdl.stop_gradient))(x) - irdl.grad(lambda x: last(x, lambda s: s))(x)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def jitted_function_within(x):
    @irdl.jit
    def step(s, v):
        return 0.5 * s + np.sin(v)

    s = 0.0
    for v in x:
        s = step(s, v)
    return s


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def comprehensions_in_each_step(m):
    s = [0.0, 0.0, 0.0]
    for row in m:
        s = [0.5 * a + b for a, b in zip(s, row)]
        d = {k: v for k, v in zip("abc", s)}
        s[0] = sum(v for v in d.values())
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def loop_over_a_list_that_a_loop_made(x):
    squares = []
    for v in x:
        squares.append(v * v)
    total = 0.0
    for n, v in enumerate(squares):
        total = 0.5 * total + v * n
    for u, v in zip(squares, squares[1:]):
        total += u * v
    return total


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def items_read_while_they_are_stored_into(x):
    """Each item is what the step before has left there."""
    x = x.copy()
    s = 0.0
    for n, v in enumerate(x):
        s += v
        if n + 1 < len(x):
            x[n + 1] += 0.5 * v
    return s, x


@program(lambda a: (a.normal(a.n, 2),), gradient=(0,))
def rows_that_change_after_they_are_taken(m):
    m = m.copy()
    s = np.zeros(2)
    for n, row in enumerate(m):
        m[n, 0] += 10.0
        m[0, 1] += 1.0
        s = 0.5 * s + row
    return s, m


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def array_replaced_while_it_is_gone_through(x):
    s = 0.0
    for v in x:
        x = x * 0.9
        s = 0.5 * s + v + x[0]
    return s, x


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def both_ends_at_once(x):
    y = x.copy()
    for u, (n, v) in zip(x[::-1], enumerate(y)):
        y[n] = 0.5 * v + u
        y[-1 - n] -= 0.1 * u
    return y


@program(lambda a: ([1.0, 2.0], a.n), static=(1,), sizes=(3, 12, 40))
def list_that_grows_while_it_is_gone_through(items, count):
    for item in items:
        if len(items) >= count:
            break
        items.append(item * 0.5 + 1)
    return sum(items)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def loop_in_a_try(x):
    s = 0.0
    try:
        for n in range(len(x)):
            s = 0.5 * s + x[n]
        s += [1.0, 2.0][n + 5]
    except IndexError:
        s = s * 10
    return s


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1), sizes=(3, 12, 40))
def inner_loop_that_reads_the_outer_counter(x, y):
    m = np.zeros((len(x), len(y)))
    for i in range(len(x)):
        s = x[i]
        for j in range(len(y)):
            s = 0.5 * s + y[j] * (i - j)
            m[i, j] = s if i >= j else -s
    return m
