"""How often the body of a long loop is traced, what the scan is like that comes of it, and what is done where it cannot be traced once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.ir.graph import Graph, Node
from irdl.ir.types import TensorType
from irdl.tracing import counters
from irdl.tracing.box import PYTHON, wrap
from irdl.tracing.long_loops import plans
from irdl.tracing.recorder import Trace

MANY = 3 * plans.MANY_STEPS


def nodes_of(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for region in node.regions:
            yield from nodes_of(region)


def ops_of(graph: Graph) -> list[str]:
    return [node.op.name for node in nodes_of(graph)]


def scans_of(graph: Graph) -> list[Node]:
    return [node for node in nodes_of(graph) if node.op.name == "scan"]


def carried(graph: Graph) -> list[int]:
    """How many arrays of more than one element each scan carries that its body reads."""
    found = []
    for node in scans_of(graph):
        read = {value for inner in node.regions[0].nodes for value in inner.operands}
        found.append(sum(value.type.size > 1 and value in read for value in node.attributes.inputs(node.regions[0].inputs).carry))
    return found


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ops that traces record."""
    found: list[str] = []
    apply = Trace.apply

    def recording(self: Trace, op: Any, *arguments: Any, **options: Any) -> Any:
        found.append(op.name)
        return apply(self, op, *arguments, **options)

    monkeypatch.setattr(Trace, "apply", recording)
    return found


