"""Overlap-add without a store into a place twice.

Of a step s, the places q * s + r of the result, for each r, get every (s / gcd)th tap alone, of windows that are neighbours:

    unwindow(y)[q * s + r] = sum of y[q - shift - w * dilation, w] over those taps w

which is a sum along a diagonal of windows of the padded y, axis by axis. If y is a contraction that has its taps from one operand alone
(the gradient of a convolution), each r is a contraction of windows of the other (a transposed convolution) and y is not made at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from irdl.ir.graph import Value
from irdl.ops.contract import DOT, DotAttributes
from irdl.ops.joining import CONCAT, PAD, ConcatAttributes, PadAttributes
from irdl.ops.reduce import SUM, ReduceAttributes
from irdl.ops.shape import BROADCAST, RESHAPE, REVERSE, TRANSPOSE, BroadcastAttributes, ReverseAttributes
from irdl.ops.windows import DIAGONAL, WINDOWS, DiagonalAttributes, UnwindowAttributes, WindowsAttributes
from irdl.passes.maker import Maker


@dataclass(frozen=True)
class _Phase:
    """The places r, r + step, .. of what is kept of a result: which taps they get (first, first + every, ..), and from which windows."""

    first: int
    every: int
    taps: int
    shift: int
    dilation: int


@dataclass(frozen=True)
class _Axis:
    axis: int
    extent: int
    step: int
    #: for each place in a step; None where no tap falls
    phases: tuple[_Phase | None, ...]

    @property
    def count(self) -> int:
        """Places for each phase."""
        return -(-self.extent // self.step)


def overlap_add(make: Maker, y: Value) -> Sequence[Value]:
    """What stands for `unwindow(y)`."""
    a = make.node.attributes
    return [_overlap_add(make, y, a, [(0, extent) for extent in a.extents])]


def overlap_add_within(make: Maker, y: Value, a: UnwindowAttributes) -> Sequence[Value] | None:
    """What stands for a slice of `unwindow(y)`, where no more than it keeps is computed; None for one with steps.

    The gradient of a convolution with padding is such.
    """
    kept = make.node.attributes
    if any(stride > 1 for stride in kept.stride):
        return None
    found = _overlap_add(make, y, a, [(kept.start[axis], kept.limit[axis]) for axis in a.axes])
    for axis, (start, limit) in enumerate(zip(kept.start, kept.limit, strict=True)):
        if axis not in a.axes:
            found = make.part(found, axis, start, limit)
    return [found]


def _overlap_add(make: Maker, y: Value, a: UnwindowAttributes, kept: Sequence[tuple[int, int]]) -> Value:
    """`kept`: of each windowed axis of the result, from where to where."""
    rank = len(y.shape) - len(a.axes)
    axes = [_plan(*window) for window in zip(a.axes, kept, y.shape[rank:], a.steps, a.dilations, strict=True)]
    if not y.type.size:
        extents = dict(zip(a.axes, kept, strict=True))
        return _zeros(make, y, tuple(extents[i][1] - extents[i][0] if i in extents else n for i, n in enumerate(y.shape[:rank])))
    found = _of_contraction(make, y, axes)
    if found is None:
        found = _of_reshaped(make, y, axes)
    if found is not None:
        return found
    for axis in reversed(axes):  # its taps are the last axis now
        y = _along(make, y, axis)
    return y


def _plan(axis: int, kept: tuple[int, int], size: int, step: int, dilation: int) -> _Axis:
    every = step // math.gcd(step, dilation)
    phases: list[_Phase | None] = []
    for r in range(kept[0], kept[0] + step):
        first = next((tap for tap in range(min(every, size)) if (tap * dilation - r) % step == 0), None)
        if first is None:
            phases.append(None)
        else:
            taps = len(range(first, size, every))
            phases.append(_Phase(first, every, taps, (first * dilation - r) // step, every * dilation // step))
    return _Axis(axis, kept[1] - kept[0], step, tuple(phases))


def _along(make: Maker, y: Value, axis: _Axis) -> Value:
    """The last axis of y added where it belongs along one axis."""
    shape = (*y.shape[: axis.axis], axis.count, *y.shape[axis.axis + 1 : -1])
    parts = []
    for phase in axis.phases:
        if phase is None:
            parts.append(_zeros(make, y, shape))
            continue
        taps = make.part(y, len(y.shape) - 1, phase.first, y.shape[-1], phase.every)
        around = _reach(make, taps, [axis], [_span(axis, phase)])
        if phase.taps == 1:
            parts.append(make.shaped(around, shape))
            continue
        windows = _windows(make, _reversed(make, around, [len(y.shape) - 1]), [axis], [phase])
        skewed = make(DIAGONAL, windows, attributes=DiagonalAttributes(len(y.shape) - 1, len(y.shape)))
        parts.append(make(SUM, skewed, attributes=ReduceAttributes((len(y.shape) - 1,))))
    return _interleaved(make, parts, axis)


@dataclass(frozen=True)
class _Contraction:
    """dot(g, w) with the windows' axes from g alone and the taps from w alone, under these letters."""

    g: Value
    w: Value
    g_labels: str
    w_labels: str
    kept: str
    taps: str


