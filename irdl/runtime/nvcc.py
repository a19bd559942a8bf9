"""nvcc, the CUDA toolkit's compiler: a process for each source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from irdl.errors import IrdlError

#: where a toolkit is that nothing points to
USUAL_TOOLKIT = Path("/usr/local/cuda")


class Nvcc:
    """An nvcc that can be run, by its path."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def version(self) -> str:
        """What it says of itself."""
        return _version(self.path)

    def compile(self, source: str, flags: tuple[str, ...]) -> bytes:
        """A cubin of the source.

        Raises:
            IrdlError: it refuses; the message ends with what it says.
        """
        with tempfile.TemporaryDirectory(prefix="irdl-") as folder:
            text, image = Path(folder) / "program.cu", Path(folder) / "program.cubin"
            text.write_text(source)
            command = [self.path, "-cubin", *flags, str(text), "-o", str(image)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not image.exists():
                said = re.sub(re.escape(folder) + "/?", "", done.stderr + done.stdout).strip()
                raise IrdlError(f"{self.path} {' '.join(flags)} failed with {done.returncode}:\n{said[-4000:]}")
            return image.read_bytes()


def find_nvcc() -> Nvcc | None:
    """The one of CUDA_HOME or CUDA_PATH, of the path, or of the usual place; None where there is none."""
    home = named_toolkit()
    for candidate in (*([str(home / "bin" / "nvcc")] if home else []), "nvcc", str(USUAL_TOOLKIT / "bin" / "nvcc")):
        if found := shutil.which(candidate):
            return Nvcc(found)
    return None


def named_toolkit() -> Path | None:
    """The toolkit's folder that the environment names."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    return Path(home) if home else None


@lru_cache(maxsize=8)
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
