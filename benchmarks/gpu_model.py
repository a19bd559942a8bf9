"""The rows of `python -m benchmarks gpu` by irdl's model of a GPU's time: no GPU is needed, and nothing is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import irdl
from benchmarks import cells, gpu, lstm
from benchmarks.measure import format_seconds, markdown
from irdl.codegen.cuda.model import Prediction, predict
from irdl.codegen.cuda.rates import Rates, rates_of
from irdl.loops.language import Program
from irdl.loops.target import Gpu
from irdl.runtime.build import Build
from irdl.runtime.cuda import Cuda

GPUS = (Gpu(name="H200"), Gpu(80, 108, 163 * 1024, "A100"))
#: the most of what limits a row that is said
_SAID = 3


def program_of(row: str, mode: str, target: Gpu) -> Program:
    """What irdl runs there."""
    if row in gpu.KERNELS:
        kernel = gpu.KERNELS[row]
        graph = irdl.trace(kernel.function)(*(np.zeros(shape, kernel.dtype) for shape in kernel.shapes))
    else:
        if row in gpu.CELLS:
            found = gpu.CELLS[row]
            forward, loss, data = cells.forward_of(found), cells.loss_of(found), cells.data(found, np.float32)
        else:
            forward, loss, data = lstm.lstm, lstm.loss, lstm.data(gpu.LAYERS[row])
        graph = irdl.trace(forward)(*data[:2]) if mode == "infer" else irdl.trace(irdl.value_and_grad(loss))(*data)
    return Build(graph, Cuda(), target=target).program


def machines(file: str) -> list[tuple[Gpu, Rates]]:
    """The one whose rates a file holds, or those of `GPUS`."""
    if not file:
        return [(target, rates_of(target)) for target in GPUS]
    (measured,) = [record for record in json.loads(Path(file).read_text()) if "rates" in record]
    target = Gpu(**measured["gpu"])
    return [(target, rates_of(target).measured(file))]


def table(rows: Sequence[str], modes: Sequence[str], file: str = "") -> list[dict[str, Any]]:
    """Print what is predicted; the table's rows as records."""
    found = machines(file)
    records, lines = [], []
    for row in rows:
        for mode in gpu.modes_of(row, modes):
            predictions = []
            for target, rates in found:
                program = program_of(row, mode, target)
                predictions.append(predict(program, target, rates))
            first = predictions[0]
            said = [f"{limit} {seconds / first.seconds:.0%}" for limit, seconds in first.parts.items() if seconds > 0.005 * first.seconds]
            times = [format_seconds(prediction.seconds) for prediction in predictions]
            lines.append([row, mode, *times, gpu.rate(row, first.seconds), ", ".join(said[:_SAID]), str(len(first.launches))])
            records.append({"suite": "gpu", "row": row, "mode": mode, "threads": 1, "seconds": {}, "predicted": _record(first)})
    print("\nA model's predictions; nothing was measured.\n")
    names = [rates.name for _, rates in found]
    print(markdown(["row", "mode", *names, f"{names[0]}: reached", "limited by", "launches"], lines))
    return records


def _record(prediction: Prediction) -> dict[str, Any]:
    return {"on": prediction.rates.name, "seconds": prediction.seconds, "parts": prediction.parts}
