"""The native entry: what it takes, what it hands back, and that it gives up cleanly on everything else."""

from __future__ import annotations

import copy
import enum
import gc
import os
import subprocess
import sys
import threading
import types
from collections import OrderedDict, defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm.python_call import PythonCall
from irdl.errors import DonationError, TraceError
from irdl.runtime.entry import MISS, layouts_hold
from irdl.testing import assert_close

pytestmark = pytest.mark.skipif(not layouts_hold(), reason="no native entry on this Python")


def entry_of(f, *arguments, **options):
    """The native entry after a first call."""
    f(*arguments, **options)
    assert len(f._entries) == 1, "the call has no native entry"
    return f._entries[0]


X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        (X,),
        (X.astype(np.float32),),
        (np.float32(2.5),),
        (np.int8(-3),),
        (np.uint64(2**63),),
        (np.bool_(True),),
        (2.5,),
        (-7,),
        (True,),
        (False,),
        ([X, (X, {"b": X, "a": 2})],),
        ({"w": [X], "none": None}, X),
        ((),),
        (np.zeros((0, 3)),),
        (np.array(3.0),),
    ],
    ids=repr,
)
def test_takes(arguments):
    def f(*arguments):
        with np.errstate(over="ignore"):
            return [leaf + leaf for leaf in _leaves(arguments)]

    jitted = irdl.jit(f)
    entry = entry_of(jitted, *arguments)
    results, expected = entry(*arguments), f(*arguments)
    assert results is not MISS
    for result, wanted in zip(results, expected, strict=True):
        if not isinstance(wanted, (bool, int, float)):
            assert type(result) is type(wanted) and result.dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted)


def _leaves(tree):
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in _leaves(part)]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in _leaves(tree[key])]
    return [] if tree is None else [tree]


class Subclass(np.ndarray):
    pass


@dataclass
class Pair:
    a: np.ndarray
    b: np.ndarray


def read_only():
    array = X.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "other",
    [
        (X, X),
        (),
        ([X],),
        ((X, X),),
        ([X, X, X],),
        ([X, 1.0],),
        ([X, None],),
        ([X, X.T],),
        ([X, X[:1]],),
        ([X, X.reshape(1, 2, 3)],),
        ([X, X.astype(np.float32)],),
        ([X, X.astype(np.int64)],),
        ([X, X.astype(">f8")],),
        ([X, X.view(Subclass)],),
        ([X, read_only()],),
        ([X, np.frombuffer(b"x" * 49, np.uint8)[1:].view(np.float64).reshape(2, 3)],),
        ({"a": X, "b": X},),
        (None,),
        (Pair(X, X),),
    ],
    ids=range(19),
)
def test_misses(other):
    f = irdl.jit(lambda pair: pair[0] * pair[1])
    assert entry_of(f, [X, X])(*other) is MISS


def test_dicts_and_keywords():
    f = irdl.jit(lambda p, *, scale, shift: p["w"] * scale + shift)
    arguments, options = ({"w": X, "v": X},), {"shift": X, "scale": 2.0}
    entry = entry_of(f, *arguments, **options)
    np.testing.assert_array_equal(entry(*arguments, **options), X * 2 + X)
    np.testing.assert_array_equal(entry({"w": 2 * X, "v": X}, shift=X, scale=2.0), X * 4 + X)
    assert entry({"v": X, "w": 2 * X}, shift=X, scale=2.0) is MISS
    np.testing.assert_array_equal(f({"v": X, "w": 2 * X}, shift=X, scale=2.0), X * 4 + X)
    assert entry({"w": X}, **options) is MISS
    assert entry({"w": X, "u": X}, **options) is MISS
    assert entry(OrderedDict(w=X, v=X), **options) is MISS
    assert entry({"w": X, "v": X}, shift=X) is MISS
    assert entry({"w": X, "v": X}, shift=X, scale=2) is MISS
    assert entry({"w": X, "v": X}, X, 2.0) is MISS
    np.testing.assert_array_equal(f(*arguments, scale=2.0, shift=X), X * 3)


def test_results():
    def f(x):
        return {"b": x + 1, "a": [x.sum(), (x, None)], "c": ()}

    found = entry_of(irdl.jit(f), X)(X)
    assert list(found) == list(f(X)) and type(found["a"][1]) is tuple and found["a"][1][1] is None and found["c"] == ()
    assert type(found["a"][0]) is np.float64
    np.testing.assert_array_equal(found["b"], X + 1)
    made = entry_of(irdl.jit(lambda x: Pair(x, 2 * x)), X)(X)
    assert type(made) is Pair
    np.testing.assert_array_equal(made.b, 2 * X)
    ordered = entry_of(irdl.jit(lambda x: OrderedDict(z=x, a=x)), X)(X)
    assert type(ordered) is OrderedDict and list(ordered) == ["z", "a"]


