"""Plants bugs into copies of irdl and runs tests there: each in a process forked from one that has imported what others wrote."""

from __future__ import annotations

import faulthandler
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).resolve().parent.parent
#: (file, what stands there, what is put there, which tests must notice)
Mutant = tuple[str, str, str, str]

_COPIED = ("irdl", "tests", "examples", "benchmarks", "pyproject.toml")
#: what irdl, its tests and pytest import: half of what it takes to start them
_OTHERS = (
    "numpy.testing",
    "llvmlite.binding",
    "networkx",
    "optree",
    "tqdm",
    "hypothesis.extra.numpy",
    "hypothesis.strategies",
    "xdist.plugin",
)
_SECONDS = 400  # and a test hangs


class Found(NamedTuple):
    """Whether the tests fail with a mutant in place, what they say, and the seconds of processors that they took."""

    number: int
    caught: bool
    said: str
    seconds: float = 0.0


def plant_all(mutants: Sequence[Mutant], chosen: Sequence[int]) -> Iterator[Found]:
    """Of each chosen mutant, as they are done."""
    for name in _OTHERS:
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        free = [Path(folder, str(number)) for number in range(os.cpu_count() or 1)]
        for copy in free:
            copy.mkdir()
            for part in _COPIED:
                (shutil.copytree if (ROOT / part).is_dir() else shutil.copy2)(ROOT / part, copy / part)
        running: dict[int, tuple[int, Path]] = {}
        for number in chosen:
            file, old, new, tests = mutants[number]
            if old not in (ROOT / file).read_text():
                yield Found(number, False, "its text is not in the file any more")
                continue
            if not free:
                yield _finished(mutants, running, free)
            copy = free.pop()
            (copy / file).write_text((ROOT / file).read_text().replace(old, new, 1))
            # Python knows what it has compiled by the time of the file, in seconds, and no two mutants may have the same.
            os.utime(copy / file, (number, number))
            sys.stdout.flush()
            process = os.fork()
            if not process:
                _test(copy, tests)
            running[process] = number, copy
        while running:
            yield _finished(mutants, running, free)


def _finished(mutants: Sequence[Mutant], running: dict[int, tuple[int, Path]], free: list[Path]) -> Found:
    """Wait for one of the processes, and take its mutant out of its copy."""
    process, status, used = os.wait4(-1, 0)
    number, copy = running.pop(process)
    shutil.copy2(ROOT / mutants[number][0], copy / mutants[number][0])
    said = (copy / "said").read_text()
    free.append(copy)
    lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR", "Timeout"))]
    passed = os.waitstatus_to_exitcode(status) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR)
    return Found(number, not passed, lines[0][:110] if lines else said[-200:], used.ru_utime + used.ru_stime)


def _test(copy: Path, tests: str) -> None:
    """Run tests in a copy, and end the process."""
    status = 1
    try:
        said = (copy / "said").open("w")
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        faulthandler.dump_traceback_later(_SECONDS, exit=True, file=said)  # where they hang
        os.chdir(copy)
        sys.path[:] = [str(copy), *(place for place in sys.path if Path(place).resolve() not in (ROOT, ROOT / "tests"))]
        # A program that fails need not be made small.
        settings.register_profile("planted", phases=[Phase.explicit, Phase.generate])
        settings.load_profile("planted")
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", *shlex.split(tests)])
        import irdl

        if not Path(irdl.__file__).is_relative_to(copy):
            print(f"not the copy was tested, but {irdl.__file__}")
            status = pytest.ExitCode.USAGE_ERROR
    finally:
        sys.stdout.flush()
        os._exit(status)
