"""Random programs, interpreted after every pass and run by the machine."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irdl.codegen.cpu.llvm import status
from irdl.ir.evaluate import evaluate
from irdl.ir.graph import Graph
from irdl.ir.parser import parse
from irdl.ir.printer import print_graph, sidecar
from irdl.ir.verify import verify
from irdl.loops.interpret import interpret
from irdl.loops.parse import parse_program
from irdl.loops.text import large_constants
from irdl.runtime.executable import Executable
from irdl.transforms.batch import batch_graph
from irdl.transforms.reverse import vjp_graph
from tests.programs import Programs, draw_inputs
from tests.teams import team_of, watch

PARTS = 8


def check_program(graph: Graph, seed: int) -> None:
    verify(graph)
    assert parse(print_graph(graph), sidecar(graph)) == graph
    arguments = draw_inputs(graph, np.random.default_rng(seed))
    expected = evaluate(graph, arguments)
    # In one of three, loops look whether to stop after a few steps or many.
    every = status.BETWEEN_LOOKS if seed % 3 else 1 + seed % 500
    with team_of(1 + seed % 4), mock.patch.object(status, "BETWEEN_LOOKS", every):
        executable = Executable(graph)
        results = executable(arguments)
    single = is_single(graph)
    for name, stage in executable.stages:
        if isinstance(stage, Graph):
            verify(stage)
            compare(evaluate(stage, arguments), expected, name, single)
        elif seed % 4 == 0:
            assert parse_program(str(stage), large_constants(stage)) == stage, name
    compare(results, expected, "machine", single)
    if sum(node.outputs[0].type.size for node in graph.all_nodes() if node.outputs) < 150:
        results = interpret(executable.program, arguments)
        watch(executable.program, arguments)
        compare([r.reshape(e.shape) for r, e in zip(results, expected, strict=True)], expected, "program", single)


def is_single(graph: Graph) -> bool:
    """A float32 anywhere may have been cast to float64 on its way out."""
    values = [value for node in graph.all_nodes() for value in node.outputs]
    return any(value.dtype == np.float32 for value in (*graph.inputs, *values))


def compare(actual: list[np.ndarray], expected: list[np.ndarray], name: str, single: bool) -> None:
    for x, y in zip(actual, expected, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape, name
        if y.dtype.kind != "f":
            np.testing.assert_array_equal(x, y, err_msg=name)
        elif y.size:
            finite = y[np.isfinite(y)]
            scale = max(1.0, float(np.abs(finite).max(initial=0.0)))
            tolerance = (2e-3 if single else 1e-9) * scale
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs(part: int, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--programs") // PARTS

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def run(seed: int) -> None:
        rnd = random.Random(seed * PARTS + part)
        check_program(Programs(rnd).graph(), seed)

    run()


@pytest.mark.parametrize("part", range(2))
def test_known_inputs(part: int, request: pytest.FixtureRequest) -> None:
    """Random programs that know some of their inputs before they are called."""
    count = request.config.getoption("--programs") // 16

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def run(seed: int) -> None:
        graph = Programs(random.Random(seed * PARTS + part + 2)).graph()
        arguments = draw_inputs(graph, np.random.default_rng(seed))
        known = 1 + seed % max(1, len(arguments))
        given, last = arguments[: len(arguments) - known], arguments[len(arguments) - known :]
        with team_of(1 + seed % 4):
            results = Executable(graph, static_arrays=last)(given)
        compare(results, evaluate(graph, arguments), "machine", is_single(graph))

    run()


@pytest.mark.parametrize("part", range(2))
def test_random_gradients(part: int, request: pytest.FixtureRequest) -> None:
    """The same for the gradient graphs of random programs, and for them batched."""
    count = request.config.getoption("--programs") // 16

    @settings(max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def run(seed: int) -> None:
        graph = Programs(random.Random(seed * PARTS + part + 4)).graph()
        floats = [place for place, value in enumerate(graph.inputs) if value.dtype.kind == "f"]
        if not floats or not any(value.dtype.kind == "f" for value in graph.outputs):
            return
        check_program(vjp_graph(graph, floats), seed)
        batched, _ = batch_graph(graph, [True] * len(graph.inputs), 2)
        check_program(batched, seed)

    run()
