"""What GPUs can do, for the model of their time: from datasheets, from what others have measured, or from measurements here.

Where a number comes from:

- datasheet: NVIDIA's of the A100 (80 GB), H100 and H200 (SXM), and its white papers of the architectures
- guide: the CUDA C++ programming guide, throughput of instructions and memory of a multiprocessor
- [1] arXiv 2402.13499, microbenchmarks of Hopper; [2] openxla/xla, gpu_dot_fusion_cost_model.cc; [3] PyTorch's copy on an H200;
  [4] ademeure/QuickRunCUDA, barriers on a B300; [5] arXiv 1804.06826, microbenchmarks of Volta
- assumed: no source was found, and nothing was measured

None was measured by irdl. `Rates.measured` puts in their place what `python -m benchmarks gpu --json FILE` found on a machine with a GPU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

from irdl.loops.target import Gpu

_KB = 1024


@dataclass(frozen=True)
class Rates:
    """A GPU's, of each multiprocessor where nothing else is said. `_per_cycle`: lanes (results of one thread), or bytes.

    Attributes:
        clock_hz: at most (datasheet); it is lower where power limits it.
        schedulers: warps that issue an instruction in one cycle.
        float32_per_cycle, float64_per_cycle, integer_per_cycle, special_per_cycle: guide.
        near_bytes_per_cycle: of shared memory and the first-level cache, which are one (guide).
        near_bytes: their size; shared_bytes: the most of it that is shared memory (guide).
        l2_bytes_per_cycle: that a multiprocessor gets at most.
        l2_bytes_per_second: of the whole GPU: [2] for Hopper, the white paper's 5,120 bytes a cycle for the A100.
        l2_bytes: what stays in the cache. Half of its size: either partition keeps what its own multiprocessors read (white paper).
        dram_bytes_per_second: what a copy reaches: 90% of the datasheet's, as [3] found on an H200, 4.3 of 4.8 TB/s.
        arithmetic_latency_cycles: [5].
        near_latency_cycles: of shared memory: assumed.
        l2_latency_cycles: the mean of a hit in the near and in the far partition of an H100 [1]; assumed for the A100.
        dram_latency_seconds: under load: assumed.
        block_barrier_cycles, warp_barrier_cycles: assumed.
        exchange_seconds, exchange_seconds_per_block: until blocks that meet by a counter have all passed. A straight line through 0.8 us for
            8 blocks, which irdl's design assumes, and 1.3 us for a B300's 148 [4].
        launch_seconds: of each launch: what the host takes to make one through pycuda (2.3 us, measured without a GPU), which is about
            what small kernels that follow each other are apart.
    """

    name: str
    clock_hz: float
    float32_per_cycle: int
    float64_per_cycle: int
    near_bytes: int
    shared_bytes: int
    l2_bytes_per_second: float
    l2_bytes: float
    dram_bytes_per_second: float
    schedulers: int = 4
    integer_per_cycle: int = 64
    special_per_cycle: int = 16
    near_bytes_per_cycle: int = 128
    l2_bytes_per_cycle: int = 64
    arithmetic_latency_cycles: float = 4
    near_latency_cycles: float = 29
    l2_latency_cycles: float = (264 + 500) / 2
    dram_latency_seconds: float = 0.7e-6
    block_barrier_cycles: float = 30
    warp_barrier_cycles: float = 5
    exchange_seconds: float = 0.77e-6
    exchange_seconds_per_block: float = 3.6e-9
    launch_seconds: float = 2.3e-6

    def measured(self, path: Path | str) -> Rates:
        """These, with what was measured in their place: the file is what `python -m benchmarks gpu --json FILE` writes.

        Raises:
            ValueError: it holds none, or one that the model does not know.
        """
        records = [record for record in json.loads(Path(path).read_text()) if "rates" in record]
        if not records:
            raise ValueError(f"{path} holds no rates of a GPU: python -m benchmarks gpu --json writes them where there is one")
        found = records[-1]["rates"]
        unknown = found.keys() - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"{path} holds rates that the model does not know: {', '.join(sorted(unknown))}")
        return replace(self, name=f"{self.name} (measured rates)", **found)

    def exchange(self, blocks: int) -> float:
        """Seconds until so many blocks have met."""
        return self.exchange_seconds + blocks * self.exchange_seconds_per_block


A100 = Rates("A100 80 GB", 1.41e9, 64, 32, 192 * _KB, 164 * _KB, 5120 * 1.41e9, 20e6, 0.9 * 2.0e12)
H100 = Rates("H100 SXM", 1.98e9, 128, 64, 256 * _KB, 228 * _KB, 6.65e12, 25e6, 0.9 * 3.35e12)
H200 = Rates("H200", 1.98e9, 128, 64, 256 * _KB, 228 * _KB, 6.65e12, 25e6, 4.3e12)


def rates_of(gpu: Gpu) -> Rates:
    """By the GPU's name, if it is known, else by its architecture: 8.x is as an A100, others are as an H200."""
    for rates in (H200, H100, A100):
        if rates.name.split()[0] in gpu.name:
            return rates
    return A100 if gpu.capability < 90 else H200
