"""Contractions in tiles: several in one block, what they share brought there once, and several blocks for the terms of one; against NumPy,
the interpreter and threads in any order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda import tiling
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.codegen.lowering.group import Group
from irdl.ir.evaluate import evaluate
from irdl.loops.expressions import Buffer
from irdl.loops.interpret import interpret
from irdl.loops.language import For, Kernel, Multiply, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, walk
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import normal
from tests.codegen.watched import Race, Watched, barriers, without

F32 = np.float32
needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")


def gates(x, w):
    """Three contractions of one array, and what is done with them."""
    a, b, c = np.split(x @ w, 3, axis=-1)
    return np.tanh(a) * b + c, c


def gradients(x, h, d):
    """Two that share their columns."""
    return np.einsum("kj,ki->ij", d, x), np.einsum("kj,ki->ij", d, h)


def many(x, w):
    return sum(np.split(x @ w, 8, axis=-1))


def batches(x, y):
    return np.einsum("bij,bjk->bik", x, y), np.einsum("bij,bjk->bik", x, y[:, :, ::-1])


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-9, 9, shape)


def double(*shape: int) -> np.ndarray:
    return normal(*shape).astype(np.float64)


#: functions of several contractions, of which some do not fill their tiles, and how many there are
CASES: list[tuple[Callable, int, list[np.ndarray]]] = [
    (gates, 3, [normal(66, 18), normal(18, 3 * 65)]),
    (gates, 3, [normal(130, 16), normal(16, 3 * 128)]),
    (gates, 3, [normal(64, 2), normal(2, 3 * 64)]),
    (gradients, 2, [normal(45, 130), normal(45, 130), normal(45, 133)]),
    (gradients, 2, [normal(64, 128), normal(64, 128), normal(64, 256)]),
    (gradients, 2, [double(33, 66), double(33, 66), double(33, 65)]),
    (gradients, 2, [integers(20, 64), integers(20, 64), integers(20, 70)]),
    (many, 8, [normal(66, 20), normal(20, 8 * 65)]),
    (batches, 2, [normal(3, 65, 20), normal(3, 20, 70)]),
    (lambda x, y: np.exp(x @ y.T), 1, [normal(150, 33), normal(130, 33)]),
]


def program_of(
    function: Callable,
    arguments: list[np.ndarray],
    multiprocessors: int = 4,
    precision: str | None = None,
    tiles: tuple[int, int, int] | None = None,
) -> Program:
    """`tiles`: of so many rows and columns, with so many parts, where there are such."""
    every = tiling._tilings

    def chosen(group: Group, *others: Any) -> list[tiling.Tiling]:
        return [found for found in every(group, *others) if tiles is None or (*found.shape, found.parts) == tiles]

    less = {} if tiles is None else {"_TERMS": 16, "_SHORT": 1}
    with mock.patch.multiple(tiling, _tilings=chosen, **less):
        return gpu_program(irdl.trace(function)(*arguments), Gpu(multiprocessors=multiprocessors), precision)


def buffers(program: Program, space: str) -> list[Buffer]:
    return list(dict.fromkeys(b for s in walk(program.body) for b in buffers_of(s) if b.space == space))


def check(kernels: OnCpu, number: int, function: Callable, arguments: list[np.ndarray]) -> None:
    """Against NumPy, in three orders of threads and numbers of blocks, which all give the same bits."""
    expected = evaluate(irdl.trace(function)(*arguments), arguments)
    before: list[np.ndarray] = []
    for blocks, order in ((1, 0), (3, 1), (5, 7)):
        results = kernels(number, arguments, blocks=blocks, order=order)
        for result, exact in zip(results, expected, strict=True):
            np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5, err_msg=f"{number}, {blocks}, {order}")
        for result, other in zip(results, before, strict=bool(before)):
            np.testing.assert_array_equal(result, other)
        before = [result.copy() for result in results]


def check_interpreted(program: Program, function: Callable, arguments: list[np.ndarray]) -> None:
    expected = evaluate(irdl.trace(function)(*arguments), arguments)
    for result, exact in zip(interpret(program, arguments), expected, strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("size", [64, 128])
@needs_compiler
def test_several_contractions(tmp_path: Path, size: int) -> None:
    """In tiles of 64, and in those of 128 where they fit the registers."""
    programs = [program_of(function, arguments, 1, tiles=(size, size, 1)) for function, _, arguments in CASES]
    kernels = OnCpu(programs, tmp_path)
    in_tiles = 0
    for number, (function, count, arguments) in enumerate(CASES):
        shared = len(buffers(programs[number], "shared"))
        assert shared in ([count + 1] if size == 64 else [count + 1, 0]), number
        in_tiles += bool(shared)
        check(kernels, number, function, arguments)
    assert in_tiles == (len(CASES) if size == 64 else 3)
    arguments = [normal(64, 17), normal(17, 3 * 65)]
    check_interpreted(program_of(gates, arguments, 1, tiles=(size, size, 1)), gates, arguments)


#: functions, what they are given, and tiles: rows, columns, and into how many parts the terms are divided, of which the last may have fewer
PARTS: list[tuple[Callable, list[np.ndarray], tuple[int, int, int]]] = [
    (np.matmul, [normal(64, 64), normal(64, 64)], (64, 64, 2)),
    (np.matmul, [normal(65, 67), normal(67, 70)], (64, 64, 5)),
    (np.matmul, [normal(128, 80), normal(80, 130)], (128, 128, 3)),
    (np.matmul, [integers(64, 50), integers(50, 64)], (64, 64, 4)),
    (lambda x, y, b: np.maximum(x @ y.T + b, 0), [double(70, 33), double(66, 33), double(66)], (64, 64, 3)),
    (lambda x, y: np.einsum("ijk,kjl->il", x, y), [normal(66, 3, 33), normal(33, 3, 64)], (64, 64, 3)),
    (lambda x, y: np.einsum("bij,bjk->bki", x, y), [normal(2, 65, 40), normal(2, 40, 70)], (64, 64, 2)),
    (gates, [normal(70, 37), normal(37, 3 * 66)], (64, 64, 3)),
    (gradients, [normal(90, 130), normal(90, 130), normal(90, 133)], (128, 128, 2)),
]


#: of these there are few enough to be interpreted
FEW_PARTS: list[tuple[Callable, list[np.ndarray], tuple[int, int, int]]] = [
    (np.matmul, [normal(65, 35), normal(35, 64)], (64, 64, 3)),
    (lambda x, y: np.einsum("ijk,kjl->il", x, y), [normal(66, 2, 17), normal(17, 2, 64)], (64, 64, 2)),
]


#: the same, of narrow tiles
NARROW: list[tuple[Callable, list[np.ndarray], tuple[int, int, int]]] = [
    (gates, [normal(33, 18), normal(18, 3 * 130)], (32, 128, 1)),
    (np.matmul, [normal(32, 64), normal(64, 128)], (32, 128, 1)),
    (gradients, [normal(33, 40), normal(33, 40), normal(33, 140)], (32, 128, 3)),
    (gradients, [normal(33, 140), normal(33, 140), normal(33, 33)], (128, 32, 1)),
    (np.matmul, [integers(128, 48), integers(48, 32)], (128, 32, 2)),
    (lambda x, y: np.einsum("bij,bkj->bik", x, y), [double(2, 130, 20), double(2, 35, 20)], (128, 32, 1)),
]


@needs_compiler
def test_narrow_tiles(tmp_path: Path) -> None:
    """Of few rows, or few columns."""
    programs = [program_of(function, arguments, 1, tiles=tiles) for function, arguments, tiles in NARROW]
    assert all(buffers(program, "shared") for program in programs)
    kernels = OnCpu(programs, tmp_path)
    for number, (function, arguments, _) in enumerate(NARROW):
        check(kernels, number, function, arguments)
    arguments = [normal(33, 17), normal(17, 3 * 128)]
    check_interpreted(program_of(gates, arguments, 1, tiles=(32, 128, 1)), gates, arguments)


@needs_compiler
def test_terms_in_parts(tmp_path: Path) -> None:
    """Added up in their order by a launch of its own, which does the rest."""
    programs = [program_of(function, arguments, tiles=tiles) for function, arguments, tiles in PARTS]
    kernels = OnCpu(programs, tmp_path)
    for number, (function, arguments, _) in enumerate(PARTS):
        assert len(launches(programs[number])) == 2 and programs[number].arena_bytes, number
        assert not any(s.independent for launch in launches(programs[number]) for s in launch.body if isinstance(s, Kernel))
        check(kernels, number, function, arguments)
    for function, arguments, tiles in FEW_PARTS:
        program = program_of(function, arguments, tiles=tiles)
        assert len(launches(program)) == 2
        check_interpreted(program, function, arguments)


def test_parts_are_made_where_there_are_few_tiles() -> None:
    """And a long way to go: not of few terms, nor where tiles fill the GPU."""

    def parts(*shapes: tuple[int, int]) -> int:
        """By the size of what holds their sums."""
        arrays = [np.broadcast_to(F32(0), shape) for shape in shapes]
        program = program_of(np.matmul, arrays, 132)
        sizes = [buffer.size for buffer in buffers(program, "arena")]
        return sum(sizes, 0) // (shapes[0][0] * shapes[1][1]) or 1

    assert parts((256, 20000), (20000, 256)) > 4
    assert parts((64, 8192), (8192, 64)) > 32
    assert parts((4096, 4096), (4096, 4096)) == 1
    assert parts((1024, 64), (64, 1024)) == 1
    # A thread for each result adds up few terms as fast.
    few, more = (program_of(np.matmul, [normal(160, terms), normal(terms, 1024)], 132) for terms in (8, 64))
    assert buffers(more, "shared") and not buffers(few, "shared")


def test_what_has_no_rows_or_columns() -> None:
    for arguments in ([normal(0, 5), normal(5, 3 * 64)], [normal(64, 5), normal(5, 0)], [normal(64, 0), normal(0, 3 * 64)]):
        check_interpreted(program_of(gates, arguments), gates, arguments)


def test_what_adds_nothing_up() -> None:
    """An outer product has no steps."""
    arguments = [normal(2, 64), normal(2, 130)]
    function = lambda x, y: np.einsum("bi,bj->bij", x, y)  # noqa: E731
    program = program_of(function, arguments, 1)
    assert not buffers(program, "shared")
    check_interpreted(program, function, arguments)


def test_too_many_for_the_registers() -> None:
    """Nine in one block would take 144 registers for what they add up, five of float64 160."""
    for arguments, count in (([normal(64, 20), normal(20, 9 * 64)], 9), ([double(64, 20), double(20, 5 * 64)], 5)):
        program = program_of(lambda x, w, count=count: sum(np.split(x @ w, count, axis=-1)), arguments, 4)
        assert not buffers(program, "shared")


def test_the_next_steps_are_read_before_these_are_multiplied() -> None:
    """By way of registers, and not through a path on which the compiler may put them off; what is read once may go there."""
    arguments = [normal(64, 40), normal(40, 64), normal(64)]
    program = program_of(lambda x, y, b: x @ y + b, arguments, 4)
    (loop,) = [s for s in walk(program.body) if isinstance(s, For) and s.kind == "serial"]
    phases = [{b.space for s in walk([phase]) for b in buffers_of(s)} for phase in loop.body if isinstance(phase, For)]
    assert phases == [*[{"shared", "register"}] * 2, *[{"input", "register"}] * 2, {"shared", "register"}]
    head = emit_cuda(program).split("__launch_bounds__")[1].split("{")[0]
    assert head.startswith("(256, 2)")  # so many registers as let two blocks in
    assert "const float* in0_x, const float* in1_y, const float* __restrict__ in2_b" in head


@pytest.mark.parametrize(
    ("function", "arguments", "parts", "scopes"),
    [
        (gradients, [normal(17, 64), normal(17, 64), normal(17, 65)], 1, ["block", "block"]),
        (np.matmul, [normal(64, 33), normal(33, 64)], 2, ["block", "block", "all"]),
    ],
)
def test_threads_that_have_not_met(function: Callable, arguments: list[np.ndarray], parts: int, scopes: list[str]) -> None:
    """No two touch the same memory, unless a barrier is left out: each of them is missed. That of all is where one launch ends."""
    program = program_of(function, arguments, tiles=(64, 64, parts))
    assert irdl.parse(str(program)) == program
    expected = evaluate(irdl.trace(function)(*arguments), arguments)
    watched = Watched(program)
    for result, exact in zip(watched.call(arguments), expected, strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)
    first, *rest = launches(program)
    found = barriers(first)
    assert [s.scope for _, s in found] + ["all"] * len(rest) == scopes and not any(barriers(launch) for launch in rest)
    for part, barrier in found:
        with without(part, barrier), pytest.raises(Race):
            watched.again(first)
    for second in rest:
        with pytest.raises(Race):
            watched.again(replace(first, body=[*first.body, *second.body]))


@needs_compiler
def test_several_products_of_small_matrices(tmp_path: Path) -> None:
    """Exactly in whole numbers, which TF32 holds."""
    cases = [
        (gates, 3, [integers(70, 37), integers(37, 3 * 66)], (64, 64, 1)),
        (gates, 3, [integers(70, 37), integers(37, 3 * 66)], (64, 64, 3)),
        (gradients, 2, [integers(45, 130), integers(45, 130), integers(45, 133)], (128, 128, 1)),
        (gradients, 2, [integers(45, 130), integers(45, 130), integers(45, 133)], (128, 128, 2)),
        (gates, 3, [integers(33, 37), integers(37, 3 * 130)], (32, 128, 1)),
        (gradients, 2, [integers(33, 140), integers(33, 140), integers(33, 33)], (128, 32, 3)),
    ]
    cases = [(function, count, [a.astype(F32) for a in arguments], tiles) for function, count, arguments, tiles in cases]
    programs = [program_of(function, arguments, 1, "tf32", tiles) for function, _, arguments, tiles in cases]
    kernels = OnCpu(programs, tmp_path)
    for number, (function, count, arguments, _) in enumerate(cases):
        assert len({s.total for s in walk(programs[number].body) if isinstance(s, Multiply)}) == count
        assert len(buffers(programs[number], "shared")) == count + 1
        expected = evaluate(irdl.trace(function)(*arguments), arguments)
        for order in (0, 1, 7):
            for result, exact in zip(kernels(number, arguments, order=order), expected, strict=True):
                np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=1e-6, atol=0)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("precision", [None, "tf32"])
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_them_without_spills(tmp_path: Path, capability: int, precision: str | None, request: pytest.FixtureRequest) -> None:
    """Each in one of two precisions, or with --slow in both."""
    programs = [program_of(function, arguments, 1, precision, (size, size, 1)) for function, _, arguments in CASES for size in (64, 128)]
    programs = [program for program in programs if buffers(program, "shared")]
    programs += [program_of(function, arguments, 4, precision, tiles) for function, arguments, tiles in [*PARTS, *NARROW]]
    if not request.config.getoption("--slow"):
        programs = programs[precision is None :: 2]
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
