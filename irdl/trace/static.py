"""Binding static arguments before a trace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def with_static(function: Callable[..., Any], static: Mapping[Any, Any], count: int, positions: Sequence[int]) -> Callable[..., Any]:
    """`function` of the other arguments alone."""
    keywords = {name: item for name, item in static.items() if isinstance(name, str)}
    return functools.partial(_insert, function, tuple((place, static[place]) for place in positions), count, **keywords)


def _insert(function: Callable[..., Any], static: tuple[tuple[int, Any], ...], count: int, *arguments: Any, **options: Any) -> Any:
    rest = iter(arguments)
    fixed = dict(static)
    return function(*(fixed[place] if place in fixed else next(rest) for place in range(count)), **options)
