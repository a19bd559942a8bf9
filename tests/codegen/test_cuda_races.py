"""Blocks of a loop over time that wait for each other, under the thread sanitizer: it finds nothing, unless a barrier is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.codegen.on_cpu import HAVE_COMPILER

#: the status of a process in which a race was found
RACE = 66


def sanitizer() -> str:
    """Its library, or what is not a path where there is none."""
    return subprocess.run(["g++", "-print-file-name=libtsan.so"], capture_output=True, text=True).stdout.strip() if HAVE_COMPILER else ""


pytestmark = pytest.mark.skipif(not os.path.isabs(sanitizer()), reason="needs g++ with its thread sanitizer")


def run(function: str, dropped: int, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": sanitizer(), "TSAN_OPTIONS": f"exitcode={RACE} halt_on_error=1", "OMP_NUM_THREADS": "1"}
    kernels = folder / f"{function}{dropped}"
    kernels.mkdir()
    command = [sys.executable, "-m", "tests.codegen.cuda.race", function, str(dropped), str(kernels)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("function", ["lstm", "lstm_gradient"])
def test_races(tmp_path: Path, function: str) -> None:
    done = run(function, -1, tmp_path)
    if done.returncode and "race" not in done.stderr:
        pytest.skip(f"the sanitizer does not run here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    count = int(re.match(r"(\d+) barriers", done.stdout)[1])  # type: ignore[index]
    assert count == {"lstm": 1, "lstm_gradient": 2}[function]
    for dropped in range(count):
        assert run(function, dropped, tmp_path).returncode == RACE
