"""Stores into arrays that have several names, views, arguments and what is kept."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def row_named_and_stored_into(x):
    y = np.zeros_like(x)
    for n in range(len(x)):
        row = y[n]
        row[:] = x[n] * 2
        row += 1
        row[0] = n
    return y


@program(lambda a: (a.normal(a.n, 3),))
def rows_of_an_argument_changed_by_the_loop_variable(m):
    for row in m:
        row *= 2
        row[1] = row[0] + row[2]


@program(lambda a: (a.normal(3, a.n),))
def columns_of_an_argument_changed_by_the_loop_variable(m):
    total = np.zeros(3)
    for column in m.T:
        column -= 0.5 * total
        total = total + column
    return total


@program(lambda a: (a.normal(a.n), np.zeros(3)))
def old_name_still_holds_the_old_array(x, b):
    """`b = b + 1` makes another one; `a[0] = ...` changes what was before."""
    log = []
    for v in x:
        a = b
        b = b + v
        a[0] = -1.0
        log.append(a)
    return b, np.array(log)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def new_name_for_what_is_changed(x):
    h = np.zeros(3)
    for v in x:
        g = h
        g[1:] = h[:-1] + v
        g += 0.1
        h = g * 0.5
    return h, g


@program(lambda a: (a.normal(a.n), a.normal(3), a.normal(3)))
def arguments_that_change_places(x, a, b):
    for v in x:
        a, b = b, a
        a[0] += v
        b[1] -= v
    return a[0] - b[0]


@program(lambda a: (a.normal(a.n), a.normal(3)))
def argument_in_the_first_step_only(x, s):
    """The first `+=` changes the argument, those behind it what `*` has made."""
    for v in x:
        s += v
        s = s * 0.5
    return s


@program(lambda a: (a.normal(a.n), a.normal(3)), gradient=(0, 1))
def copied_before_it_is_changed(x, s):
    s = s.copy()
    for v in x:
        s *= 0.5
        s[::2] += v
    return s


@program(lambda a: (a.normal(a.n),))
def in_place_of_all_kinds(x):
    y = np.ones(4) * 2
    k = np.arange(1, 5)
    for v in x:
        y += v
        y -= 0.1
        y *= 0.9
        y /= 1.1
        y **= 2
        y %= 3.0
        y //= 0.01
        y *= 0.01
        k <<= 1
        k ^= 5
        k |= 2
        k &= 1023
        k >>= 1
        k %= 97
    return y, k


@program(lambda a: (a.normal(a.n), a.normal(a.n)))
def two_arguments_filled(x, out):
    peaks = out[:2]
    for n in range(len(x)):
        out[n] = x[n] + peaks[0]
    return peaks


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def view_read_while_its_base_is_filled(x):
    y = np.zeros(len(x) + 3)
    tail = y[3:]
    for n in range(len(x)):
        y[n] += x[n]
        tail[n] += 0.5 * y[n]
    return y, tail.sum()


@program(lambda a: (a.normal(a.n, 2, 2),), gradient=(0,))
def reshaped_view_filled(x):
    y = np.zeros((len(x), 4))
    z = y.reshape(len(x), 2, 2)
    for n in range(len(x)):
        z[n] = x[n] @ z[n - 1] * 0.5 + x[n]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def store_by_columns_into_the_transposed(x):
    y = np.zeros((2, len(x)))
    t = y.T
    for n in range(len(x)):
        t[n] = [x[n], x[n - 1]]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def stored_then_read_then_stored(x):
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = x[n]
        t = y[n] * 2
        y[n] = t + y[n]
        y[n] -= y[n - 1] * 0.1
    return y


@program(lambda a: (a.normal(a.n + 2),), gradient=(0,))
def read_ahead_of_what_is_stored(x):
    y = x.copy()
    for n in range(len(x) - 2):
        y[n] = y[n + 1] + 0.5 * y[n + 2]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def stored_beyond_and_read_later(x):
    y = np.zeros(len(x) + 4)
    for n in range(len(x)):
        y[n] += x[n]
        y[n + 1] += 0.5 * y[n]
        y[n + 4] -= 0.25 * y[n]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def last_of_many_stores_into_one_place(x):
    y = np.zeros(3)
    for n in range(len(x)):
        y[0] = x[n]
        y[1] += x[n]
        y[n % 3] *= 0.5
    return y


@program(lambda a: (a.normal(a.n), a.integers(4, a.n), a.integers(4, a.n)), gradient=(0,))
def places_that_are_read_and_stored_by_arrays(x, i, j):
    y = np.ones(4)
    for n in range(len(x)):
        y[i[n]] = 0.5 * y[j[n]] + x[n]
    return y


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def array_made_in_the_loop_and_kept(x):
    kept = []
    for v in x:
        row = np.zeros(3)
        row[0] = v
        kept.append(row)
        row[1] = 2 * v
    return np.stack(kept)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def kept_rows_changed_behind_the_loop(x):
    kept = []
    for v in x:
        kept.append(np.array([v, 1.0]))
    for n in range(len(kept)):
        kept[n][1] += n
    kept[-1] *= 10
    return np.array(kept)


@program(lambda a: (a.normal(a.n),))
def view_of_the_array_that_is_replaced(x):
    a = np.zeros(4)
    view = a[1:3]
    for v in x:
        view[:] = v
        a = a + 1
        view = a[1:3]
    return a, view


@program(lambda a: (a.normal(a.n),))
def double_buffer_in_a_list(x):
    buffers = [np.zeros(3), np.ones(3)]
    for n, v in enumerate(x):
        now, then = buffers[n % 2], buffers[1 - n % 2]
        then[:] = 0.5 * now
        then[0] += v
    return buffers


@program(lambda a: (a.normal(a.n),))
def attribute_that_is_the_same_array(x):
    class Holder:
        pass

    h = Holder()
    h.a = h.b = np.zeros(2)
    for v in x:
        h.a[0] += v
        h.b[1] = h.a[0] * 2
    return h.a, h.b is h.a


@program(lambda a: (a.normal(a.n),))
def one_array_until_a_step(x):
    a = np.zeros(2)
    b = a
    for n, v in enumerate(x):
        if n == 20:
            b = b.copy()
        a += v
        b[0] -= 1
    return a, b


@program(lambda a: (a.normal(a.n), a.normal(a.n)))
def out_of_a_ufunc(x, y):
    s = np.zeros(2)
    t = np.zeros(2)
    for u, v in zip(x, y):
        np.multiply(s, 0.5, out=s)
        np.add(s, u, out=t)
        np.copyto(s, t - v)
    return s, t


@program(lambda a: (a.normal(a.n, 4),))
def masked_stores(m):
    s = np.zeros(4)
    for row in m:
        s[row > 0] = 0.0
        s += np.where(row < 0, row, 0)
        row[row < -1] = -1
    return s


@program(lambda a: (a.normal(a.n, 4), np.zeros((a.n, 4))))
def sorted_rows_stored_into_an_argument(m, out):
    for n in range(len(m)):
        row = m[n].copy()
        row.sort()
        out[n] = row
        out[n, ::2] = 0


@program(lambda a: (a.normal(a.n), a.normal(2), a.normal(2)))
def one_of_two_arrays_by_numbers(x, a, b):
    c = a
    for v in x:
        c = a if v > 0 else b
        c[0] += v
    return c


@program(lambda a: (a.normal(a.n),))
def named_by_a_number_then_changed(x):
    best = np.zeros(2)
    h = np.ones(2)
    for v in x:
        h = h * 0.5 + v
        if v > 0:
            best = h
        h[0] = 0.0
    return best


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def second_loop_reads_what_the_first_stored(x):
    y = np.zeros_like(x)
    for n in range(len(x)):
        y[n] = x[n] * n
    for n in range(len(x)):
        y[n] += y[n - 1]
    z = np.zeros_like(x)
    for n in range(len(x) - 1):
        z[n] = y[n + 1] - y[n]
    return z


@program(lambda a: (a.normal(a.n), np.array([[0, 1], [2, 3]])))
def integers_and_floats_stored_into_one_another(x, table):
    counts = np.zeros(2, dtype=int)
    levels = np.zeros(2, dtype=np.float32)
    for n in range(len(x)):
        counts[n % 2] = x[n] * 10
        levels[n % 2] += counts[n % 2] + table[n % 2, 1]
        table[n % 2, 0] += counts[0]
    return counts, levels


@program(lambda a: (a.normal(a.n), 0.5))
def part_of_a_loop_stored_into_behind_it(x, limit):
    place = x[:1]
    for i in range(len(x)):
        if x[i] > limit:
            place = x[i : i + 1]
    place[0] = -1


@program(lambda a: (a.normal(a.n), 0.5))
def array_chosen_in_a_loop_and_stored_into_behind_it(x, limit):
    place, y = x, x * 2
    for i in range(len(x)):
        if x[i] > limit:
            place = y
    place[0] = -1
    return y


@program(lambda a: (a.normal(a.n), a.normal(3)))
def names_that_change_places_beside_a_store(x, p):
    a, b = np.ones(3), p
    for v in x:
        p[0] += v
        a, b = b, a
    return a


@program(lambda a: (a.normal(a.n),))
def names_of_one_list_that_change_places(x):
    one, two = [0.0, 1.0], [2.0]
    rows = [one]
    for v in x:
        one[0] += v
        one, two = two, one
        rows.append(two)
    return one, two, rows[0], rows[-1]
