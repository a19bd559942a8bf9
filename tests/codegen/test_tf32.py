"""`precision="tf32"`: what it makes of contractions, against the interpreter and against NumPy on rounded operands."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda import tiling
from irdl.codegen.cuda.emit import emit_cuda
from irdl.loops.instructions import round_to_tf32
from irdl.loops.interpret import interpret
from irdl.loops.language import Multiply, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import walk
from irdl.runtime.build import Build
from irdl.runtime.cpu import Cpu
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import normal

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
#: contractions of two arrays, by their subscripts; of which some do not fill their tiles
PRODUCTS = [
    ("ik,kj->ij", (64, 8), (8, 64)),
    ("ik,kj->ij", (130, 37), (37, 100)),
    ("ik,kj->ij", (70, 2), (2, 65)),
    ("ki,jk->ij", (130, 67), (129, 130)),
    ("ki,jk->ji", (17, 65), (71, 17)),
    ("bij,bjk->bik", (3, 65, 16), (3, 16, 70)),
    ("ijk,kjl->il", (70, 3, 5), (5, 3, 64)),
    ("ik,kj->ij", (150, 20), (20, 260)),
]


def products(program: Program) -> int:
    return sum(isinstance(statement, Multiply) for statement in walk(program.body))


@needs_compiler
def test_products(tmp_path: Path) -> None:
    """The same bits as the interpreter's, and NumPy's but for the order of sums, on rounded operands."""
    cases = [(labels, normal(*left), normal(*right), count) for labels, left, right in PRODUCTS for count in (4, 1)]
    graphs = [irdl.trace(lambda x, y, labels=labels: np.einsum(labels, x, y))(x, y) for labels, x, y, _ in cases]
    with mock.patch.object(tiling, "_SHORT", 1):  # fewer steps than are multiplied at once too
        programs = [gpu_program(graph, Gpu(multiprocessors=case[3]), "tf32") for graph, case in zip(graphs, cases, strict=True)]
    assert all(map(products, programs))
    kernels = OnCpu(programs, tmp_path)
    for number, (labels, x, y, _) in enumerate(cases):
        left, right = round_to_tf32(x).astype(np.float64), round_to_tf32(y).astype(np.float64)
        exact, sizes = np.einsum(labels, left, right), np.einsum(labels, np.abs(left), np.abs(right))
        # Products are exact, and so many sums are rounded, in any order.
        terms = left.size * right.size // exact.size
        for order in (0, 7):
            (result,) = kernels(number, [x, y], order=order)
            assert (np.abs(result.reshape(exact.shape) - exact) <= terms * 2.0**-24 * sizes).all(), (labels, x.shape)
        if x.size < 3000:
            np.testing.assert_array_equal(interpret(programs[number], [x, y])[0], result)


@needs_compiler
def test_what_is_around_a_product(tmp_path: Path) -> None:
    """Operands that are computed on the way, and what is done with sums. Roundings of what was rounded otherwise may go the other way."""

    def function(x, y, b):
        return np.maximum(np.exp(x) @ y.T + b, 0) * 2

    arguments = normal(70, 19), normal(66, 19), normal(66)
    graph = irdl.trace(function)(*arguments)
    program = gpu_program(graph, Gpu(multiprocessors=4), "tf32")
    assert products(program)
    (result,) = OnCpu([program], tmp_path)(0, arguments)
    x, y, b = (a.astype(np.float64) for a in arguments)
    sizes = 2 * (np.exp(x) @ np.abs(y.T) + np.abs(b))
    assert (np.abs(result.reshape(70, 66) - function(x, y, b)) <= 2.0**-9.9 * sizes).all()


def test_what_stays_as_it_is() -> None:
    """Other dtypes, few results, and GPUs without the instruction."""
    large = normal(64, 64)
    cases = [
        (Gpu(multiprocessors=4), large.astype(np.float64), large.astype(np.float64)),
        (Gpu(multiprocessors=4), large.astype(np.int32), large.astype(np.int32)),
        (Gpu(multiprocessors=4), normal(1, 64), large),
        (Gpu(multiprocessors=4, capability=75), large, large),
    ]
    for gpu, x, y in cases:
        graph = irdl.trace(np.matmul)(x, y)
        assert emit_cuda(gpu_program(graph, gpu, "tf32")) == emit_cuda(gpu_program(graph, gpu))
    graph = irdl.trace(np.matmul)(large, large)
    gpu = Gpu(multiprocessors=4)
    assert "m16n8k8" in emit_cuda(gpu_program(graph, gpu, "tf32")) and "m16n8k8" not in emit_cuda(gpu_program(graph, gpu))


def test_text_of_products_reads_back() -> None:
    graph = irdl.trace(lambda x, y: np.tanh(x @ y))(normal(70, 20), normal(20, 65))
    program = gpu_program(graph, Gpu(multiprocessors=4), "tf32")
    assert irdl.parse(str(program)) == program


def test_precision_by_name() -> None:
    """It is part of what code is kept by; on a CPU it changes nothing."""
    x = normal(600, 600)
    plain, rounded = irdl.compile(np.matmul)(x, x), irdl.compile(np.matmul, precision="tf32")(x, x)
    assert "m16n8k8" in rounded.cuda_source and "m16n8k8" not in plain.cuda_source
    np.testing.assert_array_equal(irdl.jit(np.matmul, precision="tf32")(x, x), irdl.jit(np.matmul)(x, x))
    graph = irdl.trace(np.matmul)(x, x)
    assert Build(graph, Cpu()).key() != Build(graph, Cpu(), precision="tf32").key()
    assert "m16n8k8" in irdl.compile(graph, precision="tf32")().cuda_source
    for f in (irdl.jit, irdl.compile):
        with pytest.raises(ValueError, match="there is no precision 'float16'; irdl has 'tf32', and None for NumPy's"):
            f(np.matmul, precision="float16")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_it_without_spills(tmp_path: Path, capability: int) -> None:
    arguments = [(labels, normal(*left), normal(*right), count) for labels, left, right in PRODUCTS for count in (4, 1)]
    programs = [
        gpu_program(irdl.trace(lambda x, y, labels=labels: np.einsum(labels, x, y))(x, y), Gpu(multiprocessors=count), "tf32")
        for labels, x, y, count in arguments
    ]
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
