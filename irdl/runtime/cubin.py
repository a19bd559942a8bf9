"""CUDA C -> a cubin, by nvcc, kept on disk from one process to the next."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from irdl import config
from irdl.errors import IrdlError
from irdl.runtime.disk_cache import cached_image

#: Division to 2 ulp, denormals kept: a correctly rounded one is a function call. Multiplications and additions round one by one, as
#: NumPy's do; where irdl wants a fused one, it says so.
_FLAGS = ("-std=c++17", "-cubin", "-prec-div=false", "-fmad=false")


def make_cubin(source: str, capability: int) -> bytes:
    """The machine code of all the source's functions.

    Args:
        capability: of the GPU, times ten.

    Raises:
        IrdlError: there is no nvcc, or it refuses: an old architecture, say.
    """
    compiler = find_nvcc()
    flags = nvcc_flags(capability)

    def key() -> str:
        digest = hashlib.sha256()
        for part in (_version(compiler), " ".join(flags), source):
            digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()

    return cached_image(key, lambda: _compile(compiler, flags, source))


def nvcc_flags(capability: int) -> tuple[str, ...]:
    """What nvcc is told, for a GPU of a capability times ten."""
    return (*_FLAGS, f"-arch=sm_{capability}")


def find_nvcc() -> str:
    """
    Raises:
        IrdlError: there is none.
    """
    chosen = config.NVCC.value
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    candidates = [chosen] if chosen else [str(Path(home) / "bin" / "nvcc")] if home else []
    if not chosen:
        candidates += ["nvcc", "/usr/local/cuda/bin/nvcc"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    where = f"IRDL_NVCC is {chosen!r}, which cannot be run" if chosen else "none on the path, in CUDA_HOME or in /usr/local/cuda"
    raise IrdlError(f"the backend 'cuda' needs nvcc, of the CUDA toolkit: {where}")


@lru_cache(maxsize=8)
def _version(compiler: str) -> str:
    """What it says of itself: another version makes other code."""
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _compile(compiler: str, flags: tuple[str, ...], source: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="irdl-") as folder:
        text, image = Path(folder) / "program.cu", Path(folder) / "program.cubin"
        text.write_text(source)
        done = subprocess.run([compiler, *flags, str(text), "-o", str(image)], capture_output=True, text=True, check=False)
        if done.returncode or not image.exists():
            said = re.sub(re.escape(folder) + "/?", "", done.stderr + done.stdout).strip()
            raise IrdlError(f"{compiler} {' '.join(flags)} failed with {done.returncode}:\n{said[-4000:]}")
        return image.read_bytes()
