"""Some of the combinations of parameters: each value with every other or every third of the rest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest


def covering(*lists: Sequence[Any], every: int = 2) -> list[Any]:
    """For `parametrize`: of two lists, every `every`-th pair runs always, and each value in some of them; the others are slow.

    Of three lists, one of them with `every` values, those that run always have every pair of the other two.
    """
    found = []
    for places in itertools.product(*(range(len(values)) for values in lists)):
        chosen, marks = [], [pytest.mark.slow] if sum(places) % every else []
        for values, place in zip(lists, places, strict=True):
            value = values[place]
            if isinstance(value, type(pytest.param())):  # one with marks of its own
                marks += value.marks
                (value,) = value.values
            chosen.append(value)
        name = "-".join(str(getattr(value, "__name__", value)) for value in chosen)
        found.append(pytest.param(*chosen, id=name, marks=marks))
    return found