def _taps_apart(y: Value, axes: Sequence[_Axis]) -> _Contraction | None:
    """`y` as such a contraction, whichever operand is which."""
    order = list(range(len(y.shape)))
    if y.node is not None and y.node.op is TRANSPOSE:
        order = list(y.node.attributes.permutation)
        y = y.node.operands[0]
    if y.node is None or y.node.op is not DOT:
        return None
    left, right, output = y.node.attributes.labels
    output = "".join(output[place] for place in order)
    kept, taps = output[: -len(axes)], output[-len(axes) :]
    walked = {kept[axis.axis] for axis in axes}
    x, y = y.node.operands
    for found in (_Contraction(x, y, left, right, kept, taps), _Contraction(y, x, right, left, kept, taps)):
        if not set(found.g_labels) & set(taps) and not set(found.w_labels) & walked:
            return found
    return None


def _of_contraction(make: Maker, y: Value, axes: Sequence[_Axis]) -> Value | None:
    """A contraction of windows for each phase of all axes, where y is a contraction that has its taps from one operand alone."""
    dot = _taps_apart(y, axes) if axes else None
    if dot is None:
        return None
    at = [_Axis(dot.g_labels.index(dot.kept[axis.axis]), axis.extent, axis.step, axis.phases) for axis in axes]
    places = [dot.w_labels.index(label) for label in dot.taps]
    spec = DotAttributes(f"{dot.g_labels}{dot.taps},{dot.w_labels}->{dot.kept}")
    extents = {**dict(zip(dot.g_labels, dot.g.shape, strict=True)), **dict(zip(dot.w_labels, dot.w.shape, strict=True))}
    shape = [extents[label] for label in dot.kept]
    for axis in axes:
        shape[axis.axis] = axis.count
    # Zeros are put around all that is read, once.
    spans = [_around([_span(axis, phase) for phase in axis.phases if phase is not None]) for axis in at]
    whole = _reach(make, dot.g, at, spans)
    parts: list[Value] = []
    for phases in itertools.product(*(axis.phases for axis in axes)):
        chosen = [phase for phase in phases if phase is not None]
        if len(chosen) < len(axes):
            parts.append(_zeros(make, y, tuple(shape)))
            continue
        around, weight = whole, dot.w
        for axis, phase, span in zip(at, chosen, spans, strict=True):
            own = _span(axis, phase)
            around = make.part(around, axis.axis, span.low - own.low, span.low - own.low + own.length)
        for place, phase in zip(places, chosen, strict=True):
            weight = make.part(weight, place, phase.first, weight.shape[place], phase.every)
        parts.append(make(DOT, _windows(make, around, at, chosen), _reversed(make, weight, places), attributes=spec))
    for axis in reversed(axes):
        parts = [_interleaved(make, parts[first : first + axis.step], axis) for first in range(0, len(parts), axis.step)]
    return parts[0]


