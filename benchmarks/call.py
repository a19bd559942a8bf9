"""What a call costs: functions that do next to nothing, their arguments flat and nested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import irdl
from benchmarks.measure import Job, Task, Unavailable

ROWS = {
    "four arrays": 4,
    "nested lists of 12": 12,
    "dict of 12": 12,
    "captured weights": 4,
    "300 captured": 301,
    "method": 3,
    "named tuple": 3,
    "dataclass": 3,
    "not contiguous": 2,
    "store": 2,
    "a row of 8 MB": 2,
}
MODES = ("call",)
PEERS = ("irdl", "numpy", "jax")


def work(row: str, mode: str) -> tuple[float, str]:
    return 1.0, "calls"


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class Record:
    first: Any
    second: Any


class Layer:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        return x + self.first + self.second


def store(x, y):
    x[...] = y
    return y + y


def store_row(rows, x, i):
    rows[i] = x


def total(leaves):
    result = leaves[0]
    for leaf in leaves[1:]:
        result = result + leaf
    return result


def make(task: Task) -> Job:
    arrays = [np.full((4, 4), place, np.float32) for place in range(ROWS[task.row])]
    expected = [total(arrays).astype(np.float64)]
    if task.peer == "jax":
        import jax

        arrays, jit = [jax.numpy.asarray(a) for a in arrays], jax.jit
    else:
        jit = irdl.jit if task.peer == "irdl" else lambda f: f
    if task.row == "four arrays":
        f = jit(lambda a, b, c, d: a + b + c + d)
        return Job(lambda: f(*arrays), lambda y: [np.asarray(y)], expected)
    if task.row == "nested lists of 12":
        nested = [arrays[:3], [arrays[3:6], arrays[6:9]], arrays[9:]]
        f = jit(lambda p: total([*p[0], *p[1][0], *p[1][1], *p[2]]))
        return Job(lambda: f(nested), lambda y: [np.asarray(y)], expected)
    if task.row == "dict of 12":
        named = {f"layer{place}": array for place, array in enumerate(arrays)}
        f = jit(lambda p: total(list(p.values())))
        return Job(lambda: f(named), lambda y: [np.asarray(y)], expected)
    if task.row in ("captured weights", "300 captured"):
        captured = arrays[1:]
        f = jit(lambda a: total([a, *captured]))
        return Job(lambda: f(arrays[0]), lambda y: [np.asarray(y)], expected)
    if task.peer == "jax" and task.row in ("not contiguous", "store", "a row of 8 MB", "dataclass"):
        raise Unavailable("arrays that lie otherwise, stores and unregistered classes are not JAX's")
    if task.row == "method":
        layer = Layer(*arrays[1:])
        f = jit(layer.forward)
        return Job(lambda: f(arrays[0]), lambda y: [np.asarray(y)], expected)
    if task.row in ("named tuple", "dataclass"):
        pair = (Pair if task.row == "named tuple" else Record)(*arrays[1:])
        f = jit(lambda x, p: x + p.first + p.second)
        return Job(lambda: f(arrays[0], pair), lambda y: [np.asarray(y)], expected)
    if task.row == "not contiguous":
        f = jit(lambda x, y: x + y)
        return Job(lambda: f(arrays[0].T, arrays[1]), lambda y: [np.asarray(y)], expected)
    if task.row == "a row of 8 MB":
        rows, x = np.zeros((2048, 1024), np.float32), np.ones(1024, np.float32)
        f = jit(store_row)
        return Job(lambda: f(rows, x, 7), lambda _: [rows[7]], [x.astype(np.float64)])
    f = jit(store)
    return Job(lambda: f(arrays[0], arrays[1]), lambda y: [np.asarray(y)], [2.0 * arrays[1].astype(np.float64)])
