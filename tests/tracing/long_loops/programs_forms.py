"""What a loop goes over, and how it ends."""

from __future__ import annotations

import itertools

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n), a.normal(a.n), a.normal(a.n + 3)), gradient=(0, 1, 2), single=True)
def zip_of_three_of_which_one_is_longer(x, y, z):
    s = 0.0
    out = []
    for u, v, w in zip(x, y, z):
        s = 0.5 * s + u * v - w
        out.append(s)
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def enumerate_from_one(x):
    total = 0.0
    for i, v in enumerate(x, 1):
        total += v / i
    return total, i


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1))
def enumerate_of_zip(x, y):
    out = np.zeros(len(x))
    for i, (u, v) in enumerate(zip(x, y)):
        out[i] = u * i + v
    return out


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1))
def zip_with_a_range_and_reversed(x, y):
    s = 1.0
    for n, u, v in zip(range(5, 5 + len(x)), reversed(x), y[::-1]):
        s = 0.3 * s + u * v / n
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def reversed_enumeration(x):
    s = 0.0
    for i, v in reversed(list(enumerate(x))):
        s = 0.9 * s + v * i
    return s


@program(lambda a: (a.normal(3 * a.n + 7),), gradient=(0,))
def range_with_start_and_step(x):
    y = np.zeros_like(x)
    for i in range(2, len(x) - 2, 3):
        y[i] = y[i - 2] + x[i - 1] * x[i + 2]
        y[i + 1] = y[i]
    return y


@program(lambda a: (a.normal(2 * a.n + 1),), gradient=(0,))
def range_down_by_two(x):
    y = np.zeros_like(x)
    for i in range(len(x) - 1, 0, -2):
        y[i] = x[i] + (0.5 * y[i + 1] if i + 1 < len(x) else 0.0)
        y[i - 1] = 0.3 * y[i]
    return y


@program(lambda a: (a.normal(a.n, 4),), gradient=(0,))
def rows_of_a_matrix(m):
    s = np.ones(4)
    for row in m:
        s = np.tanh(s + row)
    return s


@program(lambda a: (a.normal(4, a.n),), gradient=(0,))
def columns_by_the_transposed(m):
    s = np.ones(4)
    for column in m.T:
        s = np.tanh(s * 0.5 + column)
    return s


@program(lambda a: ([a.normal(3) for _ in range(a.n)],), gradient=(0,))
def list_of_arrays(items):
    s = np.zeros(3)
    out = []
    for item in items:
        s = 0.5 * s + item
        out.append(s.sum())
    return np.array(out)


@program(lambda a: ([(a.normal(2), a.normal(2, 2)) for _ in range(a.n)],), gradient=(0,), sizes=(3, 40, 100))
def list_of_pairs(pairs):
    s = np.zeros(2)
    for x, W in pairs:
        s = np.tanh(0.3 * W @ s + x)
    return s


@program(lambda a: ({f"k{i}": a.normal(2) for i in range(a.n)},), gradient=(0,), sizes=(3, 40, 100))
def values_of_a_dict(d):
    s = np.zeros(2)
    names = ""
    for key, value in d.items():
        s = 0.5 * s + value
        names += key[0]
    return s, names


@program(lambda a: (a.normal(a.n, a.n),), gradient=(0,), sizes=(3, 12, 40))
def two_nested_long_loops(m):
    y = np.zeros_like(m)
    for i in range(1, m.shape[0]):
        for j in range(1, m.shape[1]):
            y[i, j] = 0.3 * y[i - 1, j] + 0.3 * y[i, j - 1] + m[i, j]
    return y


@program(lambda a: (a.normal(a.n), a.normal(a.n)), gradient=(0, 1), sizes=(3, 12, 40))
def nested_over_items(x, y):
    total = 0.0
    for u in x:
        inner = 0.0
        for v in y:
            inner = 0.5 * inner + u * v
        total += np.tanh(inner)
    return total


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 12, 40))
def triangular(x):
    y = np.zeros_like(x)
    for i in range(len(x)):
        for j in range(i):
            y[i] += x[i] * x[j]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def long_in_short(x):
    for k in range(3):
        s = float(k)
        y = []
        for v in x:
            s = 0.5 * s + v
            y.append(s)
        x = np.array(y)
    return x


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def short_in_long(m):
    s = 0.0
    for n in range(len(m)):
        for k in range(3):
            s = np.sin(s + m[n, k] * (k + 1))
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def loop_with_an_else(x):
    s = 0.0
    for v in x:
        s = 0.5 * s + v
    else:
        s = s * 10
    return s


