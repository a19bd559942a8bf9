"""The native entry: what it takes, what it hands back, and that it gives up cleanly on everything else."""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest

import irdl
from irdl.runtime.entry import MISS, layouts_hold

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
    np.testing.assert_array_equal(entry({"v": X, "w": 2 * X}, shift=X, scale=2.0), X * 4 + X)
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


def test_the_entry_outlives_its_function():
    f = irdl.jit(lambda x: x * 2)
    entry = entry_of(f, X)
    del f
    gc.collect()
    np.testing.assert_array_equal(entry(X), 2 * X)


def test_signatures_take_turns():
    f = irdl.jit(lambda x: x + 1)
    arrays = [np.zeros(n) for n in range(10)]
    for _ in range(3):
        for array in arrays:
            np.testing.assert_array_equal(f(array), array + 1)
    assert f.cache_size() == 10 and len(f._entries) == 4


def test_other_layouts_take_the_way_through_python(monkeypatch):
    monkeypatch.setattr("irdl.runtime.compiled.layouts_hold", lambda: False)
    f = irdl.jit(lambda p, x: p["w"] + x)
    np.testing.assert_array_equal(f({"w": X}, X), 2 * X)
    assert not f._entries


def test_builtin():
    entry = entry_of(irdl.jit(lambda x: x), X)
    assert isinstance(entry, types.BuiltinFunctionType)
