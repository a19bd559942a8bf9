"""Whether arguments that are written to may be: donated ones, and those that the function stores into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from irdl.errors import DonationError, TraceError


def check_donations(inputs: Sequence[np.ndarray], donations: Mapping[int, int], names: Sequence[str]) -> None:
    """`names`: what the inputs are called."""
    for place in donations.values():
        array = inputs[place]
        flags = array.flags
        if not (flags.writeable and flags.c_contiguous and flags.aligned and array.dtype.isnative):
            what = "read-only" if not flags.writeable else "not contiguous, aligned and of native byte order"
            raise DonationError(f"donated argument `{names[place]}` is {what}: pass a copy")
    pair = overlapping(inputs, set(donations.values()))
    if pair is not None:
        raise DonationError(f"donated argument `{names[pair[0]]}` shares its memory with `{names[pair[1]]}`: pass a copy")


def check_stores(inputs: Sequence[np.ndarray], stored: Sequence[int], names: Sequence[str]) -> None:
    """`names`: what the inputs are called."""
    for place in stored:
        if _overlaps_itself(inputs[place]):
            raise TraceError(f"the function stores into `{names[place]}`, whose elements overlap in memory: pass a copy")
    pair = overlapping(inputs, set(stored))
    if pair is not None:
        place, other = pair
        raise TraceError(f"the function stores into `{names[place]}`, which shares its memory with `{names[other]}`: let one be a copy")


def overlapping(inputs: Sequence[np.ndarray], written: set[int]) -> tuple[int, int] | None:
    """One of `written` and another input whose extents in memory overlap, if there are such."""
    bounds = sorted((*np.lib.array_utils.byte_bounds(array), place) for place, array in enumerate(inputs) if array.size)
    reach, reader = 0, -1  # the furthest end so far, and whose it is; the same of those written
    written_reach, writer = 0, -1
    for start, end, place in bounds:
        if place in written and start < reach:
            return place, reader
        if start < written_reach:
            return writer, place
        if end > reach:
            reach, reader = end, place
        if place in written and end > written_reach:
            written_reach, writer = end, place
    return None


def _overlaps_itself(array: np.ndarray) -> bool:
    """False where no two elements share memory; True where that is not certain."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return False
    reach = array.itemsize
    for stride, extent in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if extent > 1:
            if stride < reach:
                return True
            reach += (extent - 1) * stride
    return False
