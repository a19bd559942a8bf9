"""What is said where a GPU, or what it needs, is not there. None of it needs one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError
from irdl.runtime import device


class Missing:
    """A finder that does not find pycuda, with this to say."""

    def __init__(self, message: str) -> None:
        self.message = message

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] == "pycuda":
            raise ImportError(self.message)


@pytest.fixture(autouse=True)
def _nothing_is_known_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    device.find_device.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "pycuda"]:
        monkeypatch.delitem(sys.modules, name)
    yield  # type: ignore[misc]
    device.find_device.cache_clear()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("No module named 'pycuda'", r"needs pycuda: pip install 'irdl\[cuda\]' \(No module named 'pycuda'\)"),
        ("libcuda.so.1: cannot open shared object file", r"needs NVIDIA's driver: libcuda\.so\.1: cannot open"),
    ],
)
def test_without_pycuda_or_a_driver(monkeypatch: pytest.MonkeyPatch, said: str, expected: str) -> None:
    monkeypatch.setattr(sys, "meta_path", [Missing(said), *sys.meta_path])
    for attempt in (lambda: irdl.jit(np.tanh, backend="cuda")(np.ones(3)), lambda: irdl.device_put(np.ones(3))):
        with pytest.raises(IrdlError, match=expected):
            attempt()


def fake(monkeypatch: pytest.MonkeyPatch, count: int, major: int) -> None:
    """A pycuda with so many GPUs, of that architecture."""
    driver: Any = ModuleType("pycuda.driver")
    driver.Error = type("Error", (Exception,), {})
    driver.init = lambda: None

    class Gpu:
        count = staticmethod(lambda: number)

        def __init__(self, place: int) -> None:
            pass

        def name(self) -> str:
            return "Old"

        def get_attribute(self, name: str) -> int:
            return major if name == "major" else 0

    number = count
    driver.Device = Gpu
    driver.device_attribute = type("A", (), {"COMPUTE_CAPABILITY_MAJOR": "major", "COMPUTE_CAPABILITY_MINOR": "minor"})
    package, tools = ModuleType("pycuda"), ModuleType("pycuda.tools")
    package.driver, tools.DeviceMemoryPool = driver, None  # type: ignore[attr-defined]
    for name, module in (("pycuda", package), ("pycuda.driver", driver), ("pycuda.tools", tools)):
        monkeypatch.setitem(sys.modules, name, module)


def test_no_gpu_and_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, 0, 0)
    with pytest.raises(IrdlError, match="needs a GPU of NVIDIA's, and the driver finds none"):
        device.find_device()
    fake(monkeypatch, 1, 6)
    with pytest.raises(IrdlError, match=r"the GPU, Old, is of architecture 6\.0: irdl needs 7\.0 or newer"):
        device.find_device()
