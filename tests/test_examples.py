"""The examples, in short: each runs as a command and says what it found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import irdl

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


def test_char_gpt(monkeypatch: pytest.MonkeyPatch) -> None:
    """It learns; and a loop over places that stores into caches draws what it does in NumPy."""
    printed = run("char_gpt", "--steps", "40", "--width", "32", "--time", "32")
    assert float(re.findall(r"^loss (\S+) nats", printed, re.M)[0]) < 3.8 < np.log(94)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import char_gpt

    params, begin = char_gpt.initialise(20, 32, 24), np.array([3, 7])
    draw = irdl.jit(char_gpt.generate, static_argnums=3)
    for seed in range(3):
        key = irdl.random.key(seed)
        np.testing.assert_array_equal(draw(params, key, begin, 24), char_gpt.generate(params, key, begin, 24))


def test_guitar_amp(tmp_path: Path) -> None:
    printed = run("guitar_amp", "--steps", "60", "--folder", str(tmp_path))
    assert float(re.findall(r"not heard, error (\S+)", printed)[0]) < 0.5
    assert (tmp_path / "amp.h").exists() and (tmp_path / "amp.o").exists()
    if shutil.which("cc"):
        assert "amp: 0 of 3 results differ from NumPy's" in printed and "as fast as it plays" in printed


def test_time_machine() -> None:
    printed = run("time_machine", "--data", data("text"), "--epochs", "30")
    before = re.findall(r"loss before training: (\S+) with nn.RNN, (\S+) from scratch", printed)[0]
    assert float(before[0]) == pytest.approx(float(before[1]), rel=1e-5)
    assert float(re.findall(r"^perplexity (\S+)", printed, re.M)[0]) < 10
    assert "time traveller" in printed


def test_mlp_resnet_mnist() -> None:
    printed = run("mlp_resnet_mnist", "--data", data("mnist"), "--epochs", "1", "--images", "20000")
    assert float(re.findall(r"(\S+) % of 10,000 test images", printed)[0]) > 90


def test_resnet9_cifar10() -> None:
    """The thousand images are learnt by heart."""
    printed = run("resnet9_cifar10", "--data", data("cifar10"), "--epochs", "40")
    assert float(re.findall(r"^loss (\S+);", printed, re.M)[0]) < 0.05
    assert "of 400 test images" in printed


def test_ptb_lm(tmp_path: Path) -> None:
    """In the Penn Treebank's format, words that follow one another as they always do."""
    for part, lines in (("train", 300), ("valid", 10), ("test", 30)):
        (tmp_path / f"ptb.{part}.txt").write_text(" the cat <unk> on a mat\n" * lines)
    for cell in ("LSTM", "RNN"):
        printed = run("ptb_lm", "--data", str(tmp_path), "--epochs", "6", "--cell", cell, "--hidden", "32", "--steps", "7", "--batch", "4")
        perplexities = [float(number) for number in re.findall(r"(\S+) of the test text", printed)]
        assert len(perplexities) == 6
        assert perplexities[-1] < 1.3 < float(re.findall(r"epoch 1: perplexity ([\d.]+)", printed)[0])


def test_ptb_lm_of_a_book() -> None:
    printed = run("ptb_lm", "--data", data("text"), "--epochs", "1", "--hidden", "64")
    assert "29,497 words, 2,183 different ones" in printed
    assert float(re.findall(r"(\S+) of the test text", printed)[0]) < 500


def test_seq2seq() -> None:
    printed = run("seq2seq", "--data", data("translation"), "--epochs", "1", "--pairs", "12800", "--hidden", "32")
    assert len(re.findall(r"^\d+\+\d+ -> \d+$", printed, re.M)) == 5
    assert float(re.findall(r"^loss (\S+);", printed, re.M)[0]) < 2
    assert "1,280 held-out pairs" in printed


def test_seq2seq_translates() -> None:
    printed = run("seq2seq", "--task", "translation", "--data", data("translation"), "--epochs", "2", "--pairs", "2000", "--hidden", "32")
    assert len(re.findall(r"^[\w ',<>]+[.!?] -> ", printed, re.M)) == 5
    assert "200 held-out pairs" in printed
