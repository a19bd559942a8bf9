"""NumPy's functions of sequences of samples: convolutions, differences, integrals, and polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import BFLOAT16, finfo, is_complex, is_integer
from irdl.ops import reduce as ops
from irdl.tracing.box import wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy import reductions
from irdl.tracing.numpy.shaping import broadcast_to, reshape
from irdl.tracing.numpy.table import as_box, settled, traced
from irdl.tracing.numpy.windowing import sliding_window_view

_MODES = ("valid", "same", "full")


@traced(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    a, v = (box if box.ndim else reshape(box, (1,)) for box in (as_box(a), as_box(v)))
    for box, name in ((a, "a"), (v, "v")):
        if box.size == 0:
            raise ValueError(f"{name} cannot be empty{user_line()}")
    longer, shorter = (v, a) if v.size > a.size else (a, v)
    return _correlate(longer, shorter[::-1] if shorter.ndim == 1 else shorter, mode)


@traced(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """Of complex numbers, with the conjugate of the second."""
    return _correlate(a, np.conjugate(as_box(v)) if is_complex(as_box(v).dtype) else v, mode)


def _correlate(a: Any, v: Any, mode: Any) -> Any:
    """A contraction of the windows of the longer one with the other."""
    a, v = as_box(a), as_box(v)
    if BFLOAT16 in (a.dtype, v.dtype) and np.result_type(a.dtype, v.dtype) == BFLOAT16:
        return correlate(a.astype(np.float32), v.astype(np.float32), mode).astype(BFLOAT16)  # NumPy's einsum has no loop for it
    for box, name in ((a, "first"), (v, "second")):
        if box.ndim != 1:
            raise ValueError(f"object {'too deep' if box.ndim else 'of too small depth'} for desired array{user_line()}")
        if box.size == 0:
            raise ValueError(f"{name} array argument cannot be empty{user_line()}")
    if mode not in (*_MODES, 0, 1, 2):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r}){user_line()}")
    mode = mode if isinstance(mode, str) else _MODES[mode]
    flipped = a.size < v.size
    if flipped:
        a, v = v, a
    dtype = np.result_type(a.dtype, v.dtype)
    n = v.size
    before, behind = {"valid": (0, 0), "same": (n // 2, n - n // 2 - 1), "full": (n - 1, n - 1)}[mode]
    working = np.dtype(np.int64) if dtype == np.bool_ else dtype
    a, v = a.astype(working, copy=False), v.astype(working, copy=False)
    result = np.einsum("ij,j->i", sliding_window_view(np.pad(a, (before, behind)) if n > 1 else a, n), v)
    result = result > 0 if dtype == np.bool_ else result
    return wrap((result[::-1] if flipped else result).value)


@traced(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}{user_line()}")
    box = as_box(a)
    if box.ndim == 0:
        raise ValueError(f"diff requires input that is at least one dimensional{user_line()}")
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    ends = [part if part is box else _at_the_end(part, box.shape, axis) for part in (prepend, box, append) if part is not np._NoValue]
    box = np.concatenate(ends, axis) if len(ends) > 1 else box
    lead = (slice(None),) * axis
    for _ in range(n):
        later, earlier = box[(*lead, slice(1, None))], box[(*lead, slice(None, -1))]
        box = later != earlier if box.dtype == np.bool_ else later - earlier
    return box


def _at_the_end(part: Any, shape: tuple[int, ...], axis: int) -> Any:
    """A number stands for one more element along the axis."""
    box = as_box(part)
    return box if box.ndim else broadcast_to(box, (*shape[:axis], 1, *shape[axis + 1 :]))


@traced(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    box = reshape(as_box(ary), (-1,))
    if box.dtype == np.bool_:
        raise TypeError(f"numpy boolean subtract, the `-` operator, is not supported: use np.diff{user_line()}")
    parts = [box[1:] - box[:-1]]
    for name, given in (("to_begin", to_begin), ("to_end", to_end)):
        if given is not None:
            end = reshape(as_box(given), (-1,))
            if not np.can_cast(end.dtype, box.dtype, casting="same_kind"):
                raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule{user_line()}")
            parts.insert(0 if name == "to_begin" else 1 + (to_begin is not None), end.astype(box.dtype))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


@traced(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    box = as_box(f)
    axes = tuple(range(box.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, box.ndim)
    if edge_order > 2:
        raise ValueError(f"'edge_order' greater than 2 not supported{user_line()}")
    spacings = _spacings(varargs, box.shape, axes)
    dtype = box.dtype if box.dtype.kind in "fc" else np.dtype(np.float64)  # bfloat16 gives float64 too
    box = box.astype(np.float64) if is_integer(box.dtype) else box
    results = []
    for place, spacing in zip(axes, spacings, strict=True):
        if box.shape[place] < edge_order + 1:
            raise ValueError(
                f"Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required{user_line()}"
            )
        results.append(_along(box, spacing, place, edge_order, dtype))
    return results[0] if len(axes) == 1 else tuple(results)


def _spacings(given: tuple[Any, ...], shape: tuple[int, ...], axes: tuple[int, ...]) -> list[Any]:
    """For each axis a number, or the distances between neighbours."""
    if not given:
        return [1.0] * len(axes)
    if len(given) == 1 and np.ndim(given[0]) == 0:
        return [given[0]] * len(axes)
    if len(given) != len(axes):
        raise TypeError(f"invalid number of arguments{user_line()}")
    spacings: list[Any] = []
    for place, item in zip(axes, given, strict=True):
        if np.ndim(item) > 1:
            raise ValueError(f"distances must be either scalars or 1d{user_line()}")
        if np.ndim(item) == 1:
            box = as_box(item)
            if box.shape[0] != shape[place]:
                raise ValueError(f"when 1d, distances must match the length of the corresponding dimension{user_line()}")
            item = np.diff(box.astype(np.float64) if is_integer(box.dtype) else box)
            known = settled(item)
            if known is not None and known.size and (known == known[0]).all():
                item = item[0]
        spacings.append(item)
    return spacings


def _along(box: Any, spacing: Any, axis: int, edge_order: int, dtype: np.dtype) -> Any:
    """NumPy's differences along an axis: central ones between the ends, one-sided ones at the ends."""
    lead = (slice(None),) * axis

    def part(start: int | None, stop: int | None) -> Any:
        return box[(*lead, slice(start, stop))]

    even = np.ndim(spacing) == 0
    first, last = (spacing, spacing) if even else (spacing[0], spacing[-1])
    if even:
        middle = (part(2, None) - part(None, -2)) / (2.0 * spacing)
    else:
        left, right = (reshape(h, (-1,) + (1,) * (box.ndim - axis - 1)) for h in (spacing[:-1], spacing[1:]))
        a, b, c = -right / (left * (left + right)), (right - left) / (left * right), left / (right * (left + right))
        middle = a * part(None, -2) + b * part(1, -1) + c * part(2, None)
    if edge_order == 1:
        low, high = (part(1, 2) - part(0, 1)) / first, (part(-1, None) - part(-2, -1)) / last
    else:
        near, far = (spacing, spacing) if even else (spacing[1], spacing[-2])
        a, b, c = _one_sided(first, near)
        low = a * part(0, 1) + b * part(1, 2) + c * part(2, 3)
        a, b, c = _one_sided(last, far)
        high = -c * part(-3, -2) + -b * part(-2, -1) + -a * part(-1, None)
    return np.concatenate([x.astype(dtype) for x in (low, middle, high)], axis)


