"""On a GPU: LSTM layers (cuDNN's in PyTorch, with TF32 and without), other cells, and kernels that memory or arithmetic bounds. Arrays
are there before and after; a call is timed with the wait for its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import irdl
from benchmarks import cells, lstm
from benchmarks.gpu_rates import measure as measure_rates
from benchmarks.measure import Job, Task, Unavailable, Worker, WorkerFailed, compare_what_works, format_seconds, markdown, seconds
from irdl.errors import IrdlError

LAYERS = {
    "stream-256": lstm.Row(100, 1, 256, 256),
    "d2l": lstm.Row(35, 32, 28, 256),
    "ptb-small": lstm.Row(20, 20, 200, 200, 2),
    "batch": lstm.Row(50, 64, 512, 512),
    "long-512": lstm.Row(512, 16, 512, 512),
    "long-768": lstm.Row(1000, 16, 768, 768),
    "wide-1024": lstm.Row(100, 64, 1024, 1024),
    "d2l-f16": lstm.Row(35, 32, 28, 256, dtype="float16"),
    "batch-f16": lstm.Row(50, 64, 512, 512, dtype="float16"),
    "long-768-f16": lstm.Row(1000, 16, 768, 768, dtype="float16"),
    "wide-1024-f16": lstm.Row(100, 64, 1024, 1024, dtype="float16"),
}
#: without a kernel in cuDNN, but for the first
CELLS = {name: cells.ROWS[name] for name in ("gru 32x256", "layer-norm 32x256", "random-b 32x256")}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Kernel(NamedTuple):
    """A function, the shapes and the dtype of its arguments, the bytes that it has to move, and its operations."""

    function: Callable[..., Any]
    shapes: list[tuple[int, int]]
    moved: int
    operations: int
    dtype: str = "float32"


KERNELS = {
    "multiply-add": Kernel(lambda x, y: x * y + x, [(4096, 1024)] * 2, 3 * 4 * 4096 * 1024, 0),
    "softmax": Kernel(softmax, [(4096, 1024)], 2 * 4 * 4096 * 1024, 0),
    "column-sums": Kernel(lambda x: x.sum(0), [(4096, 1024)], 4 * 4096 * 1024, 0),
    "matmul-1024": Kernel(lambda x, y: x @ y, [(1024, 1024)] * 2, 0, 2 * 1024**3),
    "matmul-4096": Kernel(lambda x, y: x @ y, [(4096, 4096)] * 2, 0, 2 * 4096**3),
    "matmul-1024-f16": Kernel(lambda x, y: x @ y, [(1024, 1024)] * 2, 0, 2 * 1024**3, "float16"),
    "matmul-4096-f16": Kernel(lambda x, y: x @ y, [(4096, 4096)] * 2, 0, 2 * 4096**3, "float16"),
}
ROWS = {**LAYERS, **CELLS, **KERNELS}
MODES = ("infer", "train", "call")
PEERS = ("irdl", "torch", "torch-tf32", "jax")
#: JAX's products of float32 are of TF32 there unless it is told otherwise
ENVIRONMENT = {
    "jax": {"JAX_PLATFORMS": "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "highest"},
}
#: the task that measures the machine's own rates
_RATES = Task("gpu", "machine", "rates", "irdl", 4)
#: threads of a peer's process, for NumPy's results; seconds for each of its answers, of which a kernel that hangs gives none
_THREADS, _PATIENCE = 4, 150.0


def modes_of(row: str, chosen: Sequence[str] = ()) -> list[str]:
    """Those of a row, or those of them that were chosen."""
    return [mode for mode in (("call",) if row in KERNELS else ("infer", "train")) if not chosen or mode in chosen]


def missing() -> str:
    """Why nothing can be measured here, or an empty string."""
    from irdl.runtime.device import find_device

    try:
        find_device()
    except IrdlError as error:
        return str(error)
    return ""


def table(
    rows: Sequence[str],
    modes: Sequence[str],
    peers: Sequence[str],
    rounds: int,
    budget: float,
    save: Callable[[list[dict[str, Any]]], object] = id,
) -> list[dict[str, Any]]:
    """Measure and print; the table's rows as records. What there is of them is saved at each: time on a GPU may end."""
    if reason := missing():
        print(f"benchmarks gpu: skipped: {reason}")
        return []
    from irdl.runtime.device import find_device

    print(f"{find_device().gpu}\n", flush=True)
    records, lines = rates(), []
    save(records)
    for row in rows:
        for mode in modes_of(row, modes):
            times = compare_what_works([Task("gpu", row, mode, peer, _THREADS) for peer in peers], rounds, budget, _PATIENCE)
            records.append({"suite": "gpu", "row": row, "mode": mode, "threads": 1, "seconds": times})
            save(records)
            rivals = [seconds for peer, seconds in times.items() if peer != "irdl"]
            ours = times.get("irdl")
            ratio = f"{min(rivals) / ours:.2f}" if rivals and ours else ""
            shown = [format_seconds(times[p]) if p in times else "" for p in peers]
            lines.append([row, mode, *shown, ratio, rate(row, ours) if ours else ""])
            print(" | ".join(lines[-1]), file=sys.stderr, flush=True)
    print(markdown(["row", "mode", *peers, "best rival / irdl", "irdl"], lines))
    return records


