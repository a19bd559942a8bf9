"""First steps that are unlike the others, and types that settle behind them."""

from __future__ import annotations

import numpy as np

from tests.tracing.long_loops.corpus import program


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def nothing_before_the_first_step(x):
    prev = None
    out = []
    for v in x:
        if prev is None:
            out.append(v)
        else:
            out.append(v - 0.5 * prev)
        prev = v
    return np.array(out)


@program(lambda a: (a.normal(a.n, 3), a.weights(3, 4), a.weights(4, 4)), gradient=(0, 1, 2))
def state_that_is_none_at_first(xs, W, U):
    h = None
    for x in xs:
        h = np.tanh(x @ W if h is None else x @ W + h @ U)
    return h


@program(lambda a: (a.normal(a.n),))
def nothing_until_something_is_found(x):
    best = None
    for v in x:
        if best is None or v > best:
            best = v
    return best


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def none_in_two_steps(x):
    a = b = None
    total = 0.0
    for v in x:
        if a is not None and b is not None:
            total += a * b * v
        a, b = v, a
    return total


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def python_zero_that_becomes_an_array(xs):
    s = 0
    for x in xs:
        s = 0.5 * s + x
    return s


@program(lambda a: (a.normal(a.n, 3),), gradient=(0,))
def python_float_that_becomes_an_array_in_place(xs):
    s = 0.0
    kept = []
    for x in xs:
        s += x
        kept.append(s.sum())
    return s, np.array(kept)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def int_that_becomes_a_float(x):
    s = 0
    last = 1
    for v in x:
        last = s
        s = s + v / 2
    return s, last


@program(lambda a: (a.integers(9, a.n),))
def int_that_becomes_a_float_by_dividing(x):
    m = 0
    for n in range(len(x)):
        m = (m * n + x[n]) / (n + 1)
    return m


@program(lambda a: (a.normal(a.n),))
def float32_meets_python_floats(x):
    x = x.astype(np.float32)
    s = 0.0
    y = np.zeros(len(x), dtype=np.float32)
    for n in range(len(x)):
        s = s * 0.9 + x[n] * 0.1
        y[n] = s
    return y, s


@program(lambda a: (a.normal(a.n), a.normal(a.n).astype(np.float32)))
def float32_becomes_float64(x, y):
    s = np.float32(0)
    steps = []
    for u, v in zip(x, y):
        s = s * v + u
        steps.append(s)
    return s, np.array(steps)


@program(lambda a: (a.normal(a.n).astype(np.float32), a.normal(a.n)))
def float64_in_the_first_step_only(x, y):
    s = y[0]
    for v in x:
        s = np.float32(s) * np.float32(0.5) + v
    return s


@program(lambda a: (a.normal(a.n),))
def real_that_becomes_complex(x):
    z = 0.0
    zs = []
    for v in x:
        z = (z + v) * np.exp(0.3j)
        zs.append(z)
    return np.array(zs), z


@program(lambda a: (a.normal(a.n),))
def bool_that_becomes_an_int(x):
    count = False
    for v in x:
        count = count + (v > 0)
    return count


@program(lambda a: (a.normal(a.n, 4),), gradient=(0,))
def scalar_that_becomes_a_row(xs):
    """Shapes change in the first step, and then no more."""
    h = np.zeros(1)
    for x in xs:
        h = np.tanh(h + x)
    return h


@program(lambda a: (a.normal(a.n),), gradient=(0,), sizes=(3, 12, 30))
def array_that_grows(x):
    y = np.array([])
    for v in x:
        y = np.append(y, v + y.sum())
    return y


@program(lambda a: (a.normal(a.n, 2),), gradient=(0,), sizes=(3, 12, 30))
def array_that_is_stacked_up(xs):
    y = np.zeros((0, 2))
    for x in xs:
        y = np.vstack([y, x * (1 + len(y))])
    return y


@program(lambda a: (a.normal(2 * a.n),), gradient=(0,), sizes=(3, 8, 20))
def array_that_shrinks(x):
    s = 0.0
    for _ in range(len(x) // 2):
        s = 0.5 * s + x[0] * x[-1]
        x = x[1:-1]
    return s


@program(lambda a: (a.normal(64), a.n), static=(1,), sizes=(3, 5, 6))
def array_that_is_halved(x, steps):
    for _ in range(steps):
        x = x[0::2] + x[1::2]
    return x


@program(lambda a: (a.normal(2, 3), a.n), static=(1,), gradient=(0,))
def shape_that_goes_back_and_forth(m, steps):
    for _ in range(steps):
        m = 0.9 * m.T + 0.1
    return m


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def first_and_last_by_flags(x):
    first, out = True, []
    for v in x:
        if first:
            s, first = v, False
        else:
            s = 0.5 * s + v
        out.append(s)
    return np.array(out)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def warm_up_by_a_list_that_fills(x):
    window = []
    y = []
    for v in x:
        window.append(v)
        if len(window) > 4:
            window.pop(0)
        y.append(sum(window) / len(window))
    return np.array(y)


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def function_set_in_the_first_step(x):
    f = np.sin
    s = 0.0
    for v in x:
        s = 0.5 * s + f(v)
        f = np.cos
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def text_that_changes(x):
    mode = "attack"
    s = 0.0
    for n, v in enumerate(x):
        if mode == "attack":
            s += v
            if n == 6:
                mode = "decay"
        else:
            s *= 0.9
    return s, mode


@program(lambda a: (a.normal(a.n),))
def initialised_by_an_empty_list(x):
    state = []
    for v in x:
        if not state:
            state.append(v)
        else:
            state[0] = 0.5 * state[0] + v
    return state


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def attribute_made_in_the_first_step(x):
    class Filter:
        def __call__(self, v):
            if not hasattr(self, "s"):
                self.s = v
            self.s = 0.7 * self.s + 0.3 * v
            return self.s

    f = Filter()
    y = np.array([f(v) for v in x])
    for v in x[::-1]:
        last = f(v)
    return y, last


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def same_dtype_only_behind_two_steps(x):
    """An int, then another int, then a float."""
    a, b, c = 0, 1, 2
    for v in x:
        a, b, c = b, c, c + v
    return a, b, c


@program(lambda a: (a.normal(a.n),))
def number_or_array_by_step(x):
    s = 0.0
    for n in range(len(x)):
        s = s + x[n] if n % 2 else s + x[n : n + 1]
    return s


@program(lambda a: (a.normal(a.n),), gradient=(0,))
def settles_in_the_fourth_step(x):
    level = 0
    s = 0.0
    for v in x:
        s = s + v * level
        level = min(level + 1, 3)
    return s, level


@program(lambda a: (np.abs(a.normal(a.n)),))
def infinity_and_nan_at_first(x):
    low, mean = np.inf, np.nan
    for v in x:
        low = v if v < low else low
        mean = v if np.isnan(mean) else 0.9 * mean + 0.1 * v
    return low, mean
