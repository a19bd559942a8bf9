"""Contractions whose operands come into shared memory by copies that are only begun, several stages ahead, and as matrices out of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda import tiling
from irdl.codegen.cuda.barriers import insert_barriers
from irdl.codegen.cuda.emit import emit_cuda, launches
from irdl.errors import ProgramError
from irdl.ir.dtypes import BFLOAT16
from irdl.loops.interpret import interpret
from irdl.loops.language import Barrier, Copy, LoadMatrices, Program, Wait
from irdl.loops.target import Gpu
from irdl.loops.walk import nested, walk
from tests.codegen.nvcc import stacks_and_spills
from tests.codegen.on_cpu import HAVE_COMPILER, OnCpu, gpu_program
from tests.codegen.watched import Race, Watched, barriers, without

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="needs g++")
F16, F32 = np.dtype(np.float16), np.dtype(np.float32)


def program_of(spec: str, left: tuple[int, ...], right: tuple[int, ...], dtype: np.dtype, tiles: tuple[int, ...] | None = None) -> Program:
    """Of `np.einsum(spec, left, right)`, summed in float32. `tiles`: rows and columns, in how many parts, with how many stages."""
    every = tiling._tilings

    def chosen(*arguments: object) -> list[tiling.Tiling]:
        return [found for found in every(*arguments) if tiles is None or (*found.shape, found.parts, found.stages) == tiles]

    x, y = (np.zeros(shape, dtype) for shape in (left, right))
    graph = irdl.trace(lambda x, y: np.einsum(spec, x.astype(F32), y.astype(F32)))(x, y)
    with mock.patch.multiple(tiling, _tilings=chosen, _SHORT=1, _TERMS=32, _STAGES=tiles[3] if tiles else 4):
        return gpu_program(graph, Gpu(80, 2), "tf32" if dtype == F32 else None)


def whole_numbers(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Of which all sums of products are exact."""
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(dtype)


#: subscripts, shapes, tiles; and how many operands are copied
CASES = [
    ("ij,jk->ik", (64, 128), (128, 64), None, 2),  # as many stages as there are
    ("ij,jk->ik", (64, 160), (160, 64), (64, 64, 1, 4), 2),  # one more, two, three
    ("ij,jk->ik", (64, 192), (192, 64), (64, 64, 1, 4), 2),
    ("ij,kj->ik", (72, 224), (72, 224), (64, 64, 1, 4), 2),  # rows and columns that do not fill their tiles
    ("ij,jk->ik", (64, 160), (160, 64), (64, 64, 1, 3), 2),
    ("ij,jk->ik", (64, 160), (160, 64), (64, 64, 1, 2), 2),
    ("ij,jk->ik", (64, 8), (8, 64), (64, 64, 1, 2), 2),  # a part of one stage
    ("ij,jk->ik", (64, 200), (200, 64), (64, 64, 1, 4), 2),  # steps that do not fill the last
    ("ji,kj->ik", (96, 128), (128, 96), (128, 128, 1, 3), 2),
    ("ji,jk->ik", (100, 256), (100, 128), (256, 128, 1, 4), 2),
    ("ij,kj->ik", (128, 64), (256, 64), (128, 256, 1, 2), 2),
    ("ij,jk->ik", (64, 448), (448, 64), (64, 64, 3, 4), 2),  # parts, of which the last has fewer steps
    ("bij,bjk->bik", (3, 64, 40), (3, 40, 72), (64, 64, 1, 2), 2),
    ("aij,ajk->ik", (3, 64, 96), (3, 96, 64), (64, 64, 1, 3), 2),  # a loop around all stages
    ("ij,jk->ik", (64, 136), (136, 65), (64, 64, 1, 4), 1),  # rows of the right begin anywhere
    ("ij,jk->ik", (64, 37), (37, 67), (64, 64, 1, 2), 0),
    ("ij,jk->ik", (32, 96), (96, 128), (32, 128, 1, 3), 2),
    ("ij,jk->ik", (128, 96), (96, 32), (128, 32, 1, 3), 2),
]


def copies(program: Program) -> set[str]:
    """What is copied to."""
    return {s.buffer.name for s in walk(program.body) if isinstance(s, Copy)}


@needs_compiler
def test_products(tmp_path: Path) -> None:
    """Exactly NumPy's in whole numbers, with threads in any order, and the interpreter's to the last bit in others."""
    cases = [(case, (F16, BFLOAT16)[number % 2]) for number, case in enumerate(CASES)] + [
        ((*case[:3], None, 2), F32) for case in CASES[4:16:4]
    ]
    programs = [program_of(*case[:3], dtype, case[3]) for case, dtype in cases]
    kernels = OnCpu(programs, tmp_path)
    for number, ((spec, left, right, tiles, count), dtype) in enumerate(cases):
        program = programs[number]
        assert len(copies(program)) == count, (spec, left)
        assert any(isinstance(s, LoadMatrices) for s in walk(program.body)) == (dtype != F32)
        if tiles is not None and count:
            assert max(s.pending for s in walk(program.body) if isinstance(s, Wait)) == tiles[3] - 2
        assert irdl.parse(str(program)) == program
        x, y = whole_numbers(left, dtype), whole_numbers(right, dtype)
        exact = np.einsum(spec, x.astype(F32), y.astype(F32)).reshape(-1)
        for order in (0, 1, 7) if number % 4 == 1 else (7,):
            np.testing.assert_array_equal(kernels(number, [x, y], order=order)[0].reshape(-1), exact, err_msg=f"{spec} {left} {order}")
        if number % 4 == 0:
            x, y = (np.random.default_rng(1).standard_normal(shape).astype(dtype) for shape in (left, right))
            np.testing.assert_array_equal(interpret(program, [x, y])[0], kernels(number, [x, y])[0].reshape(-1))


