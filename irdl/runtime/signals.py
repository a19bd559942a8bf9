"""Signals during a long call: Ctrl-C, alarms and whatever else Python has handlers for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

from irdl.codegen.cpu.llvm.machine import LoadedObject, compile_object
from irdl.codegen.cpu.llvm.status import poll_text

_NAME = "irdl_poll"
_FUNCTIONS = ("PyGILState_Ensure", "PyErr_CheckSignals", "PyErr_Fetch", "PyGILState_Release")


@lru_cache(maxsize=1)
def poll_address() -> int:
    """The address of what compiled loops ask whether to stop: it runs the handlers of signals that have come."""
    addresses = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _FUNCTIONS]
    # Never freed: calls may be under way when the interpreter ends.
    return _loaded(poll_text(_NAME, *(address or 0 for address in addresses))).addresses[_NAME]


@lru_cache(maxsize=1)
def _loaded(text: str) -> LoadedObject:
    return LoadedObject(compile_object(text), (_NAME,))


def raise_polled(exception: Sequence[int]) -> None:
    """Raise what a handler raised: type, value and traceback, of which this takes the references."""
    restore = ctypes.pythonapi.PyErr_Restore
    restore.restype, restore.argtypes = None, [ctypes.c_void_p] * 3
    restore(*exception)
