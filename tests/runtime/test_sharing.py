"""Arrays of a GPU that irdl and another library have at once. Where the CPU stands in for the GPU, any memory is the GPU's."""

from __future__ import annotations

import gc
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError, TraceError
from irdl.runtime.device import Device, find_device
from irdl.runtime.dlpack import Borrowed
from tests.codegen.cuda.stand_in import is_gpu_here, start
from tests.runtime.producers import Producer
from tests.runtime.test_dlpack import ROOT, flags_of

pytestmark = pytest.mark.gpu
F32 = np.float32
needs_stand_in = pytest.mark.skipif(is_gpu_here(), reason="the memory of these tests is a CPU's")


@pytest.fixture(autouse=True, scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    start(tmp_path_factory.getbasetemp() / "driver")


@pytest.fixture
def device() -> Device:
    gc.collect()
    return find_device()


def blocks(device: Device) -> int:
    """What is taken from the pool."""
    return device._pool.active_blocks


class Lent:
    """Another library's array that is irdl's own, by the protocol alone."""

    def __init__(self, array: irdl.DeviceArray, **how: Any) -> None:
        self.array, self.how = array, how

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **asked: Any) -> Any:
        return self.array.__dlpack__(**{**asked, **self.how})


@pytest.mark.parametrize("max_version", [(1, 0), (0, 8), None])
def test_there_and_back(device: Device, max_version: tuple[int, int] | None) -> None:
    for dtype in irdl.ir.dtypes.DTYPES:
        for shape in ((), (5,), (2, 3, 4), (0, 3), (1, 1)):
            given = np.asarray(np.random.default_rng(0).integers(0, 9, shape)).astype(dtype)
            x = irdl.device_put(given)
            y = irdl.device_put(Lent(x, max_version=max_version))
            assert isinstance(y, irdl.DeviceArray) and (y.dtype, y.shape) == (dtype, shape)
            assert int(y.memory) == int(x.memory)
            np.testing.assert_array_equal(np.asarray(y), given)


def test_memory_lives_as_long_as_either_has_it(device: Device) -> None:
    before = blocks(device)
    x = irdl.device_put(np.arange(1000.0))
    y = irdl.device_put(Lent(x))
    capsule = x.__dlpack__()
    del x
    others = irdl.device_put([np.zeros(1000)] * 4)  # would have its memory
    np.testing.assert_array_equal(np.asarray(y), np.arange(1000.0))
    del y, others
    assert blocks(device) == before + 1  # the capsule's
    z = Borrowed(capsule)
    z.take()
    del capsule
    assert blocks(device) == before + 1
    del z
    assert blocks(device) == before
    irdl.device_put(np.arange(1000.0)).__dlpack__()  # nobody takes it
    assert blocks(device) == before


def test_results_are_lent(device: Device) -> None:
    y = irdl.jit(lambda x: np.tanh(x), backend="cuda")(irdl.device_put(np.ones(5, F32)))
    found = Borrowed(y.__dlpack__(max_version=(1, 0)))
    assert y.__dlpack_device__() == found.device == (2, 0)
    assert (found.address, found.dtype, found.shape, found.strides, found.read_only) == (int(y.memory), "float32", (5,), (1,), False)


def test_a_lent_array_that_is_donated_is_copied(device: Device) -> None:
    x = irdl.device_put(np.arange(4.0))
    seen = irdl.device_put(Lent(x))
    assert x.is_shared
    y = irdl.jit(lambda x: x + 1, backend="cuda", donate_argnums=0)(x)
    np.testing.assert_array_equal(np.asarray(y), [1, 2, 3, 4])
    np.testing.assert_array_equal(np.asarray(seen), [0, 1, 2, 3])
    with pytest.raises(IrdlError, match="was donated"):
        x.__dlpack__()


