"""Errors that traced code raises where a traced bool holds: at each call the one that eager NumPy raises, and nothing is stored then."""

from __future__ import annotations

import contextlib
import copy
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError, ParseError, TraceError
from irdl.ir.parser import parse
from irdl.ir.printer import print_graph
from irdl.tracing.checks import check, fail
from irdl.tracing.recorder import Trace
from tests.codegen.cuda.stand_in import start
from tests.teams import team_of

X = np.array([0.5, 2.0, 1.5, 0.25])
NAN = np.array([0.5, np.nan, 1.5, 0.25])


class Diverged(ArithmeticError):
    """One whose arguments are not what it is made with."""

    def __init__(self, step: int, loss: Any) -> None:
        super().__init__(f"after {step} steps the loss is {loss:.3f}")
        self.step = step
        self.seen = {"loss": loss, "twice": [loss, step]}


def outcome(f: Callable[..., Any], *arguments: Any) -> Any:
    """What a call gives, or the error that it raises, and what it has made of its arguments."""
    arguments = copy.deepcopy(arguments)
    try:
        return f(*arguments), arguments
    except Exception as error:
        assert error.__cause__ is None or type(error.__cause__) is KeyError
        return (type(error), str(error) if type(error) is not IndexError else "", error.args[1:], vars(error).get("seen")), arguments


def same(found: Any, expected: Any) -> None:
    (first, after), (second, wanted) = found, expected
    if isinstance(second, tuple) and second and isinstance(second[0], type):
        assert isinstance(first, tuple) and first[:2] == second[:2], (first, second)
        np.testing.assert_equal(first[2:], second[2:])
        assert [type(item) for item in first[2]] == [type(item) for item in second[2]]
    else:
        leaves, structure = irdl.tree.flatten(second)
        assert irdl.tree.flatten(first)[1] == structure
        for got, leaf in zip(irdl.tree.flatten(first)[0], leaves, strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(leaf), 1e-12)
    np.testing.assert_equal(after, wanted)


def positive(x: np.ndarray) -> Any:
    check(x.min() <= 0, ValueError("must be positive"))
    return np.sqrt(x)


def numbers_in_a_text(x: np.ndarray) -> Any:
    lowest = x.min()
    check(lowest < 0.5, ValueError(f"the least is {lowest:.3f} of {len(x)}, at {np.argmin(x)}"))
    return x + 1


def several(x: np.ndarray) -> Any:
    check(np.any(np.isnan(x)), KeyError("nan"))
    total = x.sum()
    check(total > 4, Diverged(7, total))
    check(x[0] > x[1], AssertionError)
    check(total > 3, OSError(5, f"sum {total:.2f}"))
    return total


def traced_arguments(x: np.ndarray) -> Any:
    check(x[1] > 1, ValueError("too large", x[1], [x, 3], float(x[0])))
    return x[:2] * 1j


def complex_numbers(x: np.ndarray) -> Any:
    z = x * (1 + 2j)
    check(np.abs(z[1]) > 4, ValueError(f"z is {z[1]:.2f}", z[:2]))
    return z


def halves(x: np.ndarray) -> Any:
    h = x.astype(np.float16)
    check(h[1] > 1, ValueError(f"{h[1]}", h, h[0] > 1))
    return h


def before_an_index(x: np.ndarray) -> Any:
    i = (x[1] * 3).astype(np.int64)
    check(i >= len(x), LookupError(f"{i} is none of {len(x)}"))
    return x[i] * x[i - 1]


def behind_an_index(x: np.ndarray) -> Any:
    i = (x[1] * 3).astype(np.int64)
    y = x[i]
    check(x[1] > 1, LookupError("too late"))
    return y


def before_a_store(x: np.ndarray) -> Any:
    y = x.copy()
    i = (x[1] * 3).astype(np.int64)
    check(i >= len(x), LookupError(f"{i}"))
    y[i] += 1
    y[i : i + 1] *= 2
    return y


def before_a_system(x: np.ndarray) -> Any:
    a = np.array([[1.0, 2.0], [0.5, 1.0]]) * x[:2]
    check(np.abs(a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]) < 1e-9, ZeroDivisionError("singular"))
    return np.linalg.solve(a, x[:2])


