"""Lists, dicts and deques that long loops read, fill and empty."""

from __future__ import annotations

from collections import deque

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def read_while_it_grows(x):
    ys = [x[0], 0.5 * x[0]]
    for v in x:
        ys.append(0.3 * ys[-1] - 0.2 * ys[-2] + 0.1 * ys[0] + v)
    return np.array(ys)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def length_read_while_it_grows(x):
    ys = []
    for v in x:
        ys.append(v / (len(ys) + 1))
    return np.array(ys), len(ys)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def place_by_the_counter_while_it_grows(x):
    ys = [0.0]
    for n in range(len(x)):
        ys.append(0.5 * ys[n] + x[n])
    return ys[-1], ys[len(x) // 2], np.array(ys)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def preallocated_list(x):
    out = [0.0] * len(x)
    for n in range(len(x)):
        out[n] = x[n] + 0.5 * out[n - 1]
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def two_lists_of_which_one_is_read_later(x):
    first, second = [], []
    for v in x:
        first.append(v)
        second.append(v * v)
    out = []
    for n in range(len(first)):
        out.append(first[n] * second[-1 - n])
    return np.array(out)


@program(lambda a: (a.normal(a.n, 2),), gradient=(0,))
def list_of_lists(xs):
    out = []
    for x in xs:
        out.append([x[0], x[1] * 2, x.sum()])
    return np.array(out)


@program(lambda a: (a.normal(a.n, 2),), gradient=(0,))
def lists_in_a_list(xs):
    columns = [[], []]
    for x in xs:
        for k in range(2):
            columns[k].append(x[k] + (columns[k][-1] if columns[k] else 0.0))
    return np.array(columns)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def lists_extended(x):
    out = []
    for n, v in enumerate(x):
        out += [v, -v]
        out.extend((n, v * n))
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def inserted_at_the_front(x):
    out = []
    s = 0.0
    for v in x:
        s = 0.5 * s + v
        out.insert(0, s)
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def slices_of_a_list(x):
    ys = list(x[:1]) * 3
    for v in x:
        ys.append(v + 0.2 * sum(ys[-3:]))
    return np.array(ys[3:]), np.array(ys[:4])


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def moving_window_by_slicing(x):
    window = [0.0, 0.0, 0.0]
    out = []
    for v in x:
        window = window[1:] + [v]
        out.append(sum(window))
    return np.array(out), window


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def some_steps_are_kept(x):
    s, kept = 0.0, []
    for n, v in enumerate(x):
        s = 0.9 * s + v
        if n % 5 == 0:
            kept.append(s)
    return np.array(kept)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def all_but_the_first_are_kept(x):
    kept = []
    for n, v in enumerate(x):
        if n > 0:
            kept.append(v - x[n - 1])
    return np.stack(kept)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def dict_of_lists(x):
    log = {"level": [], "peak": []}
    level = peak = 0.0
    for v in x:
        level = 0.9 * level + 0.1 * v * v
        peak = max(peak, level)
        log["level"].append(level)
        log["peak"].append(peak)
    return {k: np.array(v) for k, v in log.items()}


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def dict_whose_values_change(x):
    state = {"s": 0.0, "n": 0, "last": x[0]}
    for v in x:
        state["s"] = 0.5 * state["s"] + v - state["last"]
        state["n"] += 1
        state["last"] = v
    return state


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def a_new_dict_in_each_step(x):
    state = {"a": 0.0, "b": 1.0}
    for v in x:
        state = {"b": state["a"] + v, "a": 0.5 * state["b"]}
    return state


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def tuples_appended_and_taken_apart(x):
    caches = []
    s = 0.0
    for n, v in enumerate(x):
        before = s
        s = np.tanh(s + v)
        caches.append((n, before, s))
    g = 1.0
    grads = [0.0] * len(x)
    for n, before, after in reversed(caches):
        g = g * (1 - after**2)
        grads[n] = g
    return np.array(grads), before


@program(lambda a: (a.normal(a.n),))
def list_returned_as_it_is(x):
    out = []
    for v in x:
        out.append(v * 2)
    return out


@program(lambda a: (a.normal(a.n), [1.0, 2.0]))
def list_argument_that_grows(x, kept):
    for v in x:
        kept.append(v)
    return len(kept)


@program(lambda a: (a.normal(a.n),))
def list_filled_before_the_loop(x):
    out = [x[0], "start"]
    for v in x:
        out.append(v)
    return out


@program(lambda a: (a.normal(a.n),))
def list_of_numbers_and_none(x):
    out = []
    last = None
    for v in x:
        out.append(last)
        last = v
    return out


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def list_under_two_names(x):
    a = []
    b = a
    for v in x:
        a.append(v)
        b.append(v * len(a))
    return np.array(a), a is b


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def list_replaced_in_each_step(x):
    row = [0.0, 0.0]
    rows = []
    for v in x:
        row = [row[1], v + row[0]]
        rows.append(row)
    rows[0][0] = 5.0
    return np.array(rows)


@program(lambda a: (a.normal(a.n),))
def one_list_appended_many_times(x):
    """All items are the same list, which holds what the last step left."""
    row = [0.0, 0.0]
    rows = []
    for v in x:
        row[0] += v
        row[1] = v
        rows.append(row)
    return rows[0], np.array(rows)


@program(lambda a: (a.normal(a.n),))
def one_array_appended_many_times(x):
    h = np.zeros(2)
    hs = []
    for v in x:
        h += v
        hs.append(h)
    return np.array(hs)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def copies_appended(x):
    h = np.zeros(2)
    hs = []
    for v in x:
        h[0] += v
        h[1] = 0.5 * h[0]
        hs.append(h.copy())
    return np.array(hs)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def deque_with_a_length(x):
    window = deque(maxlen=3)
    out = []
    for v in x:
        window.append(v)
        out.append(max(window) - min(window))
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def deque_rotated(x):
    ring = deque([1.0, 2.0, 3.0, 4.0])
    s = 0.0
    for v in x:
        s = 0.5 * s + ring[0] * v
        ring.rotate(-1)
        ring[0] *= 0.99
    return s, list(ring)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def stack_that_goes_up_and_down(x):
    stack = [1.0]
    s = 0.0
    for n, v in enumerate(x):
        if n % 2 == 0:
            stack.append(v)
        else:
            s = 0.5 * s + stack.pop()
    return s, len(stack)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def means_of_a_list_at_the_end(x):
    losses = []
    w = 0.0
    for v in x:
        losses.append((w - v) ** 2)
        w += 0.1 * (v - w)
    return np.mean(losses), sum(losses), max(losses), losses[-1], np.mean(losses[-3:])


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def list_cleared_now_and_then(x):
    batch, sums = [], []
    for v in x:
        batch.append(v)
        if len(batch) == 4:
            sums.append(sum(batch))
            batch = []
    return np.array(sums), len(batch)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def written_at_the_end_of_a_list(x):
    ys = [0.0]
    for v in x:
        ys[-1] += v
        ys.append(ys[-1] * 0.5)
    return np.array(ys)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def array_of_a_list_of_tuples(x):
    out = [(0.0, 1.0)]
    for v in x:
        p, q = out[-1]
        out.append((0.5 * p + v, 0.9 * q - p))
    p, q = zip(*out)
    return np.array(p), np.array(out)[:, 1], q[-1]
