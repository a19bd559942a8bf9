"""Packing: a contraction's second operand is laid out in the order its kernel reads it. As an op of its own, packing a
weight leaves the time loop like any other invariant."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from irdl.codegen.cpu.panels import ROWS_IN_PANELS, wants_panels
from irdl.codegen.cpu.tile import column_vectors
from irdl.codegen.lowering.layout import strides_of
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.graph import Graph, Location, Node, Value, reachable_nodes
from irdl.loops.target import Target
from irdl.ops.contract import DOT
from irdl.ops.control import SCAN
from irdl.ops.fusion import FUSED, PACK, UNPACK, PackAttributes
from irdl.ops.shape import RESHAPE, REVERSE, SLICE, TRANSPOSE, ReverseAttributes, SliceAttributes, TransposeAttributes
from irdl.ops.windows import WINDOWS

#: Fewer rows than this do not pay for packing an operand that changes with every call of the kernel: where the kernel reads
#: lines of it as they lie, where those lines drive each other out of the cache, and where it would have to pick single elements.
_ROWS, _ROWS_OF_RIVALS, _ROWS_OF_ELEMENTS = 512, 96, 8
#: Where both operands lie along what is summed, vectors of terms are multiplied instead, whose lanes have to be added up: rows that are worth
#: packing then, at most, and terms for each of them.
_ROWS_OF_TERMS, _TERMS_OF_ROW = 24, 8
#: Where a sliver takes a single line of each row, reading them as they lie is slow the farther away the operand: bytes of all
#: that share the loop, and the rows that are enough for packing more than that.
_LINE_BYTES, _ROWS_OF_LINES = 64, ((4 * 1024 * 1024, 16), (1024 * 1024, 192))
#: A second-level cache of eight ways: how far apart in memory lines are that may take each other's place.
_WAYS, _WAY_BYTES = 8, 64 * 1024
_SMALLEST = 256
#: Columns that fill no more than one part in so many of a vector are few, if this many vectors or more are summed for each result; for how
#: many rows they are worth a copy.
_FEW, _TERMS = 2, 8
_ROWS_OF_FEW = 64


def pack(graph: Graph, target: Target, static_inputs: int = 0) -> Graph:
    """Pack the operands of the contractions in fused groups. Packing the last `static_inputs` inputs costs nothing."""
    count = len(graph.inputs)
    return _pack(graph, target, frozenset(range(count - static_inputs, count)))


def _pack(graph: Graph, target: Target, invariant_inputs: frozenset[int]) -> Graph:
    """`invariant_inputs`: places of inputs that stay the same over the steps of the loop around this body, or from call to call."""
    builder = Builder(fold=False)
    inputs = fresh_inputs(graph.inputs)
    mapping: dict[Value, Value] = dict(zip(graph.inputs, inputs, strict=True))
    invariant = {inputs[place] for place in invariant_inputs}
    #: how many rows are multiplied with an operand, over all contractions that read it
    rows: Counter[Value] = Counter()
    #: how many elements are read of an array, in slices of it
    sliced: Counter[Value] = Counter()
    for node in graph.nodes:
        if node.op is FUSED:
            outside = dict(zip(node.regions[0].inputs, node.operands, strict=True))
            for columns in _column_operands(node):
                rows[columns.source] += math.prod(columns.row_extents)
                sliced[_view(columns.value, outside).base] += columns.value.type.size
    here = {*graph.inputs, *(value for node in graph.nodes for value in node.outputs)}
    whole = _Wholes(builder, mapping, {value for value, size in sliced.items() if size >= value.type.size and value in here})
    for node in graph.nodes:
        operands = [mapping[value] for value in node.operands]
        if node.op is FUSED:
            made = _pack_group(builder, node, operands, target, invariant, rows, whole)
        else:
            fixed = frozenset(range(node.attributes.consts)) if node.op is SCAN else frozenset()
            regions = [_pack(region, target, fixed) for region in node.regions]
            made = builder.node(node.op, operands, node.attributes, regions, node.location)
        if node.operands and all(value in invariant for value in operands):
            invariant.update(made.outputs)
        mapping.update(zip(node.outputs, made.outputs, strict=True))
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


@dataclass(frozen=True)
class _View:
    """A value as a part of `base` with its axes in another order, some of them backwards.

    Attributes:
        order: the axis of `base` that each axis of the value is.
        backwards: axes of the value.
        start: where the part begins along each axis of the value, counted in the value's direction.
    """

    base: Value
    order: tuple[int, ...]
    backwards: frozenset[int]
    start: tuple[int, ...]


def _view(value: Value, outside: Mapping[Value, Value]) -> _View:
    order, start, backwards = list(range(len(value.shape))), [0] * len(value.shape), frozenset[int]()
    while True:
        value = outside.get(value, value)
        node = value.node
        if node is not None and node.op is TRANSPOSE:
            order = [node.attributes.permutation[axis] for axis in order]
        elif node is not None and node.op is REVERSE:
            backwards ^= {axis for axis, there in enumerate(order) if there in node.attributes.axes}
        elif node is not None and node.op is SLICE and set(node.attributes.stride) == {1} and not backwards:
            start = [first + node.attributes.start[axis] for first, axis in zip(start, order, strict=True)]
        else:
            return _View(value, tuple(order), backwards, tuple(start))
        (value,) = node.operands


@dataclass
class _Wholes:
    """Arrays that slices take all of: they are packed as wholes, once, and the slices are of what is packed.

    Attributes:
        mapping: from the values of the old graph.
        values: these arrays, of the old graph.
    """

    builder: Builder
    mapping: Mapping[Value, Value]
    values: set[Value]
    _packed: dict[tuple[_View, PackAttributes], Value] = field(default_factory=dict)

    def packed(self, view: _View, value: Value, attributes: PackAttributes, location: Location) -> Value | None:
        """The packed whole that a value is a part of; None where it is no such part, or is cut along what is packed."""
        axes = [view.base.shape[axis] for axis in view.order]
        if view.base not in self.values or axes == list(value.shape) or axes[attributes.axis] != value.shape[attributes.axis]:
            return None
        key = replace(view, start=()), attributes
        if key not in self._packed:
            base = self.mapping[view.base]
            if view.order != tuple(range(len(view.order))):
                base = self.builder.value(TRANSPOSE, [base], TransposeAttributes(view.order), location=location)
            if view.backwards:
                base = self.builder.value(REVERSE, [base], ReverseAttributes(tuple(sorted(view.backwards))), location=location)
            self._packed[key] = self.builder.value(PACK, [base], attributes, location=location)
        return self._packed[key]


def _pack_group(
    builder: Builder,
    node: Node,
    operands: list[Value],
    target: Target,
    invariant: set[Value],
    rows: Mapping[Value, int],
    whole: _Wholes,
) -> Node:
    (region,) = node.regions
    dots = [inner for inner in region.nodes if inner.op is DOT]
    #: which operand of a contraction is packed, how, and whether part by part
    plans: dict[Node, tuple[int, PackAttributes, bool]] = {}
    outside = dict(zip(region.inputs, operands, strict=True))
    before = dict(zip(region.inputs, node.operands, strict=True))
    for columns in _column_operands(node):
        is_free = all(outside[value] in invariant for value in columns.inputs())
        attributes = columns.plan(is_free, rows[columns.source], len(dots), target, outside)
        if attributes is not None:
            apart = not is_free and math.prod(columns.row_extents) < ROWS_IN_PANELS and columns.is_part_of_sum(before)
            plans[columns.dot] = columns.place, attributes, apart
    if not plans:
        return builder.node(FUSED, operands, node.attributes, node.regions, node.location)
    inner = Builder(fold=False)
    inside: dict[Value, Value] = {}
    packed_inputs: list[Value] = []
    packed_operands: list[Value] = []
    unpacked: dict[tuple[Value, PackAttributes], Value] = {}
    for dot, (place, attributes, apart) in plans.items():
        value = dot.operands[place]
        if (value, attributes) in unpacked:
            continue
        view = _view(value, before)
        packed = None if apart else whole.packed(view, value, attributes, node.location)
        part = packed is not None
        if packed is None:
            copy_nodes(builder, [n for n in reachable_nodes([value]) if n.output not in outside], outside)
            packed = builder.value(PACK, [outside[value]], attributes, location=node.location)
        entry = Value(packed.type, name=value.name)
        packed_inputs.append(entry)
        packed_operands.append(packed)
        found = inner.value(UNPACK, [entry], attributes)
        if part:
            limit = tuple(first + n for first, n in zip(view.start, value.shape, strict=True))
            found = inner.value(SLICE, [found], SliceAttributes(view.start, limit, (1,) * len(limit)))
        unpacked[value, attributes] = found
    kept = fresh_inputs(region.inputs)
    inside.update(zip(region.inputs, kept, strict=True))
    for old in region.nodes:
        if old not in plans:
            copy_nodes(inner, [old], inside)
            continue
        # Only the contraction reads the packed form: the same array may be read elsewhere in the group.
        place, attributes, _ = plans[old]
        given = [inside[v] for v in old.operands]
        given[place] = unpacked[old.operands[place], attributes]
        inside[old.output] = inner.value(DOT, given, old.attributes, location=old.location)
    outputs = [inside[value] for value in region.outputs]
    reads = {v for n in reachable_nodes(outputs) for v in n.operands}
    used = [(new, operand) for new, operand in zip(kept, operands, strict=True) if new in reads]
    new_region = Graph([*(new for new, _ in used), *packed_inputs], outputs, region.name)
    return builder.node(FUSED, [*(operand for _, operand in used), *packed_operands], node.attributes, [new_region], node.location)


@dataclass(frozen=True)
class _Columns:
    """An operand of a contraction that has the axis of the result along which its vectors lie.

    Attributes:
        dot, place: the contraction, and which operand it is.
        source: the operand, outside the group where it comes from there.
        label: of the axis.
    """

    dot: Node
    place: int
    source: Value
    label: str

    @property
    def value(self) -> Value:
        return self.dot.operands[self.place]

    @property
    def extent(self) -> int:
        return self.value.shape[self.axis]

    @property
    def axis(self) -> int:
        """Of the operand."""
        return int(self.dot.attributes.labels[self.place].index(self.label))

    @property
    def row_extents(self) -> list[int]:
        """Of the axes that only the other operand has."""
        labels = self.dot.attributes.labels
        own, other, output = labels[self.place], labels[1 - self.place], labels[2]
        return [n for label, n in zip(output, self.dot.output.shape, strict=True) if label in other and label not in own]

    def inputs(self) -> list[Value]:
        """The group's inputs that the operand is made of."""
        return [v for v in [self.value, *(w for n in reachable_nodes([self.value]) for w in n.operands)] if v.node is None]

    def plan(self, is_free: bool, all_rows: int, sharing: int, target: Target, outside: Mapping[Value, Value]) -> PackAttributes | None:
        """How to pack it; None where it is read as it lies.

        Args:
            is_free: packing is done once.
            all_rows: that it is multiplied with, here and elsewhere.
            sharing: contractions in one loop.
        """
        terms = self._terms(target.lanes(self.dot.output.dtype), outside)
        if terms is None:
            return self._slivers(sharing, target) if is_free or self._pays(all_rows, sharing, target, outside) else None
        axis = self.dot.attributes.labels[self.place].index(terms)
        if strides_of(self.value, outside)[axis] == 1 or not (is_free or math.prod(self.row_extents) >= _ROWS_OF_FEW):
            return None
        return PackAttributes(axis, self.value.shape[axis], self.value.shape[axis])

    def is_part_of_sum(self, outside: Mapping[Value, Value]) -> bool:
        """It is a slice along what is summed: packed just before it is read, it is in the cache then."""
        view, summed = _view(self.value, outside), set(self.dot.attributes.labels[self.place]) - set(self.dot.attributes.labels[2])
        axes = [self.dot.attributes.labels[self.place].index(label) for label in summed]
        return any(view.base.shape[view.order[axis]] != self.value.shape[axis] for axis in axes)

    def _slivers(self, sharing: int, target: Target) -> PackAttributes:
        """As wide as the kernel's tile, whose rows are those of one axis."""
        lanes = target.lanes(self.dot.output.dtype)
        rows = max(self.row_extents, default=1)
        apart = all(self.label in labels for labels in self.dot.attributes.labels)
        vectors = column_vectors(rows, self.extent, sharing, lanes, target.registers, packed=True, apart=apart)
        return PackAttributes(self.axis, vectors * lanes, self.extent)

    def _terms(self, lanes: int, outside: Mapping[Value, Value]) -> str | None:
        """Of few columns, which would leave most of a vector empty: the summed axis along which the rows lie, if that fills vectors."""
        labels = self.dot.attributes.labels
        rows, own, output = self.dot.operands[1 - self.place], labels[1 - self.place], labels[2]
        summed = {
            label: (n, step) for label, n, step in zip(own, rows.shape, strides_of(rows, outside), strict=True) if label not in output
        }
        if self.extent * _FEW > lanes or math.prod(n for n, _ in summed.values()) < _TERMS * lanes:
            return None
        return next((label for label, (n, step) in summed.items() if step == 1 and n >= lanes), None)

    def _pays(self, all_rows: int, sharing: int, target: Target, outside: Mapping[Value, Value]) -> bool:
        """Whether packing it at every call is worth it, for the rows that it is multiplied with, here and elsewhere."""
        row = _line_bytes(self.value, self.axis, outside)
        lines = self.value.type.size // self.extent
        rivals = row is not None and lines > _WAYS * _WAY_BYTES // math.gcd(row, _WAY_BYTES)
        enough = self._rows_of_elements(outside) if row is None else _ROWS_OF_RIVALS if rivals else _ROWS
        if self._slivers(sharing, target).width * self.value.dtype.itemsize <= _LINE_BYTES:
            enough = min([enough, *(few for size, few in _ROWS_OF_LINES if sharing * self.value.type.nbytes > size)])
        rows = math.prod(self.row_extents)
        if row is not None and wants_panels(sharing * self.value.type.nbytes, row) and enough < ROWS_IN_PANELS:
            return rows >= ROWS_IN_PANELS
        return (all_rows if rivals else rows) >= enough

    def _rows_of_elements(self, outside: Mapping[Value, Value]) -> int:
        """Rows that are worth packing where neighbours along the axis are no neighbours in memory."""
        terms = [
            n
            for label, n in zip(self.dot.attributes.labels[self.place], self.value.shape, strict=True)
            if label not in self.dot.attributes.labels[2] and all(self._lies_along(place, label, outside) for place in (0, 1))
        ]
        return min(_ROWS_OF_TERMS, max(_ROWS_OF_ELEMENTS, *(n // _TERMS_OF_ROW for n in terms), 0))

    def _lies_along(self, place: int, label: str, outside: Mapping[Value, Value]) -> bool:
        return strides_of(self.dot.operands[place], outside)[self.dot.attributes.labels[place].index(label)] == 1


def _column_operands(group: Node) -> list[_Columns]:
    """What may be worth packing in a group."""
    (region,) = group.regions
    outside = dict(zip(region.inputs, group.operands, strict=True))
    found = []
    for dot in region.nodes:
        if dot.op is not DOT:
            continue
        left, right, output = dot.attributes.labels
        long = [label for label, extent in zip(output, dot.output.shape, strict=True) if extent > 1]
        if not long:
            continue
        label = long[-1]
        if label in left and label in right:
            places = _across(dot, label, outside)
        elif label == output[-1]:
            places = [1 if label in right else 0]
        else:
            places = []
        for place in places:
            value = dot.operands[place]
            if value.type.size >= _SMALLEST:
                found.append(_Columns(dot, place, outside.get(value, value), label))
    return found


def _across(dot: Node, label: str, outside: Mapping[Value, Value]) -> list[int]:
    """Of two operands that both have the axis, as those of a convolution in groups of one channel, the one that does not have it
    innermost while the other one does."""
    lines = [_line_bytes(value, labels.index(label), outside) for value, labels in zip(dot.operands, dot.attributes.labels, strict=False)]
    return [place for place in (0, 1) if lines[place] is None and lines[1 - place] is not None]


def _line_bytes(value: Value, axis: int, outside: Mapping[Value, Value]) -> int | None:
    """Where neighbours along the axis are neighbours in memory, as far as the views in and around the group tell: the bytes
    from one line of them to the next."""
    while True:
        node = value.node
        if node is None and value in outside:
            value = outside[value]
            continue
        if node is not None and node.op is TRANSPOSE:
            axis = node.attributes.permutation[axis]
        elif node is not None and node.op is WINDOWS:
            if axis >= len(node.operands[0].shape) or axis in node.attributes.axes:
                return None
        elif node is not None and node.op is RESHAPE and (place := same_axis(node.operands[0].shape, node.output.shape, axis)) is not None:
            axis = place
        elif node is None or node.op is not SLICE or node.attributes.stride[axis] != 1:
            in_lines = (node is None or not node.op.is_view) and math.prod(value.shape[axis + 1 :]) == 1
            return value.shape[axis] * value.dtype.itemsize if in_lines else None
        value = node.operands[0]


def same_axis(old: tuple[int, ...], new: tuple[int, ...], axis: int) -> int | None:
    """The axis of what is reshaped that is this one of the result, or the other way around: as long, with as much before it."""
    before = math.prod(new[:axis])
    return next((i for i, n in enumerate(old) if n == new[axis] and math.prod(old[:i]) == before), None)
