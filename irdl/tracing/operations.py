"""Ops on values of the trace being recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.ir.dtypes import is_bool, is_complex, is_supported
from irdl.ir.graph import Value
from irdl.ir.op import NO_ATTRIBUTES, Op, find_op
from irdl.ops.elementwise import CAST, CastAttributes
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import open_trace


def apply(op: Op | str, operands: Sequence[Value], attributes: Any = NO_ATTRIBUTES) -> Value:
    """Record an op on values of the current trace; its first output."""
    trace = open_trace()
    found = find_op(op) if isinstance(op, str) else op
    assert found is not None, op
    return trace.apply(found, operands, attributes)[0]


def cast(value: Value, dtype: np.dtype) -> Value:
    """The value in another dtype.

    Raises:
        TraceError: irdl does not know the dtype, or it is real and the value complex, of which NumPy would warn.
    """
    if value.dtype == dtype:
        return value
    if is_complex(value.dtype) and not is_complex(dtype) and not is_bool(dtype):
        raise TraceError(f"{value.dtype} as {dtype} would lose the imaginary part: take .real, .imag or np.abs of it{user_line()}")
    if not is_supported(dtype):
        raise TraceError(f"dtype {dtype} is not supported in traced code{user_line()}")
    return apply(CAST, [value], CastAttributes(dtype))


def viewed(value: Value, steps: Sequence[Any]) -> Value:
    """What the steps of views make of it."""
    trace = open_trace()
    for step in steps:
        value = step.read(trace, value)
    return value
