"""CUDA C -> a cubin, by nvcc or NVRTC, kept on disk from one process to the next."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from irdl import config
from irdl.errors import IrdlError
from irdl.runtime.disk_cache import cached_image
from irdl.runtime.nvcc import USUAL_TOOLKIT, Nvcc, find_nvcc
from irdl.runtime.nvrtc import Nvrtc, find_nvrtc, open_nvrtc

#: Division to 2 ulp, denormals kept: a correctly rounded one is a function call. Multiplications and additions round one by one, as
#: NumPy's do; where irdl wants a fused one, it says so.
_FLAGS = ("-std=c++17", "-prec-div=false", "-fmad=false")
_WHAT_TO_INSTALL = (
    "pip install nvidia-cuda-nvrtc (nvidia-cuda-nvrtc-cu12 for a driver of CUDA 12), or install the CUDA toolkit, which has nvcc"
)


def make_cubin(source: str, capability: int) -> bytes:
    """The machine code of all the source's functions.

    Args:
        capability: of the GPU, times ten.

    Raises:
        IrdlError: there is no compiler, or it refuses: an old architecture, say.
    """
    compiler = find_compiler()
    flags = flags_for(capability)

    def key() -> str:
        digest = hashlib.sha256()
        for part in (compiler.version, " ".join(flags), source):
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()

    return cached_image(key, lambda: compiler.compile(source, flags))


def flags_for(capability: int) -> tuple[str, ...]:
    """What either compiler is told, for a GPU of a capability times ten."""
    return (*_FLAGS, f"-arch=sm_{capability}")


def find_compiler() -> Nvcc | Nvrtc:
    """The one that IRDL_NVCC names; else nvcc, and NVRTC where there is none.

    Raises:
        IrdlError: there is neither, or not the one that is named.
    """
    chosen = config.NVCC.value
    if chosen and chosen != "nvrtc":
        return _named(chosen)
    nvcc = None if chosen else find_nvcc()
    if nvcc is not None:
        return nvcc
    try:
        return find_nvrtc()
    except IrdlError as error:
        if chosen:
            raise IrdlError(f"IRDL_NVCC is 'nvrtc', and there is {error}: {_WHAT_TO_INSTALL}") from None
        missing = f"there is no nvcc in CUDA_HOME, on the path or in {USUAL_TOOLKIT}, and {error}"
        raise IrdlError(f"the backend 'cuda' needs nvcc or NVRTC: {missing}: {_WHAT_TO_INSTALL}") from None


def _named(chosen: str) -> Nvcc | Nvrtc:
    """The compiler that IRDL_NVCC names: a program, or the file of a libnvrtc."""
    if Path(chosen).name.startswith("libnvrtc"):
        try:
            return open_nvrtc(chosen)
        except OSError as error:
            raise IrdlError(f"the backend 'cuda' needs NVRTC: IRDL_NVCC is {chosen!r}, which cannot be loaded ({error})") from error
    if found := shutil.which(chosen):
        return Nvcc(found)
    raise IrdlError(f"the backend 'cuda' needs nvcc, of the CUDA toolkit: IRDL_NVCC is {chosen!r}, which cannot be run")
