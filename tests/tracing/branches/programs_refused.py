"""Programs whose sides do not fit together: each must be an error that says what is in the way, and never a wrong number."""

from __future__ import annotations

import enum
import io
from collections import deque

import numpy as np

from tests.tracing.branches.corpus import refused, refused_method

X = np.arange(1.0, 4.0)


# Arrays and numbers of different forms.


@refused("shape", (X, 1.0), (X, -1.0))
def shapes_by_side(x, s):
    y = x[:2] if s > 0 else x
    return y * 2


@refused("shape", (X, 1.0), (X, -1.0))
def number_or_array(x, s):
    if s > 0:
        total = x.sum()
    else:
        total = x
    return total


@refused("shape", (X, 1.0), (X, -1.0))
def results_of_different_shapes(x, s):
    if s > 0:
        return x.reshape(3, 1)
    return x


@refused("shape", (X,), (X / 100,))
def array_that_grows_in_a_loop(x):
    while x.sum() < 20:
        x = np.concatenate([x, x])
    return x.max()


@refused("shape", (X, 1.0), (X, -1.0))
def shape_from_a_branch(x, s):
    n = 2 if s > 0 else 3
    return np.zeros(n) + x.sum()


@refused("length", (X, 1.0), (X, -1.0))
def slice_from_a_branch(x, s):
    n = len(x) if s > 0 else 1
    return x[:n].sum()


@refused("dtype", (X, 1.0), (X, -1.0))
def dtype_by_side(x, s):
    dtype = np.float32 if s > 0 else np.float64
    return x.astype(dtype)


# None, texts, functions and objects.


@refused("None", (X, 1.0), (X, -1.0))
def none_or_array(x, s):
    best = None
    if s > 0:
        best = x * 2
    return best


@refused("None", (X, 1.0), (X, -1.0))
def falls_off_the_end(x, s):
    if s > 0:
        return x * 2


@refused("None", (X, 2.0), (X, 9.0))
def found_or_none(x, wanted):
    for i in range(len(x)):
        if x[i] == wanted:
            return i
    return None


@refused("last", (X,), (X * 100,))
def none_before_a_while(x):
    last = None
    while x.sum() < 100:
        last = x
        x = x * 2
    return x if last is None else last


@refused("label", (X, 1.0), (X, -1.0))
def texts_by_side(x, s):
    label = "up" if s > 0 else "down"
    return x, label


@refused("mode", (X, 1.0), (X, -1.0))
def text_that_decides_later(x, s):
    mode = "idle"
    if s > 0:
        mode = "run"
    if mode == "run":
        x = x * 2
    return x


class Phase(enum.Enum):
    REST = 0
    MOVE = 1


@refused("phase", (X, 1.0), (X, -1.0))
def enumerations_by_side(x, s):
    phase = Phase.MOVE if s > 0 else Phase.REST
    return x * 2 if phase is Phase.MOVE else x


@refused("activation", (X, 1.0), (X, -1.0))
def functions_by_side(x, s):
    activation = np.tanh if s > 0 else np.exp
    return activation(x)


@refused("scale", (X, 1.0), (X, -1.0))
def lambdas_by_side(x, s):
    if s > 0:
        scale = lambda v: v * 2
    else:
        scale = lambda v: v + s
    return scale(x)


class Fast:
    def __init__(self, x):
        self.x = x


class Slow(Fast):
    pass


@refused("mover", (X, 1.0), (X, -1.0))
def classes_by_side(x, s):
    mover = Fast(x) if s > 0 else Slow(x)
    return mover.x * (2 if isinstance(mover, Slow) else 1)


@refused("key", ({"a": X, "b": -X}, 1.0), ({"a": X, "b": -X}, -1.0))
def key_by_side(table, s):
    key = "a" if s > 0 else "b"
    return table[key] * 2


@refused("name", (X, 2.0), (X, 0.0))
def text_of_a_loop_that_is_left(x, s):
    for name in ("first", "second"):
        if s > 1:
            break
        s += 1
    return x * 2 if name == "first" else x


# Names, lists and dicts that there are on one side only.


@refused("scale", (X, 1.0))
def set_on_one_side_only(x, s):
    if s > 0:
        scale = x.max()
    return x * scale


@refused("y", (X, 1.0))
def deleted_on_one_side(x, s):
    y = x * 2
    if s < 0:
        del y
    return y


