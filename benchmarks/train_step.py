"""The whole training step of an LSTM, compiled into one function with donated parameters, against steps by hand in NumPy:
forward, backward through time, clipping of the global norm, Adam."""

from __future__ import annotations

import numpy as np

import irdl
from benchmarks.eager_lstm import adam, train_step, tuned_train_step
from benchmarks.lstm import Row, data, loss
from benchmarks.measure import Job, Task

ROWS = {
    "stream-64": Row(100, 1, 64, 64),
    "d2l-256": Row(35, 32, 28, 256),
    "ptb-small": Row(20, 20, 200, 200),
    "batch-512": Row(20, 64, 256, 512),
}
MODES = ("step",)
PEERS = ("irdl", "numpy", "tuned")
NAMES = ("W", "U", "b")


def work(row: str, mode: str) -> tuple[float, str]:
    return float(ROWS[row].training_flops), "float32"


def step(params, moments, number, x, gy):
    value, gradients = irdl.value_and_grad(lambda p: loss([[p[name] for name in NAMES]], x, gy))(params)
    return value, *adam(params, moments, number, gradients)


def make(task: Task) -> Job:
    weights, x, gy = data(ROWS[task.row])
    gy = gy * np.float32(0.01)
    params = dict(zip(NAMES, weights[0], strict=True))
    moments = tuple({name: np.zeros_like(p) for name, p in params.items()} for _ in range(2))
    number = np.float32(3)
    expected = _arrays(train_step(params, moments, number, x, gy))
    function = {"numpy": train_step, "tuned": tuned_train_step}.get(task.peer)
    if function is None:
        function = irdl.compile(step, donate_argnums=(0, 1))(params, moments, number, x, gy)
    state = [params, moments]

    def run():
        value, state[0], state[1] = function(state[0], state[1], number, x, gy)
        return value, state[0], state[1]

    return Job(run, _arrays, expected, 1e-3)


def _arrays(result):
    value, params, _ = result
    return [np.asarray(value, np.float64), *(params[name].astype(np.float64) for name in NAMES)]
