"""Programs that may be refused, but not be wrong."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np

from tests.tracing.branches.corpus import either

X = np.arange(1.0, 4.0)


def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


@either((5,), (1,))
def recursion(n):
    return factorial(n)


@either((X, 2.0), (X, 0.0))
def sum_of_some(x, s):
    return sum(v for v in x if v > s)


@either((X, 2.0), (X, 0.0))
def count_of_some(x, s):
    return len([v for v in x if v > s])


def positives(x, s):
    for v in x:
        if v > s:
            yield v


@either((X, 2.0), (X, 0.0))
def generator_that_branches(x, s):
    total = 0.0
    for v in positives(x, s):
        total += v
    return total


@either((X, 1.0), (X, 2.5))
def first_that_fits(x, s):
    return next(v for v in x if v > s)


@either((X, 3.0), (X, 1.0))
def maximum_by_key(x, s):
    return max(x, key=lambda v: -abs(v - s) if v > 1 else -100.0)


@either((3.0, 1.0, 2.0), (1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
def sorted_by_python(a, b, c):
    rows = sorted([a, b, c])
    return rows[0] if rows[2] > 2 and a > 2 else rows[1]


@either((4, 1.0), (2, -1.0))
def range_of_a_traced_number(n, x):
    total = 0.0
    for i in range(n):
        if x > 0:
            total += i
    return total


@either((X, 5.0), (X, 1.0))
def filled_while(x, s):
    """A queue that grows and shrinks by numbers."""
    waiting = deque()
    done = 0
    for v in x:
        waiting.append(v)
        if v > s:
            waiting.popleft()
            done += 1
    return done + len(waiting)


@either((X, 1.0), (X, -1.0))
def list_emptied(x, s):
    rows = [x, x * 2]
    if s > 0:
        rows.clear()
    total = 0.0
    for row in rows:
        total = total + row.sum()
    return total


@either((X, 1.0), (X, -1.0))
def keys_of_a_dict(x, s):
    table = {"a": x}
    if s > 0:
        table["b"] = x * 2
    return sum(v.sum() for v in table.values())


@either((X, 1.0), (X, -1.0))
def has_attribute(x, s):
    class Thing:
        pass

    thing = Thing()
    if s > 0:
        thing.extra = 5.0
    return x * getattr(thing, "extra", 1.0)


@either((X, 1.0), (X, -1.0))
def is_the_same_object(x, s):
    y = x if s > 0 else x.copy()
    return x * 2 if y is x else x * 3


@either((X, 1.0), (X, -1.0))
def length_of_a_text(x, s):
    text = "yes" if s > 0 else "no"
    return x * len(text)


@either((X, 1.0), (X, -1.0))
def type_by_side(x, s):
    n = 1 if s > 0 else 1.0
    return x * (2 if isinstance(n, int) else 3)


@either((X, 1.0), (X, -1.0))
def int_that_becomes_a_float(x, s):
    n = 3
    if s > 0:
        n = n / 2
    return x * (n // 2), n


@either((X, 1.0), (X, -1.0))
def iterators_of_tools(x, s):
    counter = itertools.count()
    for v in x:
        if v * s > 1:
            next(counter)
    return next(counter)


@either((X, 1.0), (X, -1.0))
def popped_in_a_side(x, s):
    rows = [x, x * 2, x * 3]
    y = rows.pop() if s > 0 else rows[0]
    return y + len(rows)


@either((X, 1.0), (X, -1.0))
def alias_through_a_list(x, s):
    rows = [np.zeros(3), np.ones(3)]
    if s > 0:
        rows[0] = rows[1]
    rows[1] += x
    return rows[0]


@either((X, 1.0), (X, -1.0))
def alias_of_a_list(x, s):
    a, b = [x], [x * 2]
    if s > 0:
        b = a
    b[0] = x * 5
    return a[0]


@either((X, 1.0), (X, -1.0))
def view_of_what_is_replaced(x, s):
    """The view stays one of the old array."""
    base = x * 1
    view = base[:2]
    if s > 0:
        base = base + 1
    base[0] = 50
    return view


@either((X, 1.0), (X, -1.0))
def view_of_one_side(x, s):
    base = x * 1
    view = base[1:] if s > 0 else base[:2]
    base[0] = 50
    return view


@either((X, 1.0), (X, -1.0))
def closure_made_in_a_side(x, s):
    k = 2.0
    f = None
    if s > 0:
        f = lambda v: v * k
    k = 5.0
    return x if f is None else f(x)


@either((X, 1.0), (X, -1.0))
def caught_where_it_is_raised(x, s):
    class Stop(Exception):
        pass

    total = 0.0
    try:
        for v in x:
            total += v
            if total > 2 and s > 0:
                raise Stop
    except Stop:
        total = -total
    return total


@either((4.0, 2.0), (4.0, 0.0), (-4.0, 2.0))
def divided_by_zero_in_one_side(a, b):
    ok = b != 0
    q = a / b if ok else 0.0
    if a < 0:
        q = -q
    return q


@either((X, 1.0), (X, -1.0))
def attributes_by_name(x, s):
    class Box:
        def __init__(self):
            self.low, self.high = 0.0, 0.0

    box = Box()
    setattr(box, "low" if s > 0 else "high", 3.0)
    return x * box.low + box.high


@either((X, 1.0), (X, -1.0))
def changes_through_vars(x, s):
    class Box:
        pass

    box = Box()
    box.value = 1.0
    if s > 0:
        vars(box)["value"] = 5.0
        box.__dict__.update(value=box.value + 1)
    return x * box.value


@either((X, 1.0), (X, -1.0))
def truth_of_an_object(x, s):
    class Account:
        def __init__(self, balance):
            self.balance = balance

        def __bool__(self):
            return bool(self.balance > 0)

    return x * 2 if Account(s) else x


@either(([1.0, 2.0], 2.0), ([1.0, 3.0], 2.0))
def is_in_a_list(items, wanted):
    if wanted in items:
        return items.index(wanted)
    return -1


@either((X, 1.0), (X, -1.0))
def exec_of_text(x, s):
    names = {}
    exec("def f(x, s):\n    if s > 0:\n        return x * 2\n    return x\n", names)
    return names["f"](x, s) * (2 if s > 0 else 3)


@either((X, 1.0), (X, -1.0))
def different_dtypes(x, s):
    """Arrays of integers on one side, of floats on the other."""
    y = x.astype(int)
    if s > 0:
        y = y / 2
    return y


@either((np.arange(3), 1.0), (np.arange(3), -1.0))
def integers_become_floats_in_a_loop(x, s):
    while x.sum() > s:
        x = x / 2 - 1
    return x


@either((3,), (0,), (7,))
def match_statement(kind):
    match kind:
        case 0:
            return 1.0
        case 3:
            return 2.0
        case _:
            return 3.0


@either((5,), (0,), (1,), (12,), (-1,))
def match_with_guards(n):
    match n:
        case 0 | 1:
            return 1
        case v if v > 10:
            return v * 2
        case v if v < 0:
            return -v
        case other:
            return other + 100


@either((X, 1.0), (X, -1.0))
def a_file_in_a_side(x, s):
    if s > 0:
        with open(__file__) as file:
            return x * len(file.readline())
    return x
