"""Random programs that branch: compiled, each call takes the side that it takes in NumPy, with all that is stored and printed there."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from tests.tracing.branches.random_branches import draw, function_of


def run(f: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[list[Any], str]:
    """What the program returns, what its arguments hold then, and what it prints."""
    given, text = copy.deepcopy(arguments), io.StringIO()
    with contextlib.redirect_stdout(text), np.errstate(all="ignore"):
        result = f(*given)
    return copy.deepcopy([*result, *given]), text.getvalue()


def check(seed: int, names: int, backend: str) -> bool:
    """Whether the program could be traced; an AssertionError where a call is another than NumPy's."""
    source, calls = draw(seed, names)
    f = function_of(source, f"<branching program {seed}, {names}>")
    compiled = irdl.jit(f, backend=backend)
    for call, arguments in enumerate(calls):
        expected, text = run(f, arguments)
        try:
            found, printed = run(compiled, arguments)
        except TraceError:
            return False
        for place, (a, b) in enumerate(zip(found, expected, strict=True)):
            where = f"seed {seed}, {names}, call {call} {arguments}, result {place}: {a}, not {b}\n{source}"
            assert np.shape(a) == np.shape(b) and np.array_equal(a, b, equal_nan=True), where
        assert printed == text, f"seed {seed}, {names}, call {call} prints {printed!r}, not {text!r}\n{source}"
    return True


@pytest.mark.parametrize("names", [0, 1, 2], ids=["apart", "names", "views"])
def test_random_programs_that_branch(names: int, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--branch-programs") // 3
    done = sum(check(seed, names, "cpu" if seed % 10 == 0 else "interpret") for seed in range(names * 1_000_000, names * 1_000_000 + count))
    assert done > 0.8 * count, "too many programs are refused"
