"""How many threads compiled code uses, and who wants to know when that changes."""

from __future__ import annotations

import os
import threading
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

from irdl import config

#: threads, at most
MOST = 256
_lock = threading.Lock()
#: called when the number of threads changes
_listeners: weakref.WeakSet[Any] = weakref.WeakSet()
_chosen: int | None = None


def num_threads() -> int:
    """How many threads newly compiled code uses: `set_num_threads`, else IRDL_NUM_THREADS, else one for each core."""
    if _chosen is not None:
        return _chosen
    value = config.NUM_THREADS.value.strip()
    if not value:
        return min(MOST, _cores())
    try:
        return _valid(int(value))
    except ValueError:
        raise ValueError(f"IRDL_NUM_THREADS is {value!r}, not a number between 1 and {MOST}") from None


def set_num_threads(count: int) -> None:
    """Use `count` threads from now on. Functions compiled for another number are compiled again when called.

    Raises:
        ValueError: `count` is not between 1 and 256.
    """
    global _chosen
    _chosen = _valid(count)
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        listener.threads_changed()


def on_change(listener: Any) -> None:
    """Call `listener.threads_changed()` whenever `set_num_threads` is called, and `listener.forked()` in a forked child; the
    listener is held weakly."""
    with _lock:
        _listeners.add(listener)


def _valid(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise ValueError(f"the number of threads is between 1 and {MOST}, not {count!r}")
    return count


@lru_cache(maxsize=1)
def _cores() -> int:
    """Cores this process may use; the threads that share one count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        place = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(place.read_text())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def _after_fork() -> None:
    """In a forked child: whoever held a lock is gone."""
    global _lock
    _lock = threading.Lock()
    for listener in list(_listeners):
        listener.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