def check(f: Callable[..., Any], *arguments: Any) -> Graph:
    """The trace, once what is compiled gives NumPy's results."""
    expected = f(*[np.copy(argument) for argument in arguments])
    got = irdl.jit(f)(*arguments)
    for a, b in zip(irdl.tree.leaves(got), irdl.tree.leaves(expected), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    return irdl.trace(f)(*arguments)


def signal(steps: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(steps).standard_normal((steps, *shape))


def biquad(x, b, a):
    y = np.zeros_like(x)
    x1 = x2 = y1 = y2 = 0.0
    for n in range(len(x)):
        out = b[0] * x[n] + b[1] * x1 + b[2] * x2 - a[0] * y1 - a[1] * y2
        x2, x1 = x1, x[n]
        y2, y1 = y1, out
        y[n] = out
    return y


def elman(x, w, u):
    h, states = np.zeros(len(u)), []
    for row in x:
        h = np.tanh(row @ w + h @ u)
        states.append(h)
    return np.stack(states)


@pytest.mark.parametrize("f", [biquad, elman])
def test_it_takes_no_longer_with_more_steps(f: Callable[..., Any], recorded: list[str]) -> None:
    counts = []
    for steps in (plans.MANY_STEPS, 20 * plans.MANY_STEPS):
        recorded.clear()
        arguments = (signal(steps), np.ones(3), np.ones(2) / 4) if f is biquad else (signal(steps, 3), np.ones((3, 2)), np.ones((2, 2)))
        irdl.trace(f)(*arguments)
        counts.append(len(recorded))
    assert max(counts) < 200


def test_fewer_steps_are_recorded_one_by_one(recorded: list[str]) -> None:
    irdl.trace(biquad)(signal(plans.MANY_STEPS - 1), np.ones(3), np.ones(2))
    assert len(recorded) > plans.MANY_STEPS


def test_rows_go_in_and_come_out() -> None:
    graph = check(biquad, signal(MANY), np.array([0.2, 0.1, 0.3]), np.array([-0.5, 0.1]))
    assert carried(graph) == [0]
    assert not {"gather", "scatter_set", "dynamic_slice"} & set(ops_of(graph))
    graph = check(elman, signal(MANY, 3), np.ones((3, 4)) / 9, np.ones((4, 4)) / 9)
    assert carried(graph) == [1]
    assert "gather" not in ops_of(graph)


def test_variables_that_nobody_reads_have_no_gradient() -> None:
    def f(x):
        h = np.zeros(2)
        for row in x:
            inner = np.tanh(row + h)
            h = inner * 0.5
        return np.sum(h)

    graph = irdl.trace(irdl.grad(f))(signal(MANY, 2))
    assert [node.attributes.carry for node in scans_of(graph)] == [1, 1]


def test_what_was_stored_before_is_a_carry() -> None:
    def f(x):
        y = np.outer(x, np.array([0.5, -2.0]))
        for n in range(2, len(x)):
            y[n, 0] = x[n] + 0.5 * y[n - 1, 0] - 0.2 * y[n - 2, 1]
            y[n, 1] = 0.1 * y[n, 0] * np.tanh(y[n - 1, 1]) + 1.0
        return y

    graph = check(f, signal(MANY))
    assert carried(graph) == [0]
    assert not {"gather", "scatter_set"} & set(ops_of(graph))


def test_diagonals_and_places_that_stay() -> None:
    def f(x, k):
        y = np.zeros((3, len(x)))
        square = np.outer(x[:70], x[:70])
        for n in range(len(x)):
            y[1, n] = x[n]
            y[n - n, n] += y[1, n] * 2.0
            y[k, n] = x[n] - 1.0
        total = 0.0
        for n in range(70):
            total = total + square[n, n] * square[69 - n, n - n]
        return y, total

    check(f, signal(MANY), 2)


def test_in_place_and_backwards() -> None:
    def f(x):
        x = x.copy()
        for n in range(len(x) - 2, -1, -1):
            x[n] += 0.5 * x[n + 1]
        return x

    graph = check(f, signal(MANY))
    assert carried(graph) == [0]
    assert "gather" not in ops_of(graph)


def test_a_buffer_that_is_read_whole() -> None:
    def f(x):
        y, last = np.zeros(len(x)), np.ones(len(x))
        for n in range(len(x)):
            y[n] = x[n] + last[0]
            last = y.copy()
        return y, last

    assert carried(check(f, signal(MANY))) == [2]


def test_streams_that_interleave() -> None:
    def f(x):
        y = np.zeros(2 * len(x))
        for n in range(len(x)):
            y[2 * n + 1] = -x[n]
            y[2 * n] = x[n]
        return y

    assert carried(check(f, signal(MANY))) == [0]


def test_stores_that_meet_stay_in_the_buffer() -> None:
    def f(x):
        y = np.zeros(len(x) + 1)
        for n in range(len(x)):
            y[n] += x[n]
            y[n + 1] = 2.0 * x[n]
        return y

    assert carried(check(f, signal(MANY))) == [1]


def test_what_lies_far_back_is_read_from_the_buffer() -> None:
    def f(x):
        y = x.copy()
        for n in range(100, len(x)):
            y[n] += 0.5 * y[n - 100]
        return y

    assert carried(check(f, signal(MANY))) == [1]
    x = signal(MANY)
    found = irdl.jit(irdl.grad(lambda x: np.sum(np.sin(f(x)))))(x)
    step = 1e-6 * np.random.default_rng(0).standard_normal(x.shape)
    ahead, behind = (np.sum(np.sin(f(x + sign * step))) for sign in (1, -1))
    np.testing.assert_allclose(found @ step, (ahead - behind) / 2, rtol=1e-6)
    # Nothing as large as the buffer is kept for each step.
    kept = [value.type.size for node in scans_of(irdl.trace(irdl.grad(lambda x: np.sum(np.sin(f(x)))))(x)) for value in node.outputs]
    assert max(kept) <= MANY


def test_a_loop_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 16)

    def f(x, y):
        d = np.full((len(x) + 1, len(y) + 1), 1e3)
        d[0, 0] = 0.0
        for i in range(1, len(x) + 1):
            for j in range(1, len(y) + 1):
                d[i, j] = abs(x[i - 1] - y[j - 1]) + min(d[i - 1, j], d[i, j - 1], d[i - 1, j - 1])
        return d[-1, -1]

    graph = check(f, signal(40), signal(43))
    assert len(scans_of(graph)) == 2
    assert max(carried(graph)) == 1


def test_it_is_cut_where_the_counter_decides() -> None:
    def f(x):
        y = np.zeros_like(x)
        for n in range(len(x)):
            if n == 0:
                y[n] = x[n]
            elif n < len(x) // 2:
                y[n] = 0.5 * y[n - 1] + x[n]
            else:
                y[n] = x[n] - y[n - 1]
        return y

    graph = check(f, signal(MANY))
    assert [node.attributes.length for node in scans_of(graph)] == [MANY // 2 - 1, MANY - MANY // 2]
    assert "cond" not in ops_of(graph)


def test_first_steps_that_differ() -> None:
    def f(x):
        before, total = None, 0
        for value in x:
            if before is not None:
                total = total + abs(value - before)
            before = value
        return total, before

    graph = check(f, signal(MANY))
    assert [node.attributes.length for node in scans_of(graph)] == [MANY - 2]


def test_an_index_that_goes_past_the_end() -> None:
    def f(x):
        y = np.zeros_like(x)
        for n in range(len(x)):
            y[n] = x[n - 1]  # at first the last one
            try:
                y[n] += x[n + 1]
            except IndexError:
                y[n] = -1.0
        return y

    assert [node.attributes.length for node in scans_of(check(f, signal(MANY)))] == [MANY - 2]


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 40)

    def f(x):
        h = np.zeros(3)
        states, totals, times, sums = [h], [], [], [0.0]
        for t, row in enumerate(x):
            h = np.tanh(h + row)
            states.append(h)
            totals.append((h.sum(), {"first": h[0]}))
            times.append(t * 2)
            sums.append(sums[-1] + states[t][0])
        back = []
        for h in reversed(states):
            back.append(h * 2.0)
        for t in range(len(totals)):
            back.append(totals[t][1]["first"] + np.zeros(3))
        return np.stack(states), np.array(sums), times[-1], len(states), totals[5][0], np.array(back), np.concatenate(states)

    check(f, signal(40, 3))


def test_items_of_a_list_that_are_stored_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 16)

    def f(x):
        rows, first = [np.zeros(2)], x[0] * np.ones(2)
        rows.append(first)
        for value in x:
            rows.append(value * np.ones(2))
        for row in rows:
            row += 1.0
        for t in range(3, len(rows)):
            rows[t][1] = rows[t][0] * t
        return np.stack(rows), first

    check(f, signal(40))