def before_many_systems(x: np.ndarray) -> Any:
    check(x[0] == 0, ZeroDivisionError(f"{x[1]}"))
    a = np.eye(2) * x[0]
    stack = np.eye(2) * x[:3, None, None] ** 2 + a
    return np.linalg.solve(a, x[:2]), np.linalg.inv(stack), np.linalg.cholesky(stack * stack), np.linalg.eigvalsh(a)


def in_a_loop(x: np.ndarray) -> Any:
    h, out = np.zeros(()), []
    for t in range(len(x)):
        h = np.tanh(h) + x[t]
        check(h > 1.5, ValueError(f"step {t}: {h:.3f}"))
        check(np.isnan(h), Diverged(t, h))
        out.append(h)
    return np.stack(out)


def in_loops(x: np.ndarray) -> Any:
    total = np.zeros(())
    for a in range(len(x)):
        check(x[a] > 9, ValueError(f"outer {a}"))
        for b in range(len(x)):
            total = total + x[a] * x[b]
            check(total > 8, ValueError(f"{a}, {b}: {total:.3f}"))
        check(np.isnan(total), ValueError(f"nan in {a}"))
    return total


def index_in_a_loop(x: np.ndarray) -> Any:
    total = np.zeros(())
    for t in range(len(x)):
        i = (x[t] * 2).astype(np.int64)
        check(i > 3, ValueError(f"{i} in {t}"))
        total = total + x[i]
    return total


def in_a_scan(x: np.ndarray) -> Any:
    def body(carry: Any, v: Any) -> Any:
        check(v > 1.75, ValueError(f"{v:.2f} behind {carry:.3f}"))
        carry = carry + v
        check(np.isnan(carry), ValueError(f"nan at {v}"))
        return carry, carry * 2

    return irdl.scan(body, np.float64(0), x)


def in_a_scan_backwards(x: np.ndarray) -> Any:
    def body(carry: Any, v: Any) -> Any:
        check(v > 1.4, ValueError(f"{v:.2f} behind {carry:.3f}"))
        return carry + v, None

    return irdl.scan(body, np.float64(0), x, reverse=True)[0]


def in_scans(x: np.ndarray) -> Any:
    def outer(c: Any, v: Any) -> Any:
        def inner(d: Any, w: Any) -> Any:
            check(d > 3, ValueError(f"inner {d:.3f} {w:.2f}"))
            return d + w * v, None

        c, _ = irdl.scan(inner, c, x)
        check(np.isnan(c), ValueError("outer"))
        return c, c

    return irdl.scan(outer, np.float64(0), x)[1]


def in_branches(x: np.ndarray) -> Any:
    def yes(v: Any) -> Any:
        check(v[1] > 1, ValueError(f"yes {v[1]:.2f}"))
        check(v[2] > 1, ValueError("yes, too"))
        return v * 2

    def no(v: Any) -> Any:
        check(np.isnan(v[1]), KeyError("no"))
        return v

    def nothing(v: Any) -> Any:
        return v

    y = irdl.cond(x[0] > 0.4, yes, no, x)
    y = irdl.cond(x[1] > 0.4, nothing, no, y)
    return irdl.cond(x[0] > 0.3, lambda v: irdl.cond(v[1] > 0.3, yes, no, v), nothing, y)


def in_sides_that_only_raise(x: np.ndarray) -> Any:
    def raises(v: Any) -> Any:
        total = v.sum()
        fail(ValueError(f"of all {total:.3f}"))
        return v[::-1]

    def others(v: Any) -> Any:
        return irdl.cond(v[0] > v[3], lambda v: v * 2, lambda v: (fail(KeyError(v[0])), v)[1], v)

    return irdl.cond(x[1] > 1.5, raises, others, x)


def in_a_while_loop(x: np.ndarray) -> Any:
    def body(c: Any) -> Any:
        n, v = c
        check(v > 20, ValueError(f"{v:.3f} after {n}"))
        return n + 1, v * x[1] * 1.5

    return irdl.while_loop(lambda c: np.logical_and(c[1] < 30, c[0] < 50), body, (0, x[0]))


