"""Contractions in tiles: several in one block, what they share brought there once; against NumPy, the interpreter and threads in any order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.ir.evaluate import evaluate
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier, Buffer, For, Multiply, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, nested, walk
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import normal
from tests.codegen.watched import Race, Watched

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
    (gates, 3, [normal(70, 37), normal(37, 3 * 66)]),
    (gates, 3, [normal(130, 16), normal(16, 3 * 128)]),
    (gates, 3, [normal(64, 1), normal(1, 3 * 64)]),
    (gradients, 2, [normal(45, 130), normal(45, 130), normal(45, 133)]),
    (gradients, 2, [normal(64, 128), normal(64, 128), normal(64, 256)]),
    (gradients, 2, [double(33, 66), double(33, 66), double(33, 65)]),
    (gradients, 2, [integers(20, 64), integers(20, 64), integers(20, 70)]),
    (many, 8, [normal(66, 20), normal(20, 8 * 65)]),
    (batches, 2, [normal(3, 65, 20), normal(3, 20, 70)]),
    (lambda x, y: np.exp(x) @ y.T, 1, [normal(70, 33), normal(65, 33)]),
]


def program_of(function: Callable, arguments: list[np.ndarray], multiprocessors: int, precision: str | None = None) -> Program:
    return gpu_program(irdl.trace(function)(*arguments), Gpu(multiprocessors=multiprocessors), precision)


def buffers(program: Program, space: str) -> list[Buffer]:
    return list(dict.fromkeys(b for s in walk(program.body) for b in buffers_of(s) if b.space == space))


@pytest.mark.parametrize("multiprocessors", [4, 1])
@needs_compiler
def test_several_contractions(tmp_path: Path, multiprocessors: int) -> None:
    """Tiles of 64 and, where they are enough and fit the registers, of 128."""
    programs = [program_of(function, arguments, multiprocessors) for function, _, arguments in CASES]
    kernels = OnCpu(programs, tmp_path)
    for number, (function, count, arguments) in enumerate(CASES):
        program = programs[number]
        assert len(buffers(program, "shared")) == count + 1, number
        expected = evaluate(irdl.trace(function)(*arguments), arguments)
        for blocks, order in ((1, 0), (3, 1), (5, 7)):
            results = kernels(number, arguments, blocks=blocks, order=order)
            for result, exact in zip(results, expected, strict=True):
                np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5, err_msg=f"{number}, {blocks}, {order}")
        if number < 3 and multiprocessors == 4:
            for result, exact in zip(interpret(program, arguments), expected, strict=True):
                np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)


def test_what_has_no_rows_or_columns() -> None:
    for arguments in ([normal(0, 5), normal(5, 3 * 64)], [normal(64, 5), normal(5, 0)], [normal(64, 0), normal(0, 3 * 64)]):
        expected = evaluate(irdl.trace(gates)(*arguments), arguments)
        for result, exact in zip(interpret(program_of(gates, arguments, 4), arguments), expected, strict=True):
            np.testing.assert_array_equal(result.reshape(exact.shape), exact)


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
    assert "const float* in0_x, const float* in1_y, const float* __restrict__ in2_b" in head


def test_threads_that_have_not_met() -> None:
    """No two touch the same memory, unless a barrier is left out: each of them is missed."""
    arguments = [normal(20, 64), normal(20, 64), normal(20, 65)]
    expected = evaluate(irdl.trace(gradients)(*arguments), arguments)
    program = program_of(gradients, arguments, 4)
    assert irdl.parse(str(program)) == program
    for result, exact in zip(Watched(program).call(arguments), expected, strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)
    count = sum(isinstance(s, Barrier) for s in walk(program.body))
    assert count == 2
    for number in range(count):
        program = program_of(gradients, arguments, 4)
        bodies = [part for s in walk(program.body) for part in nested(s)]
        part, barrier = [(part, s) for part in bodies for s in part if isinstance(s, Barrier)][number]
        part[:] = [s for s in part if s is not barrier]
        with pytest.raises(Race):
            Watched(program).call(arguments)


@needs_compiler
def test_several_products_of_small_matrices(tmp_path: Path) -> None:
    """Exactly in whole numbers, which TF32 holds."""
    cases = [(gates, [integers(70, 37), integers(37, 3 * 66)]), (gradients, [integers(45, 130), integers(45, 130), integers(45, 133)])]
    cases = [(function, [a.astype(F32) for a in arguments]) for function, arguments in cases]
    programs = [program_of(function, arguments, 1, "tf32") for function, arguments in cases]
    kernels = OnCpu(programs, tmp_path)
    for number, (function, arguments) in enumerate(cases):
        products = [s for s in walk(programs[number].body) if isinstance(s, Multiply)]
        assert len({s.total for s in products}) == len(buffers(programs[number], "shared")) - 1
        expected = evaluate(irdl.trace(function)(*arguments), arguments)
        for order in (0, 1, 7):
            for result, exact in zip(kernels(number, arguments, order=order), expected, strict=True):
                np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=1e-6, atol=0)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("precision", [None, "tf32"])
@pytest.mark.parametrize("capability", [80, 90])
def test_nvcc_compiles_them_without_spills(tmp_path: Path, capability: int, precision: str | None) -> None:
    programs = [program_of(function, arguments, n, precision) for function, _, arguments in CASES for n in (4, 1)]
    assert sum(len(launches(program)) for program in programs) >= len(programs)
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
