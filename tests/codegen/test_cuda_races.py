"""Blocks of a loop over time that wait for each other, under the thread sanitizer: it finds nothing, unless a barrier is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.loops.language import Barrier, Program
from irdl.loops.target import Gpu
from irdl.loops.walk import nested, walk
from tests.codegen.cuda.nvcc_on_cpu import build
from tests.codegen.on_cpu import HAVE_COMPILER, HERE, build_runner, calls_of, collect, gpu_program
from tests.codegen.test_cuda import lstm_gradient, normal, weights
from tests.codegen.test_cuda_rows import normed_cell_gradient

#: the status of a process in which a race was found
RACE = 66


def sanitizer() -> str:
    """Its library, or what is not a path where there is none."""
    return subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True).stdout.strip() if HAVE_COMPILER else ""


pytestmark = pytest.mark.skipif(not os.path.isabs(sanitizer()), reason="needs g++ with its thread sanitizer")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_runner(tmp_path_factory.mktemp("runner"))


def run(program: Program, arguments: list[np.ndarray], folder: Path, runner: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / runner.name).symlink_to(runner)
    build(collect([program]), folder / "kernels.so", ("-fsanitize=thread", "-g1"))
    arrays, calls = calls_of(program, 0, arguments)
    np.savez(folder / "arrays.npz", *arrays)
    (folder / "calls.json").write_text(json.dumps(calls))
    environment = {**os.environ, "LD_PRELOAD": sanitizer(), "TSAN_OPTIONS": f"exitcode={RACE} halt_on_error=1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "launching.py"), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


# Each thread of blocks that run at once is one to the sanitizer, whose time goes with the square of how many there are: few
# multiprocessors, or few rows.
CASES = {
    "lstm": (lstm_gradient, [normal(2, 2, 3), *weights(3, 70, 4)], Gpu(), None, 2),
    # Of matrices that lack rows and columns, the order of places is not known: one more barrier is put there than has to be.
    "lstm in TF32": (lstm_gradient, [normal(2, 4, 3), *weights(3, 64, 4)], Gpu(), "tf32", 2),
    "rows": (normed_cell_gradient, [normal(2, 4, 3), *weights(3, 64, 3)], Gpu(multiprocessors=4), None, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_races(tmp_path: Path, runner: Path, case: str) -> None:
    """Of the loop forward, and of that backward."""
    function, arguments, gpu, precision, count = CASES[case]
    graph = irdl.trace(function)(*arguments)
    done = run(gpu_program(graph, gpu, precision), arguments, tmp_path / "as_it_is", runner)
    if done.returncode and "race" not in done.stderr:
        pytest.skip(f"the sanitizer does not run here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    for number in range(count):
        program = gpu_program(graph, gpu, precision)
        bodies = [part for launch in launches(program) for s in (launch, *walk(launch.body)) for part in nested(s)]
        found = [(part, s) for part in bodies for s in part if isinstance(s, Barrier) and s.scope in ("all", "blocks")]
        assert len(found) == count
        part, barrier = found[number]
        part[:] = [s for s in part if s is not barrier]
        assert run(program, arguments, tmp_path / f"without_{number}", runner).returncode == RACE
