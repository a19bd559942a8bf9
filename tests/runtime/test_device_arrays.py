"""Arrays that stay on a GPU, or on what the CPU does in its place."""

from __future__ import annotations

import gc
import importlib
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError, TraceError
from irdl.ir.dtypes import BFLOAT16
from tests.codegen.cuda.stand_in import is_gpu_here, start
from tests.codegen.test_cuda import FUNCTIONS

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    start(tmp_path_factory.getbasetemp() / "driver")


def test_there_and_back() -> None:
    given = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "n": 3,
        "y": [np.bool_(True), np.zeros((0, 4))],
        "f": np.ones((4, 4)).T[::2],
    }
    there = irdl.device_put(given)
    x = there["x"]
    assert isinstance(x, irdl.DeviceArray) and (x.shape, x.dtype, x.ndim, x.size, x.nbytes) == ((2, 3), np.float32, 2, 6, 24)
    assert there["n"] == 3 and irdl.device_put(x) is x and len(x) == 2
    back = irdl.device_get(there)
    for ours, exact in zip(irdl.tree.leaves(back), irdl.tree.leaves(given), strict=True):
        np.testing.assert_array_equal(ours, exact)
    assert repr(x).startswith("DeviceArray([[0., 1., 2.]")
    with pytest.raises(TypeError, match="datetime64"):
        irdl.device_put(np.zeros(2, "datetime64[s]"))


def test_calls_keep_results_there() -> None:
    f = irdl.jit(lambda x, w: (np.tanh(x @ w), (x**2).sum()), backend="cuda")
    x, w = np.ones((3, 4), np.float32), np.full((4, 5), 0.1, np.float32)
    y, total = f(x, irdl.device_put(w))
    assert isinstance(y, irdl.DeviceArray) and y.shape == (3, 5)
    np.testing.assert_allclose(np.asarray(y), np.tanh(x @ w), rtol=1e-6)
    assert float(total) == 12 and f"{total:.1f}" == "12.0"
    again, _ = f(y, irdl.device_put(np.ones((5, 2), np.float32)))
    np.testing.assert_allclose(np.asarray(again), np.tanh(np.tanh(x @ w) @ np.ones((5, 2))), rtol=1e-6)
    assert type(f(x, w)[0]) is np.ndarray


def test_complex_numbers_and_floats_of_16_bits() -> None:
    """Their memory is handed over as it is."""

    def f(z, x):
        return np.exp(1j * z) * z.conj(), np.abs(z).sum(), np.tanh(x)

    z, x = np.linspace(-1, 1, 12).reshape(3, 4) * np.complex64(1 + 2j), np.linspace(-2, 2, 7).astype(np.float16)
    z = z.astype(np.complex64)
    compiled = irdl.jit(f, backend="cuda", donate_argnums=0)
    for dtype in (np.float16, BFLOAT16):
        x = x.astype(dtype)
        found = compiled(*irdl.device_put((z, x)))
        assert [type(item) for item in found] == [irdl.DeviceArray] * 3
        assert [item.dtype for item in found] == [np.complex64, np.float32, dtype]
        for ours, exact in zip((*irdl.device_get(found), *compiled(z.copy(), x)), 2 * f(z, x), strict=True):
            np.testing.assert_allclose(np.asarray(ours), exact, rtol=1e-2 if exact.dtype.itemsize == 2 else 1e-5)
    assert found[0].__cuda_array_interface__["typestr"] == "<c8" and not hasattr(found[2], "__cuda_array_interface__")


def test_training_in_place_of_what_was_donated() -> None:
    def step(params, x):
        gradient = irdl.grad(lambda p: ((x @ p["w"] + p["b"]) ** 2).mean())(params)
        return {name: params[name] - np.float32(0.1) * gradient[name] for name in params}

    params = {"w": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)}
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    expected = params
    there = irdl.device_put(params)
    first = there["w"]
    compiled = irdl.jit(step, backend="cuda", donate_argnums=0)
    for _ in range(3):
        expected, there = step(expected, x), compiled(there, x)
    for name in params:
        np.testing.assert_allclose(np.asarray(there[name]), expected[name], rtol=1e-5)
    with pytest.raises(IrdlError, match=r"this array \(float32\[3, 2\]\) was donated"):
        np.asarray(first)
    with pytest.raises(IrdlError, match="was donated"):
        compiled({"w": first, "b": there["b"]}, x)


