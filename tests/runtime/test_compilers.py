"""Which compiler of CUDA C is taken, where it is looked for, and what is said where there is none. NVRTC is one that g++ stands in for;
tests/codegen/test_nvrtc.py has the real one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import irdl
from irdl.errors import IrdlError
from irdl.runtime import cubin, nvcc, nvrtc
from irdl.runtime.cubin import find_compiler, make_cubin
from tests.codegen.cuda import stand_in

HERE = Path(stand_in.__file__).parent
#: as it was before any test
USUAL_PATH = os.environ["PATH"]
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any, as far as these tests look at it. Returns its folder."""
    for name in ("IRDL_NVCC", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for module in (cubin, nvcc, nvrtc):
        monkeypatch.setattr(module, "USUAL_TOOLKIT", tmp_path / "usual")
    monkeypatch.setattr(nvrtc, "_NAMES", ())
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    package = ModuleType("nvidia")
    package.__spec__ = ModuleSpec("nvidia", None, is_package=True)
    package.__spec__.submodule_search_locations = [str(tmp_path / "site-packages" / "nvidia")]
    monkeypatch.setitem(sys.modules, "nvidia", package)
    return tmp_path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@lru_cache(maxsize=4)
def built(folder: Path, version: str, *flags: str) -> Path:
    path = folder / f"nvrtc-{version}{''.join(flags)}.so"
    command = ["g++", "-std=c++17", "-O0", "-shared", "-fPIC", f'-DVERSION="{version}"', *flags, "-o", str(path)]
    command.append(str(HERE / "fake_nvrtc.cpp"))
    subprocess.run(command, check=True, env={"PATH": USUAL_PATH})
    return path


@pytest.fixture
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Puts an NVRTC, as far as g++ can stand in for it, at a path."""

    def put(path: Path, version: str = "12.9.1", *flags: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return shutil.copy(built(tmp_path_factory.getbasetemp(), version, *flags), path)

    return put


def test_no_compiler_at_all(nothing_installed: Path) -> None:
    with pytest.raises(IrdlError) as caught:
        make_cubin("", 80)
    said = str(caught.value)
    assert said.startswith("the backend 'cuda' needs nvcc or NVRTC: there is no nvcc in CUDA_HOME, on the path or in ")
    assert "and no libnvrtc in CUDA_HOME, among pip's packages, in " in said
    assert said.endswith(
        "pip install nvidia-cuda-nvrtc (nvidia-cuda-nvrtc-cu12 for a driver of CUDA 12), or install the CUDA toolkit, which has nvcc"
    )


def test_the_named_one_is_not_there(monkeypatch: pytest.MonkeyPatch, nothing_installed: Path) -> None:
    program(nothing_installed / "bin" / "nvcc", "")
    for name, expected in (
        ("/nowhere/nvcc", r"needs nvcc, of the CUDA toolkit: IRDL_NVCC is '/nowhere/nvcc', which cannot be run"),
        ("/nowhere/libnvrtc.so.13", r"needs NVRTC: IRDL_NVCC is '/nowhere/libnvrtc.so.13', which cannot be loaded \(.*No such file"),
        ("nvrtc", "IRDL_NVCC is 'nvrtc', and there is no libnvrtc in CUDA_HOME, .*: pip install nvidia-cuda-nvrtc"),
    ):
        monkeypatch.setenv("IRDL_NVCC", name)
        with pytest.raises(IrdlError, match=expected):
            find_compiler()


@needs_compiler
def test_what_goes_first(monkeypatch: pytest.MonkeyPatch, nothing_installed: Path, library: Callable[..., Path]) -> None:
    """From the last to the first: each that is added is taken before those that were there."""
    here = nothing_installed
    site = here / "site-packages"
    for path in (
        here / "usual" / "lib64" / "libnvrtc.so.12",
        here / "prefix" / "lib" / "libnvrtc.so.12",
        site / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12",
        site / "nvidia" / "cu9" / "lib" / "libnvrtc.so.9",
        site / "nvidia" / "cu13" / "lib" / "libnvrtc.so.13",
        here / "named" / "lib64" / "libnvrtc.so.12",
        here / "named" / "lib64" / "libnvrtc.so.12.10",
    ):
        library(path)
        if path.parent.parent.name == "named":
            monkeypatch.setenv("CUDA_HOME", str(here / "named"))
        assert find_compiler().path == str(path)
    for path in (here / "usual" / "bin" / "nvcc", here / "bin" / "nvcc", here / "named" / "bin" / "nvcc"):
        program(path, "")
        assert find_compiler().path == str(path)
    monkeypatch.setenv("IRDL_NVCC", "nvrtc")
    assert find_compiler().path == str(here / "named" / "lib64" / "libnvrtc.so.12.10")
    monkeypatch.setenv("IRDL_NVCC", str(here / "usual" / "lib64" / "libnvrtc.so.12"))
    assert find_compiler().path == str(here / "usual" / "lib64" / "libnvrtc.so.12")
    monkeypatch.setenv("IRDL_NVCC", str(here / "bin" / "nvcc"))
    assert find_compiler().path == str(here / "bin" / "nvcc")


@needs_compiler
def test_libraries_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, nothing_installed: Path, library: Callable[..., Path]) -> None:
    old = library(nothing_installed / "named" / "lib64" / "libnvrtc.so.10", "10.2.89", "-DWITHOUT_CUBINS")
    monkeypatch.setenv("CUDA_HOME", str(nothing_installed / "named"))
    broken = nothing_installed / "usual" / "lib64" / "libnvrtc.so.12"
    broken.parent.mkdir(parents=True)
    broken.write_text("no library")
    with pytest.raises(IrdlError) as caught:
        find_compiler()
    assert f"({old} makes no cubins: it is older than CUDA 11.1)" in str(caught.value)
    assert f"({broken}: file too short)" in str(caught.value)
    good = library(nothing_installed / "usual" / "lib" / "libnvrtc.so.12")
    assert find_compiler().path == str(good)


def test_what_nvcc_says_is_shown(nothing_installed: Path) -> None:
    program(nothing_installed / "bin" / "nvcc", "echo \"nvcc fatal: Unsupported gpu architecture 'sm_70'\" >&2\nexit 1")
    with pytest.raises(IrdlError, match=r"(?s)-arch=sm_70 failed with 1:.*Unsupported gpu architecture"):
        make_cubin("", 70)


@needs_compiler
def test_what_nvrtc_says_is_shown(monkeypatch: pytest.MonkeyPatch, nothing_installed: Path, library: Callable[..., Path]) -> None:
    path = library(nothing_installed / "usual" / "lib64" / "libnvrtc.so.12")
    monkeypatch.setenv("NVRTC_ON_CPU", str(program(nothing_installed / "bin" / "refuse", "echo $*: no such type; exit 1")))
    said = r"(?s)libnvrtc\.so\.12 -std=c\+\+17 -prec-div=false -fmad=false -arch=sm_90 failed with NVRTC_ERROR_COMPILATION:\n"
    with pytest.raises(IrdlError, match=said + "-cubin -std=.*-arch=sm_90 .*: no such type$"):
        make_cubin("half x;", 90)
    assert ctypes.CDLL(str(path)).fake_nvrtc_programs() == 0


@needs_compiler
def test_cubins_are_kept_by_compiler(monkeypatch: pytest.MonkeyPatch, nothing_installed: Path, library: Callable[..., Path]) -> None:
    """On disk: another version makes them anew, and so does another architecture."""
    here = nothing_installed
    monkeypatch.setenv("IRDL_CACHE", "1")
    monkeypatch.setenv("IRDL_CACHE_DIR", str(here / "cache"))
    made = here / "made"
    text = f'for last; do :; done\necho "$*" >> {made}\necho code > "$last"'
    monkeypatch.setenv("NVRTC_ON_CPU", str(program(here / "bin" / "compile", text)))
    monkeypatch.setenv("IRDL_NVCC", str(library(here / "a" / "libnvrtc.so.12")))
    for capability, count in ((80, 1), (80, 1), (90, 2)):
        assert make_cubin("source", capability) == b"code\n"
        assert len(made.read_text().splitlines()) == count
    monkeypatch.setenv("IRDL_NVCC", str(library(here / "b" / "libnvrtc.so.12", "12.9.2")))
    assert make_cubin("source", 80) == b"code\n" and len(made.read_text().splitlines()) == 3


@pytest.mark.gpu
@needs_compiler
def test_a_function_by_way_of_nvrtc(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, library: Callable[..., Path]
) -> None:
    """From Python to kernels that run, without an nvcc."""
    monkeypatch.setenv("PATH", USUAL_PATH)
    if stand_in.is_gpu_here():
        pytest.skip("there is a GPU, which runs no code of g++'s")
    folder = tmp_path_factory.getbasetemp() / "driver"
    stand_in.start(folder)
    monkeypatch.setenv("IRDL_NVCC", str(library(folder / "libnvrtc.so.12")))
    monkeypatch.setenv("NVRTC_ON_CPU", str(folder / "nvcc"))
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(irdl.jit(lambda x: np.tanh(x @ x.T).max(1), backend="cuda")(x), np.tanh(x @ x.T).max(1), rtol=1e-6)
