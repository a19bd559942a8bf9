"""What a recurrent layer's options cost: an LSTM without any, with `lengths` (of all steps, and of some), with `reset`, and one whose cell is
written by hand, in `nn.Recurrent`; results checked against the layer run eagerly in float64."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import irdl
from benchmarks.measure import Job, Task, compare, format_seconds, markdown
from irdl import nn

SMALL, WIDE = (50, 32, 64, 128), (100, 16, 128, 256)
#: two layers, both directions, with lengths: of those, nn.LSTM's time is beside that of a cell of one's own
DEEP = {"num_layers": 2, "bidirectional": True}
#: steps, batch, input, hidden; how the layer is made
ROWS: dict[str, tuple[tuple[int, int, int, int], dict[str, Any]]] = {
    "small": (SMALL, {}),
    "wide": (WIDE, {}),
    "small deep": (SMALL, DEEP),
    "wide deep": (WIDE, DEEP),
}
MODES = ("forward", "gradient")
PEERS = ("lstm", "lengths of all", "lengths", "reset", "own cell")


class Cell(nn.Module):
    """An LSTM as one writes it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        keys = irdl.random.split(irdl.random.key(input_size), 2)
        self.weight_ih = nn.init.xavier_uniform((4 * hidden_size, input_size), key=keys[0])
        self.weight_hh = nn.init.xavier_uniform((4 * hidden_size, hidden_size), key=keys[1])
        self.bias = np.zeros(4 * hidden_size, np.float32)

    def initial_state(self, batch_size: int) -> Any:
        zeros = np.zeros((batch_size, self.weight_hh.shape[1]), self.weight_hh.dtype)
        return zeros, zeros

    def forward(self, x: Any, state: Any) -> Any:
        h, c = state
        i, f, g, o = np.split(x @ self.weight_ih.T + h @ self.weight_hh.T + self.bias, 4, -1)
        c = nn.functional.sigmoid(f) * c + nn.functional.sigmoid(i) * np.tanh(g)
        return nn.functional.sigmoid(o) * np.tanh(c), c


def make(task: Task) -> Job:
    (T, B, width, hidden), deep = ROWS[task.row]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, B, width)).astype(np.float32)
    lengths = {"lengths": rng.integers(T // 2, T + 1, B)}
    given: dict[str, Any] = {
        "lengths of all": {"lengths": np.full(B, T)},
        "lengths": lengths,
        "reset": {"reset": rng.random((T, B)) < 0.05},
    }.get(task.peer, lengths if deep else {})
    layer = nn.Recurrent(Cell, width, hidden, **deep) if task.peer == "own cell" else nn.LSTM(width, hidden, key=irdl.random.key(0), **deep)

    def forward(layer: Any, x: Any, given: Any) -> Any:
        return layer(x, **given)[0]

    def gradient(layer: Any, x: Any, given: Any) -> Any:
        return irdl.value_and_grad(lambda layer: np.mean(forward(layer, x, given) ** 2))(layer)

    function = {"forward": forward, "gradient": gradient}[task.mode]
    precise = irdl.tree.map(lambda w: w.astype(np.float64), layer)
    expected = irdl.tree.leaves(function(precise, x.astype(np.float64), given))
    return Job(partial(irdl.jit(function), layer, x, given), irdl.tree.leaves, [np.asarray(array) for array in expected])


def table(rows: Sequence[str], threads: int, rounds: int, budget: float) -> list[dict]:
    """Measure and print; the rows as records."""
    records, lines = [], []
    for row in rows:
        for mode in MODES:
            peers = ("lstm", "own cell") if ROWS[row][1] else PEERS
            times = compare([Task("layer-options", row, mode, peer, threads) for peer in peers], rounds, budget)
            records.append({"suite": "layer-options", "row": row, "mode": mode, "threads": threads, "seconds": times})
            ratios = [f"{times[peer] / times['lstm']:.2f}" if peer in times else "" for peer in PEERS[1:]]
            lines.append([row, mode, format_seconds(times["lstm"]), *ratios])
            print(" | ".join(lines[-1]), file=sys.stderr, flush=True)
    print(markdown(("row", "mode", "lstm", *(f"{peer}, relative" for peer in PEERS[1:])), lines))
    return records
