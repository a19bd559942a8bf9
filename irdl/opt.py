"""`python -m irdl opt`: the text of a graph or a program, taken through passes by name."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from irdl.codegen.cpu.llvm.processor import host_target
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.codegen.cpu.schedule import CpuSchedule
from irdl.codegen.lowering.lower import lower
from irdl.dumps import parse
from irdl.errors import IrdlError
from irdl.ir.graph import Graph
from irdl.ir.verify import verify
from irdl.loops.language import Program
from irdl.loops.verify import verify_program
from irdl.passes.manager import Context, Pass, run_passes

_LOWER: Pass[Any] = Pass("lower", lambda graph, target: lower(graph, CpuSchedule(target)), required=True, needs=("target",))
#: Which passes a kind of code has, by name.
_PASSES: dict[type, dict[str, Pass[Any]]] = {
    Graph: {item.name: item for item in (*CPU_GRAPH_PASSES, _LOWER)},
    Program: {item.name: item for item in CPU_PROGRAM_PASSES},
}


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
