"""Random programs with a long loop: traced once, they give what they give step by step, and both what NumPy gives."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from tests.tracing.branches.random_branches import function_of
from tests.tracing.long_loops.random_loops import draw
from tests.tracing.outcomes import is_number, run

_PLANS = "irdl.tracing.long_loops.plans"
#: from so many steps on loops are traced once: none of them, and all
SWITCHES = (1000, 2) if find_spec("irdl.tracing.long_loops") else (None,)
STEPS = 9


def outcome(f: Any, arguments: tuple[Any, ...]) -> dict[str, Any] | Exception:
    try:
        return run(f, arguments)
    except Exception as error:
        return error


def compare(found: Any, expected: Any, where: str) -> None:
    """Numbers whose type a branch decides have in compiled code one for both, by steps or not: of numbers alone the values are compared."""
    if isinstance(expected, Exception) or isinstance(found, Exception):
        assert type(found) is type(expected), f"{where}: {found!r}, not {expected!r}"
        return
    assert list(found) == list(expected), where
    for path, wanted in expected.items():
        if is_number(wanted):
            assert not isinstance(wanted, np.ndarray) or found[path].dtype == wanted.dtype, f"{path} of {where}"
            np.testing.assert_allclose(found[path], wanted, rtol=1e-4, atol=1e-4, err_msg=f"{path} of {where}")
        else:
            assert found[path] == wanted, f"{path} of {where}"


def check(seed: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the program could be traced step by step; an AssertionError where a result is another than NumPy's."""
    source, arguments = draw(seed, STEPS)
    f = function_of(source, f"<looping program {seed}>")
    expected = outcome(f, arguments)
    for switch in SWITCHES:
        if switch is not None:
            monkeypatch.setattr(importlib.import_module(_PLANS), "MANY_STEPS", switch)
        found = outcome(irdl.jit(f), arguments)
        if isinstance(found, TraceError) and switch != 2:
            return False
        compare(found, expected, f"seed {seed}, from {switch} steps on\n{source}")
    return True


def test_random_programs_with_a_long_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    count = request.config.getoption("--long-loop-programs")
    done = sum(check(seed, monkeypatch) for seed in range(count))
    assert done > 0.9 * count, "too many programs are refused"
