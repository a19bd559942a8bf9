"""What ptxas says of programs' kernels."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from irdl.codegen.cuda.emit import launches
from irdl.loops.language import Program
from irdl.runtime.cubin import flags_for
from tests.codegen.on_cpu import collect


def stacks_and_spills(programs: Sequence[Program], capability: int, folder: Path) -> list[tuple[str, int, int]]:
    """Of each function of programs that nvcc compiles: its name, and the bytes of its stack frame and of what it spills."""
    source = folder / "kernels.cu"
    source.write_text(collect(programs))
    command = [
        "nvcc",
        "-cubin",
        *flags_for(capability),
        "-Werror",
        "all-warnings",
        "-Xptxas",
        "-v",
        str(source),
        "-o",
        str(folder / "kernels.cubin"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores", done.stderr, re.S)
    assert len(found) == sum(len(launches(program)) for program in programs)
    return [(name, int(frame), int(spilled)) for name, frame, spilled in found]
