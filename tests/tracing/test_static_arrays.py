"""Arrays in static arguments: read once, what follows from them alone is computed once."""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu.llvm.call_shape import Same
from irdl.errors import TraceError
from irdl.runtime.entry import MISS
from tests.covering import covering
from tests.models import lstm, lstm_data, lstm_loss
from tests.teams import team_of


def frozen(tree):
    """The same tree, its arrays and those they are views of read-only."""
    if isinstance(tree, np.ndarray):
        base = tree
        while isinstance(base, np.ndarray):
            base.flags.writeable = False
            base = base.base
        return tree
    if isinstance(tree, dict):
        return {key: frozen(part) for key, part in tree.items()}
    return type(tree)(frozen(part) for part in tree) if isinstance(tree, (list, tuple)) else tree


@pytest.mark.parametrize(
    ("shape", "dtype", "threads"),
    covering([(1, 1, 1, 1), (3, 1, 5, 17), (4, 20, 8, 32), (2, 33, 12, 40), (3, 0, 4, 4)], [np.float32, np.float64], [1, 2, 3], every=3),
)
def test_lstm(shape, dtype, threads):
    params, x, gy = lstm_data(*shape, dtype=dtype)
    expected = lstm(params, x)
    params = frozen(params)
    with team_of(threads):
        np.testing.assert_allclose(irdl.jit(lstm, static_argnums=0)(params, x), expected, rtol=1e-4, atol=1e-5)
        value, gradient = irdl.jit(irdl.value_and_grad(lstm_loss, argnums=1), static_argnums=0)(params, x, gy)
    plain, expected = irdl.jit(irdl.value_and_grad(lstm_loss, argnums=1))(params, x, gy)
    np.testing.assert_allclose(value, plain, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_weights_are_packed_once():
    params, x, _ = lstm_data(3, 20, 8, 32)
    with team_of(1):
        plain = irdl.compile(lstm)(params, x)
        compiled = irdl.compile(lstm, static_argnums=0)(frozen(params), x)
    assert "kernel pack" in str(plain.program)
    assert "kernel pack" not in str(compiled.program)
    assert compiled.memory.constants >= params["U"].nbytes + params["W"].nbytes
    names = [name for name, _ in compiled.stages]
    assert names[names.index("lower") - 1] == "precompute"


def test_what_follows_from_them_alone_is_computed_once():
    def f(weights, x):
        a, b = weights
        return x @ np.tanh(a @ b + 1).T

    weights = frozen([np.random.default_rng(0).standard_normal((9, 9)) for _ in range(2)])
    x = np.ones((3, 9))
    compiled = irdl.compile(f, static_argnums=0)(weights, x)
    np.testing.assert_allclose(compiled(weights, x), f(weights, x))
    assert "tanh" not in str(compiled.program)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(24.0).reshape(3, 8)[:, ::2],
        np.arange(12.0).reshape(4, 3).T,
        np.arange(12, dtype=">f8").reshape(3, 4),
        np.arange(12, dtype=np.int8).reshape(3, 4),
        np.arange(12).reshape(3, 4) % 2 == 0,
        np.zeros((0, 4)),
        np.array(2.5),
    ],
    ids=["plain", "strided", "transposed", "big-endian", "int8", "bool", "empty", "without axes"],
)
def test_arrays_of_all_kinds(array):
    array = frozen(array)
    for f in (
        lambda w, x: w,
        lambda w, x: w + x,
        lambda w, x: (w.sum() * x, np.broadcast_to(w, (2, *w.shape)), w.T, w.reshape(-1), x),
    ):
        x = np.float64(3)
        results, expected = irdl.jit(f, static_argnums=0)(array, x), f(array, x)
        for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (results, expected)), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.asarray(b).dtype.newbyteorder("=") and np.shape(a) == np.shape(b)


def test_results_are_new_arrays():
    w = frozen(np.arange(3.0))
    f = irdl.jit(lambda w, x: (w, w, w * x), static_argnums=0)
    for _ in range(2):
        first, second, _ = f(w, 2.0)
        np.testing.assert_array_equal(first, [0, 1, 2])
        first[...] = second[...] = 7


def test_trees_and_how_they_are_passed():
    w = frozen({"a": [np.ones(3), (np.full(3, 2.0), 4)], "name": "tanh"})

    def f(x, *, model):
        return getattr(np, model["name"])(model["a"][0] * x + model["a"][1][0]) * model["a"][1][1]

    x = np.linspace(0, 1, 3)
    g = irdl.jit(f, static_argnames="model")
    np.testing.assert_allclose(g(x, model=w), f(x, model=w))
    # A container made anew that holds the same arrays is the same argument, for the native entry too.
    again = {"a": [w["a"][0], (w["a"][1][0], 4)], "name": "tanh"}
    assert g._entries and g._entries[0](x, model=again) is not MISS
    np.testing.assert_allclose(g(x, model=again), f(x, model=w))
    assert g.cache_size() == 1
    again["name"] = "exp"
    np.testing.assert_allclose(g(x, model=again), f(x, model=again))
    assert g.cache_size() == 2


