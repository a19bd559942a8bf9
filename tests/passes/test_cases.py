"""What each pass makes of small graphs and programs, as text: `cases/PASS.txt` holds, for each case, its name, the text before and the
text after. `--update-golden` rewrites what comes after, and makes it where there is none yet; read the difference then."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import pytest

import irdl
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.ir.graph import Graph
from irdl.ir.printer import print_graph
from irdl.ir.verify import verify
from irdl.loops.target import Target, Worth
from irdl.loops.verify import verify_program
from irdl.passes.manager import Context, Pass

FOLDER = Path(__file__).parent / "cases"
#: a machine that no test runs on decides nothing
CONTEXT = Context(Target(vector_bytes=64, registers=32, avx512=True, threads=2, worth=Worth(0, 0, 0.6)))
PASSES: dict[str, Pass[Any]] = {item.name: item for item in (*CPU_GRAPH_PASSES, *CPU_PROGRAM_PASSES)}
_CASE = re.compile(r"^### ([^\n]*)\n(.*?)\n--->\n(.*?)(?=^###|\Z)", re.S | re.M)


def cases() -> list[tuple[str, str, str, str]]:
    """(pass, name of the case, before, after)"""
    found = [(path.stem, *case.groups()) for path in sorted(FOLDER.glob("*.txt")) for case in _CASE.finditer(path.read_text())]
    return [(name, title, before.strip("\n") + "\n", after.strip("\n") + "\n") for name, title, before, after in found]


def text_of(code: Any) -> str:
    return print_graph(code, locations=False) if isinstance(code, Graph) else str(code)


def after(name: str, before: str) -> str:
    code = PASSES[name](irdl.parse(before), CONTEXT)
    (verify if isinstance(code, Graph) else verify_program)(code)
    return text_of(code)


def test_every_pass_has_a_case() -> None:
    assert {name for name, *_ in cases()} == set(PASSES)


@pytest.mark.parametrize(("name", "case", "before", "expected"), cases(), ids=lambda part: part if "\n" not in part else "")
def test_case(name: str, case: str, before: str, expected: str, request: pytest.FixtureRequest) -> None:
    assert text_of(irdl.parse(before)) == before, "the text before is not as irdl prints it"
    found = after(name, before)
    assert found != before, "the pass does nothing to it"
    if request.config.getoption("--update-golden"):
        path = FOLDER / f"{name}.txt"
        path.write_text(path.read_text().replace(f"{before}\n--->\n\n{expected}", f"{before}\n--->\n\n{found}"))
        return
    difference = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "now", lineterm="", n=2))
    assert found == expected, difference
