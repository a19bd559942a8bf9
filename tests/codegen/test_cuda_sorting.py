"""Sorting by merges on a GPU: NumPy's order, whoever makes which part of it; threads that have to meet; and how long it takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda import sorting
from irdl.codegen.cuda.emit import launches
from irdl.codegen.cuda.model import predict
from irdl.ir.dtypes import BFLOAT16
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier
from irdl.loops.target import Gpu
from irdl.loops.walk import walk
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import check_interpreted, check_that_barriers_are_missed, normal
from tests.codegen.test_sorting import DTYPES, both, check_sorted, numbers
from tests.codegen.watched import Watched

F32 = np.float32


def set_tiles(monkeypatch: pytest.MonkeyPatch, each: int, threads: int) -> None:
    """Small ones."""
    monkeypatch.setattr(sorting, "EACH", each)
    monkeypatch.setattr(sorting, "THREADS", threads)


def test_every_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lines of up to nine tiles, with runs that are short, or alone."""
    set_tiles(monkeypatch, 2, 4)
    for extent in (*range(1, 27), 33, 40, 41, 47, 71):
        x = numbers((extent,), "int8")
        check_sorted(interpret(gpu_program(both((extent,), "int8", 0)), [x]), x, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_interpreted(dtype: str) -> None:
    """As it is, where lines share warps and blocks."""
    for shape, axis in (((2,), 0), ((70,), 0), ((3, 9), 1), ((20, 3), 0), ((2, 5, 3), 1), ((5, 1), 1), ((0, 4), 1), ((4, 0), 1)):
        x = numbers(shape, dtype)
        check_sorted(interpret(gpu_program(both(shape, dtype, axis), Gpu(multiprocessors=2)), [x]), x, axis)


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_dtypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind and size; all of them are interpreted."""
    set_tiles(monkeypatch, 2, 4)
    dtypes = ("bool", "int8", "uint16", "uint32", "int64", "float64")
    run = OnCpu([gpu_program(both((3, 12), dtype, 1)) for dtype in dtypes], tmp_path)
    for number, dtype in enumerate(dtypes):
        x = numbers((3, 12), dtype)
        check_sorted(run(number, [x], order=number % 3), x, 1)


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_threads_in_any_order(tmp_path: Path) -> None:
    """Tiles as they are: some lines of a warp, several warps for a line, and several tiles, of which the last run is short or alone."""
    cases = [((300, 6), 1), ((33, 70), 0), ((2, 500, 3), 1), ((2049,), 0), ((2, 5000), 1)]
    run = OnCpu([gpu_program(both(shape, "float32", axis)) for shape, axis in cases], tmp_path)
    for number, (shape, axis) in enumerate(cases):
        x = numbers(shape, "float32")
        for order in range(3):
            check_sorted(run(number, [x], blocks=3 if order else 40, order=order), x, axis)


def test_places_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "_LONG", 0)
    set_tiles(monkeypatch, 2, 4)
    x = numbers((3, 29), "float32")
    program = gpu_program(both(x.shape, "float32", 1))
    assert "i32" not in str(program)
    check_sorted(interpret(program, [x]), x, 1)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_halves(dtype: np.dtype) -> None:
    with np.errstate(over="ignore"):
        x = numbers((4, 13), "float32").astype(dtype)
        ordered, places = interpret(gpu_program(irdl.trace(lambda x: (np.sort(x), np.argsort(x)))(x)), [x])
    check_sorted([ordered.astype(F32), places], x.astype(F32), 1)


def order_in_steps(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    def step(h, x):
        h = np.sort(h * 0.5 + x, -1)
        return h, np.argsort(h + x, -1)

    return irdl.scan(step, h, x)


FUNCTIONS = [
    (lambda x: np.sort(x)[:, ::2] + np.argsort(x * 2, 0)[:, ::2], normal(9, 22)),
    (lambda x: np.median(x, 0), normal(7, 5)),
    (lambda x: np.lexsort((x[0] > 0, x[1] > 1)), normal(2, 30)),
    (irdl.grad(lambda x: (np.sort(x) * np.arange(20, dtype=F32)).sum()), normal(3, 20)),
    (order_in_steps, normal(3, 4, 11), normal(4, 11)),
    (order_in_steps, normal(3, 50), normal(50)),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_in_programs(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Among other things, and in loops whose blocks run at once."""
    set_tiles(monkeypatch, 2, 8)
    check_interpreted(*FUNCTIONS[number])


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
def test_in_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_tiles(monkeypatch, 2, 8)
    functions = [item for item in FUNCTIONS if item[0] is order_in_steps]
    run = OnCpu([gpu_program(irdl.trace(function)(*arguments)) for function, *arguments in functions], tmp_path)
    for number, (_, *arguments) in enumerate(functions):
        expected = interpret(run.programs[number], arguments)
        for order in range(3):
            for result, other in zip(run(number, arguments, order=order), expected, strict=True):
                np.testing.assert_array_equal(result, other)


def test_a_missing_barrier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those within a block. (Between blocks a launch ends, but in loops.)"""
    check_that_barriers_are_missed(np.argsort, normal(3, 100))
    set_tiles(monkeypatch, 2, 8)
    check_that_barriers_are_missed(np.sort, normal(50), blocks=2)
    check_that_barriers_are_missed(*FUNCTIONS[-1])


def test_passes_need_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one launch, those between which all threads meet would race."""
    set_tiles(monkeypatch, 2, 8)
    program = gpu_program(irdl.trace(np.sort)(normal(50)))
    first, second, third = launches(program)
    first.body += second.body
    program.body = [first, third]
    with pytest.raises(AssertionError):
        Watched(program).call([normal(50)])


def shaped(*shape: int) -> np.ndarray:
    return np.broadcast_to(F32(0), shape)


def test_who_sorts_what() -> None:
    """A thread has eight elements; a block one line or several, or a part of one."""
    for shape, blocks, threads, count in (
        ((5,), 1, 32, 1),
        ((1000,), 1, 128, 1),
        ((4096, 128), 256, 256, 1),
        ((300, 128), 150, 32, 1),
        ((100_000, 3), 391, 256, 1),
        ((64, 50_257), 1600, 256, 6),
        ((1_000_000,), 489, 256, 10),
    ):
        found = launches(gpu_program(irdl.trace(np.sort)(shaped(*shape))))
        assert (found[0].blocks, found[0].threads, len(found)) == (blocks, threads, count), shape
    # A block meets once between two merges.
    assert [s.scope for s in walk(found[0].body) if isinstance(s, Barrier)] == ["block"] * 8


def test_how_long_it_takes() -> None:
    """A launch for each doubling, in which a search waits for one load after the other, and what a thread merges for one after the other."""
    found = predict(gpu_program(irdl.trace(np.sort)(shaped(1_000_000))), Gpu())
    trip = found.rates.l2_latency_cycles / found.rates.clock_hz
    for number, (_, parts) in enumerate(found.launches[1:]):
        assert (12 + number + 8) * trip < sum(parts.values()) - found.rates.launch_seconds < 1.5 * (12 + number + 8) * trip
    assert predict(gpu_program(irdl.trace(np.sort)(shaped(1000))), Gpu()).seconds < 10e-6


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_it_without_spills(tmp_path: Path, capability: int) -> None:
    graphs = [both(shape, dtype, axis) for shape, axis, dtype in (((4_000,), 0, "float64"), ((900, 100), 0, "float32"))]
    graphs.append(irdl.trace(order_in_steps)(*FUNCTIONS[-2][1:]))
    found = stacks_and_spills([gpu_program(graph) for graph in graphs], capability, tmp_path)
    assert not [item for item in found if item[1:] != (0, 0)]
