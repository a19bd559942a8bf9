"""Errors that a step raises: the same as in NumPy, whichever step it is."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program, raising


@raising(lambda a: (a.normal(a.n),))
def place_beyond_the_end_in_the_last_step(x):
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + x[n + 1]
    return s


@raising(lambda a: (a.normal(a.n), a.n), static=(1,))
def place_before_the_beginning_in_the_last_step(x, steps):
    s = 0.0
    for n in range(steps):
        s = 0.5 * s + x[-n - 2]
    return s


@raising(lambda a: (a.normal(a.n),))
def store_beyond_the_end(x):
    y = np.zeros(len(x) - 1)
    for n in range(len(x)):
        y[n] = x[n]
    return y


@raising(lambda a: (a.normal(a.n),))
def store_beyond_the_end_from_a_step_on(x):
    y = np.zeros(len(x) // 2)
    for n in range(len(x)):
        y[n] = x[n]
    return y


@raising(lambda a: (a.normal(a.n, 3),))
def second_index_beyond_the_end(m):
    s = 0.0
    for n in range(len(m)):
        s += m[n, n + 1]
    return s


@raising(lambda a: (a.normal(5), a.integers(5, a.n) + (np.arange(a.n) == a.n - 1) * 9))
def place_from_an_array(x, idx):
    s = 0.0
    for i in idx:
        s = 0.5 * s + x[i]
    return s


@raising(lambda a: (a.normal(a.n),))
def raised_at_a_known_step(x):
    s = 0.0
    for n in range(len(x)):
        if n == 2:
            raise ValueError(f"step {n}")
        s += x[n]
    return s


@raising(lambda a: (np.cumsum(np.ones(a.n)), float(a.n)))
def raised_on_a_number(x, limit):
    s = 0.0
    for n in range(len(x)):
        s = max(s, x[n])
        if s >= limit:
            raise OverflowError("too large")
    return s


@raising(lambda a: (np.cumsum(np.ones(a.n)), float(a.n)))
def assertion_that_fails_in_the_last_step(x, limit):
    for n in range(len(x)):
        assert x[n] < limit, n
    return x.sum()


@raising(lambda a: (a.normal(a.n, 2, 2) * (np.arange(a.n) != a.n // 2)[:, None, None],))
def singular_matrix_in_the_middle(m):
    s = np.ones(2)
    for A in m:
        s = np.tanh(np.linalg.solve(A, s))
    return s


@raising(lambda a: (a.normal(a.n),))
def list_emptied_before_the_end(x):
    items = [1.0] * (len(x) - 1)
    s = 0.0
    for v in x:
        s += items.pop() * v
    return s


@raising(lambda a: (a.normal(a.n),))
def key_that_is_not_there(x):
    table = {n: 1.0 for n in range(len(x) - 1)}
    s = 0.0
    for n in range(len(x)):
        s += table[n] * x[n]
    return s


@raising(lambda a: (np.zeros(0),), sizes=(0, 1, 2))
def variable_that_no_step_has_set(x):
    for n in range(len(x)):
        s = x[n]
    return s


@raising(lambda a: (a.normal(a.n),))
def variable_set_later_in_the_first_step(x):
    for v in x:
        s = s + v  # noqa: F821
    return s


@raising(lambda a: (a.normal(a.n), a.normal(a.n + 1)))
def strict_zip_of_unequal_lengths(x, y):
    s = 0.0
    for u, v in zip(x, y, strict=True):
        s += u * v
    return s


@raising(lambda a: (a.normal(a.n),))
def divided_by_the_zero_of_the_counter(x):
    s = 0.0
    for n in range(len(x)):
        s += 1 / (n - 2)
    return s * x[0]


@raising(lambda a: (a.normal(a.n).astype(np.float32), a.complex(1)))
def cast_that_is_refused_in_place(x, z):
    s = x[:1].copy()
    for _ in range(len(x)):
        s += z
    return s


@program(lambda a: (a.normal(a.n), 50.0))
def error_that_no_call_raises(x, limit):
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + x[n]
        if abs(s) > limit:
            raise ValueError(f"step {n}: {s}")
    return s


@program(lambda a: (a.normal(a.n),))
def place_that_would_be_beyond_the_end(x):
    s = 0.0
    for n in range(len(x)):
        if n + 1 < len(x):
            s += x[n + 1]
    return s


@program(lambda a: (a.normal(a.n), a.integers(9, a.n)))
def guarded_place_from_an_array(x, idx):
    s = 0.0
    for i in idx:
        if i < len(x):
            s += x[i]
    return s
