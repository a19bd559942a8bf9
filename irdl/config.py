"""One table of flags. Each is read from the environment when it is asked for; an empty one is not set."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    name: str
    default: str
    meaning: str

    #: the words it may hold, comma-separated; none where anything goes
    words: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        """
        Raises:
            ValueError: it is set to something that it does not know.
        """
        value = os.environ.get(self.name) or self.default
        unknown = [word for word in value.split(",") if word and word not in self.words] if self.words else []
        if unknown:
            raise ValueError(f"{self.name}={value!r}: it knows {', '.join(self.words)}, not {', '.join(unknown)}")
        return value


LOG = Flag(
    "IRDL_LOG",
    "",
    "`compile` prints every compilation and its reason, `cache` the disk cache's files as they are used, `roll` which loops became "
    "scans and why others did not",
    ("compile", "cache", "roll"),
)
DISABLE_PASSES = Flag("IRDL_DISABLE_PASSES", "", "names of optional passes to leave out, comma-separated")
CACHE_SIZE = Flag("IRDL_CACHE_SIZE", "128", "compiled signatures that each jitted function keeps")
ROLL = Flag("IRDL_ROLL", "1", "0 leaves Python's loops unrolled, as they were traced", ("0", "1"))
VERIFY = Flag("IRDL_VERIFY", "0", "1 verifies the graph after every pass", ("0", "1"))
NUM_THREADS = Flag("IRDL_NUM_THREADS", "", "threads that compiled code uses; one for each core where it is not set")
TARGET = Flag(
    "IRDL_TARGET",
    "native",
    "the processors that code is made for: this one, or an x86-64 baseline that runs on others too",
    ("native", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"),
)
CACHE = Flag("IRDL_CACHE", "1", "0 keeps no machine code on disk", ("0", "1"))
CACHE_DIR = Flag("IRDL_CACHE_DIR", "", "where machine code is kept; `irdl` in the user's cache folder where it is not set")
NVCC = Flag(
    "IRDL_NVCC",
    "",
    "the compiler of CUDA C: an nvcc, the file of a libnvrtc, or `nvrtc` for the one that is found; where it is not set, the nvcc of "
    "CUDA_HOME, of the path or of /usr/local/cuda, and NVRTC where there is none",
)
CUDA_GRAPHS = Flag("IRDL_CUDA_GRAPHS", "1", "0 issues the launches of a GPU's program one by one", ("0", "1"))

FLAGS = (LOG, DISABLE_PASSES, CACHE_SIZE, ROLL, VERIFY, NUM_THREADS, TARGET, CACHE, CACHE_DIR, NVCC, CUDA_GRAPHS)
