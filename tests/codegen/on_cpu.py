"""Runs the CUDA C of programs without a GPU: g++ builds the kernels, `tests/codegen/cuda` runs their threads as fibers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from irdl.codegen.cuda.emit import barrier_bytes, emit_cuda, launches, parameters
from irdl.codegen.cuda.expressions import prelude
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.loops.target import Gpu
from irdl.runtime.build import Build
from irdl.runtime.cuda import Cuda
from tests.codegen.cuda.nvcc_on_cpu import FLAGS, build

HERE = Path(__file__).parent / "cuda"
HAVE_COMPILER = shutil.which("g++") is not None


class Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("cooperative", ctypes.c_uint),
        ("order", ctypes.c_uint),
    )


def gpu_program(graph: Graph, gpu: Gpu | None = None) -> Program:
    return Build(graph, Cuda(), target=gpu or Gpu()).program


def collect(programs: Sequence[Program]) -> str:
    """One source of several programs, the functions of each with its number behind their names."""
    parts = []
    for number, program in enumerate(programs):
        text = emit_cuda(program).removeprefix(prelude())
        for launch in launches(program):
            text = text.replace(f" {launch.name}(", f" {launch.name}_{number}(")
        parts.append(text)
    return prelude() + "".join(parts)


@lru_cache(maxsize=1)
def _runner(folder: Path) -> ctypes.CDLL:
    library = folder / "cuda_on_cpu.so"
    subprocess.run(["g++", *FLAGS, "-O2", str(HERE / "cuda_on_cpu.cpp"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


class OnCpu:
    """The kernels of some programs, ready to be launched."""

    def __init__(self, programs: Sequence[Program], folder: Path, flags: Sequence[str] = ()) -> None:
        self.programs = programs
        _runner(folder.parent)
        build(collect(programs), folder / "kernels.so", flags)
        self.library = ctypes.CDLL(str(folder / "kernels.so"))

    def __call__(self, number: int, arguments: Sequence[np.ndarray], *, blocks: int = 3, order: int = 0) -> list[np.ndarray]:
        """Flat outputs. `blocks`: at most so many a launch. `order` is that in which threads start: ascending, descending, or a
        shuffle's seed.

        Raises:
            IndexError: an index check failed.
            RuntimeError: the kernel's threads were not in step.
        """
        program = self.programs[number]
        memory = {b: np.ascontiguousarray(a, b.dtype) for a, b in zip(arguments, program.inputs, strict=True)}
        memory |= {buffer: np.empty(buffer.size, buffer.dtype) for buffer in program.outputs}
        memory |= {buffer: np.ascontiguousarray(array) for buffer, array in program.constants}
        arena, status = np.full(program.arena_bytes + 64, 255, np.uint8), np.zeros(3, np.int64)
        arena = arena[-arena.ctypes.data % 64 :]
        for launch in launches(program):
            barrier = np.zeros(barrier_bytes(launch) // 4, np.uint32)
            arrays = [*(memory[buffer] for buffer in parameters(program, launch)), arena, status, barrier]
            packed = np.array([array.ctypes.data for array in arrays], np.uint64).tobytes()
            grid = launch.blocks if launch.exact else min(launch.blocks, blocks)
            how = Launch((grid, 1, 1), (launch.threads, 1, 1), launch.shared_bytes, launch.cooperative, order)
            run = getattr(self.library, f"{launch.name}_{number}_launch")
            run.restype = ctypes.c_char_p
            error = run(ctypes.byref(how), packed)
            if error:
                raise RuntimeError(error.decode())
        if status[0]:
            axis, extent, _ = program.checks[status[2]]
            raise IndexError(f"index {status[1]} is out of bounds for axis {axis} with size {extent}")
        return [memory[buffer] for buffer in program.outputs]
