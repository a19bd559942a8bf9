"""Small programs that once were rolled wrongly, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irdl

from .rolled import limits, rolled, runs, scans

_random = np.random.default_rng(0)
X, W = _random.standard_normal((9, 2, 3)), 0.3 * _random.standard_normal((3, 3))


@pytest.fixture(autouse=True)
def _everything_rolls() -> Any:
    with limits():
        yield


def check(f: Any, *arguments: Any, scans_made: int = 1, top: int | None = None) -> None:
    graph = rolled(f, *arguments)
    assert scans(graph) == scans_made, graph
    if top is not None:
        assert len(graph.nodes) <= top, graph
    runs(f, *arguments)


def test_a_view_recorded_anew_in_every_step() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = np.zeros((2, 3))
        for row in x[::-1]:
            h = np.tanh(row @ w + h)
        return h

    check(f, X, W, top=6)


def test_a_first_step_of_other_types() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        h = 0
        for t in range(9):
            h = np.tanh(x[t] @ w + h)
        return h

    check(f, X, W)
    check(lambda x, w: f(x.astype(np.float32), w), X, W)


def test_a_first_row_that_reads_the_buffer() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        out = np.zeros((9, 2, 3))
        for t, row in enumerate(x):
            out[t] = np.tanh(row @ w + out[t - 1])
        return out

    check(f, X, W)


def test_the_states_before_each_step() -> None:
    """`hs[t - 1]` with `hs[-1] = h0` is what the loop had before each step, and no copy of its states; backwards too."""

    def forwards(x: np.ndarray, w: np.ndarray) -> Any:
        hs = {-1: np.ones((2, 3))}
        for t in range(9):
            hs[t] = np.tanh(x[t] @ w + hs[t - 1])
        d, dw = np.zeros((2, 3)), np.zeros_like(w)
        for t in reversed(range(9)):
            d = (1 - hs[t] ** 2) * (d + 1)
            dw += hs[t - 1].T @ d
        return dw

    def backwards(x: np.ndarray, w: np.ndarray) -> Any:
        hs = {9: np.ones((2, 3))}
        for t in reversed(range(9)):
            hs[t] = np.tanh(x[t] @ w + hs[t + 1])
        d, dw = np.zeros((2, 3)), np.zeros_like(w)
        for t in range(9):
            d = (1 - hs[t] ** 2) * (d + x[t])
            dw += hs[t + 1].T @ d
        return dw

    def backwards_in_part(x: np.ndarray, w: np.ndarray) -> Any:
        hs = {9: np.ones((2, 3))}
        for t in reversed(range(9)):
            hs[t] = np.tanh(x[t] @ w + hs[t + 1])
        total = hs[0]
        for t in reversed(range(2, 9)):
            total = np.tanh(total @ w + hs[t + 1])
        return total

    def with_gaps(x: np.ndarray, w: np.ndarray) -> Any:
        hs = {-1: np.ones((2, 3))}
        for t in range(9):
            hs[t] = np.tanh(x[t] @ w + hs[t - 1])
        total = hs[8]
        for t in (0, 1, 3, 5, 7, 9):
            total = np.tanh(total @ w + hs[t - 1])
        return total

    check(backwards_in_part, X, W, scans_made=2)
    check(with_gaps, X, W, scans_made=2)
    for f in (forwards, backwards):
        check(f, X, W, scans_made=2)
        assert not any(node.op.name == "concat" for node in rolled(f, X, W).nodes)
    # Part of them, from either end.
    for low, high in ((0, 8), (1, 9), (2, 7)):

        def part(x: np.ndarray, w: np.ndarray, low: int = low, high: int = high) -> Any:
            hs = [np.ones((2, 3))]
            for t in range(9):
                hs.append(np.tanh(x[t] @ w + hs[-1]))
            total = np.zeros((3, 3))
            for t in range(low, high):
                total = np.tanh(total + hs[t].T @ hs[t + 1])
            return total

        check(part, X, W, scans_made=2)


def test_a_final_value_and_the_rest() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        hs = []
        h = np.zeros((2, 3))
        for t in range(9):
            h = np.tanh(x[t] @ w + h)
            hs.append(h)
        total = h
        for past in hs:
            total = total + past @ w
        return total

    check(f, X, W, scans_made=2)


def test_what_the_last_step_leaves_unread() -> None:
    """Its state is read by nothing: the step is like the others all the same."""

    def f(x: np.ndarray, w: np.ndarray) -> Any:
        d, dw = np.zeros((2, 3)), np.zeros_like(w)
        for t in reversed(range(9)):
            dz = d + x[t]
            dw += x[t].T @ dz
            d = dz @ w.T  # of the last step for nothing
        return dw

    check(f, X, W)


def test_what_is_merged_into_something_unread() -> None:
    """The computation of step 0 that all steps share was read by nothing there: it is read now, and stays where it is."""

    def f(x: np.ndarray, w: np.ndarray) -> Any:
        h = out = np.zeros((2, 3))
        for _ in range(2):
            for s in range(9):
                shared = np.exp(w) @ w
                if s > 0:
                    h = np.tanh(x[s] @ shared + h)
            out = out + h
        return out

    runs(f, X, W)
    rolled(f, X, W)


def test_swaps_and_rings() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        a, b, c = x[0], x[1] + 1, x[2] * 2
        for t in range(9):
            a, b, c = np.tanh(b @ w + x[t]), c, a
        return a, b, c

    check(f, X, W)


def test_a_store_between_reads() -> None:
    """A version of the buffer counts, not the buffer."""

    def f(x: np.ndarray, w: np.ndarray) -> Any:
        out, total = np.zeros((9, 2, 3)), np.zeros((2, 3))
        for t in range(9):
            before = out[t] * 1
            out[t] = x[t] @ w
            total = np.tanh(total + before + out[t])
            out[t] = total
        for t in range(9):
            total = np.tanh(total @ w + out[t])
        return total, out

    check(f, X, W, scans_made=2)


def test_windows_that_move_along_several_axes() -> None:
    def f(x: np.ndarray) -> Any:
        total = np.zeros((3, 3))
        for t in range(6):
            total = np.tanh(total + x[t : t + 3, 2 * t : 2 * t + 3])
        return total

    check(f, _random.standard_normal((9, 14)))


def test_stores_that_overlap_are_made_in_their_order() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        out = np.zeros((21, 2, 3))
        for t in range(9):
            out[2 * t : 2 * t + 2] = np.tanh(x[t] @ w + np.ones((2, 1, 1)))
            out[2 * t + 3] = x[t] @ w
        return out

    check(f, X, W)


def test_stores_that_cross_are_made_in_their_order() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        out, h = np.zeros((9, 9)), np.zeros(9)
        for t in range(9):
            h = np.tanh(x[t] + h @ w)
            out[t] = h
            out[:, t] = x[t] * 2
        return out

    check(f, _random.standard_normal((9, 9)), _random.standard_normal((9, 9)))


def test_steps_far_apart() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        hs = [np.full((2, 3), float(k)) for k in range(5)]
        for t in range(9):
            hs.append(np.tanh(x[t] @ w + hs[-5]))
        return hs[-1], hs[-3]

    check(f, X, W)


def test_a_region_within_a_loop() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> Any:
        h = np.zeros((2, 3))
        for t in range(9):
            h = irdl.cond(h.sum() > 0, lambda h, r: np.tanh(h @ w + r), lambda h, r: h + r, h, x[t])
        return h

    check(f, X, W)


def test_what_only_ghosts_have_read_is_of_any_step():
    """A loop that reads it would wait for itself."""

    def f(a, b, c):
        pairs = [[a, b] for _ in range(14)]
        windows = np.zeros((31, 2))
        for _ in range(7):
            for _ in (0, 1):
                q = 0
                while q < 14:
                    b = pairs[-1][0] - pairs[q][1]
                    pairs.append([b, c])
                    windows[q : q + 2] += c
                    q += 1
        return [pair[0] for pair in pairs], windows

    arguments = [np.random.default_rng(seed).standard_normal((2, 2)) for seed in range(3)]
    with limits():
        rolled(f, *arguments)
        runs(f, *arguments)
