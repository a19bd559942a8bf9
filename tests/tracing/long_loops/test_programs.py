"""Programs with long loops: compiled as in NumPy, whether their loops are traced once or step by step."""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from tests.tracing.long_loops.corpus import EITHER, PROGRAMS, RAISING, Draw, Program
from tests.tracing.outcomes import dtype_of, is_number, run

for _file in sorted(Path(__file__).parent.glob("programs_*.py")):
    importlib.import_module(f"tests.tracing.long_loops.{_file.stem}")

_PLANS = "irdl.tracing.long_loops.plans"
#: from so many steps on loops are traced once; None is what users have
SWITCHES = (2, 16, None) if find_spec("irdl.tracing.long_loops") else (None,)
#: where not all are run: the switch that traces most loops once, and the smaller sizes
QUICK = SWITCHES[0]


@pytest.fixture(
    params=[pytest.param(switch, marks=[pytest.mark.slow] if switch != QUICK else []) for switch in SWITCHES],
    ids=lambda switch: f"from_{switch or 'default'}",
)
def switch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """From how many steps on loops are traced once."""
    if request.param is not None:
        monkeypatch.setattr(importlib.import_module(_PLANS), "MANY_STEPS", request.param)
    return request.param


@pytest.fixture
def sizes(name: str, switch: int | None, request: pytest.FixtureRequest) -> tuple[int, ...]:
    """How many steps a program's loops have: of the two least one, where not all are run."""
    given = {**PROGRAMS, **EITHER, **RAISING}[name].sizes
    return given if request.config.getoption("--slow") else (given[len(name) % len(given[:2])],)


def compare(got: dict[str, Any], expected: dict[str, Any], tolerance: float, where: str) -> None:
    assert list(got) == list(expected), where
    for path, wanted in expected.items():
        found, place = got[path], f"{where}, {path}"
        if not is_number(wanted):
            assert found == wanted, place
            continue
        assert dtype_of(found) == dtype_of(wanted), f"{place}: {found!r}, not {wanted!r}"
        assert np.shape(found) == np.shape(wanted), place
        if np.asarray(wanted).dtype.kind in "fc":
            accuracy = max(tolerance, 2e-4) if np.asarray(wanted).dtype in (np.float32, np.complex64) else tolerance
            scale = np.max(np.abs(np.where(np.isfinite(wanted), wanted, 0)), initial=1)
            np.testing.assert_allclose(found, wanted, rtol=accuracy, atol=accuracy * scale, err_msg=place)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=place)


def check(item: Program, sizes: tuple[int, ...]) -> None:
    """At each size, two calls of one compiled function: the second one with other numbers."""
    for n in sizes:
        eager, plain = item.make(), item.make()
        compiled, owners = irdl.jit(plain, static_argnums=item.static), [getattr(f, "__self__", None) for f in (eager, plain)]
        for call in range(2):
            arguments = item.call(n, call)
            expected = run(eager, arguments, owners[0])
            compare(run(compiled, arguments, owners[1]), expected, item.tolerance, f"{n} steps, call {call}")


def in_single(x: Any) -> Any:
    """Arguments with float32 in the place of float64; Python's numbers stay."""
    if isinstance(x, np.ndarray):
        return x.astype(np.float32) if x.dtype == np.float64 else x.astype(np.complex64) if x.dtype == np.complex128 else x
    if isinstance(x, dict):
        return {key: in_single(value) for key, value in x.items()}
    return type(x)(in_single(value) for value in x) if isinstance(x, (list, tuple)) else x


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_numpy(name: str, sizes: tuple[int, ...]) -> None:
    check(PROGRAMS[name], sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, item in PROGRAMS.items() if item.single])
def test_as_numpy_in_single(name: str, sizes: tuple[int, ...]) -> None:
    item = PROGRAMS[name]
    check(replace(item, arguments=lambda draw: in_single(item.arguments(draw))), sizes[-1:])


@pytest.mark.parametrize("name", EITHER)
def test_as_numpy_or_refused(name: str, sizes: tuple[int, ...]) -> None:
    for n in sizes:
        with contextlib.suppress(TraceError):
            check(EITHER[name], (n,))


@pytest.mark.parametrize("name", RAISING)
def test_raises_as_numpy(name: str, sizes: tuple[int, ...]) -> None:
    """The same error, with what it says."""
    item = RAISING[name]
    for n in sizes:
        arguments = item.call(n)
        with pytest.raises(Exception) as expected:
            run(item.make(), arguments)
        kind = next(base for base in expected.type.__mro__ if base.__module__ == "builtins")
        with pytest.raises(kind) as found:
            run(irdl.jit(item.make(), static_argnums=item.static), arguments)
        assert not isinstance(found.value, TraceError) and str(found.value).startswith(str(expected.value)), f"{n} steps: {found.value}"


def total(f: Callable[..., Any], *arguments: Any) -> Any:
    """A weighted sum of all floats that a function returns."""
    result = 0.0
    for leaf in irdl.tree.leaves(f(*arguments)):
        dtype = np.asarray(leaf).dtype if is_number(leaf) else getattr(leaf, "dtype", np.dtype(object))
        if dtype.kind == "f":
            shape = np.shape(leaf)
            result += np.sum(leaf * np.cos(np.arange(float(np.prod(shape, dtype=int)))).reshape(shape))
    return result


def moved(x: Any, direction: Any, step: float) -> Any:
    return irdl.tree.map(lambda leaf, d: leaf + step * d, x, direction)


DIFFERENTIABLE = [name for name, item in PROGRAMS.items() if item.gradient]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if place % 3 else []) for place, name in enumerate(DIFFERENTIABLE)]
)
def test_gradients(name: str, switch: int | None) -> None:
    """By each argument, along a direction: against differences."""
    item = PROGRAMS[name]
    function = item.make()
    arguments, draw = item.call(item.sizes[1]), Draw(f"{name} gradients", 0)
    found = irdl.jit(irdl.grad(lambda *given: total(function, *given), item.gradient), static_argnums=item.static)(
        *copy.deepcopy(arguments)
    )
    for place, gradient in zip(item.gradient, found, strict=True):
        direction = irdl.tree.map(lambda leaf: draw.normal(*np.shape(leaf)), arguments[place])
        sides = []
        for step in (1e-6, -1e-6):
            given = [*copy.deepcopy(arguments)]
            given[place] = moved(given[place], direction, step)
            sides.append(total(function, *given))
        slope = (sides[0] - sides[1]) / 2e-6
        along = sum(np.sum(np.asarray(g) * d) for g, d in zip(irdl.tree.leaves(gradient), irdl.tree.leaves(direction), strict=True))
        np.testing.assert_allclose(along, slope, rtol=1e-4, atol=1e-5 * max(1, abs(sides[0])), err_msg=f"argument {place}")
