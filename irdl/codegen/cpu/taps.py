"""Convolutions leave out the taps that meet nothing but padding.

    dot(windows(pad(x, 0)), w)
->
    concat(dot(windows(x[..]), w[1:]) + skipped, dot(windows(x), w), dot(windows(x[..]), w[:2]) + skipped)

along each padded axis: places whose windows reach into the padding are computed by themselves, each with the taps that meet something. The
gradient for the weights sums over places and keeps taps; there it is places that a tap leaves out. What follows element by element is done
part by part. What is left out would have added 0 * w, which is nan where w is not finite: `skipped` is the sum of these products, without x.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from irdl.codegen.cpu.following import chain_of, followed, joined, part_of
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Graph, Node, Value
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT
from irdl.ops.control import COND
from irdl.ops.joining import PAD
from irdl.ops.pieces import is_zero
from irdl.ops.reduce import SUM, ReduceAttributes
from irdl.ops.shape import BROADCAST, SLICE, TRANSPOSE, BroadcastAttributes, TransposeAttributes
from irdl.ops.windows import WINDOWS, WindowsAttributes
from irdl.passes.maker import Maker

#: What has to be saved of a contraction, and of what an axis alone takes; for how many rows; and how much else there is in the operand
#: that has the windows, summed or in rows.
_SAVED, _SAVED_ALONG, _ROWS_SAVED, _ALONE = 1 / 13, 1 / 40, 32, 8
#: Parts at most, and products that each has to save: it is code of its own, of some ten milliseconds to compile.
_MOST, _PRODUCTS_SAVED = 9, 700_000


@dataclass(frozen=True)
class _Part:
    """Elements of a kept axis, and the steps of the summed one that meet something there."""

    kept: range
    summed: range


@dataclass(frozen=True)
class _Axis:
    """A windowed axis: place p and tap t read element p * step + t * dilation - low of what is no padding.

    Attributes:
        axis: of the array.
        sums_taps: and keeps places, or the other way around.
        kept, summed: their letters in the contraction.
        parts: of the kept one; a single one with all steps where nothing is cut.
    """

    axis: int
    sums_taps: bool
    kept: str
    summed: str
    low: int
    step: int
    dilation: int
    parts: tuple[_Part, ...]

    @property
    def products(self) -> int:
        """How many the parts compute along the axis."""
        return sum(len(part.kept) * len(part.summed) for part in self.parts)

    def elements(self, part: _Part) -> range:
        """What is read for a part."""
        places, taps = (part.kept, part.summed) if self.sums_taps else (part.summed, part.kept)
        first = places[0] * self.step + taps[0] * self.dilation - self.low
        return range(first, places[-1] * self.step + taps[-1] * self.dilation - self.low + 1)


@dataclass(frozen=True)
class _Plan:
    """A contraction to be cut, and what follows it element by element.

    Attributes:
        chain: the contraction, and each node that alone reads the one before.
        side: which operand has the windows.
        x: the array without its padding.
        axes: of the windows.
    """

    chain: tuple[Node, ...]
    side: int
    x: Value
    axes: tuple[_Axis, ...]


def leave_out_padding(graph: Graph) -> Graph:
    """`graph` with its convolutions in parts, where enough of them is padding."""
    if not graph.has((WINDOWS,)):
        return graph
    users: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for value in node.operands:
            users.setdefault(value, []).append(node)
    kept = Counter(graph.outputs)
    plans: dict[Node, _Plan] = {}
    inside: set[Node] = set()
    for node in graph.nodes:
        plan = _plan(node) if node.op is DOT and node not in inside else None
        if plan is not None:
            chain = chain_of(node, users, kept, inside)
            plans[chain[-1]] = replace(plan, chain=chain)
            inside.update(chain)
    builder, inputs = Builder(fold=False), fresh_inputs(graph.inputs)
    mapping, flags = dict(zip(graph.inputs, inputs, strict=True)), dict[Value, Value]()
    for node in graph.nodes:
        if node in plans:
            mapping[node.output] = _Cut(builder, plans[node], mapping, flags).whole()
        elif node not in inside:
            copy_nodes(builder, [node], mapping, region=leave_out_padding)
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _plan(node: Node) -> _Plan | None:
    """Where an operand is windows over padding, and enough of it is."""
    if not is_float(node.output.dtype) or not node.output.type.size:
        return None
    for side in (0, 1):
        windows = node.operands[side].node
        if windows is None or windows.op is not WINDOWS:
            continue
        padded, offsets = windows.operands[0], [0] * len(windows.operands[0].shape)
        if padded.node is not None and padded.node.op is SLICE and set(padded.node.attributes.stride) == {1}:
            offsets, padded = list(padded.node.attributes.start), padded.node.operands[0]
        if padded.node is None or padded.node.op is not PAD or not is_zero(padded.node.operands[1]):
            continue
        axes = _axes(node, side, windows, padded.node, offsets)
        if axes is not None:
            return _Plan((node,), side, padded.node.operands[0], axes)
    return None


def _axes(dot: Node, side: int, windows: Node, pad: Node, offsets: Sequence[int]) -> tuple[_Axis, ...] | None:
    x, a = pad.operands[0], windows.attributes
    labels, output = dot.attributes.labels[side], dot.attributes.labels[2]
    for axis, extent in enumerate(x.shape):
        if axis not in a.axes and (extent, 0) != (windows.output.shape[axis], offsets[axis] - pad.attributes.low[axis]):
            return None
    found: list[_Axis] = []
    for axis, tap, step, dilation in zip(a.axes, labels[len(x.shape) :], a.steps, a.dilations, strict=True):
        place, sums_taps = labels[axis], tap not in output
        if sums_taps == (place not in output) or not x.shape[axis]:
            return None
        low = pad.attributes.low[axis] - offsets[axis]
        taps = range(windows.output.shape[labels.index(tap)])
        places = range(windows.output.shape[axis])
        parts = _parts(places, taps, step, dilation, low, x.shape[axis], sums_taps)
        kept, summed = (place, tap) if sums_taps else (tap, place)
        found.append(_Axis(axis, sums_taps, kept, summed, low, step, dilation, parts))
    return _worthwhile(dot, side, found) if found else None


def _parts(places: range, taps: range, step: int, dilation: int, low: int, extent: int, sums_taps: bool) -> tuple[_Part, ...]:
    """Neighbours that leave the same out, together."""
    kept, summed = (places, taps) if sums_taps else (taps, places)
    every, far = (step, dilation) if sums_taps else (dilation, step)

    def meets(k: int) -> range:
        """The steps s for which k * every + s * far - low is an element."""
        first, end = (max(0, min(len(summed), -((k * every - n) // far))) for n in (low, low + extent))
        return range(first, end) if first < end else range(0)

    return tuple(
        _Part(range(group[0], group[-1] + 1), steps) for steps, members in itertools.groupby(kept, meets) for group in [list(members)]
    )


def _worthwhile(dot: Node, side: int, axes: list[_Axis]) -> tuple[_Axis, ...] | None:
    """The axes; None where too little is saved, along one that has padding or in all."""
    *operands, output = dot.attributes.labels
    extents = {label: n for labels, v in zip(operands, dot.operands, strict=True) for label, n in zip(labels, v.shape, strict=True)}
    own, other = operands[side], operands[1 - side]
    left = 1.0
    for axis in axes:
        share = axis.products / (extents[axis.kept] * extents[axis.summed])
        if 1 - _SAVED_ALONG < share < 1:
            return None
        left *= share
    windowed = {label for axis in axes for label in (axis.kept, axis.summed)}
    # Of a depthwise convolution there is little else than taps, which a tile has in common.
    beside = (
        label for label in own if label not in windowed and (label in other) == axes[0].sums_taps and (label in output) != axes[0].sums_taps
    )
    alone = math.prod(extents[label] for label in beside)
    rows = math.prod(n for label, n in extents.items() if label in output and label not in other)
    count = math.prod(len(axis.parts) for axis in axes)
    saved = 1 - left
    is_worth_it = saved >= _SAVED and rows * saved >= _ROWS_SAVED and alone >= _ALONE
    is_worth_code = count <= _MOST and math.prod(extents.values()) * saved >= (count - 1) * _PRODUCTS_SAVED
    return tuple(axes) if is_worth_it and is_worth_code else None


class _Cut:
    """A plan as it is carried out. `flags`: whether an array holds what is not finite."""

    def __init__(self, builder: Builder, plan: _Plan, mapping: dict[Value, Value], flags: dict[Value, Value]) -> None:
        self.plan, self.mapping, self.flags = plan, mapping, flags
        self.dot = plan.chain[0]
        *operands, self.output = self.dot.attributes.labels
        self.make = Maker(builder, self.dot)
        self.x = mapping[plan.x]
        self.other = mapping[self.dot.operands[1 - plan.side]]
        self.others = operands[1 - plan.side]
        self.kept = [axis.kept for axis in plan.axes]

    def whole(self) -> Value:
        combinations = list(itertools.product(*(axis.parts for axis in self.plan.axes)))
        skipped = self._skipped(combinations)
        values = []
        for parts, left_out in zip(combinations, skipped, strict=True):
            spans = {label: part.kept for label, part in zip(self.kept, parts, strict=True)}
            values.append(followed(self.make, self.plan.chain, self.mapping, spans, self._product(parts, left_out)))
        for axis in reversed(self.plan.axes):
            count = len(axis.parts)
            groups = [values[first : first + count] for first in range(0, len(values), count)]
            values = [joined(self.make, self.plan.chain, axis.kept, group) for group in groups]
        return values[0]

    def _product(self, parts: Sequence[_Part], skipped: Value | None) -> Value:
        """The contraction for one part of each axis."""
        spans = dict(zip(self.kept, (part.kept for part in parts), strict=True))
        if all(part.summed for part in parts):
            summed = {axis.summed: part.summed for axis, part in zip(self.plan.axes, parts, strict=True)}
            operands = [self._windows(parts), part_of(self.make, self.other, self.others, spans | summed)]
            result = self.make(DOT, *(operands if self.plan.side == 0 else reversed(operands)), attributes=self.dot.attributes)
        else:
            shape = tuple(len(spans[label]) if label in spans else n for label, n in zip(self.output, self.dot.output.shape, strict=True))
            zero = self.make.builder.constant(0, self.dot.output.dtype)
            result = self.make(BROADCAST, zero, attributes=BroadcastAttributes(shape))
        return result if skipped is None else self.make(e.ADD, result, skipped)

    def _windows(self, parts: Sequence[_Part]) -> Value:
        value = self.x
        for axis, part in zip(self.plan.axes, parts, strict=True):
            elements = axis.elements(part)
            value = self.make.part(value, axis.axis, elements.start, elements.stop)
        axes = self.plan.axes
        sizes = tuple(len(part.summed if axis.sums_taps else part.kept) for axis, part in zip(axes, parts, strict=True))
        attributes = WindowsAttributes(tuple(a.axis for a in axes), sizes, tuple(a.step for a in axes), tuple(a.dilation for a in axes))
        return self.make(WINDOWS, value, attributes=attributes)

    def _skipped(self, combinations: Sequence[Sequence[_Part]]) -> list[Value | None]:
        """For each part the products of zeros that it leaves out, as it is added to the part: nan where they would be nan."""
        cut = [axis.summed for axis in self.plan.axes]
        rest = [label for label in self.others if label not in cut and label in self.output]
        masks = [self._mask(parts, [self.other.shape[self.others.index(label)] for label in cut]) for parts in combinations]
        sums = self._unless_finite([*cut, *rest], masks)
        result: list[Value | None] = []
        for i, mask in enumerate(masks):
            if not mask.any():
                result.append(None)
                continue
            own = self.make.part(sums, 0, i, i + 1)
            spans = {label: part.kept for label, part in zip(self.kept, combinations[i], strict=True)}
            own = part_of(self.make, own, "?" + "".join(rest), spans)
            sizes = dict(zip(rest, own.shape[1:], strict=True))
            places = [1 + rest.index(label) for label in self.output if label in sizes]
            if places != sorted(places):
                own = self.make(TRANSPOSE, own, attributes=TransposeAttributes((0, *places)))
            shape = tuple(sizes.get(label, 1) for label in self.output)
            result.append(self.make.shaped(own, shape))
        return result

    def _unless_finite(self, order: Sequence[str], masks: Sequence[np.ndarray]) -> Value:
        """For each part (first axis) the sums of 0 * other over what it leaves out; zeros if all is finite, which is quickly seen.

        Args:
            order: letters of the other operand, first those along which something is left out; what is in neither is summed.
        """
        array = self.other
        while array.node is not None and array.node.op.is_view and array.node.operands[0].shape:
            (array,) = array.node.operands
        if array not in self.flags:
            # One sum for each element of the first axis: threads share these.
            rows = self.make(SUM, self.make(e.MUL, array, 0.0), attributes=ReduceAttributes(tuple(range(1, len(array.shape)))))
            total = self.make(SUM, rows, attributes=ReduceAttributes((0,)))
            self.flags[array] = self.make(e.NOT_EQUAL, total, total)
        regions = []
        for compute in (self._sums, self._zeros):
            inside = Builder(fold=False)
            (entry,) = fresh_inputs([self.other])
            regions.append(Graph([entry], [compute(Maker(inside, self.dot), entry, order, masks)]))
        return self.make.builder.node(COND, [self.flags[array], self.other], regions=regions, location=self.dot.location).output

    def _sums(self, make: Maker, other: Value, order: Sequence[str], masks: Sequence[np.ndarray]) -> Value:
        alone = [label for label in self.others if label not in order]
        first = [self.others.index(label) for label in (*alone, *order)]
        zeros = make(TRANSPOSE, make(e.MUL, other, 0.0), attributes=TransposeAttributes(tuple(first)))
        flags = np.stack(masks).reshape(len(masks), *[1] * len(alone), *masks[0].shape, *[1] * (len(order) - masks[0].ndim))
        wide = make.shaped(zeros, (1, *zeros.shape))
        chosen = make(e.SELECT, make.builder.constant(flags), wide, make.builder.constant(0, zeros.dtype))
        return make(SUM, chosen, attributes=ReduceAttributes(tuple(range(1, 1 + len(alone) + masks[0].ndim))))

    def _zeros(self, make: Maker, other: Value, order: Sequence[str], masks: Sequence[np.ndarray]) -> Value:
        shape = tuple(other.shape[self.others.index(label)] for label in order[masks[0].ndim :])
        return make(BROADCAST, make.builder.constant(0, other.dtype), attributes=BroadcastAttributes((len(masks), *shape)))

    def _mask(self, parts: Sequence[_Part], extents: Sequence[int]) -> np.ndarray:
        """Which steps a part leaves out."""
        inside = np.ones(tuple(extents), bool)
        for place, part in enumerate(parts):
            steps = np.isin(np.arange(extents[place]), list(part.summed))
            inside &= steps.reshape([-1 if i == place else 1 for i in range(len(extents))])
        return ~inside