def _one_sided(near: Any, far: Any) -> tuple[Any, Any, Any]:
    """The weights of a derivative at the first of three points, so far apart."""
    return -(2.0 * near + far) / (near * (near + far)), (near + far) / (near * far), -near / (far * (near + far))


@traced(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    box = as_box(y)
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    lead = (slice(None),) * axis
    if x is None:
        distances = dx
    elif np.ndim(x) == 1:
        distances = reshape(np.diff(as_box(x)), (-1,) + (1,) * (box.ndim - axis - 1))
    else:
        distances = np.diff(as_box(x), axis=axis)
    return np.sum(distances * (box[(*lead, slice(1, None))] + box[(*lead, slice(None, -1))]) / 2.0, axis)


@traced(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Any:
    box = as_box(p)
    steps = np.diff(box, axis=axis)
    dtype = np.result_type(steps.dtype, period if isinstance(period, (int, float)) else as_box(period).dtype)
    discont = period / 2 if discont is None else discont
    high: Any = period / 2
    ambiguous = True  # whether a step may be half a period up as well as down
    if is_integer(dtype):
        high, rest = divmod(period, 2)
        ambiguous = rest == 0
    wrapped = np.mod(steps + high, period) - high
    if ambiguous:
        wrapped = np.where((wrapped == -high) & (steps > 0), np.asarray(high, wrapped.dtype)[()], wrapped)
    correction = np.where(np.abs(steps) < discont, np.zeros((), steps.dtype)[()], wrapped - steps)
    lead = (slice(None),) * np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    rest = box[(*lead, slice(1, None))] + np.cumsum(correction, axis)
    return np.concatenate([box[(*lead, slice(None, 1))].astype(dtype), rest.astype(dtype)], axis)


@traced(np.sinc)
def sinc(x: Any) -> Any:
    scaled = as_box(x) * np.pi if as_box(x).kind != "python" else np.multiply(as_box(x), np.pi)
    scaled = np.where(scaled == 0, scaled.dtype.type(finfo(scaled.dtype).eps), scaled)
    return np.sin(scaled) / scaled


@traced(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    if isinstance(x, np.poly1d):
        raise TraceError(f"np.polyval of a polynomial at a polynomial cannot be traced: give it an array{user_line()}")
    box = as_box(x)
    result = np.zeros_like(box)
    for coefficient in as_box(p):
        result = result * box + coefficient
    return result


@traced(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    box = as_box(x)
    if box.ndim != 1:
        raise ValueError(f"x must be a one-dimensional array or sequence{user_line()}")
    count = box.size if N is None else N.__index__()
    if count < 0:
        raise ValueError(f"negative dimensions are not allowed{user_line()}")
    box = box.astype(np.promote_types(box.dtype, int))
    ones = np.ones_like(box, shape=(box.size, min(count, 1)))
    repeated = broadcast_to(reshape(box, (-1, 1)), (box.size, max(count - 1, 0)))
    powers: Any = np.concatenate([ones, reductions.cumulate(ops.CUMPROD, repeated, 1)], 1)
    return powers if increasing else wrap(powers[:, ::-1].value)
