"""Files of arrays: weights by name, checkpoints bit for bit, and what happens to a file when something goes wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn, optim

safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")


class Model(nn.Module):
    def __init__(self) -> None:
        self.lstm = nn.LSTM(3, 4, 2, dropout=0.3)
        self.norm = nn.BatchNorm1d(4)
        self.out = [nn.Linear(4, 2), nn.Tanh()]

    def forward(self, x: np.ndarray) -> np.ndarray:
        y = self.norm(self.lstm(x)[0][-1])
        for layer in self.out:
            y = layer(y)
        return y


OPTIMIZER = optim.Adam(0.01)


@irdl.jit
def step(model: Model, state: Any, x: np.ndarray) -> Any:
    value, gradient = irdl.value_and_grad(lambda model: (model(x) ** 2).sum())(model)
    updates, state = OPTIMIZER.update(gradient, state, model)
    return optim.apply_updates(model, updates), state, value


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    nn.manual_seed(0)
    model, x = Model(), np.random.default_rng(0).standard_normal((5, 6, 3)).astype(np.float32)
    state = OPTIMIZER.init(model)
    for _ in range(3):
        model, state, _ = step(model, state, x)
    nn.save_checkpoint(tmp_path / "run", model=model, state=state, epoch=3, key=irdl.random.key(7))
    ahead = []
    for _ in range(4):
        model, state, value = step(model, state, x)
        ahead.append(value)
    nn.manual_seed(1)
    fresh = Model()
    found = nn.load_checkpoint(tmp_path / "run", model=fresh, state=OPTIMIZER.init(fresh), epoch=0, key=irdl.random.key(0))
    assert found["epoch"] == 3
    assert type(found["epoch"]) is int
    np.testing.assert_array_equal(found["key"], irdl.random.key(7))
    model, state = found["model"], found["state"]
    for value in ahead:
        model, state, now = step(model, state, x)
        assert now.tobytes() == value.tobytes()
    with pytest.raises(KeyError, match=r"missing: other; left over: key"):
        nn.load_checkpoint(tmp_path / "run", model=fresh, state=OPTIMIZER.init(fresh), epoch=0, other=irdl.random.key(0))
    with pytest.raises(ValueError, match=r"key in .* is uint32\[2\], not float64\[3\]"):
        nn.load_checkpoint(tmp_path / "run", model=fresh, state=OPTIMIZER.init(fresh), epoch=0, key=np.ones(3))


def test_weights_by_name(tmp_path: Path) -> None:
    model, other = Model(), Model()
    nn.save(model, tmp_path / "weights.safetensors")
    arrays = nn.load(tmp_path / "weights.safetensors")
    assert {"lstm.weight_ih_l0", "lstm.bias_hh_l1", "norm.running_mean", "out.0.weight"} <= arrays.keys()
    other.load_state_dict(arrays)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_damaged_files_are_errors(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "weights"
    nn.save({"a": np.arange(100.0)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        nn.load(path)
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "nothing")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    nn.save({"a": np.ones(3)}, path)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nn.save({"a": np.zeros(3)}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]
    np.testing.assert_array_equal(nn.load(path)["a"], np.ones(3))


def test_paths() -> None:
    paths = irdl.tree.paths({"model": Model(), "more": [1, (2, {"x": 3})]})
    assert {"model.lstm.weight_ih_l0", "model.out.0.bias", "more.0", "more.1.0", "more.1.1.x"} <= set(paths)
