"""NumPy's weighted averages, covariances and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_complex, is_inexact
from irdl.tracing.box import wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.reductions import _UNSET
from irdl.tracing.numpy.shaping import broadcast_to, reshape, transpose
from irdl.tracing.numpy.table import as_box, settled, traced


@traced(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    box = as_box(a)
    keepdims = keepdims is not _UNSET and keepdims
    axes = None if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, box.ndim, argname="axis")
    if weights is None:
        result = np.mean(box, axis, keepdims=keepdims)
        scale = np.zeros_like(result, shape=()) + result.dtype.type(box.size / result.size if result.size else np.nan)
    else:
        w = _beside(as_box(weights), box.shape, axes)
        dtype = np.result_type(box.dtype, w.dtype, *([] if is_inexact(box.dtype) else ["f8"]))
        scale = np.sum(w, axes, dtype=dtype, keepdims=keepdims)
        known = settled(scale)
        if known is not None and (known == 0).any():
            raise ZeroDivisionError(f"Weights sum to zero, can't be normalized{user_line()}")
        result = np.sum(np.multiply(box, w, dtype=dtype), axes, keepdims=keepdims) / scale
    if not returned:
        return result
    return result, scale if scale.shape == result.shape else wrap(broadcast_to(scale, result.shape).value)


def _beside(weights: Any, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> Any:
    """The weights laid along the axes that they are for."""
    if weights.shape == shape:
        return weights
    if axes is None:
        raise TypeError(f"Axis must be specified when shapes of a and weights differ{user_line()}")
    if weights.shape != tuple(shape[axis] for axis in axes):
        raise ValueError(f"Shape of weights must be consistent with shape of a along specified axis{user_line()}")
    ordered = transpose(weights, tuple(int(i) for i in np.argsort(axes)))
    return reshape(ordered, tuple(n if axis in axes else 1 for axis, n in enumerate(shape)))


@traced(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: Any = True,
    bias: Any = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    if ddof is not None and ddof != int(ddof):
        raise ValueError(f"ddof must be integer{user_line()}")
    given = [as_box(part) for part in (m, y) if part is not None]
    if any(part.ndim > 2 for part in given):
        raise ValueError(f"{'m' if given[0].ndim > 2 else 'y'} has more than 2 dimensions{user_line()}")
    dtype = np.result_type(*(part.dtype for part in given), np.float64) if dtype is None else np.dtype(dtype)
    rows = _rows(given[0], dtype, not rowvar and given[0].ndim != 1)
    if rows.shape[0] == 0:
        return np.zeros_like(rows, np.float64, shape=(0, 0))
    if y is not None:
        rows = np.concatenate([rows, _rows(given[1], dtype, not rowvar and (given[1].shape[0] if given[1].ndim > 1 else 1) != 1)], 0)
    ddof = (0 if bias else 1) if ddof is None else int(ddof)
    weights, freedom = _weights(fweights, aweights, rows.shape[1], ddof)
    centred = (rows - np.expand_dims(average(rows, 1, weights), 1)).astype(dtype)
    weighted = centred if weights is None else centred * weights
    products = np.dot(centred, np.conjugate(weighted.T))
    return np.squeeze((products * np.true_divide(1, freedom)).astype(products.dtype))


def _rows(box: Any, dtype: np.dtype, turned: bool) -> Any:
    rows = reshape(box, (1, -1)) if box.ndim < 2 else box
    return (rows.T if turned else rows).astype(dtype)


def _weights(fweights: Any, aweights: Any, count: int, ddof: int) -> tuple[Any, Any]:
    """The weight of each observation, if any, and the degrees of freedom, which are not negative."""
    if fweights is None and aweights is None:
        with np.errstate(all="ignore"):
            return None, np.float64(max(count - ddof, 0))
    product: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        box = as_box(given).astype(np.float64)
        if box.ndim > 1:
            raise RuntimeError(f"cannot handle multidimensional {name}{user_line()}")
        if box.shape != (count,):
            raise RuntimeError(f"incompatible numbers of samples and {name}{user_line()}")
        known = settled(box)
        if known is not None and name == "fweights" and (known != np.around(known)).any():
            raise TypeError(f"fweights must be integer{user_line()}")
        if known is not None and (known < 0).any():
            raise ValueError(f"{name} cannot be negative{user_line()}")
        product = box if product is None else product * box
    total = np.sum(product)
    if ddof == 0:
        return product, np.maximum(total, 0.0)
    if aweights is None:
        return product, np.maximum(total - ddof, 0.0)
    weighted = np.sum(product * as_box(aweights).astype(np.float64))
    return product, np.maximum(total - ddof * weighted / total, 0.0)


@traced(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: Any = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if is_complex(c.dtype):
        raise TraceError(f"np.corrcoef of complex numbers cannot be traced: divide np.cov by the deviations{user_line()}")
    if c.ndim == 0:
        return c / c
    deviations = np.sqrt(np.diagonal(c))
    return np.clip(c / np.expand_dims(deviations, 1) / np.expand_dims(deviations, 0), -1, 1)