def test_training_step_of_the_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same losses as on the CPU, with everything that changes on the device."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples"))
    example = importlib.import_module("char_lstm")
    tokens = np.random.default_rng(0).integers(0, 11, (5, 6))
    states = {}
    for backend in ("cpu", "cuda"):
        params = example.initialise(11, 8)
        state = (params, (example.zeros_like(params), example.zeros_like(params)), (np.zeros((6, 8), np.float32),) * 2)
        state = irdl.device_put(state) if backend == "cuda" else irdl.tree.map(np.copy, state)
        step = irdl.jit(example.train_step, donate_argnums=(0, 1, 5), backend=backend)
        losses = []
        for number in range(3):
            *state, loss = step(*state[:2], np.float32(number), tokens[:-1], tokens[1:], state[2])
            losses.append(float(loss))
        states[backend] = [losses, *irdl.tree.leaves(irdl.device_get(state))]
    assert irdl.trace(example.cell)(*irdl.device_put((params, (np.zeros((6, 8), np.float32),) * 2, np.zeros((6, 32), np.float32)))).nodes
    for here, there in zip(*states.values(), strict=True):
        np.testing.assert_allclose(here, there, rtol=2e-4, atol=2e-6)


def test_stores_reach_the_callers_array() -> None:
    def scale(x):
        x *= 2

    x = irdl.device_put(np.arange(4.0))
    irdl.jit(scale, backend="cuda")(x)
    np.testing.assert_array_equal(np.asarray(x), [0, 2, 4, 6])


def test_memory_of_other_libraries_is_shared() -> None:
    owner = irdl.device_put(np.arange(6.0))

    def foreign(**changed: object) -> object:
        return types.SimpleNamespace(__cuda_array_interface__={**owner.__cuda_array_interface__, **changed})

    x = irdl.device_put(foreign(shape=(2, 3)))
    assert x.is_shared and int(x.memory) == int(owner.memory)
    np.testing.assert_array_equal(
        np.asarray(irdl.jit(lambda x: x + 1, backend="cuda", donate_argnums=0)(x)), np.arange(6.0).reshape(2, 3) + 1
    )
    np.testing.assert_array_equal(np.asarray(owner), np.arange(6.0))  # it was donated by who did not own it
    with pytest.raises(TypeError, match="contiguous"):
        irdl.device_put(foreign(shape=(3,), strides=(16,)))


def test_what_is_refused() -> None:
    x = irdl.device_put(np.ones(3))
    with pytest.raises(TraceError, match=r"compiled for the backend 'cpu': pass np\.asarray of it"):
        irdl.jit(np.tanh)(x)
    with pytest.raises(irdl.errors.DonationError, match="donated argument 0 is passed twice"):
        irdl.jit(lambda a, b: a + b, backend="cuda", donate_argnums=0)(x, x)
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        irdl.jit(lambda x, i: x[i], backend="cuda")(x, np.int64(7))


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_functions_on_a_gpu(number: int) -> None:
    if not is_gpu_here():
        pytest.skip("there is no GPU: tests/codegen/test_cuda.py runs the same kernels on the CPU")
    function, *arguments = FUNCTIONS[number]
    found, expected = irdl.jit(function, backend="cuda")(*arguments), irdl.jit(function)(*arguments)
    for x, y in zip(irdl.tree.leaves(found), irdl.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-5)


def test_too_much_memory() -> None:
    device = irdl.device_put(np.ones(3))._device
    said = r"has no 4,611,686,018,427,387,904 bytes for an array: [\d,]+ of [\d,]+ are free"
    with device.active(), pytest.raises(MemoryError, match=said):
        device.hold(1 << 62, "an array")


def test_threads_take_turns() -> None:
    f = irdl.jit(lambda x, n: np.tanh(x * n).sum(), backend="cuda")
    f(np.ones(50), 0.5)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: f(irdl.device_put(np.ones(50)), n / 10), range(24)))
    np.testing.assert_allclose([float(x) for x in found], 50 * np.tanh(np.arange(24) / 10))


def test_waiting_between_calls() -> None:
    """As who measures does, outside of any call, and in another thread."""
    device = irdl.device_put(np.ones(3))._device
    device.wait()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(device.wait).result()


def test_memory_is_given_back() -> None:
    device = irdl.device_put(np.ones(3))._device
    gc.collect()
    before = len(device.live)
    for _ in range(5):
        irdl.device_put(np.zeros(1000))
    assert len(device.live) == before
