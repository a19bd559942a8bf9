"""All that there is after a call of a program: what compiled code and NumPy are compared by."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np


def leaves(x: Any, path: str = "", within: tuple[int, ...] = ()) -> dict[str, Any]:
    """Arrays, numbers and whatever else a result or an object holds, by where it is held; containers by what they are."""
    if id(x) in within:
        return {path: "an object that holds itself"}
    if isinstance(x, dict):
        parts = {f"[{key!r}]": value for key, value in x.items()}
    elif isinstance(x, (list, tuple)) or type(x).__name__ == "deque":
        parts = {f"[{place}]": value for place, value in enumerate(x)}
    elif hasattr(x, "__dict__") and not isinstance(x, (type, FunctionType)):
        parts = {f".{key}": value for key, value in vars(x).items()}
    else:
        return {path: x}
    found: dict[str, Any] = {f"{path} is": f"{type(x).__name__} of {len(parts)}"}
    for key, value in parts.items():
        found |= leaves(value, path + key, (*within, id(x)))
    return found


def is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex, np.generic, np.ndarray))


def dtype_of(x: Any) -> Any:
    """What must be the same in compiled code: Python's numbers and NumPy's scalars of the same dtype are alike."""
    return (isinstance(x, np.ndarray), np.asarray(x).dtype) if is_number(x) else type(x)


def run(f: Callable[..., Any], arguments: tuple[Any, ...], owner: Any = None) -> dict[str, Any]:
    """Everything that there is after a call: its result, what it printed, its arguments, and the object whose method it is."""
    given, text = copy.deepcopy(arguments), io.StringIO()
    with contextlib.redirect_stdout(text), np.errstate(all="ignore"):
        result = f(*given)
    left = {"result": result, "printed": text.getvalue(), "arguments": given, "self": owner}
    return leaves(copy.deepcopy(left))
