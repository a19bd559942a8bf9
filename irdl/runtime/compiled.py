"""`Compiled`: one function compiled for one signature."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.graph import Graph
from irdl.loops.language import Program
from irdl.runtime.call import MISS, Call, Options, Roles, explain, take_apart
from irdl.runtime.device_array import DeviceArray, stand_in
from irdl.runtime.entry import is_busy
from irdl.runtime.executable import Executable
from irdl.runtime.expected import call_shape, donated_inputs
from irdl.runtime.overlaps import check_donations, check_stores
from irdl.tracing import tree
from irdl.tracing.box import ARRAY, PYTHON, PYTHON_NUMBERS, as_kind
from irdl.tracing.capture.decisions import family_of
from irdl.tracing.capture.recipes import Script
from irdl.tracing.function import TracedFunction, trace_function

if TYPE_CHECKING:
    from irdl.codegen.cuda.model import Prediction

_NUMBERS = (*PYTHON_NUMBERS, np.generic)
#: Native entries of one signature, each with scratch memory of its own.
_MOST_ENTRIES = 4


@dataclass(frozen=True)
class Memory:
    """Bytes that a call needs besides its arguments and results."""

    arena: int
    constants: int


class Compiled:
    """A function compiled ahead of time for one signature. Call it with arguments of that signature.

    Attributes:
        graph: what was traced.
        stages: `(name, Graph or Program)` after each step.
    """

    def __init__(self, traced: TracedFunction, call: Call, options: Options, roles: Roles, name: str) -> None:
        self._roles, self._backend = roles, options.backend
        self._signature = call.signature()
        #: makes the result from the call and the arrays, and leaves behind what it has to
        script = Script()
        self._leave = None if traced.result is None else script.function(traced.result, traced.effects)
        kept = [Script().function(part, ())(*call.arguments, ()) for part in script.parts]
        donated = donated_inputs(traced, call, kept)
        # The recipes are written out: they would keep the whole record alive.
        self._traced = replace(traced, effects=[], result=None)
        self._positional, self._names = len(call.arguments[0]), call.names
        shape = call_shape(traced, call, donated)
        self._results = len(traced.kinds)
        self._executable = Executable(
            traced.graph,
            donated,
            options.disable,
            shape,
            traced.static_arrays,
            options.backend,
            options.precision,
            dict(enumerate(traced.stored, self._results)),
            traced.errors,
        )
        self.name = name
        #: builtin functions for calls of this signature (they give `MISS` for others); none where only the way through Python
        #: will do. Each serves one thread at a time: the others are made when it is needed.
        self.entries: list[Any] = []
        self.free_entry()
        #: what it takes as changing from call to call
        self.changing: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        graph, memory = self.graph, self.memory
        inputs, outputs = (", ".join(map(str, types)) for types in (graph.input_types, graph.output_types))
        return f"<compiled {self.name}({inputs}) -> ({outputs}), an arena of {memory.arena} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.name} is compiled for this process and can't be pickled: pickle the jitted function, or compile it there")

    @property
    def graph(self) -> Graph:
        return self._traced.graph

    @property
    def stages(self) -> list[tuple[str, Any]]:
        return self._executable.stages

    @property
    def program(self) -> Program:
        return self._executable.program

    @property
    def llvm_ir(self) -> str:
        return self._executable.llvm_ir

    @property
    def cuda_source(self) -> str:
        """The graph as CUDA C; see `codegen/cuda`."""
        return self._executable.cuda_source

    @property
    def cuda_prediction(self) -> Prediction:
        """How long that should take on a GPU by a model (`codegen/cuda/model.py`), from launch to launch: on the GPU that it was
        compiled for, else on an H200. `.seconds`, `.limit` and `.launches` say it, and so does its text."""
        return self._executable.cuda_prediction

    @property
    def asm(self) -> str:
        return self._executable.asm

    @property
    def memory(self) -> Memory:
        return Memory(self._executable.arena_bytes, self._executable.constant_bytes)

    def __call__(self, /, *arguments: Any, **options: Any) -> Any:
        """Run.

        Raises:
            TraceError: the arguments are not of the signature compiled for.
            IndexError: an index was out of range.
            DonationError: a donated argument cannot be written or overlaps another.
        """
        for entry in self.entries:
            result = entry(*arguments, **options)
            if result is not MISS:
                return result
        call = take_apart(arguments, options, self._roles, backend=self._backend)
        if call.signature() != self._signature:
            raise TraceError(f"{self.name} was compiled for other arguments: {explain(self._signature, call.signature())}")
        captured = self.captured()
        if captured is None:
            raise TraceError(f"{self.name} reads captured values that have changed since it was compiled: compile it again")
        self.free_entry()  # where all are in use, the next call finds one more
        return self.run(call, captured)

    def free_entry(self) -> Any:
        """A native entry that no other thread is using now, made if there is none; None where there can be none."""
        for entry in self.entries:
            if not is_busy(entry):
                return entry
        if len(self.entries) == _MOST_ENTRIES:
            return None
        entry = self._executable.entry(self._prepare, self._finish)
        if entry is not None:
            self.entries.append(entry)
        return entry

    def captured(self) -> tuple[Any, ...] | None:
        """The captured arrays as they are now; None where what the trace took for granted does not hold any more."""
        for read, item in self._traced.guards:
            try:
                now = read()
                if now is not item and not _equal_plain(now, item):
                    return None
            except (LookupError, AttributeError, ValueError, TypeError):
                return None
        # Each array is read once: what is verified is what is used.
        found = []
        for captured in self._traced.captured:
            try:
                array = captured.read()
            except (LookupError, AttributeError, ValueError, TypeError):
                return None
            type_ = captured.value.type
            if captured.kind != ARRAY:  # a number
                if tree.leaf_kind(array) != captured.kind or np.asarray(array).dtype != type_.dtype:
                    return None
                found.append(np.asarray(array))
                continue
            if type(array) is not np.ndarray or array.dtype.newbyteorder("=") != type_.dtype or array.shape != type_.shape:
                return None
            found.append(array)
        return tuple(found)

    def changed(self) -> set[str]:
        """The captured numbers and lists that are not as they were when it was compiled, and those that were known to change."""
        found = set(self.changing)
        for read, item, name in self._traced.taken:
            try:
                now = read()
            except (LookupError, AttributeError, ValueError, TypeError):
                continue
            both_numbers = isinstance(now, _NUMBERS) and isinstance(item, _NUMBERS)
            if (both_numbers or type(now) is type(item)) and repr(now) != repr(item):
                found.add(name)
        return found

    def _prepare(self) -> tuple[Any, ...] | None:
        """The captured arrays for the native entry; None where the trace does not hold or an array needs work first."""
        captured = self.captured()
        return captured if captured is not None and all(_is_ready(array) for array in captured) else None

    def _finish(self, *items: Any) -> Any:
        """The result from its leaves; where it is a recipe, from the call's arguments and the arrays that the recipes need."""
        if self._leave is not None:
            first, count = self._positional, self._positional + len(self._names)
            return self._leave(items[:first], dict(zip(self._names, items[first:count], strict=True)), items[count:])
        kinds, leaves = self._traced.kinds, items
        return tree.unflatten(self._traced.structure, [leaf.item() if k == PYTHON else leaf for leaf, k in zip(leaves, kinds, strict=True)])

    def run(self, call: Call, captured: tuple[Any, ...]) -> Any:
        """Run a call that is known to fit, on captured arrays that were verified."""
        traced = self._traced
        if any(isinstance(leaf, DeviceArray) for leaf in call.leaves):
            return self._run_on_device(call, captured)
        inputs = [*(np.asarray(leaf) for leaf in call.leaves), *captured]
        if call.donated:
            check_donations(inputs, self._executable.donations, self._input_names())
        if traced.stored:
            again = {place for place, _ in tree.aliases(call.leaves)}
            once = [array if place not in again else array[..., :0] for place, array in enumerate(inputs)]
            check_stores(once, traced.stored, self._input_names())
        results = self._executable(inputs)
        for place, result in zip(traced.stored, results[self._results :], strict=False):
            if result is not inputs[place]:
                np.copyto(inputs[place], result)
        if self._leave is not None:
            return self._leave(*call.arguments, results)
        leaves = [as_kind(result, kind) for result, kind in zip(results, traced.kinds, strict=False)]
        return tree.unflatten(traced.structure, leaves)

    def _input_names(self) -> list[str]:
        return [value.name or f"input {place}" for place, value in enumerate(self.graph.inputs)]

    def _run_on_device(self, call: Call, captured: tuple[Any, ...]) -> Any:
        """As `run`, with results that stay where arguments are."""
        traced = self._traced
        for place in call.foreign.intersection(traced.stored):
            name = self.graph.inputs[place].name
            raise TraceError(f"{self.name} stores into `{name}`, which is another library's: pass irdl.device_put of it, and use that")
        inputs = [*(leaf if isinstance(leaf, DeviceArray) else np.asarray(leaf) for leaf in call.leaves), *captured]
        results = self._executable.call_on_device(inputs)
        for place, result in zip(traced.stored, results[self._results :], strict=False):
            target = inputs[place]
            if isinstance(target, DeviceArray):
                target.replace(result)
            else:
                np.copyto(target, np.asarray(result))
        if self._leave is not None:
            return self._leave(*call.arguments, results)
        leaves = [result.item() if kind == PYTHON else result for result, kind in zip(results, traced.kinds, strict=False)]
        return tree.unflatten(traced.structure, leaves)


