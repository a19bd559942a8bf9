"""Contractions of few rows with a large matrix, a block of steps after the other: the numbers are NumPy's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cpu import panels, parts
from irdl.loops.expressions import Load
from irdl.loops.language import Program, Store
from irdl.loops.target import Target
from irdl.loops.walk import buffers_of, expressions, subexpressions, walk
from irdl.runtime import cpu
from irdl.runtime.threads import num_threads
from irdl.testing import assert_close, check
from tests.teams import team_of, watch, wide_vectors

RNG = np.random.default_rng(0)


@contextmanager
def small(tiles: int = 4, steps: int = 32) -> Iterator[None]:
    """Matrices of a few kilobytes count as large, and a panel holds few tiles and steps."""
    sizes = {"_MATRIX_BYTES": 4096, "_ROW_BYTES": 256, "_PANEL_BYTES": steps * 256 * tiles, "_STEPS": steps, "_STREAMS": 8, "_TILES": 2}
    with mock.patch.multiple(panels, **sizes):
        yield


def sums(program: Program) -> set[str]:
    return {b.name for s in walk(program.body) for b in buffers_of(s) if b.name.startswith("sum")}


def copies(program: Program) -> set[str]:
    return {b.name for s in walk(program.body) for b in buffers_of(s) if b.name.startswith("panel")}


#: one row; few rows, read as they lie; more, of a copy; extents that blocks, chunks and tiles do not divide
SHAPES = [(1, 64, 512), (3, 97, 777), (16, 100, 300), (17, 64, 512), (29, 131, 523), (40, 33, 1024), (64, 96, 640), (130, 257, 264)]
TARGETS = [Target(64, 32), Target(32, 16), Target(16, 32)]
FORMS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "batched": ("bmk,bkn->bmn", (3, 20, 70), (3, 70, 260)),
    "batched, of one thread each": ("bmk,bkn->bmn", (4, 5, 70), (4, 70, 260)),
    "rows on two axes": ("mak,kn->amn", (6, 5, 70), (70, 512)),
    "rows first": ("km,kn->mn", (70, 25), (70, 520)),
    "columns of a batch": ("mk,bkn->bmn", (19, 70), (2, 70, 520)),
    "result the other way": ("kn,mk->mn", (70, 520), (25, 70)),
    "windows": ("mk,kn->mn", (60, 48), (48, 520)),
}


@pytest.mark.parametrize(("shape", "target"), list(zip(SHAPES, TARGETS * 3, strict=False)), ids=str)
def test_same_as_numpy(shape: tuple[int, int, int], target: Target) -> None:
    rows, steps, columns = shape
    with small(), mock.patch.object(cpu, "host_target", lambda: target):
        for dtype in ("float32", "float64"):
            x, w = RNG.standard_normal((rows, steps)).astype(dtype), RNG.standard_normal((steps, columns)).astype(dtype)
            b = RNG.standard_normal(columns).astype(dtype)
            f = lambda x, w, b: np.tanh(x @ w * 0.1 + b)  # noqa: E731
            assert_close(
                irdl.jit(f)(x, w, b), f(x, w, b), f(*(a.astype(np.longdouble) for a in (x, w, b))), magnitude=np.abs(x) @ np.abs(w)
            )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, threads: int) -> None:
    spec, left, right = FORMS[form]
    x, y = RNG.standard_normal(left), RNG.standard_normal(right)
    if form == "windows":
        x = np.lib.stride_tricks.sliding_window_view(RNG.standard_normal(60 + 47), 48)
        f: Any = lambda x, y: np.lib.stride_tricks.sliding_window_view(x, 48) @ y + 1  # noqa: E731
        given = (np.concatenate([x[:, 0], x[-1, 1:]]), y)
    else:
        f, given = lambda x, y: np.einsum(spec, x, y) + 1, (x, y)
    with small(), wide_vectors(), team_of(threads):
        compiled = irdl.compile(f)(*given)
        assert sums(compiled.program)
        np.testing.assert_allclose(compiled(*given), f(*given), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("spec", "left", "right"), [("mk,kn->mn", (5, 9), (9, 140)), ("bmk,bkn->bmn", (3, 4, 9), (3, 9, 70))], ids=str)
def test_threads_have_panels_of_their_own(spec: str, left: Any, right: Any, threads: int) -> None:
    x, y = RNG.standard_normal(left), RNG.standard_normal(right)
    few = {"_MATRIX_BYTES": 0, "_ROW_BYTES": 0, "_PANEL_BYTES": 1024, "_STEPS": 4, "_STREAMS": 2, "_TILES": 1, "_ROWS": 5}
    with mock.patch.multiple(panels, **few), mock.patch.object(cpu, "host_target", lambda: Target(16, 16)), team_of(threads):
        program = irdl.compile(lambda x, y: np.einsum(spec, x, y) + 1)(x, y).program
    assert sums(program) and program.threads == threads
    watch(program, [x, y], threads)


@pytest.mark.parametrize("rows", [8, 40])
def test_several_that_share_the_loop(rows: int) -> None:
    """Gates: slices of one matrix, and two sums in one."""

    def f(x: Any, h: Any, w: Any, u: Any) -> Any:
        a, b, c = np.split(x @ w + h @ u, 3, axis=1)
        return np.tanh(a) * b + c

    x, h = RNG.standard_normal((rows, 70)), RNG.standard_normal((rows, 70))
    w, u = RNG.standard_normal((70, 900)) / 9, RNG.standard_normal((70, 900)) / 9
    for threads in (1, 2):
        with small(), wide_vectors(), team_of(threads):
            compiled = irdl.compile(f)(x, h, w, u)
            assert len(sums(compiled.program)) > 1 and len(copies(compiled.program)) > 1
            np.testing.assert_allclose(compiled(x, h, w, u), f(x, h, w, u), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float16", "complex64"])
def test_other_dtypes(dtype: str) -> None:
    def numbers(*shape: int) -> np.ndarray:
        return RNG.integers(0, 5, shape).astype(dtype)

    for rows in (5, 30):
        x, w = numbers(rows, 70), numbers(70, 1100)
        with small():
            np.testing.assert_array_equal(irdl.jit(lambda x, w: x @ w)(x, w), x @ w, strict=True)


@pytest.mark.parametrize("shape", [(0, 70, 520), (5, 0, 520), (5, 70, 0), (1, 1, 1), (20, 1, 520)], ids=str)
def test_edges(shape: tuple[int, int, int]) -> None:
    rows, steps, columns = shape
    x, w = RNG.standard_normal((rows, steps)), RNG.standard_normal((steps, columns))
    with small():
        np.testing.assert_allclose(irdl.jit(lambda x, w: x @ w)(x, w), x @ w, rtol=1e-12, atol=1e-12)
        w = np.ascontiguousarray(w.T)
        np.testing.assert_allclose(irdl.jit(lambda x, w: x @ w.T)(x, w), x @ w.T, rtol=1e-12, atol=1e-12)


def test_gradients_and_a_loop_that_changes_the_matrix() -> None:
    x, w = RNG.standard_normal((20, 70)), RNG.standard_normal((70, 260)) / 9

    def steps(w: Any, x: Any) -> Any:
        def step(w: Any, _: Any) -> Any:
            y = np.tanh(x @ w)
            return w - 0.01 * x.T @ y, y.sum()

        return irdl.scan(step, w, np.arange(5))

    with small():
        check(lambda x, w: (np.tanh(x @ w) ** 2).mean(), x, w)
        for threads in (1, 2):
            with team_of(threads):
                compiled = irdl.compile(steps)(w, x)
                assert sums(compiled.program)
                # Of what cancels, NumPy itself is some 400 units away from what a wider float gives.
                assert_close(compiled(w, x), steps(w, x), steps(w.astype(np.longdouble), x.astype(np.longdouble)))


def test_what_stays_whole() -> None:
    """What is small, narrow, or packed once for all; and sums of many rows."""
    with wide_vectors():
        for rows, steps, columns in ((8, 256, 512), (8, 65536, 32), (600, 1024, 1024)):
            x, w = np.ones((rows, steps), np.float32), np.ones((steps, columns), np.float32)
            assert not sums(irdl.compile(lambda x, w: x @ w)(x, w).program), (rows, steps, columns)
        w, h = np.ones((1024, 1024), np.float32) / 1024, np.ones((4, 1024), np.float32)
        program = irdl.compile(lambda w, h: irdl.scan(lambda h, _: (np.tanh(h @ w), None), h, np.arange(3))[0])(w, h).program
        assert not sums(program)


def test_few_rows_are_read_as_they_lie_and_more_of_a_copy() -> None:
    """As many streams as the hardware follows; a copy is no larger than the cache, whatever the matrix."""
    w = np.ones((1024, 4096), np.float32)
    with wide_vectors(), team_of(1):
        few, more = (irdl.compile(lambda x, w: x @ w)(np.ones((rows, 1024), np.float32), w).program for rows in (8, 64))
    assert sums(few) and not copies(few)
    assert copies(more) and more.arena_bytes <= 4 * panels._PANEL_BYTES
    assert not any(isinstance(s, Store) and s.buffer.name.startswith("panel") for s in walk(few.body))
    # The whole of the contraction but what is left of a tile reads the copy.
    readers = [s for s in walk(more.body) if isinstance(s, Store) and s.buffer.name.startswith("acc")]
    loads = {i.buffer.name for s in readers for e in expressions(s) for i in subexpressions(e) if isinstance(i, Load)}
    assert "w" not in loads


@pytest.mark.parametrize("rows", [1, 8, 64])
@pytest.mark.parametrize("columns", [2048, 2040, 1030])
def test_threads_share_the_columns(rows: int, columns: int) -> None:
    """Whatever is left over of a tile."""
    x, w = np.ones((rows, 2048), np.float32), np.ones((2048, columns), np.float32)
    with wide_vectors():
        before = num_threads()
        irdl.set_num_threads(2)
        try:
            program = irdl.compile(lambda x, w: x @ w)(x, w).program
        finally:
            irdl.set_num_threads(before)
    assert program.threads == 2 and sums(program)


def test_the_sum_is_cut_only_where_the_matrix_is_packed() -> None:
    def cut(f: Any, *arguments: Any) -> bool:
        graph = irdl.trace(f)(*arguments)
        return parts.cut_contractions(graph) is not graph and str(parts.cut_contractions(graph)) != str(graph)

    x, w = np.ones((16, 4096), np.float32), np.ones((4096, 1024), np.float32)
    assert not cut(lambda x, w: x @ w, x, w)
    assert cut(lambda x, w: x @ w, np.ones((300, 4096), np.float32), w)
    assert cut(lambda x, w: irdl.scan(lambda h, _: (h + x @ w, None), np.zeros((16, 1024), np.float32), np.arange(3))[0], x, w)


def test_a_matrix_that_lies_across_is_packed_sliver_by_sliver() -> None:
    """In one kernel with the tiles that read it, whose rows of both heights take turns; a part of the sum after the other."""
    x, w = np.ones((40, 8192), np.float32), np.ones((256, 8192), np.float32)
    with wide_vectors(), team_of(1):
        program = irdl.compile(lambda x, w: x @ w.T)(x, w).program
    assert program.arena_bytes < w.nbytes / 4
    for rows in (9, 40, 65):
        x, w = RNG.standard_normal((rows, 2048)), RNG.standard_normal((1030, 2048))
        for threads in (1, 2):
            with team_of(threads):
                np.testing.assert_allclose(irdl.jit(lambda x, w: x @ w.T)(x, w), x @ w.T, rtol=1e-10, atol=1e-10)


def test_rows_that_pay_for_turning_a_matrix() -> None:
    """Where both lie along the sum, vectors of terms are multiplied for few rows, unless the sum is short."""
    found = {}
    for rows, steps in ((8, 2048), (8, 64), (32, 2048), (32, 128)):
        x, w = np.ones((rows, steps), np.float32), np.ones((512, steps), np.float32)
        with wide_vectors():
            program = irdl.compile(lambda x, w: x @ w.T)(x, w).program
        copied = (s.value.buffer.name for s in walk(program.body) if isinstance(s, Store) and isinstance(s.value, Load))
        found[rows, steps] = "w" in copied
    assert found == {(8, 2048): False, (8, 64): True, (32, 2048): True, (32, 128): True}


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 2, 16), (2, 3, 4), (8, 64, 100), (2, 300, 33), (7, 1, 9)], ids=str)
def test_one_number_for_all_columns(shape: tuple[int, int, int]) -> None:
    """A matrix that is broadcast along its columns, or along its rows, has nothing to go along."""
    rows, steps, columns = shape
    for dtype in ("float32", "float64"):
        x, v = RNG.random((rows, steps)).astype(dtype), RNG.random(steps).astype(dtype)  # of one sign: nothing cancels
        functions = (
            lambda x, v: x @ np.broadcast_to(v[:, None], (steps, columns)),
            lambda x, v: np.broadcast_to(v, (columns, steps)) @ x.T,
            lambda x, v: np.broadcast_to(v, (columns, steps)) @ np.broadcast_to(v[:, None], (steps, rows)),
        )
        for function in functions:
            np.testing.assert_allclose(irdl.jit(function)(x, v), function(x, v), rtol=1e-4 if dtype == "float32" else 1e-11)
