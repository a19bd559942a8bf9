"""Programs that branch in Python on numbers: compiled as in NumPy, whichever side they take, or an error that says why not."""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from tests.tracing.branches.corpus import EITHER, PROGRAMS, RAISING, REFUSED, Program
from tests.tracing.branches.sides import Sides
from tests.tracing.outcomes import dtype_of, is_number, leaves, run

FOLDER = Path(__file__).parent
for _file in sorted(FOLDER.glob("programs_*.py")):
    importlib.import_module(f"tests.tracing.branches.{_file.stem}")


def compare(got: dict[str, Any], expected: dict[str, Any], dtypes: dict[str, set[Any]], call: int) -> None:
    """Alike; `dtypes` has those that NumPy gives at any call, and is empty where singles and doubles may meet behind a branch."""
    assert list(got) == list(expected), f"call {call}"
    for path, wanted in expected.items():
        found, where = got[path], f"call {call}, {path}"
        if is_number(wanted):
            # A number that is an int on one side and a float on the other has in compiled code one dtype for both.
            if len(dtypes.get(path, ())) == 1:
                assert dtype_of(found) == dtype_of(wanted), f"{where}: {found!r}, not {wanted!r}"
            tolerance = 1e-4 if not dtypes or np.asarray(wanted).dtype == np.float32 else 1e-9
            assert np.shape(found) == np.shape(wanted), where
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance, err_msg=where)
        else:
            assert found == wanted or (callable(wanted) and found.__qualname__ == wanted.__qualname__), where


def signatures(item: Program) -> int:
    """How many kinds of arguments its calls have, each of which is compiled."""

    def kind(x: Any) -> Any:
        return (type(x), np.shape(x), np.asarray(x).dtype) if isinstance(x, (int, float, np.ndarray, np.generic)) else x

    return len({repr({path: kind(x) for path, x in leaves(arguments).items()}) for arguments in item.calls})


@pytest.mark.parametrize("item", [*PROGRAMS.values(), *EITHER.values()], ids=lambda item: item.name)
def test_numpy_takes_every_side(item: Program) -> None:
    f = item.eager()
    with Sides((str(FOLDER / "programs_"), str(FOLDER / "helpers"))) as sides:
        for arguments in item.calls:
            run(f, arguments)
    assert sides.count() and not sides.missing(), "\n".join(sides.missing())


def in_single(x: Any) -> Any:
    """Arguments with float32 in the place of float64; Python's numbers stay."""
    if isinstance(x, (np.ndarray, np.float64)):
        return x.astype(np.float32) if x.dtype == np.float64 else x
    if isinstance(x, dict):
        return {key: in_single(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(in_single(value) for value in x)
    if is_dataclass(x) and not isinstance(x, type):
        return replace(x, **{item.name: in_single(getattr(x, item.name)) for item in fields(x)})
    return x


def check(item: Program, with_dtypes: bool = True) -> None:
    """All calls of one compiled function: whichever side the first one took, the others take theirs."""
    eager = item.eager()
    expected = [run(eager, arguments, getattr(eager, "__self__", None)) for arguments in item.calls]
    dtypes: dict[str, set[Any]] = {}
    for left in expected if with_dtypes else ():
        for path, x in left.items():
            dtypes.setdefault(path, set()).add(dtype_of(x))
    f = item.make()
    owner, compiled = getattr(f, "__self__", None), irdl.jit(f)
    for call, arguments in enumerate(item.calls):
        compare(run(compiled, arguments, owner), expected[call], dtypes, call)
    if owner is None:
        assert compiled.cache_size() <= signatures(item)


@pytest.mark.parametrize("precision", ["double", pytest.param("single", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_numpy(name: str, precision: str) -> None:
    item = PROGRAMS[name]
    if precision == "double":
        check(item)
    else:
        check(replace(item, calls=in_single(item.calls)), with_dtypes=False)


@pytest.mark.parametrize("name", EITHER)
def test_as_numpy_or_refused(name: str) -> None:
    with contextlib.suppress(TraceError):
        check(EITHER[name])


@pytest.mark.parametrize("name", RAISING)
def test_raises_as_numpy(name: str) -> None:
    """The same error where there is one, with what it says; at other calls the result."""
    item, raised = RAISING[name], 0
    eager, compiled = item.make(), irdl.jit(item.make())
    for call, arguments in enumerate(item.calls):
        try:
            expected = run(eager, arguments)
        except Exception as error:
            raised += 1
            with pytest.raises(type(error)) as found:
                compiled(*copy.deepcopy(arguments))
            assert str(found.value).startswith(str(error)), f"call {call}"
        else:
            compare(run(compiled, arguments), expected, {path: {dtype_of(x)} for path, x in expected.items()}, call)
    assert raised


def total(f: Callable[..., Any], *arguments: Any) -> Any:
    """The sum of all numbers that a function returns."""
    return sum(np.sum(leaf) for leaf in irdl.tree.leaves(f(*arguments)))


def differences(f: Callable[..., Any], arguments: tuple[Any, ...], place: int, step: float = 1e-6) -> np.ndarray:
    """The gradient by one argument, from the function alone."""
    array = np.array(arguments[place], np.float64)
    found = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        both = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            given = [*copy.deepcopy(arguments)]
            given[place] = moved if array.shape else float(moved)
            both.append(total(f, *given))
        found[index] = (both[0] - both[1]) / (2 * step)
    return found


@pytest.mark.parametrize("name", [name for name, item in PROGRAMS.items() if item.gradient])
def test_gradients(name: str) -> None:
    """Through whichever side is taken, and through no other."""
    item = PROGRAMS[name]
    f = item.make()
    compiled = irdl.jit(irdl.grad(lambda *arguments: total(f, *arguments), item.gradient))
    for call, arguments in enumerate(item.calls):
        found = compiled(*copy.deepcopy(arguments))
        for place, gradient in zip(item.gradient, found, strict=True):
            expected = differences(item.eager(), arguments, place)
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5, err_msg=f"call {call}, argument {place}")


@pytest.mark.parametrize("name", REFUSED)
def test_numpy_runs_what_is_refused(name: str) -> None:
    item = REFUSED[name]
    f = item.make()
    for arguments in item.calls:
        run(f, arguments)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """An error that names the reason and a line of the program."""
    item = REFUSED[name]
    with pytest.raises(TraceError) as error:
        irdl.jit(item.make())(*copy.deepcopy(item.calls[0]))
    assert item.reason in str(error.value) and f"(at {item.file}:" in str(error.value), str(error.value)