def rates() -> list[dict[str, Any]]:
    """The record of the machine, if it can be measured, in a process of its own: blocks that never meet would keep this one."""
    worker = Worker(_RATES, shared=True, patience=_PATIENCE)
    try:
        worker.start()
        return [worker.measure(0)]
    except WorkerFailed as error:
        print(f"the rates of the machine: {error}", file=sys.stderr, flush=True)
        return []
    finally:
        worker.stop()


def measure(run: Callable[[], Any], budget: float) -> Any:
    """What a worker answers: the seconds of a call, or the machine's record."""
    return run() if run is measure_rates else seconds(run, budget)


def rate(row: str, seconds: float) -> str:
    """What irdl reaches: microseconds a step, bytes or operations a second."""
    if row in CELLS:
        return f"{1e6 * seconds / CELLS[row].shape[0]:.2f} us a step"
    if row in LAYERS:
        layer = LAYERS[row]
        return f"{1e6 * seconds / (layer.T * layer.layers):.2f} us a step"
    kernel = KERNELS[row]
    return f"{kernel.moved / seconds / 1e12:.2f} TB/s" if kernel.moved else f"{kernel.operations / seconds / 1e12:.1f} TFLOP/s"


def make(task: Task) -> Job:
    if task.row == _RATES.row:
        return Job(measure_rates, lambda record: [], [])
    if task.row in KERNELS:
        kernel = KERNELS[task.row]
        rng = np.random.default_rng(0)
        arguments = [rng.standard_normal(shape).astype(kernel.dtype) for shape in kernel.shapes]
        run, arrays = _CALLS[task.peer](kernel.function, arguments, task)
        expected = kernel.function(*(a.astype(np.float64) for a in arguments))
        rounds = task.peer == "torch-tf32" or kernel.dtype == "float16"
        return Job(run, arrays, [expected], 5e-3 if rounds else 1e-4)
    if task.row in CELLS:
        return cells.checked(CELLS[task.row], task.mode, *_cell(CELLS[task.row], task))
    row = LAYERS[task.row]
    weights, x, gy = lstm.data(row)
    wide = [[w.astype(np.float64) for w in layer] for layer in weights]
    if task.mode == "infer":
        expected = [lstm.numpy_forward(wide, x.astype(np.float64))[0]]
    else:
        expected = lstm.flat(lstm.numpy_gradient(wide, x.astype(np.float64), gy.astype(np.float64)))
    run, arrays = _LAYERS[task.peer](row, task, weights, x, gy)
    rounds = task.peer == "torch-tf32" or row.dtype == "float16"  # to ten bits of fraction
    return Job(run, arrays, expected, 2e-2 if rounds else 2e-3)


