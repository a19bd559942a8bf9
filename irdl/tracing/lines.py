"""The user's line that is being traced."""

from __future__ import annotations

import os
import sys
from typing import Any

from irdl.ir.graph import NOWHERE, Line, Location
from irdl.tracing.users import Owner, is_users, owner_of, short_path

#: places whose line is remembered
_MOST_LINES = 1 << 16
_MACHINERY = (Owner.TRACER, Owner.NUMPY, Owner.IRDL)
_lines: dict[tuple[int, ...], tuple[Location, Any, Any]] = {}


def user_frame() -> Any:
    """The innermost frame that is not at work on the trace itself."""
    frame: Any = sys._getframe(1)
    while frame is not None and owner_of(frame.f_code.co_filename) in _MACHINERY:
        frame = frame.f_back
    return frame


def _own_frame(frame: Any) -> Any:
    """The innermost frame from here on that is the user's own."""
    while frame is not None and owner_of(frame.f_code.co_filename) is not Owner.USER:
        frame = frame.f_back
    return frame


def library_function() -> str:
    """`scipy.signal.lfilter`, where the code that is traced has called a function of another library, by the name the library has it
    under; else nothing."""
    frame, found = user_frame(), ""
    while frame is not None and owner_of(frame.f_code.co_filename) is Owner.LIBRARY:
        parts = str(frame.f_globals.get("__name__", "")).split(".")
        module, name = ".".join(part for part in parts if not part.startswith("_")), frame.f_code.co_qualname
        if callable(getattr(sys.modules.get(module), name.split(".")[0], None)):
            found = f"{module}.{name.removesuffix('.__init__')}"
        frame = frame.f_back
    return found


def user_location() -> Location:
    """The line that is being traced. With it goes, of a library's, the user's line that called into it; of a function of the user's
    the line that called that; and of irdl's own layers, the line in them beside the user's."""
    frame = user_frame()
    if frame is None:
        return NOWHERE
    owner = owner_of(frame.f_code.co_filename)
    caller = frame.f_back if owner is Owner.USER else _own_frame(frame)
    key = (id(frame.f_code), frame.f_lasti, *((id(caller.f_code), caller.f_lasti) if caller is not None else ()))
    found = _lines.get(key)
    if found is None:
        if len(_lines) >= _MOST_LINES:
            _lines.clear()
        # The code is kept with its line, so that no other code gets its id.
        found = _lines[key] = (frozenset({_line(frame, owner, caller)}), frame.f_code, caller and caller.f_code)
    return found[0]


def _line(frame: Any, owner: Owner, caller: Any) -> Line:
    file, number = frame.f_code.co_filename, frame.f_lineno
    above = None
    if caller is not None and is_users(caller.f_code.co_filename):
        above = (caller.f_code.co_filename, caller.f_lineno)
    if owner is Owner.LAYER and above is not None:
        return Line(*above, layer=(short_path(file), number))
    return Line(file, number, above)


def user_line() -> str:
    """` (at model.py:12: h = tanh(x))`, for the end of an error message; inside a library, the line that called into it, and inside
    irdl's own layers that and where in them."""
    frame = user_frame()
    if frame is None:
        return ""
    own = _own_frame(frame) or frame
    import linecache

    file, number = own.f_code.co_filename, own.f_lineno
    text = linecache.getline(file, number).strip()
    inside = ""
    if own is not frame and owner_of(frame.f_code.co_filename) is Owner.LAYER:
        inside = f", in {short_path(frame.f_code.co_filename)}:{frame.f_lineno}"
    return f" (at {os.path.basename(file)}:{number}{': ' + text if text else ''}{inside})"
