"""The examples, in short: each runs as a command and says what it found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "irdl", "demo", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def data(name: str) -> str:
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not at hand")
    return str(DATA / name)


def test_they_are_listed() -> None:
    names = [line.split()[0] for line in run("list").splitlines()]
    assert names == sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "common")


def test_wrong_names_and_missing_data() -> None:
    for arguments, message in (
        (["nothing"], "there is no example 'nothing'"),
        (["time_machine", "--data", "/nowhere"], "put the text there"),
    ):
        done = subprocess.run([sys.executable, "-m", "irdl", "demo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_srn() -> None:
    outputs = re.findall(r"output \[(\S+) +(\S+)\]", run("srn"))
    assert outputs[:3] == [("4.", "4."), ("12.", "12."), ("32.", "32.")]
    assert outputs[3:6] == outputs[6:9] == outputs[9:] == [("1.9281", "1.9281"), ("1.9985", "1.9985"), ("2.", "2.")]


def test_lstm_gates() -> None:
    printed = run("lstm_gates")
    outputs = [float(number) for number in re.findall(r"output +(\S+)", printed)]
    assert outputs == pytest.approx([0, 0, 0, 0, 0, 0.9636, 0, 0, 0.7616], abs=1e-3)
    assert "nn.LSTMCell gives the same" in printed
    assert float(re.findall(r"differ by (\S+)", printed)[0]) < 1e-12


def test_time_machine() -> None:
    printed = run("time_machine", "--data", data("text"), "--epochs", "30")
    before = re.findall(r"loss before training: (\S+) with nn.RNN, (\S+) from scratch", printed)[0]
    assert float(before[0]) == pytest.approx(float(before[1]), rel=1e-5)
    assert float(re.findall(r"^perplexity (\S+)", printed, re.M)[0]) < 10
    assert "time traveller" in printed


def test_mlp_resnet_mnist() -> None:
    printed = run("mlp_resnet_mnist", "--data", data("mnist"), "--epochs", "1", "--images", "20000")
    assert float(re.findall(r"(\S+) % of 10,000 test images", printed)[0]) > 90
