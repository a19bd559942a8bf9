"""NumPy's functions on boxes: the table from NumPy's function to its traced form, which `__array_function__` looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from irdl.errors import TraceError
from irdl.trace.box import is_box, to_value, wrap
from irdl.trace.layout import ask, lay_out
from irdl.trace.recorder import user_line

TABLE: dict[Callable[..., Any], Callable[..., Any]] = {}


def traced(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def record(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            TABLE[function] = rule
        return rule

    return record


def array_function(function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """`Box.__array_function__`: an unknown function is an error, never a silent fallback."""
    rule = TABLE.get(function)
    if rule is None:
        name = f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}".replace("numpy", "np", 1)
        raise TraceError(f"{name} has no rule in irdl: write it with functions that have one{user_line()}")
    ask(function, arguments, options)
    return lay_out(rule(*arguments, **options), function, arguments, options)


def as_box(x: Any) -> Any:
    return x if is_box(x) else wrap(to_value(x))
