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
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.ir.evaluate import evaluate
from irdl.loops.expressions import Load
from irdl.loops.language import Barrier, For, Store
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, expressions, subexpressions, walk
from irdl.ops.elementwise import Elementwise
from irdl.runtime.device_array import stand_in
from irdl.testing import assert_close
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.watched import Race, Watched, barriers, without
from tests.ops.test_ops import OPS, graph_of, half, magnitude_of, operands_of, takes_special
from tests.programs import Programs, draw_inputs
from tests.test_fuzz import compare

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
F32 = np.float32
ROOT = Path(__file__).resolve().parents[2]


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


def lru_gradient(nu, theta, x):
    """Complex carries and weights, of a loop and its gradient."""

    def loss(nu, theta):
        poles = np.exp(-np.exp(nu) + 1j * theta)
        xs = x @ np.full((3, 5), 1 + 2j, np.complex64)
        last, outputs = irdl.scan(lambda h, u: (poles * h + u, np.abs(h)), np.zeros((4, 5), np.complex64), xs)
        return (np.exp(last / 9).real ** 2).sum() + outputs.sum()

    return irdl.grad(loss, argnums=(0, 1))(nu, theta)


def two_batches(x, w, y):
    """Carries of different shapes, whose blocks are in different runs."""

    def step(carry, xs):
        h, d = carry
        h, d = np.tanh(xs[0] + h @ w), np.tanh(d * F32(0.5) + xs[1])
        return (h, d), (h, d)

    return irdl.scan(step, (np.zeros(x.shape[1:], F32), np.zeros(y.shape[1:], F32)), (x, y))[1]


def no_stack(w, x, y, h, d):
    def step(carry, xs):
        d, h = carry
        return (F32(0.7) * d + np.tanh(xs[1]), np.tanh(h @ w + xs[0])), F32(0)

    (d, h), _ = irdl.scan(step, (d, h), (x, y))
    return h * 2, d * 2


def three_carries(x, w):
    """Two of them are one thread's alone."""

    def step(carry, a):
        h, c, m = carry
        a = a + h @ w
        c = F32(0.9) * c + a
        m = np.maximum(m * F32(0.5), c)
        return (np.tanh(c - m), c, m), h

    start = np.zeros(x.shape[1:], F32)
    (h, c, m), _ = irdl.scan(step, (start, start, start), x)
    return h, c + m


def squared(x, h):
    return x @ x, x.T @ x, irdl.scan(lambda h, _: (np.tanh(h @ h), h.sum()), h, None, length=3)


def weights(inputs, units, gates):
    return normal(inputs, gates * units), normal(units, gates * units) / F32(np.sqrt(units)), normal(gates * units)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, w, b):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + F32(1e-5)) * w + b


def layer_norm_gradient(x, w, b):
    return irdl.grad(lambda *a: (layer_norm(*a) ** 3).sum(), argnums=(0, 1, 2))(x, w, b)


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
    (softmax, normal(3, 7, 128)),
    (softmax, normal(2, 1100)),
    (layer_norm, normal(9, 96), normal(96), normal(96)),
    (layer_norm_gradient, normal(3, 5, 67), normal(67), normal(67)),
    (lambda x, y: (softmax(x) * y[:, None], softmax(x.T)), normal(70, 65), normal(70)),
    (lambda x: x.sum(), normal(700)),
    (lambda x: (x.sum(0), x.max(0)), normal(300, 37)),
    (lambda x, y: (x @ y, (x * 2).sum(0) @ np.exp(y)), normal(5, 200), normal(200, 70)),
    (lambda x, y, b: np.maximum(x @ y + b, 0), normal(130, 37), normal(37, 100), normal(100)),
    (lambda x, y: (x.T @ y.T, x.T @ (x * 2)), normal(37, 260), normal(257, 37)),
    (lambda x, y: np.einsum("bij,bjk->bik", np.exp(x), y), normal(2, 65, 16), normal(2, 16, 70)),
    (lambda x, y: np.einsum("ijk,kjl->il", x, y), normal(70, 3, 5), normal(5, 3, 64)),
    (lambda x, y: x @ y, np.arange(64 * 20).reshape(64, 20), np.arange(20 * 66).reshape(20, 66)),
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
    (two_batches, normal(3, 3, 128), normal(128, 128) / F32(11), normal(3, 2, 224)),
    (no_stack, normal(65, 65) / F32(8), normal(3, 6, 65), normal(3, 6, 100), normal(6, 65), normal(6, 100)),
    (three_carries, normal(5, 4, 64), normal(64, 64) / F32(8)),
    (squared, normal(70, 70) / F32(8), normal(68, 68) / F32(8)),
    (lambda x, w: np.matmul(x, np.broadcast_to(w, (70, 20, 64))), normal(70, 1, 20), normal(20, 64)),
    (lambda x, w: np.einsum("bk,bkj->bj", x, np.broadcast_to(w, (150, 20, 64))), normal(150, 20), normal(20, 64)),
    (lru_gradient, normal(5), normal(5), normal(6, 4, 3)),
    (halve, normal(37) * 100),
    (choose, np.bool_(True), normal(5)),
    (choose, np.bool_(False), normal(5)),
    (lambda x: x[:0].sum(0), normal(3, 2)),
]


