"""Loop distribution: what a scan's carry does not need leaves the loop, as one large operation over all steps.

    for t: h = f(h, x[t] @ W); y[t] = h @ V; total += h.T @ g[t]
 ->
    xW = x @ W
    for t: h = f(h, xW[t]); hs[t] = h
    y = hs @ V;  total = hs.T @ g      (steps are a contracted axis)

Three moves, each through the batching rules: contractions of inputs go before the loop, contractions that only outputs
read go behind it, and sums that a carry only accumulates become one sum over the steps. What is scattered into zeros in each step and added to
a carry, as the gradient of a table of which each step reads some rows, is scattered into the carry once, that of all steps. It reassociates
sums, also so that `x[t] @ W + h @ U + b` adds b before the loop. A sum over the steps that is of 16 bits is rounded once, at its end, as other sums are.

A GPU's loop is as long as what waits for each other in a step: there reductions go as contractions do, and with them what leads to them
and to nothing else. A CPU finds what they read in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value
from irdl.loops.target import Gpu, Target
from irdl.ops.contract import DOT, terms_of
from irdl.ops.control import SCAN, ScanAttributes, scan_of
from irdl.ops.elementwise import ADD
from irdl.ops.index import SCATTER_ADD
from irdl.ops.loop_parts import LoopInputs, LoopOutputs
from irdl.ops.pieces import is_zero
from irdl.ops.reduce import SUM, Reduce, ReduceAttributes
from irdl.ops.shape import with_batch
from irdl.passes.half_sums import cast, rounded_once, widening_cast
from irdl.transforms.batch import batch_nodes

#: the most bytes of all steps that memory is to hold more for reductions to leave the loop
_STACKED = 256 * 1024 * 1024


def distribute(graph: Graph, target: Target | Gpu | None = None) -> Graph:
    """Split every scan of `graph`, inner loops first. `target`: the machine; reductions leave loops on a GPU alone."""
    return _each_scan(hoist_invariants(graph), partial(_split, reductions=isinstance(target, Gpu)))


def hoist_invariants(graph: Graph) -> Graph:
    """Move what depends on a loop's constants alone out of the loop."""
    return _each_scan(graph, _hoist)