def test_another_array_is_another_version():
    f = irdl.jit(lambda w, x: x @ w, static_argnums=0)
    x = np.ones((2, 3))
    for scale in (1.0, 2.0, 1.0):
        w = frozen(np.full((3, 3), scale))
        np.testing.assert_array_equal(f(w, x), x @ w)
    weights = [frozen(np.ones((3, 3)))]
    g = irdl.jit(lambda w, x: x @ w[0], static_argnums=0)
    g(weights, x)
    weights[0] = frozen(np.full((3, 3), 5.0))
    np.testing.assert_array_equal(g(weights, x), x @ weights[0])


def test_tied_arrays_are_one():
    w = frozen(np.arange(9.0).reshape(3, 3))
    compiled = irdl.compile(lambda a, b, x: (x @ a @ b, a is b), static_argnums=(0, 1))(w, w, np.ones((2, 3)))
    assert len(compiled.graph.inputs) == 2


def test_methods():
    class Model:
        @irdl.jit
        def plain(self, x):
            return x @ self.w

        def __init__(self):
            self.w = frozen(np.eye(3))

    model = Model()
    np.testing.assert_array_equal(model.plain(np.ones((2, 3))), np.ones((2, 3)))
    # An attribute is captured, not static: it may be bound anew.
    model.w = frozen(2 * np.eye(3))
    np.testing.assert_array_equal(model.plain(np.ones((2, 3))), np.full((2, 3), 2.0))


def test_writeable_arrays_are_refused():
    f = irdl.jit(lambda w, x: x @ w["U"], static_argnums=0)
    w = {"U": np.eye(3)}
    with pytest.raises(TraceError, match=r"float64\[3, 3\].*flags.writeable = False"):
        f(w, np.ones(3))
    frozen(w)
    np.testing.assert_array_equal(f(w, np.ones(3)), np.ones(3))
    w["U"].flags.writeable = True
    with pytest.raises(TraceError, match="can be written to"):
        f(w, np.ones(3))


def test_stores_are_refused():
    def f(w, x):
        w[0] = 1
        return w + x

    with pytest.raises((TraceError, ValueError), match="read-only"):
        irdl.jit(f, static_argnums=0)(frozen(np.ones(3)), 1.0)

    def g(w, x):
        w.append(x)
        return w[0] + x

    with pytest.raises(TraceError, match="changed during the trace"):
        irdl.jit(g, static_argnums=0)([frozen(np.ones(3))], 1.0)


def test_index_errors_come_at_the_call():
    table = frozen(np.arange(5.0))
    places = frozen(np.array([1, 7]))
    f = irdl.compile(lambda table, places, x: (table[places], x + 1), static_argnums=(0, 1))(table, places, 1.0)
    with pytest.raises(IndexError, match=r"index 7 is out of bounds.*test_static_arrays.py"):
        f(table, places, 1.0)
    g = irdl.jit(lambda table, i: table[i], static_argnums=0)
    np.testing.assert_array_equal(g(table, np.array([0, 4])), [0.0, 4.0])
    with pytest.raises(IndexError):
        g(table, np.array([5]))


def test_with_donation():
    def step(w, state, x):
        return np.tanh(state @ w + x)

    w = frozen(np.random.default_rng(0).standard_normal((8, 8)))
    f = irdl.jit(step, static_argnums=0, donate_argnums=1)
    state, expected = np.ones((2, 8)), np.ones((2, 8))
    for _ in range(3):
        expected = step(w, expected, 0.5)
        new = f(w, state, 0.5)
        assert new is state
        np.testing.assert_allclose(new, expected)


def test_the_disk_cache_serves_other_contents(tmp_path, monkeypatch):
    monkeypatch.setenv("IRDL_CACHE", "1")
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path))
    x = np.ones((2, 24))
    for scale in (1.0, 3.0):
        w = frozen(np.full((24, 24), scale))
        np.testing.assert_array_equal(irdl.jit(lambda w, x: x @ w, static_argnums=0)(w, x), x @ w)
        assert len(list(tmp_path.glob("*.irdl"))) == 1


def test_same_is_checked_in_the_place_of_each_array():
    w = frozen([np.ones(3), np.ones(3)])
    compiled = irdl.compile(lambda w, x: w[0] * x + w[1], static_argnums=0)(w, 2.0)
    shape = compiled._executable.build.shape
    assert shape is not None and all(isinstance(part, Same) for part in shape.positional[0])


