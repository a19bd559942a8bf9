"""What Python does beside computing, in one side: as in NumPy, or an error, and never on both sides."""

from __future__ import annotations

import array
import copy
import itertools
import random

import numpy as np

from tests.tracing.branches.corpus import either

X = np.arange(1.0, 4.0)


def numbered():
    yield 1.0
    yield 2.0


@either((X, 1.0), (X, -1.0))
def numbers_of_an_iterator(x, s):
    source = iter([1.0, 2.0])
    if s > 0:
        next(source)
    return x * next(source)


@either((X, 1.0), (X, -1.0))
def numbers_of_a_counter(x, s):
    source = itertools.count()
    if s > 0:
        next(source)
    return x * next(source)


@either((X, 1.0), (X, -1.0))
def enumerated_in_a_side(x, s):
    rest = enumerate(x)
    if s > 0:
        for i, v in rest:
            x = x + i
            break
    return x + sum(v for _, v in rest)


@either((X, 1.0), (X, -1.0))
def bytes_that_grow(x, s):
    data = bytearray(b"a")
    if s > 0:
        data.append(3)
    return x * len(data)


@either((X, 1.0), (X, -1.0))
def array_module(x, s):
    data = array.array("d", [1.0])
    if s > 0:
        data[0] = 2.0
    return x * data[0]


@either((X, 1.0), (X, -1.0))
def attribute_of_a_function(x, s):
    def f():
        return 0

    f.count = 1
    if s > 0:
        f.count = 2
    return x * f.count


class Settings:
    rate = 1.0


@either((X, 1.0), (X, -1.0))
def attribute_of_a_class(x, s):
    Settings.rate = 1.0
    if s > 0:
        Settings.rate = 2.0
    return x * Settings.rate


class Slotted:
    __slots__ = ("count",)

    def __init__(self):
        self.count = 1


@either((X, 1.0), (X, -1.0))
def slots(x, s):
    item = Slotted()
    if s > 0:
        item.count = 2
    return x * item.count


@either((X, 1.0), (X, -1.0))
def generator_of_numpy(x, s):
    rng = np.random.default_rng(0)
    if s > 0:
        rng.normal()
    return x * rng.normal()


@either((X, 1.0), (X, -1.0))
def generator_of_python(x, s):
    rng = random.Random(0)
    if s > 0:
        rng.random()
    return x * rng.random()


@either((X, 1.0), (X, -1.0))
def array_of_numbers_alone(x, s):
    """Known numbers are stored into a known array, on one side."""
    table = np.arange(3.0)
    if s > 0:
        table[0] = 7.0
        table.sort()
    return x * table


@either((X, 1.0), (X, -1.0))
def array_of_objects(x, s):
    table = np.array([1, "a", None], dtype=object)
    if s > 0:
        table[0] = 5
    return x * table[0]


@either((X, 1.0), (X, -1.0))
def structured_array(x, s):
    table = np.zeros(2, dtype=[("a", float), ("b", int)])
    if s > 0:
        table["a"][0] = 5
    return x * table["a"][0]


@either((X, 1.0), (X, -1.0))
def set_of_numbers(x, s):
    seen = {1}
    if s > 0:
        seen |= {2}
    return x * len(seen)


@either((X, 1.0), (X, -1.0))
def list_sorted_in_a_side(x, s):
    rows = [3, 1, 2]
    if s > 0:
        rows.sort()
        rows[2] = 10
    return x * rows[0] + rows[2]


@either((X, 1.0), (X, -1.0))
def list_of_lists(x, s):
    rows = [[1.0, 2.0], [3.0]]
    if s > 0:
        rows[0][1] = 5.0
        rows[1] += [4.0]
        rows[1].pop()
    return x * rows[0][1] + rows[1][0]


@either((X, 1.0), (X, -1.0))
def dict_updated(x, s):
    table = {"a": 1.0, "b": 2.0}
    if s > 0:
        table.update(a=5.0)
        table["b"] = table.setdefault("b", 9.0) + table.get("c", 1.0)
    return x * table["a"] + table["b"]


@either((X, 1.0), (X, -1.0))
def order_of_a_dict(x, s):
    table = {"a": 1.0, "b": 2.0}
    if s > 0:
        table["a"] = table.pop("a")
    return x * (1 if next(iter(table)) == "a" else 2)


@either((X, 1.0), (X, -1.0))
def deep_copy_in_a_side(x, s):
    state = {"w": np.zeros(3), "steps": [1, 2]}
    saved = copy.deepcopy(state)
    if s > 0:
        saved = copy.deepcopy(state)
        state["w"] += x
        state["steps"][0] = 7
    return state["w"] - saved["w"], state["steps"][0] - saved["steps"][0]
