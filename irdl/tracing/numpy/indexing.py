"""`x[index]` and `x[index] = value` on boxes: views for basic indices, gather and scatter for arrays of integers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_integer
from irdl.ir.graph import Value
from irdl.ops.index import GATHER, SCATTER_SET, IndexAttributes
from irdl.ops.joining import CONCAT, ConcatAttributes
from irdl.ops.shape import BROADCAST, RESHAPE, TRANSPOSE, BroadcastAttributes, ReshapeAttributes, TransposeAttributes
from irdl.tracing.box import ARRAY, PYTHON, SCALAR, Box, is_box, to_value, wrap, wrap_result
from irdl.tracing.layout import tiny
from irdl.tracing.lines import user_line
from irdl.tracing.long_loops import plans
from irdl.tracing.numpy import masks
from irdl.tracing.numpy.layout import laid_out_like
from irdl.tracing.numpy.moving_slices import MovingSlice, is_moving, moving_slice
from irdl.tracing.numpy.ufuncs import store
from irdl.tracing.operations import apply, cast
from irdl.tracing.recorder import Cell, open_trace
from irdl.tracing.sources import check_source
from irdl.tracing.views import DynamicSliceStep, RowStep, basic_index_steps, expand_index, row_steps


def get_item(box: Box, index: Any) -> Any:
    if type(index) is int and box.type.rank > 1:  # the rows that a loop reads
        return box.through(row_steps(box.type.shape, index), box.shadow[index])
    place = masks.place_of_mask(index)
    if place is not None:
        return masks.take(box, index, place)
    items = _normalise(box, index)
    if not any(_is_array(item) for item in items):
        steps, shadow = _view(box, items)
        ellipsis = index is Ellipsis or (isinstance(index, tuple) and any(part is Ellipsis for part in index))
        if shadow.ndim == 0 and not ellipsis:  # every axis got an int: NumPy gives a scalar
            return box.through(steps, np.empty(()), SCALAR)
        return box.through(steps, np.asarray(shadow))
    places, view, indices, axes = _advanced(box, items)
    value = apply(GATHER, [view.value, indices], IndexAttributes(axes))
    value = _move_index_axes(value, places, len(indices.shape) - 1, axes, items)
    result = wrap_result(value)
    if result.ndim > 1:
        numbers = np.zeros(tuple(min(extent, 2) for extent in indices.shape[:-1]), np.intp)
        sample = tiny(view.shadow)
        if 0 not in sample.shape:
            made = sample[tuple(numbers if axis in axes else slice(None) for axis in range(view.ndim))]
            result = laid_out_like(value, made)
    return result


def set_item(box: Box, index: Any, item: Any) -> None:
    if box.kind != ARRAY:
        raise TypeError(f"'{box.dtype}' object does not support item assignment")
    place = masks.place_of_mask(index)
    if place is None and isinstance(index, np.ndarray) and masks.is_mask(index) and np.ndim(item) == 0:
        index = wrap(to_value(index)) if not is_box(index) else index
        place = 0
    if place is not None:
        return masks.put(box, index, place, item)
    items = _normalise(box, index)
    if not any(_is_array(part) for part in items):
        steps, shadow = _view(box, items)
        target = box.through(steps, np.asarray(shadow))
        if is_box(item) and item.is_same_view(target):
            return None  # Python's `x[i] += y` stores the view that was stored into already
        value = _fit(to_value(item, box.dtype), target.shape)
        store(target, value)
        return None
    places, view, indices, axes = _advanced(box, items)
    lead = len(indices.shape) - 1
    rest = [n for axis, n in enumerate(view.shape) if axis not in axes]
    shape = (*indices.shape[:-1], *rest)
    order = _index_axes_order(places, lead, len(shape), axes, items)
    shown = tuple(shape[axis] for axis in order)
    updates = apply(BROADCAST, [_fit(to_value(item, box.dtype), shown)], BroadcastAttributes(shown))
    updates = apply(TRANSPOSE, [updates], TransposeAttributes(tuple(int(i) for i in np.argsort(order))))
    view.store(apply(SCATTER_SET, [view.value, indices, updates], IndexAttributes(axes)))
    return None


def _view(box: Box, items: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """The steps to `x[items]`, of numbers (traced ones too) and slices, and what its layout is."""
    shown = [slice(0, item.size) if isinstance(item, MovingSlice) else 0 if is_box(item) else item for item in items]
    if any(is_box(item) for item in items):  # one place, of all the numbers
        extents = iter(box.shape)
        given = [(item, None if item is None else next(extents)) for item in items]
        for item, extent in given:
            if is_box(item) and extent is not None:
                plans.settle_index(open_trace(), item.value, extent)
        items = tuple(_as_traced(item, extent) if type(item) is int and extent else item for item, extent in given)
    steps = basic_index_steps(box.shape, tuple(slice(None) if isinstance(item, (Box, MovingSlice)) else item for item in items))
    kept = [item for item in items if is_box(item) or not isinstance(item, int)]
    moving = [(axis, item) for axis, item in enumerate(kept) if isinstance(item, MovingSlice)]
    if moving:
        extents = iter(box.shape)
        starts = [
            item.checked_start(n) for item, n in ((i, next(extents)) for i in items if i is not None) if isinstance(item, MovingSlice)
        ]
        axes, sizes = tuple(axis for axis, _ in moving), tuple(item.size for _, item in moving)
        steps.append(DynamicSliceStep(tuple(starts), axes, sizes))
    numbers = [(axis, Cell(open_trace(), item.value)) for axis, item in enumerate(kept) if is_box(item)]
    if numbers:
        steps.append(RowStep(tuple(cell for _, cell in numbers), tuple(axis for axis, _ in numbers)))
    return steps, box.shadow[(*shown, Ellipsis)]


def _as_traced(number: int, extent: int) -> Any:
    """A number as one beside traced ones, counted from the front.

    Raises:
        IndexError: there is no such place.
    """
    if not -extent <= number < extent:
        raise IndexError(f"index {number} is out of bounds for an axis of size {extent}{user_line()}")
    return wrap(open_trace().constant(np.int64(number % extent)), PYTHON)


def _is_array(item: Any) -> bool:
    """An array of indices, and no traced number."""
    return _is_advanced(item) and not _is_traced_scalar(item)


def _fit(value: Value, shape: tuple[int, ...]) -> Value:
    """Drop leading axes of 1 that an assignment may have in excess."""
    while len(value.shape) > len(shape) and value.shape[0] == 1:
        value = apply(RESHAPE, [value], ReshapeAttributes(value.shape[1:]))
    try:
        fits = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"could not broadcast input array from shape {value.shape} into shape {shape}{user_line()}")
    return value


def _normalise(box: Box, index: Any) -> tuple[Any, ...]:
    """The index with every axis named; lists and known boxes become arrays, known masks become integers."""
    raw = index if isinstance(index, tuple) else (index,)
    items: list[Any] = []
    for item in raw:
        check_source(item)
        if is_box(item) and (known := item.known) is not None:
            item = known[()] if item.kind in (SCALAR, PYTHON) else known
        if isinstance(item, (list, tuple, range)):
            item = wrap(to_value(item)) if any(is_box(part) for part in item) else np.asarray(item, None if item else np.int64)
        if is_box(item):
            if item.dtype == np.bool_:
                raise TraceError(
                    f"x[mask] has as many elements as the mask has True, which is not known while tracing: use np.where{user_line()}"
                )
            if not is_integer(item.dtype):
                raise IndexError("only integers, slices, ellipsis, None and integer or boolean arrays are valid indices")
        elif isinstance(item, np.ndarray):
            if item.dtype == np.bool_:
                place = sum(1 for part in items if part is not None)
                behind_ellipsis = any(part is Ellipsis for part in items)
                if item.ndim and not behind_ellipsis and item.shape != box.shape[place : place + item.ndim]:
                    raise IndexError(
                        f"boolean index of shape {item.shape} does not match {box.shape[place : place + item.ndim]}{user_line()}"
                    )
                items.extend(np.nonzero(item) if item.ndim else [np.arange(int(item))])
                if item.ndim == 0:
                    raise TraceError(f"a zero-dimensional bool index is not supported{user_line()}")
                continue
            if not is_integer(item.dtype):
                raise IndexError("arrays used as indices must be of integer (or boolean) type")
            if item.ndim == 0:
                item = int(item)
        elif isinstance(item, (bool, np.bool_)):
            raise TraceError(f"a bool index is not supported: use x[None] or np.where{user_line()}")
        elif isinstance(item, slice) and is_moving(item):
            item = moving_slice(item)
        elif isinstance(item, slice):
            item = slice(*(_static(part) for part in (item.start, item.stop, item.step)))
        elif item is not None and item is not Ellipsis and not isinstance(item, MovingSlice):
            try:
                item = item.__index__()
            except AttributeError:
                raise IndexError("only integers, slices, ellipsis, None and integer arrays are valid indices") from None
        items.append(item)
    return expand_index(tuple(items), box.ndim)


def _static(part: Any) -> Any:
    return None if part is None else part.__index__()


def _is_advanced(item: Any) -> bool:
    return is_box(item) or isinstance(item, np.ndarray)


def _advanced(box: Box, items: tuple[Any, ...]) -> tuple[list[int], Box, Value, tuple[int, ...]]:
    """For an index with arrays: the places of the arrays in it, the view that the rest of it gives (with full axes
    where the arrays go), the index rows, and the view's axes that they index."""
    ints_count = any(not _is_traced_scalar(item) for item in items if _is_advanced(item))
    advanced = [
        place
        for place, item in enumerate(items)
        if _is_advanced(item) or (ints_count and isinstance(item, int) and not isinstance(item, bool))
    ]
    basic = tuple(slice(None) if place in advanced else item for place, item in enumerate(items))
    view = box if all(item == slice(None) for item in basic if item is not None) and None not in basic else get_item(box, basic)
    axis_of: dict[int, int] = {}
    axis = 0
    for place, item in enumerate(basic):
        if place in advanced:
            axis_of[place] = axis
        if not isinstance(item, int):
            axis += 1
    columns = [cast(_index_value(items[place]), np.dtype(np.int64)) for place in advanced]
    try:
        shape = np.broadcast_shapes(*(column.shape for column in columns))
    except ValueError:
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {[c.shape for c in columns]}{user_line()}"
        ) from None
    parts = []
    for column in columns:
        whole = column if column.shape == shape else apply(BROADCAST, [column], BroadcastAttributes(shape))
        parts.append(apply(RESHAPE, [whole], ReshapeAttributes((*shape, 1))))
    indices = parts[0] if len(parts) == 1 else apply(CONCAT, parts, ConcatAttributes(len(shape)))
    return advanced, view, indices, tuple(axis_of[place] for place in advanced)


def _index_value(item: Any) -> Value:
    return item.value if is_box(item) else open_trace().constant(np.asarray(item))


def _is_traced_scalar(item: Any) -> bool:
    return is_box(item) and item.ndim == 0


def _index_axes_order(places: list[int], lead: int, rank: int, axes: tuple[int, ...], items: tuple[Any, ...]) -> tuple[int, ...]:
    """Where NumPy puts the axes of the index arrays: in their place if they stand together, else in front."""
    together = all(b - a == 1 for a, b in itertools.pairwise(places))
    before = axes[0] if together else 0
    rest = list(range(lead, rank))
    return (*rest[:before], *range(lead), *rest[before:])


def _move_index_axes(value: Value, places: list[int], lead: int, axes: tuple[int, ...], items: tuple[Any, ...]) -> Value:
    order = _index_axes_order(places, lead, len(value.shape), axes, items)
    if order == tuple(range(len(order))):
        return value
    return apply(TRANSPOSE, [value], TransposeAttributes(order))
