"""Contractions with the vector along a sum: a tile of results, be there few columns, one, or rows that lie so; the numbers are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.loops.target import Target
from irdl.loops.walk import buffers_of, walk
from irdl.ops.fusion import PACK
from irdl.runtime import cpu
from irdl.testing import assert_close
from tests.teams import team_of, wide_vectors

RNG = np.random.default_rng(0)
FORMS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "few columns": ("mk,kn->mn", (300, 256), (256, 3)),
    "few columns, an odd sum": ("mk,kn->mn", (77, 331), (331, 5)),
    "a sum of two axes": ("mab,abn->mn", (100, 9, 64), (9, 64, 2)),
    "columns first": ("kn,mk->mn", (256, 4), (100, 256)),
    "x @ y.T": ("mk,nk->mn", (5, 257), (300, 257)),
    "one column": ("mk,k->m", (301, 130), (130,)),
    "one row": ("k,nk->n", (64,), (63, 64)),
    "batched": ("bmk,bnk->bmn", (3, 70, 140), (3, 6, 140)),
    "nothing else": ("mk,mk->m", (40, 200), (40, 200)),
}


def few(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return x @ w


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", [Target(64, 32), Target(32, 16), Target(16, 32)], ids=str)
def test_same_as_numpy(form: str, target: Target) -> None:
    spec, left, right = FORMS[form]
    functions: list[Callable[..., Any]] = [
        lambda x, y: np.tanh(np.einsum(spec, x, y) * 0.1 + 1),
        lambda x, y: np.einsum(spec, x, y) + np.einsum(spec, x, y * 2 - 1),
        lambda x, y: np.einsum(spec, x[::-1], y[..., ::-1] if right[-1] < 10 else y),
    ]
    with mock.patch.object(cpu, "host_target", lambda: target):
        for dtype in ("float32", "float64"):
            x, y = RNG.standard_normal(left).astype(dtype), RNG.standard_normal(right).astype(dtype)
            for f in functions:
                wide, magnitude = f(x.astype(np.longdouble), y.astype(np.longdouble)), np.einsum(spec, np.abs(x), np.abs(y)) * 3
                assert_close(irdl.jit(f)(x, y), f(x, y), wide, magnitude=magnitude)


def test_integers_too() -> None:
    x, y = RNG.integers(-99, 99, (70, 200)), RNG.integers(-99, 99, (200, 3))
    np.testing.assert_array_equal(irdl.jit(few)(x, y), x @ y, strict=True)
    np.testing.assert_array_equal(irdl.jit(lambda x, y: x @ y.T)(x, x[:9]), x @ x[:9].T, strict=True)


@pytest.mark.parametrize("shape", [(0, 200, 3), (70, 0, 3), (70, 200, 0), (1, 200, 3), (70, 200, 1), (2, 1, 2)], ids=str)
def test_edges(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    x, y = RNG.standard_normal((m, k)), RNG.standard_normal((k, n))
    for f in (few, lambda x, y: x @ y.T):
        arguments = (x, y) if f is few else (x, np.ascontiguousarray(y.T))
        np.testing.assert_allclose(irdl.jit(f)(*arguments), f(*arguments), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients(threads: int) -> None:
    def loss(w: np.ndarray, x: np.ndarray) -> Any:
        return np.mean((np.tanh(x @ w) - 0.5) ** 2)

    x, w = RNG.standard_normal((500, 200)), RNG.standard_normal((200, 3))
    with team_of(threads):
        found, step = irdl.jit(irdl.grad(loss))(w, x), np.zeros_like(w)
        step[7, 1] = 1e-6
        np.testing.assert_allclose(found[7, 1], (loss(w + step, x) - loss(w - step, x)) / 2e-6, rtol=1e-5)


def packs(rows: int, summed: int, columns: int) -> list[tuple[int, ...]]:
    """The axes that operands are packed along, on a machine with vectors of sixteen."""
    with wide_vectors():
        graph = dict(irdl.compile(few)(np.ones((rows, summed), np.float32), np.ones((summed, columns), np.float32)).stages)["pack"]
    assert isinstance(graph, irdl.Graph)
    return [node.attributes.axis for node in graph.all_nodes() if node.op is PACK]


def test_which_columns_are_few() -> None:
    assert packs(64, 128, 3) == [0]
    assert packs(64, 128, 9) == []  # they fill more than half of a vector
    assert packs(64, 120, 3) == []  # too little is summed
    assert packs(60, 128, 3) == []  # too few rows for a copy


def test_rows_that_drive_each_other_out_of_the_cache() -> None:
    """Rows of 4 KB share a set of the first-level cache: a tile has no more of them than that holds."""
    with wide_vectors():
        for columns, most in ((1024, 6), (512, 12), (1000, 14)):
            program = irdl.compile(lambda x, v: x @ v)(np.ones((256, columns), np.float32), np.ones(columns, np.float32)).program
            tiles = [buffer for statement in walk(program.body) for buffer in buffers_of(statement) if buffer.space == "register"]
            assert max(buffer.size for buffer in tiles) <= most * 16
