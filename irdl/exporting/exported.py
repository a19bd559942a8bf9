"""`export`: a function compiled ahead of time for C, for this machine or another."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from irdl.codegen.cpu.llvm.emit import emit_program
from irdl.codegen.cpu.llvm.machine import assembly, compile_object
from irdl.codegen.cpu.llvm.processor import Processor, find_processor
from irdl.exporting.c_entry import c_entry
from irdl.exporting.c_test import c_test
from irdl.exporting.header import c_header
from irdl.exporting.interface import Contract, interface_of
from irdl.exporting.names import FUNCTIONS, identifier
from irdl.exporting.shared import State
from irdl.exporting.state import Change, changes_of, check_sharing, numbers_in, paired, renewed_arguments, results_of
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.lazy import cached_property
from irdl.runtime.backends import find_backend
from irdl.runtime.build import Build
from irdl.runtime.call import Call, Roles, roles_of, take_apart
from irdl.runtime.executable import match_donations
from irdl.runtime.jit import Jit, options_of
from irdl.tracing import tree
from irdl.tracing.function import TracedFunction, trace_function


class Exported:
    """A function as an object file with a C header.

    Attributes:
        name: of the C function and the files.
        target: the machine that the code is for, in LLVM's names.
        header: the text of the C header, which says how the function is called.
        memory_bytes: scratch memory that a call needs.
        state_bytes: of what is kept from call to call.
    """

    def __init__(self, contract: Contract, disable: Sequence[str], processor: Processor, source: str, shared: State | None) -> None:
        target = replace(processor.target, threads=1)
        backend = find_backend("cpu")
        build = Build(contract.graph, backend, contract.in_place, disable, static_arrays=contract.constants, target=target)
        interface = interface_of(contract, build)
        self.name, self.target = interface.name, str(processor)
        self.memory_bytes, self.state_bytes = interface.memory_bytes, interface.state_bytes
        self.header = c_header(interface, source, self.target)
        text = emit_program(build.program, target, stops=False, linkage="internal ")
        # No function within has its name, which may be that of a kernel, as `sum_3`.
        self.llvm_ir = re.sub(rf"@{self.name}\b(?![.$])", f"@{self.name}.kernel", text) + c_entry(interface)
        self._contract, self._interface, self._processor = contract, interface, processor
        contents = [array for _, array in contract.kept]
        self._state = shared or State(interface.name, contract.function, contract.captured, interface.members, contents)

    def __repr__(self) -> str:
        return f"<exported {self.name} for {self.target}, {self.memory_bytes} bytes of memory, {self.state_bytes} of state>"

    @cached_property
    def object_file(self) -> bytes:
        """What a linker takes."""
        return compile_object(self.llvm_ir, self._processor)

    @property
    def asm(self) -> str:
        return assembly(self.llvm_ir, self._processor)

    @property
    def test_source(self) -> str:
        """A C program that calls the function with the arguments that it was exported with, and compares what it gives with NumPy's
        results: it ends with 0 if they agree."""
        inputs = [*self._contract.arguments, *(array for _, array in self._contract.kept)]
        # NumPy's own way through the graph stores into what it is given.
        given = [np.array(array) for array in (*inputs, *self._contract.constants)]
        return c_test(self._interface, inputs, evaluate(self._contract.graph, given))

    def save(self, folder: str | Path = ".", *, test: bool = False) -> Path:
        """Write `name.h` and `name.o` into a folder, which is made if it is not there; with `test`, `name_test.c` too.

        Returns:
            the path of the object file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.o"
        path.write_bytes(self.object_file)
        (folder / f"{self.name}.h").write_text(self.header, "utf-8")
        if test:
            (folder / f"{self.name}_test.c").write_text(self.test_source, "utf-8")
        return path


def export(
    f: Callable[..., Any],
    *,
    name: str | None = None,
    target: str | None = None,
    cpu: str | None = None,
    features: str = "",
    state: Exported | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
    disable_passes: Sequence[str] = (),
) -> Callable[..., Exported]:
    """`export(f)(*args, **kwargs)` compiles a call ahead of time for C: an object file that needs no Python, allocates nothing, takes no
    lock and works on one thread, and a header that says how it is called.

    Arrays and numbers among the arguments are the C function's parameters, results are written where it is told. Captured arrays
    (globals, closures, attributes) and those of static arguments become constants in the object file, with the numbers that they hold
    now; what follows from them alone is computed now. What the function keeps from call to call, attributes that it binds or stores
    into, is a struct that the caller has, beside one of its first contents.

    Args:
        f: NumPy code.
        name: of the C function and the files; by default the function's.
        target: the machine as LLVM and clang name it: `aarch64-linux-gnu`, `thumbv7em-none-eabihf`, `wasm32-unknown-unknown`; by default
            this one.
        cpu: its processor: `cortex-a72`, `x86-64-v3`; by default this very one where no target and features are named, else the least.
        features: what it has besides, as `+neon`.
        state: what the same function was exported as for other shapes, whose state this one works on: its header and object file are
            needed too.
        static_argnums, static_argnames: arguments that are constants, beside those that `jit` was told of; see there.
        donate_argnums, donate_argnames: arguments that hold results of their types afterwards, beside those that `jit` was told of.
        disable_passes: optional passes to leave out.

    Raises:
        TypeError: `state` is nothing that was exported.
        ValueError: the name is none for C, or is the one of `state`; `state` is another function's; or LLVM knows no such target,
            processor or feature.

    Raises (when called):
        TraceError: the code cannot be traced, or does what a C function cannot do.
    """
    options = options_of("cpu", static_argnums, static_argnames, donate_argnums, donate_argnames, disable_passes, None)
    function = f._function if isinstance(f, Jit) else f
    own = getattr(function, "__name__", type(function).__name__)
    if name is None:
        name = identifier(own, FUNCTIONS)
    elif not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or identifier(name, FUNCTIONS) != name:
        raise ValueError(f"{name!r} can't be the name of a C function: it is no name there, ends with _, or is C's own")
    processor = find_processor(target, cpu, features)
    shared = None
    if state is not None:
        if not isinstance(state, Exported):
            raise TypeError(f"state= is what irdl.export(...)(...) gives, not {type(state).__name__}")
        shared = state._state
        shared.check(function, name)

    def export_call(*arguments: Any, **keywords: Any) -> Exported:
        roles = roles_of(function, options)
        if isinstance(f, Jit):
            roles = Roles(roles.static | f._roles.static, roles.donated | f._roles.donated)
        call = take_apart(arguments, keywords, roles, function)
        # Each parameter is an array of its own, even where one was passed twice.
        call.leaves = [leaf.copy(order="K") if type(leaf) is np.ndarray else leaf for leaf in call.leaves]
        traced, changes = _traced(function, call, own, shared)
        return Exported(_contract(function, traced, changes, call, name, shared), options.disable, processor, _source(function), shared)

    return export_call


