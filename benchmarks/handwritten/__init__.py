"""Programs as people write them: recurrent networks with their backward passes by hand, layers that keep caches, states that are
objects in a list, dynamic programs, loops over everything. None of them knows of irdl.

Each module's `PROGRAMS` maps a name to a function from sizes and a random generator to (function, arguments); a function may be a
method of an object, which it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Sizes(NamedTuple):
    """Batch, steps, inputs, hidden units, vocabulary."""

    batch: int = 20
    steps: int = 25
    inputs: int = 100
    hidden: int = 100
    vocabulary: int = 60


SMALL = Sizes(2, 6, 3, 4, 5)
Maker = Callable[[Sizes, np.random.Generator], tuple[Callable[..., Any], tuple[Any, ...]]]


def programs() -> dict[str, Maker]:
    from benchmarks.handwritten import courses, dynamic, layers, sequences

    return {**courses.PROGRAMS, **layers.PROGRAMS, **sequences.PROGRAMS, **dynamic.PROGRAMS}
