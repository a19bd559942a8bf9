"""Programs as people write them: recurrent networks with their backward passes by hand, layers that keep caches, states that are
objects in a list, dynamic programs, loops over everything, loops that branch. None of them knows of irdl.

Each module's `PROGRAMS` maps a name to a function from sizes and a random generator to (function, arguments); a function may be a
method of an object, which it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optree

from benchmarks.measure import Job, Task


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
    from benchmarks.handwritten import branching, courses, dynamic, layers, sequences

    return {**courses.PROGRAMS, **layers.PROGRAMS, **sequences.PROGRAMS, **dynamic.PROGRAMS, **branching.PROGRAMS}


# The suite: each program as it is, compiled and in NumPy.
PEERS = ("irdl", "numpy")
MODES = ("batch 1", "batch 4", "batch 20")
ROWS = tuple(programs())


def work(row: str, mode: str) -> tuple[float, str]:
    """Not counted."""
    return 0.0, ""


def make(task: Task) -> Job:
    sizes = Sizes(batch=int(task.mode.split()[-1]))
    f, arguments = programs()[task.row](sizes, np.random.default_rng(0))
    g, others = programs()[task.row](sizes, np.random.default_rng(0))
    expected = _arrays(g(*others))
    if task.peer == "irdl":
        import irdl

        irdl.set_num_threads(task.threads)
        f = irdl.jit(f)
    return Job(lambda: f(*arguments), _arrays, expected)


def _arrays(result: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in optree.tree_leaves(result)]
