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

from collections.abc import Mapping, Sequence
from functools import partial

from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Node, Value
from irdl.loops.target import Gpu, Target
from irdl.ops.contract import DOT, terms_of
from irdl.ops.control import SCAN, ScanAttributes, scan_of
from irdl.ops.elementwise import ADD, MUL, NEG, SUB
from irdl.ops.index import SCATTER_ADD
from irdl.ops.invariants import each_loop, hoist_invariants, is_literal
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
    return each_loop(hoist_invariants(graph), partial(_split, reductions=isinstance(target, Gpu)), (SCAN,))


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
        #: contractions that are summed over the steps
        self.summed: set[Node] = set()
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
        return self._gains(node) and (self.reductions or node.op is not DOT or terms_of(node) > 1)

    def _gains(self, node: Node) -> bool:
        """It is worth a loop of its own. On a CPU, what is multiplied in each step with another matrix gains nothing from that, and finds
        what it reads in the cache, unless it is summed over the steps or reads less than it makes."""
        if node.op is not DOT or self.reductions or node in self.summed:
            return self._leaves(node)
        if any(self._is_invariant(value) for value in node.operands):
            return True
        return sum(value.type.nbytes for value in node.operands) <= node.output.type.nbytes

    def _is_invariant(self, value: Value) -> bool:
        while value.node is not None and value.node.op.is_view:
            value = value.node.operands[0]
        return value in self.inputs.consts or is_literal(value)

    def _accumulated(self) -> tuple[dict[int, Value], dict[int, Node]]:
        """Carries that only add up contractions: place -> what is added. (A plain sum is cheaper where its operand is in cache.) And those
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
            if term.type == old.type and (leaving := self._leaving_in(term)):
                found[place] = term
                self.summed |= leaving
            elif (
                term.node is not None
                and term.node.op is SCATTER_ADD
                and len(self.users[term]) == 1
                and self._is_zero(term.node.operands[0])
            ):
                scatters[place] = term.node
        return found, scatters

    def _leaving_in(self, value: Value) -> set[Node]:
        """The contractions that it is made of so that the sum of it over the steps is made so of theirs; none if it is made of others too."""
        if terms := self.linear_in(value):
            found = [self._leaving_in(term) for term in terms]
            return set().union(*found) if all(found) else set()
        while value.node is not None and value.node.op.is_view and len(self.users[value]) == 1:
            value = value.node.operands[0]
        return {value.node} if value.node is not None and self._leaves(value.node) else set()

    def linear_in(self, value: Value) -> Sequence[Value]:
        """The operands in which a sum, a difference or a product with what is the same in all steps is linear."""
        node = value.node
        if node is None or node.op not in (ADD, SUB, NEG, MUL) or len(self.users[value]) != 1 or value in self.body.outputs:
            return ()
        terms = [v for v in node.operands if node.op is not MUL or not (v in self.inputs.consts or is_literal(v))]
        return terms if node.op is not MUL or len(terms) == 1 else ()

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
            if inner and only and all(v in invariant or is_literal(v) for v in others):
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
            if follows or self._gains(node):
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
        return sum(value.type.nbytes for value in kept | made if not is_literal(value))


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
        elif all(value in fixed or is_literal(value) for value in node.operands):
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


def _split(builder: Builder, node: Node, regions: Sequence[Graph], operands: list[Value], reductions: bool) -> Sequence[Value]:
    (body,) = regions
    attributes: ScanAttributes = node.attributes
    length, given = attributes.length, attributes.inputs(operands)
    if length < 2 or attributes.segments:
        return builder.node(SCAN, operands, attributes, [_invariants_first(body, attributes)], node.location).outputs
    body, narrow = rounded_once(body, attributes, partial(_leaves, reductions=reductions))
    if narrow:
        carry = [cast(builder, value, inner.dtype) for value, inner in zip(given.carry, attributes.inputs(body.inputs).carry, strict=True)]
        results = _split(builder, node, [body], [*given.consts, *carry, *given.xs], reductions)
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
    new_xs = [value for value in whole if value in needed and value in stepped and not is_literal(value)]
    new_consts = [value for value in whole if value in needed and value not in stepped and not is_literal(value)]
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
            total = _sum_of_steps(builder, parts, parts.sums[place], whole, stepped, length)
            final.append(builder.value(ADD, [given.carry[place], total], location=node.location))
        elif place in parts.scatters:
            scatter = parts.scatters[place]
            indices, updates = (_stack(builder, value, whole, stepped, length) for value in scatter.operands[1:])
            final.append(builder.value(SCATTER_ADD, [given.carry[place], indices, updates], scatter.attributes, location=scatter.location))
        else:
            final.append(carries[place])
    ys = [_stack(builder, value, whole, stepped, length) for value in parts.outputs.ys]
    return [*final, *ys]


def _sum_of_steps(builder: Builder, parts: _Parts, value: Value, whole: dict[Value, Value], stepped: set[Value], length: int) -> Value:
    terms, node = parts.linear_in(value), value.node
    if terms and node is not None:
        totals = {term: _sum_of_steps(builder, parts, term, whole, stepped, length) for term in terms}
        operands = [totals[v] if v in totals else whole[v] for v in node.operands]
        return builder.value(node.op, operands, node.attributes, location=node.location)
    axes: tuple[int, ...] = (0,)
    term = _stack(builder, value, whole, stepped, length)
    if term.node is not None and term.node.op is SUM and 0 not in term.node.attributes.axes:
        # A sum of sums is one over all axes.
        axes, term = (0, *term.node.attributes.axes), term.node.operands[0]
    return builder.value(SUM, [term], ReduceAttributes(axes))


def _stack(builder: Builder, value: Value, whole: dict[Value, Value], stepped: set[Value], length: int) -> Value:
    return with_batch(builder, whole[value], value in stepped, length)