def before_a_loop_without_end(x: np.ndarray) -> Any:
    check(np.logical_not(x[1] < 0.9), ValueError("would not end"))
    return irdl.while_loop(lambda v: v > 0.1, lambda v: v * x[1], x[2])


def in_a_while_loop_without_end(x: np.ndarray) -> Any:
    def body(v: Any) -> Any:
        check(np.logical_not(x[1] < 0.9), ValueError(f"would not end at {v}"))
        return v * x[1]

    return irdl.while_loop(lambda v: v > 0.1, body, x[2])


def in_a_gradient(x: np.ndarray) -> Any:
    def loss(y: Any) -> Any:
        total = (y**2).sum()
        check(total > 4, ValueError(f"loss {total:.3f}"))
        check(np.isnan(total), Diverged(1, total))
        return total

    return irdl.value_and_grad(loss)(x)


def in_the_gradient_of_a_scan(x: np.ndarray) -> Any:
    def loss(y: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            check(v > 1.75, ValueError(f"{v:.3f}"))
            return c + v * v, None

        return irdl.scan(body, np.float64(0), y)[0]

    return irdl.grad(loss)(x)


def in_derivatives(x: np.ndarray) -> Any:
    def f(y: Any) -> Any:
        check(y[1] > 1.75, ValueError(f"{y[1]:.3f}"))
        return y * y

    value, pull = irdl.vjp(f, x)
    _, tangent = irdl.jvp(f, (x,), (np.ones_like(x),))
    return value, pull(x)[0], tangent


def in_a_checkpoint(x: np.ndarray) -> Any:
    @irdl.checkpoint
    def f(y: Any) -> Any:
        check(y[1] > 1.75, ValueError(f"{y[1]:.3f}"))
        return y * y

    return irdl.grad(lambda y: f(y).sum())(x), f(x)


def in_a_gradient_of_little_memory(x: np.ndarray) -> Any:
    def loss(y: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            c = np.tanh(c + v)
            check(v > 1.75, ValueError(f"{v:.3f} {c:.3f}"))
            return c, c * 2

        c, ys = irdl.scan(body, np.float64(0), np.concatenate([y] * 50))
        return c + ys.sum()

    return irdl.grad(loss, max_bytes=8000)(x)


def in_other_derivatives(x: np.ndarray) -> Any:
    def f(y: Any) -> Any:
        check(y[0] > 0.75, ValueError(f"{y[0]}"))
        return y**3

    return irdl.jacrev(f)(x), irdl.jacfwd(f)(x), irdl.hessian(lambda y: f(y).sum())(x)


def in_elements(x: np.ndarray) -> Any:
    def f(v: Any) -> Any:
        check(v > 1.75, ValueError(f"{v}"))
        return v * 2.0

    return np.vectorize(f)(x), [f(v) for v in x[::-1]]


def in_loops_made_of_others(x: np.ndarray) -> Any:
    def body(i: Any, c: Any) -> Any:
        check(c > 5, ValueError(f"{i}: {c:.2f}"))
        return c + x[i % 4]

    def join(a: Any, b: Any) -> Any:
        check(a > 3, ValueError(f"{a} {b}"))
        return a + b

    known, unknown = irdl.fori_loop(0, 10, body, 0.0), irdl.fori_loop(0, x[0].astype(np.int64) + 9, body, 0.0)
    return known, unknown, irdl.associative_scan(join, x)


def in_a_batch_of_scans(x: np.ndarray) -> Any:
    def f(v: Any) -> Any:
        def body(c: Any, w: Any) -> Any:
            check(c > 3, ValueError(f"{c} {v}"))
            return c + w * v, c

        return irdl.scan(body, np.float64(0), x)[0]

    return irdl.vmap(f)(x)


def in_a_batch(x: np.ndarray) -> Any:
    def f(v: Any, w: Any) -> Any:
        check(v > 1.4, ValueError(f"{v:.2f}"))
        check(w[0] > 9, ValueError("not this one"))
        return v * w

    return irdl.vmap(f, in_axes=(0, None))(x, x)


def in_a_batch_of_branches(x: np.ndarray) -> Any:
    def f(v: Any) -> Any:
        def yes(v: Any) -> Any:
            check(v > 1.4, ValueError(f"{v:.2f}"))
            return v

        return irdl.cond(v < 1.9, yes, lambda v: v * 2, v)

    return irdl.vmap(f)(x)


def in_a_batch_of_loops(x: np.ndarray) -> Any:
    def f(v: Any) -> Any:
        def body(c: Any) -> Any:
            check(c > 6, ValueError(f"{c:.2f} of {v:.2f}"))
            return c * 2

        return irdl.while_loop(lambda c: np.logical_and(c < 7, c > 0.1), body, v)

    return irdl.vmap(f)(x)


PROGRAMS = [item for item in list(globals().values()) if callable(item) and getattr(item, "__module__", "") == __name__]
PROGRAMS = PROGRAMS[PROGRAMS.index(positive) :]
ARGUMENTS = [X, NAN, -X, X * 0.5, X * 2, X[::-1].copy(), np.zeros(4), np.array([0.1, 0.2, 5.0, 3.0])]


@pytest.fixture(params=["cpu", "interpret", "cuda"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "cuda":
        start(tmp_path_factory.getbasetemp() / "stand_in")
    name: str = request.param
    return name


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_as_eager_code_does(program: Callable[..., Any], backend: str) -> None:
    compiled = irdl.jit(program, backend=backend)
    for _ in range(2):
        for x in ARGUMENTS if backend == "cpu" else [*ARGUMENTS[:5], ARGUMENTS[6]]:
            with np.errstate(all="ignore"):
                same(outcome(compiled, x), outcome(program, x))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_programs_fail_and_do_not(program: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        found = [outcome(program, x)[0] for x in ARGUMENTS]
    failed = [isinstance(item, tuple) and isinstance(item[0], type) for item in found]
    assert any(failed) and not all(failed)


def test_loops_that_check_stay_loops() -> None:
    for program in (in_a_loop, in_loops, index_in_a_loop):
        graph = irdl.trace(program)(np.ones(100))
        assert any(node.op.name == "scan" for node in graph.nodes) and len(graph.nodes) < 100, program


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_texts_of_graphs_and_programs(program: Callable[..., Any]) -> None:
    graph = irdl.trace(program)(X)
    assert print_graph(parse(print_graph(graph)), False) == print_graph(graph, False)
    text = str(irdl.compile(program)(X).program)
    assert "check axis -1 of 1" in text
    assert str(irdl.parse(text)) == text


def test_a_graph_alone_says_what_it_can() -> None:
    graph = irdl.trace(several)(X)
    run = irdl.compile(parse(print_graph(graph)))()
    with pytest.raises(KeyError, match="nan"):
        run([NAN])
    other = parse('graph f(x: i64[]) -> (i64[]) {\n  %0: i64[] = check(x) raises=("Mine: no",) codes=(5,)\n  return %0\n}\n')
    with pytest.raises(IrdlError, match="Mine: no"):
        irdl.compile(other)()([np.array(3)])
    assert irdl.compile(other)()([np.array(0)])[0] == 0
    with pytest.raises(ParseError, match="a code"):
        parse('graph f(x: f64[]) -> (f64[]) {\n  %0: f64[] = check(x) raises=("no",) codes=(5,)\n  return %0\n}\n')


# What a call that fails leaves as it was.


class Model:
    def __init__(self) -> None:
        self.w = np.ones(3)
        self.steps = 0
        self.history: list[Any] = []

    def step(self, x: np.ndarray) -> Any:
        self.steps += 1
        self.w -= 0.1 * x
        loss = (self.w**2).sum()
        self.history.append(loss)
        x *= 2
        check(loss > 9, Diverged(self.steps, loss))
        return loss


def test_state_stays_as_it_was(backend: str) -> None:
    model, x = Model(), np.array([1.0, 2.0, 3.0])
    step = irdl.jit(model.step, backend=backend)
    for _ in range(3):
        step(x.copy())
    assert model.steps == 3 == len(model.history)
    before, own = copy.deepcopy(vars(model)), model.w
    for _ in range(3):
        bad = np.array([1e3, -1.0, 0.0])
        with pytest.raises(Diverged, match="after 4 steps the loss is"):
            step(bad)
        assert bad.tolist() == [1e3, -1.0, 0.0]
        np.testing.assert_equal(vars(model), before)
        assert model.w is own
    step(x.copy())
    assert model.steps == 4 == len(model.history) and model.w is own


def store_first(a: np.ndarray, i: np.ndarray) -> None:
    a[i[0]] = 5.0
    a[1:] *= 2
    check(a[1] > 10, ValueError(f"a[1] is {a[1]}"))
    a[i[1]] += 1


def check_first(a: np.ndarray, i: np.ndarray) -> None:
    check(a[1] > 5, ValueError(f"a[1] is {a[1]}"))
    a[i[0]] = 5.0
    a += 1
    a[i[1]] = 0.0


def check_last(a: np.ndarray, i: np.ndarray) -> None:
    for t in range(1, len(a)):
        a[t] = a[t - 1] + a[i[0]]
    check(a[-1] > 60, ValueError(f"{a[-1]}"))


def check_in_the_loop(a: np.ndarray, i: np.ndarray) -> None:
    for t in range(1, len(a)):
        check(a[t - 1] > 9, ValueError(f"{t}: {a[t - 1]}"))
        a[t] = a[t - 1] + a[i[0]]


@pytest.mark.parametrize("program", [store_first, check_first, check_last, check_in_the_loop], ids=lambda program: program.__name__)
@pytest.mark.parametrize("threads", [1, 2])
def test_arrays_stay_as_they_were(program: Callable[..., Any], threads: int, backend: str) -> None:
    if threads > 1 and backend != "cpu":
        return
    with team_of(threads):
        compiled = irdl.jit(program, backend=backend)
        for first in (1.0, 6.0, 30.0):
            for indices in ([0, 2], [5, 2], [0, -7]):
                a, i = np.array([1.0, first, 2.0, 3.0, 4.0]), np.array(indices)
                expected, (wanted, _) = outcome(program, a, i)
                found, (after, _) = outcome(compiled, a, i)
                if expected is None:
                    assert found is None
                    np.testing.assert_equal(after, wanted)
                else:
                    assert found[:2] == expected[:2]
                    np.testing.assert_equal(after, a)


def test_what_is_checked_first_is_still_stored_in_place() -> None:
    for program, where in ((check_first, True), (check_last, False)):
        build = irdl.compile(program)(np.ones(5), np.array([0, 1]))._executable.build
        assert bool(build.in_place) is where, program


def test_donated_arrays() -> None:
    def f(x: np.ndarray) -> Any:
        check(x[0] > 3, ValueError(f"{x[0]}"))
        return x + 1

    compiled = irdl.jit(f, donate_argnums=0)
    x = np.ones(3)
    assert compiled(x) is x and x.tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match=r"^5\.0"):
        compiled(np.full(3, 5.0))


# How it is called.


def test_a_call_stays_native() -> None:
    compiled = irdl.compile(numbers_in_a_text)(X)
    assert compiled.entries
    entry = compiled.entries[0]
    for _ in range(100):
        with pytest.raises(ValueError, match=r"the least is 0\.250 of 4, at 3"):
            entry(X)
    np.testing.assert_equal(entry(X + 1), X + 2)


def test_arguments_that_only_python_takes() -> None:
    compiled = irdl.jit(numbers_in_a_text)
    with pytest.raises(ValueError, match=r"the least is 0\.250 of 4, at 0"):
        compiled(X[::-1])
    with pytest.raises(ValueError, match=r"the least is 0\.250 of 4, at 3"):
        compiled(X.astype(">f8"))


def test_threads_have_numbers_of_their_own() -> None:
    def f(x: np.ndarray) -> Any:
        for _ in range(20):
            x = np.tanh(x) + x[0] * 1e-300
        check(x[0] >= 0, ValueError(f"{x[1]:.0f}", x[1]))
        return x

    compiled = irdl.jit(f)
    wrong: list[Any] = []

    def work(number: int) -> None:
        x = np.concatenate([np.ones(1), np.full(20000, float(number))])
        expected = np.array(number, float)
        for _ in range(20):
            expected = np.tanh(expected)
        for _ in range(30):
            try:
                compiled(x)
                wrong.append(number)
            except ValueError as error:
                if abs(error.args[1] - expected) > 1e-12:
                    wrong.append((number, error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(-3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_errors_are_new_ones_each_time() -> None:
    compiled = irdl.jit(several)
    found = []
    for _ in range(2):
        with pytest.raises(Diverged) as raised:
            compiled(X)
        found.append(raised.value)
    first, second = found
    assert first is not second and first.seen is not second.seen and first.args == second.args
    assert first.__notes__ == second.__notes__ == [f"raised at test_checks.py:{several.__code__.co_firstlineno + 3}"]
    assert type(first.seen["loss"]) is np.float64


def test_numbers_of_an_error_stay() -> None:
    compiled = irdl.compile(traced_arguments)(X)
    with pytest.raises(ValueError, match="too large") as first:
        compiled(X)
    with pytest.raises(ValueError, match="too large"):
        compiled(X * 10)
    np.testing.assert_equal(first.value.args[1:3], (2.0, [X, 3]))


def test_arrays_on_a_device(tmp_path_factory: pytest.TempPathFactory) -> None:
    start(tmp_path_factory.getbasetemp() / "stand_in")
    compiled = irdl.jit(traced_arguments, backend="cuda")
    x = irdl.device_put(X)
    for _ in range(2):
        with pytest.raises(ValueError, match="too large") as raised:
            compiled(x)
        assert raised.value.args[1] == 2.0
        np.testing.assert_equal(raised.value.args[2], [X, 3])
    np.testing.assert_equal(np.asarray(compiled(irdl.device_put(X * 0.25))), X[:2] * 0.25j)


def test_causes_and_classes_made_otherwise() -> None:
    class Odd(Exception):
        def __new__(cls, number: int) -> Any:
            return super().__new__(cls, number, "odd")

    def f(x: np.ndarray) -> Any:
        error = ValueError("no")
        error.__cause__ = KeyError("why")
        check(x[0] > 1, error)
        error = ValueError("nor this")
        error.__suppress_context__ = True
        error.add_note("noted")
        check(x[0] > 0, error)
        check(x[0] < -1, Odd(3))
        check(x[0] < 0, UnicodeDecodeError("utf8", b"x", 0, 1, f"at {x[0]}"))
        return x

    compiled = irdl.jit(f)
    with pytest.raises(ValueError, match=r"^no") as raised:
        compiled(np.array([2.0]))
    assert repr(raised.value.__cause__) == "KeyError('why')"
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^nor this") as raised:
            compiled(np.array([1.0]))
        assert raised.value.__suppress_context__ and raised.value.__cause__ is None
        assert raised.value.__notes__[0] == "noted" and len(raised.value.__notes__) == 2
    with pytest.raises(Odd) as odd:
        compiled(np.array([-2.0]))
    assert odd.value.args == (3,)
    with pytest.raises(UnicodeDecodeError, match=r"at -0\.5"):
        compiled(np.array([-0.5]))


def test_what_is_kept_is_not_the_trace() -> None:
    def traces() -> int:
        gc.collect()
        return sum(isinstance(item, Trace) for item in gc.get_objects())

    before = traces()
    compiled = [irdl.jit(program) for program in PROGRAMS]
    for f in compiled:
        outcome(f, X)
    assert traces() <= before


def test_what_is_known_is_raised_at_once() -> None:
    check(False, ValueError("no"))
    check(np.array([0.0]), ValueError)
    with pytest.raises(ValueError, match=r"^yes$"):
        check(np.bool_(True), ValueError("yes"))

    with pytest.raises(KeyError):
        fail(KeyError)
    with pytest.raises(KeyError, match="at once"):
        irdl.jit(lambda x: fail(KeyError("at once")))(X)

    def f(x: np.ndarray, n: int) -> Any:
        check(len(x) > 3, ValueError("long"))
        check(n > 3, ValueError(f"n is {n}"))
        return x * n

    compiled = irdl.jit(f, static_argnums=1)
    assert compiled(np.ones(2), 2).tolist() == [2, 2]
    for arguments, message in (((np.ones(5), 2), "long"), ((np.ones(2), 5), "n is 5")):
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                compiled(*arguments)
    # A gradient outside of a compiled function knows its numbers.
    with pytest.raises(Diverged):
        irdl.grad(lambda x: several(x))(X)


def test_numbers_of_an_object() -> None:
    class Counter:
        n = 0

    counter = Counter()

    @irdl.jit
    def f(x: np.ndarray) -> Any:
        counter.n += 1
        check(counter.n > 5, ValueError(f"{counter.n} calls"))
        return x + counter.n

    for number in range(1, 6):
        assert f(np.zeros(1))[0] == number
    for _ in range(2):
        with pytest.raises(ValueError, match="6 calls"):
            f(np.zeros(1))


def test_what_cannot_be_checked() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        irdl.jit(lambda x: check(x > 0, ValueError))(X)
    with pytest.raises(ValueError, match="ambiguous"):
        irdl.jit(lambda x: check(x[:0] > 0, ValueError))(X)

    @irdl.custom_vjp
    def f(x: Any) -> Any:
        check(x[0] > 0, ValueError)
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (ct,))
    with pytest.raises(TraceError, match=r"raised inside a custom_vjp.*test_checks"):
        irdl.jit(lambda x: f(x).sum())(X)

    def condition(c: Any) -> Any:
        check(c > 3, ValueError)
        return c < 5

    with pytest.raises(TraceError, match="raised inside a while condition"):
        irdl.jit(lambda x: irdl.while_loop(condition, lambda c: c + 1, x[0]))(X)


def test_errors_that_are_caught() -> None:
    def fails(x: np.ndarray) -> Any:
        check(x[0] > 1, KeyError("no"))
        return x

    def by_its_class(x: np.ndarray) -> Any:
        try:
            return fails(x)
        except KeyError:
            return x * 2

    def by_a_base(x: np.ndarray) -> Any:
        try:
            y = irdl.grad(lambda x: fails(x).sum())(x)
        except (ValueError, LookupError) as error:
            raise RuntimeError from error
        return y

    def by_all(x: np.ndarray) -> Any:
        try:
            with np.errstate():
                y = fails(x)
        except:  # noqa: E722
            y = x
        return y

    def by_suppress(x: np.ndarray) -> Any:
        y = x
        with contextlib.suppress(KeyError):
            y = fails(x)
        return y

    for function in (by_its_class, by_a_base, by_all, by_suppress):
        with pytest.raises(TraceError, match=r"KeyError that depends on .* comes to the `except` at test_checks\.py:\d+.*\(at test_checks"):
            irdl.jit(function)(X)

    def not_by_others(x: np.ndarray) -> Any:
        try:
            y = fails(x)
        except (ValueError, np.linalg.LinAlgError):
            y = x
        finally:
            x = x + 1
        return x + y

    def not_elsewhere(x: np.ndarray) -> Any:
        try:
            y = x

            def inner() -> Any:
                return fails(x)

            lambda_ = lambda: fails(x)  # noqa: E731
        except KeyError:
            return inner
        else:
            y = inner() + lambda_()
        return y + fails(x)

    for function in (not_by_others, not_elsewhere):
        compiled = irdl.jit(function)
        for x in (X, X * 4):
            same(outcome(compiled, x), outcome(function, x))
    # Around a call they are the caller's.
    try:
        irdl.vmap(fails)(np.full((2, 2), 5.0))
    except KeyError as error:
        assert error.args == ("no",)
    try:
        irdl.jit(fails)(X * 4)
    except KeyError as error:
        assert error.args == ("no",)


def test_nothing_but_a_check() -> None:
    def f(x: np.ndarray) -> None:
        check(x[0] > 1, ValueError(f"{x[0]}"))

    compiled = irdl.jit(f)
    assert compiled(X) is None
    with pytest.raises(ValueError, match=r"^2\.0"):
        compiled(X * 4)
    assert irdl.eval_shape(f, X) is None


def test_captured_arrays_that_only_a_check_reads() -> None:
    limit = np.array([1.0])

    @irdl.jit
    def f(x: np.ndarray) -> Any:
        check(x[0] > limit[0], ValueError(f"above {limit[0]}"))
        return x

    f(X)
    limit[0] = 0.25
    with pytest.raises(ValueError, match=r"above 0\.25"):
        f(X)


def test_no_steps_and_no_elements() -> None:
    for program in (in_a_loop, in_a_scan, in_a_batch_of_branches):
        if program is not in_a_loop:  # NumPy stacks nothing of nothing
            same(outcome(irdl.jit(program), X[:0]), outcome(program, X[:0]))
        same(outcome(irdl.jit(program), X[:1]), outcome(program, X[:1]))
        same(outcome(irdl.jit(program), X[1:2]), outcome(program, X[1:2]))

    def f(x: np.ndarray) -> Any:
        check(np.any(x > 1), ValueError("never"))
        check(np.all(x > 1), ValueError(f"always {x}"))
        return x

    with pytest.raises(ValueError, match=r"always \[\]"):
        irdl.jit(f)(np.zeros((0,)))


@pytest.mark.parametrize("size", [1, 5, 33, 1000])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int8", "uint64", "bool", "complex64"])
def test_numbers_of_all_kinds(size: int, dtype: str) -> None:
    import ml_dtypes  # noqa: F401

    def f(x: np.ndarray) -> Any:
        y = x[::-1]
        check(np.abs(x[0]) >= 1, ValueError(f"{y} and {x[-1]}", y, x[-1]))
        return x

    compiled = irdl.jit(f)
    for x in (np.zeros(size), np.arange(size, 0, -1) % 3):
        same(outcome(compiled, x.astype(dtype)), outcome(f, x.astype(dtype)))


def test_many_results_and_long_loops() -> None:
    def f(xs: list[np.ndarray]) -> Any:
        total = np.zeros(())
        for t in range(1000):
            total = total + xs[0][t]
            check(total > 900, ValueError(f"{t}: {total}"))
        return [x + total for x in xs]

    compiled = irdl.jit(f)
    xs = [np.ones(1000) * 0.5 for _ in range(20)]
    np.testing.assert_equal(compiled(xs)[19], xs[19] + 500)
    xs[0] = np.ones(1000)
    with pytest.raises(ValueError, match=r"^900: 901\.0"):
        compiled(xs)


def test_static_arrays_that_are_checked() -> None:
    w = np.arange(4.0)
    w.flags.writeable = False

    def f(w: np.ndarray, x: np.ndarray) -> Any:
        check(np.sum(w) > 10, ValueError("w"))
        check(x[0] * w[1] > 3, ValueError(f"{w[1]}"))
        return w * x

    compiled = irdl.jit(f, static_argnums=0)
    np.testing.assert_equal(compiled(w, np.ones(4)), w)
    with pytest.raises(ValueError, match=r"^1\.0"):
        compiled(w, np.full(4, 5.0))
    heavy = w * 10
    heavy.flags.writeable = False
    with pytest.raises(ValueError, match=r"^w"):
        compiled(heavy, np.ones(4))


_PROCESS = """
import sys
import numpy as np
import irdl
from irdl.runtime import build
from irdl.tracing.checks import check

class Mine(Exception):
    pass

def f(x):
    check(x[0] > 1, Mine(f"x is {x[0]}", x[1]))
    return x * 2

if sys.argv[1] == "again":
    build.Build.code = None  # it is read
compiled = irdl.jit(f)
print(compiled(np.ones(2)).tolist())
for _ in range(2):
    try:
        compiled(np.array([2.0, 3.0]))
    except Mine as error:
        print(repr(error), error.__notes__)
"""


def test_code_from_the_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDL_CACHE", "1")
    monkeypatch.setenv("IRDL_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "user.py"
    file.write_text(_PROCESS)
    for which in ("first", "again"):
        done = subprocess.run([sys.executable, str(file), which], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == ["[2.0, 2.0]", *["Mine('x is 2.0', np.float64(3.0)) ['raised at user.py:12']"] * 2]
