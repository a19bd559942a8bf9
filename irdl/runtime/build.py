"""From a graph to machine code, step by step; each step runs when its result is asked for."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import numpy as np

from irdl.codegen.cpu.llvm.call_shape import CallShape
from irdl.codegen.cpu.llvm.emit import ENTRY, emit_program
from irdl.codegen.cpu.llvm.machine import assembly, compile_object
from irdl.codegen.cpu.llvm.processor import host_description
from irdl.codegen.cpu.llvm.python_call import PythonCall
from irdl.codegen.cpu.llvm.status import looks
from irdl.codegen.lowering.lower import lower
from irdl.codegen.lowering.stored import failures_first, in_place_outputs
from irdl.errors import IrdlError
from irdl.ir.builder import CONSTANT
from irdl.ir.dtypes import is_complex, real_dtype
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.printer import print_graph
from irdl.ir.verify import verify
from irdl.lazy import cached_property
from irdl.loops.cost import most_cycles
from irdl.loops.language import Check, Program
from irdl.loops.rewrite import copy_program
from irdl.loops.target import Gpu, Target
from irdl.loops.verify import verify_program
from irdl.passes.manager import Context, Step, disabled_passes, run_passes
from irdl.passes.precompute import precompute
from irdl.runtime.backend import Backend
from irdl.tracing.raised import Errors

if TYPE_CHECKING:
    from irdl.codegen.cuda.model import Prediction

#: bytes of a line of the cache
ALIGNMENT = 64
#: cycles, as `cost` counts them, of a call that holds the interpreter's lock: some 5 us, below which two threads that let go of it
#: get less done than one
_SHORT = 15_000


@dataclass(frozen=True)
class Code:
    """Machine code and what running it needs to know.

    Attributes:
        image: the object file.
        arena_bytes: scratch memory of a call.
        threads: how many it was divided for.
        looks: whether it has loops that look whether to stop.
        in_place: output -> the input it is computed in.
        checks: what each index check says.
        constants: arrays that the code takes behind its outputs.
    """

    image: bytes
    arena_bytes: int
    threads: int
    looks: bool
    in_place: dict[int, int]
    checks: list[Check]
    constants: list[np.ndarray]


class Build:
    """One graph on its way down.

    Args:
        graph: what to compile.
        backend: whose passes run over the program.
        donations: output -> donated input of its type.
        stored: output -> the input that is stored into, whose new contents it is, if it may be computed there.
        errors: those that the graph's last outputs, which are hidden, are for.
        disable: optional passes to leave out.
        shape: the signature to make a native entry for, if any.
        static_arrays: arrays for the graph's last inputs, the same at every call.
        target: the machine; by default the backend's.
        precision: how contractions may round what they multiply; see `jit`.
    """

    def __init__(
        self,
        graph: Graph,
        backend: Backend,
        donations: Mapping[int, int] | None = None,
        disable: Collection[str] = (),
        shape: CallShape | None = None,
        static_arrays: Sequence[np.ndarray] = (),
        target: Target | Gpu | None = None,
        precision: str | None = None,
        stored: Mapping[int, int] | None = None,
        errors: Errors | None = None,
    ) -> None:
        self.graph = graph
        self.errors = errors
        self.backend = backend
        self.donations = dict(donations or {})
        self.stored = dict(stored or {})
        self.target = target or backend.target()
        self.precision = precision
        self._disabled = disabled_passes(disable, (*backend.graph_passes, *backend.program_passes))
        self.static_arrays = static_arrays
        #: what follows from those: the program's inputs behind those of a call
        self.prepared: list[np.ndarray] = []
        if static_arrays:
            preparation, rest = precompute(self.graphs[-1].code, len(static_arrays))
            self.graphs.append(Step("precompute", rest, 0.0))
            self.prepared = [_aligned(array) for array in evaluate(preparation, [real_view(array) for array in static_arrays])]
            shape = None if shape is None else replace(shape, prepared=self.prepared)
        self.shape = shape
        #: without the program's constants, and what is computed in place
        self._python_text = PythonCall(shape, 0, ENTRY).text() if shape is not None else ""

    def key(self) -> str:
        """What the machine code depends on, as a digest."""
        digest = hashlib.sha256()
        parts = [source_digest(), llvmlite.__version__, np.__version__, platform.platform(), host_description(), repr(self.target)]
        parts += [
            repr(sorted(self.donations.items())),
            repr(sorted(self.stored.items())),
            repr(sorted(self._disabled)),
            repr(self.precision),
            repr(self.hidden),
        ]
        parts += [print_graph(self.graph), str(len(self.static_arrays)), self._python_text]
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())
        # The text leaves large constants out, and shows all nans alike.
        for node in self.graph.all_nodes():
            if node.op is CONSTANT:
                digest.update(node.attributes.value.tobytes())
        return digest.hexdigest()

    @property
    def hidden(self) -> int:
        """How many of the graph's outputs, the last ones, are no results: what errors are found by."""
        return 0 if self.errors is None else self.errors.hidden

    @cached_property
    def graphs(self) -> list[Step[Graph]]:
        """The graph after each of its passes."""
        context = Context(self.target, len(self.static_arrays))
        return [Step("trace", self.graph, 0.0), *run_passes(self.backend.graph_passes, self.graph, context, self._disabled, verify)]

    @cached_property
    def _final(self) -> Graph:
        """What is lowered."""
        return failures_first(self.graphs[-1].code, bool(self.stored))

    def programs(self, copy: Callable[[Program], Program] | None = None) -> list[Step[Program]]:
        """The program after each of its passes, which change it: `copy` keeps each as it was."""
        start = time.perf_counter()
        program = lower(self._final, self.backend.schedule(self.target, self.precision), self.in_place, self.stored)
        first = Step("lower", program if copy is None else copy(program), time.perf_counter() - start)
        return [first, *run_passes(self.backend.program_passes, program, Context(self.target), self._disabled, verify_program, copy)]

    @property
    def stages(self) -> list[tuple[str, Any]]:
        """`(name, Graph or Program)` after each step."""
        return [*((step.name, step.code) for step in self.graphs), *((step.name, step.code) for step in self.programs(copy_program))]

    @cached_property
    def in_place(self) -> dict[int, int]:
        return in_place_outputs(self._final, self.donations, self.stored)

    @cached_property
    def program(self) -> Program:
        program = self.programs()[-1].code
        verify_program(program)
        return program

    @cached_property
    def llvm_ir(self) -> str:
        if isinstance(self.target, Gpu):
            raise IrdlError("the backend 'cuda' makes no LLVM IR: .cuda_source shows its code")
        text = emit_program(self.program, self.target)
        if self.shape is None:
            return text
        fixed = self.hidden + len(self.program.constants) + (self.program.threads > 1)
        return text + PythonCall(self._shape_of(self.in_place), fixed, ENTRY, self.is_short).text() + "\n"

    def _shape_of(self, in_place: Mapping[int, int]) -> CallShape:
        """The native entry takes what is stored into and computed in place as donated, too."""
        assert self.shape is not None
        return replace(self.shape, donations={**self.shape.donations, **{out: p for out, p in in_place.items() if out in self.stored}})

    def python_call(self, in_place: Mapping[int, int]) -> PythonCall | None:
        """The native entry for the objects that its table holds. `in_place`: output -> the input it is computed in."""
        if self.shape is None:
            return None
        call = PythonCall(self._shape_of(in_place), 0, ENTRY)
        call.text()
        return call

    @property
    def is_short(self) -> bool:
        """Whether a call holds the interpreter's lock. A thread that waits for it needs some 50 us to wake when it is let go: one that
        lets go of it again and again for a moment keeps it from all others, for seconds."""
        return self.program.threads == 1 and most_cycles(self.program.body) < _SHORT

    @property
    def asm(self) -> str:
        return assembly(self.llvm_ir)

    @cached_property
    def cuda_source(self) -> str:
        """CUDA C of the same graph: for the GPU that it runs on, else for an H100."""
        from irdl.codegen.cuda.emit import emit_cuda  # few programs ask for it

        return emit_cuda(self._for_cuda.program)

    @cached_property
    def cuda_prediction(self) -> Prediction:
        """How long that should take by a model: on the GPU that it runs on, else on an H200."""
        from irdl.codegen.cuda.model import predict

        build = self._for_cuda
        assert isinstance(build.target, Gpu)
        return predict(build.program, build.target)

    @cached_property
    def _for_cuda(self) -> Build:
        """This, or the same graph on its way to CUDA C."""
        from irdl.runtime.cuda import Cuda

        if isinstance(self.backend, Cuda):
            return self
        cuda = Cuda()
        there = {item.name for item in cuda.graph_passes} | {item.name for item in cuda.program_passes}
        return Build(self.graph, cuda, self.donations, set(self._disabled) & there, target=Gpu(), precision=self.precision)

    def forget(self) -> None:
        """Let go of what it took to make the code, which is made again where it is asked for: it is most of what a compiled program would
        keep in memory, thousands of objects that the collector would look at again and again."""
        if not self.static_arrays:  # their last step is no pass
            for name in ("graphs", "_final", "llvm_ir"):
                self.__dict__.pop(name, None)

    def code(self) -> Code:
        program = self.program
        constants = [np.ascontiguousarray(array) for _, array in program.constants]
        image = compile_object(self.llvm_ir)
        return Code(image, program.arena_bytes, program.threads, bool(looks(program.body)), self.in_place, program.checks, constants)


def real_view(array: np.ndarray) -> np.ndarray:
    """What code sees of an array in order: the parts of complex numbers along a last axis, in the same memory (see `complex_parts`)."""
    if not is_complex(array.dtype):
        return array
    return np.ascontiguousarray(array).reshape(-1).view(real_dtype(array.dtype)).reshape(*array.shape, 2)


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts with a line of the cache: vectors of one that does not would lie on two."""
    memory = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@lru_cache(maxsize=1)
def source_digest() -> str:
    """irdl's own source: code made by another version of it is not this one's."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