@refused("kept", (X, 1.0), (X, -1.0))
def length_of_a_list(x, s):
    kept = [x[0]]
    if s > 0:
        kept.append(x[1])
    return x.sum() / len(kept)


@refused("kept", (X, 1.0), (X, 2.0))
def list_of_some(x, s):
    kept = []
    for v in x:
        if v > s:
            kept.append(v)
    return np.array(kept)


@refused("out", (X, 1.0), (X, 100.0))
def list_until_a_break(x, s):
    out = []
    for v in x:
        out.append(v * 2)
        if v > s:
            break
    return out


@refused("trail", (1.0,), (50.0,))
def list_of_a_while_loop(x):
    trail = []
    while x < 20:
        x = x * 2
        trail.append(x)
    return sum(trail)


@refused("recent", (X, 1.0), (X, -1.0))
def deque_on_one_side(x, s):
    recent = deque([x[0]], maxlen=3)
    if s > 0:
        recent.append(x[1])
    return sum(recent) / len(recent)


@refused("seen", (X, 1.0), (X, -1.0))
def set_that_grows(x, s):
    seen = set()
    if s > 0:
        seen.add("positive")
    return x * len(seen)


@refused("extra", (X, 1.0), (X, -1.0))
def key_on_one_side(x, s):
    out = {"x": x}
    if s > 0:
        out["extra"] = x * 2
    return out


@refused("state", ({"x": X, "old": X}, 1.0), ({"x": X, "old": X}, -1.0))
def key_taken_away(state, s):
    if s > 0:
        state.pop("old")
    return state["x"] * len(state)


@refused("rows", (X, 1.0), (X, -1.0))
def results_of_different_lengths(x, s):
    rows = (x,) if s > 0 else (x, x)
    return rows


# Objects.


@refused_method("step", "velocity", (X, 1.0), (X, -1.0))
class AttributeOnOneSide:
    def step(self, x, s):
        if s > 0:
            self.velocity = x
        return x


@refused_method("step", "cache", (X, 1.0), (X, -1.0))
class AttributeThatIsNone:
    def __init__(self):
        self.cache = None

    def step(self, x, s):
        self.cache = x if s > 0 else None
        return x * 2


@refused_method("step", "mode", (X, 1.0), (X, -1.0))
class AttributeOfText:
    def __init__(self):
        self.mode = "off"

    def step(self, x, s):
        if s > 0:
            self.mode = "on"
        return x


class Side:
    def __init__(self):
        self.count = 0


@refused_method("insert", "side", (1.0,), (-1.0,))
class ObjectsBySide:
    """A tree's way: one of two objects is changed behind the branch."""

    def __init__(self):
        self.left, self.right = Side(), Side()

    def insert(self, x):
        side = self.left if x > 0 else self.right
        side.count += 1
        return self.left.count - self.right.count


# Arrays that are one and the same on one side only, and are stored into.


@refused("rows", ([X, X], [-X, -X], 1.0), ([X, X], [-X, -X], -1.0))
def lists_by_side(first, second, s):
    rows = first if s > 0 else second
    rows[0] = np.zeros(3)
    return first[0] + second[0]


# What cannot be undone.


@refused("numbers", (X, 1.0), (X, -1.0))
def iterator_in_a_side(x, s):
    numbers = iter([1.0, 2.0, 3.0])
    if s > 0:
        next(numbers)
    return x * next(numbers)


@refused("lines", (X, 1.0), (X, -1.0))
def generator_in_a_side(x, s):
    lines = (10.0 + i for i in range(3))
    if s > 0:
        for line in lines:
            x = x + line
            break
    return x + sum(lines)


@refused("except", (X, 1.0), (X, -1.0))
def raises_and_catches(x, s):
    try:
        if s < 0:
            raise ValueError("negative")
        return x * s
    except ValueError:
        return x


@refused("log", (X, 1.0), (X, -1.0))
def writes_in_a_side(x, s):
    log = io.StringIO()
    if s > 0:
        log.write("positive")
    return x * len(log.getvalue())


def numbered():
    yield 1.0
    yield 2.0


@refused("source", (X, 1.0), (X, -1.0))
def generator_kept_over_a_branch(x, s):
    source = numbered()
    y = x * next(source) if s > 0 else x
    return y + next(source)
