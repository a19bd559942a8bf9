"""Recurrent layers against plain NumPy loops: layers, directions, projections; padded sequences; states that start anew; any cell."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import irdl
from irdl import nn
from irdl.testing import check_gradient
from tests.covering import covering

RNG = np.random.default_rng(0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(kind: str, layer: Any, number: int, suffix: str, x: np.ndarray, state: Any) -> tuple[Any, np.ndarray]:
    """One step as a textbook has it."""
    weights = {name: getattr(layer, f"{name}_l{number}{suffix}", 0.0) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    h = state[0] if kind == "LSTM" else state
    a, b = x @ weights["weight_ih"].T + weights["bias_ih"], h @ weights["weight_hh"].T + weights["bias_hh"]
    if kind == "RNN":
        h = np.tanh(a + b) if layer.nonlinearity == "tanh" else np.maximum(a + b, 0)
        return h, h
    if kind == "GRU":
        (r, z, n), (hr, hz, hn) = np.split(a, 3, -1), np.split(b, 3, -1)
        r, z = sigmoid(r + hr), sigmoid(z + hz)
        h = (1 - z) * np.tanh(n + r * hn) + z * h
        return h, h
    i, f, g, o = np.split(a + b, 4, -1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    if layer.proj_size:
        h = h @ getattr(layer, f"weight_hr_l{number}{suffix}").T
    return (h, c), h


def reference(kind: str, layer: Any, x: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """x (T, B, I) through all layers, with loops; the outputs and the last states."""
    last = []
    for number in range(layer.num_layers):
        outputs = []
        for suffix in layer.suffixes:
            h = np.zeros((x.shape[1], layer.proj_size or layer.hidden_size))
            state: Any = (h, np.zeros((x.shape[1], layer.hidden_size))) if kind == "LSTM" else h
            ys: list[Any] = [None] * len(x)
            for t in reversed(range(len(x))) if suffix else range(len(x)):
                state, ys[t] = step(kind, layer, number, suffix, x[t], state)
            last.append(state)
            outputs.append(np.stack(ys))
        x = np.concatenate(outputs, -1)
    return x, last


CASES = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 3}), ("GRU", {})]


def same_states(kind: str, last: Any, expected: list[Any]) -> None:
    for place, state in enumerate(expected):
        for mine, theirs in zip(last if kind == "LSTM" else (last,), state if kind == "LSTM" else (state,), strict=True):
            np.testing.assert_allclose(mine[place], theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("case", "layers", "bidirectional"), covering(CASES, [1, 2], [False, True]))
def test_against_loops(case: tuple[str, dict[str, Any]], layers: int, bidirectional: bool, request: pytest.FixtureRequest) -> None:
    """With and without biases, the batch first or not: each once, or with --slow each with each."""
    kind, options = case
    once = [(False, True), (True, False)]
    for batch_first, bias in itertools.product((False, True), repeat=2) if request.config.getoption("--slow") else once:
        layer = getattr(nn, kind)(
            3, 4, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional, dtype=np.float64, **options
        )
        x = RNG.standard_normal((5, 2, 3))
        expected, states = reference(kind, layer, x)
        given = np.swapaxes(x, 0, 1) if batch_first else x
        for call in (layer, irdl.jit(lambda x: layer(x))):
            y, last = call(given)
            np.testing.assert_allclose(np.swapaxes(y, 0, 1) if batch_first else y, expected, rtol=1e-10, atol=1e-12)
            same_states(kind, last, states)
            y, last = call(x[:, 0])
            np.testing.assert_allclose(y, expected[:, 0], rtol=1e-10, atol=1e-12)
            assert (last[0] if kind == "LSTM" else last).shape == (layers * (1 + bidirectional), options.get("proj_size", 4))


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_gradients(kind: str, options: dict[str, Any]) -> None:
    layer = getattr(nn, kind)(2, 3, 2, bidirectional=True, dtype=np.float64, **options)
    check_gradient(lambda layer, x: layer(x), layer, RNG.standard_normal((4, 2, 2)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths(kind: str, bidirectional: bool) -> None:
    """Each sequence as if it were alone; behind its end zeros."""
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=bidirectional, dtype=np.float64)
    compiled = irdl.jit(lambda x, lengths: layer(x, lengths=lengths))
    for _ in range(10):
        lengths = RNG.integers(0, 7, 4)
        x = RNG.standard_normal((6, 4, 3))
        for call in (lambda x, lengths: layer(x, lengths=lengths), compiled):
            y, last = call(x, lengths)
            for row, length in enumerate(lengths):
                assert not y[length:, row].any()
                if length:
                    alone, state = layer(x[:length, row])
                    np.testing.assert_allclose(y[:length, row], alone, rtol=1e-10, atol=1e-12)
                for mine, theirs in zip(
                    last if kind == "LSTM" else [last], (state if kind == "LSTM" else [state]) if length else [0.0] * 2, strict=False
                ):
                    np.testing.assert_allclose(mine[:, row], theirs, rtol=1e-10, atol=1e-12)
    lengths = np.array([3, 0, 4])
    check_gradient(lambda layer, x: layer(x, lengths=lengths), layer, RNG.standard_normal((4, 3, 3)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_reset(kind: str, bidirectional: bool) -> None:
    """Episodes one after the other are as if each were alone."""
    layer = getattr(nn, kind)(3, 4, bidirectional=bidirectional, dtype=np.float64)
    compiled = irdl.jit(lambda x, reset: layer(x, reset=reset))
    for _ in range(10):
        x, reset = RNG.standard_normal((9, 2, 3)), RNG.random((9, 2)) < 0.3
        y, _ = compiled(x, reset)
        np.testing.assert_allclose(y, layer(x, reset=reset)[0], rtol=1e-10, atol=1e-12)
        for row in range(2):
            starts = sorted({0, *np.flatnonzero(reset[:, row]).tolist()})
            for start, end in zip(starts, [*starts[1:], 9], strict=True):
                np.testing.assert_allclose(y[start:end, row], layer(x[start:end, row])[0], rtol=1e-10, atol=1e-12)


CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.PeepholeLSTMCell, nn.CoupledLSTMCell, nn.LayerNormLSTMCell, nn.MinGRUCell]


@pytest.mark.parametrize("cell", CELLS)
def test_any_cell(cell: Any) -> None:
    layer = nn.Recurrent(lambda n, m: cell(n, m, dtype=np.float64), 3, 4, num_layers=2, bidirectional=True)
    x, lengths = RNG.standard_normal((5, 2, 3)), np.array([5, 2])
    y, last = layer(x, lengths=lengths)
    assert y.shape == (5, 2, 8)
    assert len(last) == 4
    compiled, _ = irdl.jit(lambda layer, x: layer(x, lengths=lengths))(layer, x)
    np.testing.assert_allclose(compiled, y, rtol=1e-10, atol=1e-12)
    check_gradient(lambda layer, x: layer(x, lengths=lengths)[0], layer, x)
    single = nn.Recurrent(cell(3, 4, dtype=np.float64), batch_first=True)
    y, _ = single(np.swapaxes(x, 0, 1))
    state: Any = single.cells[0].initial_state(2) if hasattr(cell, "initial_state") else np.zeros((2, 4))
    for t in range(5):
        state = single.cells[0](x[t], state)
        np.testing.assert_allclose(y[:, t], state[0] if isinstance(state, tuple) else state, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_one_sequence(cell: Any) -> None:
    """Without an axis for a batch, in two halves, without biases."""
    layer = nn.Recurrent(lambda n, m: cell(n, m, bias=False, dtype=np.float64), 3, 4, num_layers=2)
    x = RNG.standard_normal((5, 2, 3))
    y, _ = layer(x)
    np.testing.assert_array_equal(layer(x, lengths=[5, 3])[0], layer(x, lengths=np.array([5, 3]))[0])
    np.testing.assert_allclose(layer(x, lengths=[5, 3])[0][:3], y[:3], rtol=1e-12)
    for call in (layer, irdl.jit(lambda x, state=None: layer(x, state))):
        first, state = call(x[:3, 0])
        second, _ = call(x[3:, 0], state)
        np.testing.assert_allclose(np.concatenate([first, second]), y[:, 0], rtol=1e-10, atol=1e-12)
    one = layer.cells[0]
    if isinstance(one, nn.Cell):
        batch, alone = one(x[0]), one(x[0, 0])
        for a, b in zip(irdl.tree.leaves(alone), irdl.tree.leaves(batch), strict=True):
            np.testing.assert_allclose(a, b[0], rtol=1e-12)
        for a, b in zip(irdl.tree.leaves(one(x[1, 0], alone)), irdl.tree.leaves(one(x[1], batch)), strict=True):
            np.testing.assert_allclose(a, b[0], rtol=1e-12)


def test_a_function_as_a_cell() -> None:
    w = RNG.standard_normal((3, 3))

    class Leaky(nn.Module):
        hidden_size = 3

        def __init__(self) -> None:
            self.decay = np.full(3, 0.5)

        def forward(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
            return self.decay * h + np.tanh(x @ w)

    x = RNG.standard_normal((4, 2, 3))
    y, last = irdl.jit(lambda layer, x: layer(x))(nn.Recurrent(Leaky()), x)
    h = np.zeros((2, 3))
    for t in range(4):
        h = 0.5 * h + np.tanh(x[t] @ w)
        np.testing.assert_allclose(y[t], h, rtol=1e-10)
    np.testing.assert_allclose(last, h, rtol=1e-10)


def test_the_layer_is_its_cell() -> None:
    layer, cell = nn.LSTM(3, 4, dtype=np.float64), nn.LSTMCell(3, 4, dtype=np.float64)
    cell.load_state_dict({name.removesuffix("_l0"): array for name, array in layer.state_dict().items()})
    x = RNG.standard_normal((5, 2, 3))
    np.testing.assert_allclose(nn.Recurrent(cell)(x)[0], layer(x)[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nn.LSTM(4, 2)(x), r"LSTM of input size 4 cannot take an input of shape \(5, 2, 3\)"),
        (lambda x: nn.GRU(3, 2)(x, np.zeros((2, 2, 2))), "GRU takes 1 initial states and 3 axes"),
        (lambda x: nn.RNN(3, 2)(x, lengths=np.array([1, 2, 3])), "lengths are one integer for each of 2 sequences"),
        (lambda x: nn.RNN(3, 2)(x, reset=np.zeros((2, 5), bool)), r"reset is a bool for each step of each sequence, \(5, 2\)"),
        (lambda x: nn.RNN(3, 2, nonlinearity="sigmoid"), "nonlinearity is 'tanh' or 'relu'"),
        (lambda x: nn.Recurrent(nn.GRUCell(3, 2), num_layers=2), "several layers or directions need cells of their own"),
        (lambda x: nn.Dropout(1.5), "dropout with probability 1.5"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros((5, 2, 3), np.float32))
