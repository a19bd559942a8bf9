"""Capsules of DLPack as such: NumPy takes those that are made, and makes some to be taken. None of it needs a GPU."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from irdl.ir.dtypes import BFLOAT16, DTYPES
from irdl.runtime.dlpack import Borrowed, is_row_major, make_capsule
from tests.runtime.producers import Producer

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("versioned", [False, True])


class Owner:
    """Host memory, handed out as a CPU's, or as what it says."""

    def __init__(self, array: np.ndarray, versioned: bool, device: tuple[int, int] = (1, 0), **flags: bool) -> None:
        self.array, self.versioned, self.device, self.flags = array, versioned, device, flags

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **_: Any) -> Any:
        array = self.array
        return make_capsule(array.ctypes.data, array.dtype, array.shape, self.device, Owned(self), versioned=self.versioned, **self.flags)


class Owned:
    """What the consumer keeps."""

    living: ClassVar[weakref.WeakSet[Owned]] = weakref.WeakSet()

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.living.add(self)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    gc.collect()
    assert not Owned.living


@BOTH
def test_numpy_reads_what_is_made(versioned: bool) -> None:
    rng = np.random.default_rng(0)
    for dtype in (dtype for dtype in DTYPES if dtype != BFLOAT16):  # which NumPy does not read
        for shape in ((), (5,), (2, 3, 4), (0,), (3, 0, 2), (1, 1)):
            array = np.asarray(100 * rng.standard_normal(shape)).astype(dtype)
            found = np.from_dlpack(Owner(array, versioned))
            assert found.dtype == dtype and found.shape == shape
            np.testing.assert_array_equal(found, array)
            assert array.size == 0 or np.shares_memory(found, array)
            # NumPy cannot know of one without a version.
            assert found.flags.writeable == versioned and len(Owned.living) == 1
            del found
            assert not Owned.living


def test_bfloat16() -> None:
    """It has a code of its own."""
    array = np.arange(3).astype(BFLOAT16)
    found = Borrowed(Owner(array, True).__dlpack__(max_version=(1, 0)))
    assert (found.dtype, found.shape, found.address) == ("bfloat16", (3,), array.ctypes.data)


def test_flags() -> None:
    array = np.arange(3.0)
    assert not np.from_dlpack(Owner(array, True, read_only=True)).flags.writeable
    for read_only, copied in ((False, False), (True, False), (False, True), (True, True)):
        capsule = Owner(array, True, read_only=read_only, copied=copied).__dlpack__()
        assert flags_of(capsule) == read_only + 2 * copied and Borrowed(capsule).read_only == read_only


def flags_of(capsule: Any) -> int:
    """Of one with a version."""
    api = ctypes.PyDLL(None)
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    return ctypes.c_uint64.from_address(api.PyCapsule_GetPointer(ctypes.py_object(capsule), b"dltensor_versioned") + 24).value


@BOTH
def test_a_capsule_that_nobody_takes(versioned: bool) -> None:
    capsule = Owner(np.arange(3.0), versioned).__dlpack__()
    assert len(Owned.living) == 1
    del capsule
    assert not Owned.living


@BOTH
def test_an_error_under_way_is_not_lost(versioned: bool) -> None:
    """NumPy drops the capsule of a GPU while it raises."""
    with pytest.raises((RuntimeError, BufferError), match="Unsupported device"):
        np.from_dlpack(Owner(np.arange(3.0), versioned, device=(2, 0)))


def managed_by(capsule: Any, versioned: bool) -> tuple[int, int]:
    """Take a capsule as C does: the structure's address, and the deleter's."""
    name = b"dltensor_versioned" if versioned else b"dltensor"
    api = ctypes.PyDLL(None)
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    place = api.PyCapsule_GetPointer(ctypes.py_object(capsule), name)
    assert api.PyCapsule_SetName(ctypes.py_object(capsule), USED[versioned]) == 0
    return place, ctypes.c_void_p.from_address(place + (16 if versioned else 56)).value or 0


#: capsules point to them
USED = (b"used_dltensor", b"used_dltensor_versioned")


