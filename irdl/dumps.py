"""Graphs and programs as text: read back, and taken through passes by name (`python -m irdl opt`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from irdl.codegen.llvm.machine import host_target
from irdl.codegen.lower import lower
from irdl.codegen.pipeline import CPU_PASSES
from irdl.errors import IrdlError
from irdl.ir.graph import Graph
from irdl.ir.parser import parse as parse_graph
from irdl.ir.verify import verify
from irdl.loops.language import Program
from irdl.loops.parse import parse_program
from irdl.loops.verify import verify_program
from irdl.passes.manager import Context, Pass, run_passes
from irdl.passes.pipeline import GRAPH_PASSES

_LOWER: Pass[Any] = Pass("lower", lower, required=True, needs=("target",))
#: Which passes a kind of code has, by name.
_PASSES: dict[type, dict[str, Pass[Any]]] = {
    Graph: {item.name: item for item in (*GRAPH_PASSES, _LOWER)},
    Program: {item.name: item for item in CPU_PASSES},
}


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


def _verify(code: Graph | Program) -> None:
    if isinstance(code, Graph):
        verify(code)
    else:
        verify_program(code)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    graph, program = (", ".join(dict.fromkeys(passes)) for passes in _PASSES.values())
    parser.add_argument("file", help="the text of a graph or of a program; - reads it from the standard input")
    parser.add_argument("--passes", default="", help=f"names, comma-separated: of a graph's ({graph}) and of a program's ({program})")
    parser.add_argument("--print-after-each", action="store_true", help="print what every pass gives, and not the last alone")
    parser.add_argument("--time", action="store_true", help="say on the standard error how long each pass takes")
    parser.add_argument("--threads", type=int, default=1, help="how many threads a program is divided among")


def run(options: argparse.Namespace) -> int:
    """Read, run the passes, print; the exit status."""
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
        code = parse(text)
        context = Context(replace(host_target(), threads=options.threads))
        for name in (name for name in options.passes.split(",") if name):
            known = _PASSES[type(code)]
            if name not in known:
                raise IrdlError(f"there is no pass {name!r} of a {type(code).__name__.lower()}: it has {', '.join(known)}")
            for step in run_passes([known[name]], code, context, (), _verify):
                code = step.code
                _verify(code)
                if options.time:
                    print(f"{name:<14} {step.seconds * 1e3:8.2f} ms", file=sys.stderr)
                if options.print_after_each:
                    print(f"# after {name}\n{code}")
    except (IrdlError, OSError) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    if not options.print_after_each:
        print(code, end="")
    return 0
