"""The LSTM cell, forward and backward: its trace, its last graph and its program, as text, and its kernels for a GPU. `--update-golden` rewrites them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest

import irdl
from irdl.codegen.cuda.emit import emit_cuda
from irdl.codegen.cuda.expressions import prelude
from irdl.ir.printer import print_graph
from irdl.loops.target import Gpu, Target
from irdl.runtime.build import Build
from irdl.runtime.cpu import Cpu
from irdl.runtime.cuda import Cuda
from tests.models import lstm, lstm_data, lstm_loss

FOLDER = Path(__file__).parent / "golden"
TARGET = Target(64, 32, avx512=True)
PARAMS, X, GY = lstm_data(5, 16, 8, 32)
GRAPHS: dict[str, Any] = {
    "forward": lambda: irdl.trace(lstm)(PARAMS, X),
    "backward": lambda: irdl.trace(irdl.grad(lstm_loss))(PARAMS, X, GY),
}


def stages(name: str) -> list[tuple[str, str]]:
    """What is traced, what the last pass makes of it, and the program at the end; what each pass does, `test_cases.py` has."""
    build = Build(GRAPHS[name](), Cpu(), target=TARGET)
    first, *_, last = (print_graph(step.code, locations=False) for step in build.graphs)
    return [("trace.txt", first), ("graph.txt", last), ("program.txt", str(build.program)), ("kernels.cu", _kernels(name))]


def _kernels(name: str) -> str:
    """What a GPU runs, without NumPy's arithmetic before it."""
    graph = irdl.trace({"forward": gpu_forward, "backward": gpu_backward}[name])(*GPU_DATA)
    return emit_cuda(Build(graph, Cuda(), target=Gpu()).program).removeprefix(prelude()).lstrip()


GPU_DATA = lstm_data(5, 4, 8, 64)


def gpu_forward(params: Any, x: Any, gy: Any) -> Any:
    return lstm(params, x)


def gpu_backward(params: Any, x: Any, gy: Any) -> Any:
    return irdl.grad(lstm_loss)(params, x, gy)


@pytest.mark.parametrize("name", GRAPHS)
def test_lstm_cell(name: str, request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update-golden")
    wrong = []
    names = {f"lstm_{name}_{stage}" for stage, _ in stages(name)}
    stale = [path for path in FOLDER.glob(f"lstm_{name}_*") if path.name not in names]
    if update:
        for path in stale:
            path.unlink()
    assert update or not stale, f"no stage has these goldens: {', '.join(path.name for path in stale)}"
    for stage, text in stages(name):
        path = FOLDER / f"lstm_{name}_{stage}"
        if update:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
        expected = path.read_text() if path.exists() else ""
        if text != expected:
            lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1)
            wrong.append(f"{path.name}:\n" + "\n".join(list(lines)[:40]))
    assert not wrong, "\n".join(wrong) + "\n(rewrite with pytest tests/passes/test_golden.py --update-golden)"