@pytest.mark.parametrize("case", [6, 11, 13], ids=str)
def test_threads_meet_once_a_stage(case: int) -> None:
    """No two touch the same memory, unless a barrier is left out, or threads wait for a batch less."""
    spec, left, right, tiles, _ = CASES[case]
    program = program_of(spec, left, right, F16, tiles)
    x, y = whole_numbers(left, F16), whole_numbers(right, F16)
    exact = np.einsum(spec, x.astype(F32), y.astype(F32)).reshape(-1)
    watched = Watched(program, blocks=1)  # which does all tiles, one after the other
    np.testing.assert_array_equal(watched.call([x, y])[0].reshape(-1), exact)
    first = launches(program)[0]
    found = barriers(first)
    *stages, _ = (s for s in walk([first]) if isinstance(s, Wait))
    # Where another tile follows, its first copies may be to the stage that was multiplied last.
    assert {s.scope for _, s in found} == {"block"} and len(found) - len(stages) in (0, 1)
    for part, barrier in found:
        with without(part, barrier), pytest.raises(Race):
            watched.again(first)
    for wait in stages:
        wait.pending += 1
        with pytest.raises(Race):
            watched.again(first)
        wait.pending -= 1


def test_what_is_not_waited_for_is_refused() -> None:
    """The pass that finds barriers sees that a copy has not landed where it is read, wherever it was begun."""
    program = program_of(*CASES[1][:3], F16, CASES[1][3])
    bodies = [part for s in walk(program.body) for part in nested(s)]
    for body in bodies:
        body[:] = [s for s in body if not isinstance(s, Barrier)]
    stages = [s for s in walk(program.body) if isinstance(s, Wait) and s.pending]
    for wait in stages:
        wait.pending += 1
        with pytest.raises(ProgramError, match=r"a copy into (left|right).* is not waited for"):
            insert_barriers(program)
        wait.pending -= 1
        for body in bodies:
            body[:] = [s for s in body if not isinstance(s, Barrier)]
    insert_barriers(program)


def test_interpreter_copies_when_it_is_waited_for() -> None:
    """Until then there is what is not to be read."""
    program = program_of(*CASES[0][:3], F16)
    x, y = (whole_numbers(shape, F16) for shape in CASES[0][1:3])
    assert np.isfinite(interpret(program, [x, y])[0]).all()
    for wait in [s for s in walk(program.body) if isinstance(s, Wait)][:-1]:
        wait.pending += 1
        assert np.isnan(interpret(program, [x, y])[0]).any()
        wait.pending -= 1


def test_text_of_programs() -> None:
    """A GPU's instructions as the source has them; names of statements may be those of buffers."""
    source = emit_cuda(program_of(*CASES[1][:3], F16, CASES[1][3]))
    body = source.split("__launch_bounds__")[1]
    for text in ("irdl::begin_copy(&left", "irdl::commit_copies();", "irdl::wait_for_copies<2>();", "irdl::load_matrices<true>(&b"):
        assert text in body
    assert "begin_copy" not in emit_cuda(program_of(*CASES[15][:3], F16, CASES[15][3]))
    names = "copy", "load", "commit", "wait"
    inputs = "\n".join(f"  input {name}: f32[2]" for name in names)
    stores = "\n".join(f"    out[{place}] = {name}[1]\n    {name}2[0] = {name}[0]" for place, name in enumerate(names))
    outputs = "\n".join(f"  output {name}2: f32[1]" for name in names)
    text = f"program p arena=0 {{\n{inputs}\n  output out: f32[4]\n{outputs}\n  kernel k {{\n{stores}\n  }}\n}}\n"
    assert str(irdl.parse(text)) == text.strip() or str(irdl.parse(text)) == text


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("capability", [pytest.param(80, marks=pytest.mark.slow), 90])
def test_nvcc_compiles_them_without_spills(tmp_path: Path, capability: int) -> None:
    programs = [program_of(*case[:3], dtype, tiles) for case in CASES for dtype, tiles in ((F16, case[3]),)]
    programs += [program_of("ij,jk->ik", (512, 256), (256, 512), dtype, (256, 128, 1, 4)) for dtype in (F16, BFLOAT16, F32)]
    assert not [item for item in stacks_and_spills(programs, capability, tmp_path) if item[1:] != (0, 0)]
