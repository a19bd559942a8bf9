"""NumPy's functions on boxes: the table from NumPy's function to its traced form, which `__array_function__` looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.trace.box import is_box, to_value, wrap
from irdl.trace.layout import all_known, ask, boxes_in, known_arrays, lay_out
from irdl.trace.recorder import user_line

#: what changes its arguments, of which known arrays would be copies
_CHANGING = (np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal, np.copyto)

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
        if function not in _CHANGING and "out" not in options and all(box.known is not None for box in boxes_in((arguments, options))):
            return all_known(function(*known_arrays(tuple(arguments)), **known_arrays(options)))
        name = f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}".replace("numpy", "np", 1)
        raise TraceError(f"{name} has no rule in irdl: write it with functions that have one{user_line()}")
    ask(function, arguments, options)
    return lay_out(rule(*arguments, **options), function, arguments, options)


def as_box(x: Any) -> Any:
    return x if is_box(x) else wrap(to_value(x))
