"""What irdl's model of a GPU's time takes from a measurement: launches, blocks that meet, and a copy of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.measure import median
from irdl.codegen.cuda.emit import LINE
from irdl.codegen.cuda.expressions import prelude
from irdl.loops.language import Launch
from irdl.runtime.cubin import make_cubin
from irdl.runtime.device import Device, find_device
from irdl.runtime.launching import Function, Module

_THREADS = 256
_SOURCE = """
extern "C" __global__ void nothing(unsigned* count) {}
extern "C" __global__ void meet_often(unsigned* count, unsigned long long blocks, unsigned long long rounds) {
    unsigned met = 0;
    unsigned* own = count + LINE / 4 * (blockIdx.x / blocks);
    for (unsigned long long round = 0; round < rounds; ++round) irdl::meet(own, unsigned(blocks), met);
}
"""


def measure(rounds: int = 1000, nbytes: int = 1 << 29) -> dict[str, Any]:
    """A record of the first GPU's: what it is, and those of the model's rates that were measured.

    Args:
        rounds: launches, and meetings, that are timed together.
        nbytes: of the memory that is copied.
    """
    device = find_device()
    rates: dict[str, float] = {}
    source = prelude() + _SOURCE.replace("LINE", str(LINE))
    with device.active():
        module = Module(device, make_cubin(source, device.gpu.capability))
        rates["launch_seconds"] = _launch(device, module, rounds)
        all_blocks = device.gpu.multiprocessors
        few = min(8, all_blocks)
        times = [(blocks, _meeting(device, module, blocks, rounds)) for blocks in (few, all_blocks)]
        rates["exchange_seconds"], rates["exchange_seconds_per_block"] = line_through(*times)
        rates["dram_bytes_per_second"] = _copy(device, nbytes)
    return {"suite": "gpu", "row": "machine", "mode": "rates", "threads": 1, "seconds": {}, "gpu": asdict(device.gpu), "rates": rates}


def line_through(few: tuple[int, float], many: tuple[int, float]) -> tuple[float, float]:
    """Seconds of a meeting, and of each block, from two numbers of blocks with what they took. More blocks are not faster."""
    each = max(0.0, many[1] - few[1]) / max(1, many[0] - few[0])
    return few[1] - few[0] * each, each


def _seconds(device: Device, run: Callable[[], Any]) -> float:
    """The median of five, after one to warm up."""
    times = []
    for _ in range(6):
        device.wait()
        start = time.perf_counter()
        run()
        device.wait()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def _launch(device: Device, module: Module, rounds: int) -> float:
    nothing = Function(device, module, Launch("nothing", 1, 32, []), 1)
    memory = device.keep(LINE, "a counter")
    return _seconds(device, lambda: [nothing.launch([int(memory)], device.stream.handle) for _ in range(rounds)]) / rounds


def _meeting(device: Device, module: Module, blocks: int, rounds: int) -> float:
    """Of runs of so many blocks, as many runs as there is room for: what twice as many rounds take longer."""
    runs = max(1, device.gpu.multiprocessors // blocks)
    function = Function(device, module, Launch("meet_often", runs * blocks, _THREADS, [], cooperative=True, exact=True), 3)
    count = device.keep(LINE * runs, "counters")

    def meet(times: int) -> None:
        device.clear(count, LINE * runs)
        function.launch([int(count), blocks, times], device.stream.handle)

    return (_seconds(device, lambda: meet(2 * rounds)) - _seconds(device, lambda: meet(rounds))) / rounds


def _copy(device: Device, nbytes: int) -> float:
    """Bytes that are read and written in a second."""
    here, there = (device.keep(nbytes, "a copy") for _ in range(2))
    device.upload(np.zeros(nbytes, np.uint8), here)
    return 2 * nbytes / _seconds(device, lambda: device.copy(here, there, nbytes))
