"""How long the first call takes: tracing, compiling and one run, each time in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = ("35 steps", "1000 steps")
#: from disk: what an earlier process compiled
PEERS = ("irdl", "irdl from disk", "jax")
_CODE = """
import sys, time
from benchmarks.lstm import MAKERS, Row, data
from benchmarks.measure import Task
row = Row({steps}, 32, 28, 256)
arguments = data(row)
if "{peer}" == "jax":
    import jax
    jax.numpy.zeros(3).block_until_ready()
start = time.perf_counter()
run, _ = MAKERS["{peer}"](row, Task("lstm", "", "train", "{peer}", 1), *arguments)
run()
first = time.perf_counter() - start
start = time.perf_counter()
run()
print(first - (time.perf_counter() - start))
"""


def seconds(row: str, peer: str) -> float | None:
    """Forward and backward of an LSTM (batch 32, hidden 256): the first call less a later one. None: not installed."""
    code = _CODE.format(steps=row.split()[0], peer=peer.split()[0])
    with tempfile.TemporaryDirectory() as folder:
        cached = "from disk" in peer
        environment = {**os.environ, "IRDL_CACHE": str(int(cached)), "IRDL_CACHE_DIR": folder, "IRDL_NUM_THREADS": "1"}
        for _ in range(2 if cached else 1):
            command = [sys.executable, "-c", code]
            result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent, env=environment, check=False)
    return float(result.stdout) if result.returncode == 0 else None
