"""Locks that the process holds while it forks: whoever else held one is gone in the child, and it would stay taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

#: how each lock is taken (which gives what is released) and released
_locks: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
_taken: list[list[tuple[Callable[[Any], None], Any]]] = []


def hold_while_forking(acquire: Callable[[], Any], release: Callable[[Any], None]) -> None:
    """Take a lock before the process forks, and release it in both processes with what `acquire` gave."""
    _locks.append((acquire, release))


def _before_fork() -> None:
    taken: list[tuple[Callable[[Any], None], Any]] = []
    _taken.append(taken)
    for acquire, release in _locks:  # a module that another thread is importing may add its own
        taken.append((release, acquire()))


def _after_fork() -> None:
    for release, held in reversed(_taken.pop()):
        release(held)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
