"""What the number of a step is used for."""

from __future__ import annotations

import math

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def first_step_by_the_counter(x):
    for n in range(len(x)):
        if n == 0:
            s = x[0] * 10
        else:
            s = 0.5 * s + x[n]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def some_first_steps(x):
    s = 0.0
    for n in range(len(x)):
        if n < 10:
            s = s + x[n]
        else:
            s = 0.9 * s - x[n]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def some_last_steps(x):
    s = 0.0
    N = len(x)
    for n in range(N):
        s = 0.9 * s + x[n]
        if n >= N - 5:
            s *= 2
        if n == N - 1:
            s += 100
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def somewhere_in_the_middle(x):
    s = 0.0
    middle = len(x) // 2
    for n in range(len(x)):
        s = 0.9 * s + x[n]
        if n == middle:
            s = 0.0
        elif middle < n <= middle + 3:
            s += 1.0
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def even_and_odd(x):
    s, t = 0.0, 0.0
    for n in range(len(x)):
        if n % 2:
            s = 0.5 * s + x[n]
        else:
            t = 0.7 * t - x[n]
    return s, t


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def toggled_flag(x):
    up = True
    s = 0.0
    for v in x:
        s = s + v if up else s - v
        up = not up
    return s, up


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def table_of_the_remainder(x):
    signs = [1.0, -1.0, 0.5, 0.0]
    names = ["a", "b", "c", "d"]
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + signs[n % 4] * x[n]
    return s, names[n % 4]


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def negative_places(x):
    """y[n - 1] is at first the last; x[-n], x[-1 - n] and x[~n] count from the end."""
    y = np.ones_like(x)
    for n in range(len(x)):
        y[n] = 0.5 * y[n - 1] + x[-n] * x[-1 - n] + x[~n]
    return y


@program(lambda a: (a.normal(2 * a.n + 3), a.n), static=(1,), gradient=(0,))
def places_that_are_lines(x, count):
    s = 0.0
    out = np.zeros(3 * count + 1)
    for n in range(count):
        s = 0.5 * s + x[2 * n + 1] - x[count - n] * x[n + 3]
        out[3 * n + 1] = s
        out[n] += 1
    return out


