"""The LSTM cell, forward and backward, after each pass, and its program, as text. `--update-golden` rewrites them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest

import irdl
from irdl.codegen.lower import lower
from irdl.ir.printer import print_graph
from irdl.ir.program import print_program
from irdl.passes.pipeline import optimise
from irdl.passes.target import Target
from tests.models import lstm, lstm_data, lstm_loss

FOLDER = Path(__file__).parent / "golden"
TARGET = Target(64, 32, avx512=True)
PARAMS, X, GY = lstm_data(5, 16, 8, 32)
GRAPHS: dict[str, Any] = {
    "forward": lambda: irdl.trace(lstm)(PARAMS, X),
    "backward": lambda: irdl.trace(irdl.grad(lstm_loss))(PARAMS, X, GY),
}


def stages(name: str) -> list[tuple[str, str]]:
    graph = GRAPHS[name]()
    found = [("trace", graph), *optimise(graph, TARGET)]
    texts = [(f"{place}_{stage}", print_graph(g, locations=False)) for place, (stage, g) in enumerate(found)]
    return [*texts, (f"{len(texts)}_program", print_program(lower(found[-1][1], TARGET)))]


@pytest.mark.parametrize("name", GRAPHS)
def test_lstm_cell(name: str, request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update-golden")
    wrong = []
    for stage, text in stages(name):
        path = FOLDER / f"lstm_{name}_{stage}.txt"
        if update:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
        expected = path.read_text() if path.exists() else ""
        if text != expected:
            lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "golden", "now", lineterm="", n=1)
            wrong.append(f"{path.name}:\n" + "\n".join(list(lines)[:40]))
    assert not wrong, "\n".join(wrong) + "\n(rewrite with pytest tests/test_golden.py --update-golden)"
