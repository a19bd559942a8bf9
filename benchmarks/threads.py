"""What threads cost and gain where others use the machine: times on one thread and on the default number, beside spinning processes.

Both run in processes of their own and take turns. Means and 99th percentiles are over single calls.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import irdl
from benchmarks import train_step
from benchmarks.measure import Job, Task, Worker, format_seconds, markdown

#: steps, batch, width
RNN = (50, 16, 64)
ROWS = ("rnn", "rnn step", "lstm step")
LOADS = (0, 1, 2)


def rnn(weights, x):
    U, W, b = weights

    def cell(h, row):
        h = np.tanh(row @ W + h @ U + b)
        return h, h

    return irdl.scan(cell, np.zeros((x.shape[1], U.shape[0]), x.dtype), x)[1]


def rnn_step(weights, x, target):
    loss, gradients = irdl.value_and_grad(lambda w: np.mean((rnn(w, x) - target) ** 2))(weights)
    return loss, [w - np.float32(1e-3) * g for w, g in zip(weights, gradients, strict=True)]


def make(task: Task) -> Job:
    if task.row == "lstm step":
        return train_step.make(Task("train-step", "d2l-256", "step", "irdl", task.threads))
    T, B, H = RNN
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype(np.float32) / 8 for shape in ((H, H), (H, H), (H,))]
    x, target = (rng.standard_normal((T, B, H)).astype(np.float32) for _ in range(2))
    states = rnn([w.astype(np.float64) for w in weights], x.astype(np.float64))
    if task.row == "rnn":
        forward = irdl.compile(rnn)(weights, x)
        return Job(lambda: forward(weights, x), lambda y: [y], [states])
    step = irdl.compile(rnn_step)(weights, x, target)
    return Job(lambda: step(weights, x, target), lambda y: [np.asarray(y[0])], [np.mean((states - target) ** 2)])


def measure(run: Callable[[], Any], budget: float) -> list[float]:
    """The times of all the calls that fit in `budget` seconds (5 at least)."""
    times: list[float] = []
    deadline = time.perf_counter() + budget
    while (start := time.perf_counter()) < deadline or len(times) < 5:
        run()
        times.append(time.perf_counter() - start)
    return times


def table(rows: Sequence[str], rounds: int, budget: float) -> list[dict]:
    """Measure and print; the rows as records."""
    records, lines = [], []
    for row in rows:
        workers = [Worker(Task("threads", row, "call", "irdl", threads), shared=True) for threads in (1, irdl.num_threads())]
        for worker in workers:
            assert not worker.start()
        for load in LOADS:
            spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
            time.sleep(0.3)
            times: list[list[float]] = [[], []]
            for _ in range(rounds):
                for found, worker in zip(times, workers, strict=True):
                    found += worker.measure(budget)
            for process in spinning:
                process.kill()
                process.wait()
            (alone, tail), (team, team_tail) = ((float(np.mean(t)), float(np.percentile(t, 99))) for t in times)
            records.append({"suite": "threads", "row": row, "mode": f"{load} spinning", "threads": 1, "seconds": {"irdl": alone}})
            records.append({**records[-1], "threads": irdl.num_threads(), "seconds": {"irdl": team}})
            shown = map(format_seconds, (alone, tail, team, team_tail))
            lines.append([row, str(load), *shown, f"{team / alone:.2f}", f"{team_tail / tail:.2f}"])
            print(" | ".join(lines[-1]), file=sys.stderr, flush=True)
        for worker in workers:
            worker.stop()
    header = ("row", "spinning", "1 thread", "p99", f"{irdl.num_threads()} threads", "p99", "mean, relative", "p99, relative")
    print(markdown(header, lines))
    return records