def test_large_integers_miss():
    f = irdl.jit(lambda n: n + X)
    assert entry_of(f, 3)(2**70) is MISS
    with pytest.raises(OverflowError):
        f(2**70)


def test_an_index_error_is_raised_and_nothing_is_lost():
    f = irdl.jit(lambda x, i: (x[i], x + 1))
    entry = entry_of(f, X, np.int64(1))
    for _ in range(3):
        with pytest.raises(IndexError, match=r"index 7 is out of bounds for axis 0 with size 2.*test_entry"):
            entry(X, np.int64(7))
    np.testing.assert_array_equal(entry(X, np.int64(0))[0], X[0])


weight = np.ones((3, 2))
factor = 2.0


def test_captured_globals_and_closures():
    global weight, factor
    inner = np.full((2, 2), 3.0)

    def f(x):
        return (x @ weight + inner) * factor

    jitted = irdl.jit(f)
    entry = entry_of(jitted, X)
    weight[0, 0] = 5
    np.testing.assert_allclose(entry(X), f(X))
    weight = np.full((3, 2), 7.0)
    np.testing.assert_allclose(entry(X), f(X))
    inner = inner + 1
    np.testing.assert_allclose(entry(X), f(X))
    weight = np.ones((3, 2), np.float32)
    assert entry(X) is MISS
    np.testing.assert_allclose(jitted(X), f(X))
    weight, factor = np.ones((3, 2)), 3.0
    assert entry(X) is MISS
    np.testing.assert_allclose(jitted(X), f(X))


class Model:
    def __init__(self):
        self.weight = np.ones((3, 2))
        self.layers = [np.ones(2)]

    @irdl.jit
    def __call__(self, x):
        return x @ self.weight + self.layers[0]


def test_captured_attributes():
    model = Model()
    expected = X @ model.weight + 1
    np.testing.assert_allclose(model(X), expected)
    bound = Model.__dict__["__call__"].__get__(model)
    entry = bound._entries[0]
    model.layers[0] = np.full(2, 2.0)
    np.testing.assert_allclose(entry(X), expected + 1)
    model.weight = model.weight.astype(np.float32)
    assert entry(X) is MISS
    model.weight = np.asfortranarray(np.ones((3, 2)))
    assert entry(X) is MISS
    np.testing.assert_allclose(model(X), expected + 1)


def test_keeps_no_references():
    @dataclass
    class Out:
        y: np.ndarray

    w = np.ones((3, 2))
    functions = [
        irdl.jit(lambda p, x: {"y": x @ p["w"][0], "s": (x.sum(), None)}),
        irdl.jit(lambda p, x: Out(x @ w)),
        irdl.jit(lambda p, x: x[np.int64(5)]),
    ]
    p = {"w": [np.ones((3, 2))]}
    watched = [p, p["w"], p["w"][0], X, w, None, MISS, "w", np.ndarray]

    def run(count):
        for f in functions:
            for _ in range(count):
                for arguments in ((p, X), (p, X[:1])):
                    try:
                        f(*arguments)
                    except IndexError:
                        assert f is functions[2]

    run(2)
    gc.collect()
    before = [sys.getrefcount(item) for item in watched]
    run(100)
    gc.collect()
    after = [sys.getrefcount(item) for item in watched]
    assert all(abs(a - b) < 50 for a, b in zip(after, before, strict=True)), list(zip(before, after, strict=True))
    result = functions[0](p, X)
    counts = [sys.getrefcount(result["y"]), sys.getrefcount(result["s"])]
    assert counts == [2, 2]  # one more of the call itself


def test_a_list_that_changes_during_the_call():
    f = irdl.jit(lambda ws, x: ((ws[0] @ x) @ x).sum())
    x = np.eye(300)
    ws = [np.ones((300, 300))]
    assert f(ws, x) == 90000
    done = threading.Event()

    def replace():
        while not done.is_set():
            ws[0] = np.ones((300, 300))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        assert all(f(ws, x) == 90000 for _ in range(200))
    finally:
        done.set()
        thread.join()