def _each_scan(graph: Graph, change: Callable[..., Any]) -> Graph:
    if not graph.has((SCAN,)):
        return graph
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        regions = [_each_scan(region, change) for region in node.regions]
        if node.op is SCAN:
            outputs = change(builder, node, regions[0], operands)
        else:
            outputs = builder.node(node.op, operands, node.attributes, regions, node.location).outputs
        mapping.update(zip(node.outputs, outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _hoist(builder: Builder, node: Node, body: Graph, operands: list[Value]) -> Sequence[Value]:
    attributes: ScanAttributes = node.attributes
    consts = attributes.consts
    fixed = set(body.inputs[:consts])
    moved: list[Node] = []
    for inner in body.nodes:
        if inner.op.can_raise and attributes.length == 0:
            continue
        if inner.operands and all(value in fixed or _literal(value) for value in inner.operands):
            fixed.update(inner.outputs)
            moved.append(inner)
    if not moved or attributes.length == 0:
        return builder.node(SCAN, operands, attributes, [body], node.location).outputs
    mapping = dict(zip(body.inputs[:consts], operands[:consts], strict=True))
    literals = [n for n in body.nodes if not n.operands and any(n.output in m.operands for m in moved)]
    copy_nodes(builder, sorted([*moved, *literals], key=lambda n: n.serial), mapping)
    moved_set = set(moved)
    wanted = [
        value
        for inner in moved
        for value in inner.outputs
        if value in body.outputs or any(value in n.operands for n in body.nodes if n not in moved_set)
    ]
    inner_mapping: dict[Value, Value] = {}
    inputs = fresh_inputs(body.inputs)
    inner_mapping.update(zip(body.inputs, inputs, strict=True))
    extra = [Value(value.type, name=value.name) for value in wanted]
    inner_mapping.update(zip(wanted, extra, strict=True))
    inner_builder = Builder(fold=False)
    copy_nodes(inner_builder, [n for n in body.nodes if n not in moved_set], inner_mapping)
    outputs = [inner_mapping[value] for value in body.outputs]
    new_body = Graph([*inputs[:consts], *extra, *inputs[consts:]], outputs, body.name)
    new = replace(attributes, consts=consts + len(extra))
    given = [*operands[:consts], *(mapping[value] for value in wanted), *operands[consts:]]
    return builder.node(SCAN, given, new, [new_body], node.location).outputs


def _literal(value: Value) -> bool:
    return value.node is not None and not value.node.operands


def _leaves(node: Node, reductions: bool) -> bool:
    """It leaves the loop where it can."""
    return node.op is DOT or (reductions and isinstance(node.op, Reduce))


class _Parts:
    """Which nodes of a body go before the loop, behind it, or stay. `reductions`: they leave as contractions do."""

    def __init__(self, node: Node, body: Graph, reductions: bool) -> None:
        attributes: ScanAttributes = node.attributes
        self.reductions = reductions
        self.given = node.operands
        self.inputs, self.outputs = attributes.inputs(body.inputs), attributes.outputs(body.outputs)
        self.body = body
        self.users = body.users()
        self.sums, self.scatters = self._accumulated()
        added = (body.outputs[place].node for place in (*self.sums, *self.scatters))
        self.dropped = {n for n in (*added, *self.scatters.values()) if n is not None}
        self.before = self._before()
        self.after = self._after()
        #: casts that the loop makes, and what is behind it makes once more
        self.again = {
            made for value in self._read_behind() if value not in self.outputs.ys and (made := widening_cast(value)) is not None
        } - self.before

    def _leaves(self, node: Node) -> bool:
        return _leaves(node, self.reductions)

    def _goes_first(self, node: Node) -> bool:
        """It is made before the loop where it can. On a CPU a product costs less than reading it would (see `expand`)."""
        return self._leaves(node) and (self.reductions or node.op is not DOT or terms_of(node) > 1)

    def _accumulated(self) -> tuple[dict[int, Value], dict[int, Node]]:
        """Carries that only add up a contraction: place -> what is added. (A plain sum is cheaper where its operand is in cache.) And those
        that only add up what is scattered into zeros, by that."""
        found: dict[int, Value] = {}
        scatters: dict[int, Node] = {}
        for place, (old, new) in enumerate(zip(self.inputs.carry, self.outputs.carry, strict=True)):
            node = new.node
            if node is None or node.op is not ADD or self.body.outputs.count(new) != 1 or self.users[new]:
                continue
            if self.users[old] != [node] or old in self.body.outputs or list(node.operands).count(old) != 1:
                continue
            term = node.operands[1] if node.operands[0] is old else node.operands[0]
            source = term
            while source.node is not None and source.node.op.is_view and len(self.users[source]) == 1:
                source = source.node.operands[0]
            if term.type == old.type and source.node is not None and self._leaves(source.node):
                found[place] = term
            elif (
                term.node is not None
                and term.node.op is SCATTER_ADD
                and len(self.users[term]) == 1
                and self._is_zero(term.node.operands[0])
            ):
                scatters[place] = term.node
        return found, scatters

    def _is_zero(self, value: Value) -> bool:
        """In each step; it may be made outside."""
        return is_zero(self.given[self.inputs.consts.index(value)] if value in self.inputs.consts else value)

    def _before(self) -> set[Node]:
        """Contractions that do not depend on the carry, what they need, and the cheap steps that only follow them."""
        depends: set[Value] = set(self.inputs.carry)
        free: list[Node] = []
        for node in self.body.nodes:
            if any(value in depends for value in node.operands) or node.regions or node.op.can_raise:
                depends.update(node.outputs)
            elif node.operands:
                free.append(node)
        chosen: set[Node] = set()
        for node in reversed(free):
            if self._goes_first(node) or any(user in chosen for user in self.users[node.outputs[0]]):
                chosen.add(node)
        invariant = set(self.inputs.consts)
        for node in free:
            if node in chosen or not (node.op.is_elementwise or (self.reductions and node.op.is_view)):
                continue
            inner = [value for value in node.operands if value.node in chosen]
            others = [value for value in node.operands if value.node not in chosen]
            only = all(self._only_leads_to(value, node, chosen) for value in inner)
            if inner and only and all(v in invariant or _literal(v) for v in others):
                chosen.add(node)
        return chosen

    def _only_leads_to(self, value: Value, node: Node, chosen: set[Node]) -> bool:
        return len(self.users[value]) == 1 or (self.reductions and all(user is node or user in chosen for user in self.users[value]))

    def _after(self) -> set[Node]:
        """Contractions that no carry needs, and everything that follows from them."""
        needed: set[Node] = set()
        left = (v for place, v in enumerate(self.outputs.carry) if place not in self.sums and place not in self.scatters)
        stack = [v.node for v in left if v.node is not None]
        stack += [node for node in self.body.nodes if node.regions]  # inner loops and branches stay, with what they read
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack += [v.node for v in node.operands if v.node is not None]
        chosen: set[Node] = set()
        for node in self.body.nodes:
            if node in needed or node in self.before or node in self.dropped or node.regions:
                continue
            follows = any(value.node in chosen for value in node.operands)
            if self._leaves(node) or follows:
                chosen.add(node)
        for node in reversed(self.body.nodes if self.reductions else ()):
            if node in needed or node in self.before or node.regions or node.op.can_raise or not node.operands:
                continue
            users = [user for value in node.outputs for user in self.users[value]]
            if users and all(user in chosen for user in users) and not any(value in self.body.outputs for value in node.outputs):
                chosen.add(node)
        return chosen

    def read_behind(self) -> list[Value]:
        """What is read behind the loop, of each step, and is not made there; of what floats of 16 bits are cast to, those."""
        found = (made.operands[0] if (made := widening_cast(value)) in self.again else value for value in self._read_behind())
        return list(dict.fromkeys(found))

    def _read_behind(self) -> list[Value]:
        found = [value for inner in self.body.nodes if inner in self.after for value in inner.operands]
        found += [*self.outputs.ys, *self.sums.values(), *(value for node in self.scatters.values() for value in node.operands[1:])]
        return [value for value in found if value.node not in self.after]

    def stacked_bytes(self) -> int:
        """Bytes of a step that are made before the loop for it, or kept for what is behind it alone."""
        there = {*self.inputs.consts, *self.inputs.xs, *self.outputs.ys}
        kept = {value for value in self.read_behind() if value not in there and value.node not in self.before}
        stay = (node for node in self.body.nodes if node not in self.before | self.after | self.dropped)
        made = {value for node in stay for value in node.operands if value.node in self.before}
        return sum(value.type.nbytes for value in kept | made if not _literal(value))


def _invariants_first(body: Graph, attributes: ScanAttributes) -> Graph:
    """(x + h) + b = (x + b) + h, where h depends on the carry, x does not and b is one of the loop's constants."""
    parts = attributes.inputs(body.inputs)
    fixed, depends = set(parts.consts), set(parts.carry)
    users = body.users()
    builder = Builder(fold=False)
    inputs = fresh_inputs(body.inputs)
    mapping = dict(zip(body.inputs, inputs, strict=True))
    for node in body.nodes:
        if any(value in depends for value in node.operands) or node.regions:
            depends.update(node.outputs)
        elif all(value in fixed or _literal(value) for value in node.operands):
            fixed.update(node.outputs)
        terms = _sum_of_three(node, users, depends, fixed)
        if terms is None:
            copy_nodes(builder, [node], mapping)
            continue
        x, b, h = (mapping[value] for value in terms)
        early = builder.value(ADD, [x, b], location=node.location)
        mapping[node.output] = builder.value(ADD, [early, h], location=node.location)
    return Graph(inputs, [mapping[value] for value in body.outputs], body.name)


def _sum_of_three(
    node: Node, users: Mapping[Value, Sequence[Node]], depends: set[Value], fixed: set[Value]
) -> tuple[Value, Value, Value] | None:
    """x, b and h where the node adds them in another order."""
    if node.op is not ADD:
        return None
    for inner, b in (node.operands, reversed(node.operands)):
        if inner.node is None or inner.node.op is not ADD or inner not in depends or b not in fixed or len(users[inner]) != 1:
            continue
        for x, h in (inner.node.operands, reversed(inner.node.operands)):
            if h in depends and x not in depends and x not in fixed and len(users[x]) == 1 and x.shape == node.output.shape:
                return x, b, h
    return None


def _split(builder: Builder, node: Node, body: Graph, operands: list[Value], reductions: bool) -> Sequence[Value]:
    attributes: ScanAttributes = node.attributes
    length, given = attributes.length, attributes.inputs(operands)
    if length < 2 or attributes.segments:
        return builder.node(SCAN, operands, attributes, [_invariants_first(body, attributes)], node.location).outputs
    body, narrow = rounded_once(body, attributes, partial(_leaves, reductions=reductions))
    if narrow:
        carry = [cast(builder, value, inner.dtype) for value, inner in zip(given.carry, attributes.inputs(body.inputs).carry, strict=True)]
        results = _split(builder, node, body, [*given.consts, *carry, *given.xs], reductions)
        return [cast(builder, value, narrow[place]) if place in narrow else value for place, value in enumerate(results)]
    body = _invariants_first(body, attributes)
    parts = _Parts(node, body, reductions)
    if reductions:
        without = _Parts(node, body, False)
        parts = without if length * (parts.stacked_bytes() - without.stacked_bytes()) > _STACKED else parts
    if not (parts.before or parts.after or parts.scatters):
        return builder.node(SCAN, operands, attributes, [body], node.location).outputs
    # Over all steps: the loop's constants as they are, xs and what follows from them with the steps as leading axis.
    whole: dict[Value, Value] = dict(zip(parts.inputs.consts, given.consts, strict=True))
    whole.update(zip(parts.inputs.xs, given.xs, strict=True))
    stepped = set(parts.inputs.xs)
    outside = [n for n in body.nodes if n in parts.before or not n.operands]
    batch_nodes(builder, outside, whole, stepped, length)
    # The loop itself.
    gone = parts.before | parts.after | parts.dropped
    stay = [n for n in body.nodes if n not in gone]
    kept_carry = [place for place in range(attributes.carry) if place not in parts.sums and place not in parts.scatters]
    results = [body.outputs[place] for place in kept_carry]
    wanted = [value for value in parts.read_behind() if value not in whole]
    needed = set(results) | set(wanted) | {value for inner in stay for value in inner.operands}
    new_xs = [value for value in whole if value in needed and value in stepped and not _literal(value)]
    new_consts = [value for value in whole if value in needed and value not in stepped and not _literal(value)]
    parts_left = LoopInputs(new_consts, [parts.inputs.carry[place] for place in kept_carry], new_xs)
    table = {value: Value(value.type, name=value.name) for value in parts_left}
    inputs = LoopInputs(*([table[value] for value in part] for part in (parts_left.consts, parts_left.carry, parts_left.xs)))
    copy_nodes(Builder(fold=False), stay, table)
    outputs = LoopOutputs([table[value] for value in results], [table[value] for value in wanted])
    left = LoopInputs([whole[v] for v in new_consts], [given.carry[place] for place in kept_carry], [whole[v] for v in new_xs])
    loop: LoopOutputs[Value] = scan_of(builder, left, inputs, outputs, node, body.name) if results or wanted else LoopOutputs((), ())
    for value, stacked in zip(wanted, loop.ys, strict=True):
        whole[value] = stacked
        stepped.add(value)
    # Behind the loop.
    batch_nodes(builder, [n for n in body.nodes if n in parts.after | parts.again], whole, stepped, length)
    final: list[Value] = []
    carries = dict(zip(kept_carry, loop.carry, strict=True))
    for place in range(attributes.carry):
        if place in parts.sums:
            term = _stack(builder, parts.sums[place], whole, stepped, length)
            axes: tuple[int, ...] = (0,)
            if term.node is not None and term.node.op is SUM and 0 not in term.node.attributes.axes:
                # A sum of sums is one over all axes.
                axes, term = (0, *term.node.attributes.axes), term.node.operands[0]
            total = builder.value(SUM, [term], ReduceAttributes(axes))
            final.append(builder.value(ADD, [given.carry[place], total], location=node.location))
        elif place in parts.scatters:
            scatter = parts.scatters[place]
            indices, updates = (_stack(builder, value, whole, stepped, length) for value in scatter.operands[1:])
            final.append(builder.value(SCATTER_ADD, [given.carry[place], indices, updates], scatter.attributes, location=scatter.location))
        else:
            final.append(carries[place])
    ys = [_stack(builder, value, whole, stepped, length) for value in parts.outputs.ys]
    return [*final, *ys]


def _stack(builder: Builder, value: Value, whole: dict[Value, Value], stepped: set[Value], length: int) -> Value:
    return with_batch(builder, whole[value], value in stepped, length)
