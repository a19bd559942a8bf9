"""Runs the CUDA C of programs without a GPU: g++ builds the kernels, `tests/codegen/cuda` runs their threads as fibers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from irdl.codegen.cuda.dealing import WIDEST
from irdl.codegen.cuda.emit import barrier_bytes, emit_cuda, launches, parameters
from irdl.codegen.cuda.expressions import prelude
from irdl.errors import out_of_bounds
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.loops.target import Gpu
from irdl.runtime.build import Build, real_view
from irdl.runtime.cuda import Cuda
from tests.codegen.cuda import launching
from tests.codegen.cuda.launching import Call
from tests.codegen.cuda.nvcc_on_cpu import FLAGS, build

HERE = Path(__file__).parent / "cuda"
HAVE_COMPILER = shutil.which("g++") is not None


def gpu_program(graph: Graph, gpu: Gpu | None = None, precision: str | None = None) -> Program:
    return Build(graph, Cuda(), target=gpu or Gpu(), precision=precision).program


def collect(programs: Sequence[Program]) -> str:
    """One source of several programs, the functions of each with its number behind their names."""
    parts = []
    for number, program in enumerate(programs):
        text = emit_cuda(program).removeprefix(prelude())
        for launch in launches(program):
            text = text.replace(f" {launch.name}(", f" {launch.name}__{number}(")
        parts.append(text)
    return prelude() + "".join(parts)


@lru_cache(maxsize=1)
def _runner(folder: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(build_runner(folder)), mode=ctypes.RTLD_GLOBAL)


def build_runner(folder: Path) -> Path:
    """What runs the threads of kernels."""
    library = folder / "cuda_on_cpu.so"
    subprocess.run(["g++", *FLAGS, "-O2", str(HERE / "cuda_on_cpu.cpp"), "-o", str(library)], check=True)
    return library


def calls_of(program: Program, number: int, arguments: Sequence[np.ndarray], blocks: int = 3) -> tuple[list[np.ndarray], list[Call]]:
    """The launches of a program of that number in `collect`, and all arrays: inputs, outputs, constants, the arena, the status word,
    and where blocks wait. `blocks`: at most so many a launch."""
    buffers = [*program.inputs, *program.outputs, *(buffer for buffer, _ in program.constants)]
    arrays = [_aligned(np.asarray(real_view(np.asarray(a)), b.dtype)) for a, b in zip(arguments, program.inputs, strict=True)]
    arrays += [_aligned(np.empty(buffer.size, buffer.dtype)) for buffer in program.outputs]
    arrays += [_aligned(array) for _, array in program.constants]
    arrays += [_aligned(np.full(program.arena_bytes, 255, np.uint8)), np.zeros(3, np.int64)]
    calls = []
    for step in launches(program):
        arrays.append(np.zeros(barrier_bytes(step) // 4, np.uint32))
        grid = step.blocks if step.exact else min(step.blocks, blocks)
        given = [*map(buffers.index, parameters(program, step)), len(buffers), len(buffers) + 1, len(arrays) - 1]
        calls.append(Call(f"{step.name}__{number}", grid, step.threads, step.shared_bytes, step.cooperative, given))
    return arrays, calls


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy where memory of a GPU may begin, and no further aligned than irdl counts on."""
    memory = np.empty(array.nbytes + 2 * WIDEST, np.uint8)
    start = -memory.ctypes.data % (2 * WIDEST) + WIDEST
    result = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


class OnCpu:
    """The kernels of some programs, ready to be launched."""

    def __init__(self, programs: Sequence[Program], folder: Path) -> None:
        self.programs = programs
        _runner(folder.parent)
        build(collect(programs), folder / "kernels.so")
        self.library = ctypes.CDLL(str(folder / "kernels.so"))

    def __call__(self, number: int, arguments: Sequence[np.ndarray], *, blocks: int = 3, order: int = 0) -> list[np.ndarray]:
        """Flat outputs, complex ones as their parts. `order` is that in which threads start: ascending, descending, or a shuffle's seed.

        Raises:
            IndexError: an index check failed.
            RuntimeError: the kernel's threads were not in step.
        """
        program = self.programs[number]
        arrays, calls = calls_of(program, number, arguments, blocks)
        for call in calls:
            launching.launch(self.library, call, arrays, order)
        first = len(program.inputs)
        status = arrays[first + len(program.outputs) + len(program.constants) + 1]
        if status[0]:
            raise out_of_bounds(status[1], *program.checks[status[2]])
        return arrays[first : first + len(program.outputs)]
