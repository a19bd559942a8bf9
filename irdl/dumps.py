"""Graphs and programs read back from their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.ir.parser import parse as parse_graph
from irdl.loops.parse import parse_program


def parse(text: str, constants: Sequence[np.ndarray] = ()) -> Any:
    """The `Graph` or `Program` that a dump describes.

    Args:
        text: what `print(graph)` or `print(program)` wrote; comments and spacing do not matter.
        constants: the arrays named `@0`, `@1`, ... in the text (`irdl.ir.printer.sidecar`, `irdl.loops.text.large_constants`).

    Raises:
        ParseError: the text is not a dump; the message names the line.
    """
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return parse_program(text, constants) if first.startswith("program ") else parse_graph(text, constants)