@BOTH
def test_a_deleter_in_a_thread_that_python_does_not_know(versioned: bool) -> None:
    place, deleter = managed_by(Owner(np.arange(3.0), versioned).__dlpack__(), versioned)
    gc.collect()
    assert len(Owned.living) == 1  # the capsule is gone, and was taken
    process, thread = ctypes.CDLL(None), ctypes.c_ulong()
    assert process.pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(deleter), ctypes.c_void_p(place)) == 0
    assert process.pthread_join(thread, None) == 0
    assert not Owned.living


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_the_end_of_the_process() -> None:
    """A capsule, an array of NumPy's and a consumer that deletes when Python has ended."""
    code = """if True:
        import ctypes, numpy as np
        from tests.runtime.test_dlpack import Owner, managed_by
        for versioned in (False, True):
            place, deleter = managed_by(Owner(np.arange(3.0), versioned).__dlpack__(), versioned)
            assert ctypes.CDLL(None).__cxa_atexit(ctypes.c_void_p(deleter), ctypes.c_void_p(place), None) == 0
        np.kept = [Owner(np.arange(3.0), True).__dlpack__(), np.from_dlpack(Owner(np.arange(3.0), False))]
        print("ran")
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize("asked", [{}, {"max_version": (1, 0)}])
def test_what_numpy_makes_is_read(asked: dict[str, Any]) -> None:
    for dtype in (dtype for dtype in DTYPES if dtype != BFLOAT16):
        array = np.ones((2, 3, 4), dtype)[:, 1:]
        found = Borrowed(array.__dlpack__(**asked))
        assert (found.device, found.address, found.dtype) == ((1, 0), array.ctypes.data, dtype.name)
        assert (found.shape, found.strides) == ((2, 2, 4), (12, 4, 1)) and not found.is_contiguous
    assert Borrowed(np.array(1.5).__dlpack__(**asked)).shape == ()
    assert Borrowed(np.zeros(2, np.complex64).__dlpack__(**asked)).dtype == "complex64"
    half = np.zeros(2, np.float16)
    half.flags.writeable = False
    if asked:
        assert Borrowed(half.__dlpack__(**asked)).read_only


@pytest.mark.parametrize("asked", [{}, {"max_version": (1, 0)}])
def test_what_is_taken_is_kept_and_given_back(asked: dict[str, Any]) -> None:
    array = np.arange(3.0)
    before = sys.getrefcount(array)
    capsule = array.__dlpack__(**asked)
    found = Borrowed(capsule)
    del found
    assert sys.getrefcount(array) == before + 1  # looked at, and not taken
    found = Borrowed(capsule)
    found.take()
    assert f"used_dltensor{'_versioned' * bool(asked)}" in repr(capsule)
    with pytest.raises(TypeError, match="taken before"):
        Borrowed(capsule)
    del capsule
    assert sys.getrefcount(array) == before + 1
    del found
    assert sys.getrefcount(array) == before


def test_the_deleter_is_called_once() -> None:
    for knows_versions in (False, True):
        producer = Producer(np.arange(3.0), knows_versions=knows_versions)
        found = Borrowed(producer.__dlpack__(stream=1))
        found.take()
        assert producer.deleted == 0
        del found
        gc.collect()
        assert producer.deleted == 1


def test_what_is_no_capsule_or_of_another_time() -> None:
    for item in (None, 3, np.arange(3)):
        with pytest.raises(TypeError, match="gives no DLPack capsule"):
            Borrowed(item)
    with pytest.raises(TypeError, match="speaks version 2 of DLPack, and irdl speaks 1"):
        Borrowed(Producer(np.arange(3.0), major=2).__dlpack__())
    names = {(4, 16, 1): "bfloat16", (2, 32, 4): "float32x4", (12, 8, 1): "code 12, 8", (6, 8, 1): "bool"}
    for kind, name in names.items():
        assert Borrowed(Producer(np.arange(3.0), kind=kind).__dlpack__()).dtype == name


def test_row_major_order() -> None:
    for shape, strides in (((2, 3), (3, 1)), ((1, 3), (99, 1)), ((3, 1), (1, 99)), ((), ()), ((0, 3), (5, 7)), ((2, 1, 3), (3, 0, 1))):
        assert is_row_major(shape, strides)
    for shape, strides in (((2, 3), (1, 2)), ((3,), (2,)), ((3,), (0,)), ((3,), (-1,)), ((2, 3), (4, 1))):
        assert not is_row_major(shape, strides)
