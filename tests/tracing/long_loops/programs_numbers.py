"""Python's own numbers and NumPy's scalars: exact ints, weak floats, types that are kept from step to step."""

from __future__ import annotations

import math

import numpy as np

from tests.tracing.long_loops.corpus import program, raising


@program(lambda a: (a.n,), static=(0,))
def fibonacci_beyond_int64(count):
    a, b = 0, 1
    for _ in range(count):
        a, b = b, a + b
    return a % 1000007, b / (a + 1)


@program(lambda a: (a.n,), static=(0,))
def factorial_beyond_int64(count):
    f = 1
    for n in range(1, count + 1):
        f *= n
    return f % 1000000007, math.log(f)


@program(lambda a: (a.n,), static=(0,))
def factorial_by_odd_numbers_modulo(count):
    """The product is within int64, and what it would be without the remainder is not."""
    f = 1
    for n in range(1, 2 * count, 2):
        f = f * n % 998244353
    return f


@program(lambda a: (a.n,), static=(0,))
def generator_modulo_a_mersenne_prime(count):
    """The product goes beyond int64, and the remainder does not."""
    state, total = 42, 0
    for _ in range(count):
        state = 437799614237992725 * state % (2**61 - 1)
        total ^= state
    return state, total


@program(lambda a: (a.n,), static=(0,))
def hash_of_the_counter(count):
    h = 14695981039346656037 % 2**61
    for n in range(count):
        h = ((h ^ n) * 1099511628211) & 0xFFFFFFFFFFFF
    return h


@program(lambda a: (a.n,), static=(0,))
def squares_of_squares(count):
    """Larger than int64 from step 55,109 on, and n**5 from 6,209: not here. n**12 from 39 on."""
    total = 0
    for n in range(count):
        total += n * n * n * n * n * n * n * n * n * n * n * n % 1009
    return total


@program(lambda a: (a.n,), static=(0,))
def shifted_beyond_int64(count):
    bits = 1
    for n in range(count):
        bits = (bits << 1) | (n & 1)
    return bits % 1000003


@program(lambda a: (a.n,), static=(0,))
def sum_that_stays_small(count):
    total, largest = 0, 0
    for n in range(count):
        total += n * n - 3 * n
        largest = max(largest, total % 101)
    return total, largest


@program(lambda a: (a.normal(a.n).astype(np.float32),))
def weak_floats_beside_float32(y):
    """A Python float leaves float32 as it is; a float64 of NumPy's does not."""
    weak, strong = 0.1, np.float64(0.1)
    for n in range(len(y)):
        weak = weak * 0.9 + 0.3
        strong = strong * 0.9 + 0.3
    return y * weak, y * strong, weak, strong


@program(lambda a: (a.normal(a.n), a.normal(3).astype(np.float32)))
def weak_in_the_first_step_only(x, y):
    """`y * s` is of float32 while s is Python's, and of float64 from then on."""
    s = 0.1
    rows = []
    for v in x:
        rows.append(y * s)
        s = s * 0.5 + v
    return np.array(rows), rows[0], rows[-1]


@program(lambda a: (a.normal(3).astype(np.float32), a.n), static=(1,))
def counters_of_both_kinds(y, count):
    """Python's ints are weak, those out of np.arange are int64."""
    s, t = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for n in range(count):
        s = s * np.float32(0.5) + y * n
    for n in np.arange(count):
        t = t * np.float32(0.5) + y * n
    return s, t


@program(lambda a: (a.n,), static=(0,))
def items_of_small_integers(count):
    """int8 that wraps, as its items do."""
    total = np.int8(1)
    for n in np.arange(count).astype(np.int8):
        total = total + n * np.int8(3)
    return total


@program(lambda a: (a.normal(a.n),))
def floats_that_are_used_as_ints(x):
    place = 0.0
    s = 0.0
    for n in range(len(x)):
        place = (place + 1.7) % (len(x) - 1)
        s = 0.5 * s + x[int(place)] + x[round(place)]
    return s


@program(lambda a: (a.n,), static=(0,))
def roots_of_negative_floats(count):
    """Python's are complex."""
    s, total = -1.0, 0.0
    for n in range(count):
        s = s * 1.01
        total = total + ((s**0.5) * (s**0.5)).real
    return total


@program(lambda a: (a.n, 0.5), static=(0,))
def rounding_of_halves(count, step):
    out = []
    for n in range(count):
        out.append(round(n * 0.5) + round(n / 3, 1) + math.ceil(n / 4) + int(-n / 3) + -n // 2 + n % -3)
    return np.array(out) * step


@program(lambda a: (a.normal(a.n),))
def comparisons_as_numbers(x):
    s, flags = 0, 0
    for n in range(len(x)):
        s += (x[n] > 0) + (n > 3) + 2 * (n == 5)
        flags = flags * 2 % 1000 + (n % 3 == 0)
    return s, flags


@program(lambda a: (a.n,), static=(0,))
def bools_that_become_ints(count):
    b, total = True, False
    for n in range(count):
        total = total + b
        b = not b
    return total, b


@program(lambda a: (a.n,), static=(0,))
def complex_numbers_of_python(count):
    z, w = 1 + 0j, 1j
    for n in range(count):
        z = z * (0.6 + 0.8j)
        w = w + z / (n + 1)
    return z, w, abs(w), w.real


@program(lambda a: (a.n,), static=(0,), sizes=(3, 40, 60))
def growth_to_infinity(count):
    s, t = 1.0, 1.0
    for n in range(count):
        s *= 1e10
        t = t / 1e10
    return s, t


@program(lambda a: (a.normal(a.n),))
def identity_of_numbers(x):
    last, same = None, 0
    for n in range(len(x)):
        if n is None or last == n:
            same += 1
        last = n
    return same, last


@program(lambda a: (a.normal(a.n).astype(np.float32), np.float64(0.1), np.float32(0.2)))
def scalars_of_both_precisions(x, double, single):
    s, t = single, single
    out = []
    for v in x:
        s = s * single + v
        t = t * single + v * double
        out.append(t)
    return s, np.array(out)


@program(lambda a: (a.normal(a.n),))
def item_and_tolist(x):
    s = 0.0
    total = np.zeros(1)
    for n in range(len(x)):
        total += x[n]
        s = 0.5 * s + total.item() + float(x[n]) + total.tolist()[0]
    return s


@raising(lambda a: (a.normal(a.n),))
def float_power_out_of_range(x):
    s = 10.0
    for _ in range(len(x)):
        s = s**40.0
    return s * x[0]


@raising(lambda a: (a.normal(a.n),))
def logarithm_of_zero(x):
    s = 0.0
    for n in range(len(x)):
        s += math.log(n) * x[n]
    return s


@raising(lambda a: (a.normal(a.n),))
def remainder_by_the_zero_of_the_counter(x):
    s = 0.0
    for n in range(len(x)):
        s += x[n] * (7 % (n - 2))
    return s


@raising(lambda a: (a.n,), static=(0,))
def root_of_a_negative_number(count):
    s = 1.0
    for _ in range(count):
        s = s - 0.5
        t = math.sqrt(s)
    return t


@raising(lambda a: (a.n,), static=(0,), sizes=(70, 80, 90))
def store_of_an_int_beyond_int64(count):
    out = np.zeros(count, dtype=np.int64)
    k = 1
    for n in range(count):
        out[n] = k
        k = k * 2
    return out
