"""Shared test options: `--slow` runs what takes minutes, `--update-golden` rewrites the golden files."""

from __future__ import annotations

import os

import pytest

# Everything is compiled anew: what is tested is this code, and not what an earlier run of it left on disk.
os.environ["IRDL_CACHE"] = "0"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/passes/golden from what the code gives now")
    parser.addoption("--programs", type=int, default=800, help="how many random programs the fuzzer runs")
    parser.addoption("--loop-programs", type=int, default=400, help="how many random programs with loops are rolled")
    parser.addoption("--numpy-programs", type=int, default=1600, help="how many random programs in plain NumPy are run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
