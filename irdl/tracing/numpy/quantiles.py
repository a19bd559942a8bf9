"""NumPy's medians, percentiles and quantiles, with and without nan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, is_float, is_integer
from irdl.ops.sort import SORT
from irdl.tracing.box import PYTHON, is_box, literal, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.choosing import take_along_axis
from irdl.tracing.numpy.reductions import _UNSET
from irdl.tracing.numpy.shaping import expand_dims, moveaxis, reshape
from irdl.tracing.numpy.sorting import ordered
from irdl.tracing.numpy.table import TABLE, as_box, settled, traced
from irdl.tracing.numpy.ufuncs import store_out

# Lines: what is reduced lies along the last axis.


def _reduced(a: Any, axis: Any, keepdims: Any, out: Any, name: str, function: Callable[[Any], Any]) -> Any:
    """`function` of the lines along some axes, whose results have further axes in front."""
    box = as_box(a)
    rank = box.ndim
    try:
        axes = tuple(range(rank)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, rank)
    except ValueError as error:
        raise type(error)(f"{error}{user_line()}") from None
    kept = [place for place in range(rank) if place not in axes]
    rest = [box.shape[place] for place in kept]
    count = int(np.prod([box.shape[place] for place in axes], dtype=np.int64))
    lines = reshape(moveaxis(box, kept, range(len(kept))), (*rest, count))
    result = function(lines)
    if keepdims is not _UNSET and keepdims:
        front = result.shape[: result.ndim - len(rest)]
        result = reshape(result, (*front, *(1 if place in axes else box.shape[place] for place in range(rank))))
        return wrap(result.value) if out is None else store_out(name, out, result.value)
    return wrap_result(result.value) if out is None else store_out(name, out, result.value)


def _sorted(lines: Any) -> Any:
    return wrap_result(ordered(SORT, lines, -1))


def _numbers_in(lines: Any) -> Any:
    """How many elements of each line are no nan."""
    return np.sum(~np.isnan(lines), -1, dtype=np.int64)


def _nan_where(last: Any, result: Any) -> Any:
    """nan lies behind all numbers: a line whose last element is one has one."""
    return np.where(np.isnan(last), last, result).astype(result.dtype) if is_float(last.dtype) else result


# Medians.


@traced(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    return _reduced(a, axis, keepdims, out, "median", _median)


def _median(lines: Any) -> Any:
    count = lines.shape[-1]
    if not count:
        return np.mean(lines, -1)
    line = _sorted(lines)
    middle = line[..., (count - 1) // 2 : count // 2 + 1]
    return _nan_where(line[..., -1], np.mean(middle, -1))


@traced(np.nanmedian)
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = _UNSET) -> Any:
    box = as_box(a)
    if not box.size:
        return np.nanmean(box, axis, out=out, keepdims=keepdims is not _UNSET and keepdims)
    return _reduced(box, axis, keepdims, out, "nanmedian", _nanmedian if is_float(box.dtype) else _median)


def _nanmedian(lines: Any) -> Any:
    count, line = _numbers_in(lines), _sorted(lines)
    low, high = (_at(line, np.maximum(place // 2, 0)) for place in (count - 1, count))
    return np.where(count % 2 == 1, low, (low + high) / 2)


def _at(line: Any, place: Any) -> Any:
    """The element of each line at a place of its own."""
    return take_along_axis(line, expand_dims(place, place.ndim), -1)[..., 0]


# Quantiles: NumPy's own arithmetic, on numbers where they are known.


class _Method(NamedTuple):
    """Where the quantile q of n sorted numbers is: a place between two of them, or, as an integer, one of them.

    Attributes:
        place: `(n, q) -> place`.
        share: of the way from the element before to the one behind, `(fraction of the place, place) -> share`.
    """

    place: Callable[[Any, Any], Any]
    share: Callable[[Any, Any], Any] = lambda fraction, place: fraction


def _between(alpha: float, beta: float) -> _Method:
    return _Method(lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1)


def _nearest_boundary(place: Any, is_before: Callable[[Any, Any], Any]) -> Any:
    before = np.floor(place)
    chosen = np.where(is_before(place - before, place), before, before + 1)
    return np.maximum(chosen.astype(np.int64), 0)


_METHODS = {
    "inverted_cdf": _Method(lambda n, q: _nearest_boundary(n * q - 1, lambda fraction, _: fraction == 0)),
    "averaged_inverted_cdf": _Method(lambda n, q: n * q - 1, lambda fraction, _: np.where(fraction == 0, 0.5, 1.0)),
    "closest_observation": _Method(
        lambda n, q: _nearest_boundary(n * q - 1 - 0.5, lambda fraction, place: (fraction == 0) & (np.floor(place) % 2 == 1))
    ),
    "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(0.5, 0.5),
    "weibull": _between(0, 0),
    "linear": _Method(lambda n, q: (n - 1) * q),
    "median_unbiased": _between(1 / 3.0, 1 / 3.0),
    "normal_unbiased": _between(3 / 8.0, 3 / 8.0),
    "lower": _Method(lambda n, q: np.floor((n - 1) * q).astype(np.int64)),
    "higher": _Method(lambda n, q: np.ceil((n - 1) * q).astype(np.int64)),
    "midpoint": _Method(
        lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)), lambda fraction, place: np.where(place % 1 == 0, 0.0, 0.5)
    ),
    "nearest": _Method(lambda n, q: np.around((n - 1) * q).astype(np.int64)),
}
_TAKING = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")


def _wanted(q: Any, percent: bool) -> Any:
    """The quantiles, as an array of numbers if they are known.

    Raises:
        ValueError: one of them is known to be none.
    """
    box = as_box(q)
    if percent:
        box = np.true_divide(box, 100)
    if box.ndim > 2:
        raise ValueError(f"q must be a scalar or 1d{user_line()}")
    known = settled(box)
    if known is None:
        return box
    if not ((known >= 0) & (known <= 1)).all():
        raise ValueError(
            f"{'Percentiles' if percent else 'Quantiles'} must be in the range {'[0, 100]' if percent else '[0, 1]'}{user_line()}"
        )
    return known


def _is_weak(q: Any) -> bool:
    return q.kind == PYTHON if is_box(q) else type(q) in (int, float)


def _function(name: str, percent: bool, without_nan: bool) -> Callable[..., Any]:
    def rule(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Any:
        if weights is not None:
            raise TraceError(f"np.{name} with weights= cannot be traced: sort, and look np.cumsum of the weights up{user_line()}")
        box, wanted = as_box(a), _wanted(q, percent)
        if box.dtype == BFLOAT16:
            raise TraceError(f"np.{name} of bfloat16 is not supported: take it of x.astype(np.float32){user_line()}")
        if without_nan and not box.size:
            return np.nanmean(box, axis, out=out, keepdims=keepdims is not _UNSET and keepdims)
        if method not in _METHODS:
            raise ValueError(f"{method!r} is not a valid method. Use one of: {_METHODS.keys()}{user_line()}")
        return _reduced(
            box,
            axis,
            keepdims,
            out,
            name,
            lambda lines: _quantiles(lines, wanted, method, _is_weak(q), without_nan and is_float(box.dtype)),
        )

    return rule


TABLE[np.quantile], TABLE[np.nanquantile] = _function("quantile", False, False), _function("nanquantile", False, True)
TABLE[np.percentile], TABLE[np.nanpercentile] = _function("percentile", True, False), _function("nanpercentile", True, True)


def _quantiles(lines: Any, q: Any, method: str, weak: bool, without_nan: bool) -> Any:
    """The quantiles of each line, in front.

    Args:
        q: the quantiles, a box or known numbers.
        weak: they are a number of Python's, whose dtype does not count.
        without_nan: of a line's numbers alone.
    """
    rest, extent = lines.shape[:-1], lines.shape[-1]
    if not extent:
        if 0 not in rest:
            raise IndexError(f"index -1 is out of bounds for axis 0 with size 0{user_line()}")
        return np.zeros_like(lines, np.result_type(lines.dtype, np.float64), shape=(*q.shape, *rest))
    line, count = _sorted(lines), extent
    if without_nan:  # every line has a count, and so places of its own
        q = _before_axes(_boxed(q), len(rest))
        count = _numbers_in(lines).astype(q.dtype)
    place = _METHODS[method].place(count, q)
    if is_box(q):
        # an error at run time, where NumPy has one
        place = np.where((q >= 0) & (q <= 1), place, place.dtype.type(2 * extent))
    if method in _TAKING or (method == "linear" and is_integer(place.dtype)):
        result = _at_places(line, place, without_nan)
    else:
        result = _interpolated(line, place, _METHODS[method].share, count, weak, without_nan)
    return result if without_nan else _nan_where(line[..., -1], result)


def _boxed(numbers: Any) -> Any:
    return numbers if is_box(numbers) else literal(np.asarray(numbers))


def _before_axes(item: Any, rank: int) -> Any:
    return reshape(item, (*item.shape, *(1,) * rank)) if item.ndim else item


def _interpolated(line: Any, place: Any, share: Callable[[Any, Any], Any], count: Any, weak: bool, own: bool) -> Any:
    before, last = np.floor(place), np.maximum(count - 1, 0)
    # beyond the last there is nothing but what is no place at all
    inside = np.minimum(place, last) if not is_box(place) else np.where(place < 2 * line.shape[-1], np.minimum(place, last), place)
    low = np.maximum(np.floor(inside), 0).astype(np.int64)
    high = np.where((place >= last) | (place < 0), low, low + 1)
    t = share(place - before, place).astype(place.dtype)
    if weak:
        t = t.astype(line.dtype if is_float(line.dtype) else np.float64)
    t = _boxed(t) if own else _before_axes(_boxed(t), line.ndim - 1)
    a, b = _at_places(line, low, own), _at_places(line, high, own)
    way = b - a
    return np.where(t >= 0.5, b - way * (1 - t), a + way * t)


def _at_places(line: Any, place: Any, own: bool) -> Any:
    """What lies at some places of each line, in front. If they are its own, their last axes are those of the lines."""
    rank = line.ndim - 1
    if own:
        front = place.shape[: place.ndim - rank]
        flat = moveaxis(reshape(place, (-1, *line.shape[:-1])), 0, -1)
        return reshape(moveaxis(take_along_axis(line, flat, -1), -1, 0), (*front, *line.shape[:-1]))
    if not place.ndim:
        return line[..., place if is_box(place) else int(place)]
    return moveaxis(line[..., _boxed(place)], range(rank, rank + place.ndim), range(place.ndim))