def _traced(function: Callable[..., Any], call: Call, name: str, shared: State | None) -> tuple[TracedFunction, list[Change]]:
    """The call traced so that what it keeps is captured: numbers too, which a trace takes as they are unless it is told."""
    arguments, keywords = tree.unflatten(call.structure, call.leaves)
    changing: set[str] = set() if shared is None else {item.name for item in shared.kept}
    while True:
        # What is decided by a number that is kept would stay decided.
        traced = trace_function(function, arguments, keywords, name, dict(call.static), share=False, changing=changing, decides=False)
        changes = changes_of(traced, call)
        more = numbers_in(changes) | (set() if shared is None else shared.numbers_in(traced))
        more -= changing
        if not more:
            return traced, changes
        changing |= more


def _contract(
    function: Callable[..., Any], traced: TracedFunction, changes: list[Change], call: Call, name: str, shared: State | None
) -> Contract:
    """What of the inputs is an argument, kept or constant, in this order, and which outputs renew which."""
    count = len(call.leaves)
    pairs = paired(changes, traced)
    check_sharing(changes, traced, count)
    stored = dict(zip(traced.stored, range(len(traced.kinds), len(traced.graph.outputs)), strict=False))
    hidden = traced.graph.outputs[len(traced.kinds) + len(traced.stored) :]
    numbers = range(len(traced.captured))
    kept = [number for number in numbers if number in pairs or count + number in stored]
    places = {} if shared is None else shared.found_in(traced, changes_of(traced, call, unread=True), kept)
    kept = kept if shared is None else list(places)
    fixed = [number for number in numbers if number not in kept]
    values = traced.graph.inputs
    order = [*values[:count], *(values[count + number] for number in (*kept, *fixed)), *values[count + len(numbers) :]]

    def array(number: int) -> np.ndarray:
        item = traced.captured[number]
        return np.array(item.read(), item.value.dtype, order="C")

    renewed = renewed_arguments(changes, traced)
    # What is stored into and bound to something else afterwards is that.
    bound = [place for _, place in renewed]
    renewed += [(output, place) for place, output in stored.items() if place < count and place not in bound]
    for place, number in enumerate(kept, count):
        if number not in pairs and count + number not in stored:
            continue  # of a shared state, and only read here
        result = pairs[number].result if number in pairs else None
        renewed.append((result.place if result is not None else stored[count + number], place))
    results = list(results_of(traced))
    # What is bound and never read is nowhere in C, and not computed.
    used = sorted({output for output, _ in renewed} | {output for _, output in results})
    graph = Graph(order, [*(traced.graph.outputs[output] for output in used), *hidden], name)
    renewed = [(used.index(output), place) for output, place in renewed]
    results = [(path, used.index(output)) for path, output in results]
    taken, replaced = zip(*renewed, strict=True) if renewed else ((), ())
    others = [*taken, *range(len(used), len(graph.outputs))]
    donations = match_donations(graph, [place for place in call.donated if place not in replaced], others)
    contents = [array(number) if shared is None else shared.contents[places[number]] for number in kept]
    captured = [traced.captured[number] for number in kept]
    members = [(item.name.removeprefix(f"{traced.graph.name}."), first) for item, first in zip(captured, contents, strict=True)]
    constants = [*map(array, fixed), *traced.static_arrays]
    arguments = [np.array(leaf, value.dtype, order="C") for leaf, value in zip(call.leaves, values, strict=False)]
    renewed += donations.items()
    struct = (shared.owner, shared.members) if shared is not None and shared.members else None
    return Contract(function, captured, graph, arguments, members, constants, results, renewed, list(donations), struct)


def _source(function: Callable[..., Any]) -> str:
    """Where a function is written."""
    code = getattr(inspect.unwrap(function), "__code__", None) or getattr(getattr(function, "__func__", None), "__code__", None)
    name = getattr(function, "__qualname__", type(function).__name__)
    return name if code is None else f"{name}, {Path(code.co_filename).name}:{code.co_firstlineno}"
