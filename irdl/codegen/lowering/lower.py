"""Graph -> Program: every value gets a layout, every node becomes kernels, and control becomes loops around them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import numpy as np

from irdl.codegen.lowering import moves
from irdl.codegen.lowering.group import group_of
from irdl.codegen.lowering.in_place import STORES, in_place_carries
from irdl.codegen.lowering.layout import Layout, is_same_place, view_layout
from irdl.codegen.lowering.places import Places
from irdl.codegen.lowering.schedule import Schedule
from irdl.codegen.lowering.stored import checks_before, first_writer
from irdl.errors import GraphError
from irdl.ir.builder import CONSTANT
from irdl.ir.graph import Graph, Node, Value
from irdl.ir.printer import format_location, identifier
from irdl.ir.types import TensorType
from irdl.loops.expressions import Buffer, Load
from irdl.loops.index import Index
from irdl.loops.language import Check, For, If, Kernel, Leave, Program, Statement, While
from irdl.loops.rewrite import Names
from irdl.ops.checks import CHECK
from irdl.ops.control import COND, SCAN, WHILE, ScanAttributes
from irdl.ops.fusion import FUSED
from irdl.ops.shape import RESHAPE


def lower(graph: Graph, schedule: Schedule, in_place: Mapping[int, int] | None = None, stored: Collection[int] = ()) -> Program:
    """The program of a fused graph.

    Args:
        graph: what is lowered.
        schedule: how.
        in_place: output -> the input it is computed in.
        stored: those of them that stay as they were where an index is out of range.
    """
    lowering = _Lowering(schedule)
    in_place = in_place or {}
    inputs = [
        Buffer(identifier(value.name, f"in{place}"), value.dtype, value.type.size, "input") for place, value in enumerate(graph.inputs)
    ]
    outputs = [Buffer(f"out{place}", value.dtype, value.type.size, "output") for place, value in enumerate(graph.outputs)]
    _make_unique(inputs)
    environment = {v: Layout.contiguous(b, v.shape) for v, b in zip(graph.inputs, inputs, strict=True)}
    destinations = [Layout.contiguous(b, v.shape) for v, b in zip(graph.outputs, outputs, strict=True)]
    # What is updated in place is one buffer, the output's.
    environment.update({graph.inputs[place]: destinations[out] for out, place in in_place.items()})
    statements = _GraphLowering(lowering, graph, environment, destinations)
    check = next((node for node in graph.nodes if node.op is CHECK), None)
    if stored and check is not None:  # everything that can fail comes before it, or is checked there
        body = statements.run(leaves=True, first=check)
    else:
        body = statements.run(leaves=any(out in in_place for out in stored), first=first_writer(graph, in_place))
    program = Program(identifier(graph.name, "main"), inputs, outputs, lowering.constants, body, lowering.checks)
    program.aliased = [(inputs[place], outputs[out]) for out, place in in_place.items()]
    return program


def _make_unique(buffers: list[Buffer]) -> None:
    seen: dict[str, int] = {}
    for buffer in buffers:
        count = seen.setdefault(buffer.name, 0)
        seen[buffer.name] += 1
        if count:
            buffer.name = f"{buffer.name}_{count}"


class _Lowering:
    """The state of one program under construction."""

    def __init__(self, schedule: Schedule) -> None:
        #: that of the program, and of each loop around the graph that is being lowered
        self._schedules = [schedule]
        self.names = Names()
        self.constants: list[tuple[Buffer, np.ndarray]] = []
        self.checks: list[Check] = []
        self._constant_of: dict[tuple[Any, ...], Buffer] = {}

    @property
    def schedule(self) -> Schedule:
        return self._schedules[-1]

    @property
    def depth(self) -> int:
        """How many loops (scan and while) are around the graph that is being lowered."""
        return len(self._schedules) - 1

    @contextmanager
    def loop(self, graphs: Sequence[Graph], kept: Iterable[Layout]) -> Iterator[None]:
        """Around the lowering of what a loop does in each step; `kept`: what no step writes."""
        self._schedules.append(self.schedule.inside_loop(graphs, {layout.buffer for layout in kept}))
        yield
        self._schedules.pop()

    def arena(self, type: TensorType, name: str = "a") -> Layout:
        buffer = Buffer(self.names(name), type.dtype, type.size, "arena", depth=self.depth)
        return Layout.contiguous(buffer, type.shape)

    def constant(self, array: np.ndarray) -> Layout:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constant_of:
            buffer = Buffer(self.names("c"), array.dtype, array.size, "constant")
            self._constant_of[key] = buffer
            self.constants.append((buffer, np.ascontiguousarray(array)))
        return Layout.contiguous(self._constant_of[key], array.shape)

    def kernel(self, name: str, body: list[Statement], independent: bool = False, where: str = "") -> list[Statement]:
        return [Kernel(self.names(name + "_"), body, independent, where)] if body else []

    def graph(self, graph: Graph, environment: dict[Value, Layout], destinations: Sequence[Layout]) -> list[Statement]:
        """The statements that compute `graph`'s outputs into `destinations`."""
        return _GraphLowering(self, graph, environment, destinations).run()