def programs_for(multiprocessors, functions=FUNCTIONS):
    """The functions' programs, and what each gives. Where there are few multiprocessors, tiles are larger and blocks take several."""
    graphs = [irdl.trace(f)(*arguments) for f, *arguments in functions]
    results = [evaluate(graph, [np.asarray(a) for a in arguments]) for graph, (_, *arguments) in zip(graphs, functions, strict=True)]
    return [gpu_program(graph, Gpu(multiprocessors=multiprocessors)) for graph in graphs], results


def check_functions(multiprocessors, folder, functions=FUNCTIONS, tolerance=2e-5):
    """Each with several numbers of blocks, its threads in several orders. (One compilation for all.)"""
    programs, exact = programs_for(multiprocessors, functions)
    kernels = OnCpu(programs, folder)
    for number, (function, *arguments) in enumerate(functions):
        for blocks, order in ((1, 0), (3, 1), (5, 7)):
            results = kernels(number, arguments, blocks=blocks, order=order)
            for result, expected in zip(results, exact[number], strict=True):
                where = f"{number}: {function.__name__}, {blocks} blocks, order {order}"
                np.testing.assert_allclose(result.reshape(expected.shape), expected, rtol=tolerance, atol=tolerance, err_msg=where)


#: multiprocessors, and which functions run there: of the few, each on one of two, or with --slow on all
PLACES = [(132, 0, 1), (8, 0, 2), (4, 1, 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(8, 1, 2), (4, 0, 2)])]


@pytest.mark.parametrize(("multiprocessors", "first", "every"), PLACES)
def test_functions(tmp_path, multiprocessors, first, every):
    check_functions(multiprocessors, tmp_path, FUNCTIONS[first::every])


def test_states_that_are_copied(tmp_path, monkeypatch):
    """There is no room for all steps of them."""
    monkeypatch.setattr("irdl.codegen.cuda.schedule.CudaSchedule.stack_bytes", 0)
    functions = [item for item in FUNCTIONS if item[0] in (lstm, gru, invented, two_batches, no_stack, three_carries)]
    assert any("kernel carry" in str(program) for program in programs_for(132, functions)[0])
    check_functions(132, tmp_path, functions)


def test_weights_that_do_not_fit(tmp_path):
    """Some stay in registers, some in shared memory, and the rest is read in every step."""
    for function, gates in ((lstm, 4), (lstm_gradient, 4)):
        arguments = normal(2, 2, 3), *weights(3, 400, gates)
        graph = irdl.trace(function)(*arguments)
        program = gpu_program(graph, Gpu(shared_bytes=64 * 1024))
        kept = {b.space for launch in launches(program) if launch.exact for s in walk(launch.body) for b in buffers_of(s) if b.copies > 1}
        assert kept == {"register", "shared"}
        (tmp_path / function.__name__).mkdir()
        results = OnCpu([program], tmp_path / function.__name__)(0, arguments, order=3)
        for result, exact in zip(results, evaluate(graph, arguments), strict=True):
            np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-4, atol=2e-4)


