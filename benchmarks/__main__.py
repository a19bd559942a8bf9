"""`python -m benchmarks SUITE`: irdl beside whichever peers are installed, in one run.

Every result is checked against NumPy first. Each peer works in a process of its own, with as many cores as threads; they take
turns, and medians over the rounds are compared. Only ratios within a run mean anything on a noisy machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Task, compare, format_seconds, markdown, median, seconds, serve

_SUITES = (
    *("lstm", "cells", "gemm", "conv", "elementwise", "call"),
    *("train-step", "language-model", "models", "layer-options", "threads", "handwritten", "gpu"),
)
SUITES = {name: name.replace("-", "_") for name in _SUITES}
_OURS = ("irdl", "irdl-nhwc")
_NOT_RIVALS = (*_OURS, "numpy")


def limits(threads: int) -> dict[str, float]:
    """What the machine can do with so many cores, by unit of work."""
    from benchmarks.machine import bandwidth, peak

    return {"float32": threads * peak("float32"), "float64": threads * peak("float64"), "bytes": threads * bandwidth(1 << 26)}


def run_suite(options: argparse.Namespace) -> list[dict]:
    """Measure and print; the table's rows as records."""
    name = options.suite
    suite = import_module(f"benchmarks.{SUITES[name]}")
    peers = [peer for peer in suite.PEERS if not options.peers or peer in options.peers.split(",")]
    ours = [peer for peer in peers if peer in _OURS]
    rivals = [peer for peer in peers if peer not in _NOT_RIVALS] or [peer for peer in peers if peer not in ours]
    records: list[dict] = []
    for threads in map(int, options.threads.split(",")):
        machine = limits(threads)
        print(f"\n{threads} thread{'s' if threads > 1 else ''}; ", end="")
        print(f"{machine['float32'] / 1e9:.0f} GFLOP/s in float32, {machine['float64'] / 1e9:.0f} in float64, ", end="")
        print(f"{machine['bytes'] / 1e9:.0f} GB/s from memory\n")
        table = []
        for row in suite.ROWS:
            if options.rows and row not in options.rows.split(","):
                continue
            for mode in suite.MODES:
                if options.modes and mode not in options.modes.split(","):
                    continue
                times = compare([Task(name, row, mode, peer, threads) for peer in peers], options.rounds, options.budget)
                amount, unit = suite.work(row, mode)
                best = min((times[peer] for peer in rivals if peer in times), default=None)
                records.append({"suite": name, "row": row, "mode": mode, "threads": threads, "seconds": times})
                fastest = min(times[peer] for peer in ours)
                share = f"{amount / fastest / machine[unit]:.0%}" if unit in machine else ""
                cells = [format_seconds(times[peer]) if peer in times else "" for peer in peers]
                ratios = [f"{best / times[peer]:.2f}" if best else "" for peer in ours]
                table.append([row, mode, *cells, *ratios, share])
                print(" | ".join(table[-1]), file=sys.stderr, flush=True)
        print(markdown(["row", "mode", *peers, *(f"best rival / {peer}" for peer in ours), "of the machine"], table))
    return records


def run_compile(options: argparse.Namespace) -> list[dict]:
    from benchmarks import compile_time

    records = []
    rows = [row for row in compile_time.ROWS if not options.rows or row in options.rows.split(",")]
    for row in rows:
        for peer in compile_time.PEERS:
            if options.peers and peer not in options.peers.split(","):
                continue
            times = [compile_time.seconds(row, peer)]
            if times[0] is None:
                print(f"| {row} | {peer} | not installed, or not in {compile_time.MOST} s |", flush=True)
                continue
            if times[0] < 30:
                times += [compile_time.seconds(row, peer) for _ in range(2)]
            if None not in times:
                records.append({"suite": "compile", "row": row, "mode": "train", "threads": 1, "seconds": {peer: median(times)}})
                print(f"| {row} | {peer} | {format_seconds(median(times))} |", flush=True)
    return records


