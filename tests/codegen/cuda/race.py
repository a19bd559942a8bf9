"""Runs the kernels of a recurrent loop on the CPU under the thread sanitizer, where blocks are threads.

usage: python -m tests.codegen.cuda.race FUNCTION DROPPED FOLDER

FUNCTION: of `tests.codegen.test_cuda`. DROPPED: the number of the barrier between blocks that is left out, or -1.
The process ends with status 66 where the sanitizer has found a race.
"""

from __future__ import annotations

import sys
from pathlib import Path

import irdl
from irdl.codegen.cuda.emit import launches
from irdl.loops.language import Barrier
from irdl.loops.walk import nested, walk
from tests.codegen import test_cuda
from tests.codegen.on_cpu import OnCpu, gpu_program


def main(name: str, dropped: str, folder: str) -> None:
    arguments = test_cuda.normal(3, 4, 3), *test_cuda.weights(3, 70, 4)
    program = gpu_program(irdl.trace(getattr(test_cuda, name))(*arguments))
    found = [s for launch in launches(program) for s in walk(launch.body) if isinstance(s, Barrier) and s.scope in ("all", "blocks")]
    print(f"{len(found)} barriers between blocks", flush=True)
    if int(dropped) >= 0:
        for launch in launches(program):
            for statement in [launch, *walk(launch.body)]:
                for part in nested(statement):
                    part[:] = [s for s in part if s is not found[int(dropped)]]
    OnCpu([program], Path(folder), ("-fsanitize=thread", "-g"))(0, arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