@program(lambda a: (a.normal(a.n), a.normal(a.n, a.n)), gradient=(0, 1), sizes=(3, 20, 100))
def places_of_diagonals(x, m):
    s = 0.0
    y = np.zeros_like(m)
    for n in range(len(x)):
        s = 0.5 * s + m[n, n] * m[n][-1 - n] + x[n]
        y[n, len(x) - 1 - n] = s
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def places_that_are_no_lines(x):
    N = len(x)
    y = np.zeros(N)
    for n in range(N):
        y[n * n % N] += x[(3 * n + 1) % N] + x[n // 2] * x[min(n + 2, N - 1)] - x[max(n - 3, 0)]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def axes_of_their_own(x):
    out = np.zeros((len(x), 2, 3))
    for n in range(len(x)):
        out[n, 0] = x[n]
        out[n, 1, :] = x[n] * n
        out[n, ..., 2] = -x[n]
    return out


@program(lambda a: (a.normal(2, 3, a.n),), gradient=(0,))
def last_axis(x):
    s = np.zeros((2, 3))
    y = np.zeros(x.shape)
    for n in range(x.shape[-1]):
        s = 0.5 * s + x[..., n]
        y[:, 1:, n] = s[:, :2]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def counter_in_arithmetic(x):
    s = 0.0
    for n in range(len(x)):
        s = 0.5 * s + x[n] * (n + 1) / (n + 2) - 0.1 ** (n + 1) + n % 3 - (n // 4) * 0.01
    return s


@program(lambda a: (a.normal(a.n),))
def counter_in_functions(x):
    out = []
    for n in range(len(x)):
        out.append(math.sqrt(n) + np.cos(n) + abs(n - 5) + float(n) + round(n / 2) + int(n / 3) + divmod(n, 4)[1] - x[n])
    return np.array(out)


@program(lambda a: (a.normal(a.n).astype(np.float32),))
def counter_and_float32(x):
    s = np.float32(0)
    out = np.zeros(len(x), dtype=np.float32)
    for n in range(len(x)):
        s = s * np.float32(0.5) + x[n] * n / len(x)
        out[n] = s
    return out, s


@program(lambda a: (a.n,), static=(0,))
def counter_as_other_types(count):
    out = []
    for n in range(count):
        out.append(np.float32(n) / np.float32(3) + np.float32(np.int8(n % 100)))
    return np.array(out)


@program(lambda a: (a.n,), static=(0,))
def dtypes_of_the_counter(count):
    ints, floats = [], []
    for n in range(count):
        ints.append(n)
        floats.append(n / 2)
    return np.array(ints), np.array(floats), n, np.asarray(n)


@program(lambda a: (a.normal(a.n),))
def truth_of_the_counter(x):
    s = 0.0
    for n in range(len(x)):
        s += n and x[n]
        if not n:
            s += 100
        s += 1 if n in (1, 2) else 0
    return s


@program(lambda a: (a.n,), static=(0,), sizes=(3, 40, 90))
def powers_of_two_beyond_int64(count):
    """Python's ints are as long as they have to be."""
    out = np.zeros(count)
    for n in range(count):
        out[n] = 1 / 2**n
    return out


@program(lambda a: (a.n,), static=(0,))
def generator_modulo_two_to_the_64(count):
    state = 1
    out = []
    for _ in range(count):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        out.append((state >> 33) / 2**31)
    return np.array(out)


@program(lambda a: (a.n,), static=(0,), sizes=(3, 40, 90))
def negative_powers_of_ints(count):
    out = []
    for n in range(count):
        out.append(2**-n + 3 * 10 ** (-n % 5))
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def counter_as_a_key(x):
    states = {-1: 0.0}
    for n in range(len(x)):
        states[n] = 0.5 * states[n - 1] + x[n]
    return np.array([states[n] for n in range(len(x))])


@program(lambda a: (a.normal(a.n),), sizes=(3, 40, 100))
def counter_in_texts(x):
    states = {}
    for n in range(len(x)):
        states[f"h{n}"] = x[n] * 2
        if str(n).endswith("7"):
            states[f"h{n}"] = -x[n]
    return states


@program(lambda a: (a.normal(a.n),), sizes=(3, 20, 60))
def shapes_by_the_counter(x):
    s = 0.0
    for n in range(1, len(x)):
        s = 0.5 * s + x[:n].sum() - x[n:].mean() + np.zeros(n).sum() + len([0] * n)
    return s


@program(lambda a: (a.normal(a.n),), sizes=(3, 20, 60))
def windows_cut_off_at_the_ends(x):
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = x[max(0, n - 2) : n + 3].mean()
    return y


@program(lambda a: (a.normal(a.n), a.n), static=(1,), sizes=(3, 20, 60))
def type_of_the_counter(x, count):
    kinds = set()
    s = 0.0
    for n in range(count):
        kinds.add(type(n).__name__)
        if isinstance(n, int):
            s += x[n]
        if n.bit_length() > 3:
            s += 1
    return s, sorted(kinds)


@program(lambda a: (a.n,), static=(0,), sizes=(3, 20, 60))
def random_numbers_by_the_counter(count):
    out = np.zeros(count)
    for n in range(count):
        out[n] = np.random.default_rng(n).standard_normal()
    return out


@program(lambda a: (a.normal(a.n), [a.normal(3) for _ in range(a.n)]))
def list_of_arrays_by_the_counter(x, items):
    s = np.zeros(3)
    for n in range(len(x)):
        s = 0.5 * s + x[n] * items[n] - items[n - 1]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def own_counters(x):
    k, half, down = 0, 0.0, len(x)
    s = 0.0
    y = np.zeros(3 * len(x) + 3)
    for v in x:
        k += 3
        half += 0.5
        down -= 1
        y[k] = s = 0.5 * s + v * half - x[down]
        y[k - 1] = k
    return y, k, half, down


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def counter_of_some_steps(x):
    """It follows from the counter, but not as a line."""
    k = 0
    y = np.zeros(len(x))
    for n in range(len(x)):
        if n % 3 == 0:
            y[k] = x[n]
            k += 1
    return y, k


@program(lambda a: (a.normal(a.n),))
def counter_of_some_numbers(x):
    """The places follow from what is in the array."""
    k = 0
    y = np.zeros(len(x))
    for v in x:
        if v > 0:
            y[k] = v
            k += 1
    return y, k


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def schedule_of_a_rate(x):
    rate, w = 0.1, 0.0
    for step in range(len(x)):
        if step % 50 == 0:
            rate *= 0.5
        warm = min(1.0, (step + 1) / 20)
        w -= warm * rate * (w - x[step])
    return w, rate


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def compared_in_all_ways(x):
    N = len(x)
    s = 0.0
    for n in range(N):
        if n > 2 and n != 20 and not n <= 4:
            s += x[n]
        if 5 <= n < 9 or N - n == 2:
            s -= 2 * x[n]
        s += (n > 7) * 0.5 + (2 * n + 1 < N) * 0.25
        s = s if n + 3 < N else s * 0.5
    return s


@program(lambda a: (a.normal(a.n), 12))
def compared_with_a_traced_number(x, split):
    s = 0.0
    for n in range(len(x)):
        if n < split:
            s += x[n]
        else:
            s = 0.5 * s
    return s


@program(lambda a: (a.normal(a.n),))
def types_by_even_and_odd_steps(x):
    """An int behind an even number of steps, a float behind an odd one."""
    for n in range(len(x)):
        u = n
        if n % 2:
            u = 0.5
    return u, x[0]