def test_shared_memory_of_layers_in_one_loop():
    """Two layers' weights do not fit a block; the layers have the rest of it in turns."""

    def layers(x, h, w1, u1, w2, u2):
        def step(carry, x):
            a, b = carry
            a = np.tanh(x @ w1 + a @ u1)
            b = np.tanh(a @ w2 + b @ u2)
            return (a, b), b

        return irdl.scan(step, (h, h), x)[1]

    square = np.zeros((1024, 1024), F32)
    program = gpu_program(irdl.trace(layers)(np.zeros((2, 64, 1024), F32), np.zeros((64, 1024), F32), *[square] * 4))
    assert max(launch.shared_bytes for launch in launches(program)) <= Gpu().shared_bytes


SMALL = [
    (softmax, normal(3, 70)),
    (lambda x, y: (x @ y, x.sum(0)), normal(2, 130), normal(130, 40)),
    (lstm, normal(3, 4, 3), *WEIGHTS),
    (lstm, normal(2, 1, 3), *weights(3, 65, 4)),
    (lstm_gradient, normal(2, 2, 3), *WEIGHTS),
    (three_carries, normal(2, 2, 32), normal(32, 32)),
    (halve, normal(40) * 100),
]


def check_interpreted(function, *arguments):
    """What a program for a GPU means does not hang on there being one; no threads touch the same memory that have not met. Its text
    holds all of it."""
    graph = irdl.trace(function)(*arguments)
    expected = evaluate(graph, arguments)
    for multiprocessors, blocks in ((132, 1 << 20), (3, 2)):
        program = gpu_program(graph, Gpu(multiprocessors=multiprocessors))
        assert irdl.parse(str(program)) == program
        for result, exact in zip(Watched(program, blocks).call(arguments), expected, strict=True):
            np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_interpreted(number):
    check_interpreted(*SMALL[number])


def check_that_barriers_are_missed(function, *arguments, blocks=1 << 20):
    """Each of them, where there are at most so many blocks."""
    program = gpu_program(irdl.trace(function)(*arguments))
    watched = Watched(program, blocks)
    watched.call(arguments)
    for launch in launches(program):
        for part, barrier in barriers(launch):
            with without(part, barrier), pytest.raises(Race):
                watched.again(launch)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_missing_barrier_is_found(number):
    check_that_barriers_are_missed(*SMALL[number])


def test_rows_are_read_and_written_once():
    """A softmax and a layer norm are one launch each, with the rows in registers."""
    rows = np.zeros((8000, 300), F32)
    for function, arguments in ((softmax, [rows]), (layer_norm, [rows, normal(300), normal(300)])):
        program = gpu_program(irdl.trace(function)(*arguments))
        (launch,) = launches(program)
        assert {s.scope for s in walk(launch.body) if isinstance(s, Barrier)} == {"warp"}
        x, out = program.inputs[0], program.outputs[0]
        loads = [item for s in walk(launch.body) for e in expressions(s) for item in subexpressions(e) if isinstance(item, Load)]
        assert len([load for load in loads if load.buffer is x]) == 2  # in the loop, and behind it
        assert program.arena_bytes < x.nbytes / 8
        assert len([s for s in walk(launch.body) if isinstance(s, Store) and s.buffer is out]) == 2


def kinds_of_barriers(function, *arguments):
    """Of the launches with loops over time, in order: who meets in a step, outside of and within nests of blocks."""
    program = gpu_program(irdl.trace(function)(*arguments))
    found = []
    for launch in launches(program):
        if any(isinstance(s, For) and s.variable.startswith("t") and s.kind == "serial" for s in launch.body):
            found.append([f"{s.blocks} blocks" if s.scope == "blocks" else s.scope for s in walk(launch.body) if isinstance(s, Barrier)])
    return found


def test_barriers_of_a_recurrent_loop():
    """Forward and backward, only the blocks that share rows meet, once in a step."""
    arguments = normal(5, 32, 8), *weights(8, 256, 4)
    once = ["8 blocks", "block", "block"]
    assert kinds_of_barriers(lstm, *arguments) == [once]
    assert kinds_of_barriers(lstm_gradient, *arguments) == [once, once]
    # A state of which all steps together are larger than a CPU's cache.
    assert kinds_of_barriers(lstm, normal(80, 32, 8), *weights(8, 512, 4))[0].count("all") == 0
    # Columns that do not fill their tiles.
    once = ["3 blocks", "block", "block"]
    assert kinds_of_barriers(lstm_gradient, normal(3, 4, 3), *weights(3, 70, 4)) == [once, once]
    once = ["7 blocks", "block", "block"]
    assert kinds_of_barriers(lstm_gradient, normal(3, 20, 3), *weights(3, 200, 4)) == [once, once]


