"""Arrays with two names, on one side or on both, that are stored into: NumPy's answer, or an error where there is more than names."""

from __future__ import annotations

import numpy as np

from tests.tracing.branches.corpus import either, either_method, program

X = np.arange(1.0, 4.0)


@program((X, 1.0), (X, -1.0))
def argument_or_copy(a, s):
    b = a if s > 0 else a.copy()
    b[0] = 100
    return a


@program((X, 2 * X, 1.0), (X, 2 * X, -1.0))
def one_or_the_other(a, c, s):
    b = a if s > 0 else c
    b += 1
    return a, c


@program((X, 1.0), (X, -1.0))
def view_or_copy(x, s):
    if s > 0:
        y = x[1:]
    else:
        y = x[1:].copy()
    y *= 2
    return x


@program((X, 2 * X, 1.0), (X, 2 * X, -1.0))
def exchanged_then_stored_into(a, b, s):
    if s > 0:
        a, b = b, a
    a[0] = 100
    return b


@program((X, 1.0), (X, -1.0))
def in_place_or_anew(w, s):
    """On one side w is the caller's array still, on the other a new one; then it is stored into."""
    if s > 0:
        w -= 1
    else:
        w = w - 1
    w[0] = 5
    return w.sum()


@either_method("step", (X, 1.0), (X, -1.0))
class SharedOnOneSide:
    def __init__(self):
        self.slow, self.fast = np.zeros(3), np.ones(3)

    def step(self, x, s):
        if s > 0:
            self.fast = self.slow
        self.fast += x
        return self.slow.sum()


@either((X, 1.0), (X, -1.0))
def two_parts(x, s):
    part = x[1:] if s > 0 else x[:2]
    part[0] = 50
    return x


@either((X, 1.0), (X, -1.0))
def part_chosen_again(x, s):
    part = x[1:]
    if s > 0:
        part = x[:2]
    part += 50
    return x, part


@either((X.reshape(3, 1) * X, 1.0), (X.reshape(3, 1) * X, -1.0))
def one_of_two_rows(x, s):
    row = x[0] if s > 0 else x[1]
    row += 50
    return x


@either((X, 1.0), (X, -1.0))
def part_of_what_changes(x, s):
    base = x * 1
    part = base[1:] if s > 0 else base[:2]
    base[:] = 50
    return part


@either((X, 1.0), (X, -1.0))
def part_or_copy_of_what_changes(x, s):
    part = x[1:] if s > 0 else x[1:].copy()
    x[1] = 50
    return part


def chosen_part(x, s):
    if s > 0:
        return x[:2]
    return x[1:]


@either((X, 1.0), (X, -1.0))
def part_that_a_helper_chooses(x, s):
    part = chosen_part(x, s)
    x[0], x[1] = 7, 9
    return part


@either((X, 2.0), (X, 0.0))
def part_of_a_loop(x, s):
    """The last one that was large is marked."""
    place = x[:1]
    for i in range(3):
        if x[i] > s:
            place = x[i : i + 1]
    place[0] = -1
    return x


@either((X, 1.0), (X, 2.0), (X, 5.0))
def names_that_change_places(x, s):
    """Two buffers, one read and one written, in a loop of a length that is not known."""
    a, b = np.zeros(3), np.ones(3)
    while s < 3:
        b += x
        a, b = b, a
        s += 1
    a[0] = 77
    return a, b


@either((X, 1.0), (X, 5.0))
def one_array_from_a_step_on(x, s):
    a, b = np.zeros(3), np.ones(3)
    for v in x:
        if v > s:
            b = a
        b += v
    return a, b


@either((X, 1.0), (X, -1.0))
def attribute_of_a_local_object(x, s):
    class Pair:
        def __init__(self):
            self.a, self.b = np.zeros(3), np.ones(3)

    pair = Pair()
    if s > 0:
        pair.b = pair.a
    pair.b += x
    return pair.a


@either(({"a": X, "b": -X}, 1.0), ({"a": X, "b": -X}, -1.0))
def item_of_a_dict(arrays, s):
    if s > 0:
        arrays["a"] = arrays["b"]
    arrays["a"] += 1
    return arrays["b"]


@either((X, 1.0), (X, -1.0))
def transposed_on_one_side(x, s):
    m = np.outer(x, np.arange(3.0))
    t = m.T if s > 0 else m
    t[0] = 9
    return m


@either((X, 1.0), (X, -1.0))
def reshaped_on_one_side(x, s):
    m = np.zeros((3, 2))
    flat = m.reshape(-1) if s > 0 else m.T.reshape(-1)
    flat[:3] = x
    return m


