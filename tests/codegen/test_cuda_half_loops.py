"""Loops over time of float16 and bfloat16: weights of 16 bits, two to a register, against NumPy and the interpreter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda import resident
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.codegen.cuda.registers import are_paired, words
from irdl.ir.dtypes import BFLOAT16, is_half
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.loops.expressions import Buffer
from irdl.loops.instructions import INSTRUCTIONS, TF32
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier, For, Launch, Multiply, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import buffers_of, walk
from irdl.ops.control import SCAN
from irdl.ops.elementwise import CAST
from irdl.ops.joining import CONCAT
from irdl.passes.round_early import round_early
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.ops.test_halves import HALVES, lstm

F32 = np.float32
needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")


def narrow(x: Any, h: Any, w: Any) -> Any:
    """Two gates in whole numbers, a state of 16 bits and one that stays with its thread."""

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        a, b = np.split(np.dot(h, w), 2, axis=-1)
        c = np.remainder(c * 3 + b, h.dtype.type(13))
        h = np.remainder(x + a + c, h.dtype.type(17)) - h.dtype.type(8)
        return (h, c), h

    return irdl.scan(step, (h, np.zeros_like(h)), x)


def wide(x: Any, h: Any, w: Any) -> Any:
    """The same of float32, but for what is multiplied; each step reads its state as it was before that was rounded, too."""

    def step(h: Any, x: Any) -> Any:
        a, b = np.split(np.dot(h.astype(w.dtype), w).astype(F32), 2, axis=-1)
        h = np.remainder(x + a + 3 * b + h, F32(17)) - 8
        return h, h

    return irdl.scan(step, h, x)


def last(x: Any, h: Any, w: Any) -> Any:
    """Nothing but the last state is wanted: each step may write where the one before has, once all have read that."""
    return irdl.scan(lambda h, x: (np.remainder(x + np.dot(h, w[:, ::2]), h.dtype.type(17)) - h.dtype.type(8), None), h, x)[0]


def whole_numbers(steps: int, rows: int, units: int, dtype: np.dtype, state: np.dtype | None = None) -> list[np.ndarray]:
    """All sums of products of them are exact."""
    rng = np.random.default_rng(units)
    shapes = ((steps, rows, units), 8, state), ((rows, units), 8, state), ((units, 2 * units), 2, None)
    return [rng.integers(-limit, limit + 1, shape).astype(other or dtype) for shape, limit, other in shapes]


def in_loops(program: Program) -> set[str]:
    """The instructions that multiply in loops over time."""
    loops = [s for launch in launches(program) if launch.exact for s in launch.body if isinstance(s, For)]
    return {s.instruction.name for s in walk(loops) if isinstance(s, Multiply)}


def kept(launch: Launch, space: str) -> set[Buffer]:
    """What a loop keeps of 16 bits for all of its steps."""
    found = {buffer for s in walk(launch.body) for buffer in buffers_of(s)}
    return {b for b in found if b.space == space and is_half(b.dtype) and b.name.startswith(("kept_", "near_")) and b.size > b.copies}


@needs_compiler
def test_whole_numbers(tmp_path: Path) -> None:
    """Exactly what NumPy gives, and the interpreter: sizes that fill their matrices or do not, threads in any order; with tensor cores and
    without."""
    shapes = [
        ((3, 8, 64), Gpu()),
        ((2, 5, 67), Gpu(80, 9)),
        ((2, 17, 80), Gpu()),
        ((2, 9, 130), Gpu(multiprocessors=20)),
        ((3, 3, 70), Gpu()),
        ((2, 6, 64), Gpu(75, 8)),
        ((2, 2, 96), Gpu()),
    ]
    chosen = [(narrow, shape) for shape in shapes] + [(function, shape) for function in (wide, last) for shape in shapes[1::2]]
    cases = [(function, *shape, HALVES[number % 2]) for number, (function, shape) in enumerate(chosen)]
    arguments = [whole_numbers(*shape, dtype, np.dtype(F32) if function is wide else None) for function, shape, _, dtype in cases]
    graphs = [irdl.trace(case[0])(*given) for case, given in zip(cases, arguments, strict=True)]
    programs = [gpu_program(graph, gpu) for graph, (_, _, gpu, _) in zip(graphs, cases, strict=True)]
    for program, (_, (_, rows, _), gpu, dtype) in zip(programs, cases, strict=True):
        name = f"m16n8k16_{'f16' if dtype == np.float16 else 'bf16'}_by_fours"
        assert in_loops(program) == ({name} if rows >= 4 and gpu.capability >= 80 else set())
        assert irdl.parse(str(program)) == program
    kernels = OnCpu(programs, tmp_path)
    for number, (graph, given) in enumerate(zip(graphs, arguments, strict=True)):
        exact = evaluate(graph, given)
        oracle = interpret(programs[number], given) if number % 5 == 0 else exact
        for order in (0, 1, 7):
            for result, other, expected in zip(kernels(number, given, order=order), oracle, exact, strict=True):
                np.testing.assert_array_equal(result.reshape(expected.shape), expected, err_msg=f"{cases[number]}, order {order}")
                np.testing.assert_array_equal(other.reshape(expected.shape), expected)


@needs_compiler
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    """Some stay in registers, two in each, some in shared memory, and the rest is read in every step: of 16 bits all of them."""
    cases = [
        (dtype, shape, gpu, registers)
        for dtype in HALVES
        for shape, gpu, registers in (
            ((8, 3, 256), Gpu(75, 16, shared_bytes=16 * 1024), 30),
            ((2, 3, 200), Gpu(75, 16, shared_bytes=16 * 1024), 26),
            ((8, 8, 200), Gpu(90, 16, shared_bytes=16 * 1024), 26),
        )
    ]
    arguments = [whole_numbers(*shape, dtype) for dtype, shape, _, _ in cases]
    graphs = [irdl.trace(narrow)(*given) for given in arguments]
    programs = []
    for graph, (_, _, gpu, registers) in zip(graphs, cases, strict=True):
        with mock.patch.object(resident, "_KEPT", registers):
            programs.append(gpu_program(graph, gpu))
    for program in programs:
        (loop,) = (launch for launch in launches(program) if launch.exact)
        (steps,) = (s for s in loop.body if isinstance(s, For))
        assert any(are_paired(buffer) for buffer in kept(loop, "register")) and kept(loop, "shared")
        assert any(is_half(b.dtype) and b.name.startswith(("w", "packed_")) for s in walk([steps]) for b in buffers_of(s))
    kernels = OnCpu(programs, tmp_path)
    for number, (graph, given) in enumerate(zip(graphs, arguments, strict=True)):
        for order in (0, 7):
            for result, exact in zip(kernels(number, given, order=order), evaluate(graph, given), strict=True):
                np.testing.assert_array_equal(result.reshape(exact.shape), exact, err_msg=f"{cases[number]}, order {order}")


def test_casts_stay_where_they_fit() -> None:
    """Without tensor cores, a weight that fits the registers is cast once; one that would not is kept as it is."""
    for units, are_narrow in ((64, False), (1024, True)):
        program = gpu_program(irdl.trace(narrow)(*whole_numbers(4, 2, units, BFLOAT16)), Gpu(75, 32, 64 * 1024))
        (loop,) = (launch for launch in launches(program) if launch.exact)
        assert any(are_paired(buffer) for buffer in kept(loop, "register")) == are_narrow


def mixed(x: Any, wx: Any, wh: Any) -> Any:
    """A tanh cell of float32 whose contractions are of 16 bits."""

    def step(h: Any, x: Any) -> Any:
        h = np.tanh((np.dot(x.astype(wx.dtype), wx) + np.dot(h.astype(wh.dtype), wh)).astype(F32))
        return h, h

    return irdl.scan(step, np.zeros((x.shape[1], wh.shape[0]), F32), x)[1]


def mixed_gradient(x: Any, wx: Any, wh: Any) -> Any:
    return irdl.grad(lambda wx, wh: (mixed(x, wx.astype(BFLOAT16), wh.astype(BFLOAT16)) ** 2).sum(), argnums=(0, 1))(wx, wh)


def scopes(launch: Launch) -> list[str]:
    (loop,) = (s for s in launch.body if isinstance(s, For))
    return [f"{s.blocks} blocks" if s.scope == "blocks" else s.scope for s in walk([loop]) if isinstance(s, Barrier)]


def test_blocks_meet_once_a_step() -> None:
    """Whatever is float32 besides: who makes a state, or a gradient, rounds it; gradients of weights leave the loop."""
    weights = np.zeros((64, 256), F32), np.zeros((256, 256), F32)
    given = np.zeros((6, 32, 64), F32), *weights
    forward = gpu_program(irdl.trace(mixed)(given[0], *(w.astype(BFLOAT16) for w in weights)))
    backward = gpu_program(irdl.trace(mixed_gradient)(*given))
    arguments = [np.zeros(shape, BFLOAT16) for shape in ((6, 32, 28), (28, 1024), (256, 1024), (1024,))]
    gradient = irdl.grad(lambda *w: (lstm(arguments[0], *w).astype(F32) ** 2).sum(), argnums=(0, 1, 2))
    cells = gpu_program(irdl.trace(gradient)(*arguments[1:]))
    for program, count in ((forward, 1), (backward, 2), (cells, 2)):
        loops = [launch for launch in launches(program) if launch.exact]
        assert [scopes(launch) for launch in loops] == [["16 blocks", "block"]] * count
        assert in_loops(program) == {"m16n8k16_bf16_by_fours"}


ROUNDED = """\
graph main(h: f32[3,4], xs: f32[5,3,4]) -> (f32[3,4], f16[3,8]) {
  %0: f32[3,4] = scan(h, xs) consts=0 carry=1 length=5 {
    (h: f32[3,4], x: f32[3,4]) {
      %1: f16[3,4] = cast(h) dtype=f16
      %2: f32[3,4] = cast(%1) dtype=f32
      %3: f32[3,4] = mul(%2, x)
      %4: f32[3,4] = add(%3, h)
      return %4
    }
  }
  %5: f32[3,4] = exp(%0)
  %6: f32[3,4] = neg(%0)
  %7: f32[3,8] = concat(%5, %6) axis=1
  %8: f16[3,8] = cast(%7) dtype=f16
  return %0, %8
}
"""


def test_what_is_made_is_rounded_there() -> None:
    """A loop carries what its steps round, besides what it was; parts are rounded before they are put together."""
    graph = irdl.parse(ROUNDED)
    assert isinstance(graph, Graph)
    found = round_early(graph)
    scan = next(node for node in found.all_nodes() if node.op is SCAN)
    assert [value.type.dtype.name for value in scan.outputs] == ["float32", "float16"]
    casts = [node for node in found.all_nodes() if node.op is CAST and is_half(node.output.dtype)]
    assert len(casts) == 4 and all(c.operands[0].node is None or c.operands[0].node.op is not CONCAT for c in casts)
    assert round_early(found) is not found and str(round_early(found)) == str(found)
    arguments = [np.random.default_rng(0).standard_normal(shape).astype(F32) for shape in ((3, 4), (5, 3, 4))]
    for result, expected in zip(evaluate(found, arguments), evaluate(graph, arguments), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_registers() -> None:
    """What a lane has of a matrix in neighbouring places, and how many registers that takes."""
    runs = {name: (instruction.left.run(1), instruction.right.run(0)) for name, instruction in INSTRUCTIONS.items()}
    halves = {f"m16n8k16_{name}{order}": run for name in ("f16", "bf16") for order, run in (("", (2, 2)), ("_by_fours", (4, 4)))}
    assert runs == {"m16n8k8_tf32": (1, 1), **halves}
    assert TF32.total.run(1) == 2 and TF32.total.run(0) == 1
    sizes = [words(np.dtype(dtype), count) for dtype, count in ((np.float16, 1), (np.float16, 7), (F32, 7), (np.float64, 7), (bool, 7))]
    assert sizes == [1, 4, 7, 14, 7]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [pytest.param(75, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_it_without_spills(tmp_path: Path, capability: int) -> None:
    """With tensor cores, and by multiply-adds of what is widened in each step, which would not fit the registers ahead of the loop."""
    programs = []
    for rows, units, dtype in ((16, 768, BFLOAT16), (1, 1024, np.float16)):
        given = [np.zeros(shape, dtype) for shape in ((20, rows, 8), (8, 4 * units), (units, 4 * units), (4 * units,))]
        programs.append(gpu_program(irdl.trace(lstm)(*given), Gpu(capability)))
    texts = [emit_cuda(program) for program in programs]
    assert "irdl::widen(kept_" in texts[1] and ("irdl::pairs<irdl::bfloat16, 24>" in texts[0] or capability == 75)
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
