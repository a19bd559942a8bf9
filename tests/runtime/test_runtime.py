"""Compiled functions at run time: donation, the signature cache, threads, memory, errors."""

from __future__ import annotations

import gc
import resource
import threading
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import DonationError, TraceError
from irdl.testing import assert_close, widened
from tests.models import lstm_data, lstm_loss

X = np.linspace(0, 1, 6)


def test_donated_arrays_are_the_results() -> None:
    def step(p: Any, m: Any, g: Any) -> Any:
        m = {k: 0.9 * m[k] + g[k] for k in m}
        return {k: p[k] - 0.1 * m[k] for k in p}, m, p["a"].sum()

    p, m, g = ({"a": np.full((3, 4), v), "b": np.full(7, v + 1)} for v in (1.0, 2.0, 3.0))
    expected = step(p, m, g)
    compiled = irdl.jit(step, donate_argnums=(0, 1))
    new_p, new_m, total = compiled(p, m, g)
    assert new_p["a"] is p["a"] and new_p["b"] is p["b"] and new_m["a"] is m["a"]
    assert_close((new_p, new_m, total), expected)


def test_donation_keeps_what_is_still_read() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x + y  # takes x's memory in name
        return z, x[::-1] * 2, np.cumsum(x)

    x = X.copy()
    expected = f(x, X)
    assert_close(irdl.jit(f, donate_argnums=0)(x, X), expected)


def test_bad_donations_are_errors() -> None:
    f = irdl.jit(lambda x, y: x + y, donate_argnums=0)
    x = X.copy()
    with pytest.raises(DonationError, match="`x` shares its memory with `y`"):
        f(x, x)
    with pytest.raises(DonationError, match="not contiguous"):
        f(np.zeros((6, 2))[:, 0], X)
    x.flags.writeable = False
    with pytest.raises(DonationError, match="read-only"):
        f(x, X)
    np.testing.assert_array_equal(irdl.jit(lambda x, n=3: x * n, donate_argnums=1)(X), X * 3)


def test_signatures_are_bounded_and_explained(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("IRDL_LOG", "compile")
    monkeypatch.setenv("IRDL_CACHE_SIZE", "16")
    f = irdl.jit(lambda x: x * 2 + 1)
    for n in range(100):
        np.testing.assert_array_equal(f(np.ones(n % 50)), np.full(n % 50, 3.0))
    assert f.cache_size() == 16
    f(np.ones(3, np.float32))
    text = capsys.readouterr().err
    assert "first call" in text and "float32" in text.splitlines()[-1]


def test_static_arguments_and_scalars() -> None:
    f = irdl.jit(lambda x, mode, n: x * n if mode == "scale" else x + n, static_argnums=1)
    np.testing.assert_array_equal(f(X, "scale", 3), X * 3)
    np.testing.assert_array_equal(f(X, mode="shift", n=3), X + 3)
    g = irdl.jit(lambda x, k: x * k, static_argnames="k")
    assert [g(2, 1), g(2, 1.0), g(2, True)] == [2, 2.0, 2] and type(g(2, 1.0)) is float
    with pytest.raises(TraceError, match="hashable"):
        g(X, {1})
    with pytest.raises(ValueError, match="no parameter"):
        irdl.jit(lambda x: x, static_argnames="y")


def test_index_errors_name_the_line() -> None:
    f = irdl.jit(lambda x, i: x[i] * 2)
    np.testing.assert_array_equal(f(X, np.array([0, -1])), X[[0, -1]] * 2)
    with pytest.raises(IndexError, match=r"index 6 is out of bounds for axis 0 with size 6 \(at test_runtime.py:\d+\)"):
        f(X, np.array([1, 6]))
    with pytest.raises(IndexError, match="index -7"):
        f(X, np.int64(-7))

    def scatter(x: Any, i: Any) -> Any:
        y = x.copy()
        np.add.at(y, i, 1.0)
        y[i] = 5
        return y

    with pytest.raises(IndexError, match="index 9"):
        irdl.jit(scatter)(X, np.array([0, 9]))
    np.testing.assert_array_equal(irdl.jit(scatter)(X, np.array([1, 1, -1])), scatter(X, np.array([1, 1, -1])))


@pytest.mark.parametrize("count", [1, 5, 8, 21, 64, 83])
def test_the_first_index_out_of_range_is_reported(count: int) -> None:
    """Wherever it lies in a vector, and of what lies beyond an array's end nothing."""
    x, places = np.arange(6.0), np.arange(2 * count) % 12 - 6
    f = irdl.jit(lambda x, i: x[i] * 2)
    np.testing.assert_array_equal(f(x, places[:count]), x[places[:count]] * 2)
    for wrong in range(count):
        changed = places.copy()
        changed[wrong:] = -7 - np.arange(2 * count - wrong)
        with pytest.raises(IndexError, match="index -7 is out of bounds for axis 0 with size 6"):
            f(x, changed[:count])


def test_eight_threads_share_one_function() -> None:
    data = [lstm_data(6, 4, 5, 24, seed=seed) for seed in range(8)]
    f = irdl.jit(irdl.value_and_grad(lstm_loss))
    expected = [irdl.value_and_grad(lstm_loss)(*arguments) for arguments in data]
    exact = [irdl.value_and_grad(lstm_loss)(*widened(arguments)) for arguments in data]
    failures: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for _ in range(20):
                assert_close(f(*data[place]), expected[place], exact[place])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    assert f.cache_size() == 1


def test_many_calls_leave_memory_flat() -> None:
    arguments = lstm_data(4, 2, 3, 16)
    f = irdl.jit(irdl.grad(lstm_loss))
    for _ in range(500):
        f(*arguments)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000):
        f(*arguments)
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000  # kB


