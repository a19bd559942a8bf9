"""The interpreter of the loop language as a backend: slow, and every access to memory is checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from irdl.codegen.cpu.llvm.processor import host_target
from irdl.codegen.cpu.pipeline import CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES
from irdl.codegen.cpu.schedule import CpuSchedule
from irdl.ir.op import registered_ops
from irdl.loops.interpret import Machine
from irdl.loops.target import Target
from irdl.runtime.backend import Backend, Loaded
from irdl.runtime.build import Build
from irdl.tracing.raised import failure


class Interpret(Backend):
    """Runs what one thread of the CPU would run, statement by statement: to find out whether a wrong result comes from the program
    or from its machine code."""

    name = "interpret"
    graph_passes, program_passes = CPU_GRAPH_PASSES, CPU_PROGRAM_PASSES

    def operations(self) -> Collection[str]:
        """What NumPy has: the ops' own meanings."""
        return [op.name for op in registered_ops()]

    def target(self) -> Target:
        return host_target()

    def schedule(self, target: Target, precision: str | None = None) -> CpuSchedule:
        return CpuSchedule(target)

    def load(self, build: Build) -> Loaded:
        return _Interpreted(build)


class _Interpreted(Loaded):
    def __init__(self, build: Build) -> None:
        self.in_place = build.in_place
        self._program = build.program
        self._errors, self._hidden = build.errors, build.hidden
        self.arena_bytes = self._program.arena_bytes
        self.constant_bytes = sum(array.nbytes for _, array in self._program.constants)

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        machine = Machine(self._program)
        results = machine.start(inputs)
        for output, result in zip(outputs, results, strict=True):
            output.reshape(-1)[...] = result
        if machine.failure is not None:
            value, code = machine.failure
            raise failure(self._errors, outputs[len(outputs) - self._hidden :], value, self._program.checks[code])
