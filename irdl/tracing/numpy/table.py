"""NumPy's functions on boxes: the table from NumPy's function to its traced form, which `__array_function__` looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.ir.dtypes import is_inexact
from irdl.tracing.box import is_box, to_value, wrap
from irdl.tracing.numpy.layout import are_known, ask, boxes_in, computed, lay_out, without_rule
from irdl.tracing.recorder import open_trace

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}


def traced(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def record(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            TABLE[function] = rule
        return rule

    return record


def array_function(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """`Box.__array_function__`: an unknown function is an error, unless the arrays that it is given are known to the trace."""
    rule = TABLE.get(function)
    if rule is None:
        if are_known(boxes_in((arguments, options))):
            return computed(function, arguments, options)
        raise without_rule(function)
    ask(function, arguments, options)
    return lay_out(rule(*arguments, **options), function, arguments, options)


def as_box(x: Any) -> Any:
    return x if is_box(x) else wrap(to_value(x))


def settled(box: Any) -> np.ndarray | None:
    """The numbers that the trace knows of a box, through which no derivative may pass."""
    known = box.known
    return None if known is None or (is_inexact(box.dtype) and box.value in open_trace().followed) else known


def are_settled(arguments: Any, options: Any) -> bool:
    """Whether the trace knows the numbers of all boxes among the arguments, and no derivative passes through one."""
    return all(settled(box) is not None for box in boxes_in((arguments, options)))
