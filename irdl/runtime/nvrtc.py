"""NVRTC, NVIDIA's compiler as a library, which pip can install without the rest of a toolkit: loaded when it is first asked for.

It knows C++ and its own builtin functions, and no headers: the source includes none.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from ctypes import byref, c_char_p, c_size_t, c_void_p
from functools import cached_property, lru_cache
from pathlib import Path

from irdl.errors import IrdlError
from irdl.runtime.nvcc import USUAL_TOOLKIT, named_toolkit

#: what the system's loader is asked for, the newest first
_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")


class Nvrtc:
    """A libnvrtc that is loaded.

    Args:
        path: its file, or a name that the system's loader knows.

    Raises:
        OSError: it cannot be loaded, or is older than CUDA 11.1 and makes no cubins.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # Its other half, which not every version looks for in its own folder.
        for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so*")) if "/" in path else ():
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(path)
        if not hasattr(self._library, "nvrtcGetCUBIN"):
            raise OSError(f"{path} makes no cubins: it is older than CUDA 11.1")
        self._library.nvrtcGetErrorString.restype = c_char_p

    @cached_property
    def version(self) -> str:
        """What it says of itself. (`nvrtcVersion` leaves out the build, of which PTX speaks.)"""
        return self._made("", (), "PTX").decode()

    def compile(self, source: str, flags: tuple[str, ...]) -> bytes:
        """A cubin of the source, for the `sm_` architecture among the flags.

        Raises:
            IrdlError: it refuses; the message ends with what it says.
        """
        return self._made(source, flags, "CUBIN")

    def _made(self, source: str, flags: Sequence[str], kind: str) -> bytes:
        library, program = self._library, c_void_p()
        self._check("nvrtcCreateProgram", library.nvrtcCreateProgram(byref(program), source.encode(), b"program.cu", 0, None, None))
        try:
            options = (c_char_p * len(flags))(*(flag.encode() for flag in flags))
            status = library.nvrtcCompileProgram(program, len(flags), options)
            if status:
                said = self._read(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
                reason = library.nvrtcGetErrorString(status).decode()
                raise IrdlError(f"{self.path} {' '.join(flags)} failed with {reason}:\n{said[-4000:]}")
            return self._read(program, kind)
        finally:
            library.nvrtcDestroyProgram(byref(program))

    def _read(self, program: c_void_p, what: str) -> bytes:
        size = c_size_t()
        self._check(f"nvrtcGet{what}Size", getattr(self._library, f"nvrtcGet{what}Size")(program, byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(f"nvrtcGet{what}", getattr(self._library, f"nvrtcGet{what}")(program, text))
        return text.raw

    def _check(self, name: str, status: int) -> None:
        if status:
            raise IrdlError(f"{name} of {self.path}: {self._library.nvrtcGetErrorString(status).decode()}")


def find_nvrtc() -> Nvrtc:
    """The first that can be loaded: of CUDA_HOME or CUDA_PATH, of pip's packages, of conda's, of /usr/local/cuda, of the loader's path.

    Raises:
        IrdlError: there is none; the message says what could not be loaded.
    """
    refused = []
    for path in (*files(), *_NAMES):
        try:
            return open_nvrtc(path)
        except OSError as error:
            if "/" in path:
                refused.append(f" ({error})")
    raise IrdlError(
        f"no libnvrtc in CUDA_HOME, among pip's packages, in {sys.prefix}/lib, in {USUAL_TOOLKIT} or on the loader's path{''.join(refused)}"
    )


def files() -> Iterator[str]:
    """The libraries that there are, in the order in which they are tried."""
    home = named_toolkit()
    if home:
        yield from _in(home / "lib64", home / "lib")
    # CUDA 13's packages share one folder, earlier ones have one each.
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(place) for place in (spec.submodule_search_locations if spec else None) or ()]
    for package in packages:
        shared = sorted(package.glob("cu[0-9]*/lib"), key=_numbers, reverse=True)
        yield from _in(*shared, package / "cuda_nvrtc" / "lib")
    yield from _in(Path(sys.prefix) / "lib", USUAL_TOOLKIT / "lib64", USUAL_TOOLKIT / "lib")


def _in(*folders: Path) -> Iterator[str]:
    for folder in folders:
        found = sorted(folder.glob("libnvrtc.so*"), key=_numbers, reverse=True)
        yield from map(str, found[:1])


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", f"{path.parent.name}{path.name}")]


@lru_cache(maxsize=8)
def open_nvrtc(path: str) -> Nvrtc:
    """The library of a path, loaded once."""
    return Nvrtc(path)