def run_threads(options: argparse.Namespace) -> list[dict]:
    from benchmarks import threads

    rows = [row for row in threads.ROWS if not options.rows or row in options.rows.split(",")]
    return threads.table(rows, options.rounds, options.budget)


def run_layer_options(options: argparse.Namespace) -> list[dict]:
    from benchmarks import layer_options

    rows = [row for row in layer_options.ROWS if not options.rows or row in options.rows.split(",")]
    return [r for threads in options.threads.split(",") for r in layer_options.table(rows, int(threads), options.rounds, options.budget)]


def run_gpu(options: argparse.Namespace) -> list[dict]:
    from benchmarks import gpu

    chosen = [set(filter(None, text.split(","))) for text in (options.rows, options.modes, options.peers)]
    rows = [row for row in options.rows.split(",") if row in gpu.ROWS] if options.rows else list(gpu.ROWS)
    peers = [peer for peer in gpu.PEERS if not chosen[2] or peer in chosen[2]]
    if options.model is not None:
        from benchmarks import gpu_model

        return gpu_model.table(rows, sorted(chosen[1]), options.model)
    save = (lambda records: write(records, options.json)) if options.json else id
    return gpu.table(rows, sorted(chosen[1]), peers, options.rounds, options.budget, save)


def write(records: list[dict], path: Path) -> None:
    """Whole, or what was there stays."""
    made = path.with_name(path.name + ".part")
    made.write_text(json.dumps(records, indent=1))
    made.replace(path)


def draw(records: list[dict], path: Path) -> None:
    """Each row's times relative to irdl's, as bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [record for record in records if len(record["seconds"]) > 1]
    peers = list(dict.fromkeys(peer for record in shown for peer in record["seconds"]))
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(shown) * len(peers) + 1))
    height = 0.8 / len(peers)
    for number, peer in enumerate(peers):
        places = [place for place, record in enumerate(shown) if peer in record["seconds"]]
        ratios = [shown[place]["seconds"][peer] / shown[place]["seconds"]["irdl"] for place in places]
        axes.barh([place + number * height for place in places], ratios, height, label=peer)
    axes.set_yticks([place + 0.4 for place in range(len(shown))], [f"{r['row']} {r['mode']}, {r['threads']}" for r in shown])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time relative to irdl (row, mode, threads)")
    axes.axvline(1, color="black", linewidth=0.5)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> int:
    if sys.argv[1:2] == ["worker"]:
        task = Task(**json.loads(sys.argv[2]))
        suite = import_module(f"benchmarks.{SUITES[task.suite]}")
        serve(suite.make, task, getattr(suite, "measure", seconds))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=[*SUITES, "compile"])
    parser.add_argument("--rows", default="", help="some of the suite's rows, comma-separated; of the suite gpu, in that order")
    parser.add_argument("--modes", default="", help="some of its modes")
    parser.add_argument("--peers", default="", help="some of its peers; irdl has to be among them")
    parser.add_argument("--threads", default="1", help="numbers of threads, comma-separated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--budget", type=float, default=0.2, help="seconds that a peer works in each round")
    parser.add_argument("--json", type=Path, help="write the measured times to this file")
    parser.add_argument(
        "--model",
        nargs="?",
        const="",
        metavar="FILE",
        help="of the suite gpu: what irdl's model predicts, without a GPU; for the GPU that measured the rates in this --json file, if given",
    )
    parser.add_argument("--picture", type=Path, help="draw them into this file (needs matplotlib)")
    options = parser.parse_args()
    if options.model is not None and options.suite != "gpu":
        parser.error("only the suite gpu has a model")
    print(f"{platform.machine()}, Python {platform.python_version()}")
    own = {"compile": run_compile, "layer-options": run_layer_options, "threads": run_threads, "gpu": run_gpu}
    records = own.get(options.suite, run_suite)(options)
    if options.json:
        write(records, options.json)
    if options.picture:
        draw(records, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
