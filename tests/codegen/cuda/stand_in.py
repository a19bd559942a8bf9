"""Makes this process one with a GPU: where there is none, a driver whose device is the CPU, below the real pycuda, and a compiler
for it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@lru_cache(maxsize=1)
def is_gpu_here() -> bool:
    """There is a real one, with its driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


@lru_cache(maxsize=1)
def start(folder: Path) -> None:
    """Build the driver in `folder` and load it, or skip the test where what that takes is missing."""
    if is_gpu_here():
        return
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("needs pycuda")
    if shutil.which("g++") is None or not (toolkit / "include" / "cuda.h").exists():
        pytest.skip("needs g++ and CUDA's headers")
    environment = {**os.environ, "PYTHON": sys.executable, "CUDA_HOME": str(toolkit)}
    subprocess.run(["sh", str(HERE / "build_fake_cuda.sh"), str(folder)], check=True, env=environment)
    ctypes.CDLL(str(folder / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)  # pycuda then finds it by its soname
    compiler = folder / "nvcc"
    compiler.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "nvcc_on_cpu.py"}" "$@"\n')
    compiler.chmod(0o755)
    os.environ["IRDL_NVCC"] = str(compiler)
