"""Arguments and functions that are none: subclasses of arrays that compute in a way of their own, numbers in place of functions; and how errors name a traced array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError


class Plain(np.ndarray):
    """Carries a note, and computes as arrays do."""

    def __array_finalize__(self, source: Any) -> None:
        self.note = getattr(source, "note", "")

    def __repr__(self) -> str:
        return f"Plain({self.note})"


class Mapped(np.memmap):
    def close(self) -> None:
        self.flush()


class Doubling(np.ndarray):
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return 2 * getattr(ufunc, method)(*(np.asarray(part) for part in inputs), **options)


class Dispatching(np.ndarray):
    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return 0


class Adding(np.ndarray):
    def __mul__(self, other: Any) -> Any:
        return np.asarray(self) + other


class Periodic(np.ndarray):
    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index % len(self)]


class Mixin:
    def mean(self, *arguments: Any, **options: Any) -> float:
        return 0.0


class Mixed(Mixin, np.ndarray):
    pass


class Further(Adding):
    """What its base defines is its own too."""


def triple(x: Any) -> Any:
    return x * 3


def test_those_that_compute_as_arrays_do_are_arrays(tmp_path: Path) -> None:
    x = np.arange(4.0)
    mapped = Mapped(tmp_path / "x.bin", np.float64, "w+", shape=(4,))
    mapped[:] = x
    for array in (x.view(Plain), np.rec.array(x), mapped):
        np.testing.assert_array_equal(irdl.jit(triple)(array), 3 * x)


@pytest.mark.parametrize("cls", [Doubling, Dispatching, Adding, Periodic, Mixed, Further, np.ma.MaskedArray, np.matrix])
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_those_with_an_arithmetic_of_their_own_are_refused(cls: type[np.ndarray]) -> None:
    x = np.ones((2, 3))
    compiled = irdl.jit(triple)
    compiled(x)  # known already for such shapes
    for call in (compiled, irdl.trace(triple), irdl.grad(lambda x: triple(x).sum())):
        with pytest.raises(TraceError, match=rf"is a {cls.__name__}, whose arithmetic is its own: pass np.asarray of it"):
            call(x.view(cls))


def test_captured_ones_are_named() -> None:
    captured = np.ones(3).view(Plain)
    with pytest.raises(TraceError, match=r"a Plain \(float64\[3\]\) comes from outside.*keep np.asarray of it.*test_mistakes\.py"):
        irdl.jit(lambda x: x * captured)(1.0)


@pytest.mark.parametrize("wrong", [lambda x: x + None, lambda x: None - x, lambda x: x < "a", lambda x: x(1)])
def test_pythons_errors_name_an_array(wrong: Any) -> None:
    with pytest.raises(TypeError, match="'ndarray'"):
        irdl.jit(wrong)(np.ones((2, 2)))


def test_what_is_no_function() -> None:
    x = np.ones(3)
    with pytest.raises(TypeError, match=r"irdl\.jit takes a function, not ndarray: irdl\.jit\(f\)\(x\)"):
        irdl.jit(triple(x))
    with pytest.raises(TypeError, match=r"irdl\.jit takes a function, not float64"):
        irdl.jit(static_argnums=0)(x.sum())

    async def waiting(x: Any) -> Any:
        return x

    def giving(x: Any) -> Any:
        yield x

    for function, kind in ((waiting, "async"), (giving, "a generator")):
        with pytest.raises(TypeError, match=rf"{function.__name__} is {kind}.*jit functions that it calls"):
            irdl.jit(function)
    for form in (irdl.compile, irdl.trace, irdl.export):
        with pytest.raises(TypeError, match=r"ndarray is not callable: .* take a function"):
            form(x)(x)
