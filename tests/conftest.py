"""Shared test options: `--slow` runs what takes minutes, `--update-golden` rewrites the golden files."""

from __future__ import annotations

import gc
import os
from hashlib import sha256
from types import ModuleType

import pytest

# Everything is compiled anew: what is tested is this code, and not what an earlier run of it left on disk.
os.environ["IRDL_CACHE"] = "0"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/passes/golden from what the code gives now")
    parser.addoption("--programs", type=int, default=500, help="how many random programs the fuzzer runs")
    parser.addoption("--loop-programs", type=int, default=120, help="how many random programs with loops are rolled")
    parser.addoption("--branch-programs", type=int, default=60, help="how many random programs that branch are run")
    parser.addoption("--long-loop-programs", type=int, default=40, help="how many random programs with a long loop are run")
    parser.addoption("--numpy-programs", type=int, default=1000, help="how many random programs in plain NumPy are run")


def _compile_once(module: ModuleType) -> None:
    """One text for one processor has one object, and an eighth of what tests compile they have compiled before."""
    compile_object, known = module.compile_object, dict[bytes, bytes]()

    def compiled(text: str) -> bytes:
        key = sha256(f"{module.host_description()}\n{text}".encode()).digest()
        if key not in known:
            known[key] = compile_object(text)
        return known[key]

    module.compile_object = compiled


def pytest_configure(config: pytest.Config) -> None:
    from irdl.runtime import build

    _compile_once(build)


def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end, and the collector need not look at them again and again; nor need it look after every 700
    objects, when a program is made of thousands."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
