"""Random functions with loops: the rolled graph is proved to be the recorded one, and some are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from irdl.errors import TraceError

from .random_loops import random_loop
from .rolled import limits, rolled, runs

#: programs of one test, and each how many of them is run too, which takes longer
_BATCH, _RUN = 40, 10


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = metafunc.config.getoption("--loop-programs")
    metafunc.parametrize("first", range(0, count, _BATCH))


def test_random_loops(first: int, tmp_path: Path) -> None:
    refused = 0
    for seed in range(first, first + _BATCH):
        f, arguments, _ = random_loop(seed, tmp_path)
        try:
            with limits(distance=8 if seed % 2 else 3):
                rolled(f, *arguments)
                if seed % _RUN == 0:
                    runs(f, *arguments)
        except TraceError:
            refused += 1
    assert refused < _BATCH // 2
