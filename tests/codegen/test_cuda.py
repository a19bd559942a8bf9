"""The CUDA C printer: its kernels, run on the CPU with threads in several orders, agree with NumPy."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import ENTRY
from irdl.ir.evaluate import evaluate
from irdl.testing import assert_close
from tests.codegen.on_cpu import HAVE_COMPILER, HERE, OnCpu, build_kernels, collect, gpu_program, kernel_arrays
from tests.ops.test_ops import OPS, graph_of, magnitude_of, operands_of, takes_special
from tests.programs import Programs, draw_inputs
from tests.test_fuzz import compare

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
F32 = np.float32


def lstm(x, wx, wh, b):
    """Outputs of all steps; a loop with a contraction in it."""

    def step(carry, gates):
        h, c = carry
        i, f, g, o = np.split(gates + h @ wh, 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        return (h, c), h

    start = np.zeros((x.shape[1], wh.shape[0]), x.dtype)
    return irdl.scan(step, (start, start), x @ wx + b)[1]


def lstm_gradient(x, wx, wh, b):
    return irdl.grad(lambda *w: (lstm(x, *w) ** 2).sum(), argnums=(0, 1, 2))(wx, wh, b)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def halve(x):
    return irdl.while_loop(lambda c: (c[0] > 1).any(), lambda c: (c[0] * F32(0.5), c[1] + 1), (x, np.int64(0)))


def choose(p, x):
    return irdl.cond(p, lambda x: x * 2, lambda x: x.cumsum(0), x)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(F32)


WEIGHTS = (normal(3, 28), normal(7, 28), normal(28))
FUNCTIONS = [
    (lambda x, y: np.where(x > y, x * y, np.sqrt(np.abs(x)) - y), normal(3, 45), normal(45)),
    (softmax, normal(5, 70)),
    (lambda x: x.sum(), normal(700)),
    (lambda x: (x.max(0), x.mean(1), x.argmax(1), x.cumsum(1)), normal(9, 35)),
    (lambda a, b: np.tanh(a @ b), normal(13, 17), normal(17, 80)),
    (lambda a, b: a @ b, normal(1, 5), normal(5, 3)),
    (lambda a, i: a[i] + 1, normal(9, 4), np.array([3, -1, 0, 8])),
    (lambda a: np.concatenate([a[1:], a.T[:, :4][:, ::-1]]), normal(4, 4)),
    (lambda x: x + np.arange(40).reshape(8, 5), normal(8, 5)),
    (lstm, normal(6, 4, 3), *WEIGHTS),
    (lstm_gradient, normal(6, 4, 3), *WEIGHTS),
    (halve, normal(37) * 100),
    (choose, np.bool_(True), normal(5)),
    (choose, np.bool_(False), normal(5)),
    (lambda x: x[:0].sum(0), normal(3, 2)),
]


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    graphs = [irdl.trace(f)(*arguments) for f, *arguments in FUNCTIONS]
    return OnCpu([gpu_program(graph) for graph in graphs], tmp_path_factory.mktemp("functions")), graphs


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
@pytest.mark.parametrize(("blocks", "warps", "order"), [(1, 1, 0), (3, 2, 1), (2, 4, 7)])
def test_functions(functions, number, blocks, warps, order):
    kernels, graphs = functions
    arguments = FUNCTIONS[number][1:]
    exact = evaluate(graphs[number], [np.asarray(a) for a in arguments])
    results = kernels(number, arguments, blocks=blocks, warps=warps, order=order)
    for result, expected in zip(results, exact, strict=True):
        np.testing.assert_allclose(result.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5)


def test_an_index_out_of_range_is_reported(functions):
    kernels, _ = functions
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 9"):
        kernels(6, (normal(9, 4), np.array([3, 9, 0, 8])))


def test_every_op(tmp_path):
    """Every op that can be compiled, over its samples, with infinities and nans among the numbers."""
    rng = np.random.default_rng(0)
    samples = [(op, sample) for op in OPS for sample in op.samples()]
    graphs = [graph_of(op, sample) for op, sample in samples]
    kernels = OnCpu([gpu_program(graph) for graph in graphs], tmp_path)
    for number, ((op, sample), graph) in enumerate(zip(samples, graphs, strict=True)):
        for special in (False, True)[: 1 + takes_special(op, sample)]:
            operands = operands_of(op, sample, rng, special)
            expected = evaluate(graph, operands)
            results = [x.reshape(y.shape) for x, y in zip(kernels(number, operands), expected, strict=True)]
            assert_close(results, expected, magnitude=magnitude_of(op, graph, operands))


def test_random_programs(tmp_path):
    graphs = [Programs(random.Random(seed)).graph() for seed in range(40)]
    kernels = OnCpu([gpu_program(graph) for graph in graphs], tmp_path)
    for number, graph in enumerate(graphs):
        arguments = draw_inputs(graph, np.random.default_rng(number))
        expected = evaluate(graph, arguments)
        results = kernels(number, arguments, order=number)
        compare([x.reshape(y.shape) for x, y in zip(results, expected, strict=True)], expected, "cuda", True)


def test_source_of_a_compiled_function():
    source = irdl.compile(softmax)(normal(5, 70)).cuda_source
    assert source.startswith("// NumPy's meaning")
    assert 'extern "C" __global__ void irdl_main(const float* __restrict__ in0_x, float* out0' in source
    assert source == irdl.compile(softmax)(normal(5, 70)).cuda_source


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
def test_nvcc_compiles_it_without_spills(functions, tmp_path: Path):
    kernels, _ = functions
    source = tmp_path / "kernels.cu"
    source.write_text(collect(kernels.programs))
    command = ["nvcc", "-std=c++17", "-arch=sm_90", "-cubin", "-Xptxas", "-v", str(source), "-o", str(tmp_path / "kernels.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"(\d+) bytes spill stores", done.stderr)) == {"0"}


def test_through_pycuda_on_the_stand_in_driver(tmp_path: Path):
    """The same kernels by way of pycuda, where it is installed and CUDA's headers are there."""
    pytest.importorskip("pycuda")
    cuda = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    if not (cuda / "include" / "cuda.h").exists():
        pytest.skip("needs CUDA's headers")
    (tmp_path / "driver").mkdir()
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_HOME": str(cuda), "CUDA_ON_CPU_ORDER": "5"}
    subprocess.run(["sh", str(HERE / "build_fake_cuda.sh"), str(tmp_path / "driver")], check=True, env=environment)
    _, *arguments = FUNCTIONS[9]
    graph = irdl.trace(lstm)(*arguments)
    program = gpu_program(graph)
    library = build_kernels([program], tmp_path)
    arrays, places = kernel_arrays(program, arguments)
    np.savez(tmp_path / "given.npz", *arrays)
    files = [tmp_path / "driver" / "libcuda.so.1", library, f"{ENTRY}_0", tmp_path / "given.npz", tmp_path / "result.npz"]
    subprocess.run([sys.executable, "-m", "tests.codegen.cuda.through_pycuda", *map(str, files)], check=True, env=environment)
    result = list(np.load(tmp_path / "result.npz").values())[places.start]
    np.testing.assert_allclose(result.reshape(6, 4, 7), lstm(*arguments), rtol=2e-5, atol=2e-5)
