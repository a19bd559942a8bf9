"""Convolutions that are bound by memory read the array as it lies between its padding, which is not made.

    dot(windows(pad(x)), w)
->
    concat(dot(windows(pad(x[:2])), w), dot(windows(x), w), dot(windows(pad(x[-2:])), w))

along each padded axis: places whose windows reach into the padding are computed by themselves, from a small padded part; along the next
axis only those between them are cut. In the gradient for the weights, which sums over places, the parts are added. Each product stays,
those with the padding's elements too. A depthwise convolution has as little to do as that: copying its operand takes as long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from irdl.codegen.cpu.following import chain_of, followed, joined, part_of
from irdl.codegen.cpu.pack import same_axis
from irdl.ir.builder import Builder, copy_nodes, fresh_inputs
from irdl.ir.dtypes import is_float
from irdl.ir.graph import Graph, Node, Value
from irdl.ops import elementwise as e
from irdl.ops.contract import DOT
from irdl.ops.joining import PAD, PadAttributes
from irdl.ops.shape import RESHAPE, SLICE, TRANSPOSE, ReshapeAttributes
from irdl.ops.windows import WINDOWS
from irdl.passes.maker import Maker

#: Bytes of padded array that each kernel more has to spare, and products for each element of it that take longer than making it.
_BYTES, _PRODUCTS = 1024 * 1024, 256


@dataclass(frozen=True)
class _Axis:
    """A windowed axis: place p and tap t read element p * step + t * dilation - low of what is no padding.

    Attributes:
        axis: of the array.
        label: of places, in the contraction.
        places: their number.
        reach: from the first element of a window to behind the last one.
        extent: of what is no padding.
    """

    axis: int
    label: str
    places: int
    low: int
    step: int
    reach: int
    extent: int

    @property
    def inner(self) -> range:
        """Places whose windows meet no padding."""
        first = max(0, -(-self.low // self.step))
        return range(first, min(self.places, (self.extent + self.low - self.reach) // self.step + 1))

    @property
    def parts(self) -> tuple[range, ...]:
        inner = self.inner
        return tuple(part for part in (range(inner.start), inner, range(inner.stop, self.places)) if part)

    def elements(self, places: range) -> range:
        """What is read for places, from before the array to behind it."""
        return range(places[0] * self.step - self.low, places[-1] * self.step - self.low + self.reach)


@dataclass(frozen=True)
class _Site:
    """A contraction of windows over a padded array.

    Attributes:
        chain: the contraction, and what follows it element by element.
        side: which operand has the windows.
        pad: what makes the padded array.
        views: from the windows to the operand; which of its axes are those of `axes`.
        axes: of the windows.
    """

    chain: tuple[Node, ...]
    side: int
    pad: Node
    views: tuple[tuple[Node, tuple[int, ...]], ...]
    axes: tuple[_Axis, ...]

    @property
    def dot(self) -> Node:
        return self.chain[0]

    @property
    def sums(self) -> bool:
        """Over places."""
        return any(axis.label not in self.dot.attributes.labels[2] for axis in self.axes)

    def parts(self) -> list[tuple[range, ...]]:
        """Of each axis, in the order in which they are made; the last one meets no padding."""
        found: list[tuple[range, ...]] = []
        inner: tuple[range, ...] = ()
        for place, axis in enumerate(self.axes):
            behind = tuple(range(other.places) for other in self.axes[place + 1 :])
            found += [(*inner, part, *behind) for part in axis.parts if part != axis.inner]
            inner = (*inner, axis.inner)
        return [*found, inner]


def leave_padding_unmade(graph: Graph) -> Graph:
    """`graph` with its convolutions of little work in parts, where that spares enough of a padded array."""
    if not graph.has((WINDOWS,)):
        return graph
    sites = _sites(graph)
    builder, inputs = Builder(fold=False), fresh_inputs(graph.inputs)
    mapping = dict(zip(graph.inputs, inputs, strict=True))
    ends = {site.chain[-1]: site for site in sites}
    inside = {node for site in sites for node in site.chain}
    for node in graph.nodes:
        if node in ends:
            mapping[node.output] = _Cut(Maker(builder, ends[node].dot), ends[node], mapping).part(())
        elif node not in inside:
            copy_nodes(builder, [node], mapping, region=leave_padding_unmade)
    return Graph(inputs, [mapping[value] for value in graph.outputs], graph.name)


def _sites(graph: Graph) -> list[_Site]:
    """The contractions to be cut: all that read a padded array."""
    users, kept = graph.users(), Counter(graph.outputs)
    found: list[_Site] = []
    taken: set[Node] = set()
    for pad in graph.nodes:
        if pad.op is not PAD or not pad.operands[0].type.size or _is_made_in_place(pad, users):
            continue
        dots = _readers(pad.output, users, kept)
        sites = [_site(dot, pad) for dot in dots or ()]
        cut = [site for site in sites if site is not None]
        if not cut or len(cut) < len(sites) or not _pays(pad, cut) or any(site.dot in taken for site in cut):
            continue
        for site in cut:
            chain = (site.dot,) if site.sums else chain_of(site.dot, users, kept, taken)
            taken.update(chain)
            found.append(replace(site, chain=chain))
    return found


def _is_made_in_place(pad: Node, users: Mapping[Value, list[Node]]) -> bool:
    """What is padded is computed where it lies between its padding."""
    value, node = pad.operands[0], pad
    while users[value] == [node] and value.node is not None and value.node.op is RESHAPE:
        node = value.node
        (value,) = node.operands
    return users[value] == [node] and value.node is not None and not value.node.op.is_view


def _readers(value: Value, users: Mapping[Value, list[Node]], kept: Counter[Value]) -> list[Node] | None:
    """The contractions that read views of a value; None where something else does."""
    found: list[Node] = []
    stack = [value]
    while stack:
        value = stack.pop()
        if kept[value]:
            return None
        for node in users[value]:
            if node.op in (WINDOWS, SLICE, TRANSPOSE, RESHAPE):
                stack.append(node.output)
            elif node.op is DOT and node not in found:
                found.append(node)
            else:
                return None
    return found


def _site(dot: Node, pad: Node) -> _Site | None:
    """Where one operand is windows over the padded array."""
    if not is_float(dot.output.dtype) or not dot.output.type.size:
        return None
    for side in (0, 1):
        views: list[Node] = []
        windows = dot.operands[side].node
        while windows is not None and windows.op in (TRANSPOSE, RESHAPE):
            views.insert(0, windows)
            windows = windows.operands[0].node
        if windows is None or windows.op is not WINDOWS:
            continue
        padded, offsets = windows.operands[0], [0] * len(pad.output.shape)
        if padded.node is not None and padded.node.op is SLICE and set(padded.node.attributes.stride) == {1}:
            offsets, padded = list(padded.node.attributes.start), padded.node.operands[0]
        if padded is pad.output:
            return _over(dot, side, pad, windows, views, offsets)
    return None


def _over(dot: Node, side: int, pad: Node, windows: Node, views: list[Node], offsets: Sequence[int]) -> _Site | None:
    x, a = pad.operands[0], windows.attributes
    low = [before - offset for before, offset in zip(pad.attributes.low, offsets, strict=True)]
    if any((n, 0) != (windows.output.shape[axis], low[axis]) for axis, n in enumerate(x.shape) if axis not in a.axes):
        return None
    places = tuple(a.axes)
    followed_views = [(windows, places)]
    for view in views:
        moved: list[int | None]
        if view.op is TRANSPOSE:
            moved = [view.attributes.permutation.index(axis) for axis in places]
        else:
            moved = [same_axis(view.output.shape, view.operands[0].shape, axis) for axis in places]
        if None in moved:
            return None
        places = tuple(axis for axis in moved if axis is not None)
        followed_views.append((view, places))
    axes = [
        _Axis(
            axis, dot.attributes.labels[side][place], windows.output.shape[axis], low[axis], step, (size - 1) * dilation + 1, x.shape[axis]
        )
        for axis, place, size, step, dilation in zip(a.axes, places, a.sizes, a.steps, a.dilations, strict=True)
    ]
    return _Site((dot,), side, pad, tuple(followed_views), tuple(axes)) if all(axis.inner for axis in axes) else None


def _pays(pad: Node, sites: Sequence[_Site]) -> bool:
    """What is spared of the padded array is worth the kernels more, and making it takes long beside the contractions."""
    padded = pad.output.type
    kernels = sum(len(site.parts()) - 1 for site in sites)
    edges = {
        tuple(axis.elements(part) for axis, part in zip(site.axes, parts, strict=True)): site
        for site in sites
        for parts in site.parts()[:-1]
    }
    elements = 0
    for spans, site in edges.items():
        lengths = {axis.axis: len(span) for axis, span in zip(site.axes, spans, strict=True)}
        elements += math.prod(lengths.get(axis, n) for axis, n in enumerate(padded.shape))
    products = max(_products(site.dot) for site in sites)
    return kernels > 0 and padded.nbytes - elements * padded.dtype.itemsize >= kernels * _BYTES and products <= _PRODUCTS * padded.size


def _products(dot: Node) -> int:
    extents = {
        label: n for labels, v in zip(dot.attributes.labels, dot.operands, strict=False) for label, n in zip(labels, v.shape, strict=True)
    }
    return math.prod(extents.values())


class _Cut:
    """A site as it is cut."""

    def __init__(self, make: Maker, site: _Site, mapping: Mapping[Value, Value]) -> None:
        self.make, self.site, self.mapping = make, site, mapping
        self.x, self.fill = (mapping[value] for value in site.pad.operands)
        self.other = mapping[site.dot.operands[1 - site.side]]
        # All that is copied comes first: threads meet behind it once.
        self.windows = {places: self._windows(places) for places in site.parts()}

    def part(self, inner: tuple[range, ...]) -> Value:
        """All places along the axes behind those that `inner` says."""
        axes = self.site.axes
        if len(inner) == len(axes):
            return self._made(inner)
        axis = axes[len(inner)]
        behind = tuple(range(other.places) for other in axes[len(inner) + 1 :])
        edges = {span: self._made((*inner, span, *behind)) for span in axis.parts if span != axis.inner}
        middle = self.part((*inner, axis.inner))
        if axis.label in self.site.dot.attributes.labels[2]:
            return joined(self.make, self.site.chain, axis.label, [edges.get(span, middle) for span in axis.parts])
        # The contraction that is last adds what the others have made.
        total = middle
        for value in edges.values():
            total = self.make(e.ADD, total, value)
        return total

    def _made(self, places: tuple[range, ...]) -> Value:
        """The contraction and what follows it, for some places along each axis."""
        site = self.site
        spans = {axis.label: part for axis, part in zip(site.axes, places, strict=True)}
        operands = [self.windows[places], part_of(self.make, self.other, site.dot.attributes.labels[1 - site.side], spans)]
        value = self.make(DOT, *(operands if site.side == 0 else reversed(operands)), attributes=site.dot.attributes)
        return followed(self.make, site.chain, self.mapping, spans, value)

    def _windows(self, places: tuple[range, ...]) -> Value:
        value = self.x
        low, high = [0] * len(value.shape), [0] * len(value.shape)
        for axis, part in zip(self.site.axes, places, strict=True):
            elements = axis.elements(part)
            start, stop = (min(max(end, 0), axis.extent) for end in (elements.start, elements.stop))
            value = self.make.part(value, axis.axis, start, stop)
            low[axis.axis] = min(max(0, -elements.start), len(elements))
            high[axis.axis] = len(elements) - low[axis.axis] - (stop - start)
        if any(low) or any(high):
            value = self.make(PAD, value, self.fill, attributes=PadAttributes(tuple(low), tuple(high)))
        for view, positions in self.site.views:
            attributes = view.attributes
            if view.op is RESHAPE:
                shape = list(view.output.shape)
                for position, part in zip(positions, places, strict=True):
                    shape[position] = len(part)
                attributes = ReshapeAttributes(tuple(shape))
            value = self.make(view.op, value, attributes=attributes)
        return value