def test_an_array_that_is_captured_too():
    w, other, x = frozen(np.array([1.0, 2, 3])), frozen(np.array([10.0, 20, 30])), np.ones(3)

    def closed():
        box = w

        def f(w, x):
            return w * x, box * x

        def change():
            nonlocal box
            box = other

        return f, change

    f, change = closed()
    g = irdl.jit(f, static_argnums=0)
    for _ in range(2):
        for a, b in zip(g(w, x), f(w, x), strict=True):
            np.testing.assert_array_equal(a, b)
        change()

    class Holder:
        pass

    holder = Holder()
    holder.w = w

    for pair in ((holder, w), [holder, w], (w, holder)):
        holder.w = w
        h = (lambda p, x: (p[0].w * x, p[1] * x)) if pair[0] is holder else (lambda p, x: (p[1].w * x, p[0] * x))
        g = irdl.jit(h, static_argnums=0)
        for _ in range(2):
            for a, b in zip(g(pair, x), h(pair, x), strict=True):
                np.testing.assert_array_equal(a, b)
            holder.w = other


class Pair(NamedTuple):
    layers: Any
    scale: float = 2.0


class Named(tuple):
    def __new__(cls, a, b):
        return super().__new__(cls, (a, b))


def test_tuples_of_other_types():
    w1, w2, x = frozen(np.ones(3)), frozen(np.full(3, 5.0)), np.ones(3)
    g = irdl.jit(lambda p, x: p.layers[0] * x * p.scale, static_argnums=0)
    pair = Pair([w1])
    for layer in (w1, w2):
        pair.layers[0] = layer
        np.testing.assert_array_equal(g(pair, x), layer * 2)
    g = irdl.jit(lambda p, x: p.layers * x, static_argnums=0)
    np.testing.assert_array_equal(g(Pair(w1), x), w1)
    w1.flags.writeable = True
    with pytest.raises(TraceError, match="can be written to"):
        g(Pair(w1), x)
    for item in (Named(1, 2.0), sys.version_info):
        np.testing.assert_array_equal(irdl.jit(lambda w, x: x * w[1], static_argnums=0)(item, x), x * item[1])

    class Layers(list):
        pass

    with pytest.raises(TraceError, match="hashable"):
        irdl.jit(lambda w, x: x * w[0], static_argnums=0)(Layers([1.0]), x)


def test_containers_keep_their_identity():
    a, w = (1.0, 2.0), [frozen(np.ones(2))]
    assert irdl.jit(lambda s, x: x if s is a else -x, static_argnums=0)(a, 1.0) == 1
    for item in ((a, a), (w, w), [w, w]):
        assert irdl.jit(lambda s, x: x if s[0] is s[1] else -x, static_argnums=0)(item, 1.0) == 1


def test_views_of_writeable_arrays_and_subclasses_are_refused():
    base = np.ones(3)
    view = base[:2]
    view.flags.writeable = False
    f = irdl.jit(lambda w, x: w * x, static_argnums=0)
    with pytest.raises(TraceError, match="view of one that can be written to"):
        f(view, 2.0)
    base.flags.writeable = False
    np.testing.assert_array_equal(f(view, 2.0), [2, 2])
    with pytest.raises(TraceError, match=r"recarray.*np\.asarray"):
        f(np.ones(3).view(np.recarray), 2.0)


def test_numbers_in_static_trees():
    f = irdl.jit(lambda s, x: np.copysign(x, s[0]), static_argnums=0)
    assert [f((np.float32(z),), 1.0) for z in (0.0, -0.0)] == [1, -1]
    g = irdl.jit(lambda s, x: x * s[0], static_argnums=0)
    for _ in range(3):
        g((np.float32("nan"),), 1.0)
    assert g.cache_size() == 1
    h = irdl.jit(lambda s, x: x * next(iter(s)), static_argnums=0)
    assert [type(h({key: None}, 2)) for key in (1, 1.0, True)] == [int, float, int]


def test_long_static_tuples_compile_at_once():
    start = time.process_time()
    numbers = tuple(range(4000))
    assert irdl.jit(lambda s, x: x + s[-1], static_argnums=0)(numbers, 1.0) == 4000
    assert time.process_time() - start < 5


def test_what_only_a_fused_loop_has_the_memory_for_is_left_to_it():
    points = frozen(np.random.default_rng(0).standard_normal((40, 30)))

    def f(p, x):
        return x @ np.exp(-((p[:, None] - p[None]) ** 2).sum(-1))

    x = np.ones((2, 40))
    compiled = irdl.compile(f, static_argnums=0)(points, x)
    np.testing.assert_allclose(compiled(points, x), f(points, x))
    assert compiled.memory.constants <= points.nbytes


def test_many_layers_in_turn_stay_native():
    layers = [frozen(np.full((3, 3), float(n))) for n in range(12)]
    f = irdl.jit(lambda w, x: x @ w, static_argnums=0)
    x = np.ones(3)
    for _ in range(2):
        for layer in layers:
            np.testing.assert_array_equal(f(layer, x), x @ layer)
    assert len(f._entries) == 12
