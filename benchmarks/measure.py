"""Side by side: each peer in a process of its own, taking turns, every result checked against NumPy before it is timed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Task:
    """What one worker times: a row of a suite, for one peer."""

    suite: str
    row: str
    mode: str
    peer: str
    threads: int


@dataclass(frozen=True)
class Job:
    """A task made ready. `run()` does the work once, `arrays(result)` are its numbers, `expected` those of NumPy in float64."""

    run: Callable[[], Any]
    arrays: Callable[[Any], Sequence[np.ndarray]]
    expected: Sequence[np.ndarray]
    #: largest difference allowed, relative to the largest number of each array
    tolerance: float = 1e-4


class Unavailable(Exception):
    """A peer that is not installed or has no such operation."""


class WorkerFailed(SystemExit):
    """A worker ended, or did not answer in time."""


def check(job: Job) -> None:
    """Raise where a result differs from NumPy's."""
    results = list(job.arrays(job.run()))
    assert len(results) == len(job.expected), f"{len(results)} results, {len(job.expected)} expected"
    for place, (result, expected) in enumerate(zip(results, job.expected, strict=True)):
        assert result.shape == expected.shape, f"result {place} has shape {result.shape}, not {expected.shape}"
        scale = max(1e-30, float(np.abs(expected).max(initial=0)))
        error = float(np.abs(np.asarray(result, np.float64) - expected).max(initial=0)) / scale
        assert error <= job.tolerance, f"result {place} is off by {error:.1e} of its largest number"


def seconds(run: Callable[[], Any], budget: float) -> float:
    """The median time of a call, over as many as fit in `budget` seconds (5 at least)."""
    run()
    start = time.perf_counter()
    run()
    once = time.perf_counter() - start
    # Calls too short for the clock are timed in batches.
    batch = max(1, int(2e-5 / max(once, 1e-9)))
    times = []
    deadline = time.perf_counter() + budget
    while len(times) < 5 or time.perf_counter() < deadline:
        start = time.perf_counter()
        for _ in range(batch):
            run()
        times.append((time.perf_counter() - start) / batch)
    return median(times)


def median(times: Sequence[float]) -> float:
    return sorted(times)[len(times) // 2]


def serve(make: Callable[[Task], Job], task: Task, measure: Callable[[Callable[[], Any], float], Any] = seconds) -> None:
    """A worker: says `ready` or why not, then answers each line on standard input (a budget in seconds) with what it measured."""
    try:
        job = make(task)
        check(job)
    except (Unavailable, ImportError) as reason:
        print(json.dumps({"unavailable": str(reason)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(job.run, float(line))), flush=True)


class Worker:
    """A peer's process. It has as many cores as threads, since a peer may have threads that no setting reaches; all, if `shared`.

    Args:
        patience: seconds for each answer, after which it is killed; None: as long as it takes.
    """

    def __init__(self, task: Task, shared: bool = False, patience: float | None = None) -> None:
        self.task, self._patience = task, patience
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        for name in ("IRDL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(task.threads)
        if task.threads == 1:
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        environment |= getattr(import_module(f"benchmarks.{task.suite.replace('-', '_')}"), "ENVIRONMENT", {}).get(task.peer, {})
        command = [sys.executable, "-m", "benchmarks", "worker", json.dumps(asdict(task))]
        pin = getattr(os, "sched_setaffinity", lambda *_: None)
        cores = sorted(os.sched_getaffinity(0))[: None if shared else task.threads] if hasattr(os, "sched_getaffinity") else []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parent.parent,
            preexec_fn=lambda: pin(0, cores),
        )

    def start(self) -> str:
        """ "" when it is ready; else why the peer is not measured."""
        line = self._line()
        return line.get("unavailable", "")

    def measure(self, budget: float) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{budget}\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], self._patience)[0]:
            self.process.kill()
            raise WorkerFailed(f"{self.task} did not answer in {self._patience:g} seconds")
        text = self.process.stdout.readline()
        if not text:
            raise WorkerFailed(f"{self.task} failed")
        return json.loads(text)

    def stop(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self.process.kill()


#: Seconds for which the threads of the last peer may go on looking for work on the cores that the next one is timed on: OpenMP's 0.2.
_SPINNING = 0.3


def compare_what_works(tasks: Sequence[Task], rounds: int, budget: float, patience: float) -> dict[str, float]:
    """As `compare`, where the processor only waits: the peers start at the same time, on all cores, and one that fails, or that does not
    answer for so many seconds, is left out as well."""
    workers = [Worker(task, shared=True, patience=patience) for task in tasks]
    times: dict[Worker, list[float]] = {worker: [] for worker in workers}

    def each(do: Callable[[Worker], Any]) -> None:
        for worker in list(times):
            try:
                if do(worker):
                    del times[worker]
            except (WorkerFailed, BrokenPipeError, json.JSONDecodeError) as error:
                print(f"{worker.task.row} {worker.task.mode}: {error or worker.task}", file=sys.stderr, flush=True)
                del times[worker]

    each(Worker.start)
    for _ in range(rounds):
        each(lambda worker: times[worker].append(worker.measure(budget)))
    for worker in workers:
        worker.stop()
    return {worker.task.peer: median(found) for worker, found in times.items() if found}


def compare(tasks: Sequence[Task], rounds: int, budget: float) -> dict[str, float]:
    """Seconds by peer: medians over rounds in which the peers take turns. Peers that are not installed are left out."""
    workers = []
    for task in tasks:
        worker = Worker(task)
        if not worker.start():
            workers.append(worker)
    times: dict[str, list[float]] = {worker.task.peer: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            if worker.task.threads > 1:
                time.sleep(_SPINNING)
            times[worker.task.peer].append(worker.measure(budget))
    for worker in workers:
        worker.stop()
    return {peer: median(found) for peer, found in times.items()}


def format_seconds(value: float) -> str:
    if value < 1e-3:
        return f"{value * 1e6:.3g} us"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