def test_compiled_shows_its_insides() -> None:
    compiled = irdl.compile(lambda x: np.tanh(x) @ x)(np.ones((8, 8)))
    assert compiled.stages[0][0] == "trace" and compiled.stages[-1][0] == "barriers"
    assert "dot" in str(compiled.graph) and "kernel" in str(compiled.program)
    assert "define" in compiled.llvm_ir and len(compiled.asm) > 500
    assert compiled.memory.arena >= 0
    with pytest.raises(TraceError, match="leaf 0"):
        compiled(np.ones((4, 4)))
    graph = irdl.trace(lambda x: x * 2)(X)
    np.testing.assert_array_equal(irdl.compile(graph)()([X])[0], X * 2)


def test_byte_order_and_alignment() -> None:
    np.testing.assert_array_equal(irdl.jit(lambda x: x * 2)(X.astype(">f8")), X * 2)
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64)
    np.testing.assert_array_equal(irdl.jit(lambda x: x * 2)(unaligned), X * 2)


def test_results_are_new_arrays() -> None:
    f = irdl.jit(lambda x: (x, x.T, x * 1))
    x = np.ones((2, 3))
    a, b, c = f(x)
    a[:] = 5
    b[:] = 6
    assert x.max() == 1 and c.max() == 1


def test_donated_arguments_are_matched_with_what_is_made_of_them():
    """Whatever the order of the results: each is computed where its own argument lies."""

    def step(p, m, x):
        g = np.tanh(x @ x)
        m = 0.9 * m + g
        return g.sum(axis=1), m, p - 0.1 * m

    p, m, x = np.ones((4, 4)), np.full((4, 4), 2.0), np.eye(4)
    expected = step(p, m, x)
    compiled = irdl.compile(step, donate_argnums=(0, 1))(p, m, x)
    _, new_m, new_p = compiled(p, m, x)
    assert new_m is m
    assert new_p is p
    np.testing.assert_allclose(new_m, expected[1])
    np.testing.assert_allclose(new_p, expected[2])
    assert compiled.entries


@pytest.mark.parametrize(
    ("f", "in_place"),
    [
        (lambda x, v: x - np.mean(np.tanh(x.reshape(20, 80) @ x.reshape(80, 20))), True),  # read before
        (lambda x, v: x * 2 + x.T, False),  # read by the group that computes the new value
        (lambda x, v: x * 2 + x.reshape(2, 20, 40)[::-1].reshape(40, 40), False),
        (lambda x, v: ((y := x * 2), np.tanh((x.reshape(20, 80) + y.sum()) @ np.tanh(x.reshape(80, 20)))), False),  # read after
    ],
)
def test_views_of_a_donated_argument(f: Any, in_place: bool) -> None:
    """Its memory is overwritten at once where no view of it is read any more, else copied into at the end."""
    x, v = np.arange(1600.0).reshape(40, 40) / 1600, np.linspace(0, 1, 40)
    expected = f(x, v)
    compiled = irdl.compile(f, donate_argnums=0)(x.copy(), v)
    assert bool(compiled._executable.loaded.in_place) == in_place
    donated = x.copy()
    found = compiled(donated, v)
    assert_close(found, expected)
    assert (found[0] if isinstance(found, tuple) else found) is donated