def test_a_list_that_is_returned_is_a_list() -> None:
    def f(x):
        out: list[Any] = []
        for value in x:
            out.append(value * 2.0)
        return {"out": out if type(out) is list and isinstance(out, list) else "something else"}

    x = signal(plans.MANY_STEPS)
    found = irdl.jit(f)(x)["out"]
    assert type(found) is list
    np.testing.assert_allclose(found, 2.0 * x)


def test_numbers_beside_the_counter() -> None:
    def f(x):
        y, k, count = np.zeros(3 * len(x)), 1, 0
        for value in x:
            y[k] = value
            k += 3
            if value > 0:
                count += 1
        return y, count, np.zeros(k - 3 * len(x))  # k is known behind the loop

    assert carried(check(f, signal(MANY))) == [0]


def test_what_nothing_traced_goes_into_is_known_behind_the_loop() -> None:
    def f(x):
        weights, total = [], 0
        for n in range(plans.MANY_STEPS):
            weights.append(math.sin(n))
            total += n
        return x[:3] * weights[total % 7] if weights[2] > 0.5 else x

    assert not scans_of(check(f, signal(5)))


def factorial(x):
    number = 1
    for n in range(1, plans.MANY_STEPS + 2):
        x[0] = x[0] + number % 1000003
        number *= n
    return x, number % 7


def ring(x):
    it = itertools.cycle([1.0, 2.0, 3.0])
    total = 0.0
    for value in x:
        total = 0.5 * total + value * next(it)
    return total


def growing_shape(x):
    rows = x[:1]
    for n in range(1, plans.MANY_STEPS + 1):
        rows = np.concatenate([rows, x[n % 5 : n % 5 + 1]])[-4:]
    return rows


def keys(x):
    states = {-1: x[0]}
    for t in range(plans.MANY_STEPS):
        states[t] = 0.5 * states[t - 1] + x[t]
    return states[plans.MANY_STEPS - 1]


def how_long_it_is(x):
    out = [x[0]]
    for value in x:
        out.append(value * out[0] + len(out))
    return np.array(out)


def what_else_is_in_it(x):
    push = (out := []).append
    sizes = []
    for value in x:
        push(value)
        sizes.append(len([0.0] + out))
    return np.array(out), np.array(sizes)


def views_of_what_is_stored_into(x):
    x, out = x.reshape(-1, 2).repeat(4, 0).copy(), []
    for n in range(1, len(x)):
        out.append(x[n])
        x[n - 1] = x[n] * 2.0
    return np.stack(out), x


def another_name_of_what_is_stored_into(x):
    p, a, total = np.zeros(2), np.ones(2), 0.0
    for value in x:
        p[0] += value
        total = total + a[0]
        a = p
    return total, a, p


def a_row_many_times(x):
    row, rows = [0.0], []
    for value in x:
        row[0] = row[0] + value
        rows.append(row)
    return rows[0][0], rows[-1][0]


