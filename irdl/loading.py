"""Modules that are imported when they are first needed."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from irdl.forks import hold_while_forking

_lock = threading.RLock()
hold_while_forking(_lock.acquire, lambda _: _lock.release())


def load(name: str) -> Any:
    """The module of that name. A fork waits until it is there, as Python's own lock of it would stay taken in the child."""
    with _lock:
        return import_module(name)
