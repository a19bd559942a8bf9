"""Random NumPy programs, eager and traced: what each array holds in the end, and what the arguments hold."""

from __future__ import annotations

import numpy as np
import pytest

import irdl
from irdl.errors import TraceError
from irdl.ir.evaluate import evaluate
from irdl.tracing.function import trace_function
from tests.tracing.numpy_programs import copied, draw, function_of, run

PARTS = 4


def check(seed: int, compiled: bool) -> bool:
    """Whether the program could be traced; an AssertionError where it is another than NumPy's."""
    source, arguments = draw(seed)
    given = [copied(argument) for argument in arguments]
    expected = run(source, given)
    own = [copied(argument) for argument in arguments]
    try:
        if compiled:
            results = irdl.jit(function_of(source))(*own)
        else:
            traced = trace_function(function_of(source), own, {}, share=False)
            found = [np.array(r) for r in evaluate(traced.graph, [*own, *(item.read() for item in traced.captured)])]
            results = found[: len(expected)]
            for place, array in zip(traced.stored, found[len(traced.kinds) :], strict=False):
                own[place][...] = array
    except TraceError:
        return False
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{source}") from error
    for name, actual, wanted in [("result", *pair) for pair in zip(results, expected, strict=True)] + [
        ("argument", *pair) for pair in zip(own, given, strict=True)
    ]:
        same = actual.dtype == wanted.dtype and actual.shape == wanted.shape
        if not same or not np.allclose(actual, wanted, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise AssertionError(f"seed {seed}: a {name} is\n{actual!r}, not\n{wanted!r}\n{source}")
    return True


@pytest.mark.parametrize("part", range(PARTS))
def test_random_numpy_programs(part: int, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--numpy-programs") // PARTS
    done = sum(check(seed, seed % 20 == 0) for seed in range(part * 10_000_000, part * 10_000_000 + count))
    assert done > 0.8 * count, "too many programs are refused"
