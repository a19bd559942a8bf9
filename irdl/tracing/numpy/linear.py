"""NumPy's functions of vectors and matrices that are products and sums: norms, cross products, powers and chains of products."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_complex
from irdl.tracing.box import literal, to_value, wrap, wrap_result
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.factorizations import inv, knowing
from irdl.tracing.numpy.shaping import moveaxis, reshape
from irdl.tracing.numpy.spectral import svdvals
from irdl.tracing.numpy.table import TABLE, as_box, traced


@traced(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    box = as_box(x)
    box = box if box.dtype.kind in "fc" else box.astype(np.float64)  # bfloat16 too, as NumPy does
    if axis is None and (ord is None or (ord in ("f", "fro") and box.ndim == 2) or (ord == 2 and box.ndim == 1)):
        return np.sqrt(np.sum(_squares(box), keepdims=keepdims))
    axes = tuple(range(box.ndim)) if axis is None else axis if isinstance(axis, tuple) else (int(axis),)
    axes = tuple(np.lib.array_utils.normalize_axis_index(place, box.ndim) for place in axes)
    if len(axes) == 1:
        return _vector_norm(box, ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(box, ord, axes, keepdims)
    raise ValueError(f"Improper number of dimensions to norm{user_line()}")


def _squares(box: Any) -> Any:
    """|x| ** 2, real of complex numbers too."""
    return box.real * box.real + box.imag * box.imag if is_complex(box.dtype) else box * box


def _vector_norm(box: Any, ord: Any, axis: int, keepdims: Any) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors{user_line()}")
    if ord is None or ord == 2:
        return np.sqrt(np.sum(_squares(box), axis, keepdims=keepdims))
    if ord == np.inf:
        return np.max(np.abs(box), axis, keepdims=keepdims, initial=0)
    if ord == -np.inf:
        return np.min(np.abs(box), axis, keepdims=keepdims)
    if ord == 0:
        return np.sum((box != 0).astype(box.real.dtype), axis, keepdims=keepdims)
    if ord == 1:
        return np.sum(np.abs(box), axis, keepdims=keepdims)
    total = np.sum(np.abs(box) ** ord, axis, keepdims=keepdims)
    return (total ** np.reciprocal(ord, dtype=total.dtype)).astype(total.dtype)


def _matrix_norm(box: Any, ord: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    rows, columns = axes
    if rows == columns:
        raise ValueError(f"Duplicate axes given{user_line()}")
    if ord in (None, "fro", "f"):
        return np.sqrt(np.sum(_squares(box), axes, keepdims=keepdims))
    if ord in (2, -2, "nuc"):
        return _of_singular_values(box, ord, axes, keepdims)
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"Invalid norm order for matrices{user_line()}")
    first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = np.sum(np.abs(box), first, keepdims=True)
    result = np.max(sums, second, keepdims=True, initial=0) if ord > 0 else np.min(sums, second, keepdims=True)
    return result if keepdims else wrap_result(np.squeeze(result, axes).value)


def _of_singular_values(box: Any, ord: Any, axes: tuple[int, ...], keepdims: Any) -> Any:
    values = svdvals(moveaxis(box, axes, (-2, -1)))
    if ord == "nuc":
        result = np.sum(values, -1)
    else:
        result = np.max(values, -1, initial=0) if ord == 2 else np.min(values, -1)
    return np.expand_dims(result, axes) if keepdims else result


@traced(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    box = as_box(x)
    axes = tuple(range(box.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, box.ndim)
    rest = tuple(place for place in range(box.ndim) if place not in axes)
    flat = reshape(np.transpose(box, axes + rest), (-1 if box.size else 0, *(box.shape[place] for place in rest)))
    result = norm(flat, ord, 0)
    return reshape(result, tuple(1 if place in axes else n for place, n in enumerate(box.shape))) if keepdims else result


TABLE[np.linalg.matrix_norm] = lambda x, /, *, keepdims=False, ord="fro": norm(x, ord, (-2, -1), keepdims)
TABLE[np.linalg.trace] = lambda x, /, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype)
TABLE[np.linalg.diagonal] = lambda x, /, *, offset=0: np.diagonal(x, offset, -2, -1)
TABLE[np.linalg.matrix_transpose] = lambda x, /: np.matrix_transpose(x)
TABLE[np.linalg.tensordot] = lambda x1, x2, /, *, axes=2: np.tensordot(x1, x2, axes)


@traced(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return np.vecdot(moveaxis(as_box(x1), axis, -1), moveaxis(as_box(x2), axis, -1))


@traced(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    if np.ndim(x1) != 1 or np.ndim(x2) != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={np.ndim(x1)} and x2.ndim={np.ndim(x2)}{user_line()}")
    return np.outer(x1, x2)


@traced(np.linalg.cross)
def cross3(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    if np.shape(x1)[axis] != 3 or np.shape(x2)[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, but they are "
            f"{np.shape(x1)[axis]} and {np.shape(x2)[axis]} dimensional instead{user_line()}"
        )
    return cross(x1, x2, axis=axis)


@knowing(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    box = as_box(x)
    if box.ndim >= 2 and 0 in box.shape[-2:]:
        raise np.linalg.LinAlgError(f"cond is not defined on empty arrays{user_line()}")
    if p not in (None, 2, -2):
        return norm(box, p, (-2, -1)) * norm(inv(box), p, (-2, -1))
    values = svdvals(box)
    found = values[..., -1] / values[..., 0] if p == -2 else values[..., 0] / values[..., -1]
    return wrap_result(to_value(np.where(np.isnan(found), np.inf, found)))


@traced(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    a, b = as_box(a), as_box(b)
    if not a.ndim or not b.ndim:
        raise ValueError(f"At least one array has zero dimension{user_line()}")
    dtype = np.promote_types(a.dtype, b.dtype)
    a = moveaxis(a, np.lib.array_utils.normalize_axis_index(axisa, a.ndim, msg_prefix="axisa"), -1).astype(dtype, copy=False)
    b = moveaxis(b, np.lib.array_utils.normalize_axis_index(axisb, b.ndim, msg_prefix="axisb"), -1).astype(dtype, copy=False)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(f"incompatible dimensions for cross product\n(dimension must be 2 or 3){user_line()}")
    if a.shape[-1] == b.shape[-1] == 2:
        return wrap((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).value)
    (a0, a1, a2), (b0, b1, b2) = ([x[..., i] if i < x.shape[-1] else np.zeros_like(x[..., 0]) for i in range(3)] for x in (a, b))
    parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0]
    rank = max(a.ndim, b.ndim)
    place = np.lib.array_utils.normalize_axis_index(axisc, rank, msg_prefix="axisc")
    return moveaxis(np.stack(parts, -1), -1, place)


@traced(np.kron)
def kron(a: Any, b: Any) -> Any:
    a, b = as_box(a), as_box(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    rank = max(a.ndim, b.ndim)
    first, second = ((1,) * (rank - box.ndim) + box.shape for box in (a, b))
    x = reshape(a, tuple(n for extent in first for n in (extent, 1)))
    y = reshape(b, tuple(n for extent in second for n in (1, extent)))
    return reshape(np.multiply(x, y), tuple(m * n for m, n in zip(first, second, strict=True)))


@traced(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    box, n = as_box(a), n.__index__()
    if box.ndim < 2 or box.shape[-1] != box.shape[-2]:
        raise np.linalg.LinAlgError(f"Last 2 dimensions of the array must be square{user_line()}")
    if n < 0:
        box, n = inv(box), -n
    if n == 0:
        one = np.zeros_like(box)
        one[...] = literal(np.eye(box.shape[-1], dtype=box.dtype))
        return one
    result, square = None, box
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        square = square @ square if n else square
    return result


@traced(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    boxes = [as_box(array) for array in arrays]
    if len(boxes) < 2:
        raise ValueError(f"Expecting at least two arrays{user_line()}")
    if any(box.ndim != 2 for box in boxes[1:-1]) or any(box.ndim not in (1, 2) for box in (boxes[0], boxes[-1])):
        raise np.linalg.LinAlgError(f"np.linalg.multi_dot takes matrices, and vectors at its ends{user_line()}")
    extents = [1 if boxes[0].ndim == 1 else boxes[0].shape[0], *(box.shape[0] for box in boxes[1:])]
    extents.append(1 if boxes[-1].ndim == 1 else boxes[-1].shape[1])

    @functools.cache
    def cheapest(first: int, last: int) -> tuple[int, int]:
        """What the products of first to last cost, and behind which of them to cut."""
        if first == last:
            return 0, first
        return min(
            (cheapest(first, cut)[0] + cheapest(cut + 1, last)[0] + extents[first] * extents[cut + 1] * extents[last + 1], cut)
            for cut in range(first, last)
        )

    def product(first: int, last: int) -> Any:
        if first == last:
            return boxes[first]
        cut = cheapest(first, last)[1]
        return np.dot(product(first, cut), product(cut + 1, last))

    return product(0, len(boxes) - 1) if out is None else np.positive(product(0, len(boxes) - 1), out=out)