def _of_reshaped(make: Maker, y: Value, axes: Sequence[_Axis]) -> Value | None:
    """The same of what y is a reshape of, if that leaves the windows' axes and the taps as they are: groups of channels, say."""
    if y.node is None or y.node.op is not RESHAPE or not axes:
        return None
    inner, count = y.node.operands[0], len(axes)
    if inner.shape[-count:] != y.shape[-count:]:
        return None
    moved = []
    for axis in axes:
        before, extent = math.prod(y.shape[: axis.axis]), y.shape[axis.axis]
        places = (i for i, n in enumerate(inner.shape[:-count]) if n == extent and math.prod(inner.shape[:i]) == before)
        place = next(places, None)
        if place is None:
            return None
        moved.append(replace(axis, axis=place))
    found = _of_contraction(make, inner, moved)
    if found is None:
        return None
    shape = list(y.shape[:-count])
    for axis in axes:
        shape[axis.axis] = axis.extent
    return make.shaped(found, tuple(shape))


@dataclass(frozen=True)
class _Span:
    """Places of an axis: `length` of them, the first one `low` before what there is."""

    low: int
    length: int


def _span(axis: _Axis, phase: _Phase) -> _Span:
    """What windows of `phase.taps` take: window q ends with what place q gets of its first tap."""
    reach = (phase.taps - 1) * phase.dilation
    return _Span(phase.shift + reach, axis.count + reach)


def _around(spans: Sequence[_Span]) -> _Span:
    """The span of several."""
    low = max(span.low for span in spans)
    return _Span(low, low + max(span.length - span.low for span in spans))


def _reach(make: Maker, y: Value, axes: Sequence[_Axis], spans: Sequence[_Span]) -> Value:
    """What of y, between zeros, the spans of some axes cover."""
    start, limit, before, behind = [0] * len(y.shape), list(y.shape), [0] * len(y.shape), [0] * len(y.shape)
    for axis, span in zip(axes, spans, strict=True):
        place, low, length = axis.axis, span.low, span.length
        before[place] = min(max(low, 0), length)
        start[place] = min(max(-low, 0), y.shape[place])
        limit[place] = max(start[place], min(y.shape[place], length - low))
        behind[place] = length - before[place] - (limit[place] - start[place])
    for axis in axes:
        y = make.part(y, axis.axis, start[axis.axis], limit[axis.axis])
    if any(before) or any(behind):
        y = make(PAD, y, 0, attributes=PadAttributes(tuple(before), tuple(behind)))
    return y


def _windows(make: Maker, x: Value, axes: Sequence[_Axis], phases: Sequence[_Phase]) -> Value:
    sizes, dilations = tuple(phase.taps for phase in phases), tuple(phase.dilation for phase in phases)
    return make(WINDOWS, x, attributes=WindowsAttributes(tuple(axis.axis for axis in axes), sizes, (1,) * len(sizes), dilations))


def _interleaved(make: Maker, parts: Sequence[Value], axis: _Axis) -> Value:
    """Part r of the parts at the places r, r + step, .. of the axis."""
    if axis.step == 1:
        return make.part(parts[0], axis.axis, 0, axis.extent)
    shape = parts[0].shape
    apart = (*shape[: axis.axis + 1], 1, *shape[axis.axis + 1 :])
    joined = make(CONCAT, *(make.shaped(part, apart) for part in parts), attributes=ConcatAttributes(axis.axis + 1))
    whole = (*shape[: axis.axis], axis.count * axis.step, *shape[axis.axis + 1 :])
    return make.part(make.shaped(joined, whole), axis.axis, 0, axis.extent)


def _reversed(make: Maker, x: Value, axes: Sequence[int]) -> Value:
    wide = tuple(axis for axis in axes if x.shape[axis] > 1)
    return make(REVERSE, x, attributes=ReverseAttributes(wide)) if wide else x


def _zeros(make: Maker, like: Value, shape: tuple[int, ...]) -> Value:
    return make(BROADCAST, make.builder.constant(0, like.dtype), attributes=BroadcastAttributes(shape))
