"""Writes docs/ir.md and the outputs shown in docs/tutorial.md from the code; `--check` fails if they are not current."""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import re
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import irdl
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.codegen.lowering.lower import lower
from irdl.ir.op import registered_ops
from irdl.loops import language
from irdl.passes.manager import Pass

HERE = Path(__file__).parent
FAMILIES = {
    "irdl.ops.elementwise": "Elementwise",
    "irdl.ops.contract": "Contraction",
    "irdl.ops.reduce": "Reduction",
    "irdl.ops.shape": "Shape",
    "irdl.ops.joining": "Joining",
    "irdl.ops.sort": "Sorting",
    "irdl.ops.index": "Index",
    "irdl.ops.linear": "Linear algebra",
    "irdl.ops.spectral": "Eigenvalues and singular values",
    "irdl.ops.windows": "Windows",
    "irdl.ops.dynamic": "Slices at places known at run time",
    "irdl.ops.control": "Control",
    "irdl.ops.checks": "Errors",
    "irdl.ops.fusion": "Made by passes",
    "irdl.ir.builder": "Constants",
    "irdl.transforms.custom": "Gradients",
}


def ir_page() -> str:
    lines = [
        "# The two levels of irdl's IR",
        "",
        "Made from the code by `python docs/generate.py`.",
        "",
        "## Graph: values, ops, regions",
        "",
        (inspect.getdoc(irdl.Graph) or "") + " A value has a dtype and a static shape. Operands of elementwise ops broadcast as in NumPy",
        "and share one dtype; `cast` is an op. Regions (loop bodies, branches, fused groups) are closed graphs: what they read",
        "comes in as an operand.",
        "",
    ]
    by_family: dict[str, list[str]] = {title: [] for title in FAMILIES.values()}
    for op in registered_ops():
        module = type(op).__module__
        attributes = ", ".join(f"{f.name}: {f.type}" for f in fields(op.Attributes))
        meaning = (inspect.getdoc(type(op)) or "").split("\n\n")[0].replace("\n", " ")
        if module == "irdl.ops.elementwise" and type(op).__name__ == "Elementwise":
            meaning = f"{op.arity} operand{'s' * (op.arity > 1)} of kind {', '.join(op.kinds)}"
        if module == "irdl.ops.reduce" and type(op).__name__ in ("Sum", "Prod", "Extremum", "Logical"):
            meaning = "NumPy's reduction of that name over `axes`; the dtype stays"
        if module == "irdl.ops.reduce" and type(op).__name__.startswith("Cumulative"):
            meaning = "running combination along `axis`, from the end with `reverse`"
        by_family[FAMILIES[module]].append(f"| `{op.name}` | {attributes or ''} | {meaning} |")
    for title, rows in by_family.items():
        lines += [f"### {title}", "", "| op | attributes | meaning |", "|---|---|---|", *rows, ""]
    lines += ["## Program: the loop language", "", "```", inspect.getdoc(language) or "", "```", ""]
    lines += ["## The passes, in order", "", "| pass | may be left out | what it does |", "|---|---|---|"]
    passes = (*CPU_GRAPH_PASSES, Pass("lower", lower, required=True), *CPU_PROGRAM_PASSES)
    homes = Counter(run.__module__ for run in {item.run for item in passes})
    for item in passes:
        # What the module says, unless it has several.
        alone = homes[item.run.__module__] == 1
        meaning = (inspect.getdoc(sys.modules[item.run.__module__] if alone else item.run) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"| `{item.name}` | {'no' if item.required else 'yes'} | {meaning} |")
    return "\n".join(lines) + "\n"


def tutorial_page(text: str) -> str:
    """Run the tutorial's python blocks in one namespace and put what they print into the text blocks that follow."""
    namespace: dict[str, object] = {"__name__": "tutorial"}
    code = re.findall(r"```python\n(.*?)```", text, re.S)
    source = HERE / "tutorial.py"
    offset = 0

    def run(match: re.Match[str]) -> str:
        nonlocal offset
        block = match.group(1)
        printed = io.StringIO()
        # Line numbers in the dump are those of all blocks put together.
        padded = "\n" * offset + block
        # As of a cell of a notebook: functions that branch are traced from their source.
        linecache.cache[str(source)] = (len(padded), None, padded.splitlines(True), str(source))
        offset += block.count("\n")
        with contextlib.redirect_stdout(printed):
            exec(compile(padded, str(source), "exec"), namespace)
        output = "\n".join(line.rstrip() for line in printed.getvalue().rstrip().splitlines())
        return f"```python\n{block}```\n\n```text\n{output}\n```"

    assert code
    return re.sub(r"```python\n(.*?)```\n\n```text\n.*?\n?```", run, text, flags=re.S)


def main() -> int:
    pages = {"ir.md": ir_page(), "tutorial.md": tutorial_page((HERE / "tutorial.md").read_text())}
    stale = [name for name, text in pages.items() if not (HERE / name).exists() or (HERE / name).read_text() != text]
    if "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run python docs/generate.py" if stale else "docs are current")
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(pages[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