@program(lambda a: (a.normal(a.n), 2.0))
def else_behind_a_break_on_numbers(x, limit):
    total = 0.0
    for i, v in enumerate(x):
        total += abs(v)
        if total > limit:
            where = i
            break
    else:
        where = -1
    return total, where


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def break_after_a_number_of_steps(x):
    s = 0.0
    for n in range(len(x)):
        if n == 25:
            break
        s = 0.5 * s + x[n]
    else:
        s = -s
    return s, n


@program(lambda a: (a.normal(a.n), a.n), static=(1,), gradient=(0,))
def endless_count_with_a_break(x, steps):
    s = 0.0
    for n in itertools.count():
        if n >= steps:
            break
        s = 0.9 * s + x[n]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def continue_on_the_counter(x):
    s = 0.0
    for n in range(len(x)):
        if n % 3 == 1:
            continue
        s = 0.5 * s + x[n]
    return s


@program(lambda a: (a.normal(a.n),))
def continue_on_numbers(x):
    s, skipped = 0.0, 0
    for v in x:
        if v < -0.5:
            skipped += 1
            continue
        s = np.sqrt(s * s + abs(v))
    return s, skipped


@program(lambda a: (a.normal(a.n), 3.0))
def return_out_of_the_loop(x, limit):
    total = 0.0
    for n in range(len(x)):
        total += x[n] ** 2
        if total > limit:
            return n, total
    return len(x), total


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def counter_used_behind_the_loop(x):
    s = 0.0
    for n, v in enumerate(x):
        s += v
    return s * n, x[n], v


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def set_in_the_loop_and_used_behind_it(x):
    for v in x:
        u = v * 2
        w = np.array([u, v])
    return u, w


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def set_before_read_in_each_step(x):
    out = []
    for v in x:
        t = v * v
        t += 1
        out.append(np.log(t))
    return np.array(out), t


@program(lambda a: (a.normal(a.n), a.normal(0)), sizes=(0, 1, 2))
def over_nothing_and_one(x, nothing):
    s, last = 0.0, -1
    for n, v in enumerate(x):
        s = 0.5 * s + v
        last = n
    for _ in nothing:
        s = s + 100
    return s, last


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def comprehension_and_a_sum(x):
    squares = [v * v for v in x]
    return sum(squares), np.array([np.sin(v) + i for i, v in enumerate(squares)])


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def sum_of_a_generator(x):
    return sum(x[n] * n for n in range(len(x))), max(v for v in x)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def while_with_a_known_end(x):
    n, s = 0, 0.0
    while n < len(x):
        s = 0.9 * s + x[n]
        n += 1
    return s, n


@program(lambda a: (a.normal(a.n + 1),), gradient=(0,))
def pairs_of_neighbours(x):
    out = []
    for u, v in itertools.pairwise(x):
        out.append((v - u) ** 2)
    return np.stack(out)


@program(lambda a: (a.normal(a.n, 2, 2), a.normal(a.n)), gradient=(0, 1))
def unpacked_rows(m, x):
    s = 0.0
    for ((p, q), (r, t)), v in zip(m, x):
        s = 0.5 * s + p * t - q * r + v
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def range_kept_in_a_variable(x):
    steps = range(1, len(x))
    y = x.copy()
    for _ in range(2):
        for n in steps:
            y[n] = 0.5 * (y[n] + y[n - 1])
    return y, len(steps)


@program(lambda a: (a.normal(a.n), a.n), static=(1,), gradient=(0,))
def loop_over_known_numbers(x, count):
    s = 0.0
    for angle in np.linspace(0, np.pi, count):
        s = 0.5 * s + np.cos(angle) * x[0]
    for k in np.arange(count):
        s = s + 0.1 * x[k]
    return s


@program(lambda a: (a.normal(2, a.n),), gradient=(0,))
def iterator_moved_by_hand(m):
    rows = iter(m[0])
    s = next(rows)
    for v in rows:
        s = 0.5 * s + v
    return s


@program(lambda a: (a.normal(a.n, 2), a.n), static=(1,), gradient=(0,))
def flat_index_of_two_loops(m, count):
    out = np.zeros(2 * count)
    for i, j in itertools.product(range(count), range(2)):
        out[2 * i + j] = m[i, j] * (i - j)
    return out
