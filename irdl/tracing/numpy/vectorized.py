"""What stands for `np.vectorize`: a function of numbers, called in a loop over the elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import literal, to_value, wrap
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.flat import ndenumerate
from irdl.tracing.numpy.iteration import nditer
from irdl.tracing.numpy.shaping import broadcast_to, reshape
from irdl.tracing.numpy.table import as_box
from irdl.tracing.operations import cast


class Vectorized:
    """As `np.vectorize`: `pyfunc` takes Python's numbers; dtypes of results are those of a first call with NumPy's."""

    def __init__(
        self,
        pyfunc: Any = np._NoValue,
        otypes: Any = None,
        doc: Any = None,
        excluded: Any = None,
        cache: bool = False,
        signature: Any = None,
    ) -> None:
        if signature is not None:
            raise TraceError(f"np.vectorize with a signature cannot be traced: use irdl.vmap{user_line()}")
        self.pyfunc = pyfunc
        self.otypes = None if otypes is None else [np.dtype(item) for item in otypes]
        self.excluded = set() if excluded is None else set(excluded)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.pyfunc is np._NoValue:  # a decorator with arguments
            self.pyfunc = arguments[0]
            return self
        given: dict[Any, Any] = {**dict(enumerate(arguments)), **options}
        boxes = {name: as_box(item) for name, item in given.items() if name not in self.excluded}
        if not boxes:
            return self.pyfunc(*arguments, **options)
        shape = np.broadcast_shapes(*(box.shape for box in boxes.values()))
        lines = {name: reshape(broadcast_to(box, shape), (math.prod(shape),)) for name, box in boxes.items()}
        size = next(iter(lines.values())).size

        def called(numbers: dict[Any, Any]) -> Any:
            whole = {**given, **numbers}
            return self.pyfunc(*(whole[place] for place in range(len(arguments))), **{name: whole[name] for name in options})

        if self.otypes is not None:
            dtypes, is_tuple = self.otypes, len(self.otypes) > 1
        elif not size:
            raise ValueError(f"cannot call `vectorize` on size 0 inputs unless `otypes` is set{user_line()}")
        else:
            first = called({name: line[0] for name, line in lines.items()})
            is_tuple = isinstance(first, tuple)
            dtypes = [as_box(item).dtype for item in (first if is_tuple else (first,))]

        from irdl.tracing.control import scan  # which imports what this module is for

        def step(_: Any, numbers: Any) -> Any:
            found = called({name: number.item() for name, number in zip(lines, numbers, strict=True)})
            items = found if is_tuple else (found,)
            return None, tuple(wrap(cast(to_value(item), dtype)) for item, dtype in zip(items, dtypes, strict=True))

        found = scan(step, None, tuple(lines.values()))[1] if size else [literal(np.zeros(0, dtype)) for dtype in dtypes]
        results = tuple(wrap(reshape(as_box(line), shape).value) for line in found)
        return results if is_tuple else results[0]


def stand_in(kind: Any) -> Any:
    """What traced code sees in place of a class of NumPy's; None for others."""
    return _CLASSES.get(kind) if isinstance(kind, type) else None


_CLASSES: dict[Any, Any] = {np.vectorize: Vectorized, np.ndenumerate: ndenumerate, np.nditer: nditer}
