"""Passes in order: run, verified, timed, left out by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from irdl import config
from irdl.errors import GraphError
from irdl.loops.target import Gpu, Target

Code = TypeVar("Code")


@dataclass(frozen=True)
class Context:
    """What a pass may ask for beside the code: the machine, and how many of a graph's last inputs are the same at every call."""

    target: Target | Gpu = field(default_factory=Target)
    static_inputs: int = 0


@dataclass(frozen=True)
class Pass(Generic[Code]):
    """One step: graph to graph, or program to program.

    Attributes:
        name: by which it is left out, printed and timed. A pass may stand in a pipeline several times.
        run: the function. A graph is never changed; a program is, in place, and given back.
        required: what the code generator needs; the others only make the code better.
        needs: fields of the context that `run` takes as keywords.
    """

    name: str
    run: Callable[..., Code]
    required: bool = False
    needs: tuple[str, ...] = ()

    def __call__(self, code: Code, context: Context) -> Code:
        return self.run(code, **{name: getattr(context, name) for name in self.needs})


@dataclass(frozen=True)
class Step(Generic[Code]):
    """A pass that has run, what it gave, and the seconds it took."""

    name: str
    code: Code
    seconds: float


def run_passes(
    passes: Sequence[Pass[Code]],
    code: Code,
    context: Context,
    disabled: Collection[str],
    verify: Callable[[Code], Any],
    copy: Callable[[Code], Code] | None = None,
) -> Iterator[Step[Code]]:
    """Run the passes that are not disabled, one after the other. `copy`: of code that later passes change, for who keeps it."""
    for item in passes:
        if item.name in disabled:
            continue
        start = time.perf_counter()
        code = item(code, context)
        seconds = time.perf_counter() - start
        if config.VERIFY.value == "1":
            verify(code)
        yield Step(item.name, code if copy is None else copy(code), seconds)


def disabled_passes(chosen: Collection[str], passes: Sequence[Pass[Any]]) -> frozenset[str]:
    """The names chosen, and those of IRDL_DISABLE_PASSES.

    Raises:
        GraphError: one names a pass that does not exist or is required.
    """
    disabled = {*chosen, *(name for name in config.DISABLE_PASSES.value.split(",") if name)}
    optional = {item.name for item in passes if not item.required}
    if disabled - optional:
        raise GraphError(f"cannot disable {', '.join(sorted(disabled - optional))}: the optional passes are {', '.join(sorted(optional))}")
    return frozenset(disabled)
