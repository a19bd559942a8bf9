"""The CUDA C printer: its kernels, run on the CPU with threads in several orders, agree with NumPy."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.testing import assert_close
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, collect, gpu_program
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


def gru(x, wx, wh):
    def step(h, gates):
        r, z, n = np.split(h @ wh, 3, axis=-1)
        a, b, c = np.split(gates, 3, axis=-1)
        r, z = 1 / (1 + np.exp(-(a + r))), 1 / (1 + np.exp(-(b + z)))
        h = (1 - z) * np.tanh(c + r * n) + z * h
        return h, h

    return irdl.scan(step, np.zeros((x.shape[1], wh.shape[0]), x.dtype), x @ wx)[1]


def invented(x, wx, wh):
    """Three carries, a gate from a sine, a leak; backwards in time."""

    def step(carry, gates):
        h, c, m = carry
        a, b = np.split(gates + h @ wh, 2, axis=-1)
        c = F32(0.9) * c + np.sin(a) / (1 + np.exp(-b))
        m = np.maximum(m * F32(0.5), c)
        h = np.tanh(c - m) * np.exp(-np.abs(b))
        return (h, c, m), h

    start = np.zeros((x.shape[1], wh.shape[0]), x.dtype)
    return irdl.scan(step, (start, start, start), x @ wx, reverse=True)


def weights(inputs, units, gates):
    return normal(inputs, gates * units), normal(units, gates * units) / F32(np.sqrt(units)), normal(gates * units)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def take(a, i):
    return a[i] + 1


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
    (lambda x: (x.sum(0), x.max(0)), normal(300, 37)),
    (lambda x, y: (x @ y, (x * 2).sum(0) @ np.exp(y)), normal(5, 200), normal(200, 70)),
    (lambda x, y: np.einsum("bij,bjk->bik", x, y) + x.sum(), normal(3, 4, 130), normal(3, 130, 33)),
    (lambda x: (x.max(0), x.mean(1), x.argmax(1), x.cumsum(1)), normal(9, 35)),
    (lambda a, b: np.tanh(a @ b), normal(13, 17), normal(17, 80)),
    (lambda a, b: a @ b, normal(1, 5), normal(5, 3)),
    (take, normal(9, 4), np.array([3, -1, 0, 8])),
    (lambda a: np.concatenate([a[1:], a.T[:, :4][:, ::-1]]), normal(4, 4)),
    (lambda x: x + np.arange(40).reshape(8, 5), normal(8, 5)),
    (lstm, normal(6, 4, 3), *WEIGHTS),
    (lstm_gradient, normal(6, 4, 3), *WEIGHTS),
    # Loops whose blocks run at once and keep what does not change.
    (lstm, normal(4, 6, 3), *weights(3, 70, 4)),
    (lstm, normal(3, 8, 5), *weights(5, 128, 4)),
    (lstm_gradient, normal(3, 4, 3), *weights(3, 70, 4)),
    (gru, normal(4, 5, 3), *weights(3, 64, 3)[:2]),
    (invented, normal(5, 4, 3), *weights(3, 67, 2)[:2]),
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
@pytest.mark.parametrize(("blocks", "order"), [(1, 0), (3, 1), (5, 7)])
def test_functions(functions, number, blocks, order):
    kernels, graphs = functions
    arguments = FUNCTIONS[number][1:]
    exact = evaluate(graphs[number], [np.asarray(a) for a in arguments])
    results = kernels(number, arguments, blocks=blocks, order=order)
    for result, expected in zip(results, exact, strict=True):
        np.testing.assert_allclose(result.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5)


def test_an_index_out_of_range_is_reported(functions):
    kernels, _ = functions
    gather = next(number for number, (f, *_) in enumerate(FUNCTIONS) if f is take)
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 9"):
        kernels(gather, (normal(9, 4), np.array([3, 9, 0, 8])))


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
    assert re.search(r'extern "C" __global__ void __launch_bounds__\(256\) max_\d+\(const float\* __restrict__ in0_x, char\* arena', source)
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
