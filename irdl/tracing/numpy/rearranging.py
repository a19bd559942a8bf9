"""NumPy's functions that put arrays together from blocks, turn them, and put elements in or leave them out."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import is_box, literal, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.choosing import take
from irdl.tracing.numpy.joining import concatenate, roll, split
from irdl.tracing.numpy.layout import copied
from irdl.tracing.numpy.shaping import array_view, broadcast_to, diag, flip, moveaxis, ravel, reshape, transpose
from irdl.tracing.numpy.table import TABLE, as_box, settled, traced
from irdl.tracing.sources import check_source


@traced(np.block)
def block(arrays: Any) -> Any:
    depth = _depth(arrays)
    rank = max((np.ndim(array) for array in _leaves(arrays)), default=0)
    return wrap(_joined(arrays, depth, max(depth, rank)).value)


def _depth(arrays: Any) -> int:
    """How deep lists are nested: all of them as deep.

    Raises:
        ValueError: they are not, or one is empty; TypeError: there is a tuple.
    """
    if type(arrays) is tuple:
        raise TypeError(f"arrays is a tuple. Only lists can be used to arrange blocks, and np.block does not allow tuples{user_line()}")
    if type(arrays) is not list:
        return 0
    depths = {_depth(part) for part in arrays}
    if len(depths) != 1:
        raise ValueError(f"List depths are mismatched, or a list is empty{user_line()}")
    return 1 + depths.pop()


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for part in arrays for leaf in _leaves(part)] if type(arrays) is list else [arrays]


def _joined(arrays: Any, depth: int, rank: int) -> Any:
    if type(arrays) is list:
        return concatenate([_joined(part, depth - 1, rank) for part in arrays], -depth)
    box = as_box(arrays)
    return reshape(box, (1,) * (rank - box.ndim) + box.shape)


@traced(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    if axis is None:
        return concatenate([ravel(as_box(arr)), ravel(as_box(values))], 0)
    return concatenate([arr, values], axis)


TABLE[np.dsplit] = lambda ary, indices_or_sections: split(_of_three_axes(ary), indices_or_sections, 2)


def _of_three_axes(x: Any) -> Any:
    if np.ndim(x) < 3:
        raise ValueError(f"dsplit only works on arrays of 3 or more dimensions{user_line()}")
    return x


@traced(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    box = array_view(as_box(m))
    first, second = (np.lib.array_utils.normalize_axis_index(axis, box.ndim) for axis in _two(axes))
    if first == second:
        raise ValueError(f"Axes must be different.{user_line()}")
    order = list(range(box.ndim))
    order[first], order[second] = second, first
    turns = k % 4
    if turns == 0:
        return box[:]
    if turns == 2:
        return flip(flip(box, first), second)
    return transpose(flip(box, second), order) if turns == 1 else flip(transpose(box, order), second)


def _two(axes: Any) -> tuple[Any, Any]:
    if len(axes) != 2:
        raise ValueError(f"len(axes) must be 2.{user_line()}")
    return axes[0], axes[1]


def _shifted(x: Any, axes: Any, back: bool) -> Any:
    box = as_box(x)
    places = tuple(range(box.ndim)) if axes is None else (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
    return roll(box, tuple(-(box.shape[place] // 2) if back else box.shape[place] // 2 for place in places), places)


TABLE[np.fft.fftshift] = lambda x, axes=None: _shifted(x, axes, False)
TABLE[np.fft.ifftshift] = lambda x, axes=None: _shifted(x, axes, True)


@traced(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    shape = (int(new_shape),) if isinstance(new_shape, (int, np.integer)) else tuple(int(n) for n in new_shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"all elements of `new_shape` must be non-negative{user_line()}")
    flat = ravel(as_box(a))
    size = int(np.prod(shape, dtype=np.int64))
    if not flat.size or not size:
        return np.zeros_like(flat, shape=shape)
    whole = reshape(np.broadcast_to(flat, (-(-size // flat.size), flat.size)), (-1,))
    return wrap(reshape(whole[:size], shape).value)


@traced(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(ravel(as_box(v)), k)


@traced(np.ix_)
def ix_(*args: Any) -> Any:
    boxes = [as_box(part) for part in args]
    if any(box.ndim != 1 for box in boxes):
        raise ValueError(f"Cross index must be 1 dimensional{user_line()}")
    boxes = [literal(np.flatnonzero(_known_places(box, "ix_"))) if box.dtype == np.bool_ else box for box in boxes]
    boxes = [box if box.size else box.astype(np.int64) for box in boxes]
    return tuple(reshape(box, (1,) * i + (-1,) + (1,) * (len(boxes) - i - 1)) for i, box in enumerate(boxes))


@traced(np.apply_along_axis)
def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **options: Any) -> Any:
    box = as_box(arr)
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    moved = moveaxis(box, axis, -1)
    lead = moved.shape[:-1]
    rows = reshape(moved, (int(np.prod(lead, dtype=np.int64)), moved.shape[-1]))
    if not rows.shape[0]:
        raise ValueError(f"Cannot apply_along_axis when any iteration dimensions are 0{user_line()}")
    results = [as_box(func1d(row, *args, **options)) for row in rows]
    made = np.stack([result.astype(results[0].dtype) for result in results])
    made = reshape(made, lead + made.shape[1:])
    rank = made.ndim - len(lead)
    return moveaxis(made, tuple(range(len(lead), made.ndim)), tuple(range(axis, axis + rank)))


@traced(np.apply_over_axes)
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    found = as_box(a)
    rank = found.ndim
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        made = as_box(func(found, axis + rank if axis < 0 else axis))
        made = made if made.ndim == rank else np.expand_dims(made, axis)
        if made.ndim != rank:
            raise ValueError(f"function is not returning an array of the correct shape{user_line()}")
        found = made
    return found


# Elements put in and left out, at places that are known.


@traced(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    box, axis = _along_one(arr, axis)
    obj = _known_places(obj, "delete")
    kept = np.delete(np.arange(box.shape[axis]), obj)
    several = not isinstance(obj, slice) and (np.size(obj) != 1 or np.asarray(obj).dtype == np.bool_)
    if several:  # NumPy indexes with a mask
        return box[(slice(None),) * axis + (literal(kept),)]
    return copied(box, take(box, literal(kept), axis).value, "F" if box.shadow.flags.fnc else "C")


@traced(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    box, axis = _along_one(arr, axis)
    obj = _known_places(obj, "insert")
    fresh, count = as_box(values).astype(box.dtype), box.shape[axis]
    places = np.arange(count)[obj] if isinstance(obj, slice) else np.asarray(obj)
    if places.ndim > 1:
        raise ValueError(f"index array argument obj to insert must be one dimensional or scalar{user_line()}")
    places = np.flatnonzero(places) if places.dtype == np.bool_ else places if places.size else places.astype(np.int64)
    if places.size == 1:  # as many as there are values, at one place
        fresh = reshape(fresh, (1,) * (box.ndim - fresh.ndim) + fresh.shape)
        fresh = moveaxis(fresh, 0, axis) if places.ndim == 0 else fresh
        order = np.insert(np.arange(count), places.item(), np.arange(count, count + fresh.shape[axis]))
    else:
        order = np.insert(np.arange(count), places, np.arange(count, count + places.size))
        fresh = broadcast_to(fresh, (*box.shape[:axis], places.size, *box.shape[axis + 1 :]))
    fresh = broadcast_to(fresh, (*box.shape[:axis], fresh.shape[axis], *box.shape[axis + 1 :]))
    result = take(concatenate([box, fresh], axis), literal(order), axis)
    return copied(box, result.value, "F" if box.shadow.flags.fnc else "C")


def _along_one(arr: Any, axis: Any) -> tuple[Any, int]:
    box = as_box(arr)
    if axis is None:
        return ravel(box), 0
    return box, np.lib.array_utils.normalize_axis_index(axis, box.ndim)


def _known_places(obj: Any, name: str) -> Any:
    """Indices as NumPy takes them, of what the trace knows."""
    if isinstance(obj, (list, tuple)) and any(is_box(part) for part in obj):
        obj = as_box(obj)
    if not is_box(obj):
        check_source(obj)
        return obj
    known = settled(obj)
    if known is None:
        raise TraceError(f"np.{name} at places that are not known while tracing: make them static arguments, or use np.where{user_line()}")
    return known if obj.ndim else known.item()
