"""Stores into buffers are done in place: what a program writes grows with what is stored, not with stores times buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.loops.interpret import Machine

_random = np.random.default_rng(0)


class _Counting(Machine):
    """Counts the elements that a program writes to memory."""

    written = 0

    def writer(self, buffer: Any) -> Callable[[int, Any], None]:
        write = super().writer(buffer)

        def counted(place: int, value: Any) -> None:
            self.written += 1
            write(place, value)

        return write if buffer.space == "register" else counted


def written(f: Callable[..., Any], *arguments: Any) -> int:
    compiled = irdl.compile(f)(*arguments)
    results = f(*[np.copy(a) for a in arguments])
    machine = _Counting(compiled.program)
    found = machine.call([np.copy(a) for a in arguments])
    expected = results if isinstance(results, tuple) else (results,)
    for a, b in zip(found, expected, strict=False):
        np.testing.assert_allclose(a, np.ravel(b), rtol=1e-10)
    return machine.written


def batched_lstm(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Inputs and states side by side in one row of a buffer, gates in another: a well-known public LSTM."""
    steps, batch, size = x.shape
    d = w.shape[1] // 4
    rows, gates = np.zeros((steps, batch, w.shape[0])), np.zeros((steps, batch, 4 * d))
    cells, out = np.zeros((steps, batch, d)), np.zeros((steps, batch, d))
    for t in range(steps):
        before = out[t - 1] if t > 0 else np.zeros((batch, d))
        rows[t, :, 0] = 1
        rows[t, :, 1 : 1 + size] = x[t]
        rows[t, :, 1 + size :] = before
        gates[t] = rows[t].dot(w)
        gates[t, :, : 3 * d] = 1.0 / (1.0 + np.exp(-gates[t, :, : 3 * d]))
        gates[t, :, 3 * d :] = np.tanh(gates[t, :, 3 * d :])
        c = cells[t - 1] if t > 0 else np.zeros((batch, d))
        cells[t] = gates[t, :, :d] * gates[t, :, 3 * d :] + gates[t, :, d : 2 * d] * c
        out[t] = gates[t, :, 2 * d : 3 * d] * np.tanh(cells[t])
    return out, rows, gates, cells


def overlap_add(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    out = np.zeros(2 * len(x) + 3)
    for t in range(len(x)):
        out[2 * t : 2 * t + 4] += x[t, 0, 0] * w[0, 0]
    return out


def read_back(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Every row is computed from one that was stored, by a step that rolling does not see through."""
    out = np.zeros((len(x), *x.shape[1:]))
    for t in range(len(x)):
        out[t] = x[t] + out[t * t % (t + 1)] * 0.5 + out[t // 2]
    return out


@pytest.mark.parametrize("roll", ["0", "1"])
@pytest.mark.parametrize("f", [batched_lstm, overlap_add, read_back])
def test_work_grows_with_the_steps(f: Callable[..., Any], roll: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDL_ROLL", roll)
    w = 0.3 * _random.standard_normal((6, 8))
    few, many = (written(f, _random.standard_normal((steps, 2, 3)), w) for steps in (8, 32))
    assert many < 4.5 * few


def test_a_buffer_read_later_is_copied() -> None:
    def f(x: np.ndarray) -> tuple[np.ndarray, ...]:
        a = x * 2
        b = a.copy()
        view = a[1:3]
        a[0] = 7.0
        early = view + 0.0
        a[1] = 8.0
        b[0] = a[2]
        late = view * 3
        a[2:] = a[:-2]
        return a, b, early, late, view * 1

    x = _random.standard_normal((6, 5))
    for a, b in zip(irdl.jit(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_copy_made_before_a_store_is_what_it_was() -> None:
    def f(x: np.ndarray) -> tuple[np.ndarray, ...]:
        a = np.tanh(x)
        b = a.copy()
        a[0] = 7.0
        a[1] = 8.0
        return a, b * a, b.sum(axis=0)

    x = _random.standard_normal((6, 5))
    for a, b in zip(irdl.jit(f)(x), f(x), strict=True):
        np.testing.assert_allclose(a, b)


def test_donated_arguments_are_stored_into() -> None:
    def f(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        x = x.copy()
        for t in range(len(x)):
            x[t, t] = v[t]
        return x

    x, v = _random.standard_normal((5, 5)), _random.standard_normal(5)
    expected = f(x, v)
    donated = x.copy()
    result = irdl.jit(f, donate_argnums=0)(donated, v)
    assert result is donated
    np.testing.assert_array_equal(result, expected)


def test_carries_through_inner_loops_stay_where_they_are() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        out = np.zeros((x.shape[0] - 2, x.shape[1] - 2))
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = np.sum(x[i : i + 3, j : j + 3] * w)
        return out

    w = _random.standard_normal((3, 3))
    few, many = (written(f, _random.standard_normal((n + 2, 10)), w) for n in (8, 32))
    assert many < 4.5 * few


def shifted_rows(x: Any) -> Any:
    q = np.cumsum(x).reshape(4, 6)
    q[1:] = q[:-1]
    return q


def shifted_copy(x: Any) -> Any:
    q = np.cumsum(x).reshape(4, 6)
    copy = q.copy()
    copy[1:] = q[:-1]
    return copy


def shifted_elements(x: Any) -> Any:
    q = np.cumsum(x.reshape(4, 6), axis=1).reshape(24)
    q[1:] = q[:-1]
    return q


def turned(x: Any) -> Any:
    q = (x.reshape(4, 6) @ x.reshape(6, 4)).reshape(16)
    q[5:] = np.flip(q)[5:]
    return q


@pytest.mark.parametrize("f", [shifted_rows, shifted_copy, shifted_elements, turned])
def test_what_is_stored_is_a_view_of_what_was_reshaped(f: Callable[..., Any]) -> None:
    x = _random.standard_normal(24)
    np.testing.assert_allclose(irdl.jit(f)(x), f(x), rtol=1e-12)