@pytest.mark.parametrize(
    "f",
    [
        factorial,
        ring,
        growing_shape,
        keys,
        what_else_is_in_it,
        views_of_what_is_stored_into,
        a_row_many_times,
        how_long_it_is,
        another_name_of_what_is_stored_into,
    ],
)
def test_what_cannot_be_goes_by_steps(f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 40)
    check(f, signal(plans.MANY_STEPS))


def test_arrays_that_change_places() -> None:
    def f(x, steps):
        a, b = x.copy(), np.zeros_like(x)
        for _ in range(MANY):
            b[1:-1] = a[1:-1] + 0.1 * (a[2:] - 2.0 * a[1:-1] + a[:-2])
            a, b = b, a
        return a + steps

    assert len(scans_of(check(f, signal(9), 0.0))) == 1


def test_arguments_that_change_places() -> None:
    def f(x, p, q):
        for value in x:
            p, q = q, p
            p[0] += value

    x = signal(MANY)
    given, expected = ([np.zeros(2), np.zeros(2)] for _ in range(2))
    irdl.jit(f)(x, *given)
    f(x, *expected)
    np.testing.assert_allclose(given, expected)


def test_an_argument_that_changes_places_with_an_array_of_the_functions() -> None:
    def f(x, p):
        q = np.zeros(2)
        for value in x:
            q[0] += value
            p, q = q, p
        return p, q

    x = signal(MANY)
    given, expected = np.zeros(2), np.zeros(2)
    for a, b in zip(irdl.jit(f)(x, given), f(x, expected), strict=True):
        np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(given, expected)


def test_an_array_under_two_names() -> None:
    def f(x):
        p = np.zeros(2)
        a, b = np.ones(2), p
        for value in x:
            p[0] += value
            a, b = b, a
        return a, b, p

    check(f, signal(MANY))


def test_an_array_from_a_branch_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MANY_STEPS", 16)

    def f(x):
        x = x.copy()
        place = x[:1]
        for n in range(len(x)):
            if x[n] > 2.0:
                place = x[n : n + 1]
        place[0] = -9.0
        return x

    check(f, signal(40))


def test_counters() -> None:
    trace = Trace("body")
    counter = trace.input(TensorType(np.dtype(np.int64), ()))
    trace.counters[counter] = range(-5, 20)
    with trace:
        for scale, offset, limit in itertools.product((-3, -2, -1, 1, 2, 3), range(-4, 5), (0, -3, 7)):
            value = wrap(counter, PYTHON) * scale + offset
            outcomes = [scale * step + offset < limit for step in range(-5, 20)]
            found = counters.crosses_at(trace, value.value, limit)
            cuts = [step for step in range(-4, 20) if outcomes[step + 5] != outcomes[step + 4]]
            assert ([] if found is None else [found[1]]) == cuts
            compared = value < limit
            assert counters.outcome(trace, compared.value) == (outcomes[0] if len(set(outcomes)) == 1 else None)
            cut = counters.cut_at(trace, compared.value)
            assert ([] if cut is None else [cut[1]]) == cuts
            assert counters.reach(trace, (value * 2).value) == tuple(sorted(2 * (scale * step + offset) for step in (-5, 19)))


def test_errors_are_those_of_the_steps() -> None:
    def f(x):
        total = 0.0
        for n in range(len(x)):
            total = total + x[n] @ np.ones(4)
        return total

    with pytest.raises(ValueError, match=r"test_traced_once\.py:\d+: total = total \+ x\[n\] @ np\.ones\(4\)"):
        irdl.jit(f)(signal(MANY, 3))


def test_a_raise_in_a_step() -> None:
    def f(x):
        total = 0.0
        for n in range(len(x)):
            if x[n] > 100.0:
                raise OverflowError(f"step {n}")
            total = total + x[n]
        return total

    compiled, x = irdl.jit(f), signal(MANY)
    np.testing.assert_allclose(compiled(x), f(x))
    x[MANY - 7] = 101.0
    with pytest.raises(OverflowError, match=f"step {MANY - 7}"):
        compiled(x)


def test_prints_of_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x):
        total = 0.0
        for n in range(len(x)):
            total = total + x[n]
            if n % 1000 == 0:
                print(n, total > 0)
        return total

    x = signal(MANY)
    f(x)
    expected = capsys.readouterr().out
    irdl.jit(f)(x)
    assert capsys.readouterr().out == expected


def test_unrolled_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDL_ROLL", "0")
    assert not scans_of(irdl.trace(elman)(signal(plans.MANY_STEPS, 1), np.ones((1, 1)), np.ones((1, 1))))
