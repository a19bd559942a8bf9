"""Where real arrays in a trace come from: irdl's own code makes some, all others have to be captured, or made by NumPy's functions there."""

from __future__ import annotations

from typing import Any

import numpy as np

from irdl.errors import TraceError
from irdl.tracing.lines import user_line
from irdl.tracing.recorder import trace_stack
from irdl.tracing.users import Owner, owner_of


def check_source(x: Any) -> None:
    """Refuse a real array in the trace of a whole function: what was captured, or made by NumPy's functions there, is a box by now.

    Raises:
        TraceError: it is one, whose numbers would stay in the code as they are now.
    """
    if issubclass(type(x), np.ndarray) and trace_stack() and trace_stack()[0].capture is not None:
        if generator := trace_stack()[0].capture.drawn_from():
            raise TraceError(
                f"an array ({x.dtype}{list(x.shape)}) was made after a draw from {generator}, whose numbers would come back at every call: "
                f"use irdl.random with a key, or draw outside and pass it as an argument{user_line()}"
            )
        if type(x) is not np.ndarray:
            raise TraceError(
                f"a {type(x).__name__} ({x.dtype}{list(x.shape)}) comes from outside, a subclass of np.ndarray that irdl does not look into "
                f"there: keep np.asarray of it in a global, a closure or an attribute, or pass that as an argument{user_line()}"
            )
        raise TraceError(
            f"an array ({x.dtype}{list(x.shape)}) comes from where irdl cannot read it again at each call (an object or a library's "
            "function that it does not look into): pass it as an argument, keep it in a global, a closure or an attribute, or make it "
            f"with NumPy's functions in the traced code{user_line()}"
        )


def is_irdls(frame: Any) -> bool:
    """The frame is called by code of irdl's that is written as a user would write it, as the rules of gradients are."""
    while frame is not None and owner_of(frame.f_code.co_filename) in (Owner.TRACER, Owner.NUMPY):
        frame = frame.f_back
    return frame is not None and owner_of(frame.f_code.co_filename) is Owner.IRDL
