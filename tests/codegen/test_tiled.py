"""Register tiles of contractions whose operands both have the vector's axis: the numbers are NumPy's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import irdl
from irdl.codegen.lowering.nest import blocks
from irdl.loops.expressions import Buffer
from irdl.loops.language import Store
from irdl.loops.walk import walk
from tests.teams import team_of, wide_vectors

RNG = np.random.default_rng(0)


def windows(x: Any) -> Any:
    return sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))


def registers(program: Any) -> list[Buffer]:
    """Those that the program stores into."""
    return list(dict.fromkeys(s.buffer for s in walk(program.body) if isinstance(s, Store) and s.buffer.space == "register"))


@pytest.mark.parametrize("channels", [1, 5, 16, 21, 37])
def test_depthwise(channels: int) -> None:
    """Forward in rows of one vector, the weights' gradient in a tile of all taps."""

    def f(x: Any, w: Any) -> Any:
        return np.einsum("nxycij,ijc->nxyc", windows(x), w)

    def to_weights(x: Any, gy: Any) -> Any:
        return np.einsum("nxycij,nxyc->ijc", windows(x), gy) * 2

    x, w, gy = (RNG.standard_normal((*shape, channels)) for shape in ((3, 10, 9), (3, 3), (3, 10, 9)))
    for threads in (1, 2):
        with team_of(threads):
            np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(irdl.jit(to_weights)(x, gy), to_weights(x, gy), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("places", [(7, 7), (4, 9), (5, 2), (1, 30), (30,), (3,), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("step", [1, 2])
def test_depthwise_blocks_of_places(places: tuple[int, ...], step: int) -> None:
    """Rows and planes of a tile that do not divide the places; along one, two and three axes."""
    axes, letters = tuple(range(1, 1 + len(places))), "xyz"[: len(places)]
    taps, every = "ijk"[: len(places)], (slice(None), *(slice(None, None, step) for _ in places))

    def f(x: Any, w: Any) -> Any:
        seen = sliding_window_view(x, (3,) * len(places), axes)[every]
        return np.einsum(f"n{letters}c{taps},{taps}c->n{letters}c", seen, w) + 1

    x, w = RNG.standard_normal((9, *((n - 1) * step + 3 for n in places), 21)), RNG.standard_normal((3,) * len(places) + (21,))
    assert f(x, w).shape == (9, *places, 21)
    for threads in (1, 2):
        with team_of(threads):
            np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_depthwise_tiles_lie_along_the_windows() -> None:
    """However many sequences there are: neighbouring places read mostly the same."""

    def f(x: Any, w: Any) -> Any:
        return np.einsum("nxyijc,ijc->nxyc", np.moveaxis(sliding_window_view(x, (3, 3), (1, 2)), 3, -1), w)

    x, w = RNG.standard_normal((50, 16, 12, 32)), RNG.standard_normal((3, 3, 32))
    text = str(dict(irdl.compile(f)(x, w).stages)["lower"])
    assert "in 0:50 {" in text
    assert "in 0:4 unrolled {" in text or "in 0:5 unrolled {" in text
    np.testing.assert_allclose(irdl.jit(f)(x, w), f(x, w), rtol=1e-12, atol=1e-13)


def test_what_follows_does_not_choose_the_vector() -> None:
    """However many arrays are read and written beside the gradient for the weights, channels are its vector."""

    def f(x: Any, gy: Any, w: Any, m: Any, v: Any) -> Any:
        dw = np.einsum("nxycij,nxyc->cij", windows(x), gy)
        m, v = m * 0.9 + dw * 0.1, v * 0.99 + dw * dw * 0.01
        return w - m / (np.sqrt(v) + 1e-8), m, v

    x, gy = (RNG.standard_normal((2, 20, 20, 32)) for _ in range(2))
    w, m, v = (np.abs(RNG.standard_normal((32, 3, 3))) for _ in range(3))
    program = str(dict(irdl.compile(f)(x, gy, w, m, v).stages)["lower"])
    assert "in 0:3 vector" not in program
    for found, expected in zip(irdl.jit(f)(x, gy, w, m, v), f(x, gy, w, m, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_blocks_cover_all_rows(threads: int) -> None:
    for extent in range(100):
        for size in range(1, 13):
            found = blocks(extent, size, threads)
            assert [row for first, rows, count in found for row in range(first, first + rows * count)] == list(range(extent))
            assert all(0 < rows <= size and count > 0 for _, rows, count in found)


def test_threads_have_as_many_rows() -> None:
    """64 rows by six are nine tiles of six and two of five: 35 rows of one thread, 29 of the other."""
    x, y = RNG.standard_normal((700, 64)), RNG.standard_normal((700, 32))
    for threads, height, tiles in ((1, 6, 9), (2, 6, 4)):
        assert blocks(64, height, threads)[0] == (0, height, tiles)
        with team_of(threads), wide_vectors():
            f = irdl.compile(lambda x, y: np.einsum("ki,kj->ij", x, y))(x, y)
            assert f.program.threads == threads
            assert re.search(rf"for m\d+ in 0:{tiles} {'parallel' if threads > 1 else ''}", str(f.program))
            np.testing.assert_allclose(f(x, y), x.T @ y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 5, 12])
@pytest.mark.parametrize("steps", [2, 3, 16, 51])
def test_steps_of_large_tiles_are_written_once(rows: int, steps: int) -> None:
    """A loop around a few multiply-adds would cost as much as they do, and one around many costs nothing but the time to compile its copies."""
    x, y = RNG.standard_normal((rows, steps)), RNG.standard_normal((steps, 16))
    with team_of(1), wide_vectors():
        f = irdl.compile(lambda x, y: x @ y)(x, y)
        np.testing.assert_allclose(f(x, y), x @ y, rtol=1e-12, atol=1e-12)
        tile = 2 * rows
        copies = f.llvm_ir.count("call <8 x double> @llvm.fma") / tile
        assert copies == (1 if tile >= 16 else steps if steps < 4 else 4 + steps % 4)


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7, 8, 9, 11, 16, 30])
@pytest.mark.parametrize("columns", [2, 7, 16, 21, 32, 50])
def test_few_sums_are_made_of_several(steps: int, columns: int) -> None:
    """Of products, and of other reductions along a column, in every type."""

    def f(h: Any, w: Any, k: Any) -> Any:
        split = np.split(h @ w, 2)
        return np.tanh(split[0]) * split[1], w.sum(0), w.max(0), w.min(0), k.sum(0), k.prod(0), (w > 0).any(0), (w > -2).all(0)

    for dtype in (np.float32, np.float64):
        h, w = RNG.standard_normal(steps).astype(dtype), RNG.standard_normal((steps, 2 * columns)).astype(dtype)
        k = RNG.integers(-3, 4, (steps, columns))
        for found, expected in zip(irdl.jit(f)(h, w, k), f(h, w, k), strict=True):
            tolerance = 1e-5 if dtype == np.float32 else 1e-13
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("columns", "parts"), [(16, 4), (32, 4), (48, 2), (64, 2), (80, 1), (128, 1)])
def test_no_addition_waits_for_the_last(columns: int, parts: int) -> None:
    irdl.set_num_threads(1)
    with wide_vectors():
        program = irdl.compile(lambda h, w: np.tanh(h @ w))(np.zeros(64, np.float32), np.zeros((64, columns), np.float32)).program
    sums = [buffer.size for buffer in registers(program) if buffer.name.startswith("acc")]
    assert sums == [parts * columns]
