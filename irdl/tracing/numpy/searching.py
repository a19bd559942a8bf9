"""NumPy's functions that look numbers up: searchsorted, digitize, interp, isin and histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_float
from irdl.tracing.box import literal, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.choosing import take
from irdl.tracing.numpy.shaping import expand_dims, reshape
from irdl.tracing.numpy.table import as_box, settled, traced

#: Up to so many numbers are compared one by one, which is done a vector at a time; in more of them the places are halved.
FEW = 64


@traced(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right' (got {side!r}){user_line()}")
    box, wanted = as_box(a), as_box(v)
    if box.ndim != 1:
        raise ValueError(f"object {'too deep' if box.ndim else 'of too small depth'} for desired array{user_line()}")
    if sorter is not None:
        box = take(box, sorter)
    return wrap_result(_places(box, wanted, side).value)


def _places(a: Any, v: Any, side: str) -> Any:
    """How many of the sorted `a` lie before each of `v`; nan lies behind all numbers."""
    dtype = np.promote_types(a.dtype, v.dtype)
    a, v = a.astype(dtype, copy=False), v.astype(dtype, copy=False)
    if a.size <= FEW:
        return np.sum(_lies_before(a, expand_dims(v, v.ndim), side), -1, dtype=np.int64)
    place = np.zeros_like(v, np.int64)
    step = 1 << (a.size.bit_length() - 1)
    while step:
        behind = place + step
        inside = behind <= a.size
        found = _lies_before(a[np.where(inside, behind - 1, 0)], v, side)
        place = np.where(inside & found, behind, place)
        step >>= 1
    return place


def _lies_before(x: Any, v: Any, side: str) -> Any:
    floats = is_float(x.dtype)
    if side == "left":
        return (x < v) | (np.isnan(v) & ~np.isnan(x)) if floats else x < v
    return (x <= v) | np.isnan(v) if floats else x <= v


@traced(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    edges, box = as_box(bins), as_box(x)
    if edges.ndim != 1:
        raise ValueError(f"object {'too deep' if edges.ndim else 'of too small depth'} for desired array{user_line()}")
    known = settled(edges)
    if known is not None:
        steps = np.diff(known)
        if not ((steps >= 0).all() or (steps <= 0).all()):
            raise ValueError(f"bins must be monotonically increasing or decreasing{user_line()}")
    side = "left" if right else "right"
    if edges.size < 2:
        return searchsorted(edges, box, side)
    falling = edges[0] > edges[-1]
    places = searchsorted(np.where(falling, edges[::-1], edges), box, side)
    return wrap_result(np.where(falling, edges.size - places, places).value)


@traced(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, xp, fp = (as_box(item).astype(np.float64) for item in (x, xp, fp))
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError(f"object {'too deep' if max(xp.ndim, fp.ndim) > 1 else 'of too small depth'} for desired array{user_line()}")
    if not xp.size:
        raise ValueError(f"array of sample points is empty{user_line()}")
    if xp.size != fp.size:
        raise ValueError(f"fp and xp are not of the same length.{user_line()}")
    if period is not None:
        x, xp, fp = _around(x, xp, fp, as_box(period).astype(np.float64))
        left = right = None
    left, right = (end if given is None else given for end, given in ((fp[0], left), (fp[-1], right)))
    result = fp[-1] if xp.size == 1 else _between(x, xp, fp)
    result = np.where(x < xp[0], left, np.where(x > xp[-1], right, np.where(x == xp[-1], fp[-1], result)))
    result = result if xp.size == 1 else np.where(np.isnan(x), x, result)  # NumPy compares nan with one point
    return wrap_result(result.value)


def _around(x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """Within one period, with a point of its neighbours at both ends."""
    known = settled(period)
    if known is not None and not known.all():
        raise ValueError(f"period must be a non-zero value{user_line()}")
    period = np.abs(period)
    x, xp = x % period, xp % period
    order = np.argsort(xp)
    xp, fp = xp[order], fp[order]
    return x, np.concatenate([xp[-1:] - period, xp, xp[:1] + period]), np.concatenate([fp[-1:], fp, fp[:1]])


def _between(x: Any, xp: Any, fp: Any) -> Any:
    """The line through the points on both sides, as NumPy computes it: from the other end where it is nan from this one."""
    place = np.clip(_places(xp, x, "right") - 1, 0, xp.size - 2)
    x0, x1, y0, y1 = xp[place], xp[place + 1], fp[place], fp[place + 1]
    run = x1 - x0
    slope = (y1 - y0) / np.where(run == 0, 1.0, run)  # beyond the last point, where it is not taken
    line = slope * (x - x0) + y0
    other = slope * (x - x1) + y1
    line = np.where(np.isnan(line), np.where(np.isnan(other) & (y0 == y1), y0, other), line)
    return np.where(np.isnan(line) & (x == x0), y0, line)


@traced(np.isin)
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None) -> Any:
    if kind not in (None, "sort", "table"):
        raise ValueError(f"Invalid kind: '{kind}'. Please use None, 'sort' or 'table'.{user_line()}")
    box, tests = as_box(element), reshape(as_box(test_elements), (-1,))
    found = np.any(expand_dims(box, box.ndim) == tests, -1) if tests.size <= FEW else _is_among(box, tests)
    return wrap((~found if invert else found).value)


def _is_among(x: Any, tests: Any) -> Any:
    """What lies where it would be among the sorted numbers is the same number."""
    line = np.sort(tests.astype(np.promote_types(x.dtype, tests.dtype)))
    return line[np.minimum(_places(line, x, "left"), line.size - 1)] == x


@traced(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    box = reshape(as_box(a), (-1,))
    box = box.astype(np.uint8) if box.dtype == np.bool_ else box
    if weights is not None and np.shape(weights) != np.shape(a):
        raise ValueError(f"weights should have the same shape as a.{user_line()}")
    w = np.ones_like(box, np.int64) if weights is None else reshape(as_box(weights), (-1,))
    edges = _edges(box, bins, range)
    low, high = expand_dims(edges[:-1], 1), expand_dims(edges[1:], 1)
    inside = (box >= low) & (box < high)
    if edges.size > FEW:
        places = np.where(box == edges[-1], edges.size - 2, _places(edges, box, "right") - 1)
        taken = (places >= 0) & (places < edges.size - 1)
        counts = np.zeros_like(w, shape=edges.size - 1)
        np.add.at(counts, np.where(taken, places, 0), np.where(taken, w, w.dtype.type(0)))
    else:
        last = literal(np.arange(1, edges.size) == edges.size - 1)
        inside = inside | (expand_dims(last, 1) & (box == edges[-1]))  # the last bin has both its edges
        counts = np.sum(np.where(inside, w, w.dtype.type(0)), 1, dtype=w.dtype)
    if density:
        counts = counts / np.diff(edges).astype(np.float64) / np.sum(counts)
    return counts, edges


def _edges(box: Any, bins: Any, range: Any) -> Any:
    if isinstance(bins, str):
        raise TraceError(f"np.histogram with bins={bins!r} has as many bins as the numbers make: give their number{user_line()}")
    if np.ndim(bins) == 0:
        if range is None:
            raise TraceError(f"np.histogram without range= cannot be traced: give it the range{user_line()}")
        return literal(np.histogram_bin_edges(np.zeros(0, box.dtype), bins, range))
    edges = as_box(bins)
    if edges.ndim != 1:
        raise ValueError(f"`bins` must be 1d, when an array{user_line()}")
    known = settled(edges)
    if known is not None and (known[:-1] > known[1:]).any():
        raise ValueError(f"`bins` must increase monotonically, when an array{user_line()}")
    return edges


@traced(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    """Of `minlength` bins: a number that has none is an error at run time."""
    box, minlength = as_box(x), minlength.__index__()
    if box.ndim != 1:
        raise ValueError(f"object {'too deep' if box.ndim else 'of too small depth'} for desired array{user_line()}")
    if not np.can_cast(box.dtype, np.int64, "safe"):
        raise TypeError(f"Cannot cast array data from {box.dtype!r} to {np.dtype(np.int64)!r} according to the rule 'safe'{user_line()}")
    if minlength < 0:
        raise ValueError(f"'minlength' must not be negative{user_line()}")
    if weights is not None and np.shape(weights) != box.shape:
        raise ValueError(f"The weights and list don't have the same length.{user_line()}")
    if not minlength and box.size:
        raise TraceError(f"np.bincount without minlength= has as many bins as the numbers make: give their number{user_line()}")
    places = box.astype(np.int64)
    added = np.ones_like(places) if weights is None or not box.size else as_box(weights).astype(np.float64)
    counts = np.zeros_like(added, shape=minlength)
    if box.size:
        np.add.at(counts, np.where(places < 0, minlength, places), added)
    return counts
