"""Backends by name: what one computes, all do."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

import irdl
from irdl.ir.evaluate import evaluate
from irdl.runtime.backends import BACKENDS
from irdl.runtime.executable import Executable
from tests.codegen.cuda.stand_in import start
from tests.models import lstm_data, lstm_loss
from tests.programs import Programs, draw_inputs
from tests.test_fuzz import compare, is_single

WEIGHTS = np.arange(6.0).reshape(2, 3)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.gpu) if name == "cuda" else name for name in BACKENDS])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "cuda":
        start(tmp_path_factory.getbasetemp() / "driver")
    return request.param


def test_random_programs_of_backends(backend: str) -> None:
    for seed in range(24 if backend == "cuda" else 60):  # a compiler is started for each
        graph = Programs(random.Random(seed)).graph()
        if sum(node.outputs[0].type.size for node in graph.all_nodes() if node.outputs) < 150:
            arguments = draw_inputs(graph, np.random.default_rng(seed))
            compare(Executable(graph, backend=backend)(arguments), evaluate(graph, arguments), backend, is_single(graph))


def test_training_step(backend: str) -> None:
    arguments = lstm_data(3, 2, 4, 5, np.float64)
    loss = irdl.value_and_grad(lstm_loss)
    found, expected = irdl.jit(loss, backend=backend)(*arguments), loss(*arguments)
    for x, y in zip(irdl.tree.leaves(found), irdl.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-14)


def test_calls(backend: str) -> None:
    """Captured, stored, donated and known arrays, kinds of results, errors at run time."""

    @irdl.jit(backend=backend, static_argnames="n")
    def captured(x, n):
        return {"y": x @ WEIGHTS, "n": n}

    result = captured(np.ones(2), n=3)
    np.testing.assert_array_equal(result["y"], WEIGHTS.sum(0))
    assert result["n"] == 3

    def add_one(x):
        x[1] += 1

    stored = np.zeros(3)
    irdl.jit(add_one, backend=backend)(stored)
    assert stored.tolist() == [0, 1, 0]

    given = np.ones(4)
    assert irdl.jit(lambda x: x * 3, backend=backend, donate_argnums=0)(given) is given and given[0] == 3

    table = np.arange(5.0)
    table.flags.writeable = False
    known = irdl.jit(lambda x, table: x + table * 2, backend=backend, static_argnums=1)
    np.testing.assert_array_equal(known(np.ones(5), table), 1 + table * 2)

    with pytest.raises(IndexError, match=r"index 7 is out of bounds for axis 0 with size 2 \(at test_backends.py:\d+\)"):
        irdl.jit(lambda i: WEIGHTS[i], backend=backend)(7)
    assert isinstance(irdl.jit(lambda x: x.sum(), backend=backend)(np.ones(3)), np.float64)


def test_precision(backend: str) -> None:
    """What contractions multiply may be rounded to ten bits of fraction, in gradients too."""
    rng = np.random.default_rng(0)
    size = 16 if backend == "interpret" else 256
    x, w = (rng.standard_normal((size, size)).astype(np.float32) for _ in range(2))
    product = irdl.jit(np.matmul, backend=backend, precision="tf32")
    sizes = np.abs(x).astype(np.float64) @ np.abs(w)
    assert (np.abs(product(x, w) - x.astype(np.float64) @ w) <= 2.0**-9.9 * sizes).all()
    x, w = x[:2, :8], w[:8, :8]
    gradient = irdl.grad(lambda w, x: (np.tanh(x @ w) ** 2).sum())
    np.testing.assert_allclose(irdl.jit(gradient, backend=backend, precision="tf32")(w, x), gradient(w, x), rtol=0.01, atol=0.01)


def test_stages_and_state(backend: str) -> None:
    compiled = irdl.compile(np.tanh, backend=backend)(np.ones(3))
    assert compiled.stages[-1][0] == ("launches" if backend == "cuda" else "barriers") and compiled.memory.arena >= 0
    np.testing.assert_allclose(compiled(np.ones(3)), np.tanh(np.ones(3)))
    again = pickle.loads(pickle.dumps(irdl.jit(np.tanh, backend=backend)))
    np.testing.assert_allclose(again(np.ones(3)), np.tanh(np.ones(3)))


def test_backends_that_there_are_not() -> None:
    for f in (irdl.jit, irdl.compile):
        with pytest.raises(ValueError, match="there is no backend 'tpu'; irdl has 'cpu', 'interpret', 'cuda'"):
            f(np.tanh, backend="tpu")