def test_an_index_out_of_range_is_reported(tmp_path):
    kernels = OnCpu([gpu_program(irdl.trace(take)(normal(9, 4), np.arange(4)))], tmp_path)
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 0 with size 9"):
        kernels(0, (normal(9, 4), np.array([3, 9, 0, 8])))


@pytest.mark.parametrize("kind", ["elementwise", "others"])
def test_every_op(tmp_path, request, kind):
    """Every op that can be compiled, over some of its samples or with --slow all, with infinities and nans among the numbers."""
    rng = np.random.default_rng(0)
    ops = [op for op in OPS if isinstance(op, Elementwise) == (kind == "elementwise")]
    samples = [(op, sample) for op in ops for sample in (op.samples() if request.config.getoption("--slow") else half(op))]
    graphs = [graph_of(op, sample) for op, sample in samples]
    kernels = OnCpu([gpu_program(graph) for graph in graphs], tmp_path)
    for number, ((op, sample), graph) in enumerate(zip(samples, graphs, strict=True)):
        for special in (False, True)[: 1 + takes_special(op, sample)]:
            operands = operands_of(op, sample, rng, special)
            expected = evaluate(graph, operands)
            results = [x.view(y.dtype).reshape(y.shape) for x, y in zip(kernels(number, operands), expected, strict=True)]
            assert_close(results, expected, magnitude=magnitude_of(op, graph, operands))


def test_extremes_of_nan(tmp_path):
    x, y = np.array([[np.nan, 1, np.nan, 2, -np.inf], [1, np.nan, np.nan, 3, np.nan]], F32)
    graph = irdl.trace(lambda x, y: (np.maximum(x, y), np.minimum(x, y)))(x, y)
    for result, expected in zip(OnCpu([gpu_program(graph)], tmp_path)(0, [x, y]), evaluate(graph, [x, y]), strict=True):
        np.testing.assert_array_equal(result, expected)


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
    assert re.search(
        r'extern "C" __global__ void __launch_bounds__\(256, 2\) max_\d+\(const float\* __restrict__ in0_x, float\* out0, char\* arena',
        source,
    )
    assert source == irdl.compile(softmax)(normal(5, 70)).cuda_source


@pytest.mark.parametrize(("size", "kind"), [(2**30, "int"), (2**31 - 1, "long long")])
def test_places_behind_the_last_one(size, kind):
    """A thread goes on by all threads of the grid, and that is less than 2**31 too, or it would come round to below 0."""
    graph = irdl.trace(lambda x: x + x)(stand_in((size,), np.dtype(np.int8)))
    assert f"const {kind} thread = " in emit_cuda(gpu_program(graph, Gpu()))


def test_the_source_is_the_same_in_every_process():
    """It is what compiled code is kept by."""
    code = "from tests.codegen.test_cuda import *; print(irdl.compile(layer_norm)(*[normal(9, 96), normal(96), normal(96)]).cuda_source)"
    found = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(
            subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        )
    assert len(found) == 1


#: for which GPUs functions are compiled: each for one of two, or with --slow for all
SPILLING = [
    (132, 90, 0, 2),
    (4, 90, 1, 2),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in [(132, 80, 0, 1), (132, 90, 1, 2), (4, 90, 0, 2)]),
]


def check_that_nothing_spills(multiprocessors, capability, folder, functions=FUNCTIONS):
    programs, _ = programs_for(multiprocessors, functions)
    # The sine of a large number takes a stack frame.
    sines = {f"{launch.name}__{n}" for n, p in enumerate(programs) for launch in launches(p) if "sin(" in str(p)}
    found = stacks_and_spills(programs, capability, folder)
    assert not [(name, frame, spilled) for name, frame, spilled in found if spilled or (frame and name not in sines)]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize(("multiprocessors", "capability", "first", "every"), SPILLING)
def test_nvcc_compiles_it_without_spills(tmp_path: Path, multiprocessors, capability, first, every):
    check_that_nothing_spills(multiprocessors, capability, tmp_path, FUNCTIONS[first::every])
