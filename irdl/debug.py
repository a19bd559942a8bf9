"""Looking into compiled functions while they run."""

from __future__ import annotations

from typing import Any

from irdl.tracing.printing import traced_print


def print(fmt: str, *args: Any, **kwargs: Any) -> None:
    """Print `fmt.format(*args, **kwargs)` at each call; in traced code when the call has ended, in the order of the program.

    It can be used in `jit`, `grad`, `vjp`, `jvp`, `vmap` (once for each element), the bodies of `scan` (once for each step), the
    branches of `cond`, and in Python's loops. Plain `print` and f-strings do the same in the traced function's own code; this also
    works from a library's.

    Args:
        fmt: as for `str.format`.
        args, kwargs: traced or real arrays and numbers, or anything else.

    Raises:
        TraceError: inside a `while_loop` or a custom derivative, whose steps are not kept.
    """
    traced_print(fmt.format(*args, **kwargs))