def _waiting(function, *arguments):
    from irdl.runtime.device import find_device

    device = find_device()

    def run():
        result = function(*arguments)
        device.wait()
        return result

    return run


def _irdl_layer(row, task, weights, x, gy):
    there = irdl.device_put((weights, x, gy))
    if task.mode == "infer":
        return _waiting(irdl.jit(lstm.lstm, backend="cuda"), *there[:2]), lambda y: [np.asarray(y)]
    return _waiting(irdl.jit(irdl.value_and_grad(lstm.loss), backend="cuda"), *there), lstm.flat


def _cell(row, task):
    p, x, gy = cells.data(row, np.float32)
    if task.peer == "jax":
        _jax_with()
        return cells.MAKERS["jax"](row, task, p, x, gy)
    if task.peer != "irdl":
        raise Unavailable("a kernel for each operation of each step")
    there = irdl.device_put((p, x, gy))
    if task.mode == "infer":
        return _waiting(irdl.jit(cells.forward_of(row), backend="cuda"), *there[:2]), lambda y: [np.asarray(y)]
    return _waiting(irdl.jit(irdl.value_and_grad(cells.loss_of(row)), backend="cuda"), *there), lambda result: result


def _irdl_call(function, arguments, task):
    return _waiting(irdl.jit(function, backend="cuda"), *irdl.device_put(arguments)), lambda y: [np.asarray(y)]


def _torch_with(task):
    import torch

    if not torch.cuda.is_available():
        raise Unavailable("PyTorch finds no GPU")
    for part in (torch.backends.cudnn, torch.backends.cuda.matmul):
        part.allow_tf32 = task.peer == "torch-tf32"
    return torch


def _torch_waiting(torch, function):
    def run():
        result = function()
        torch.cuda.synchronize()
        return result

    return run


def _torch_layer(row, task, weights, x, gy):
    torch = _torch_with(task)
    run, arrays = lstm.torch_runs(torch, row, task, weights, x, gy, "cuda")
    return _torch_waiting(torch, run), arrays


def _torch_call(function, arguments, task):
    torch = _torch_with(task)
    there = [torch.from_numpy(a).cuda() for a in arguments]
    theirs = {
        "multiply-add": lambda: torch.addcmul(there[0], there[0], there[-1]),
        "softmax": lambda: torch.softmax(there[0], -1),
        "column-sums": lambda: there[0].sum(0),
    }.get(task.row, lambda: there[0] @ there[-1])
    return _torch_waiting(torch, theirs), lambda y: [y.cpu().numpy()]


def _jax_layer(row, task, weights, x, gy):
    _jax_with()
    return lstm.MAKERS["jax"](row, task, weights, x, gy)


def _jax_call(function, arguments, task):
    jax = _jax_with()
    import jax.numpy as jnp

    theirs = {
        "multiply-add": lambda x, y: x * y + x,
        "softmax": lambda x: jax.nn.softmax(x, -1),
        "column-sums": lambda x: x.sum(0),
    }.get(task.row, lambda x, y: jnp.matmul(x, y, precision="highest"))
    f, there = jax.jit(theirs), [jnp.asarray(a) for a in arguments]
    return lambda: f(*there).block_until_ready(), lambda y: [np.asarray(y)]


def _jax_with():
    import jax

    try:
        jax.devices("gpu")
    except RuntimeError as error:
        raise Unavailable(f"JAX finds no GPU: {error}") from error
    return jax


_LAYERS = {"irdl": _irdl_layer, "torch": _torch_layer, "torch-tf32": _torch_layer, "jax": _jax_layer}
_CALLS = {"irdl": _irdl_call, "torch": _torch_call, "torch-tf32": _torch_call, "jax": _jax_call}
