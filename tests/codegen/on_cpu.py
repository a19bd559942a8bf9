"""Runs the CUDA C of programs without a GPU: g++ builds the kernels, `tests/codegen/cuda` runs their threads as fibers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from irdl.codegen.cuda.emit import ENTRY, emit_cuda, prelude
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.runtime.build import Build
from irdl.runtime.cuda import Cuda

HERE = Path(__file__).parent / "cuda"
FLAGS = ("-std=c++17", "-fno-strict-aliasing", "-fno-extern-tls-init", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-pthread")
HAVE_COMPILER = shutil.which("g++") is not None


class Launch(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("cooperative", ctypes.c_uint),
        ("order", ctypes.c_uint),
    )


def gpu_program(graph: Graph) -> Program:
    return Build(graph, Cuda()).program


def collect(programs: Sequence[Program]) -> str:
    """One source of several programs, the kernel of each with its number behind its name."""
    parts = []
    for number, program in enumerate(programs):
        text = emit_cuda(program).removeprefix(prelude()).replace(f" {ENTRY}(", f" {ENTRY}_{number}(")
        parts.append(f"namespace program_{number} {{\n{text}}}\nusing program_{number}::{ENTRY}_{number};\n")
    return prelude() + "".join(parts)


def build_kernels(programs: Sequence[Program], folder: Path) -> Path:
    """A library with the kernels of the programs, for `OnCpu` and for the stand-in driver."""
    source, library = folder / "kernels.cpp", folder / "kernels.so"
    exports = "".join(f"CUDA_ON_CPU_EXPORT({ENTRY}_{number})\n" for number in range(len(programs)))
    source.write_text('#include "cuda_on_cpu.h"\n' + collect(programs) + exports)
    subprocess.run(["g++", *FLAGS, "-O1", f"-I{HERE}", str(source), "-o", str(library)], check=True)
    return library


@lru_cache(maxsize=1)
def _runner(folder: Path) -> ctypes.CDLL:
    library = folder / "cuda_on_cpu.so"
    subprocess.run(["g++", *FLAGS, "-O2", str(HERE / "cuda_on_cpu.cpp"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def kernel_arrays(program: Program, arguments: Sequence[np.ndarray]) -> tuple[list[np.ndarray], slice]:
    """What the kernel takes, in order, and which of it are the outputs."""
    arrays = [np.ascontiguousarray(a, b.dtype) for a, b in zip(arguments, program.inputs, strict=True)]
    outputs = [np.empty(buffer.size, buffer.dtype) for buffer in program.outputs]
    constants = [np.ascontiguousarray(array) for _, array in program.constants]
    arena, status, barrier = np.full(program.arena_bytes + 64, 255, np.uint8), np.zeros(3, np.int64), np.zeros(1, np.uint32)
    arena = arena[-arena.ctypes.data % 64 :]
    return [*arrays, *outputs, *constants, arena, status, barrier], slice(len(arrays), len(arrays) + len(outputs))


class OnCpu:
    """The kernels of some programs, ready to be launched."""

    def __init__(self, programs: Sequence[Program], folder: Path) -> None:
        self.programs = programs
        _runner(folder.parent)
        self.library = ctypes.CDLL(str(build_kernels(programs, folder)))

    def __call__(
        self, number: int, arguments: Sequence[np.ndarray], *, blocks: int = 2, warps: int = 2, order: int = 0
    ) -> list[np.ndarray]:
        """Flat outputs. `order` is that in which threads start: ascending, descending, or a shuffle's seed.

        Raises:
            IndexError: an index check failed.
            RuntimeError: the kernel's threads were not in step.
        """
        program = self.programs[number]
        arrays, outputs = kernel_arrays(program, arguments)
        packed = np.array([array.ctypes.data for array in arrays], np.uint64).tobytes()
        status = arrays[-2]
        launch = Launch((blocks, 1, 1), (32 * warps, 1, 1), 0, 1, order)
        run = getattr(self.library, f"{ENTRY}_{number}_launch")
        run.restype = ctypes.c_char_p
        error = run(ctypes.byref(launch), packed)
        if error:
            raise RuntimeError(error.decode())
        if status[0]:
            axis, extent, _ = program.checks[status[2]]
            raise IndexError(f"index {status[1]} is out of bounds for axis {axis} with size {extent}")
        return arrays[outputs]
