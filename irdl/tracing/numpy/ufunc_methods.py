"""`ufunc.reduce`, `accumulate`, `reduceat`, `outer` and `at` on boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ops import reduce as ops
from irdl.ops.index import SCATTER_ADD, IndexAttributes
from irdl.tracing.box import PYTHON_NUMBERS, is_box, to_value
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.folding import FOLDED, accumulated, folded
from irdl.tracing.numpy.indexing import _advanced, _normalise
from irdl.tracing.numpy.reductions import cumulate, reduce
from irdl.tracing.numpy.shaping import broadcast_to, reshape
from irdl.tracing.numpy.table import as_box, settled
from irdl.tracing.numpy.ufuncs import store_out
from irdl.tracing.operations import apply

_REDUCE = {
    "add": ops.SUM,
    "multiply": ops.PROD,
    "maximum": ops.MAX,
    "minimum": ops.MIN,
    "logical_and": ops.ALL,
    "logical_or": ops.ANY,
}
#: so many are written out one by one
_MOST_SLICES = 256
_ACCUMULATE = {"add": ops.CUMSUM, "multiply": ops.CUMPROD, "maximum": ops.CUMMAX, "minimum": ops.CUMMIN}


def call_method(ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """One of the methods of a ufunc, on boxes.

    Raises:
        TraceError: the ufunc or the method has no traced form.
    """
    name = ufunc.__name__
    out = options.pop("out", None)
    if isinstance(out, tuple):
        (out,) = out
    if out is not None and not is_box(out):
        raise TraceError(f"np.{name}.{method} cannot store into a real array: leave out= away{user_line()}")
    if method == "reduce" and name in _REDUCE:
        x, *rest = inputs
        names = ("axis", "dtype", "_", "keepdims", "initial", "where")
        options = {**dict(zip(names, rest, strict=False)), **options}
        options.pop("_", None)
        axis = options.pop("axis", 0)
        return reduce(_REDUCE[name], x, axis, options.pop("dtype", None), out, **options)
    if method == "accumulate" and name in _ACCUMULATE:
        x, *rest = inputs
        axis = rest[0] if rest else options.get("axis", 0)
        dtype = rest[1] if len(rest) > 1 else options.get("dtype")
        return cumulate(_ACCUMULATE[name], x, axis, dtype, out)
    if method == "reduce" and name in FOLDED:
        return folded(ufunc, *inputs, **options, out=out)
    if method == "accumulate" and name in FOLDED:
        return accumulated(ufunc, *inputs, **options, out=out)
    if method == "reduceat" and name in _REDUCE:
        return _reduce_at(ufunc, *inputs, **options, out=out)
    if method == "outer":
        x, y = (as_box(item) for item in inputs)
        if out is not None:
            options["out"] = out
        return ufunc(reshape(x, x.shape + (1,) * y.ndim), y, **options)
    if method == "at" and name in ("add", "subtract"):
        return _add_at(name, *inputs)
    raise TraceError(f"np.{name}.{method} has no rule in irdl{user_line()}")


def _reduce_at(ufunc: np.ufunc, x: Any, indices: Any, axis: int = 0, dtype: Any = None, *, out: Any = None) -> Any:
    """Each place of `indices` up to the next one, or alone where the next one is not behind it."""
    box, name = as_box(x), ufunc.__name__
    known = settled(as_box(indices))
    if known is None:
        raise TraceError(f"np.{name}.reduceat with indices that are not known while tracing: use np.add.at{user_line()}")
    if known.size > _MOST_SLICES:
        raise TraceError(f"np.{name}.reduceat of more than {_MOST_SLICES} slices cannot be traced: use np.add.at{user_line()}")
    axis = np.lib.array_utils.normalize_axis_index(axis, box.ndim)
    dtype = out.dtype if dtype is None and out is not None and name in ("add", "multiply") else dtype
    if ((known < 0) | (known >= box.shape[axis])).any():
        raise IndexError(f"an index of np.{name}.reduceat is out of bounds for an axis of {box.shape[axis]}{user_line()}")
    lead, parts = (slice(None),) * axis, []
    for start, stop in zip(known.tolist(), [*known[1:].tolist(), box.shape[axis]], strict=False):
        part = box[(*lead, slice(start, max(stop, start + 1)))]
        parts.append(ufunc.reduce(part, axis, dtype, keepdims=True))
    rest = (*box.shape[:axis], 0, *box.shape[axis + 1 :])
    result = np.concatenate(parts, axis) if parts else ufunc.reduce(np.zeros_like(box[(*lead, slice(0, 1))]), axis, dtype, keepdims=True)
    result = result if parts else reshape(result[(*lead, slice(0, 0))], rest)
    return result if out is None else store_out(name, out, to_value(result))


def _add_at(name: str, target: Any, index: Any, item: Any) -> None:
    if not is_box(target):
        raise TraceError(f"np.{name}.at would store traced values into a real array: make it with np.zeros_like(x, shape=...){user_line()}")
    if target.read_only:  # NumPy does not look
        raise TraceError(f"np.{name}.at into an array that is read-only: {target.read_only}{user_line()}")
    update = as_box(target.dtype.type(item) if type(item) in PYTHON_NUMBERS else item)
    if not np.can_cast(np.result_type(target.dtype, update.dtype), target.dtype, "same_kind"):
        raise TypeError(f"Cannot cast ufunc '{name}' input 1 from {update.dtype!r} to {target.dtype!r}{user_line()}")
    update = update.astype(target.dtype)
    update = -update if name == "subtract" else update
    items = _normalise(target, index)
    if not any(is_box(part) or isinstance(part, np.ndarray) for part in items):
        target[index] = target[index] + update
        return
    _, view, indices, axes = _advanced(target, items)
    rest = tuple(n for axis, n in enumerate(view.shape) if axis not in axes)
    if axes != tuple(range(len(axes))):
        raise TraceError(f"np.{name}.at with a slice before the index arrays is not supported: transpose first{user_line()}")
    updates = broadcast_to(update, (*indices.shape[:-1], *rest))
    view.store(apply(SCATTER_ADD, [view.value, indices, to_value(updates, target.dtype)], IndexAttributes(axes)))