@either_method("swap", (X, 1.0), (X, -1.0), (X, 1.0))
class DoubleBuffer:
    def __init__(self):
        self.front, self.back = np.zeros(3), np.ones(3)

    def swap(self, x, s):
        self.back += x
        if s > 0:
            self.front, self.back = self.back, self.front
        return self.front * 2


@either_method("keep", (X, 1.0), (X, -1.0), (2 * X, 1.0))
class KeepsWhatItGets:
    """The caller's array itself, and not a copy, on one side."""

    def __init__(self):
        self.kept = np.zeros(3)

    def keep(self, x, s):
        if s > 0:
            self.kept = x
        self.kept += 1
        return x


@either((X, 1.0), (X, -1.0))
def is_the_same_array(x, s):
    y = x if s > 0 else x.copy()
    return x * 2 if y is x else x * 3


# An array that has another name by more than one branch.


@either((X, 1.0, 1), (X, -1.0, 1), (X, 1.0, 0))
def named_in_nested_branches(x, s, k):
    b = x * 1
    if k > 0:
        if s > 0:
            b = x
    b[0] = 9
    return b


@either((X, 1.0, 1), (X, -1.0, 1), (X, 1.0, 0), (X, -1.0, 0))
def named_then_replaced(x, s, k):
    b = x * 1
    if k > 0:
        b = x
    if s > 0:
        b = x + 5
    b[0] = 9
    return b


@either((X, 1.0, 1), (X, -1.0, 1), (X, 1.0, 0), (X, -1.0, 0))
def named_in_an_elif(x, s, k):
    b = x * 1
    if k > 0:
        pass
    elif s > 0:
        b = x
    b[0] = 9
    return b


@either((X, 1.0), (X, -1.0), (X, 2.0))
def named_after_what_is_named(x, s):
    a = x * 1
    if s > 0:
        a = x
    b = a
    if s > 1:
        b = x * 2
    b[0] = 9
    return a


@either((X, 1.0), (X, -1.0), (X, 2.0))
def item_named_and_changed(x, s):
    items = {"a": x * 1}
    if s > 0:
        items["a"] = x
    if s > 1:
        items["a"][1] = 5
    items["a"][0] = 9
    return x


@either((X, 1.0), (X, -1.0), (X, 2.0))
def part_then_replaced(x, s):
    part = x[:2] if s > 0 else x[1:]
    if s > 1:
        part = part + 1
    part[0] = 9
    return x


@either((X, 1.0), (X, -1.0), (X, 2.0))
def part_or_part(x, s):
    part = x[:2] if s > 0 else x[1:]
    other = part if s > 1 else x[:2]
    other[0] = 9
    return x


@either((X, 1.0), (X, -1.0), (X, 0.5))
def named_then_stored_into_in_a_loop(x, s):
    a = x * 1
    if s > 0:
        a = x
    for i in range(2):
        if s > i:
            a[i] = 7
    return x


@either((X, 1.0), (X, -1.0), (X, 2.0))
def named_in_a_while_loop(x, s):
    a = x * 1
    i = 0
    while i < s:
        a = x
        i += 1
    a[0] = 9
    return x


@either((X, 1.0), (X, -1.0), (X, 2.0))
def exchanged_twice(x, s):
    a, b = x * 1, x * 2
    if s > 0:
        a, b = b, a
    if s > 1:
        a, b = b, a
    a[0] = 9
    return b


def either_of(a, b, s):
    if s > 0:
        return a
    return b


@either((X, X + 1, 1.0), (X, X + 1, -1.0), (X, X + 1, 2.0))
def chosen_of_what_is_chosen(x, y, s):
    a = either_of(x, either_of(y, x, s - 1), s)
    a[0] = 9
    return x, y


@either((X, X + 1, 1.0), (X, X + 1, -1.0), (X, X + 1, 2.0))
def changed_after_it_is_chosen(x, y, s):
    a = either_of(x, y, s)
    b = either_of(a, y, s - 1)
    x[1], y[1] = 100, 200
    return a, b


@either((X, -1.0), (X, 1.0), (X, 0.5), (X, 2.5))
def replaced_or_changed(y, t):
    """In each step another array from then on, or a store into the one there is."""
    a = y + 1
    for i in range(3):
        if t > i:
            y = a
        else:
            y[0] -= 1
    return a


@either((X, 1.0), (X, -1.0), (X, 2.0))
def changed_through_the_old_name(x, s):
    a = x * 1
    if s > 0:
        a = x
    x[1] = 100
    if s > 1:
        x = x * 1
    x[2] = 50
    return a
