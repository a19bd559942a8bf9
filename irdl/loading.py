"""Modules that are imported when they are first needed, and locks that a fork waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

_lock = threading.RLock()
#: how each lock is taken (which gives what is released) and released
_locks: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
_taken: list[list[tuple[Callable[[Any], None], Any]]] = []


def hold_while_forking(acquire: Callable[[], Any], release: Callable[[Any], None]) -> None:
    """Have a lock when the process forks: whoever else held it is gone in the child, and it would stay taken."""
    _locks.append((acquire, release))


def load(name: str) -> Any:
    """The module of that name. A fork waits until it is there, as Python's own lock of it would stay taken too."""
    with _lock:
        return import_module(name)


def _before_fork() -> None:
    taken: list[tuple[Callable[[Any], None], Any]] = []
    _taken.append(taken)
    for acquire, release in _locks:  # a module that another thread is importing may add its own
        taken.append((release, acquire()))


def _after_fork() -> None:
    for release, held in reversed(_taken.pop()):
        release(held)


hold_while_forking(_lock.acquire, lambda _: _lock.release())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
