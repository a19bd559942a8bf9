"""`x[mask]` and `x[mask] = v` for masks whose numbers the trace does not know: how many elements a mask has is open, so what was
taken under it stays an array of full shape until it is stored or reduced under the same mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from irdl.errors import TraceError
from irdl.ir.dtypes import is_bool, is_float, is_inexact
from irdl.ir.graph import Value
from irdl.ops import reduce as ops
from irdl.ops.elementwise import SELECT
from irdl.ops.shape import BROADCAST, RESHAPE, BroadcastAttributes, ReshapeAttributes
from irdl.tracing.box import PYTHON, Box, is_box, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import reductions
from irdl.tracing.numpy.same_masks import is_same
from irdl.tracing.numpy.table import as_box
from irdl.tracing.numpy.ufunc_rules import scalar_like
from irdl.tracing.numpy.ufuncs import store_out
from irdl.tracing.operations import apply, cast
from irdl.tracing.recorder import open_trace


def is_mask(index: Any) -> bool:
    return (is_box(index) or isinstance(index, np.ndarray)) and index.dtype == np.bool_ and index.ndim > 0


def is_open(index: Any) -> bool:
    """A mask whose numbers the trace does not know."""
    return is_box(index) and is_mask(index) and index.known is None


def place_of_mask(index: Any) -> int | None:
    """Where in an index an open mask stands; None where there is none."""
    items = index if isinstance(index, tuple) else (index,)
    places = [place for place, item in enumerate(items) if is_open(item)]
    if len(places) > 1:
        raise TraceError(f"an index with two masks cannot be traced: combine them with & or use np.where{user_line()}")
    return places[0] if places else None


def split(box: Box, index: Any, place: int) -> tuple[Any, Box, int]:
    """What `x[index]` is without the mask, the mask, and the axis of that on which it lies.

    Raises:
        TraceError: the mask stands beside arrays of indices.
        IndexError: its shape does not fit.
    """
    items = index if isinstance(index, tuple) else (index,)
    mask = items[place]
    before, behind = items[:place], items[place + 1 :]
    for item in (*before, *behind):
        if not (item is None or item is Ellipsis or isinstance(item, (int, slice, np.integer))) or isinstance(item, bool):
            raise TraceError(f"a mask beside other arrays of indices cannot be traced: use np.where{user_line()}")
    numbers = [where for where, item in enumerate(items) if isinstance(item, (int, np.integer))]
    if numbers and max(*numbers, place) - min(*numbers, place) != len(numbers):
        raise TraceError(f"a mask and numbers with a slice between them cannot be traced: index twice{user_line()}")
    named = sum(1 for item in (*before, *behind) if item is not None and item is not Ellipsis)
    axis = 0
    for item in before:
        if item is Ellipsis:
            axis += box.ndim - named - mask.ndim
        elif not isinstance(item, (int, np.integer)):
            axis += 1
    rest = (*before, *([slice(None)] * mask.ndim), *behind)
    view = box if all(isinstance(item, slice) and item == slice(None) for item in rest) else box[rest]  # type: ignore[index]
    if mask.shape != view.shape[axis : axis + mask.ndim]:
        raise IndexError(f"boolean index of shape {mask.shape} does not match {view.shape[axis : axis + mask.ndim]}{user_line()}")
    return view, mask, axis


def take(box: Box, index: Any, place: int) -> Masked:
    """`x[index]` with an open mask: a copy, as it is now."""
    view, mask, axis = split(box, index, place)
    return Masked(_under(mask, axis, view.ndim, view.value), wrap(mask.value), axis)


def _under(mask: Box, axis: int, rank: int, value: Value) -> Box:
    """A value where the mask holds; elsewhere a number that is harmless to what follows, and to its derivative."""
    harmless = 0.5 if is_inexact(value.dtype) else value.dtype.type(1)
    return wrap(apply(SELECT, [_column(mask.value, rank, axis), value, scalar_like(value, harmless)]))


def put(box: Box, index: Any, place: int, item: Any) -> None:
    """`x[index] = item` with an open mask."""
    view, mask, axis = split(box, index, place)
    column = _column(mask.value, view.ndim, axis)
    if isinstance(item, Masked):
        if not item.fits(mask.value, axis) or item.values.ndim != view.ndim:
            raise TraceError(f"x[mask] = y[other mask] needs to know how many elements the masks have: use np.where{user_line()}")
        value = to_value(item.values, view.dtype)
    else:
        value = to_value(item, view.dtype)
        inner = view.shape[axis + mask.ndim :]
        if len(value.shape) > len(inner) or np.broadcast_shapes(value.shape, inner) != inner:
            raise TraceError(f"x[mask] = v with one v per True is not known while tracing: use np.where(mask, ..., x){user_line()}")
    shape = np.broadcast_shapes(value.shape, view.shape)
    if shape != view.shape:
        raise ValueError(f"could not broadcast input array from shape {value.shape} into shape {view.shape}{user_line()}")
    if value.shape != view.shape:
        value = apply(BROADCAST, [value], BroadcastAttributes(view.shape))
    view.store(apply(SELECT, [column, cast(value, view.dtype), view.value]))


def _column(mask: Value, rank: int, axis: int) -> Value:
    """A mask as it broadcasts with an array of `rank` axes, of which it lies on those from `axis` on."""
    shape = (*mask.shape, *[1] * (rank - axis - len(mask.shape)))
    return apply(RESHAPE, [mask], ReshapeAttributes(shape)) if shape != mask.shape else mask


class Masked(NDArrayOperatorsMixin):
    """What `x[mask]` stands for: `values` of full shape, of which those under the mask count."""

    __array_priority__ = 2000.0

    def __init__(self, values: Box, mask: Box, axis: int) -> None:
        self.values = values
        self.mask = mask
        self.axis = axis

    def fits(self, mask: Value, axis: int) -> bool:
        return self.axis == axis and is_same(self.mask.value, mask)

    def refused(self, what: str) -> TraceError:
        return _open(what)

    def zeroed(self) -> Any:
        """The values where the mask holds, elsewhere zeros."""
        column = _column(self.mask.value, self.values.ndim, self.axis)
        return wrap(apply(SELECT, [column, self.values.value, scalar_like(self.values.value, 0)]))

    def like(self, values: Box) -> Masked:
        return Masked(values, self.mask, self.axis)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if method == "__call__" and ufunc is np.matmul and out is None and not options:
            return _product(*inputs)
        if method != "__call__" or ufunc.signature is not None:
            raise _open(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
        result = ufunc(*[self._full(item) for item in inputs], **options)
        if out is not None:
            (target,) = out
            if not isinstance(target, Masked):
                raise _open(f"np.{ufunc.__name__} with out=")
            fresh = wrap(target.values.value)
            store_out(ufunc.__name__, fresh, to_value(result))
            target.values = fresh
            return target
        return self._wrapped(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: dict[str, Any]) -> Any:
        if function in _REDUCTIONS:
            return _REDUCTIONS[function](*arguments, **options)
        if function in _ELEMENT_BY_ELEMENT:
            given = {key: self._full(item) for key, item in options.items()}
            return self._wrapped(function(*[self._full(item) for item in arguments], **given))
        raise _open(f"np.{function.__name__}")

    def _wrapped(self, result: Any) -> Any:
        if isinstance(result, tuple):
            return tuple(self._wrapped(part) for part in result)
        return self.like(result)

    def _full(self, item: Any) -> Any:
        """An operand in full shape.

        Raises:
            TraceError: it has one element for each True of a mask, and not of this one.
        """
        if isinstance(item, Masked):
            if not item.fits(self.mask.value, self.axis):
                raise TraceError(f"x[mask] meets y[other mask]: use np.where{user_line()}")
            return item.values
        shape, width = np.shape(item), self.mask.ndim
        along = len(shape) - (self.values.ndim - self.axis - width) - 1
        if along >= 0 and shape[along] != 1:
            raise _open("an array beside x[mask]")
        if along >= 0 and width > 1:
            item = np.reshape(item, (*shape[:along], *[1] * width, *shape[along + 1 :]))
        # What is computed of it where the mask does not hold has no derivative, and may not spoil that of the rest.
        return _under(self.mask, self.axis, self.values.ndim, item.value) if is_box(item) and is_inexact(item.dtype) else item

    # What NumPy code asks of it.

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    @property
    def ndim(self) -> int:
        return self.values.ndim - len(self.mask.shape) + 1

    @property
    def size(self) -> Any:
        """The number of elements, as a traced number."""
        rest = self.values.size // max(self.mask.size, 1)
        return wrap(to_value(np.sum(self.mask) * rest), PYTHON)

    @property
    def shape(self) -> tuple[Any, ...]:
        """How many elements the mask has is a traced number."""
        behind = self.values.shape[self.axis + self.mask.ndim :]
        return (*self.values.shape[: self.axis], wrap(to_value(np.sum(self.mask)), PYTHON), *behind)

    @property
    def T(self) -> Masked:
        if self.mask.ndim > 1:
            raise _open("the transpose of what is under a mask of several axes")
        return Masked(as_box(np.transpose(self.values)), self.mask, self.values.ndim - 1 - self.axis)

    def _reduced(self, op: Any, axis: Any, options: dict[str, Any]) -> Any:
        """A reduction over axes of `x[mask]`, of which the masked one is the place of all that the mask has."""
        known = {key: options.pop(key, default) for key, default in _OPTIONS.items()}
        if any(value is not np._NoValue for value in options.values()):
            raise _open(f"a reduction with {', '.join(options)}=")
        places = tuple(range(self.ndim)) if axis is None else reductions.normalise_axes(axis, self.ndim)
        if self.axis not in places:
            raise _open("a reduction that leaves the masked axis")
        width = self.mask.ndim
        own = [place if place < self.axis else place + width - 1 for place in places if place != self.axis]
        axes = tuple(sorted([*own, *range(self.axis, self.axis + width)]))
        initial = known["initial"]
        if op in (ops.MAX, ops.MIN) and initial is np._NoValue:
            initial = _least(self.dtype) if op is ops.MAX else _most(self.dtype)
        column = wrap(_column(self.mask.value, self.values.ndim, self.axis))
        result = reductions.reduce(op, self.values, axes, known["dtype"], None, False, initial, column)
        if known["keepdims"] is True:
            extents = (*self.values.shape[: self.axis], 1, *self.values.shape[self.axis + width :])
            result = np.reshape(result, tuple(1 if place in places else extent for place, extent in enumerate(extents)))
        return result if known["out"] is None else store_out(op.name, known["out"], to_value(result))

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        return self._reduced(ops.SUM, axis, {"dtype": dtype, "out": out, **options})

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        return self._reduced(ops.PROD, axis, {"dtype": dtype, "out": out, **options})

    def max(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        """Of no elements at all, where NumPy raises, the least number of the dtype."""
        return self._reduced(ops.MAX, axis, {"out": out, **options})

    def min(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        return self._reduced(ops.MIN, axis, {"out": out, **options})

    def any(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        return self._reduced(ops.ANY, axis, {"out": out, **options})

    def all(self, axis: Any = None, out: Any = None, **options: Any) -> Any:
        return self._reduced(ops.ALL, axis, {"out": out, **options})

    def _ones(self, dtype: np.dtype) -> Masked:
        return self.like(wrap(apply(BROADCAST, [open_trace().constant(1, dtype)], BroadcastAttributes(self.values.shape))))

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, **options: Any) -> Any:
        dtype = np.dtype(dtype) if dtype is not None else self.dtype if is_inexact(self.dtype) else np.dtype(np.float64)
        result = self.sum(axis, dtype, **options) / self._ones(dtype).sum(axis, dtype, **options)
        return store_out("mean", out, to_value(result)) if out is not None else result

    def var(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, **options: Any) -> Any:
        dtype = np.dtype(dtype) if dtype is not None else self.dtype if is_inexact(self.dtype) else np.dtype(np.float64)
        centred = np.abs(self - self.mean(axis, dtype, keepdims=True))
        number = self._ones(centred.dtype).sum(axis, **options)
        result = (centred * centred).sum(axis, **options) / np.maximum(number - ddof, 0)
        return store_out("var", out, to_value(result)) if out is not None else result

    def std(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, **options: Any) -> Any:
        result = np.sqrt(self.var(axis, dtype, None, ddof, **options))
        return store_out("std", out, to_value(result)) if out is not None else result

    def dot(self, other: Any) -> Any:
        return _product(self, other)

    def copy(self, order: str = "C") -> Masked:
        return self.like(wrap(self.values.value))

    def astype(self, dtype: Any, **options: Any) -> Masked:
        return self.like(self.values.astype(dtype, **options))  # type: ignore[attr-defined]

    def clip(self, *arguments: Any, **options: Any) -> Any:
        return np.clip(self, *arguments, **options)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise _open("turning x[mask] into an array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # NumPy looks for its protocols
            raise AttributeError(name)
        raise _open(f"x[mask].{name}")

    def __len__(self) -> int:
        raise _open("len(x[mask])")

    def __iter__(self) -> Any:
        raise _open("iteration over x[mask]")

    def __getitem__(self, index: Any) -> Any:
        """What leaves the masked axis as it is: `x[mask][:, k]`, `x[mask][:, None]`."""
        whole, axis = self._index(index if isinstance(index, tuple) else (index,))
        return Masked(self.values[whole], self.mask, axis)  # type: ignore[index]

    def _index(self, items: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
        """An index into the values, and the axis on which the mask lies in what it gives.

        Raises:
            TraceError: it asks for elements by their place among those of the mask, or may move its axis.
        """
        ellipses = [place for place, item in enumerate(items) if item is Ellipsis]
        place = ellipses[0] if len(ellipses) == 1 else len(items)
        named = sum(item is not None and item is not Ellipsis for item in items)
        if len(ellipses) > 1 or named > self.ndim:
            raise IndexError(f"too many indices, or ellipses, for an array of {self.ndim} axes{user_line()}")
        filled = [*items[:place], *[slice(None)] * (self.ndim - named), *items[place + len(ellipses) :]]
        where = [at for at, item in enumerate(filled) if item is not None][self.axis]
        item, behind = filled[where], filled[where + 1 :]
        arrays = [part for part in behind if is_box(part) or isinstance(part, (list, np.ndarray))]
        plain = all(part is None or isinstance(part, slice) for part in filled[:where])
        if not (isinstance(item, slice) and item == slice(None)) or not plain or (arrays and sum(map(_is_place, behind)) > 1):
            raise _open("x[mask][index]")
        if any(is_mask(part) for part in arrays):
            raise _open("x[mask][:, other mask]")
        return (*filled[:where], *[item] * self.mask.ndim, *behind), where

    def __setitem__(self, index: Any, item: Any) -> None:
        if index is not Ellipsis and not (isinstance(index, slice) and index == slice(None)):
            raise _open("x[mask][index] = v")
        fresh = wrap(self.values.value)
        store_out("copyto", fresh, to_value(self._full(item)))
        self.values = fresh

    def __bool__(self) -> bool:
        raise _open("the truth of x[mask]")

    def __repr__(self) -> str:
        return f"<traced array {self.values.type} under a mask>"


def _open(what: str) -> TraceError:
    return TraceError(
        f"{what} asks how many elements the mask has, which is not known while tracing: what was taken as x[mask] can be computed with "
        f"element by element, stored or reduced under the same mask; else use np.where{user_line()}"
    )


def _is_place(item: Any) -> bool:
    return item is not None and not isinstance(item, slice)


def _product(x: Any, y: Any) -> Any:
    """`x @ y` of which one or both are under a mask: of lines that it leaves out nothing is asked, what is added up along it is zero
    beside it."""
    if isinstance(x, Masked) and isinstance(y, Masked):
        along, across = x.axis + 1 == x.values.ndim, y.axis == max(y.values.ndim - 2, 0)
        if not (along and across and x.mask.ndim == 1 and is_same(x.mask.value, y.mask.value)):
            raise _open("np.matmul of arrays under masks, but along one,")
        return x.zeroed() @ y.zeroed()
    if isinstance(x, Masked) and np.ndim(y) in (1, 2) and x.axis + x.mask.ndim < x.values.ndim:
        return x.like(as_box(x.values @ y))
    raise _open("np.matmul along the mask")


_REDUCTIONS: dict[Any, Any] = {
    np.sum: Masked.sum,
    np.prod: Masked.prod,
    np.max: Masked.max,
    np.min: Masked.min,
    np.any: Masked.any,
    np.all: Masked.all,
    np.mean: Masked.mean,
    np.var: Masked.var,
    np.std: Masked.std,
    np.dot: _product,
    np.shape: lambda x: x.shape,
    np.size: lambda x: x.size,
    np.ndim: lambda x: x.ndim,
}
_ELEMENT_BY_ELEMENT = (np.clip, np.where, np.round, np.copy, np.zeros_like, np.ones_like, np.full_like, np.nan_to_num)

#: what reductions of `x[mask]` may be asked for
_OPTIONS: dict[str, Any] = {"dtype": None, "out": None, "keepdims": False, "initial": np._NoValue}


def _least(dtype: np.dtype) -> Any:
    return False if is_bool(dtype) else -np.inf if is_float(dtype) else np.iinfo(dtype).min


def _most(dtype: np.dtype) -> Any:
    return True if is_bool(dtype) else np.inf if is_float(dtype) else np.iinfo(dtype).max
