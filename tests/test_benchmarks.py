"""The suite of whole models: a row for each example, and what is measured of irdl is what NumPy computes. What the model predicts of
the suite for GPUs: a time for each of its rows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, gpu_model, models
from benchmarks.gpu_rates import line_through
from benchmarks.measure import Task, check, compare_what_works
from irdl.codegen.cuda.rates import H200


def test_a_row_for_each_example() -> None:
    """`char_lstm` is the suite `language-model`, `guitar_amp` is measured in C by `benchmarks.exported`; `char_gpt` has none yet."""
    examples = {path.stem for path in (Path(__file__).parent.parent / "examples").glob("*.py")}
    assert set(models.ROWS) == examples - {"common", "char_lstm", "char_gpt", "guitar_amp"}
    for row in models.ROWS:
        amount, unit = models.work(row, "step")
        assert amount > 0
        assert unit in models.TOLERANCE


@pytest.mark.parametrize("row", ["srn", "lstm_gates", "mlp_resnet_mnist", "time_machine"])
def test_a_step_is_numpys(row: str) -> None:
    job = models.make(Task("models", row, "step", "irdl", 1))
    check(job)
    for _ in range(2):  # with what is dropped
        assert np.isfinite(job.arrays(job.run())[0])


def test_a_wrong_step_is_found() -> None:
    """A step that leaves out one parameter's update."""
    job = models.make(Task("models", "srn", "step", "irdl", 1))
    value, *changes = job.arrays(job.run())
    with pytest.raises(AssertionError, match="result 2 is off"):
        check(type(job)(lambda: None, lambda _: [value, changes[0], 0 * changes[1], changes[2]], job.expected, job.tolerance))


def test_peers_that_fail_or_hang_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    """On a GPU that is there for minutes, the others are measured all the same."""
    works, fails = Task("models", "srn", "step", "irdl", 1), Task("gemm", "no such row", "call", "numpy", 1)
    times = compare_what_works([works, fails], 1, 0.01, 60)
    assert times.keys() == {"irdl"} and times["irdl"] > 0
    assert "no such row call: " in capfd.readouterr().err
    assert compare_what_works([works], 1, 0.01, 0.001) == {}
    assert "srn step: " in (said := capfd.readouterr().err) and "did not answer in 0.001 seconds" in said


def test_rows_are_saved_as_they_are_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever fails: the machine's rates, irdl's part of a row, all of a row."""
    found = iter([{"irdl": 1e-3, "torch": 2e-3}, {"torch": 2e-3}, {}])
    machine = types.SimpleNamespace(find_device=lambda: types.SimpleNamespace(gpu="a GPU"))
    monkeypatch.setitem(sys.modules, "irdl.runtime.device", machine)
    monkeypatch.setattr(gpu, "missing", lambda: "")
    monkeypatch.setattr(gpu, "compare_what_works", lambda *_: next(found))
    monkeypatch.setattr(gpu, "rates", lambda: [])
    saved: list[int] = []
    records = gpu.table(["softmax", "d2l"], [], ["irdl", "torch"], 1, 0.1, lambda records: saved.append(len(records)))
    assert saved == [0, 1, 2, 3] and [record["row"] for record in records] == ["softmax", "d2l", "d2l"]
    assert "| softmax | call | 1 ms | 2 ms | 2.00 | " in (said := capsys.readouterr().out) and "| d2l | train |  |  |  |  |" in said


def test_the_script_for_a_machine_with_a_gpu() -> None:
    """It measures each row, and is one that a shell reads."""
    script = Path(gpu.__file__).with_suffix(".sh")
    first, more = re.findall(r'^rows="(?:\$rows,)?(.*)"$', script.read_text(), re.M)
    assert sorted(f"{first},{more}".split(",")) == sorted(gpu.ROWS)
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_a_prediction_for_each_row_of_the_suite_for_gpus(tmp_path: Path) -> None:
    """Of both modes of layers, without a GPU."""
    file = tmp_path / "predicted.json"
    rows = "stream-256,gru 32x256,multiply-add"
    command = [sys.executable, "-m", "benchmarks", "gpu", "--model", "--rows", rows, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert "A model's predictions; nothing was measured." in done.stdout
    records = json.loads(file.read_text())
    modes = [("stream-256", "infer"), ("stream-256", "train"), ("gru 32x256", "infer"), ("gru 32x256", "train"), ("multiply-add", "call")]
    assert [(record["row"], record["mode"]) for record in records] == modes
    assert not any(record["seconds"] for record in records)
    seconds = [record["predicted"]["seconds"] for record in records]
    assert seconds[0] < seconds[1] and seconds[2] < seconds[3]
    for record, found in zip(records, seconds, strict=True):
        assert f"| {record['row']} | {record['mode']} | " in done.stdout
        assert sum(record["predicted"]["parts"].values()) == pytest.approx(found)
    assert {(row, mode) for row in gpu.ROWS for mode in gpu.modes_of(row)} >= set(modes)


def test_predictions_with_measured_rates(tmp_path: Path) -> None:
    """Of the GPU that they were measured on, under its name."""
    file = tmp_path / "gpu.json"
    machine = {"capability": 90, "multiprocessors": 66, "shared_bytes": 227 * 1024, "name": "half an H100"}
    file.write_text(json.dumps([{"row": "machine", "seconds": {}, "gpu": machine, "rates": {"dram_bytes_per_second": 1e12}}]))
    (record,) = gpu_model.table(["multiply-add"], [], str(file))
    assert record["predicted"]["on"] == "H100 SXM (measured rates)"
    assert record["predicted"]["parts"]["DRAM"] == pytest.approx(3 * 4 * 4096 * 1024 / 1e12)


def test_meetings_of_few_and_of_many_blocks() -> None:
    """The line that the model has where nothing was measured: 0.8 us for 8 blocks, 1.3 for 148."""
    fixed, each = line_through((8, 0.8e-6), (148, 1.3e-6))
    assert fixed == pytest.approx(H200.exchange_seconds, rel=0.01) and each == pytest.approx(H200.exchange_seconds_per_block, rel=0.01)
    assert line_through((8, 2e-6), (132, 1e-6)) == (2e-6, 0)
    assert line_through((4, 2e-6), (4, 2e-6)) == (2e-6, 0)
