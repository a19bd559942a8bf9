"""What the C function takes: parameters, the struct of the state that it keeps from call to call, and where the code finds each array."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from irdl.exporting.names import identifier
from irdl.ir.graph import Graph
from irdl.ir.types import TensorType
from irdl.loops.language import Check
from irdl.runtime.build import Build
from irdl.tracing.capture.capture import Captured

#: how the code's arrays may be aligned, in bytes
ALIGNMENT = 64


class Place(NamedTuple):
    """Where an array is during a call: a parameter, or so many bytes into the state or the scratch memory, or a constant."""

    kind: Literal["parameter", "state", "memory", "constant"]
    at: int


@dataclass(frozen=True)
class Parameter:
    """One parameter, in Python called `python_name`. Numbers that are only read are passed by value.

    `written_by`: of one that is written, what with.
    """

    name: str
    python_name: str
    type: TensorType
    reads: bool
    written_by: str = ""

    @property
    def writes(self) -> bool:
        return bool(self.written_by)

    @property
    def by_value(self) -> bool:
        dtype = self.type.dtype
        return not self.writes and self.type.shape == () and dtype.kind in "biuf" and dtype.itemsize in (1, 4, 8)


@dataclass(frozen=True)
class Member:
    """One member of the state, its place in the struct and what it holds at first."""

    name: str
    python_name: str
    type: TensorType
    offset: int
    initial: np.ndarray


@dataclass(frozen=True)
class Contract:
    """What is exported.

    Attributes:
        function, captured: in Python what it is, and what of it is kept.
        graph: its inputs are the arguments, what is kept from call to call, and constants; outputs that are neither results nor new
            contents are nobody's.
        arguments, constants: arrays for those; `arguments` of the call that was traced.
        kept: of each what it is called, and its first contents.
        results: the way to each in what the function returns, and the output that it is.
        renewed: outputs, and the inputs whose new contents they are.
        donated: outputs that are results and stand in place of arguments.
        shared: the function whose state it is, and that one's members, if not its own.
    """

    function: Callable[..., Any]
    captured: Sequence[Captured]
    graph: Graph
    arguments: Sequence[np.ndarray]
    kept: Sequence[tuple[str, np.ndarray]]
    constants: Sequence[np.ndarray]
    results: Sequence[tuple[str, int]]
    renewed: Sequence[tuple[int, int]]
    donated: Collection[int]
    shared: tuple[str, Sequence[Member]] | None = None

    @property
    def in_place(self) -> dict[int, int]:
        """Output -> the input that it may be computed in."""
        return dict(reversed(self.renewed))


@dataclass
class Interface:
    """
    Attributes:
        name: of the function.
        state: of the function whose state it is.
        inputs, outputs: where the program's arrays are, in its order; constants behind them.
        copies: what is copied when all has gone well: from, to, and how many bytes.
        memory_bytes: scratch memory of a call.
    """

    name: str
    state: str
    parameters: list[Parameter]
    members: Sequence[Member]
    inputs: list[Place]
    outputs: list[Place]
    constants: list[np.ndarray]
    copies: list[tuple[Place, Place, int]] = field(default_factory=list)
    memory_bytes: int = 0
    checks: Sequence[Check] = ()

    @property
    def state_bytes(self) -> int:
        """As C has it: as many bytes as its widest number fits into."""
        if not self.members:
            return 0
        last, width = self.members[-1], _width(self.members[0].type.dtype)
        return -(-(last.offset + nbytes(last.type)) // width) * width


def nbytes(type_: TensorType) -> int:
    return type_.size * type_.dtype.itemsize


def laid_out(items: Iterable[tuple[str, TensorType, np.ndarray]]) -> list[Member]:
    """The members of a struct: the widest numbers first, so that nothing lies between them."""
    members: list[Member] = []
    offset = 0
    for python_name, type_, initial in sorted(items, key=lambda item: -_width(item[1].dtype)):
        name = identifier(python_name, {member.name for member in members})
        members.append(Member(name, python_name, type_, offset, initial))
        offset += nbytes(type_)
    return members


def parts_of(dtype: np.dtype) -> int:
    """Of how many numbers of C's one of the dtype is."""
    return 2 if dtype.kind == "c" else 1


def _width(dtype: np.dtype) -> int:
    """Bytes of one number, of complex ones of a part."""
    return dtype.itemsize // parts_of(dtype)


def interface_of(contract: Contract, build: Build) -> Interface:
    """Who finds what where."""
    graph, program, count = contract.graph, build.program, len(contract.arguments)
    paths = {output: f"result{path}" for path, output in contract.results}
    written = {place: paths[out] if out in contract.donated else "its new contents" for out, place in contract.renewed}
    parameters: list[Parameter] = []

    def parameter(python_name: str, type_: TensorType, reads: bool, written_by: str) -> Place:
        name = identifier(python_name, {parameter.name for parameter in parameters})
        parameters.append(Parameter(name, python_name, type_, reads, written_by))
        return Place("parameter", len(parameters) - 1)

    arguments = enumerate(graph.inputs[:count])
    inputs = [parameter(value.name or "x", value.type, True, written.get(place, "")) for place, value in arguments]
    results: dict[int, list[Place]] = {}
    for path, output in contract.results:
        if output not in contract.donated:
            results.setdefault(output, []).append(parameter(f"out{path}", graph.outputs[output].type, False, f"result{path}"))
    kept = list(zip(contract.kept, graph.inputs[count:], strict=False))
    own = (graph.name, laid_out([(name, value.type, array) for (name, array), value in kept]))
    state, members = contract.shared or own
    inputs += [Place("state", next(member.offset for member in members if member.initial is array)) for (_, array), _ in kept]
    memory = program.arena_bytes
    outputs: list[Place] = []
    copies: list[tuple[Place, Place, int]] = []
    for output, value in enumerate(graph.outputs):
        # Where it is wanted: the code writes to the first, and the others are copies.
        homes = [inputs[place] for out, place in contract.renewed if out == output]
        wanted = [*homes, *results.get(output, [])] if output in build.in_place else [*results.get(output, []), *homes]
        # An input is read to the end.
        if not wanted or (wanted[0] in inputs and output not in build.in_place):
            memory = -(-memory // ALIGNMENT) * ALIGNMENT
            wanted.insert(0, Place("memory", memory))
            memory += nbytes(value.type)
        outputs.append(wanted[0])
        copies += [(wanted[0], place, nbytes(value.type)) for place in wanted[1:]]
    constants = [*build.prepared, *(array for _, array in program.constants)]
    first = len(build.prepared)
    inputs += [Place("constant", number) for number in range(first)]
    outputs += [Place("constant", number) for number in range(first, len(constants))]
    return Interface(graph.name, state, parameters, members, inputs, outputs, constants, copies, memory, program.checks)