class _GraphLowering(Places):
    """One graph (or region) over known layouts of its inputs."""

    def __init__(self, shared: _Lowering, graph: Graph, environment: dict[Value, Layout], destinations: Sequence[Layout]) -> None:
        super().__init__(shared, graph, environment, destinations)
        self.shared = shared

    def run(self, leaves: bool = False, first: Node | None = None) -> list[Statement]:
        """`leaves`: the program leaves if a check has failed, before the node `first` or, without such, before what is copied at last."""
        result: list[Statement] = []
        for node in self.graph.nodes:
            if leaves and node is first:
                result += self._leave(node)
            elif node.op is CHECK and self.shared.schedule.can_leave and self.shared.checks:
                result.append(Leave())  # an index that is out of range is NumPy's error, whichever thread finds out first
            result += self.node(node)
            if leaves and node.op is CHECK:
                result.append(Leave())
        if leaves and first is None and self.shared.checks:
            result.append(Leave())
        for number, (value, layout) in enumerate(self.destinations):
            source = self.environment[value]
            if number not in self.stored and not is_same_place(source, layout):
                result += self.shared.kernel("copy", self.shared.schedule.copy(source, layout, self.shared.names))
        return result

    def _leave(self, first: Node) -> list[Statement]:
        shared = self.shared
        result: list[Statement] = []
        for reader, operands, graph in checks_before(self.graph, first):
            given, (value,) = [self.environment[operand] for operand in operands], graph.outputs
            if value in graph.inputs:
                indices = given[graph.inputs.index(value)]
            else:
                indices = shared.arena(value.type)
                group = group_of(graph, given, [(value, indices)], shared.names, shared.checks)
                result += shared.kernel("indices", shared.schedule.group(group))
            checks = moves.check_indices(reader, indices, shared.names, shared.checks)
            result += shared.kernel("check", checks, where=format_location(reader.location))
        return [*result, Leave()] if shared.checks else result

    def node(self, node: Node) -> list[Statement]:
        shared = self.shared
        operands = [self.environment[value] for value in node.operands]
        if node.op is CONSTANT:
            self.environment[node.output] = shared.constant(node.attributes.value)
            return []
        if node.op.is_view:
            return self._view(node, operands[0])
        if node.op is SCAN:
            self.reuse_xs(node, operands)
            self.stack_carries(node)
        outputs = [self.destination(value) for value in node.outputs]
        self.environment.update(zip(node.outputs, outputs, strict=True))
        if node.op is FUSED:
            assert not any(is_same_place(a, b) for a, b in combinations(outputs, 2)), node
            stored = [*zip(node.regions[0].outputs, outputs, strict=True), *self.more_stores(node, outputs)]
            group = group_of(node.regions[0], operands, stored, shared.names, shared.checks)
            main = _weightiest(node)
            where = format_location(main.location) if main is not None else ""
            statements = shared.schedule.group(group)
            independent = shared.schedule.is_independent(statements)
            return shared.kernel("group" if main is None else main.op.name, statements, independent, where)
        if node.op is SCAN:
            return self._scan(node, operands, outputs)
        if node.op is COND:
            return self._cond(node, operands, outputs)
        if node.op is WHILE:
            return self._while(node, operands, outputs)
        make = moves.MOVES.get(node.op)
        if make is None:
            raise GraphError(f"op {node.op.name} reached the code generator, which has no rule for it")
        statements = self._apart(node, operands, outputs[0])
        statements += make(node, operands, outputs, shared.names, shared.schedule, shared.checks)
        independent = moves.is_independent(node) and shared.schedule.is_independent(statements)
        return shared.kernel(node.op.name, statements, independent, format_location(node.location))

    def _apart(self, node: Node, operands: list[Layout], whole: Layout) -> list[Statement]:
        """What is stored is copied first where it lies in what it is stored into."""
        result: list[Statement] = []
        for place in range(1, len(operands) if node.op in STORES else 0):
            if operands[place].buffer is whole.buffer:
                source, operands[place] = operands[place], self.shared.arena(node.operands[place].type)
                result += self.shared.schedule.copy(source, operands[place], self.shared.names)
        return result

    def _view(self, node: Node, base: Layout) -> list[Statement]:
        layout = view_layout(node, base)
        copied: list[Statement] = []
        if layout is None:
            # A reshape that the strides do not allow: copy the operand to row-major order first.
            assert node.op is RESHAPE, node
            operand = node.operands[0]
            fresh = self.unreshaped(node) or self.shared.arena(operand.type)
            copied = self.shared.kernel("copy", self.shared.schedule.copy(base, fresh, self.shared.names))
            layout = view_layout(node, fresh)
            assert layout is not None
        self.environment[node.output] = layout
        return copied

    def _scan(self, node: Node, operands: list[Layout], outputs: list[Layout]) -> list[Statement]:
        shared = self.shared
        attributes: ScanAttributes = node.attributes
        consts, count, length = attributes.consts, attributes.carry, attributes.length
        (body,) = node.regions
        steps: list[Statement] = []
        # A carry lives in its stack, or in the scan's output.
        stacks = self.stacks.pop(node)
        start = length if attributes.reverse else 0
        given, inputs = attributes.inputs(operands), attributes.inputs(body.inputs)
        for place, source in enumerate(given.carry):
            target = stacks[place].element(Index(start)) if place in stacks else outputs[place]
            if not is_same_place(source, target):
                steps += shared.kernel("init", shared.schedule.copy(source, target, shared.names))
        if length == 0:
            return steps
        t = shared.names("t")
        loop = For(t, 0, length, 1, "serial", [])
        position = Index.variable(t, -1) + (length - 1) if attributes.reverse else Index.variable(t)
        environment = dict(zip(inputs.consts, given.consts, strict=True))
        before, after = (position + 1, position) if attributes.reverse else (position, position + 1)
        for place, value in enumerate(inputs.carry):
            environment[value] = stacks[place].element(before) if place in stacks else outputs[place]
        for value, layout in zip(inputs.xs, given.xs, strict=True):
            environment[value] = layout.element(position)
        in_place = in_place_carries(body, consts, count)
        with shared.loop([body], given.consts):
            destinations = []
            for place, value in enumerate(body.outputs[:count]):
                if place in stacks:
                    destinations.append(stacks[place].element(after))
                elif place in in_place:
                    destinations.append(outputs[place])
                elif value in body.outputs[count:]:
                    # It is stacked too: the next carry is read from where this step wrote it.
                    y = body.outputs.index(value, count)
                    destinations.append(outputs[y].element(position))
                else:
                    destinations.append(shared.arena(value.type, "next"))
            for layout in outputs[count:]:
                destinations.append(layout.element(position))
            loop.body = shared.graph(body, environment, destinations)
            for place in range(count):
                if place not in stacks and destinations[place] is not outputs[place]:
                    loop.body += shared.kernel("carry", shared.schedule.copy(destinations[place], outputs[place], shared.names))
        return [*steps, loop]

    def _cond(self, node: Node, operands: list[Layout], outputs: list[Layout]) -> list[Statement]:
        branches = [self.shared.graph(region, dict(zip(region.inputs, operands[1:], strict=True)), outputs) for region in node.regions]
        predicate = operands[0]
        return [If(Load(predicate.buffer, predicate.offset), *branches)]

    def _while(self, node: Node, operands: list[Layout], outputs: list[Layout]) -> list[Statement]:
        shared = self.shared
        first, second = node.attributes.cond_consts, node.attributes.body_consts
        condition, body = node.regions
        steps: list[Statement] = []
        for source, target in zip(operands[first + second :], outputs, strict=True):
            if is_same_place(source, target):
                continue
            steps += shared.kernel("init", shared.schedule.copy(source, target, shared.names))
        loop = While([], Load(Buffer("", np.dtype(bool), 1, "arena"), Index()), [])
        with shared.loop([condition, body], operands[: first + second]):
            verdict = shared.arena(TensorType(np.dtype(bool), ()), "go")
            inputs = [*operands[:first], *outputs]
            loop.before = shared.graph(condition, dict(zip(condition.inputs, inputs, strict=True)), [verdict])
            loop.condition = Load(verdict.buffer, verdict.offset)
            inputs = [*operands[first : first + second], *outputs]
            in_place = in_place_carries(body, second, len(outputs))
            destinations = [
                layout if place in in_place else shared.arena(value.type, "next")
                for place, (layout, value) in enumerate(zip(outputs, body.outputs, strict=True))
            ]
            loop.body = shared.graph(body, dict(zip(body.inputs, inputs, strict=True)), destinations)
            for source, target in zip(destinations, outputs, strict=True):
                if source is not target:
                    loop.body += shared.kernel("carry", shared.schedule.copy(source, target, shared.names))
        return [*steps, loop]


def _weightiest(node: Node) -> Node | None:
    """The node that a group's kernel is named after."""
    nodes = node.regions[0].nodes
    return next((inner for heavy in ("dot", "sum", "max") for inner in nodes if inner.op.name == heavy), nodes[-1] if nodes else None)
