"""What stands for `np.nditer` of traced arrays: NumPy's own iterator goes over arrays without memory that lie as they do, and says where
it is; elements are views of the traced ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.box import Box, is_box
from irdl.tracing.lines import user_line
from irdl.tracing.numpy.shaping import broadcast_to
from irdl.tracing.numpy.table import as_box

#: flags of NumPy's that change nothing in what an iterator shows, or only what it says of where it is
_FLAGS = ("multi_index", "c_index", "f_index", "refs_ok", "zerosize_ok", "copy_if_overlap", "grow_inner")


class Nditer:
    """`np.nditer`, element by element.

    Raises:
        TraceError: a flag asks for copies, chunks or outputs, or operands are cast.
    """

    def __init__(self, op: Any, flags: Any = (), op_flags: Any = None, **options: Any) -> None:
        operands = op if isinstance(op, (list, tuple)) else [op]
        refused = [*(flag for flag in flags or () if flag not in _FLAGS), *(key for key in options if key != "order")]
        if refused or any(item is None for item in operands):
            raise TraceError(
                f"np.nditer with {', '.join(refused) or 'an operand of None'} cannot be traced: go over np.ndindex(x.shape), or write it "
                f"with whole arrays{user_line()}"
            )
        boxes = [as_box(item) for item in operands]
        named = (*(flags or ()), *(() if "multi_index" in (flags or ()) else ("multi_index",)))
        self._iterator = np.nditer([_without_memory(box) for box in boxes], named, op_flags, **options)
        if not any(flag in (flags or ()) for flag in ("c_index", "f_index")):
            self._iterator.reset()
        shape = np.broadcast_shapes(*(box.shape for box in boxes))
        self._says_place = "multi_index" in (flags or ())
        self.operands = tuple(box if box.shape == shape else broadcast_to(box, shape) for box in boxes)

    def __iter__(self) -> Iterator[Any]:
        while not self._iterator.finished:
            yield self.value
            self._iterator.iternext()

    def __getitem__(self, place: Any) -> Any:
        return [self._element(number) for number in range(len(self.operands))][place]

    def __setitem__(self, place: int, values: Any) -> None:
        self._element(place)[...] = values

    def __len__(self) -> int:
        return len(self.operands)

    def __enter__(self) -> Nditer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._iterator.close()

    @property
    def value(self) -> Any:
        """The elements where it is, arrays of no axes; of one operand its own."""
        found = tuple(self[:])
        return found if len(found) > 1 else found[0]

    @property
    def multi_index(self) -> tuple[int, ...]:
        if not self._says_place:
            raise ValueError(f"Iterator is not tracking a multi-index{user_line()}")
        return self._iterator.multi_index

    def __getattr__(self, name: str) -> Any:
        """What NumPy's iterator says and does: `finished`, `iternext`, `index`, `shape`, `reset` and their kin."""
        return getattr(self.__dict__["_iterator"], name)

    def _element(self, number: int) -> Any:
        box = self.operands[number][(*self._iterator.multi_index, ...)]
        shown = self._iterator.value
        if not (shown[number] if isinstance(shown, tuple) else shown).flags.writeable:
            box = Box(box.cell, box.type, box.kind, box.steps, read_only="elements of np.nditer are, unless op_flags says readwrite")
        return box


def _without_memory(box: Any) -> np.ndarray:
    shadow = box.shadow
    if shadow.flags.writeable != box.flags.writeable:
        shadow = shadow.view()
        shadow.flags.writeable = box.flags.writeable
    return shadow


def nditer(op: Any, *arguments: Any, **options: Any) -> Any:
    """`np.nditer`: NumPy's own where nothing is traced."""
    operands = op if isinstance(op, (list, tuple)) else [op]
    return (Nditer if any(map(is_box, operands)) else np.nditer)(op, *arguments, **options)
