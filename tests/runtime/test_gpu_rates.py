"""What is measured of a GPU for the model of its time, on one or on what the CPU does in its place, where the numbers mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu_model import machines
from benchmarks.gpu_rates import measure
from tests.codegen.cuda.stand_in import start

pytestmark = pytest.mark.gpu


def test_the_model_reads_what_was_measured(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    start(tmp_path_factory.getbasetemp() / "driver")
    record = measure(rounds=5, nbytes=1 << 20)
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps([record]))
    ((gpu, rates),) = machines(str(file))
    assert gpu.multiprocessors == record["gpu"]["multiprocessors"]
    assert record["rates"].keys() == {"launch_seconds", "exchange_seconds", "exchange_seconds_per_block", "dram_bytes_per_second"}
    assert rates.launch_seconds == record["rates"]["launch_seconds"] > 0
    assert rates.dram_bytes_per_second == record["rates"]["dram_bytes_per_second"] > 0
