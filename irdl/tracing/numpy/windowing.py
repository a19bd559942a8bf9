"""`sliding_window_view` and `as_strided` on boxes: views whose elements may overlap. Those are read, never stored into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ops.shape import BroadcastAttributes, ReshapeAttributes, SliceAttributes, TransposeAttributes
from irdl.ops.windows import WindowsAttributes
from irdl.tracing.box import is_box
from irdl.tracing.layout import shadow_array
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.shaping import array_view, reshape
from irdl.tracing.numpy.table import as_box, traced
from irdl.tracing.views import BroadcastStep, ReshapeStep, SliceStep, TransposeStep, WindowsStep

_READ_ONLY = "it is a view whose elements may overlap"


@traced(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False) -> Any:
    box = array_view(as_box(x))
    try:
        shadow = np.lib.stride_tricks.sliding_window_view(box.shadow, window_shape, axis)
    except ValueError as error:
        raise ValueError(f"{error}{user_line()}") from None
    if not all(shadow.shape[box.ndim :]):
        return np.zeros_like(box, shape=shadow.shape)
    sizes = tuple(int(n) for n in (window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)))
    axes = tuple(range(box.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, box.ndim, allow_duplicate=True)
    steps: list[Any] = []
    if len(set(axes)) == len(axes):
        steps.append(WindowsStep(WindowsAttributes(axes, sizes, (1,) * len(axes), (1,) * len(axes))))
    else:  # one after the other, windows of windows
        steps += [WindowsStep(WindowsAttributes((place,), (size,), (1,), (1,))) for place, size in zip(axes, sizes, strict=True)]
    return _view(box, steps, shadow)


def as_strided(x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True) -> Any:
    """NumPy's, of a traced array: each stride a multiple of one of the array's axes, which is not left.

    Raises:
        TraceError: the strides do not fit.
    """
    if not is_box(x):
        return np.lib.stride_tricks.as_strided(x, shape, strides, subok=subok, writeable=writeable)
    box = array_view(x)
    extents = box.shape if shape is None else tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
    distances = box.strides if strides is None else tuple(int(n) for n in strides)
    if len(extents) != len(distances):
        raise ValueError(f"as_strided: {len(extents)} extents and {len(distances)} strides{user_line()}")
    if 0 in extents:
        return np.zeros_like(box, shape=extents)
    found = _steps(box.shape, box.strides, extents, distances)
    if found is None and box.shadow.flags.c_contiguous:
        box = reshape(box, (-1,))
        found = _steps(box.shape, box.strides, extents, distances)
    if found is None:
        raise TraceError(
            f"as_strided with shape {extents} and strides {distances} reads what is not in the array of shape {x.shape} and strides "
            f"{x.strides}, or backwards{user_line()}"
        )
    return _view(box, found, np.lib.stride_tricks.as_strided(box.shadow, extents, distances))


def _view(box: Any, steps: Sequence[Any], shadow: np.ndarray) -> Any:
    view = box.through(steps, shadow_array(shadow.shape, box.dtype, shadow.strides))
    if any(isinstance(step, (WindowsStep, BroadcastStep)) for step in steps):
        view.read_only = _READ_ONLY
    return view


def _steps(shape: tuple[int, ...], strides: tuple[int, ...], extents: tuple[int, ...], distances: tuple[int, ...]) -> list[Any] | None:
    """How an array laid out as given is seen under other extents and strides, None where it is not by slices and windows of its axes."""
    chosen: list[list[tuple[int, int, int]]] = [[] for _ in shape]  # for each axis of the array: (place, extent, step)
    for place, (extent, distance) in enumerate(zip(extents, distances, strict=True)):
        if extent == 1 or distance == 0:
            continue
        fitting = [axis for axis, stride in enumerate(strides) if shape[axis] > 1 and 0 < stride <= distance and distance % stride == 0]
        if not fitting:
            return None
        axis = max(fitting, key=lambda axis: strides[axis])
        chosen[axis].append((place, extent, distance // strides[axis]))
    if any(sum((extent - 1) * step for _, extent, step in parts) >= n for parts, n in zip(chosen, shape, strict=True)):
        return None
    steps: list[Any] = []
    places: list[int | None] = [parts[0][0] if parts else None for parts in chosen]  # which axis of the result each axis is
    kept = list(shape)
    for axis, parts in enumerate(chosen):
        for place, extent, step in parts[1:]:
            steps.append(WindowsStep(WindowsAttributes((axis,), (extent,), (1,), (step,))))
            kept[axis] -= (extent - 1) * step
            kept.append(extent)
            places.append(place)
    limits, by = list(kept), [1] * len(kept)
    for axis, parts in enumerate(chosen):
        _, extent, step = parts[0] if parts else (None, 1, 1)
        limits[axis], by[axis] = (extent - 1) * step + 1, step
    if limits != kept or set(by) != {1}:
        steps.append(SliceStep(SliceAttributes((0,) * len(kept), tuple(limits), tuple(by))))
    order = sorted(range(len(places)), key=lambda axis: len(extents) if places[axis] is None else places[axis])  # type: ignore[arg-type, return-value]
    if order != list(range(len(order))):
        steps.append(TransposeStep(TransposeAttributes(tuple(order))))
    plain = tuple(extent if distance else 1 for extent, distance in zip(extents, distances, strict=True))
    if len(places) != len(extents) or None in places:
        steps.append(ReshapeStep(ReshapeAttributes(plain)))
    if plain != extents:
        steps.append(BroadcastStep(BroadcastAttributes(extents)))
    return steps
