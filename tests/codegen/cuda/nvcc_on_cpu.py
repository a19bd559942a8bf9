"""Stands in for nvcc: makes a host library of CUDA C, for the driver that runs kernels on the CPU.

usage: nvcc_on_cpu.py [nvcc's flags] SOURCE -o IMAGE
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
#: without -O: the kernels of tests run for a shorter time than it takes to optimise them
FLAGS = ("-std=c++17", "-fno-strict-aliasing", "-fno-extern-tls-init", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-pthread")


def exports(source: str) -> str:
    """What makes each kernel of a source one that can be launched."""
    names = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\([\d, ]+\) )?(\w+)\(', source)
    return "".join(f"CUDA_ON_CPU_EXPORT({name})\n" for name in names)


def build(source: str, library: Path, flags: Sequence[str] = ()) -> None:
    """Compile CUDA C for the CPU."""
    text = library.with_suffix(".cpp")
    text.write_text(f'#include "cuda_on_cpu.h"\n{source}{exports(source)}')
    subprocess.run(["g++", *FLAGS, *flags, f"-I{HERE}", str(text), "-o", str(library)], check=True)


if __name__ == "__main__":
    if "--version" in sys.argv:
        print("nvcc on the CPU")
    else:
        source, _, image = sys.argv[-3:]
        library = Path(image).with_suffix(".so")
        build(Path(source).read_text(), library)
        library.rename(image)