def test_copies(device: Device) -> None:
    before = blocks(device)
    for given in (np.arange(4.0), np.zeros((0, 3))):
        x = irdl.device_put(given)
        copy = irdl.device_put(Lent(x, copy=True))
        assert int(copy.memory) != int(x.memory) and not x.is_shared
        np.testing.assert_array_equal(np.asarray(copy), given)
        del x, copy
    assert blocks(device) == before
    for copy in (True, False, None):
        assert flags_of(irdl.device_put(np.ones(3)).__dlpack__(max_version=(1, 0), copy=copy)) == 2 * bool(copy)


def test_to_the_cpu(device: Device) -> None:
    x = irdl.device_put(np.arange(6, dtype=np.int16).reshape(2, 3))
    np.testing.assert_array_equal(np.from_dlpack(x, device="cpu"), [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(BufferError, match="copy=False forbids it"):
        np.from_dlpack(x, device="cpu", copy=False)
    with pytest.raises((BufferError, RuntimeError), match="Unsupported device"):
        np.from_dlpack(x)


def test_what_is_not_lent(device: Device) -> None:
    x = irdl.device_put(np.ones(3))
    with pytest.raises(BufferError, match=r"is on \(2, 0\) and goes to no other GPU: dl_device is \(2, 1\)"):
        x.__dlpack__(dl_device=(2, 1))
    for stream in (0, -2, True):
        with pytest.raises(ValueError, match=f"stream={stream} is none"):
            x.__dlpack__(stream=stream)
    assert Borrowed(x.__dlpack__(dl_device=(2, 0), copy=False)).address == int(x.memory)


def test_streams_wait_for_what_makes_an_array(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []
    call = device.call

    def seen(name: str, *arguments: Any) -> None:
        calls.append((name, arguments[0].value if name == "cuStreamWaitEvent" else getattr(arguments[-1], "value", None)))
        call(name, *arguments)

    monkeypatch.setattr(device, "call", seen)
    x = irdl.device_put(np.ones(3))
    own = device.stream.handle
    for asked, waits in ((None, 1), (1, 1), (2, 2)):
        calls.clear()
        x.__dlpack__(stream=asked)
        assert [name for name, _ in calls] == ["cuEventCreate", "cuEventRecord", "cuStreamWaitEvent", "cuEventDestroy_v2"]
        assert dict(calls)["cuEventRecord"] == own and dict(calls)["cuStreamWaitEvent"] == waits
    for asked in (-1, own):
        calls.clear()
        x.__dlpack__(stream=asked)
        assert not calls


@needs_stand_in
@pytest.mark.parametrize("knows_versions", [True, False])
def test_anothers_array_is_not_copied(device: Device, knows_versions: bool) -> None:
    array = np.arange(6, dtype=F32).reshape(2, 3)
    producer = Producer(array, knows_versions=knows_versions, offset=8)
    x = irdl.device_put({"x": producer})["x"]
    assert x.is_shared and int(x.memory) == array.ctypes.data and (x.shape, x.dtype) == ((2, 3), F32)
    assert producer.asked == {"stream": device.stream.handle, **({"max_version": (1, 0)} if knows_versions else {})}
    y = irdl.jit(lambda x: x * 2, backend="cuda", donate_argnums=0)(x)
    np.testing.assert_array_equal(np.asarray(y), 2 * array)
    np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3))
    assert producer.deleted == 1  # donated: a copy was, and this is not needed any more
    del x
    assert producer.deleted == 1


class Context:
    """pycuda's, that tells when it is waited for."""

    def __init__(self, context: Any, waited: Callable[[], None]) -> None:
        self.context, self.waited = context, waited
        self.pop = context.pop

    def synchronize(self) -> None:
        self.waited()
        self.context.synchronize()


@needs_stand_in
def test_who_is_told_when(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other library gets its memory back when the last on irdl's side is gone, and the GPU is done: all of it, where others had the
    memory from irdl."""
    producer = Producer(np.arange(3.0))
    waited: list[tuple[str, int]] = []
    context, wait = device.cuda.Context, device.wait
    x = irdl.device_put(producer)
    monkeypatch.setattr(device, "wait", lambda: [waited.append(("stream", producer.deleted)), wait()])
    seen = Context(context, lambda: waited.append(("all", producer.deleted)))
    monkeypatch.setattr(device, "cuda", types.SimpleNamespace(Context=seen))
    del x
    assert waited == [("stream", 0)] and producer.deleted == 1
    x = irdl.device_put(producer)
    again = irdl.device_put(Lent(x))
    waited.clear()
    del x
    assert not waited
    del again
    assert waited == [("stream", 1), ("all", 1)] and producer.deleted == 2


@needs_stand_in
def test_functions_take_anothers_arrays(device: Device) -> None:
    """As arguments, in trees too, by either protocol."""
    x, w, b = (np.random.default_rng(n).standard_normal(shape).astype(F32) for n, shape in enumerate(((3, 4), (4, 5), (5,))))
    here = irdl.device_put(b)
    interface = types.SimpleNamespace(__cuda_array_interface__=here.__cuda_array_interface__)
    f = irdl.jit(lambda x, p: np.tanh(x @ p["w"] + p["b"]), backend="cuda")
    producers = Producer(x), Producer(w)
    for _ in range(2):
        y = f(producers[0], {"w": producers[1], "b": interface})
        assert isinstance(y, irdl.DeviceArray)
        np.testing.assert_allclose(np.asarray(y), np.tanh(x @ w + b), rtol=1e-6)
    assert f.cache_size() == 1 and [producer.deleted for producer in producers] == [2, 2]
    compiled = irdl.compile(lambda x: x + 1, backend="cuda")(Producer(x))
    np.testing.assert_array_equal(np.asarray(compiled(Producer(x))), x + 1)
    twice = irdl.jit(lambda x, y: x * y, backend="cuda")(producers[0], producers[0])
    np.testing.assert_array_equal(np.asarray(twice), x * x)
    assert producers[0].deleted == 3


@needs_stand_in
def test_arrays_that_begin_anywhere(device: Device) -> None:
    """As a view of another library's may: accesses of 16 bytes need a copy, which the call makes and gives back."""
    compute = irdl.jit(lambda x, b: (x * 2 + b, np.exp(x).sum(-1)), backend="cuda")
    update = irdl.jit(lambda x: x + 1, backend="cuda", donate_argnums=0)
    for dtype in (F32, np.float64):
        whole = np.zeros(8 * 256 + 16, dtype)
        start = (-whole.ctypes.data % 16) // whole.itemsize
        for offset in range(5):
            x = whole[start + offset :][: 8 * 256].reshape(8, 256)
            x[...] = np.random.default_rng(offset).standard_normal(x.shape)
            before = blocks(device)
            producers = Producer(x), Producer(x[0])
            shared = irdl.device_put(producers[0])
            assert int(shared.memory) == x.ctypes.data
            results = compute(shared, producers[1])
            for result, expected in zip(results, (x * 2 + x[0], np.exp(x).sum(-1)), strict=True):
                np.testing.assert_allclose(np.asarray(result), expected, rtol=2e-5)
            before_it = x.copy()
            np.testing.assert_array_equal(np.asarray(update(shared)), x + 1)
            np.testing.assert_array_equal(x, before_it)
            del results, result
            assert blocks(device) == before


@needs_stand_in
def test_what_a_function_stores_is_not_lost(device: Device) -> None:
    def scale(x, y):
        y *= x
        return y

    array = np.arange(3.0)
    f = irdl.jit(scale, backend="cuda")
    with pytest.raises(TraceError, match=r"scale stores into `y`, which is another library's: pass irdl\.device_put of it, and use that"):
        f(np.float64(2), Producer(array))
    y = irdl.device_put(Producer(array))
    f(np.float64(2), y)
    np.testing.assert_array_equal(np.asarray(y), [0, 2, 4])
    np.testing.assert_array_equal(array, [0, 1, 2])


@needs_stand_in
def test_read_only_arrays(device: Device) -> None:
    x = irdl.device_put(Producer(np.arange(3.0), read_only=True))
    assert x.__cuda_array_interface__["data"][1] and Borrowed(x.__dlpack__(max_version=(1, 0))).read_only
    for asked in (None, (0, 8)):
        with pytest.raises(BufferError, match=r"read-only, which DLPack tells since version 1\.0"):
            x.__dlpack__(max_version=asked)
    assert not Borrowed(x.__dlpack__(copy=True)).read_only
    y = irdl.device_put(types.SimpleNamespace(__cuda_array_interface__=x.__cuda_array_interface__))
    assert Borrowed(y.__dlpack__(max_version=(1, 0))).read_only


ARRAY = np.arange(6, dtype=F32).reshape(2, 3)
WRONG = [
    (Producer(ARRAY, device=(2, 1)), r"is a Producer on the GPU 1, and irdl works on the GPU 0: move it there, or put that GPU first"),
    (Producer(ARRAY, device=(2, 1), says=(2, 0)), "whose capsule is of another device than it says"),
    (
        Producer(ARRAY, strides=(1, 2)),
        r"not contiguous in row-major order \(shape \[2, 3\], strides of 1, 2 elements\): pass a copy that is",
    ),
    (Producer(ARRAY, kind=(5, 32, 1)), "of dtype complex32: convert it to bool, floats of 16 to 64 bits, bfloat16, integers"),
    (Producer(ARRAY, kind=(2, 128, 1)), "of dtype float128: convert it"),
    (Producer(ARRAY, kind=(2, 32, 2)), "of dtype float32x2: convert it"),
    (Producer(ARRAY, major=2), "speaks version 2 of DLPack"),
    (types.SimpleNamespace(__cuda_array_interface__={"typestr": ">f4", "shape": (2,), "data": (0, False)}, deleted=0), "of dtype >f4"),
    (
        Producer(ARRAY, error=BufferError("it needs a gradient: use detach()")),
        r"not shared by its library: it needs a gradient: use detach\(\)",
    ),
]


@needs_stand_in
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_refused(device: Device, number: int) -> None:
    """With its place in the arguments; it stays its library's."""
    producer, said = WRONG[number]
    with pytest.raises(TypeError, match=rf"device_put: the item\['x'\]\[1\] .*{said}"):
        irdl.device_put({"x": [1, producer]})
    with pytest.raises(TraceError, match=rf"argument `state\[0\]` .*{said}"):
        irdl.jit(lambda n, state: state[0] * n, backend="cuda")(2, [producer])
    assert producer.deleted == 0


@needs_stand_in
def test_arrays_that_are_not_on_a_gpu(device: Device) -> None:
    """They are passed by, as all that irdl does not know."""
    producer = Producer(ARRAY, device=(1, 0))
    assert irdl.device_put(producer) is producer
    with pytest.raises(TraceError, match=r"argument `x` is a Producer, not an array or a number: list it in static_argnums"):
        irdl.jit(lambda x: x + 1, backend="cuda")(producer)
    with pytest.raises(TraceError, match="is a Producer, not an array"):
        irdl.jit(lambda x: x + 1)(Producer(ARRAY))


@needs_stand_in
def test_the_end_of_the_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With arrays on both sides, and a consumer that deletes when Python has ended."""
    code = f"""if True:
        import ctypes, gc, pathlib, numpy as np, irdl
        from tests.codegen.cuda.stand_in import start
        start(pathlib.Path({str(tmp_path_factory.getbasetemp() / "driver2")!r}))
        from tests.runtime.test_dlpack import managed_by
        from tests.runtime.test_sharing import Lent
        x, y = irdl.device_put([np.arange(3.0), np.arange(3.0)])
        place, deleter = managed_by(y.__dlpack__(), False)
        assert ctypes.CDLL(None).__cxa_atexit(ctypes.c_void_p(deleter), ctypes.c_void_p(place), None) == 0
        np.kept = [x.__dlpack__(), irdl.device_put(Lent(x)), x]
        print("ran")
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
