"""Ways out of blocks: `return`, `break`, `continue` and errors, out of `with`, `try` and loops, on one side and on both."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import program, raising

X = np.arange(3.0)


class Context:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@program((X, 1.0), (X, -1.0))
def return_out_of_with(x, s):
    if s > 0:
        with Context():
            return x * 7
    return x


@program((X, 1.0), (X, -1.0))
def return_out_of_errstate(x, s):
    if s > 0:
        with np.errstate(divide="ignore"):
            return x * 7
    return x


@program((X, 1.0), (X, -1.0))
def return_out_of_try_with_finally(x, s):
    if s > 0:
        try:
            return x * 7
        finally:
            s = 0
    return x


@program((X, 1.0), (X, -1.0))
def return_out_of_try_with_except(x, s):
    if s > 0:
        try:
            return x * 7
        except ValueError:
            pass
    return x


@program((X, 1.0), (X, -1.0), (X, 0.5))
def return_out_of_with_in_a_loop(x, s):
    for i in range(3):
        with Context():
            if s > i:
                return x * i
            x = x + 1
    return x


@program((X, 1.0), (X, -1.0), (X, 1.5))
def continue_out_of_with(x, s):
    for i in range(3):
        if s > i:
            with Context():
                x = x + 1
                continue
        x = x * 2
    return x


@program((X, 1.0), (X, -1.0), (X, 1.5))
def break_out_of_with(x, s):
    for i in range(3):
        if s > 1 - i:
            with Context():
                x = x + 1
                break
        x = x * 2
    return x


@program((X, 1.0), (X, -1.0), (X, 1.5))
def break_out_of_try(x, s):
    for i in range(3):
        if s > 1 - i:
            try:
                x = x + 1
                break
            finally:
                x = x * 3
        x = x * 2
    return x


@program((X, 1.0), (X, -1.0), (X, 3.0))
def perhaps_out_of_with(x, s):
    if s > 0:
        with Context():
            if s > 2:
                return x * 7
            x = x + 1
        x = x * 10
    return x


@program((1.0,), (-1.0,), (7.0,))
def finally_in_every_step(x):
    n = 0
    if x > 5:
        x = x - 5
    for _ in range(3):
        try:
            if x > 1:
                x = x - 1
                continue
            x = x + 0.5
        finally:
            n += 1
    return x, n


@program((1.0,), (-1.0,))
def break_at_once(x):
    """`else` of a loop whose body only leaves it."""
    n = 0
    while x > 0:
        break
    else:
        n = 1
    return n


@program((1.0,), (-1.0,), (10.0,), (0.0,))
def else_of_nested_loops(x):
    n = 0
    for i in range(2):
        while x > i:
            x = x - 2
            if x > 5:
                n += 100
                break
        else:
            n += 1
            if x == -1:
                continue
            n += 10
    else:
        n += 1000
    return n, x


@program((1.0,), (-1.0,), (4.0,), (3.4,), (5.0,))
def return_in_an_else(x):
    for i in range(3):
        if x > i + 1:
            break
    else:
        return x * 100
    while x > 0:
        x = x - 3
        if x < -2.5:
            break
    else:
        if x < -1.5:
            return x
        return x - 0.25
    return x + 0.5


# Errors of the user's.


@raising((X, 1.0), (X, -1.0), (X, 2.0))
def value_error(x, s):
    if s < 0:
        raise ValueError("negative")
    return x * s


@raising((X, 1.0), (X, -1.0))
def assertion(x, s):
    assert s > 0, "must be positive"
    return x * s


@raising((X, 1.0), (X, -1.0), (X, -2.0))
def error_with_the_number(x, s):
    if s < 0:
        raise ValueError(f"negative: {s}")
    return x * s


@raising((X, 1.0), (X, -1.0), (X, 9.0), (X * np.nan, 1.0), (X * np.nan, -1.0))
def several_errors(x, s):
    if s < 0:
        raise ValueError("bad")
    elif s > 5:
        raise TypeError("worse")
    if np.isnan(x).any():
        raise FloatingPointError("nan")
    return x.sum()


@raising((X - 5,), (X,), (X * 0,))
def error_in_a_loop(x):
    for i in range(3):
        if x[i] > 1:
            raise KeyError(i)
        x[i] += 1
    return x


class TooFar(Exception):
    pass


@raising((3.0,), (9.0,), (-1.0,))
def error_in_a_while_loop(s):
    while s > 0:
        s = s - 1
        if s > 5:
            raise TooFar("too far", 3)
    return s


@raising((1.0,), (-1.0,))
def error_and_finally(s):
    n = 0
    try:
        if s < 0:
            raise ValueError("negative")
    finally:
        n = 1
    return s + n


def inverse(v):
    if v == 0:
        raise ZeroDivisionError("division by zero")
    return 1 / v


@raising((1.0, 2.0), (0.0, 2.0), (-3.0, 0.0), (1.0, 0.0))
def error_of_a_helper(a, b):
    return inverse(a) + inverse(b) if a > -1 else 0.0


@raising((X, 1.0), (X, -1.0))
def error_of_an_index(x, s):
    if s < 0:
        return x[5]
    return x[2]


@raising((X, 1.0), (X, -1.0))
def error_of_a_key(x, s):
    table = {"a": x}
    if s < 0:
        return table["b"]
    return table["a"]


@raising((1, 1.0), (-1, 1.0), (9, 1.0))
def error_in_the_last_branch(kind, x):
    if kind == 1:
        return x
    elif kind == -1:
        return -x
    else:
        raise NotImplementedError(f"kind {kind}")


@raising((X, 0.5), (X, 1.5), (X, 5.0))
def solver_that_does_not_converge(x, rate):
    for _ in range(6):
        step = rate * x
        x = x - step
        if np.abs(step).max() < 0.1:
            break
        if np.abs(x).max() > 100:
            raise OverflowError("diverges")
    else:
        raise RuntimeError("does not converge")
    return x


# Conditions that NumPy refuses.


@raising((X,), (-X,))
def truth_of_many(x):
    if x > 0:
        return x
    return -x


@raising((X,))
def truth_of_many_in_a_while(x):
    while x < 10:
        x = x * 2
    return x


@raising((X, 1.0))
def truth_of_many_and(x, s):
    return x > 0 and s > 0


@raising((X, 2.0))
def chained_comparison_of_many(x, s):
    return 1 if 0 < x < s else 2
