"""`precision="tf32"` in loops over time: weights in registers as small matrices, against NumPy and the interpreter."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.types import TensorType
from irdl.loops.instructions import round_to_tf32
from irdl.loops.language import Barrier, For, Multiply, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, walk
from irdl.ops.contract import DOT
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.test_cuda import gru, invented, lstm, lstm_gradient, normal, three_carries, weights
from tests.codegen.watched import Race, Watched, barriers, without

F32 = np.float32
needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")


def counting(x: Any, h: Any, w: Any) -> Any:
    """Two gates, a carry that is exchanged and one that is not, in whole numbers: all that is multiplied and added up is exact."""

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        a, b = np.split(h @ w, 2, axis=-1)
        c = np.remainder(c * 3 + b, F32(13))
        h = np.remainder(x + a + c, F32(17)) - 8
        return (h, c), h

    (h, c), ys = irdl.scan(step, (h, np.zeros_like(h)), x)
    return ys, h, c


def whole_numbers(steps: int, rows: int, units: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(units)
    shapes = (steps, rows, units), (rows, units), (units, 2 * units)
    return tuple(rng.integers(-limit, limit + 1, shape).astype(F32) for limit, shape in zip((8, 8, 2), shapes, strict=True))


def in_loops(program: Program) -> list[Multiply]:
    loops = [s for s in walk(program.body) if isinstance(s, For) and s.variable.startswith("t") and s.kind == "serial"]
    return [s for s in walk(loops) if isinstance(s, Multiply)]


@needs_compiler
def test_whole_numbers(tmp_path: Path) -> None:
    """Exactly what NumPy gives: rows and columns that fill their matrices or do not, tiles of several matrices, threads in any order."""
    shapes = [(3, 8, 64), (3, 4, 70), (2, 5, 67), (3, 20, 80), (2, 17, 96), (2, 9, 130), (2, 30, 128), (2, 40, 64)]
    cases = [(shape, count) for shape in shapes for count in (132, 9, 5)]
    arguments = [whole_numbers(*shape) for shape, _ in cases]
    graphs = [irdl.trace(counting)(*given) for given in arguments]
    programs = [gpu_program(graph, Gpu(multiprocessors=count), "tf32") for graph, (_, count) in zip(graphs, cases, strict=True)]
    assert all(in_loops(p) for p, (_, count) in zip(programs, cases, strict=True) if count > 8)
    kernels = OnCpu(programs, tmp_path)
    for number, (graph, given) in enumerate(zip(graphs, arguments, strict=True)):
        for order in (0, 1, 7):
            for result, exact in zip(kernels(number, given, order=order), evaluate(graph, given), strict=True):
                np.testing.assert_array_equal(result.reshape(exact.shape), exact, err_msg=f"{cases[number]}, order {order}")


@needs_compiler
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    """Some stay in registers, some in shared memory, and the rest is read in every step; they are rounded once all the same."""
    given = whole_numbers(2, 4, 2000)
    graph = irdl.trace(counting)(*given)
    program = gpu_program(graph, Gpu(shared_bytes=64 * 1024), "tf32")
    (loop,) = (launch for launch in launches(program) if launch.exact)
    assert {b.name.split("_")[0] for s in walk(loop.body) for b in buffers_of(s) if b.copies > 1} >= {"kept", "near"}
    pieces = [s for s in walk(loop.body) if isinstance(s, For) and any(isinstance(inner, Multiply) for inner in s.body)]
    assert len(pieces) == 3 and (pieces[0].kind, pieces[2].kind) == ("unrolled", "serial")
    for result, exact in zip(OnCpu([program], tmp_path)(0, given, order=3), evaluate(graph, given), strict=True):
        np.testing.assert_array_equal(result.reshape(exact.shape), exact)


def evaluate_rounded(graph: Graph, given: Any, w: np.ndarray, gradient_too: bool, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """NumPy, with operands of the contractions with `w` rounded, and of those that make its gradient where they are large enough."""
    evaluate_dot = type(DOT).evaluate

    def rounded(self: Any, operands: Any, attributes: Any, regions: Any) -> Any:
        (type_,) = self.infer([TensorType(operand.dtype, operand.shape) for operand in operands], attributes, regions)
        shapes = [*(operand.shape for operand in operands), *([type_.shape] if gradient_too else [])]
        if any(shape in (w.shape, w.T.shape) for shape in shapes):
            wide = [round_to_tf32(operand).astype(np.float64) for operand in operands]
            return [result.astype(F32) for result in evaluate_dot(self, wide, attributes, regions)]
        return evaluate_dot(self, operands, attributes, regions)

    with monkeypatch.context() as patch:
        patch.setattr(type(DOT), "evaluate", rounded)
        return list(evaluate(graph, given))


CELLS = [
    (lstm, normal(3, 8, 5), *weights(5, 128, 4)),
    (lstm, normal(4, 6, 3), *weights(3, 70, 4)),
    (lstm_gradient, normal(5, 4, 3), *weights(3, 70, 4)),
    (gru, normal(4, 5, 3), *weights(3, 64, 3)[:2]),
    (invented, normal(5, 4, 3), *weights(3, 67, 2)[:2]),
    (three_carries, normal(5, 4, 64), normal(64, 64) / F32(8)),
]


@needs_compiler
@pytest.mark.parametrize("multiprocessors", [132, 8])
def test_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multiprocessors: int) -> None:
    """NumPy on rounded operands, to what float32 loses. A state that differs in its last bit may be rounded the other way, some one in a
    thousand, and what it is multiplied with is off by 2^-11 of it then."""
    graphs = [irdl.trace(function)(*given) for function, *given in CELLS]
    programs = [gpu_program(graph, Gpu(multiprocessors=multiprocessors), "tf32") for graph in graphs]
    kernels = OnCpu(programs, tmp_path)
    for number, (function, *given) in enumerate(CELLS):
        assert in_loops(programs[number])
        w = max(given[1:], key=np.size)
        near = evaluate_rounded(graphs[number], given, w, multiprocessors == 8, monkeypatch)
        for result, expected, exact in zip(kernels(number, given, order=number), near, evaluate(graphs[number], given), strict=True):
            error = np.abs(result.reshape(expected.shape) - expected) / np.abs(expected).max()
            assert np.quantile(error, 0.9) < 2e-5, function.__name__
            assert error.max() < 2.0**-10, function.__name__
            # What rounding does is much more.
            assert error.mean() < 0.1 * (np.abs(expected - exact) / np.abs(expected).max()).mean(), function.__name__


@needs_compiler
def test_roundings_of_a_step(tmp_path: Path) -> None:
    """The first step multiplies what was given: only the order of sums is open."""

    def linear(x: Any, h: Any, w: Any) -> Any:
        return irdl.scan(lambda h, x: (x + h @ w, x + h @ w), h, x)[1]

    x, h, w = normal(2, 7, 75), normal(7, 75), normal(75, 75)
    program = gpu_program(irdl.trace(linear)(x, h, w), None, "tf32")
    assert in_loops(program)
    (result,) = OnCpu([program], tmp_path)(0, [x, h, w])
    h, w = round_to_tf32(h).astype(np.float64), round_to_tf32(w).astype(np.float64)
    error = np.abs(result.reshape(x.shape)[0] - (x[0] + h @ w))
    assert (error <= 77 * 2.0**-24 * (np.abs(x[0]) + np.abs(h) @ np.abs(w))).all()


WATCHED: list[tuple[Callable[..., Any], Any]] = [
    (three_carries, (normal(2, 4, 64), normal(64, 64) / F32(8))),
    (lstm, (normal(2, 4, 3), *weights(3, 64, 4))),
]


@pytest.mark.parametrize("number", range(len(WATCHED)))
def test_interpreted(number: int) -> None:
    """No threads touch the same memory that have not met; its text holds all of it; and each barrier is needed."""
    function, arguments = WATCHED[number]
    graph = irdl.trace(function)(*arguments)
    program = gpu_program(graph, None, "tf32")
    assert in_loops(program) and irdl.parse(str(program)) == program
    watched = Watched(program)
    for result, exact in zip(watched.call(arguments), evaluate(graph, arguments), strict=True):
        np.testing.assert_allclose(result.reshape(exact.shape), exact, rtol=2.0**-9, atol=2.0**-9)
    loop = next(launch for launch in launches(program) if launch.exact)
    for part, barrier in barriers(loop):
        with without(part, barrier), pytest.raises(Race):
            watched.again(loop)


def test_barriers_and_what_stays() -> None:
    """One meeting a step of the blocks that share rows, forward and backward; weights are rounded before the loop."""
    program = gpu_program(irdl.trace(lstm_gradient)(normal(5, 32, 8), *weights(8, 256, 4)), None, "tf32")
    loops = [launch for launch in launches(program) if launch.exact]
    assert len(loops) == 2
    for launch in loops:
        assert launch.blocks == 64
        scopes = [f"{s.blocks} blocks" if s.scope == "blocks" else s.scope for s in walk(launch.body) if isinstance(s, Barrier)]
        assert scopes == ["16 blocks", "block"]
        (loop,) = (s for s in launch.body if isinstance(s, For))
        # What is rounded in a step is what was exchanged.
        rounded = re.findall(r"tf32\((\w+)\[", str(Program("step", [], [], [], [loop])))
        assert rounded and set(rounded) <= {b.name for s in walk([loop]) for b in buffers_of(s) if b.space == "arena"}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_it_without_spills(tmp_path: Path, capability: int) -> None:
    programs = []
    for function in (lstm, lstm_gradient):
        for rows, units in ((16, 768), (64, 512), (32, 256)):
            given = np.zeros((20, rows, 8), F32), np.zeros((8, 4 * units), F32), np.zeros((units, 4 * units), F32), np.zeros(4 * units, F32)
            programs.append(gpu_program(irdl.trace(function)(*given), None, "tf32"))
    assert all(map(in_loops, programs))
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
