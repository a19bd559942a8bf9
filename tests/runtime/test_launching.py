"""The launches of a GPU's program, one by one and as CUDA graphs, on what the CPU does in a GPU's place."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError
from irdl.runtime import launching
from irdl.runtime.device import Device
from tests.codegen.cuda.stand_in import start

pytestmark = pytest.mark.gpu
CAPTURE, INSTANTIATE, REPLAY, DESTROY = "cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphExecDestroy"


@pytest.fixture(autouse=True, scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    start(tmp_path_factory.getbasetemp() / "driver")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often which function of the driver was called, by name; "launch" for those of kernels."""
    count: Counter[str] = Counter()
    call, launch = Device.call, launching.Function.launch

    def counted(device: Device, name: str, *arguments: Any) -> None:
        count[name] += 1
        call(device, name, *arguments)

    def launched(function: launching.Function, addresses: Any, stream: int) -> None:
        count["launch"] += 1
        launch(function, addresses, stream)

    monkeypatch.setattr(Device, "call", counted)
    monkeypatch.setattr(launching.Function, "launch", launched)
    return count


def two_launches(x):
    """A sum whose parts are added up by a second launch."""
    return (x * x).sum(0)


X = np.arange(60_000, dtype=np.float32).reshape(6000, 10) % 7
EXACT = two_launches(X.astype(np.float64))


def train(w, x):
    loss, gradient = irdl.value_and_grad(lambda w: (np.tanh(x @ w) ** 2).mean())(w)
    return w - np.float32(0.1) * gradient, loss


def test_addresses_that_come_again_are_a_graph(called: Counter[str]) -> None:
    f = irdl.jit(two_launches, backend="cuda")
    x = irdl.device_put(X)
    np.testing.assert_array_equal(np.asarray(f(x)), EXACT)
    each = called["launch"]
    assert each > 1 and not called[CAPTURE]
    for _ in range(5):
        np.testing.assert_array_equal(np.asarray(f(x)), EXACT)
    assert called[CAPTURE] == 1 and called[REPLAY] == 5
    assert called["launch"] == 2 * each, "one by one once, and once into the graph"


def test_donated_parameters_are_trained_by_a_graph(called: Counter[str]) -> None:
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((10, 4)).astype(np.float32), rng.standard_normal((3000, 10)).astype(np.float32)
    step, here = irdl.jit(train, backend="cuda", donate_argnums=0), irdl.jit(train)
    there = irdl.device_put(w)
    for _ in range(5):
        there, loss = step(there, x)
        w, expected = here(w, x)
        np.testing.assert_allclose(float(loss), expected, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(there), w, rtol=1e-4, atol=1e-6)
    assert called[REPLAY] >= 3, "the last loss is still there when the next is computed: two places take turns"


def test_other_addresses_are_not_taken_for_those(called: Counter[str]) -> None:
    f = irdl.jit(two_launches, backend="cuda")
    kept = [f(irdl.device_put(X + step)) for step in range(6)]
    for step, result in enumerate(kept):
        np.testing.assert_array_equal(np.asarray(result), two_launches((X + step).astype(np.float64)))
    assert not called[REPLAY]


def test_arrays_of_the_cpu(called: Counter[str]) -> None:
    f = irdl.jit(two_launches, backend="cuda")
    for step in range(4):
        np.testing.assert_array_equal(f(X + np.float32(step)), two_launches((X + step).astype(np.float64)))
    assert called[REPLAY]


def test_few_graphs_are_kept(called: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_MOST_GRAPHS", 2)
    monkeypatch.setattr(launching, "_MOST_CAPTURES", 10)
    f = irdl.jit(two_launches, backend="cuda")
    arrays = [X + np.float32(step) for step in range(4)]
    there = irdl.device_put(arrays)
    for _ in range(6):
        for x, expected in zip(there, arrays, strict=True):
            np.testing.assert_array_equal(np.asarray(f(x)), two_launches(expected.astype(np.float64)))
    assert called[CAPTURE] == 10 and called[DESTROY] == 8, "it does not go on where they do not come again soon enough"


@pytest.mark.parametrize("refused", [CAPTURE, "cuStreamEndCapture", INSTANTIATE])
def test_a_driver_that_makes_no_graphs(refused: str, called: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    call = Device.call

    def refusing(device: Device, name: str, *arguments: Any) -> None:
        call(device, name, *arguments)
        if name == refused:
            raise IrdlError("no graphs")

    monkeypatch.setattr(Device, "call", refusing)
    f = irdl.jit(two_launches, backend="cuda")
    x = irdl.device_put(X)
    for _ in range(5):
        np.testing.assert_array_equal(np.asarray(f(x)), EXACT)
    assert called[refused] == 1 and not called[REPLAY]


def test_a_driver_that_captures_no_launch(called: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it may be with launches whose blocks wait for each other."""
    launch = launching.Function.launch

    def refusing(function: launching.Function, addresses: Any, stream: int) -> None:
        if called[CAPTURE] > called["cuStreamEndCapture"]:
            raise IrdlError("not in a capture")
        launch(function, addresses, stream)

    monkeypatch.setattr(launching.Function, "launch", refusing)
    f = irdl.jit(two_launches, backend="cuda")
    x = irdl.device_put(X)
    for _ in range(5):
        np.testing.assert_array_equal(np.asarray(f(x)), EXACT)
    assert called[CAPTURE] == called["cuStreamEndCapture"] == 1 and not called[REPLAY]


def test_one_launch_is_no_graph(called: Counter[str]) -> None:
    f = irdl.jit(lambda x: x + 1, backend="cuda")
    x = irdl.device_put(X)
    for _ in range(4):
        np.testing.assert_array_equal(np.asarray(f(x)), X + 1)
    assert called["launch"] == 4 and not called[CAPTURE]


def test_graphs_can_be_switched_off(called: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDL_CUDA_GRAPHS", "0")
    f = irdl.jit(two_launches, backend="cuda")
    x = irdl.device_put(X)
    for _ in range(4):
        np.testing.assert_array_equal(np.asarray(f(x)), EXACT)
    assert not called[CAPTURE]


def test_indices_are_checked_in_a_graph(called: Counter[str]) -> None:
    f = irdl.jit(lambda x, i: (x[i] ** 2).sum(0), backend="cuda")
    x, i = irdl.device_put(X), np.arange(6000)
    for _ in range(4):
        np.testing.assert_array_equal(np.asarray(f(x, i)), EXACT)
    with pytest.raises(IndexError, match="6000"):
        f(x, i + 1)
    np.testing.assert_array_equal(np.asarray(f(x, i)), EXACT)
    assert called[REPLAY] == 5


def test_several_threads(called: Counter[str]) -> None:
    f = irdl.jit(two_launches, backend="cuda")
    arrays = [X + np.float32(step) for step in range(4)]
    there = irdl.device_put(arrays)

    def run(place: int) -> None:
        for _ in range(8):
            np.testing.assert_array_equal(np.asarray(f(there[place])), two_launches(arrays[place].astype(np.float64)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert called[REPLAY]
