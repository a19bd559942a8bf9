"""NumPy's broadcasting of shapes, and its transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.errors import GraphError
from irdl.ir.types import TensorType


def broadcast_shapes(types: Sequence[TensorType]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(type.shape for type in types))
    except ValueError:
        raise GraphError(f"shapes {', '.join(str(type.shape) for type in types)} do not broadcast") from None


def sum_to_shape(array: Any, shape: tuple[int, ...]) -> Any:
    """Undo a broadcast: sum `array` over the axes along which `shape` was stretched to `array.shape`."""
    if array is None or array.shape == tuple(shape):
        return array
    lead = array.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + axis for axis, extent in enumerate(shape) if extent == 1 and array.shape[lead + axis] != 1)
    return np.reshape(np.sum(array, axis=axes), shape)