def test_many_threads_on_one_function():
    f = irdl.jit(lambda x: np.tanh(x @ x).sum(0))
    xs = [np.random.default_rng(seed).standard_normal((64, 64)) for seed in range(8)]
    expected = [f(x) for x in xs]
    wrong = []

    def work(x, wanted):
        for _ in range(200):
            if not np.array_equal(f(x), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(xs, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_each_thread_finds_an_entry_of_its_own():
    f = irdl.jit(lambda x: x @ x.T + 1)
    first = entry_of(f, X)
    # As if other threads were inside.
    for _ in range(6):
        for entry in f._entries:
            entry.__self__[PythonCall.ARENA] = 0
        np.testing.assert_array_equal(f(X), X @ X.T + 1)
    assert len(f._entries) == 4 and first in f._entries  # and the last two calls went through Python
    compiled = irdl.compile(lambda x: x @ x.T + 1)(X)
    for count in (1, 2, 3, 4, 4):
        assert len(compiled.entries) == count
        for entry in compiled.entries:
            entry.__self__[PythonCall.ARENA] = 0
        np.testing.assert_array_equal(compiled(X), X @ X.T + 1)


def test_the_entry_outlives_its_function():
    f = irdl.jit(lambda x: x * 2)
    entry = entry_of(f, X)
    del f
    gc.collect()
    np.testing.assert_array_equal(entry(X), 2 * X)


def test_signatures_take_turns():
    f = irdl.jit(lambda x: x + 1)
    arrays = [np.zeros(n) for n in range(20)]
    for _ in range(3):
        for array in arrays:
            np.testing.assert_array_equal(f(array), array + 1)
    assert f.cache_size() == 20 and len(f._entries) == 16


def test_other_layouts_take_the_way_through_python(monkeypatch):
    monkeypatch.setattr("irdl.runtime.expected.layouts_hold", lambda: False)
    f = irdl.jit(lambda p, x: p["w"] + x)
    np.testing.assert_array_equal(f({"w": X}, X), 2 * X)
    assert not f._entries


def test_builtin():
    entry = entry_of(irdl.jit(lambda x: x), X)
    assert isinstance(entry, types.BuiltinFunctionType)


def test_the_definition_outlives_what_the_collector_clears():
    code = """
import gc, numpy as np, irdl
def make(n):
    f = irdl.jit(lambda x: x * n)
    f(np.ones(3))
for n in range(10):
    make(n + 0.5)
gc.collect()
print("done")
"""
    environment = {**os.environ, "PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "170"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout == "done\n", result


class Holder:
    pass


def test_captured_arrays_are_read_once():
    """Another thread rebinds a captured attribute all the time: a call sees one array or the other, and never half of each."""
    holder = Holder()
    large, small = np.full(200_000, 2.0), np.ones(1)
    f = irdl.jit(lambda x: x + holder.w.sum())
    results = set()
    for holder.w in (large, small):
        results.add(float(f(np.zeros(1))[0]))
    with racing(lambda: setattr(holder, "w", large if holder.w is small else small)):
        for _ in range(3000):
            assert float(f(np.zeros(1))[0]) in results


def test_arguments_in_lists_are_held_while_captured_state_is_read():
    holder = Holder()
    holder.w, holder.a = np.ones(2000), 1.0
    f = irdl.jit(lambda ws, x: ws[0] * holder.w * holder.a + x)
    ws, x = [np.ones(2000)], np.zeros(2000)
    f(ws, x)

    def replace():
        ws[0] = np.ones(2000)
        np.full(2000, 7.0)

    with racing(replace):
        for _ in range(5000):
            assert (f(ws, x) == 1).all()


@contextmanager
def racing(work):
    """Run `work` again and again in another thread, with threads that switch often."""
    done, interval = threading.Event(), sys.getswitchinterval()

    def loop():
        while not done.is_set():
            work()

    thread = threading.Thread(target=loop)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_the_order_of_a_dict_counts():
    f = irdl.jit(lambda p: np.concatenate(list(p.values())))
    a, b = np.zeros(2), np.ones(2)
    for _ in range(2):
        np.testing.assert_array_equal(f({"a": a, "b": b}), [0, 0, 1, 1])
        np.testing.assert_array_equal(f({"b": b, "a": a}), [1, 1, 0, 0])
    g = irdl.jit(lambda **named: np.concatenate(list(named.values())))
    np.testing.assert_array_equal(g(a=a, b=b), [0, 0, 1, 1])
    np.testing.assert_array_equal(g(b=b, a=a), [1, 1, 0, 0])


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_subclasses_and_static_arguments_that_compare_equal():
    f = irdl.jit(lambda a: a * a)
    f(np.ones((2, 2)))
    with pytest.raises(irdl.errors.TraceError, match="matrix"):
        f(np.matrix([[1.0, 2], [3, 4]]))
    g = irdl.jit(lambda x, s: np.copysign(x, s), static_argnums=1)
    assert (g(np.ones(2), 0.0) > 0).all() and (g(np.ones(2), -0.0) < 0).all()
    h = irdl.jit(lambda x, s: x.astype(int) * s[0], static_argnums=1)
    assert h(X, (1, 2)).dtype == np.int64 and h(X, (1.0, 2.0)).dtype == np.float64


def test_a_parameter_named_self_and_copies():
    f = irdl.jit(lambda self, y: self + y)
    np.testing.assert_array_equal(f(self=X, y=X), 2 * X)
    assert copy.deepcopy(f) is f and copy.copy(f) is f


shape_only, activation, pairs = np.zeros((3, 2)), np.tanh, slice(0, 2)


class Settings:
    rate = 2.0


class Scaled:
    scale = 2.0

    def __init__(self):
        self.w = np.ones(3)

    def helper(self, x):
        return x + 1

    def __call__(self, x):
        return self.helper(x) * self.w * self.scale


def test_what_a_trace_takes_for_granted_is_watched():
    global shape_only, activation, pairs
    scaled = Scaled()
    functions = [
        lambda x: x * shape_only.shape[0],
        lambda x: x * len(shape_only),
        lambda x: activation(x),
        lambda x: x[pairs],
        lambda x: x * Settings.rate,
        scaled.__call__,
    ]
    jitted = [irdl.jit(f) for f in functions]

    def check():
        for f, g in zip(functions, jitted, strict=True):
            np.testing.assert_allclose(g(X), f(X), rtol=1e-12)

    check()
    shape_only, activation, pairs, Settings.rate = np.zeros((7, 2)), np.exp, slice(1, 2), 5.0
    check()
    Scaled.scale = 3.0
    check()
    Scaled.helper = lambda self, x: x + 5
    check()
    assert all(f.cache_size() <= 1 for f in jitted)


def test_a_captured_array_of_another_byte_order():
    swapped = np.arange(3.0).astype(">f8")
    f = irdl.compile(lambda x: x + swapped)(X)
    np.testing.assert_array_equal(f(X), X + np.arange(3.0))


class WithProperty:
    w = np.ones(3)

    @property
    @irdl.jit
    def total(self):
        return self.w + 1

    @irdl.jit
    def apply(self, x):
        return x * self.w


def test_a_jitted_property_beside_a_jitted_method():
    np.testing.assert_array_equal(WithProperty().apply(X), X)


def descend(params, x, rate):
    loss, gradient = irdl.value_and_grad(lambda p: ((x @ p["W"] + p["b"]) ** 2).sum())(params)
    return {name: params[name] - rate * gradient[name] for name in params}, loss


def test_donated_arguments():
    """The native entry gives the donated arrays back, and leaves what it must refuse to the way through Python."""
    f = irdl.jit(descend, donate_argnums=0)
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((8, 4)), "b": np.zeros(4)}
    expected = {name: array.copy() for name, array in params.items()}
    x = rng.standard_normal((3, 8))
    entry = entry_of(f, {name: array.copy() for name, array in params.items()}, x, 0.01)
    W, count = params["W"], sys.getrefcount(params["W"])
    for _ in range(50):
        params, loss = entry(params, x, 0.01)
        expected, right = descend(expected, x, 0.01)
        np.testing.assert_allclose(params["W"], expected["W"])
        np.testing.assert_allclose(loss, right)
    assert params["W"] is W
    assert sys.getrefcount(W) == count
    memory = np.zeros(64)
    for overlapping in (
        ({"W": memory[:32].reshape(8, 4), "b": memory[31:35]}, x),
        ({"W": memory[:32].reshape(8, 4), "b": params["b"]}, memory[20:44].reshape(3, 8)),
    ):
        assert entry(*overlapping, 0.01) is MISS
        with pytest.raises(DonationError, match="shares its memory"):
            f(*overlapping, 0.01)
    np.testing.assert_array_equal(memory, 0)
    # Side by side is not overlapping.
    assert entry({"W": memory[:32].reshape(8, 4), "b": memory[32:36]}, memory[36:60].reshape(3, 8), 0.01) is not MISS
    W.flags.writeable = False
    assert entry(params, x, 0.01) is MISS


def test_donated_and_captured():
    weights = np.ones(4)
    f = irdl.jit(lambda x: x * weights, donate_argnums=0)
    entry = entry_of(f, np.ones(4))
    x = np.full(4, 3.0)
    weights *= 2
    assert entry(x) is x and x.tolist() == [6.0] * 4
    assert entry(weights) is MISS


def test_a_donated_array_the_code_cannot_work_in():
    """The result depends on all of what is donated, so it is made elsewhere and copied: no native entry."""
    f = irdl.jit(lambda x: x @ x, donate_argnums=0)
    x = np.arange(9.0).reshape(3, 3)
    expected = x @ x
    assert f(x) is x and not f._entries
    np.testing.assert_allclose(x, expected)


def test_static_arguments_are_recognised_as_objects():
    f = irdl.jit(lambda x, n, *, mode: x * n if mode == "times" else x + n, static_argnums=1, static_argnames="mode")
    entry = entry_of(f, np.ones(3), 3, mode="times")
    assert entry(np.ones(3), 3, mode="times").tolist() == [3.0] * 3
    assert entry(np.ones(3), 3.0, mode="times") is MISS
    assert entry(np.ones(3), 3, mode="plus") is MISS
    assert f(np.ones(3), 3, mode="plus").tolist() == [4.0] * 3
    assert f(np.ones(3), True, mode="times").tolist() == [1.0] * 3
    assert f(np.ones(3), 3, mode="times").tolist() == [3.0] * 3


def test_static_keywords_in_any_place():
    f = irdl.jit(lambda x, *, mode, shift: x * mode + shift, static_argnames="mode")
    x = np.ones(3)
    entry = entry_of(f, x, mode=2, shift=x)
    assert entry(x, mode=2, shift=x).tolist() == [3.0] * 3
    assert f(x, shift=x, mode=3).tolist() == [4.0] * 3


def test_static_numbers_are_recognised_by_value():
    f = irdl.jit(lambda x, n: x * n, static_argnums=1)
    x = np.ones(2)
    entry = entry_of(f, x, 2.5)
    assert entry(x, float("2.5")).tolist() == [2.5] * 2
    assert entry(x, 2) is MISS and entry(x, np.float64(2.5)) is MISS
    entry = entry_of(irdl.jit(lambda x, n: x * n, static_argnums=1), x, 100_000)
    assert entry(x, int("100000")).tolist() == [1e5] * 2
    assert entry(x, 10**30) is MISS and entry(x, True) is MISS
    entry = entry_of(irdl.jit(lambda x, n: x * n, static_argnums=1), x, 0.0)
    assert entry(x, -0.0) is MISS and entry(x, 0.0).tolist() == [0.0] * 2


def test_roles_of_a_method_count_self():
    class Layer:
        @irdl.jit(static_argnums=2)
        def power(self, x, n):
            return x**n

        @irdl.jit(donate_argnums=1)
        def both(self, x, y):
            return x + 1, y + 2

    layer = Layer()
    assert layer.power(np.full(2, 3.0), 2).tolist() == [9.0] * 2
    x, y = np.ones(3), np.ones(3)
    first, second = layer.both(x, y)
    assert first is x and second is not y


class Choice(enum.IntEnum):
    TWICE = 2


def test_enumerations_count_as_numpy_counts_them():
    for dtype in (np.int8, np.float32):
        x = np.ones(3, dtype)
        for result in (irdl.jit(lambda x, n: x * n, static_argnums=1)(x, Choice.TWICE), irdl.jit(lambda x: x * Choice.TWICE)(x)):
            assert result.dtype == (x * Choice.TWICE).dtype
            np.testing.assert_array_equal(result, x * Choice.TWICE)


def many_trees(n: int) -> Any:
    return {
        "layers": [{"w": np.full((2, k % 3 + 1), float(k)), "b": (np.zeros(k % 2), None, np.float32(k))} for k in range(n)],
        "state": (np.array(2.5), [np.arange(3, dtype=np.int8) for _ in range(n)]),
    }


def test_many_arrays_in_trees() -> None:
    """Calls with more arrays than are checked one by one: right results, misses at the first difference, no references lost."""

    def f(trees: Any, scale: Any = 2.0) -> Any:
        layers = [{"w": item["w"] * scale, "n": item["w"].sum()} for item in trees["layers"]]
        return layers, {key: item * 1 for key, item in zip("abcdefghijkl", trees["state"][1], strict=False)}, (None, trees["state"][0] + 1)

    compiled = irdl.jit(f)
    for trees in (many_trees(12), many_trees(30)):
        for _ in range(3):
            assert_close(compiled(trees, 3.0), f(trees, 3.0))
        assert_close(compiled(trees), f(trees))
    trees = many_trees(12)
    other = many_trees(12)
    other["layers"][5]["w"] = np.ones((2, 9))
    reordered = {"state": trees["state"], "layers": trees["layers"]}
    renamed = many_trees(12)
    renamed["layers"][11] = {"w": renamed["layers"][11]["w"], "c": renamed["layers"][11]["b"]}
    tracked = [trees["layers"][5]["w"], trees["layers"], trees, trees["state"][1][11], trees["state"]]
    assert_close(compiled(renamed, 3.0), f(renamed, 3.0))
    before = [sys.getrefcount(item) for item in tracked]
    for _ in range(50):
        for given in (trees, other, reordered, renamed):
            compiled(given, 3.0)
    assert [sys.getrefcount(item) for item in tracked] == before


def test_many_donated_arrays() -> None:
    def step(p: Any, g: Any) -> Any:
        return [a - 0.1 * b for a, b in zip(p, g, strict=True)]

    compiled = irdl.jit(step, donate_argnums=0)
    p, g = [np.full(k + 1, 1.0) for k in range(40)], [np.full(k + 1, 2.0) for k in range(40)]
    expected = p
    for _ in range(4):
        expected = step(expected, g)
        given = list(p)
        p = compiled(p, g)
        assert all(a is b for a, b in zip(p, given, strict=True))
        assert_close(p, expected)
    with pytest.raises(DonationError):
        compiled([*p[:-1], g[-1]], g)


def test_many_arrays_by_other_names() -> None:
    f = irdl.jit(lambda d: {key: item * 2 for key, item in d.items()})
    given = {f"k{place}": np.full(2, float(place)) for place in range(40)}
    renamed = {("other" if key == "k39" else key): item for key, item in given.items()}
    reordered = dict(reversed(given.items()))
    for _ in range(3):
        for arguments in (given, renamed, reordered):
            assert list(f(arguments)) == list(arguments)
            assert_close(f(arguments), {key: item * 2 for key, item in arguments.items()})


class Cell:
    scale = np.full(3, 2.0)

    def __init__(self):
        self.W, self.hidden = np.ones((3, 3)), 3
        self.layers = [{"b": np.zeros(3)}, (np.ones(3), "name")]
        self.itself = self

    def step(self, x):
        return (x @ self.itself.W * self.scale + self.layers[0]["b"] - self.layers[1][0]) * self.hidden

    @irdl.jit
    def decorated(self, x, eps=0.5):
        return self.step(x) + eps


def changes_of(cell):
    yield lambda: setattr(cell, "W", np.full((3, 3), 2.0))
    yield lambda: cell.W.__setitem__((0, 0), 7.0)
    yield lambda: cell.layers[0].__setitem__("b", np.ones(3))
    yield lambda: cell.layers.__setitem__(1, (np.zeros(3), "name"))
    yield lambda: cell.layers.__setitem__(0, {"b": np.full(3, 5.0)})
    yield lambda: setattr(cell, "hidden", 4)
    yield lambda: setattr(cell, "W", np.ones((3, 3), np.float32))
    yield lambda: setattr(cell, "W", np.ones((3, 3)).T[:, ::-1])
    yield lambda: setattr(cell, "extra", 1)
    yield lambda: cell.layers.append(1)
    yield lambda: setattr(cell, "layers", [{"b": np.zeros(3)}, (np.ones(3), "name")])
    yield lambda: setattr(Cell, "scale", np.full(3, 3.0))
    yield lambda: setattr(Cell, "step", lambda self, x: x * 2)


@pytest.mark.parametrize("way", ["method", "attribute", "decorated"])
def test_objects_are_read_natively(way, monkeypatch):
    """Methods, with whatever hangs on their objects, and every change to it seen."""
    for name in ("scale", "step"):
        monkeypatch.setattr(Cell, name, vars(Cell)[name])
    cell, x = Cell(), np.arange(6.0).reshape(2, 3)
    if way == "attribute":
        cell.jitted = irdl.jit(cell.step)
    jitted = irdl.jit(cell.step) if way == "method" else None

    def call():
        return {"method": lambda: jitted, "attribute": lambda: cell.jitted, "decorated": lambda: cell.decorated}[way]()

    eager = (lambda: Cell.decorated._function(cell, x)) if way == "decorated" else lambda: cell.step(x)
    call()(x)
    assert call()._entries[0](x) is not MISS
    for number, change in enumerate(changes_of(cell)):
        change()
        if number == 12 and way != "decorated":
            continue  # a bound method keeps its function
        np.testing.assert_array_equal(call()(x), eager())
        np.testing.assert_array_equal(call()(x), eager())
        assert any(entry(x) is not MISS for entry in call()._entries), number


def test_objects_are_let_go_of():
    cell, x = Cell(), np.ones((2, 3))
    f = irdl.jit(cell.step)
    f(x)
    before = [sys.getrefcount(item) for item in (cell, vars(cell), cell.W, cell.layers, cell.layers[0], cell.layers[1][0])]
    for _ in range(100):
        assert f._entries[0](x) is not MISS
        cell.hidden = 5
        assert f._entries[0](x) is MISS
        cell.hidden = 3
    assert before == [sys.getrefcount(item) for item in (cell, vars(cell), cell.W, cell.layers, cell.layers[0], cell.layers[1][0])]


class Two(NamedTuple):
    first: Any
    second: Any


@dataclass
class Record:
    first: Any
    second: Any


@pytest.mark.parametrize("cls", [Two, Record])
def test_named_tuples_and_dataclasses(cls):
    a, b = np.arange(3.0), np.ones((2, 3))
    f = irdl.jit(lambda p, q: Two(p.first * 2, [p.second + q.first]))
    entry = entry_of(f, cls(a, b), cls(b, 1))
    found = entry(cls(a, b), cls(b, 1))
    assert type(found) is Two and type(found.second) is list
    np.testing.assert_array_equal(found.first, a * 2)
    np.testing.assert_array_equal(found.second[0], b + b)
    other = cls(a, b)
    for wrong in ((a, b), [a, b], cls(b, a), cls(a, [b]), Two(a, 1) if cls is Record else Record(a, b)):
        assert entry(wrong, cls(b, 1)) is MISS
    if cls is Record:
        other.more = 1
        assert entry(other, cls(b, 1)) is MISS
    before = sys.getrefcount(a), sys.getrefcount(b)
    for _ in range(50):
        entry(cls(a, b), cls(b, 1))
    assert before == (sys.getrefcount(a), sys.getrefcount(b))


@pytest.mark.parametrize(
    "make", [lambda x: x.T, lambda x: x[::2], lambda x: x[:, ::-1], lambda x: x[:, 1:], lambda x: np.broadcast_to(x[0], x.shape)]
)
def test_arrays_that_are_not_contiguous(make):
    x = np.arange(24.0).reshape(4, 6)
    f = irdl.jit(lambda a, b: np.tanh(a) + b.sum())
    part = make(x)
    entry = entry_of(f, part, x)
    for _ in range(3):
        np.testing.assert_array_equal(entry(part, x), f._function(part, x))
    assert entry(np.ascontiguousarray(part), x) is MISS
    before = sys.getrefcount(part)
    for _ in range(50):
        entry(part, x)
    assert sys.getrefcount(part) == before


def test_stores_are_made_natively():
    state = {"h": np.zeros(3), "n": np.zeros((), np.int64)}

    def f(x, y):
        x[0] = y.sum()
        y *= 2
        state["h"] += x
        state["n"] += 1
        return x.sum()

    x, y = np.arange(3.0), np.ones((2, 2))
    jitted = irdl.jit(f)
    entry = entry_of(jitted, x, y)
    wanted = (x.copy(), y.copy(), {k: v.copy() for k, v in state.items()})
    for _ in range(3):
        saved, state["h"], state["n"] = dict(state), wanted[2]["h"], wanted[2]["n"]
        expected = f(wanted[0], wanted[1])
        state.update(saved)
        assert entry(x, y) == expected
        for a, b in zip((x, y, state["h"], state["n"]), (*wanted[:2], *wanted[2].values()), strict=True):
            np.testing.assert_array_equal(a, b)
    memory = np.zeros(8)
    with pytest.raises(TraceError, match="shares its memory"):
        jitted(memory[:3], memory[2:6].reshape(2, 2))
    read_only = np.zeros(3)
    read_only.flags.writeable = False
    assert entry(read_only, y) is MISS
    before = sys.getrefcount(x), sys.getrefcount(y), sys.getrefcount(state["h"])
    for _ in range(50):
        entry(x, y)
    assert before == (sys.getrefcount(x), sys.getrefcount(y), sys.getrefcount(state["h"]))


def test_a_store_that_fails_changes_nothing():
    def f(x, i):
        x[0] = 5.0
        return x[i]

    x = np.arange(3.0)
    jitted = irdl.jit(f)
    entry = entry_of(jitted, x.copy(), 1)
    with pytest.raises(IndexError):
        entry(x, 7)
    np.testing.assert_array_equal(x, np.arange(3.0))


def test_many_captured_arrays():
    arrays = [np.full((2, 2), float(place)) for place in range(60)]

    def f(x):
        for a in arrays:
            x = x + a
        return x

    jitted, x = irdl.jit(f), np.ones((2, 2))
    entry = entry_of(jitted, x)
    np.testing.assert_array_equal(entry(x), f(x))
    arrays[7] = np.full((2, 2), 100.0)
    np.testing.assert_array_equal(entry(x), f(x))
    arrays[8] = np.full((2, 2), 100, np.float32)
    assert entry(x) is MISS
    np.testing.assert_array_equal(jitted(x), f(x))


@pytest.mark.parametrize("count", [5, 40])
def test_one_array_in_many_places(count):
    """It is one input; where they are others, the call is another."""

    def f(items):
        total = items[0][1] * 0
        for x, w in items:
            total = np.tanh(x @ w + total)
        return total

    random = np.random.default_rng(0)
    w, other = random.standard_normal((3, 3)), random.standard_normal((3, 3))
    xs = [random.standard_normal((3, 3)) for _ in range(count)]
    compiled = irdl.jit(f)
    for _ in range(3):
        same = [(x, w) for x in xs]
        differ = [(x, w if place < count - 2 else other) for place, x in enumerate(xs)]
        np.testing.assert_allclose(compiled(same), f(same))
        np.testing.assert_allclose(compiled(differ), f(differ))
    assert compiled._entries[0]([(x, other) for x in xs]) is not MISS or compiled._entries[1]([(x, other) for x in xs]) is not MISS
    assert compiled.cache_size() == 2


def test_defaults_of_keyword_only_parameters():
    def scaled(x, *, factor=2.0):
        return x * factor

    f = irdl.jit(lambda x: scaled(x))
    x = np.ones(2)
    assert irdl.compile(lambda x: scaled(x))(x).entries
    for factor in (2.0, 3.0, 4.0):
        for _ in range(3):
            np.testing.assert_array_equal(f(x), x * factor)
        scaled.__kwdefaults__["factor"] = factor + 1
    scaled.__kwdefaults__ = {"factor": 7.0}
    np.testing.assert_array_equal(f(x), x * 7)


class Holding:
    """A model whose parts are in containers of `collections`."""

    def __init__(self):
        self.layers = OrderedDict(a=np.ones(3), b=np.full(3, 2.0), kind="relu")
        self.sums = defaultdict(lambda: np.zeros(3), n=np.ones(3))
        self.line = deque([np.ones(3), np.arange(3.0), 0.5])

    def step(self, x):
        for name, part in self.layers.items():
            x = x * 2 + part if name != "kind" else np.maximum(x, 0) if part == "relu" else np.tanh(x)
        return x + self.sums["n"] * self.line[2] + self.line[0] - self.line[1] + self.sums.default_factory()


def changes_of_holding(made):
    yield lambda: made.layers.move_to_end("a")
    yield lambda: made.layers.__setitem__("a", np.full(3, 5.0))
    yield lambda: made.layers["a"].__setitem__(1, 7.0)
    yield lambda: made.layers.__setitem__("kind", "tanh")
    yield lambda: made.layers.__setitem__("c", np.ones(3))
    yield lambda: made.layers.move_to_end("kind", last=False)
    yield lambda: made.sums.__setitem__("n", np.full(3, 3.0))
    yield lambda: made.sums.__setitem__("m", 1)
    yield lambda: setattr(made.sums, "default_factory", lambda: np.ones(3))
    yield lambda: made.line.__setitem__(2, 0.25)
    yield lambda: made.line.__setitem__(0, np.full(3, 4.0))
    yield lambda: (made.line.rotate(1), made.line.rotate(-1), made.line.appendleft(made.line.popleft() * 2))
    yield lambda: made.line.append(np.ones(3))
    yield lambda: setattr(made, "line", [*made.line])


def test_containers_of_collections_are_read_natively():
    made, x = Holding(), np.arange(3.0)
    f = irdl.jit(made.step)
    f(x)
    assert f._entries[0](x) is not MISS
    for number, change in enumerate(changes_of_holding(made)):
        change()
        for _ in range(2):
            np.testing.assert_array_equal(f(x), made.step(x))
        assert any(entry(x) is not MISS for entry in f._entries), number


def test_what_containers_of_collections_hold_is_let_go_of():
    made, x = Holding(), np.arange(3.0)
    f = irdl.jit(made.step)
    f(x)
    held = [made.layers, made.sums, made.line, made.sums.default_factory, *made.line, *made.layers.values(), *made.layers]
    before = [sys.getrefcount(item) for item in held]
    for _ in range(100):
        assert f._entries[0](x) is not MISS
        made.layers.move_to_end("a")
        assert f._entries[0](x) is MISS
        made.layers.move_to_end("a", last=False)
        made.line[2] = 0.75
        assert f._entries[0](x) is MISS
        made.line[2] = held[6]
    assert before == [sys.getrefcount(item) for item in held]


def test_stores_into_containers_of_collections_are_made_natively():
    class Running:
        def __init__(self):
            self.parameters = OrderedDict(w=np.ones(3), m=np.zeros(3))

        def step(self, g):
            self.parameters["m"] += g
            self.parameters["w"] -= 0.1 * self.parameters["m"]

    eager, compiled = Running(), Running()
    f = irdl.jit(compiled.step)
    for k in range(4):
        eager.step(np.arange(3.0) + k)
        f(np.arange(3.0) + k)
    assert f._entries[0](np.zeros(3)) is not MISS
    eager.step(np.zeros(3))
    assert_close(dict(compiled.parameters), dict(eager.parameters))


def test_numbers_that_are_computed_anew_are_the_same():
    """A rate that a schedule sets at each call, to what it was."""

    class Scheduled:
        def __init__(self):
            self.rate, self.count, self.zero = 0.5, 1000, 0.0

        def step(self, x):
            return x * self.rate + self.count + np.copysign(1.0, self.zero)

    made, x = Scheduled(), np.arange(3.0)
    f = irdl.jit(made.step)
    f(x)
    for rate, count, zero, same in (
        (sum([0.25, 0.25]), sum([500, 500]), float("0"), True),
        (sum([0.25, 0.5]), 1000, 0.0, False),
        (0.5, sum([500, 501]), 0.0, False),
        (0.5, 1000, -0.0, False),
        (np.float64(0.5), 1000, 0.0, False),
        (0.5, np.int64(1000), 0.0, False),
        (0.5, 1000.0, 0.0, False),
        (float("nan"), 1000, 0.0, False),
        (0.5, 1000, 0.0, True),
    ):
        made.rate, made.count, made.zero = rate, count, zero
        assert any(entry(x) is not MISS for entry in f._entries) == same
    made.rate, made.zero = sum([0.25, 0.25]), -0.0
    np.testing.assert_array_equal(f(x), made.step(x))