def _is_ready(leaf: Any) -> bool:
    """The code can work on the leaf's numbers where they lie."""
    flags = leaf.flags if type(leaf) is np.ndarray else None
    return flags is not None and flags.c_contiguous and flags.aligned and leaf.dtype.isnative


def _equal_plain(a: Any, b: Any) -> bool:
    """The same number, text or tuple of such, signed zeros told apart."""
    if type(a) is not type(b) or not isinstance(a, (bool, int, float, complex, str, bytes, tuple, np.generic)):
        return False
    return a == b and repr(a) == repr(b)


def compile_call(
    function: Callable[..., Any], call: Call, options: Options, roles: Roles, name: str, changing: Collection[str] = ()
) -> Compiled:
    """Trace and compile one call. `changing`: captured numbers and lists that earlier calls have found changed; where the code asks
    for what they hold now, it is compiled for that all the same."""
    if options.backend != "cuda" and any(isinstance(leaf, DeviceArray) for leaf in call.leaves):
        raise TraceError(f"an argument is on a GPU, and {name} is compiled for the backend {options.backend!r}: pass np.asarray of it")
    leaves = [stand_in(leaf.shape, leaf.dtype) if isinstance(leaf, DeviceArray) else leaf for leaf in call.leaves]
    arguments, keywords = tree.unflatten(call.structure, leaves)
    with _collector_paused:
        # Where one number of a list changes, those beside it will too: each alone would be one more version.
        families = {*changing, *map(family_of, changing)}
        for taken in dict.fromkeys(map(frozenset[str], (families, changing, ()))):
            try:
                traced = trace_function(function, arguments, keywords, name, dict(call.static), changing=taken)
                break
            except TraceError:
                if not taken:
                    raise
        compiled = Compiled(traced, call, options, roles, name)
        compiled.changing = taken
        return compiled


class _CollectorPaused:
    """While a program is traced and compiled, everything made is in use: looking for garbage among it only takes time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_enabled = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Whoever was compiling is not in this process."""
        self._lock = threading.Lock()
        if self._inside and self._was_enabled:
            gc.enable()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._was_enabled:
                gc.enable()


_collector_paused = _CollectorPaused()
