"""CUDA C of float16 and bfloat16, run on the CPU, agrees with NumPy; nvcc has instructions for their conversions."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import irdl
from irdl.ir.dtypes import BFLOAT16
from irdl.ir.evaluate import evaluate
from irdl.loops.interpret import interpret
from irdl.loops.language import Multiply
from irdl.loops.target import Gpu
from irdl.loops.walk import walk
from irdl.testing import assert_close, widened
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.ops.test_halves import FUNCTIONS, HALVES, lstm

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")


def _casts(x, wide):
    """All 65,536 numbers as others, and numbers around the middle between two as them."""
    return x.astype(np.float32), x.astype(np.float64), x.astype(np.float16), x.astype(BFLOAT16), wide.astype(x.dtype)


def _numbers(dtype):
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)
    finite = np.sort(every.astype(np.float32)[np.isfinite(every.astype(np.float32))])
    middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    return every, np.concatenate([middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))])


def gradient(x, wx, wh, b):
    return irdl.grad(lambda *weights: (lstm(x, *weights).astype(np.float32) ** 2).sum(), argnums=(0, 1, 2))(wx, wh, b)


def test_casts_and_functions(tmp_path):
    rng = np.random.default_rng(0)
    cases = []
    for dtype in HALVES:
        cases.append((_casts, _numbers(dtype)))
        x, v = rng.standard_normal((5, 7)).astype(dtype), rng.standard_normal(7).astype(dtype)
        cases += [(FUNCTIONS[name], (x, v)) for name in ("operators", "ufuncs", "picks", "products", "sums", "running", "order", "softmax")]
        # Runs of neighbours, tiles and warps: sizes that fill them, and do not.
        a, b = rng.standard_normal((70, 96)).astype(dtype), rng.standard_normal((96, 130)).astype(dtype)
        cases += [(np.dot, (a, b)), (lambda x: np.tanh(x) * x, (a,)), (lambda x: x[1:, 1:] + x[:-1, :-1], (a,))]
        # Weights that are hoisted out of the loop, and are not; a loop of tensor cores', and one that is too small for them.
        for steps, rows, units in ((6, 4, 32), (4, 9, 64)):
            shapes = ((steps, rows, 8), (8, 4 * units), (units, 4 * units), (4 * units,))
            cases.append((lstm, tuple((0.2 * rng.standard_normal(s)).astype(dtype) for s in shapes)))
    cases.append((gradient, cases[-1][1]))
    graphs = [irdl.trace(f)(*arguments) for f, arguments in cases]
    kernels = OnCpu([gpu_program(graph) for graph in graphs], tmp_path)
    for number, ((_, arguments), graph) in enumerate(zip(cases, graphs, strict=True)):
        with np.errstate(all="ignore"):
            expected = evaluate(graph, arguments)
            reference = evaluate(irdl.trace(cases[number][0])(*widened(arguments)), widened(arguments))
        for order in (0, 7):
            results = [x.reshape(y.shape) for x, y in zip(kernels(number, arguments, order=order), expected, strict=True)]
            assert_close(
                results, expected, reference if cases[number][0] is not _casts else None, ulps=8 * (cases[number][0] is not _casts)
            )


def products(program):
    """The instructions that warps multiply matrices with."""
    return {statement.instruction.name for statement in walk(program.body) if isinstance(statement, Multiply)}


def products_of(f, arguments, capability):
    return products(gpu_program(irdl.trace(f)(*arguments), Gpu(capability)))


def test_products_are_the_interpreters(tmp_path):
    """Bit for bit, of operands that lie along the steps and along the rows, and of sizes that nothing divides."""
    rng = np.random.default_rng(1)

    def product(spec):
        return lambda x, y: np.einsum(spec, x.astype(np.float32), y.astype(np.float32))

    cases = [
        (product(spec), [rng.standard_normal(shape).astype(dtype) for shape in shapes], instruction)
        for dtype, instruction in zip(HALVES, ("m16n8k16_f16", "m16n8k16_bf16"), strict=True)
        for spec, *shapes in (("ij,jk->ik", (70, 37), (37, 65)), ("ji,kj->ik", (48, 64), (64, 48)))
    ]
    programs = [gpu_program(irdl.trace(f)(*arguments), Gpu(80, 4)) for f, arguments, _ in cases]
    kernels = OnCpu(programs, tmp_path)
    for number, (f, arguments, instruction) in enumerate(cases):
        assert products(programs[number]) == {instruction}
        (expected,) = interpret(programs[number], arguments)
        np.testing.assert_allclose(expected.reshape(-1), f(*arguments).reshape(-1), rtol=1e-5, atol=1e-4)
        for order in (0, 1, 7):
            np.testing.assert_array_equal(kernels(number, arguments, order=order)[0].reshape(-1), expected.reshape(-1))


def test_tensor_cores_multiply_halves_exactly():
    """Two of one dtype by an instruction for them, in loops too; others by TF32's, which has no shorter fractions. float32 is not rounded
    unless it is asked for, and older GPUs have no such instruction."""
    for dtype in HALVES:
        instruction = f"m16n8k16_{'f16' if dtype == np.float16 else 'bf16'}"
        assert products_of(np.dot, [np.ones((256, 256), dtype)] * 2, 90) == {instruction}
        arguments = [np.ones(shape, dtype) for shape in ((4, 32, 8), (8, 1024), (256, 1024), (1024,))]
        assert products_of(lstm, arguments, 80) == {f"{instruction}_by_fours"}
        assert products_of(gradient, arguments, 90) == {instruction, f"{instruction}_by_fours"}
        assert products_of(lstm, arguments, 75) == set()
    assert products_of(lstm, [x.astype(np.float32) for x in arguments], 90) == set()
    mixed = [np.ones((256, 256), np.float16), np.ones((256, 256), BFLOAT16)]
    assert products_of(lambda x, y: x.astype(np.float32) @ y.astype(np.float32), mixed, 90) == {"m16n8k8_tf32"}
    assert products_of(lambda x, y: x.astype(np.float32) @ (2 * y.astype(np.float32)), mixed, 90) == set()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [75, 90])
def test_they_fit_the_registers(tmp_path, capability):
    arguments = [np.ones(shape, np.float16) for shape in ((4, 32, 28), (28, 1024), (256, 1024), (1024,))]
    programs = [gpu_program(irdl.trace(f)(*arguments), Gpu(capability)) for f in (lstm, gradient)]
    programs.append(gpu_program(irdl.trace(lambda x: np.tanh(x) * x)(np.ones((64, 1024), BFLOAT16)), Gpu(capability)))
    assert all(frame == spilled == 0 for _, frame, spilled in stacks_and_spills(programs, capability, tmp_path))
