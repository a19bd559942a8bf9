"""What a call leaves behind on objects, in names, lists and dicts: as plain Python leaves it, at every call."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import re
from collections import OrderedDict, defaultdict, deque
from typing import Any, NamedTuple

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.tracing.box import Box
from irdl.tracing.recorder import Trace
from tests.same import same

_random = np.random.default_rng(0)


def calls(made: Any, method: str, *arguments: Any, times: int = 4) -> tuple[Any, Any, irdl.Compiled]:
    """A method of an object and of a copy of it, compiled and not: results, arguments and objects are alike after each call."""
    eager = copy.deepcopy(made)
    compiled = irdl.jit(getattr(made, method))
    for _ in range(times):
        given, others = copy.deepcopy(arguments), copy.deepcopy(arguments)
        expected, got = getattr(eager, method)(*given), compiled(*others)
        assert same(got, expected)
        assert same(others, given)
        assert same(made, eager), f"{vars(made)} {vars(eager)}"
    return made, got, compiled


X = _random.standard_normal((5, 3))


class Linear:
    def __init__(self, inputs: int, outputs: int) -> None:
        self.W, self.b = _random.standard_normal((inputs, outputs)), np.zeros(outputs)
        self.cache: Any = None
        self.grads: dict[str, Any] = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.cache = (x, self.W)
        return np.tanh(x @ self.W + self.b)

    def backward(self, d: np.ndarray) -> np.ndarray:
        x, w = self.cache
        self.grads["W"], self.grads["b"] = x.T @ d, d.sum(axis=0)
        return d @ w.T


class Net:
    def __init__(self) -> None:
        self.layers = [Linear(3, 4), Linear(4, 3)]
        self.t, self.rate = 0, 0.1
        self.losses: list[Any] = []
        self.context: dict[str, Any] = {}
        self.history: deque[Any] = deque(maxlen=2)

    def step(self, x: np.ndarray) -> np.ndarray:
        h = x
        for layer in self.layers:
            h = layer.forward(h)
        self.t += 1
        self.losses.append((h * h).sum())
        self.history.append(h.sum())
        self.context = {"h": h, "name": "last", "steps": [self.t, None]}
        self.last, self.previous = h[0], h
        d = h
        for layer in reversed(self.layers):
            d = layer.backward(d)
            layer.W -= self.rate / self.t * layer.grads["W"]
            layer.b = layer.b - self.rate * layer.grads["b"]
        self.rate *= 0.9
        return h


def test_a_training_step() -> None:
    net, result, compiled = calls(Net(), "step", X, times=6)
    assert type(net.t) is int and type(net.rate) is float and len(net.losses) == 6
    assert net.previous is result and net.context["h"] is result
    assert np.shares_memory(net.last, result)
    # Counters, rates and lists that grow are inputs by now, and not numbers of the code.
    (versions,) = compiled._cache.values()
    latest = versions[0]
    compiled(X)
    compiled(X)
    assert next(iter(compiled._cache.values()))[0] is latest


def test_shapes_that_change_between_calls() -> None:
    """The caches of the last call, which nothing reads, do not count."""
    layer, eager = Linear(3, 4), Linear(3, 4)
    eager.W = layer.W
    compiled = irdl.jit(layer.forward)
    for rows in (5, 2, 5, 2, 5):
        x = _random.standard_normal((rows, 3))
        assert same(compiled(x), eager.forward(x)) and layer.cache[0] is x and layer.cache[1] is layer.W
    assert compiled.cache_size() == 2 and all(len(versions) == 1 for versions in compiled._cache.values())


class Swaps:
    def __init__(self) -> None:
        self.a, self.b = np.zeros(3), np.ones(3)

    def run(self, x: np.ndarray) -> np.ndarray:
        old = self.a
        self.a, self.b = self.b, self.a
        self.c = x
        self.b += 1
        return old


def test_arrays_that_were_there_stay_themselves() -> None:
    made = Swaps()
    a, b = made.a, made.b
    x = np.ones(3)
    result = irdl.jit(made.run)(x)
    assert made.a is b and made.b is a and made.c is x and result is a
    np.testing.assert_array_equal(a, np.ones(3))
    calls(Swaps(), "run", x)


class Containers:
    def __init__(self) -> None:
        self.items: list[Any] = [np.zeros(2), 1.0, "text"]
        self.table = OrderedDict(b=np.ones(2), a=np.zeros(2))
        self.counts: Any = defaultdict(list)
        self.nested = {"list": [1, 2], "deep": {"x": np.ones(2)}}

    def run(self, x: np.ndarray) -> Any:
        self.items[0] = x
        self.items.insert(1, x * 2)
        self.items.pop()
        self.table["a"] = x
        self.table["c"] = self.items
        self.counts["seen"].append(x + 1)
        self.nested["list"].extend([3, x])
        self.nested["deep"]["y"] = self.nested["deep"]
        del self.nested["list"][0]
        self.alias = self.nested["deep"]
        self.pair = (x, [x, x])
        return self.items, {"sum": x.sum(), "kind": "ok"}


def test_containers() -> None:
    made, result, _ = calls(Containers(), "run", np.arange(2.0), times=1)
    assert made.table["c"] is made.items and result[0] is made.items
    assert made.alias is made.nested["deep"] and made.nested["deep"]["y"] is made.nested["deep"]
    assert made.pair[0] is made.pair[1][0] is made.items[0]


class Deletes:
    def __init__(self) -> None:
        self.a, self.b, self.table = np.ones(2), 3, {"x": 1, "y": 2}

    def run(self, x: np.ndarray) -> np.ndarray:
        if hasattr(self, "a"):
            del self.a
        self.table.pop("x", None)
        return x * self.b


def test_deletions() -> None:
    calls(Deletes(), "run", np.ones(2))


class State(NamedTuple):
    h: Any
    c: Any


@dataclasses.dataclass
class Record:
    x: Any
    name: str = "record"

    def doubled(self) -> Any:
        return self.x * 2 + np.zeros(2)


class MakesObjects:
    def run(self, x: np.ndarray) -> Any:
        cell = Linear.__new__(Linear)
        cell.W, cell.b, cell.cache, cell.grads = np.ones((2, 2)), np.zeros(2), None, {}
        self.cell = cell
        self.out = cell.forward(x)
        self.state = State(x, self.out)
        self.record = Record(self.out)
        self.kind, self.types, self.shape = Record, [np.float32, int], x.shape
        self.steps, self.method = range(3), cell.forward
        return self.record.doubled(), cell, Record(x, "other")


def test_objects_made_inside() -> None:
    made, (_, cell, record), _ = calls(MakesObjects(), "run", np.ones((2, 2)))
    assert type(made.cell) is Linear and cell is made.cell and type(record) is Record and type(made.record) is Record
    assert made.kind is Record and type(made.steps) is range and made.method.__self__ is cell
    assert made.cell.cache[0] is made.state.h
    np.testing.assert_allclose(made.method(np.ones((2, 2))), made.out)


class Base:
    scale = 2.0
    table = np.array([1.0, 2.0, 3.0])

    def __init__(self, size: int = 3) -> None:
        self.size = size

    def f(self, x: np.ndarray) -> Any:
        return np.zeros(self.size) + x * self.scale

    @property
    def ones(self) -> Any:
        return np.ones(self.size)

    @functools.cached_property
    def cached(self) -> Any:
        return np.full(self.size, 5.0)

    @staticmethod
    def static(x: np.ndarray) -> Any:
        return x + np.zeros(3)

    @classmethod
    def make(cls, size: int) -> Any:
        return cls(size)


class Middle(Base):
    def f(self, x: np.ndarray) -> Any:
        return super().f(x) + self.ones


class Sub(Middle):
    scale = 3.0

    def __init__(self, size: int = 3, more: float = 1.0) -> None:
        super().__init__(size)
        self.more = more

    def f(self, x: np.ndarray) -> Any:
        return super().f(x) + self.more + self.cached

    def __call__(self, x: np.ndarray) -> Any:
        return self.f(x)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("unknown"):
            return np.full(3, float(len(name)))
        raise AttributeError(name)


def test_code_reached_through_classes() -> None:
    outside = Sub(more=4.0)

    def use(x: np.ndarray) -> Any:
        inside, made = Sub(3), Sub.make(3)
        found = [inside.f(x), made(x), Base.static(x), Sub.f(inside, x), Base().f(x), outside(x), Middle.f(outside, x), inside.unknown_name]
        found += [Base.table * x, inside.table + x, outside.unknown]
        return found, [isinstance(inside, Base), type(inside) is Sub, issubclass(Sub, Middle), outside.__class__ is Sub, Sub.__name__]

    x = np.arange(3.0)
    assert same(irdl.jit(use)(x), use(x))


class Whole:
    def __init__(self) -> None:
        self.b, self.a = np.ones(2), np.zeros(2)

    def run(self, x: np.ndarray) -> Any:
        total = sum(value.sum() for value in vars(self).values() if isinstance(value, np.ndarray))
        self.__dict__.update(total=total, names=list(self.__dict__))
        return total + x


def test_all_attributes_at_once() -> None:
    calls(Whole(), "run", np.ones(2), times=3)


def test_arguments_that_are_changed() -> None:
    def change(d: dict[str, Any], items: list[Any], record: Record, x: np.ndarray) -> Any:
        d["a"] = d["a"] * 2
        d["new"], d["self"] = x, d
        items.append(x + 1)
        items[0] = "text"
        record.x = items
        return d, x

    def given() -> Any:
        return {"a": np.ones(3)}, [np.zeros(2), 1.0], Record(np.ones(1)), np.arange(3.0)

    compiled = irdl.jit(change)
    for _ in range(2):
        ours, theirs = given(), given()
        del_name = [record.__dict__.pop("name") for record in (ours[2], theirs[2])]
        for record, name in zip((ours[2], theirs[2]), del_name, strict=True):
            record.name = 1.0 if name else 0.0  # type: ignore[assignment]
        result = compiled(*ours)
        change(*theirs)
        assert ours[0]["new"] is ours[3] and ours[0]["self"] is ours[0] and ours[2].x is ours[1]
        assert result[0] is ours[0] and result[1] is ours[3]
        assert same(ours[1], theirs[1]) and same(ours[0]["a"], theirs[0]["a"])


counter, trail = 0, [0]


def test_globals_and_closures() -> None:
    seen: list[Any] = []
    total = 0.0

    def step(x: np.ndarray) -> Any:
        global counter
        nonlocal total
        counter += 1
        total = total + x.sum()
        seen.append(x)
        trail[0] += 2
        return x * counter

    compiled = irdl.jit(step)
    x = np.ones(2)
    for number in range(1, 5):
        np.testing.assert_array_equal(compiled(x), x * number)
        assert counter == number and type(counter) is int and total == 2.0 * number and trail == [2 * number]
        assert len(seen) == number and all(item is x for item in seen)
    assert len(next(iter(compiled._cache.values()))) <= 3


def _sharing() -> Any:
    count, h, late = 0, np.zeros(2), None

    def bump() -> None:
        nonlocal count, h
        count += 1
        h = h + count

    def fill(x: Any) -> None:
        nonlocal late
        late = x * 2

    def run(x: Any) -> Any:
        bump()
        fill(x)
        bump()
        return x * count + h, late

    return run


def test_functions_share_their_variables() -> None:
    eager, compiled = _sharing(), irdl.jit(_sharing())
    for _ in range(4):
        for found, expected in zip(compiled(np.ones(2)), eager(np.ones(2)), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_counter_that_decides_is_compiled_for_each_value() -> None:
    class Alternates:
        def __init__(self) -> None:
            self.t = 0

        def run(self, x: np.ndarray) -> Any:
            self.t += 1
            return x * 2 if self.t % 2 else x + 1

    calls(Alternates(), "run", np.ones(3), times=5)


def test_what_cannot_be_left_behind() -> None:
    class Keeps:
        def run(self, x: np.ndarray) -> Any:
            self.kept = iter([x])
            return x

    with pytest.raises(TraceError, match=r"run\.kept is .* cannot make anew"):
        irdl.jit(Keeps().run)(np.ones(2))

    class Counts:
        count = 0

        def run(self, x: np.ndarray) -> Any:
            Counts.count = 5
            return x

    with pytest.raises(TraceError, match=r"Counts\.count was set during the trace"):
        irdl.jit(Counts().run)(np.ones(2))


def test_state_left_by_loops() -> None:
    class Cell:
        def __init__(self) -> None:
            self.W, self.h = 0.3 * _random.standard_normal((3, 3)), np.zeros((2, 3))
            self.states: list[Any] = []

        def step(self, x: np.ndarray) -> np.ndarray:
            self.h = np.tanh(x @ self.W + self.h)
            return self.h

        def run(self, x: np.ndarray) -> np.ndarray:
            self.states = []
            for t in range(len(x)):
                self.states.append((x[t], self.step(x[t])))
            return np.stack([h for _, h in self.states])

    calls(Cell(), "run", _random.standard_normal((9, 2, 3)))


class Scored:
    def __init__(self) -> None:
        self.W = np.ones((3, 3))

    def loss(self, w: np.ndarray) -> Any:
        h = np.tanh(X @ w)
        self.cache = (h, [h, {"w": w}])
        self.losses = [(h * h).sum()]
        return self.losses[0]


@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_state_left_by_a_differentiated_function(way: str) -> None:
    made = Scored()
    gradient = irdl.grad(made.loss)
    (irdl.jit(lambda w: gradient(w)) if way == "compiled" else gradient)(made.W)
    h = np.tanh(X @ made.W)
    assert same(made.cache, (h, [h, {"w": made.W}])) and np.isclose(made.losses[0], (h * h).sum())


def test_views_of_arguments_stay_views() -> None:
    class Keeps:
        def run(self, x: np.ndarray) -> list[np.ndarray]:
            self.row = x[1]
            self.turned = x.T[:, ::-1]
            return [x[k] for k in range(4)]

    made, x = Keeps(), np.arange(12.0).reshape(4, 3)
    rows = irdl.jit(made.run)(x)
    x[...] += 100
    assert same([made.row, made.turned, *rows], [x[1], x.T[:, ::-1], *x])


class Defaults:
    t, h, mode, w = 0, None, "a", np.zeros(2)
    seen: list[Any] = []
    table: dict[str, Any] = {}

    def run(self, x: np.ndarray) -> Any:
        self.t += 1
        if self.h is None:
            self.h = np.zeros(2)
        self.h = self.h + x
        self.mode = "b" if self.mode == "a" else "a"
        self.w = self.w + (x if self.mode == "b" else 2 * x)
        return self.h * self.t + self.w


def test_defaults_of_the_class() -> None:
    calls(Defaults(), "run", np.ones(2), times=4)


def test_containers_of_the_class() -> None:
    class Keeps:
        seen: list[Any] = []
        table: dict[str, Any] = {}

        def run(self, x: np.ndarray) -> Any:
            Keeps.seen.append(x * 2)
            self.table["k"] = x
            return x

    x = np.ones(2)
    irdl.jit(Keeps().run)(x)
    assert same(Keeps.seen, [x * 2]) and Keeps.table["k"] is x


class Snapshots:
    def __init__(self) -> None:
        self.w = np.zeros(2)

    def step(self, x: np.ndarray) -> Any:
        self.w = self.w + x
        self.old = self.w.copy()
        self.many = [self.w.copy() for _ in range(5)]
        h = np.tanh(np.arange(12.0).reshape(6, 2) + self.w)
        self.h, self.rows = h, [h[t].copy() for t in range(6)]
        return self.w.copy()

    def update(self, x: np.ndarray) -> None:
        self.w -= x


def test_copies_are_arrays_of_their_own() -> None:
    made, eager = Snapshots(), Snapshots()
    step, update = irdl.jit(made.step), irdl.jit(made.update)
    for _ in range(2):
        ours, theirs = step(np.ones(2)), eager.step(np.ones(2))
        update(np.full(2, 5.0))
        eager.update(np.full(2, 5.0))
        made.many[0] += 1
        eager.many[0] += 1
        made.h += 1
        eager.h += 1
        made.rows[0] += 7
        eager.rows[0] += 7
        assert same(made, eager) and same(ours, theirs)


def test_a_row_at_a_traced_index_stays_a_view() -> None:
    class Table:
        def __init__(self) -> None:
            self.E = np.zeros((3, 2, 4))

        def get(self, i: Any, j: Any) -> None:
            self.row, self.column = self.E[i], self.E[:, j][1:, ::2]

        def add(self, x: Any) -> None:
            self.row += x
            self.column -= x

    made, eager = Table(), Table()
    irdl.jit(made.get)(np.int64(1), np.int64(0))
    eager.get(1, 0)
    for each in (made, eager):
        each.add(1.0)
    assert same(made, eager) and made.E.any()


def test_donated_arguments_that_are_stored_into() -> None:
    def f(x: np.ndarray) -> Any:
        x *= 2
        return x - x.sum(0)

    def g(d: dict[str, Any], x: np.ndarray) -> Any:
        d["w"] -= x
        return d["w"] / (1 + d["w"].max())

    x = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(irdl.jit(f, donate_argnums=0)(x.copy()), f(x.copy()))
    np.testing.assert_array_equal(irdl.jit(g, donate_argnums=(0, 1))({"w": x * 3}, x.copy()), g({"w": x * 3}, x.copy()))


class Slots:
    __slots__ = ("w",)


class WithSlots(Slots):
    def __init__(self) -> None:
        self.w = np.ones(2)

    def run(self, x: np.ndarray) -> Any:
        return self.w * x


class SubList(list[Any]):
    pass


class AttributeDict(dict[str, Any]):
    __getattr__ = dict.__getitem__


def test_what_is_not_looked_into_is_refused() -> None:
    with pytest.raises(TraceError, match="cannot read it again"):
        irdl.jit(WithSlots().run)(np.ones(2))

    class Keeps:
        def __init__(self) -> None:
            self.items = SubList()

        def run(self, x: np.ndarray) -> Any:
            self.items.append(x)
            return x

    made = Keeps()
    with pytest.raises(TraceError, match="a SubList, was changed during the trace"):
        irdl.jit(made.run)(np.ones(2))
    assert made.items == []
    parameters = AttributeDict(w=np.ones(2))
    with pytest.raises(TraceError):
        irdl.jit(lambda x: parameters.w * x)(np.ones(2))
    with pytest.raises(TraceError):
        irdl.jit(lambda p, x: p.w * x)(parameters, np.ones(2))


def test_deep_copies_in_a_trace() -> None:
    class Copies:
        def __init__(self) -> None:
            self.inner = Snapshots()

        def run(self, x: np.ndarray) -> Any:
            self.target = copy.deepcopy(self.inner)
            self.inner.w = self.inner.w + x
            return x

    made, _, _ = calls(Copies(), "run", np.ones(2))
    assert type(made.target) is Snapshots and made.target is not made.inner


def test_state_kept_inside_vmap_is_refused() -> None:
    class Keeps:
        def __init__(self) -> None:
            self.a = 1

        def run(self, row: np.ndarray) -> Any:
            self.a, self.b = row * 2, [row]
            return row.sum()

    made = Keeps()
    with pytest.raises(TraceError, match=r"keeps an array in Keeps\.a, Keeps\.b inside vmap"):
        irdl.vmap(made.run)(np.ones((3, 2)))
    assert vars(made) == {"a": 1}


def test_a_few_rows_do_not_keep_many_alive() -> None:
    def few(x: np.ndarray) -> list[np.ndarray]:
        y = np.tanh(x)
        return [y[k].copy() for k in range(5)]

    def most(x: np.ndarray) -> list[np.ndarray]:
        return [np.tanh(row) + 1 for row in x][1:]

    x = np.arange(200.0).reshape(100, 2)
    assert all(row.base is None for row in irdl.jit(few)(x))
    rows = irdl.jit(most)(x)
    assert same(rows, most(x)) and all(row.base is rows[0].base for row in rows)


def test_the_record_is_let_go() -> None:
    """What a compiled function keeps does not hold the arrays of its trace."""

    class Keeps:
        def __init__(self) -> None:
            self.w, self.scale, self.steps = np.ones(2), np.ones(1), 0

        def run(self, x: np.ndarray) -> Any:
            self.cache = [(x[t], np.tanh(x[t])) for t in range(6)]
            self.last = self.cache[-1]
            self.w = self.w + x.sum()
            self.w[0] = 1
            self.steps += 1
            return {"sum": x.sum() * self.scale[0]}

    made = Keeps()
    gc.collect()
    before = [item for item in gc.get_objects() if type(item) in (Box, Trace)]
    compiled = irdl.jit(made.run)
    compiled(np.ones((6, 2)))
    gc.collect()
    known = set(map(id, before))
    assert not [item for item in gc.get_objects() if type(item) in (Box, Trace) and id(item) not in known]


class Log:
    def __init__(self) -> None:
        self.last = None
        self.steps = []
        self.by_name = {}


_LOG, _LINES = Log(), []


def _keeps_attribute(c, v):
    _LOG.last = c
    return c + v, c


def _appends_to_attribute(c, v):
    _LOG.steps.append((c, v))
    return c + v, c


def _sets_item(c, v):
    _LOG.by_name["x"] = [c]
    return c + v, c


def _appends_to_global(c, v):
    _LINES.append(c)
    return c + v, c


@pytest.mark.parametrize(
    "body, name",
    [
        (_keeps_attribute, "_LOG.last"),
        (_appends_to_attribute, "_LOG.steps[0]"),
        (_sets_item, "_LOG.by_name['x']"),
        (_appends_to_global, "_LINES[0]"),
    ],
)
def test_what_keeps_an_array_of_the_inside_of_a_loop_is_named(body, name):
    x = np.arange(3.0)
    for f, where in (
        (lambda x: irdl.scan(body, 0.0, x), "scan body"),
        (lambda x: irdl.vmap(lambda v: body(v, v))(x), "vmap"),
        (lambda x: irdl.cond(x[0] > 1, lambda v: body(v, v), lambda v: (v, v), x), "cond branch"),
        (lambda x: irdl.while_loop(lambda c: c[0] < 3, lambda c: body(c, c)[0], x + 1), "while body"),
    ):
        with pytest.raises(
            irdl.errors.TraceError, match=rf"`{re.escape(name)}` is bound to an array of the inside of .*{where}.*test_state.py"
        ):
            irdl.jit(f)(x)
    assert (_LOG.last, _LOG.steps, _LOG.by_name, _LINES) == (None, [], {}, [])


def test_a_gradient_may_keep_what_is_inside():
    def f(x):
        def loss(y):
            h = np.tanh(y)
            _LINES.append(h)
            _LOG.steps.append(h * 2)
            return h.sum()

        return irdl.grad(loss)(x)

    compiled = irdl.jit(f)
    for number in (1.0, 2.0):
        x = np.full(3, number)
        f(x)
        expected = (_LINES.pop(), _LOG.steps.pop())
        compiled(x)
        assert same((_LINES.pop(), _LOG.steps.pop()), expected)
    assert (_LINES, _LOG.steps) == ([], [])
